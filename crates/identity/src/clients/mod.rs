//! Clients from outside and their certificates: whom a listener believes, and what it tells of them.
//!
//! A [`TrustStore`] holds authorities and revocation lists; it says of a chain whether it is trusted, or
//! why not ([`Refusal`]). A [`Door`] is the server's side of TLS for one state of its keys and its store:
//! when either changes, a new door is made, and no session of the old one is resumed at the new one.
//! [`ClientCertificate`] is what is told of a client in headers and logs.

mod certificate;
mod door;
mod keys;
mod lists;
mod refusal;
mod store;
mod verifier;

pub use certificate::ClientCertificate;
pub use door::{Clients, Door, Seen, TlsVersion};
pub use keys::{KeyFiles, Keys};
pub use refusal::Refusal;
pub use store::{Rules, Source, StoreError, TrustStore};
