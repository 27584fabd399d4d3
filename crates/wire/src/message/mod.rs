//! The frames that processes send each other. The first byte is the kind, then the fields in the
//! order listed, little-endian. How long a frame is belongs to the connection.
//!
//! | Kind | Message | Fields |
//! |---|---|---|
//! | 1 | `Hello` | `u16` protocol, `u8` role, `u64` node, 16 bytes cluster, `u16` logic min, `u16` logic max, text address, text build |
//! | 16 | `OpenSession` | `u64` request, `u64` nonce |
//! | 17 | `Submit` | `u64` request, `u64` client, `u64` sequence, `u32` behind, `u16` count, rest: commands |
//! | 18 | `ReadIndex` | `u64` request |
//! | 19 | `Follow` | `u64` after, flag checkpoint |
//! | 20 | `Call` | `u64` request, rest: JSON |
//! | 21 | `Tail` | `u64` after |
//! | 32 | `Outcome` | `u64` request, `u64` index, `u64` time, `u32` count, rest: events |
//! | 33 | `Refused` | `u64` request, `u16` code, `u32` retry after ms, `u64` leader, text leader address |
//! | 34 | `SessionOpened` | `u64` request, `u64` client |
//! | 35 | `ReadAt` | `u64` request, `u64` index |
//! | 36 | `Checkpoint` | `u64` index, `u64` time, flag last, rest: chunk |
//! | 37 | `Entry` | `u64` index, `u64` time, `u32` count, rest: events |
//! | 38 | `CallAnswer` | `u64` request, flag ok, rest: JSON |
//! | 39 | `Progress` | `u64` commit, `u64` applied |
//! | 40 | `LogEntry` | `u64` index, `u64` term, flag commands, rest: data |
//! | 64 | `Raft` | rest: bytes |
//! | 65 | `SnapshotOffer` | `u64` index, `u64` term, `u64` bytes, 16 bytes hash, `u64` id |
//! | 66 | `SnapshotAsk` | `u64` id, `u64` offset |
//! | 67 | `SnapshotPart` | `u64` id, `u64` offset, flag last, rest: chunk |
//! | 68 | `Digest` | `u64` index, 16 bytes hash, `u8` kind |
//! | 69 | `Ping` | `u64` nonce, `u64` sent ns |
//! | 70 | `Pong` | `u64` nonce, `u64` sent ns, `u64` clock ns |
//!
//! From 1 on both sides send, from 16 on clients, from 32 on replicas to clients, from 64 on
//! replicas among themselves. A text is one byte of length and that many bytes of UTF-8. "Rest" is
//! all bytes that are left; what they are is checked by whoever uses them, commands and events with
//! [`crate::command::decode_all`] and [`crate::event::decode_all`].
//!
//! | Type | Numbers |
//! |---|---|
//! | `Role` | 0 `Client`, 1 `Replica` |
//! | `DigestKind` | 0 `Events`, 1 `State` |
//! | `RefusalCode` | 1 `NotLeader`, 2 `Busy`, 3 `JournalFull`, 4 `TooLarge`, 5 `SessionUnknown`, 6 `Stopping`, 7 `Malformed`, 8 `SequenceForgotten`, 9 `WindowFull`, 10 `OutcomeUnknown`, 11 `NotAllowed`, 12 `TooFarBehind` |
//!
//! A kind, a field or a number that is new takes a new [`PROTOCOL`].

mod field;
mod refusal;

use alloc::vec::Vec;

use everopen_domain::{LogIndex, Timestamp};

use crate::DecodeError;
use crate::codec::{Input, wire_enum};
use field::messages;

pub use refusal::RefusalCode;

/// The version of the messages, which both sides say in [`Message::Hello`].
pub const PROTOCOL: u16 = 1;

/// The longest text in a message, in bytes; a longer one is cut there.
pub const TEXT_BYTES_MAX: usize = u8::MAX as usize;

/// The most bytes that a message takes before its rest.
pub const HEAD_BYTES_MAX: usize = 1 + 2 + 1 + 8 + 16 + 2 + 2 + 2 * (1 + TEXT_BYTES_MAX);

/// What a process is to the one that it connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It submits commands, follows the log or asks an operator's question.
    Client,
    /// A replica of the same cluster.
    Replica,
}

/// What a digest is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DigestKind {
    /// All events up to the entry.
    Events,
    /// The state after the entry.
    State,
}

wire_enum! {
    Role, "role" { Client = 0, Replica = 1 }
    DigestKind, "kind of a digest" { Events = 0, State = 1 }
}

/// One message. Texts and bytes are borrowed from the frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// The first message of each side.
    Hello {
        /// [`PROTOCOL`] of the sender.
        protocol: u16,
        /// What the sender is.
        role: Role,
        /// Its number in the cluster; 0 for a client.
        node: u64,
        /// The cluster that it belongs to; zeros when it does not know yet.
        cluster: [u8; 16],
        /// The lowest version of the venue's logic that it knows.
        logic_min: u16,
        /// The highest one.
        logic_max: u16,
        /// Where it is reached; empty for a client.
        address: &'a str,
        /// Its release, for people.
        build: &'a str,
    },

    /// A client wants a session.
    OpenSession {
        /// Named in the answer.
        request: u64,
        /// Drawn by the client: the same nonce is the same session.
        nonce: u64,
    },
    /// A client submits commands that stand in one entry.
    Submit {
        /// Named in the answer.
        request: u64,
        /// The session.
        client: u64,
        /// The place among the client's submissions.
        sequence: u64,
        /// `sequence` less the lowest one whose answer the client does not have yet.
        behind: u32,
        /// How many commands.
        count: u16,
        /// The commands.
        commands: &'a [u8],
    },
    /// A client wants the index that covers every answer given so far.
    ReadIndex {
        /// Named in the answer.
        request: u64,
    },
    /// A client wants the entries after an index, from now on.
    Follow {
        /// The index; 0 for all.
        after: u64,
        /// Whether a checkpoint is wanted first.
        checkpoint: bool,
    },
    /// An operator's question.
    Call {
        /// Named in the answer.
        request: u64,
        /// The question, JSON.
        question: &'a [u8],
    },

    /// An operator wants the log itself after an index, from now on, committed entries only.
    Tail {
        /// The index.
        after: u64,
    },

    /// What became of a submission.
    Outcome {
        /// The request answered.
        request: u64,
        /// The entry that holds it.
        index: LogIndex,
        /// The entry's time.
        time: Timestamp,
        /// How many events.
        count: u32,
        /// What happened because of it, in order.
        events: &'a [u8],
    },
    /// Why there is no other answer.
    Refused {
        /// The request answered.
        request: u64,
        /// Why.
        code: RefusalCode,
        /// When to try again; 0 says nothing.
        retry_after_ms: u32,
        /// Who leads, as far as the sender knows; 0 for nobody.
        leader: u64,
        /// Where the leader is reached; empty when not known.
        leader_address: &'a str,
    },
    /// The session that a nonce has.
    SessionOpened {
        /// The request answered.
        request: u64,
        /// The session.
        client: u64,
    },
    /// The index that was asked for.
    ReadAt {
        /// The request answered.
        request: u64,
        /// The index.
        index: LogIndex,
    },
    /// A part of a checkpoint; parts come in order.
    Checkpoint {
        /// The last entry in it.
        index: LogIndex,
        /// That entry's time.
        time: Timestamp,
        /// Whether this is the last part.
        last: bool,
        /// The part's bytes.
        chunk: &'a [u8],
    },
    /// An entry, for who follows the log.
    Entry {
        /// Its place.
        index: LogIndex,
        /// Its time.
        time: Timestamp,
        /// How many events.
        count: u32,
        /// What happened in it, in order.
        events: &'a [u8],
    },
    /// The answer to an operator's question.
    CallAnswer {
        /// The request answered.
        request: u64,
        /// Whether it is an answer, or else the reason why there is none.
        ok: bool,
        /// JSON.
        answer: &'a [u8],
    },
    /// How far the sender is; sent to followers also when nothing happens.
    Progress {
        /// The last entry that is committed.
        commit: LogIndex,
        /// The last entry that is applied.
        applied: LogIndex,
    },

    /// An entry of the log as it was agreed on, for who reads the log itself.
    LogEntry {
        /// Its place.
        index: LogIndex,
        /// Its term.
        term: u64,
        /// Whether it holds commands; others only concern the replicas.
        commands: bool,
        /// See [`crate::entry`].
        data: &'a [u8],
    },

    /// A message of the consensus protocol.
    Raft {
        /// As that protocol encodes it.
        bytes: &'a [u8],
    },
    /// A snapshot that the receiver needs.
    SnapshotOffer {
        /// The last entry in it.
        index: LogIndex,
        /// That entry's term.
        term: u64,
        /// The snapshot's size.
        bytes: u64,
        /// The hash of its bytes.
        hash: [u8; 16],
        /// By what it is asked for.
        id: u64,
    },
    /// Asks for the snapshot's bytes from an offset on.
    SnapshotAsk {
        /// Which.
        id: u64,
        /// From where.
        offset: u64,
    },
    /// Some bytes of a snapshot.
    SnapshotPart {
        /// Which.
        id: u64,
        /// Where they start.
        offset: u64,
        /// Whether the snapshot ends with them.
        last: bool,
        /// The bytes.
        chunk: &'a [u8],
    },
    /// What the sender has after an entry, so that replicas that differ find out.
    Digest {
        /// The entry.
        index: LogIndex,
        /// The hash.
        hash: [u8; 16],
        /// What it is of.
        kind: DigestKind,
    },
    /// Asks for a pong.
    Ping {
        /// Named in the answer.
        nonce: u64,
        /// The sender's monotonic clock.
        sent_ns: u64,
    },
    /// Answers a ping.
    Pong {
        /// The ping's.
        nonce: u64,
        /// The ping's.
        sent_ns: u64,
        /// The answerer's wall clock, since 1970.
        clock_ns: u64,
    },
}

messages! {
    1 = Hello { protocol, role, node, cluster, logic_min, logic_max, address, build }
    16 = OpenSession { request, nonce }
    17 = Submit { request, client, sequence, behind, count, commands }
    18 = ReadIndex { request }
    19 = Follow { after, checkpoint }
    20 = Call { request, question }
    21 = Tail { after }
    32 = Outcome { request, index, time, count, events }
    33 = Refused { request, code, retry_after_ms, leader, leader_address }
    34 = SessionOpened { request, client }
    35 = ReadAt { request, index }
    36 = Checkpoint { index, time, last, chunk }
    37 = Entry { index, time, count, events }
    38 = CallAnswer { request, ok, answer }
    39 = Progress { commit, applied }
    40 = LogEntry { index, term, commands, data }
    64 = Raft { bytes }
    65 = SnapshotOffer { index, term, bytes, hash, id }
    66 = SnapshotAsk { id, offset }
    67 = SnapshotPart { id, offset, last, chunk }
    68 = Digest { index, hash, kind }
    69 = Ping { nonce, sent_ns }
    70 = Pong { nonce, sent_ns, clock_ns }
}
