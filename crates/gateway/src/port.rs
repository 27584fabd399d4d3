//! The gateway's way into the venue: one command in, its durable outcome out. The binary plugs in
//! whatever sequences commands (one process's replica today, a cluster's leader later).

use std::future::Future;
use std::pin::Pin;

use everopen_domain::{Command, Event, LogIndex, Timestamp};

/// A boxed future that can move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Submits commands to the log.
pub trait CommandPort: Send + Sync + 'static {
    /// Submits one command and waits until it is durable, applied and visible in the views that
    /// the gateway reads.
    ///
    /// Dropping the future does not take the command back.
    ///
    /// # Errors
    /// [`PortError`] says whether the command may have been submitted.
    fn submit(&self, command: Command) -> BoxFuture<'_, Result<Outcome, PortError>>;

    /// Waits until the views show everything that was answered to anybody before this call, and
    /// says which entry that is at least. Who sequences and serves in one process has nothing to
    /// wait for.
    ///
    /// # Errors
    /// [`PortError::Unavailable`] or [`PortError::Busy`]: it can't be told now.
    fn barrier(&self) -> BoxFuture<'_, Result<LogIndex, PortError>> {
        Box::pin(async { Ok(LogIndex(0)) })
    }

    /// Whether commands would be taken now: there is somebody to submit to, and what was in the
    /// log at the start is applied and visible.
    fn is_ready(&self) -> bool {
        true
    }
}

/// What became of a command: it is durable, applied, and the views show its effects.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Its place in the log.
    pub index: LogIndex,
    /// The time it was stamped with.
    pub time: Timestamp,
    /// All that it caused, in order.
    pub events: Vec<Event>,
}

/// Why a command has no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Too much is in flight; nothing was submitted.
    #[error("the venue is busy, nothing was submitted")]
    Busy {
        /// When to try again, in milliseconds.
        retry_after_ms: u64,
    },
    /// The log has no room; nothing was submitted.
    #[error("the journal is full, nothing was submitted")]
    JournalFull,
    /// There is nobody to submit to; nothing was submitted.
    #[error("the venue is unavailable, nothing was submitted")]
    Unavailable,
    /// The command was submitted and what became of it is unknown.
    #[error("the command was submitted, its outcome is unknown")]
    OutcomeUnknown,
}
