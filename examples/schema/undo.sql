DROP TRIGGER cents ON orders;
DROP FUNCTION cents_of;
ALTER TABLE orders DROP COLUMN cents;
