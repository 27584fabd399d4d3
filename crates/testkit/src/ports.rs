//! Addresses for servers that tests start.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Below the range from which the system gives ports to outgoing connections: one of those could be in
/// use by any client when a server is to come back to its address.
const FIRST: u16 = 10_000;
const COUNT: u16 = 5_000;

/// A loopback address that nobody listens on at the moment.
///
/// # Panics
/// When none of as many draws as there are ports is free.
#[must_use]
pub fn free_address() -> SocketAddr {
    (0..COUNT)
        .map(|draw| FIRST + (RandomState::new().hash_one(draw) % u64::from(COUNT)) as u16)
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a free port on the loopback")
}
