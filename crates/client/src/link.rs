//! One connection to one replica at a time, and which replica is next.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use everopen_rpc::{ConnId, Event, Hub, Name};
use everopen_wire::message::{Message, PROTOCOL, Role};

use crate::shared::Shared;
use crate::{Node, NodeId};

/// Between two attempts, at first and at most.
const BACKOFF_LEAST: Duration = Duration::from_millis(10);
const BACKOFF_MOST: Duration = Duration::from_millis(100);
/// How long a replica may take from the first packet to its greeting.
const GREETING: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum State {
    Down { dial_at: Instant },
    Dialed { conn: ConnId, until: Instant },
    Up { conn: ConnId },
}

/// What an event means for the owner of the link.
pub(crate) enum Heard<'a> {
    /// Nothing.
    Nothing,
    /// The replica has greeted: it can be asked.
    Up,
    /// It said something.
    Message(Message<'a>),
    /// The connection is lost; the next replica is dialed soon.
    Lost,
}

pub(crate) struct Link {
    shared: Arc<Shared>,
    state: State,
    /// Of the replica that is dialed, among all that are known.
    place: usize,
    node: NodeId,
    backoff: Duration,
    closing: Vec<ConnId>,
}

impl Link {
    /// Begins with the replica at that place.
    pub fn new(shared: Arc<Shared>, place: usize) -> Self {
        Self {
            shared,
            state: State::Down {
                dial_at: Instant::now(),
            },
            place,
            node: 0,
            backoff: BACKOFF_LEAST,
            closing: Vec::new(),
        }
    }

    /// The connection, if the replica has greeted.
    pub fn up(&self) -> Option<ConnId> {
        match self.state {
            State::Up { conn } => Some(conn),
            _ => None,
        }
    }

    /// When there is something to do next that the network will not say.
    pub fn wake_at(&self) -> Option<Instant> {
        match self.state {
            State::Down { dial_at } => Some(dial_at),
            State::Dialed { until, .. } => Some(until),
            State::Up { .. } => None,
        }
    }

    /// Takes what the network tells.
    pub fn hear<'a>(&mut self, event: &Event<'a>) -> Heard<'a> {
        let current = match self.state {
            State::Dialed { conn, .. } | State::Up { conn } => Some(conn),
            State::Down { .. } => None,
        };
        match *event {
            Event::Frame { conn, bytes } if current == Some(conn) => match Message::decode(bytes) {
                Ok(message) => self.hear_message(message),
                Err(error) => {
                    tracing::warn!(node = self.number(), %error, "a replica can't be understood");
                    self.give_up();
                    Heard::Lost
                }
            },
            Event::Closed { conn, ref reason } if current == Some(conn) => {
                tracing::debug!(node = self.number(), %reason, "connection to a replica ended");
                self.give_up();
                Heard::Lost
            }
            _ => Heard::Nothing,
        }
    }

    fn hear_message<'a>(&mut self, message: Message<'a>) -> Heard<'a> {
        match (&self.state, message) {
            (State::Up { .. }, message) => Heard::Message(message),
            (State::Dialed { conn, .. }, Message::Hello { protocol, .. })
                if protocol == PROTOCOL =>
            {
                self.state = State::Up { conn: *conn };
                Heard::Up
            }
            _ => {
                let node = self.number();
                tracing::warn!(node, "a replica speaks another version of the protocol");
                self.give_up();
                Heard::Lost
            }
        }
    }

    fn number(&self) -> u64 {
        self.node
    }

    /// The replica is as it should be: when it is lost, the next is dialed at once.
    pub fn is_good(&mut self) {
        self.backoff = BACKOFF_LEAST;
    }

    /// Leaves the replica; the next one is dialed after a pause.
    pub fn give_up(&mut self) {
        self.leave(Instant::now() + self.backoff);
        self.backoff = (self.backoff * 2).min(BACKOFF_MOST);
        self.place += 1;
    }

    /// Leaves the replica for the one at that place, at once.
    pub fn go_to(&mut self, place: usize) {
        self.leave(Instant::now());
        self.place = place;
    }

    /// Leaves the replica and dials it again.
    pub fn leave(&mut self, dial_at: Instant) {
        match self.state {
            State::Dialed { conn, .. } | State::Up { conn } => self.closing.push(conn),
            State::Down { .. } => {}
        }
        self.state = State::Down { dial_at };
    }

    /// Does what is due. True when a replica was given up because it does not greet.
    pub fn tend(&mut self, now: Instant, hub: &mut Hub) {
        for conn in self.closing.drain(..) {
            hub.close(conn);
        }
        match self.state {
            State::Down { dial_at } if dial_at <= now => self.dial(now, hub),
            State::Dialed { conn, until } if until <= now => {
                tracing::debug!(node = self.number(), "a replica does not greet");
                hub.close(conn);
                self.state = State::Down { dial_at: now };
                self.give_up();
            }
            _ => {}
        }
    }

    fn dial(&mut self, now: Instant, hub: &mut Hub) {
        let Some((place, node)) = self.shared.node(self.place) else {
            self.state = State::Down {
                dial_at: now + BACKOFF_MOST,
            };
            return;
        };
        let Node { id, address } = node;
        (self.place, self.node) = (place, id);
        let address = match resolve(&address) {
            Ok(address) => address,
            Err(error) => {
                tracing::warn!(node = id, address, %error, "a replica's address can't be resolved");
                self.place += 1;
                self.state = State::Down {
                    dial_at: now + BACKOFF_MOST,
                };
                return;
            }
        };
        let conn = hub.dial(address, Name::Node(id));
        greet(hub, conn);
        self.state = State::Dialed {
            conn,
            until: now + GREETING,
        };
    }
}

/// An address of a replica as a connection needs it.
pub(crate) fn resolve(address: &str) -> io::Result<SocketAddr> {
    address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other("no such address"))
}

/// Queues the greeting of a client.
pub(crate) fn greet(hub: &mut Hub, conn: ConnId) {
    let hello = Message::Hello {
        protocol: PROTOCOL,
        role: Role::Client,
        node: 0,
        cluster: [0; 16],
        logic_min: 0,
        logic_max: 0,
        address: "",
        build: env!("CARGO_PKG_VERSION"),
    };
    let mut bytes = Vec::new();
    hello.encode(&mut bytes);
    // If there is no connection the hub tells it in its next turn.
    let _ = hub.send(conn, &bytes);
}
