//! A network between the servers that can be cut: bytes stand still, as when a cable is pulled, and nobody is
//! told.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

/// Whether bytes go through.
#[derive(Default)]
struct Cable {
    is_cut: Mutex<bool>,
    changed: Condvar,
    is_over: AtomicBool,
}

impl Cable {
    fn wait(&self) {
        let mut is_cut = self.is_cut.lock().expect("whole");
        while *is_cut && !self.is_over.load(SeqCst) {
            is_cut = self.changed.wait(is_cut).expect("whole");
        }
    }

    fn set(&self, is_cut: bool) {
        *self.is_cut.lock().expect("whole") = is_cut;
        self.changed.notify_all();
    }
}

/// A way to a server.
pub struct Network {
    pub port: u16,
    cable: Arc<Cable>,
}

impl Network {
    /// To the server at this port.
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let cable = Arc::<Cable>::default();
        let its = Arc::clone(&cable);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if its.is_over.load(SeqCst) {
                    return;
                }
                let cable = Arc::clone(&its);
                thread::spawn(move || {
                    cable.wait();
                    let to = SocketAddr::from(([127, 0, 0, 1], server));
                    if let Ok(server) = TcpStream::connect(to) {
                        both_ways(&client, &server, &cable);
                    }
                });
            }
        });
        Self { port, cable }
    }

    pub fn cut(&self) {
        self.cable.set(true);
    }

    pub fn mend(&self) {
        self.cable.set(false);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.cable.is_over.store(true, SeqCst);
        self.cable.set(false);
        // It looks whether it is over when somebody comes.
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn both_ways(client: &TcpStream, server: &TcpStream, cable: &Arc<Cable>) {
    let way = |from: &TcpStream, to: &TcpStream| {
        let pair = from
            .try_clone()
            .and_then(|from| Ok((from, to.try_clone()?)));
        let cable = Arc::clone(cable);
        thread::spawn(move || {
            let Ok((mut from, mut to)) = pair else { return };
            let mut bytes = [0; 16 << 10];
            loop {
                let read = from.read(&mut bytes);
                cable.wait();
                match read {
                    Ok(count @ 1..) if to.write_all(&bytes[..count]).is_ok() => {}
                    _ => break,
                }
            }
            let _ = to.shutdown(Shutdown::Write);
        })
    };
    let _ = (way(client, server), way(server, client));
}
