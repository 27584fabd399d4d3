//! What a turn of the core asks its surroundings to do, and what they ask of it.

use bytes::Bytes;
use everopen_domain::{Command, Timestamp};
use everopen_wire::message::RefusalCode;
use raft::eraftpb::{Entry, HardState, Message};

use crate::sessions::Stored;
use crate::state::AppliedEntry;
use crate::understudy::{Job, Line};

/// Names a request until it is answered. The surroundings choose it.
pub type Ticket = u64;

/// A request to the leader.
#[derive(Clone, Debug)]
pub enum Submission<'a> {
    /// Open a session.
    OpenSession {
        /// Drawn by the client.
        nonce: u64,
    },
    /// Commands of a session, encoded one after the other.
    Session {
        /// The session.
        client: u64,
        /// The place among its requests.
        sequence: u64,
        /// `sequence` less the lowest one that is unanswered.
        behind: u32,
        /// How many commands.
        count: u16,
        /// The commands.
        commands: &'a [u8],
    },
    /// Commands outside of every session: for what the operator of this process asks.
    Internal(&'a [Command]),
}

/// Why a request was not taken or has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub code: RefusalCode,
    /// When to try again, in milliseconds; 0 says nothing.
    pub retry_after_ms: u32,
}

impl Refused {
    pub(crate) fn new(code: RefusalCode) -> Self {
        Self {
            code,
            retry_after_ms: 0,
        }
    }

    pub(crate) fn later(code: RefusalCode, retry_after_ms: u32) -> Self {
        Self {
            code,
            retry_after_ms,
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was applied, now or before.
    Done(Stored),
    /// The session is open.
    Opened(u64),
    /// The index that a reader must have applied.
    ReadAt(u64),
    /// The membership has changed, as of this index.
    Changed(u64),
    /// There is no other answer.
    Refused(Refused),
}

/// A record for the journal.
#[derive(Clone, Debug)]
pub enum Record {
    /// Term, vote and what is known to be committed.
    HardState(HardState),
    /// An entry of the log.
    Entry(Entry),
}

impl Record {
    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        match self {
            Self::HardState(_) => 32,
            Self::Entry(entry) => 32 + entry.data.len() + entry.context.len(),
        }
    }
}

/// A whole state to be put on the disk, in place of everything before it.
#[derive(Clone, Debug)]
pub struct Install {
    /// The record that says so.
    pub record: Vec<u8>,
    /// The place of that record, at which the snapshot is stored.
    pub place: u64,
    /// What stands before the state in the snapshot's file.
    pub header: Vec<u8>,
    /// The state and the reader's checkpoint.
    pub bytes: Bytes,
}

/// Something for the disk. Writes end in the order of their numbers.
#[derive(Clone, Debug)]
pub struct Write {
    /// Its number, for [`super::Core::persisted`].
    pub number: u64,
    /// First this, if there is something.
    pub install: Option<Install>,
    /// Then these.
    pub records: Vec<Record>,
}

impl Write {
    /// About how many bytes its records take.
    pub fn bytes(&self) -> usize {
        self.records.iter().map(Record::bytes).sum()
    }
}

/// What followers of the log see, in this order.
#[derive(Debug)]
pub enum Step {
    /// An entry was applied: what became of it, and what it is in the log.
    Entry(AppliedEntry, Line),
    /// A snapshot is to be taken of the state as it is at this point.
    Snapshot(Box<Job>),
    /// The state was replaced by a peer's: entries up to its index were skipped.
    Installed {
        /// The index.
        index: u64,
        /// Its time.
        time: Timestamp,
        /// The reader's checkpoint that came with it.
        checkpoint: Bytes,
    },
}

/// All that a turn asks for.
#[derive(Debug, Default)]
pub struct Effects {
    /// To be sent to peers now. Those with a snapshot need its bytes beside them.
    pub messages: Vec<Message>,
    /// For the disk, in order.
    pub writes: Vec<Write>,
    /// Answers to requests.
    pub answers: Vec<(Ticket, Answer)>,
    /// For the followers of the log.
    pub steps: Vec<Step>,
    /// Something that an operator should read.
    pub notices: Vec<String>,
}

impl Effects {
    /// Adds what a later part of a turn asks for.
    pub fn append(&mut self, mut later: Self) {
        self.messages.append(&mut later.messages);
        self.writes.append(&mut later.writes);
        self.answers.append(&mut later.answers);
        self.steps.append(&mut later.steps);
        self.notices.append(&mut later.notices);
    }
}
