//! What travels between replicas and clients.

use bytes::Bytes;
use everopen_replica::core::{Answer, Refused};
use everopen_replica::message;
use everopen_replica::state::Digest;

/// Replicas have their own numbers, clients begin here.
pub(crate) const CLIENTS: u64 = 1_000_000_000_000_000_000;

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
    /// A number for its kind.
    pub fn kind(&self) -> u64 {
        match self {
            Self::Raft(bytes) => 16 + u64::from(bytes.first().copied().unwrap_or(0)),
            Self::Digest { .. } => 1,
            Self::StateHash { .. } => 2,
            Self::Hello { .. } => 3,
            Self::Ask { .. } => 4,
            Self::Part { .. } => 5,
            Self::Request { .. } => 6,
            Self::Reply { .. } => 7,
        }
    }

    /// Something of what it says.
    pub fn number(&self) -> u64 {
        match self {
            Self::Raft(bytes) => bytes.len() as u64,
            Self::Digest { index, .. } | Self::StateHash { index, .. } => *index,
            Self::Hello { logic_max } => u64::from(*logic_max),
            Self::Ask { place, offset } | Self::Part { place, offset, .. } => place ^ offset << 32,
            Self::Request { about, .. } | Self::Reply { about, .. } => match about {
                About::Session => 0,
                About::Command { sequence, .. } => *sequence,
                About::Read { number } => *number,
            },
        }
    }

    /// For the trace.
    pub fn text(&self) -> String {
        match self {
            Self::Raft(bytes) => match message::decode(bytes) {
                Ok(m) => format!(
                    "{:?} term {} log {}/{} commit {} entries {} reject {} hint {}",
                    m.get_msg_type(),
                    m.term,
                    m.index,
                    m.log_term,
                    m.commit,
                    m.entries.len(),
                    m.reject,
                    m.reject_hint
                ),
                Err(error) => error.to_string(),
            },
            Self::Digest { index, .. } => format!("digest of {index}"),
            Self::StateHash { index, .. } => format!("state hash of {index}"),
            Self::Hello { logic_max } => format!("knows rules up to {logic_max}"),
            Self::Ask { place, offset } => format!("asks for {place} from {offset}"),
            Self::Part {
                place,
                offset,
                chunk,
            } => format!("{} bytes of {place} from {offset}", chunk.len()),
            Self::Request { about, .. } => format!("asks {about:?}"),
            Self::Reply { about, reply } => match reply {
                Reply::Answer(_) => format!("answers {about:?}"),
                Reply::Refused { refused, .. } => format!("refuses {about:?}: {}", refused.code),
            },
        }
    }
}
