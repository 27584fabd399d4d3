//! The event loop's network: one poll, its listeners and its connections.

use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::mem;
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use everopen_identity::{Name, Session};
use mio::net::TcpStream;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::connection::{Connection, Stage, opened};
use crate::event::{CloseReason, ConnId, Event, SendError};
use crate::frames::HEADER;
use crate::limits::{Limits, Security};
use crate::listener::Listener;
use crate::slots::{FIRST_ID, Slots};
use crate::spin::Spin;
use crate::waker::Waker;

const WAKE: Token = Token(0);
/// Of files that only end a wait: no listener has that number.
const WATCHED: Token = Token(FIRST_ID as usize - 1);
pub(crate) const FIRST_LISTENER: usize = 1;
/// Events that one poll takes.
const EVENTS: usize = 256;
/// Bytes that one system call reads at most.
const SCRATCH_BYTES: usize = 64 << 10;
// Ids of connections are tokens of the poll.
const _: () = assert!(size_of::<usize>() == size_of::<u64>());

/// One event loop's network; see the crate's documentation.
#[derive(Debug)]
pub struct Hub {
    pub(crate) poll: Poll,
    events: Events,
    waker: Waker,
    pub(crate) limits: Limits,
    pub(crate) security: Security,
    pub(crate) listeners: Vec<Listener>,
    pub(crate) slots: Slots,
    /// Connections that others opened.
    pub(crate) accepted: usize,
    /// When those that are not open yet must be, in order.
    pub(crate) deadlines: VecDeque<(Instant, ConnId)>,
    /// Connections with something to read.
    ready: Vec<ConnId>,
    /// Connections with something to write.
    dirty: Vec<ConnId>,
    /// The other half of either list while it is worked through.
    spare: Vec<ConnId>,
    /// Connections that have ended and of which nobody was told.
    ended: Vec<(ConnId, CloseReason)>,
    scratch: Box<[u8]>,
    spin: Spin,
}

impl Hub {
    /// Makes a hub without connections.
    ///
    /// # Errors
    /// When the system gives no poll, or the limits contradict themselves.
    pub fn new(limits: Limits, security: Security) -> io::Result<Self> {
        if u32::try_from(limits.frame_bytes_max).is_err()
            || limits.outgoing_bytes_max < limits.frame_bytes_max + HEADER
            || limits.read_bytes_per_turn == 0
            || limits.connections_max >= FIRST_ID as usize / 2
        {
            return Err(io::Error::new(
                ErrorKind::InvalidInput,
                "limits that contradict themselves",
            ));
        }
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            waker,
            limits,
            security,
            listeners: Vec::new(),
            slots: Slots::default(),
            accepted: 0,
            deadlines: VecDeque::new(),
            ready: Vec::new(),
            dirty: Vec::new(),
            spare: Vec::new(),
            ended: Vec::new(),
            scratch: vec![0; SCRATCH_BYTES].into(),
            spin: Spin::default(),
        })
    }

    /// Dials a process, which must be `expect`. Does not wait: [`Event::Opened`] or
    /// [`Event::Closed`] tells what became of it. Frames may be queued at once.
    pub fn dial(&mut self, address: SocketAddr, expect: Name) -> ConnId {
        let id = self.slots.reserve();
        let session = match &self.security {
            Security::Mutual(identity) => Some(Session::dial(identity, expect)),
            Security::Plain => None,
        };
        let registered = TcpStream::connect(address).and_then(|mut stream| {
            self.poll
                .registry()
                .register(&mut stream, token(id), interest())?;
            Ok(stream)
        });
        match registered {
            Ok(stream) => {
                self.slots
                    .insert(id, Connection::new(stream, session, true));
                self.deadlines
                    .push_back((Instant::now() + self.limits.handshake, id));
            }
            Err(error) => {
                self.slots.release(id);
                self.ended.push((id, CloseReason::Unreachable(error)));
            }
        }
        id
    }

    /// Queues a frame; nothing is written before [`Hub::flush`].
    ///
    /// # Errors
    /// When nothing was queued; see [`SendError`].
    pub fn send(&mut self, conn: ConnId, frame: &[u8]) -> Result<(), SendError> {
        self.send_parts(conn, &[frame])
    }

    /// Queues one frame that lies in several parts.
    ///
    /// # Errors
    /// When nothing was queued; see [`SendError`].
    pub fn send_parts(&mut self, conn: ConnId, parts: &[&[u8]]) -> Result<(), SendError> {
        let connection = self.slots.get_mut(conn).ok_or(SendError::Gone)?;
        if connection.broken.is_some() {
            return Err(SendError::Gone);
        }
        let length = parts.iter().map(|part| part.len()).sum();
        if length > self.limits.frame_bytes_max {
            return Err(SendError::TooLarge);
        }
        if connection.queued() + HEADER + length > self.limits.outgoing_bytes_max {
            return Err(SendError::Full);
        }
        connection.push(length, parts);
        if !connection.in_dirty {
            connection.in_dirty = true;
            self.dirty.push(conn);
        }
        Ok(())
    }

    /// Bytes that wait to be written to a connection; 0 when it has ended.
    pub fn queued(&self, conn: ConnId) -> usize {
        self.slots.get(conn).map_or(0, Connection::queued)
    }

    /// Stops reading from an open connection, or goes on: the peer then waits as soon as the
    /// system's buffers are full. While it is paused, nothing tells that the peer has gone unless
    /// something is written.
    pub fn pause_reading(&mut self, conn: ConnId, pause: bool) {
        if let Some(connection) = self.slots.get_mut(conn) {
            connection.paused = pause;
            if !pause && connection.readable {
                make_ready(&mut self.ready, conn, connection);
            }
        }
    }

    /// Ends a connection. What is queued is written as far as the socket takes it at once; the
    /// system may still drop it when the peer goes on sending. No more is told of the connection.
    pub fn close(&mut self, conn: ConnId) {
        if let Some(mut connection) = self.remove(conn) {
            connection.part();
        }
        self.ended.retain(|(id, _)| *id != conn);
    }

    /// Writes what is queued, as far as sockets take it. The rest is written in later turns.
    pub fn flush(&mut self) {
        let mut list = mem::replace(&mut self.dirty, mem::take(&mut self.spare));
        for id in list.drain(..) {
            if let Some(connection) = self.slots.get_mut(id) {
                connection.in_dirty = false;
                if connection.writable {
                    self.write(id);
                }
            }
        }
        self.spare = list;
    }

    /// Lets a wait end when that file, which is no connection, becomes readable (anew each time). A file that
    /// is closed is watched no longer.
    ///
    /// # Errors
    /// When the system can't watch it.
    pub fn watch(&mut self, file: RawFd) -> io::Result<()> {
        self.poll
            .registry()
            .register(&mut SourceFd(&file), WATCHED, Interest::READABLE)
    }

    /// What wakes this hub from other threads.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }

    /// Waits at most `timeout` (none: for ever) for the network, a wake or a deadline of its own,
    /// and tells what came. May return without having told anything.
    ///
    /// # Errors
    /// When the poll itself fails.
    pub fn turn(
        &mut self,
        timeout: Option<Duration>,
        on: &mut dyn FnMut(Event<'_>),
    ) -> io::Result<()> {
        self.poll(timeout)?;
        self.note_events(on);
        self.accept(on);
        self.read(on);
        self.cut_slow();
        for (conn, reason) in self.ended.drain(..) {
            on(Event::Closed { conn, reason });
        }
        Ok(())
    }

    /// Before a wait, looks again and again for so long whether something comes, and lets other threads
    /// run in between; zero, as at the beginning, for waiting at once. What comes within that time is not
    /// paid for with a thread's being woken. Does nothing while nothing comes that soon.
    pub fn look_before_waiting(&mut self, most: Duration) {
        self.spin.set(most);
    }

    fn poll(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let mut timeout = timeout;
        if !self.ready.is_empty()
            || !self.ended.is_empty()
            || self.listeners.iter().any(|l| l.ready)
        {
            timeout = Some(Duration::ZERO);
        } else if timeout != Some(Duration::ZERO) {
            if let Some(due) = self.next_due() {
                let left = due.saturating_duration_since(Instant::now());
                timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
            }
            if self.look(timeout)? {
                self.waker.awake();
                return Ok(());
            }
            if !self.waker.may_sleep() {
                timeout = Some(Duration::ZERO);
            }
        }
        let began = self.spin.is_set().then(Instant::now);
        self.poll_for(timeout)?;
        self.waker.awake();
        if let Some(began) = began
            && !self.events.is_empty()
        {
            self.spin.waited(began.elapsed());
        }
        Ok(())
    }

    /// Looks for as long as is of use. Whether something has come.
    fn look(&mut self, timeout: Option<Duration>) -> io::Result<bool> {
        let most = self.spin.now();
        if most.is_zero() {
            return Ok(false);
        }
        let until = Instant::now() + timeout.map_or(most, |timeout| timeout.min(most));
        loop {
            self.poll_for(Some(Duration::ZERO))?;
            let has_come = !self.events.is_empty() || self.waker.is_notified();
            if has_come || Instant::now() >= until {
                self.spin.looked(has_come);
                return Ok(has_come);
            }
            std::thread::yield_now();
        }
    }

    fn poll_for(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            polled => polled,
        }
    }

    /// The next moment at which something is to be done though nothing comes.
    fn next_due(&mut self) -> Option<Instant> {
        while let Some((_, id)) = self.deadlines.front() {
            if self.slots.get(*id).is_some_and(|c| c.stage != Stage::Open) {
                break;
            }
            self.deadlines.pop_front();
        }
        let accept = self.listeners.iter().filter_map(|l| l.retry_at).min();
        let handshake = self.deadlines.front().map(|(due, _)| *due);
        accept.into_iter().chain(handshake).min()
    }

    fn note_events(&mut self, on: &mut dyn FnMut(Event<'_>)) {
        let events = mem::replace(&mut self.events, Events::with_capacity(0));
        for event in &events {
            let Token(token) = event.token();
            if token < FIRST_ID as usize {
                if let Some(listener) = token
                    .checked_sub(FIRST_LISTENER)
                    .and_then(|index| self.listeners.get_mut(index))
                {
                    listener.ready = true;
                }
                continue;
            }
            let id = ConnId(token as u64);
            let Some(connection) = self.slots.get_mut(id) else {
                continue;
            };
            if connection.stage == Stage::Connecting {
                match connection.connected() {
                    Ok(false) => continue,
                    Ok(true) if connection.stage == Stage::Open => on(opened(id, None, true)),
                    Ok(true) => {}
                    Err(reason) => {
                        self.end(id, reason);
                        continue;
                    }
                }
                self.write(id);
            } else if event.is_writable() && !connection.writable {
                connection.writable = true;
                self.write(id);
            }
            let Some(connection) = self.slots.get_mut(id) else {
                continue;
            };
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                connection.readable = true;
                connection.read_closed |= event.is_read_closed() || event.is_error();
                make_ready(&mut self.ready, id, connection);
            }
        }
        self.events = events;
    }

    fn read(&mut self, on: &mut dyn FnMut(Event<'_>)) {
        let mut list = mem::replace(&mut self.ready, mem::take(&mut self.spare));
        for id in list.drain(..) {
            let Some(connection) = self.slots.get_mut(id) else {
                continue;
            };
            connection.in_ready = false;
            if connection.paused && connection.stage == Stage::Open {
                if let Some(reason) = connection.broken.take() {
                    self.end(id, reason);
                }
                continue;
            }
            let read = connection.read(
                id,
                &mut self.scratch,
                self.limits.read_bytes_per_turn,
                self.limits.frame_bytes_max,
                on,
            );
            if let Err(reason) = read {
                if matches!(reason, CloseReason::Session(_)) {
                    connection.alert();
                }
                let reason = connection.broken.take().unwrap_or(reason);
                self.end(id, reason);
                continue;
            }
            if connection.readable {
                make_ready(&mut self.ready, id, connection);
            } else if let Some(reason) = connection.broken.take() {
                self.end(id, reason);
                continue;
            }
            // What the session says itself, and what waited for the end of the handshake.
            if connection.writable && !connection.in_dirty && connection.wants_write() {
                self.write(id);
            }
        }
        self.spare = list;
    }

    fn cut_slow(&mut self) {
        while let Some((due, id)) = self.deadlines.front().copied() {
            if self.slots.get(id).is_some_and(|c| c.stage != Stage::Open) {
                if due > Instant::now() {
                    break;
                }
                self.end(id, CloseReason::HandshakeSlow);
            }
            self.deadlines.pop_front();
        }
    }

    /// Writes to one connection. When that fails, what the peer said last is still read first.
    fn write(&mut self, id: ConnId) {
        let Some(connection) = self.slots.get_mut(id) else {
            return;
        };
        if let Err(error) = connection.write()
            && connection.broken.is_none()
        {
            connection.broken = Some(CloseReason::Io(error));
            connection.writable = false;
            connection.readable = true;
            make_ready(&mut self.ready, id, connection);
        }
    }

    fn end(&mut self, id: ConnId, reason: CloseReason) {
        if self.remove(id).is_some() {
            self.ended.push((id, reason));
        }
    }

    fn remove(&mut self, id: ConnId) -> Option<Connection> {
        let connection = self.slots.remove(id)?;
        if !connection.dialed {
            self.accepted -= 1;
        }
        Some(connection)
    }
}

fn make_ready(ready: &mut Vec<ConnId>, id: ConnId, connection: &mut Connection) {
    if !connection.in_ready {
        connection.in_ready = true;
        ready.push(id);
    }
}

pub(crate) fn token(id: ConnId) -> Token {
    Token(id.0 as usize)
}

/// Both, once and for all: the poll tells edges, so that being writable costs nothing until a full
/// socket has room again.
pub(crate) fn interest() -> Interest {
    Interest::READABLE | Interest::WRITABLE
}
