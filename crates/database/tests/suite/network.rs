//! A network between the servers that can be cut: bytes stand still, as when a cable is pulled, and nobody is
//! told; in a sandbox also what TCP itself says to the other side.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use everopen_testkit::sandbox::{self, run};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// For how long bytes wait in a cable that was cut before its ends are told, where TCP does not see it: as long as
/// TCP would wait for an answer to them (`tcp_user_timeout` of what servers reach each other by).
const PATIENCE: Duration = Duration::from_secs(20);

/// The addresses of both ends in a sandbox.
const NEAR: &str = "10.77.1.1";
const FAR: &str = "10.77.1.2";

/// Whether bytes go through.
#[derive(Default)]
struct Cable {
    is_cut: Mutex<bool>,
    changed: Condvar,
    is_over: AtomicBool,
    /// Whether TCP goes silent, too.
    is_silent: bool,
    /// It is cut before these bytes, if they are the last of what a client sends.
    cut_before: Option<&'static [u8]>,
}

impl Cable {
    /// Until bytes go through; not if their ends were told that they do not.
    fn wait(&self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut is_cut = self.is_cut.lock().expect("whole");
        while *is_cut && !self.is_over.load(SeqCst) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() && !self.is_silent {
                return false;
            }
            is_cut = match self.is_silent {
                true => self.changed.wait(is_cut).expect("whole"),
                false => self.changed.wait_timeout(is_cut, left).expect("whole").0,
            };
        }
        true
    }

    fn set(&self, is_cut: bool) {
        let mut was_cut = self.is_cut.lock().expect("whole");
        if self.is_silent && *was_cut != is_cut {
            match is_cut {
                // What comes is not answered, and nobody says that it is not.
                true => run(&format!("ip -n far route add blackhole {NEAR}/32")),
                false => run(&format!("ip -n far route del blackhole {NEAR}/32")),
            }
        }
        *was_cut = is_cut;
        self.changed.notify_all();
    }
}

/// A way to a server.
pub struct Network {
    pub at: SocketAddr,
    cable: Arc<Cable>,
}

/// Inside a sandbox: another host, as far as TCP knows.
pub fn lay() {
    sandbox::begin_network();
    run("ip netns add far");
    run("ip link add near type veth peer name far netns far");
    run(&format!("ip addr add {NEAR}/24 dev near"));
    run("ip link set near up");
    run(&format!("ip -n far addr add {FAR}/24 dev far"));
    run("ip -n far link set far up");
}

impl Network {
    /// To the server at this port.
    pub fn to(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Self::by(listener, server, Cable::default())
    }

    /// Over a network that was laid. It is cut when a client has sent these bytes, which do not arrive.
    pub fn silent(server: u16, cut_before: &'static [u8]) -> Self {
        // A socket stays in the namespace in which it was made.
        let bound = thread::spawn(|| {
            let far = std::fs::File::open("/run/netns/far").expect("it was laid");
            move_into_link_name_space(far.as_fd(), Some(LinkNameSpaceType::Network))
                .expect("root may");
            TcpListener::bind((FAR, 0)).expect("a port")
        });
        let cable = Cable {
            is_silent: true,
            cut_before: Some(cut_before),
            ..Cable::default()
        };
        Self::by(bound.join().expect("bound"), server, cable)
    }

    fn by(listener: TcpListener, server: u16, cable: Cable) -> Self {
        let at = listener.local_addr().expect("an address");
        let cable = Arc::new(cable);
        let its = Arc::clone(&cable);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if its.is_over.load(SeqCst) {
                    return;
                }
                let cable = Arc::clone(&its);
                thread::spawn(move || {
                    if !cable.wait() {
                        return;
                    }
                    let to = SocketAddr::from(([127, 0, 0, 1], server));
                    if let Ok(server) = TcpStream::connect(to) {
                        both_ways(&client, &server, &cable);
                    }
                });
            }
        });
        Self { at, cable }
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
        let _ = TcpStream::connect(self.at);
    }
}

fn both_ways(client: &TcpStream, server: &TcpStream, cable: &Arc<Cable>) {
    let way = |from: &TcpStream, to: &TcpStream, cut_before: Option<&'static [u8]>| {
        let pair = from
            .try_clone()
            .and_then(|from| Ok((from, to.try_clone()?)));
        let cable = Arc::clone(cable);
        thread::spawn(move || {
            let Ok((mut from, mut to)) = pair else { return };
            let mut bytes = [0; 16 << 10];
            loop {
                let read = from.read(&mut bytes);
                let is_last = |last| matches!(read, Ok(count) if bytes[..count].ends_with(last));
                if cut_before.is_some_and(is_last) {
                    cable.set(true);
                }
                if !cable.wait() {
                    let _ = from.shutdown(Shutdown::Both);
                    break;
                }
                match read {
                    Ok(count @ 1..) if to.write_all(&bytes[..count]).is_ok() => {}
                    _ => break,
                }
            }
            let _ = to.shutdown(Shutdown::Write);
        })
    };
    let _ = (
        way(client, server, cable.cut_before),
        way(server, client, None),
    );
}
