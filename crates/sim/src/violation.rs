//! What a checker found.

use std::fmt;

/// The checkers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// All replicas apply the same entries.
    Prefix,
    /// The same entries give the same events and the same state.
    Digest,
    /// A state that was taken over or recovered is followed by the next entry.
    Follower,
    /// An answer is what the log says.
    Answer,
    /// A command that was acknowledged has the effect that was acknowledged, once.
    Once,
    /// A session that was opened stays open and keeps its answers.
    Session,
    /// A read is as new as every entry that was committed before it began.
    Read,
    /// Time in the log never goes back.
    Time,
    /// A term has one leader.
    Election,
    /// The books balance, on every replica.
    Ledger,
    /// New rules are only switched on when every member knows them.
    Activation,
    /// A replica starts unless its files were damaged.
    Start,
    /// A replica stops only for a reason that it was given.
    Stop,
    /// When all faults are over, everything works again.
    Liveness,
    /// No assertion of the replicas fails.
    Panic,
}

/// Something that must never happen has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which checker found it.
    pub check: Check,
    /// What it found.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.check, self.text)
    }
}
