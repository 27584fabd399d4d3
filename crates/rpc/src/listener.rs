//! The way in: connections that others open.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use everopen_identity::Session;
use mio::net::{TcpListener, TcpStream};
use mio::{Interest, Token};

use crate::connection::{Connection, opened};
use crate::event::Event;
use crate::hub::{FIRST_LISTENER, Hub, interest, token};
use crate::limits::Security;

/// Connections that are accepted in a turn before those that are there have theirs.
const ACCEPTS_PER_TURN: usize = 64;
/// How long to wait when the system cannot accept, for want of file descriptors for instance.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug)]
pub(crate) struct Listener {
    socket: TcpListener,
    /// Somebody may wait to be accepted.
    pub ready: bool,
    /// When to try again after the system could not accept.
    pub retry_at: Option<Instant>,
}

impl Hub {
    /// Accepts connections from a listener, and says its address.
    ///
    /// # Errors
    /// Those of the system.
    pub fn listen(&mut self, listener: std::net::TcpListener) -> io::Result<SocketAddr> {
        listener.set_nonblocking(true)?;
        let mut socket = TcpListener::from_std(listener);
        let address = socket.local_addr()?;
        let token = Token(FIRST_LISTENER + self.listeners.len());
        self.poll
            .registry()
            .register(&mut socket, token, Interest::READABLE)?;
        self.listeners.push(Listener {
            socket,
            ready: true,
            retry_at: None,
        });
        Ok(address)
    }

    pub(crate) fn accept(&mut self, on: &mut dyn FnMut(Event<'_>)) {
        for index in 0..self.listeners.len() {
            let listener = &mut self.listeners[index];
            if listener.retry_at.is_some_and(|at| at <= Instant::now()) {
                listener.retry_at = None;
                listener.ready = true;
            }
            for _ in 0..ACCEPTS_PER_TURN {
                let listener = &mut self.listeners[index];
                if !listener.ready {
                    break;
                }
                match listener.socket.accept() {
                    Ok((stream, address)) => self.welcome(stream, address, on),
                    Err(error) => match error.kind() {
                        ErrorKind::WouldBlock => listener.ready = false,
                        // Those that gave up before they were accepted.
                        ErrorKind::Interrupted
                        | ErrorKind::ConnectionAborted
                        | ErrorKind::ConnectionReset => {}
                        _ => {
                            tracing::warn!(%error, "cannot accept connections");
                            listener.ready = false;
                            listener.retry_at = Some(Instant::now() + ACCEPT_PAUSE);
                        }
                    },
                }
            }
        }
    }

    fn welcome(
        &mut self,
        mut stream: TcpStream,
        address: SocketAddr,
        on: &mut dyn FnMut(Event<'_>),
    ) {
        if self.accepted >= self.limits.connections_max {
            tracing::debug!(%address, "turned a connection away: there are too many");
            return;
        }
        let id = self.slots.reserve();
        let registered = stream.set_nodelay(true).and_then(|()| {
            self.poll
                .registry()
                .register(&mut stream, token(id), interest())
        });
        if let Err(error) = registered {
            tracing::warn!(%address, %error, "cannot take a connection");
            self.slots.release(id);
            return;
        }
        let session = match &self.security {
            Security::Mutual(identity) => Some(Session::accept(identity)),
            Security::Plain => None,
        };
        self.accepted += 1;
        let plain = session.is_none();
        self.slots
            .insert(id, Connection::new(stream, session, false));
        if plain {
            on(opened(id, None, false));
        } else {
            self.deadlines
                .push_back((Instant::now() + self.limits.handshake, id));
        }
    }
}
