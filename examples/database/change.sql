-- A column with a default, and an index that would take a lock for its while if clients were there.
ALTER TABLE orders ADD COLUMN placed_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX ON orders (account, placed_at);
