//! Real servers: PostgreSQL 15 and 18, PgBouncer between them and pgbench, which counts what fails.

mod busy;
mod clones;
mod cut_off;
mod forth_and_back;
mod found;
mod game_days;
mod in_between;
mod made;
mod network;
mod place;
mod schemas;
mod seeds;
mod servers;
mod servers_gone;
