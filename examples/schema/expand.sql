ALTER TABLE orders ADD COLUMN cents bigint;
-- Version 1 writes no cents: the database does, until it is gone.
CREATE FUNCTION cents_of() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.cents := coalesce(NEW.cents, (coalesce(NEW.price, 0) * 100)::bigint);
    RETURN NEW;
END $$;
CREATE TRIGGER cents BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION cents_of();
