//! What a hub tells.

use std::fmt;
use std::io;

use everopen_identity::{Name, SessionError};

/// One connection of a hub. Never used again for another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub(crate) u64);

impl fmt::Display for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.serial(), self.slot())
    }
}

impl fmt::Debug for ConnId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnId({self})")
    }
}

/// What happened to a connection: [`Event::Opened`] at most once, frames after it, and
/// [`Event::Closed`] once at the end, but for connections that [`crate::Hub::close`] ended.
/// One that others open and that never finishes its handshake is closed without being opened.
#[derive(Debug)]
pub enum Event<'a> {
    /// The handshake is done. Who dialed knows from it who accepted, but not yet that it was
    /// accepted itself: that shows when the first frame comes.
    Opened {
        /// Which one.
        conn: ConnId,
        /// The verified name of the other end; none on plain connections.
        peer: Option<Name>,
        /// Whether this side dialed.
        dialed: bool,
    },
    /// A whole frame came.
    Frame {
        /// From where.
        conn: ConnId,
        /// What it holds.
        bytes: &'a [u8],
    },
    /// It has ended, or could not be dialed. What was queued for it is lost.
    Closed {
        /// Which one.
        conn: ConnId,
        /// Why, for the log.
        reason: CloseReason,
    },
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub enum CloseReason {
    /// The other end closed it, or its process ended.
    #[error("closed by the peer")]
    ByPeer,
    /// The other end closed it within a frame.
    #[error("closed by the peer within a frame")]
    MidFrame,
    /// Nobody is reached at that address.
    #[error("not reachable: {0}")]
    Unreachable(io::Error),
    /// The handshake was not done within [`crate::Limits::handshake`].
    #[error("the handshake took too long")]
    HandshakeSlow,
    /// One end does not trust the other, or the bytes are no TLS.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The peer announced a frame above [`crate::Limits::frame_bytes_max`].
    #[error("the peer announced a frame of {bytes} bytes, above the limit of {limit}")]
    FrameTooLarge {
        /// What it announced.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// The network or the system failed.
    #[error(transparent)]
    Io(io::Error),
}

/// Why a frame was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// Too much waits for that peer already; later there may be room.
    #[error("too much waits to be sent to the peer")]
    Full,
    /// The connection has ended.
    #[error("the connection has ended")]
    Gone,
    /// The frame is above [`crate::Limits::frame_bytes_max`]; there will never be room.
    #[error("the frame is larger than any may be")]
    TooLarge,
}
