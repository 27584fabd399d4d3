//! Loopback ports for replicas: taken once, kept in `cluster.toml` for as long as the venue lives.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Result, anyhow, bail};

/// Below the range from which systems give ports to outgoing connections: a port from that range
/// may be in use by any client when its replica comes back.
const FIRST: u16 = 20_000;
const END: u16 = 32_000;

/// Takes a free port. The socket keeps it until the replica starts.
///
/// # Errors
/// When there is none.
pub fn take() -> Result<(SocketAddr, TcpListener)> {
    let mut random = [0; 2];
    getrandom::fill(&mut random).map_err(|e| anyhow!("draw a port: {e}"))?;
    let from = u16::from_le_bytes(random) % (END - FIRST);
    for step in 0..END - FIRST {
        let port = FIRST + (from + step) % (END - FIRST);
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if let Ok(listener) = TcpListener::bind(address) {
            return Ok((address, listener));
        }
    }
    bail!("no free port between {FIRST} and {END} on the loopback")
}
