//! Real servers: PostgreSQL 15 and 18, PgBouncer between them and pgbench, which counts what fails.

mod clients;
mod clones;
mod cut_off;
mod forth_and_back;
mod found;
mod game_days;
mod in_between;
mod made;
mod network;
mod place;
mod poolers_gone;
mod schemas;
mod seeds;
mod servers;
mod servers_gone;
mod sessions;
mod standbys;
mod tls;
