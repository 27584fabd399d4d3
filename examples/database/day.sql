-- What each client of a game day does in a transaction.
UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid = 1 + (random() * 400000)::int;
INSERT INTO orders (account, price) VALUES (1 + (random() * 400000)::int, 10);
