//! One connection: its socket, its session if it has one, and what waits in it.

use std::io::{self, ErrorKind, Read, Write};

use everopen_identity::{Name, Session};
use mio::net::TcpStream;

use crate::event::{CloseReason, ConnId, Event};
use crate::frames::{Incoming, Outgoing};

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The system is still dialing.
    Connecting,
    /// Keys are agreed on and names shown.
    Handshake,
    /// Frames go both ways.
    Open,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub stream: TcpStream,
    /// None on plain connections.
    session: Option<Box<Session>>,
    pub dialed: bool,
    pub stage: Stage,
    incoming: Incoming,
    outgoing: Outgoing,
    /// Bytes of frames that are sealed and not all written.
    sealed: usize,
    /// The socket may have more to read.
    pub readable: bool,
    /// The peer has sent its last byte: a short read is not the end of what there is.
    pub read_closed: bool,
    /// The socket took all that was written.
    pub writable: bool,
    pub paused: bool,
    /// In the hub's list of those to read.
    pub in_ready: bool,
    /// In the hub's list of those to write.
    pub in_dirty: bool,
    /// Writing failed; what can still be read is read, then it ends for this reason.
    pub broken: Option<CloseReason>,
}

impl Connection {
    pub fn new(stream: TcpStream, session: Option<Session>, dialed: bool) -> Self {
        Self {
            stage: match (dialed, &session) {
                (true, _) => Stage::Connecting,
                (false, Some(_)) => Stage::Handshake,
                (false, None) => Stage::Open,
            },
            stream,
            session: session.map(Box::new),
            dialed,
            incoming: Incoming::default(),
            outgoing: Outgoing::default(),
            sealed: 0,
            readable: false,
            read_closed: false,
            writable: true,
            paused: false,
            in_ready: false,
            in_dirty: false,
            broken: None,
        }
    }

    /// Bytes that wait to be written.
    pub fn queued(&self) -> usize {
        self.outgoing.len() + self.sealed
    }

    pub fn push(&mut self, length: usize, parts: &[&[u8]]) {
        self.outgoing.push(length, parts);
    }

    /// Looks what became of dialing. True when it is done.
    pub fn connected(&mut self) -> Result<bool, CloseReason> {
        if let Some(error) = self.stream.take_error().map_err(CloseReason::Unreachable)? {
            return Err(CloseReason::Unreachable(error));
        }
        let peer = match self.stream.peer_addr() {
            Ok(peer) => peer,
            Err(error) if error.kind() == ErrorKind::NotConnected => return Ok(false),
            Err(error) => return Err(CloseReason::Unreachable(error)),
        };
        // On one machine, dialing a port that nobody listens on may hit the very port that it was
        // given itself. Keeping that would also keep the port from who should listen there.
        if self.stream.local_addr().is_ok_and(|own| own == peer) {
            return Err(CloseReason::Unreachable(
                ErrorKind::ConnectionRefused.into(),
            ));
        }
        self.stream.set_nodelay(true).map_err(CloseReason::Io)?;
        self.stage = match self.session {
            Some(_) => Stage::Handshake,
            None => Stage::Open,
        };
        Ok(true)
    }

    /// Reads until the socket is empty or `budget` is used up, and tells what came.
    pub fn read(
        &mut self,
        id: ConnId,
        scratch: &mut [u8],
        budget: usize,
        frame_bytes_max: usize,
        on: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), CloseReason> {
        let mut left = budget;
        while self.readable && left > 0 {
            match self.stream.read(scratch) {
                Ok(0) => {
                    return Err(if self.incoming.is_empty() {
                        CloseReason::ByPeer
                    } else {
                        CloseReason::MidFrame
                    });
                }
                Ok(length) => {
                    // A socket that gave less than it could is empty; more, or its end, is told
                    // by the poll.
                    self.readable = length == scratch.len() || self.read_closed;
                    left = left.saturating_sub(length);
                    self.take(id, &scratch[..length], frame_bytes_max, on)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(CloseReason::Io(error)),
            }
        }
        Ok(())
    }

    fn take(
        &mut self,
        id: ConnId,
        mut bytes: &[u8],
        frame_bytes_max: usize,
        on: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), CloseReason> {
        let Self {
            session, incoming, ..
        } = self;
        let Some(session) = session else {
            return incoming.take(bytes, frame_bytes_max, |bytes| {
                on(Event::Frame { conn: id, bytes });
            });
        };
        while !bytes.is_empty() {
            let more = session.feed(&mut bytes)?;
            if self.stage == Stage::Handshake && !session.is_handshaking() {
                self.stage = Stage::Open;
                let peer = session.peer()?;
                on(opened(id, Some(peer), self.dialed));
            }
            loop {
                let plaintext = session.plaintext();
                if plaintext.is_empty() {
                    break;
                }
                incoming.take(plaintext, frame_bytes_max, |bytes| {
                    on(Event::Frame { conn: id, bytes });
                })?;
                let length = plaintext.len();
                session.consume(length);
            }
            if !more {
                return Err(if incoming.is_empty() {
                    CloseReason::ByPeer
                } else {
                    CloseReason::MidFrame
                });
            }
        }
        Ok(())
    }

    /// Whether writing would write something now.
    pub fn wants_write(&self) -> bool {
        self.session.as_ref().is_some_and(|s| s.wants_write())
            || (self.stage == Stage::Open && self.outgoing.len() > 0)
    }

    /// Writes until nothing waits or the socket is full.
    pub fn write(&mut self) -> io::Result<()> {
        if self.stage == Stage::Connecting {
            return Ok(());
        }
        loop {
            if let Some(session) = &mut self.session
                && self.stage == Stage::Open
            {
                let sealed = session.seal(self.outgoing.pending());
                self.outgoing.advance(sealed);
                self.sealed += sealed;
            }
            let written = match &mut self.session {
                Some(session) if session.wants_write() => session.write_to(&mut self.stream),
                None if self.outgoing.len() > 0 => self.stream.write(self.outgoing.pending()),
                // A session that said goodbye, or whose keys are used up beyond renewal.
                Some(_) if self.stage == Stage::Open && self.outgoing.len() > 0 => {
                    return Err(io::Error::other("the session seals no more"));
                }
                _ => {
                    self.sealed = 0;
                    return Ok(());
                }
            };
            match written {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(written) if self.session.is_none() => self.outgoing.advance(written),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.writable = false;
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Says goodbye, as far as the socket takes it without waiting.
    pub fn part(&mut self) {
        if self.stage == Stage::Connecting || !self.writable || self.write().is_err() {
            return;
        }
        if let Some(session) = &mut self.session {
            session.seal_goodbye();
            // Nobody is left to be told when this fails.
            let _ = session.write_to(&mut self.stream);
        }
    }

    /// Writes the alert that tells the peer what it did wrong, if there is one.
    pub fn alert(&mut self) {
        if let Some(session) = &mut self.session
            && session.wants_write()
        {
            let _ = session.write_to(&mut self.stream);
        }
    }
}

pub(crate) fn opened(conn: ConnId, peer: Option<Name>, dialed: bool) -> Event<'static> {
    Event::Opened { conn, peer, dialed }
}
