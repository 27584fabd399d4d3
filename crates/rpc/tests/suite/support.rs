//! A hub with a memory of what it told, and conditions with a deadline.

use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use everopen_identity::{Authority, Identity};
use everopen_rpc::{CloseReason, ConnId, Event, Hub, Limits, Name, Security};

/// No condition takes longer, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(30);
const TURN: Duration = Duration::from_millis(1);

pub struct Peer {
    pub hub: Hub,
    pub opened: Vec<(ConnId, Option<Name>, bool)>,
    pub frames: Vec<(ConnId, Vec<u8>)>,
    pub closed: Vec<(ConnId, CloseReason)>,
}

impl Peer {
    pub fn new(limits: Limits, security: Security) -> Self {
        Self {
            hub: Hub::new(limits, security).expect("a poll and sound limits"),
            opened: Vec::new(),
            frames: Vec::new(),
            closed: Vec::new(),
        }
    }

    pub fn listening(limits: Limits, security: Security) -> (Self, SocketAddr) {
        let mut peer = Self::new(limits, security);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = peer.hub.listen(listener).expect("a listener");
        (peer, address)
    }

    pub fn turn(&mut self, timeout: Duration) {
        let Self {
            hub,
            opened,
            frames,
            closed,
        } = self;
        hub.turn(Some(timeout), &mut |event| match event {
            Event::Opened { conn, peer, dialed } => {
                assert!(opened.iter().all(|(id, ..)| *id != conn), "opened twice");
                opened.push((conn, peer, dialed));
            }
            Event::Frame { conn, bytes } => {
                assert!(opened.iter().any(|(id, ..)| *id == conn), "not opened");
                assert!(closed.iter().all(|(id, _)| *id != conn), "closed before");
                frames.push((conn, bytes.to_vec()));
            }
            Event::Closed { conn, reason } => {
                assert!(closed.iter().all(|(id, _)| *id != conn), "closed twice");
                closed.push((conn, reason));
            }
        })
        .expect("the poll works");
    }

    /// Takes turns until the condition holds.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < deadline, "never came: {what}");
            self.turn(TURN);
        }
    }
}

/// Both take turns until the condition holds.
pub fn until(
    what: &str,
    one: &mut Peer,
    other: &mut Peer,
    mut holds: impl FnMut(&mut Peer, &mut Peer) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    while !holds(one, other) {
        assert!(Instant::now() < deadline, "never came: {what}");
        one.turn(TURN);
        other.turn(TURN);
    }
}

/// A listening node and another one that dialed it, both open; with the connection at each.
pub struct Pair {
    pub node: Peer,
    pub node_conn: ConnId,
    pub dialer: Peer,
    pub dialer_conn: ConnId,
}

impl Pair {
    pub fn open(node: Limits, dialer: Limits, secure: bool) -> Self {
        let (mut node, address) = Peer::listening(node, security(secure, Name::Node(1)));
        let mut dialer = Peer::new(dialer, security(secure, Name::Node(2)));
        let (dialer_conn, node_conn) = join(&mut dialer, &mut node, address);
        Self {
            node,
            node_conn,
            dialer,
            dialer_conn,
        }
    }
}

/// Dials `node`, and gives the connection at the dialer and at the node.
pub fn join(dialer: &mut Peer, node: &mut Peer, address: SocketAddr) -> (ConnId, ConnId) {
    let (here, there) = (dialer.opened.len(), node.opened.len());
    let conn = dialer.hub.dial(address, Name::Node(1));
    until("both are open", dialer, node, |dialer, node| {
        assert!(
            dialer.closed.iter().all(|(id, _)| *id != conn),
            "{:?}",
            dialer.closed
        );
        dialer.opened.len() > here && node.opened.len() > there
    });
    assert_eq!(dialer.opened[here].0, conn);
    (conn, node.opened[there].0)
}

pub fn security(secure: bool, name: Name) -> Security {
    if secure {
        Security::Mutual(identity(name))
    } else {
        Security::Plain
    }
}

/// A process of the one cluster that these tests are about.
pub fn identity(name: Name) -> Arc<Identity> {
    static DIR: LazyLock<(tempfile::TempDir, Authority)> = LazyLock::new(|| {
        let dir = tempfile::tempdir().expect("a directory");
        let authority = Authority::create(&dir.path().join("authority")).expect("an authority");
        (dir, authority)
    });
    // Several tests may ask for the same name at once: each has a directory of its own.
    let out = tempfile::tempdir().expect("a directory");
    let files = DIR.1.issue(&name, out.path()).expect("files");
    Identity::load(&files).expect("good files")
}

/// Numbers that look random and are the same in every run.
pub struct Draw(pub u64);

impl Draw {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}
