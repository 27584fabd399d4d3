//! An entry of the log: some requests that came together and the time they are applied at.
//!
//! | Bytes | What |
//! |---|---|
//! | 0–1 | version, 2 |
//! | 2–3 | flags, 0 |
//! | 4–11 | time, nanoseconds since 1970 |
//! | 12–15 | number of requests |
//! | 16– | that many requests |
//!
//! A request is one byte of kind and then, by kind:
//!
//! | Kind | Request | Fields |
//! |---|---|---|
//! | 0 | what the replicas put into the log themselves | `u16` count, that many commands |
//! | 1 | a client opens a session | `u64` nonce |
//! | 2 | a client's submission in its session | `u64` client, `u64` sequence, `u32` behind, `u16` count, that many commands |
//!
//! `behind` is the sequence less the lowest sequence whose answer the client does not have yet: the
//! replicas may forget what they answered to everything below. Commands stand as in
//! [`crate::command`].
//!
//! Version 1, which logs of one replica were written in, has a number of commands at 12–15 and the
//! commands from 16 on. It reads as one request of kind 0.
//!
//! Its place in the log and its checksum belong to the journal.

mod reader;
mod v1;
mod writer;

use core::fmt;

use everopen_domain::Command;

pub use reader::{EncodedRequest, EntryReader, InPlace};
pub use v1::EntryWriterV1;
pub use writer::EntryWriter;

/// The version that entries are written in.
pub const VERSION: u16 = 2;

/// Bytes before the first request.
pub const HEADER_BYTES: usize = 16;

/// The most bytes that a request takes without its commands.
pub const REQUEST_BYTES_MAX: usize = 1 + 8 + 8 + 4 + 2;

/// The most commands that one request has.
pub const REQUEST_COMMANDS_MAX: usize = u16::MAX as usize;

const INTERNAL: u8 = 0;
const OPEN_SESSION: u8 = 1;
const SESSION: u8 = 2;

/// Where a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The replicas themselves, outside of every session: a tick, say.
    Internal,
    /// A client that wants a session. It has no commands.
    OpenSession {
        /// Drawn by the client, so that it gets one session however often it asks.
        nonce: u64,
    },
    /// A client in its session.
    Session {
        /// The session.
        client: u64,
        /// The place of the request among the client's; each is applied once.
        sequence: u64,
        /// `sequence` less the lowest sequence whose answer the client does not have yet.
        behind: u32,
    },
}

/// A request to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'c> {
    /// From the replicas themselves.
    Internal {
        /// What is applied, in order.
        commands: &'c [Command],
    },
    /// A client opens a session.
    OpenSession {
        /// See [`Origin::OpenSession`].
        nonce: u64,
    },
    /// A client submits in its session.
    Session {
        /// The session.
        client: u64,
        /// The place of the request among the client's.
        sequence: u64,
        /// See [`Origin::Session`].
        behind: u32,
        /// What is applied, in order, at most [`REQUEST_COMMANDS_MAX`].
        commands: &'c [Command],
    },
}

impl<'c> Request<'c> {
    /// Where it comes from.
    pub const fn origin(&self) -> Origin {
        match *self {
            Self::Internal { .. } => Origin::Internal,
            Self::OpenSession { nonce } => Origin::OpenSession { nonce },
            Self::Session {
                client,
                sequence,
                behind,
                ..
            } => Origin::Session {
                client,
                sequence,
                behind,
            },
        }
    }

    /// Its commands.
    pub const fn commands(&self) -> &'c [Command] {
        match *self {
            Self::Internal { commands } | Self::Session { commands, .. } => commands,
            Self::OpenSession { .. } => &[],
        }
    }
}

/// The entry has no room for another request: write it, then begin the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryFull;

impl fmt::Display for EntryFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("log entry is full")
    }
}

impl core::error::Error for EntryFull {}
