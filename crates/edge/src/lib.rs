//! The front of services that are replaced while they are used.
//!
//! A *listener* takes connections for a *service*; a service has *groups* of *targets*, usually two: one
//! that serves (blue) and one that is to (green). Groups have weights, which whoever rolls out a new
//! version changes through the [`admin`] socket; nothing here knows what a version is.
//!
//! What it promises:
//! - a request goes to a target that takes it, if any of the groups with weight has one; it is sent a
//!   second time only when no target has seen it, or when its method is safe to repeat;
//! - a hold ends by itself, and held requests are then served;
//! - headers that say who a client is never come from outside; what the edge itself has verified takes their place;
//! - its listening sockets go to its next version without a refused connection ([`handover`]).
//!
//! It is async (`tokio`, `hyper`) and holds no state that its configuration and its admin socket could
//! not give it again.

pub mod admin;
mod carried;
mod clock;
pub mod config;
mod failure;
mod group;
pub mod handover;
mod headers;
mod http;
mod meter;
mod pool;
mod proxy;
mod quiet;
mod send;
mod server;
mod service;
pub mod shadow;
mod socket;
mod stream;
mod table;
mod tcp;
mod tls;
mod tunnel;
mod websocket;
mod workers;

pub use config::Config;
pub use meter::{Latency, Meter, Outcome, Reading};
pub use server::{Edge, EdgeError};
pub use table::{GroupStatus, ServiceStatus, Table, TableError};
pub use tls::{StoreStatus, TlsStatus};
