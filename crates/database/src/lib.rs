//! Replaces a PostgreSQL server (blue) by one of another major version (green) while clients behind PgBouncer
//! read and write, and goes back without losing what was written since.
//!
//! Green gets blue's schema and, by logical replication, its rows, or begins as a clone of blue; when it has caught up, the poolers hold
//! clients for some milliseconds and send them to green. From before the first write there, a stream leads
//! back to blue, so the way back is the same recipe with the roles exchanged.
#![warn(missing_docs)]

mod clone;
mod controller;
mod cutover;
mod dsn;
pub mod file;
pub mod gameday;
mod guard;
pub mod part;
mod plan;
mod pooler;
pub mod preflight;
mod proof;
pub mod run;
pub mod schema;
mod seed;
mod server;
mod stream;
mod tls;
pub mod with_service;
mod work;
mod writes;
