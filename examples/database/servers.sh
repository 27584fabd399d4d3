#!/bin/sh
# Starts what the example needs, on loopback: PostgreSQL 15 (blue, port 5415) with some rows, an empty
# PostgreSQL 18 (green, port 5418), and PgBouncer (port 6432) before them. Everything is in ./data.
#
#   ./servers.sh start | stop
#
# OLD and NEW say where the programs of the two versions are. Run it as a user who is not root.
set -eu
cd "$(dirname "$0")"
OLD=${OLD:-/usr/lib/postgresql/15/bin}
NEW=${NEW:-/usr/lib/postgresql/18/bin}
data=$PWD/data

server() {
    "$1/initdb" --pgdata "$data/$2" --username postgres --auth trust --encoding UTF8 --locale C.UTF-8 >"$data/$2.init"
    cat >>"$data/$2/postgresql.conf" <<CONF
listen_addresses = '127.0.0.1'
port = $3
unix_socket_directories = ''
wal_level = logical
CONF
    "$1/pg_ctl" --pgdata "$data/$2" --log "$data/$2.log" --wait start >/dev/null
    psql --quiet --host 127.0.0.1 --port "$3" --username postgres --command 'CREATE DATABASE shop'
}

case ${1:-} in
start)
    mkdir "$data"
    server "$OLD" blue 5415
    server "$NEW" green 5418
    "$OLD/pgbench" --initialize --quiet --scale 5 --host 127.0.0.1 --port 5415 --username postgres shop 2>/dev/null
    psql --quiet --host 127.0.0.1 --port 5415 --username postgres shop <<'SQL'
ALTER TABLE pgbench_history ADD COLUMN id bigserial PRIMARY KEY;
CREATE TABLE orders (id bigserial PRIMARY KEY, account int NOT NULL, price numeric(12,2));
SQL
    printf '[databases]\nshop = host=127.0.0.1 port=5415 dbname=shop\n' >"$data/shop.ini"
    printf '"postgres" ""\n' >"$data/users.txt"
    cat >"$data/pgbouncer.ini" <<CONF
[databases]
%include $data/shop.ini
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = 6432
unix_socket_dir =
auth_type = trust
auth_file = $data/users.txt
admin_users = postgres
pool_mode = transaction
logfile = $data/pgbouncer.log
pidfile = $data/pgbouncer.pid
CONF
    pgbouncer --daemon --quiet "$data/pgbouncer.ini"
    ;;
stop)
    kill "$(cat "$data/pgbouncer.pid")" || true
    for side in blue green clone; do
        [ -d "$data/$side" ] || continue
        "$OLD/pg_ctl" --pgdata "$data/$side" --mode fast stop >/dev/null 2>&1 ||
            "$NEW/pg_ctl" --pgdata "$data/$side" --mode fast stop >/dev/null || true
    done
    rm -r "$data"
    ;;
*)
    sed -n '2,8p' "$0" | cut -c3-
    exit 2
    ;;
esac
