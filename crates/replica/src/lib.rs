//! A replica of the venue: consensus, journal and machine.
//!
//! ```text
//!  peers, clients ──frames──▶ event loop ( core: consensus ▸ state ) ──steps──▶ publisher ▸ reader
//!                                │    ▲
//!                             writes  │ done
//!                                ▼    │
//!                             journal thread
//! ```
//!
//! [`core::Core`] is all of it that decides anything, and does no I/O; [`node`] runs it with real
//! sockets, threads and disks, and a simulated world runs the same one.
//!
//! Invariants of this room:
//! - INV-REPLICA-1: nothing is answered before a majority has it (on its disks, in `fsync` mode) and
//!   it is applied here.
//! - INV-REPLICA-2: the time in the log never goes backwards.
//! - INV-REPLICA-3: every queue is bounded and has an answer when full.
//! - INV-REPLICA-4: a failed commit ends the replica; so does an entry that it can't apply, before
//!   any of it is applied.
//! - INV-REPLICA-5: a command of a session is applied at most once, and every answer to it is the
//!   first one.
//! - INV-REPLICA-6: replicas that applied the same entries have the same digest.
#![forbid(unsafe_code)]
#![allow(
    clippy::field_reassign_with_default,
    reason = "the consensus library's messages come from a generator and are filled field by field"
)]

mod boot;
mod bundle;
mod bytes;
pub mod core;
pub mod disk;
mod logger;
pub mod member;
pub mod message;
pub mod node;
mod record;
mod recovery;
pub mod rescue;
pub mod sessions;
pub mod shadow;
pub mod snapshot;
pub mod state;
mod storage;
pub mod understudy;

use everopen_domain::{Event, LogIndex, Timestamp};
pub use everopen_journal as journal;
pub use raft;

pub use bytes::Malformed;
pub use recovery::{Fault, Origin, Progress, Recovered, Report, recover};

/// One applied entry, as the reader sees it.
#[derive(Clone, Copy, Debug)]
pub struct Applied<'a> {
    /// Its place in the log.
    pub index: LogIndex,
    /// Its time.
    pub time: Timestamp,
    /// Everything that happened, in order.
    pub events: &'a [Event],
}

/// Who follows the log inside the replica's process. It runs on the publisher's thread.
pub trait Reader: Send + 'static {
    /// Takes the next entry. Entries come in order, each once, and start after the entry of the
    /// last [`Reader::restore`].
    fn applied(&mut self, entry: &Applied<'_>);
    /// The reader's state as bytes; stored with the venue's snapshot of the same entry.
    fn checkpoint(&mut self) -> Vec<u8>;
    /// Takes back what [`Reader::checkpoint`] gave.
    ///
    /// # Errors
    /// A sentence for the operator when the bytes are not from this version.
    fn restore(&mut self, bytes: &[u8]) -> Result<(), String>;
}

/// A reader that follows nothing.
impl Reader for () {
    fn applied(&mut self, _entry: &Applied<'_>) {}
    fn checkpoint(&mut self) -> Vec<u8> {
        Vec::new()
    }
    fn restore(&mut self, _bytes: &[u8]) -> Result<(), String> {
        Ok(())
    }
}
