#!/bin/sh
# What a version of the service asks of its database: 1 knows the price, 2 writes both, 3 knows cents alone.
# A service of your own runs its own tests here, against $DATABASE.
set -eu
run() {
    psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 "$DATABASE" --command "BEGIN; $1; ROLLBACK" >/dev/null
}
case $1 in
1) run "INSERT INTO orders (account, price) VALUES (1, 2.5); SELECT price FROM orders" ;;
2) run "INSERT INTO orders (account, price, cents) VALUES (1, 2.5, 250); SELECT cents FROM orders" ;;
3) run "INSERT INTO orders (account, cents) VALUES (1, 250); SELECT cents FROM orders" ;;
esac
