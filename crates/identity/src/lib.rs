//! Workload identity: certificates, and who may speak to whom.
//!
//! Every process of a cluster has a [`Name`] and a certificate of the cluster's own authority that
//! carries it. Connections are TLS 1.3 with certificates on both sides: who dials checks that the
//! other end is the process it wanted, who accepts learns the other end's name. Nothing here knows
//! what a name may do; that is for the room that asks for it.
//!
//! [`Authority`] makes certificates for a cluster on one machine and for the first start of one on
//! several. They are good for ten years and there is no rotation and no list of revoked ones yet:
//! who must shut a process out replaces the authority and all certificates.
//!
//! [`clients`] is for those who come from outside, with certificates of authorities that an operator
//! believes: trust stores, revocation lists, and what is told of a client.
#![forbid(unsafe_code)]

pub mod clients;

mod authority;
mod error;
mod files;
mod load;
mod name;
mod session;

pub use authority::Authority;
pub use error::Error;
pub use files::Files;
pub use load::Identity;
pub use name::{Name, NameError, peer_name};
pub use session::{Session, SessionError};
