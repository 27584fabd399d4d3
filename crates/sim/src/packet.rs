//! What travels between replicas and clients.

use bytes::Bytes;
use everopen_replica::core::{Answer, Refused};
use everopen_replica::state::Digest;

/// Replicas have their own numbers, clients begin here.
pub(crate) const CLIENTS: u64 = 1_000_000;

/// Something on its way.
#[derive(Clone, Debug)]
pub(crate) enum Packet {
    /// A consensus message, encoded.
    Raft(Vec<u8>),
    Digest {
        index: u64,
        hash: Digest,
    },
    StateHash {
        index: u64,
        hash: Digest,
    },
    /// Which rules a replica knows.
    Hello {
        logic_max: u16,
    },
    /// For a piece of a whole state.
    Ask {
        place: u64,
        offset: u64,
    },
    Part {
        place: u64,
        offset: u64,
        chunk: Bytes,
    },
    Request {
        about: About,
        wish: Wish,
    },
    Reply {
        about: About,
        reply: Reply,
    },
}

/// Which of its requests a client is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Session,
    Command { session: u64, sequence: u64 },
    Read { number: u64 },
}

/// What a client asks for.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    Open { nonce: u64 },
    Apply(Submitted),
    Read,
}

/// Commands in a session.
#[derive(Clone, Debug)]
pub(crate) struct Submitted {
    pub behind: u32,
    pub count: u16,
    pub commands: Bytes,
}

/// What a client hears.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    Answer(Answer),
    Refused {
        refused: Refused,
        leader: Option<u64>,
    },
}

impl Packet {
    /// A word for the trace.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Raft(_) => "raft",
            Self::Digest { .. } => "digest",
            Self::StateHash { .. } => "state-hash",
            Self::Hello { .. } => "hello",
            Self::Ask { .. } => "ask",
            Self::Part { .. } => "part",
            Self::Request { .. } => "request",
            Self::Reply { .. } => "reply",
        }
    }
}
