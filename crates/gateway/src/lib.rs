//! The gateway: order entry and market data for members, over REST and WebSocket, in the form that
//! clients of the Coinbase Exchange API already speak.
//!
//! Invariants of this room:
//! - it links neither venue nor journal: commands go through [`CommandPort`], reads come from
//!   [`everopen_views::Views`];
//! - a signature is verified over the raw bytes before anything in them is parsed;
//! - every queue, cache and wait has a bound in [`Config`] and an answer when it is reached;
//! - no secret, signature, body or balance reaches a log or a metric.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod auth;
pub mod body;
pub mod config;
mod disconnect;

mod dispatch;
pub mod errors;
pub mod feed;
mod gateway;
pub mod keys;
pub mod limits;
pub mod metrics;
mod newcomer;
pub mod openapi;
pub mod port;
pub mod replay;
mod routes;
mod schema;
mod server;
mod slots;

pub use config::{Config, ConfigError};
pub use errors::ApiError;
pub use gateway::{Clock, Gateway, Parts};
pub use keys::{AddressRange, ApiKey, KeyStore, KeyStoreError, NewKey, Permission, Permissions};
pub use metrics::Metrics;
pub use port::{BoxFuture, CommandPort, Outcome, PortError};
pub use server::{router, serve};
