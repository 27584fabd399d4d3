-- What clients do: pgbench --client 8 --rate 200 --time 60 --file load.sql --port 6432 …
\set aid random(1, 500000)
\set delta random(-5000, 5000)
BEGIN;
UPDATE pgbench_accounts SET abalance = abalance + :delta WHERE aid = :aid;
INSERT INTO pgbench_history (tid, bid, aid, delta, mtime) VALUES (1, 1, :aid, :delta, CURRENT_TIMESTAMP);
INSERT INTO orders (account, price) VALUES (:aid, :delta / 100.0);
END;
