//! Addresses for servers that tests start.

use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as Name, UnixDatagram};
use std::sync::{Mutex, PoisonError};

/// Below the range from which the system gives ports to outgoing connections: one of those could be in
/// use by any client when a server is to come back to its address.
const FIRST: u16 = 10_000;
const COUNT: u16 = 5_000;

/// What says that a port was given to this process; its end gives all of them back.
static CLAIMS: Mutex<Vec<UnixDatagram>> = Mutex::new(Vec::new());

/// A loopback address that nobody listens on at the moment, and that is given to nobody else while this
/// process runs: who asked for it may take it a while later, or leave it and come back.
///
/// # Panics
/// When none of as many draws as there are ports is free.
#[must_use]
pub fn free_address() -> SocketAddr {
    (0..COUNT)
        .map(|draw| FIRST + (RandomState::new().hash_one(draw) % u64::from(COUNT)) as u16)
        .filter(|port| is_claimed(*port))
        .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .find(|address| TcpListener::bind(address).is_ok())
        .expect("a free port on the loopback")
}

/// Whether a port is this caller's alone. The claim is an abstract socket of the port's name: the kernel
/// gives it to one owner of all processes in the same network namespace, as it does the port.
fn is_claimed(port: u16) -> bool {
    let name = format!("everopen-test-port-{port}");
    let Ok(socket) = Name::from_abstract_name(name).and_then(|name| UnixDatagram::bind_addr(&name))
    else {
        return false;
    };
    let mut claims = CLAIMS.lock().unwrap_or_else(PoisonError::into_inner);
    claims.push(socket);
    true
}

#[cfg(test)]
mod tests {
    use super::free_address;
    use std::collections::BTreeSet;
    use std::thread;

    #[test]
    fn no_address_is_given_twice() {
        let threads: Vec<_> = (0..4)
            .map(|_| thread::spawn(|| (0..60).map(|_| free_address()).collect::<Vec<_>>()))
            .collect();
        let given: Vec<_> = threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("addresses"))
            .collect();
        let different: BTreeSet<_> = given.iter().collect();
        assert_eq!((given.len(), different.len()), (240, 240));
    }
}
