//! What can go wrong, by what the caller can do about it.
use std::io;
use std::path::{Path, PathBuf};

/// A fault of the journal. None of these is caused by what a client sent.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process (or another `Journal` of this one) holds the directory.
    #[error("the journal in {} is in use by another process", dir.display())]
    Locked {
        /// Directory of the journal.
        dir: PathBuf,
    },
    /// The configuration contradicts itself.
    #[error("journal configuration: {0}")]
    Config(&'static str),
    /// Stored bytes are not what was written. Nothing was changed; a person has to look.
    #[error("{} is damaged at offset {offset}: {detail}", file.display())]
    Corrupt {
        /// The damaged file.
        file: PathBuf,
        /// Byte offset in it where the damaged frame, record or header starts.
        offset: u64,
        /// What is wrong there.
        detail: &'static str,
    },
    /// The log does not reach back to what the newest good snapshot (or an empty start) needs.
    #[error(
        "the log starts at index {first_index} but is needed from index {needed} ({bad_snapshots} damaged snapshots)"
    )]
    LogMissing {
        /// First index that replay needs.
        needed: u64,
        /// First index the log has; 0 if there is no log at all.
        first_index: u64,
        /// Snapshots that were found damaged.
        bad_snapshots: usize,
    },
    /// A reader asked for records that retention has deleted, or that were never written.
    #[error("index {index} is not in the log ({first_index} to {last_index})")]
    OutOfRange {
        /// The index asked for.
        index: u64,
        /// First index there is.
        first_index: u64,
        /// Last durable index.
        last_index: u64,
    },
    /// A snapshot of a state that the log has not made durable yet.
    #[error("snapshot at index {index} is ahead of the durable log at {durable}")]
    SnapshotAhead {
        /// Index of the snapshot.
        index: u64,
        /// Last durable index.
        durable: u64,
    },
    /// An earlier write or sync failed. The page cache may have dropped what was written, so nothing
    /// is retried: open the journal again.
    #[error("the journal stopped writing after a fault: {cause}")]
    Poisoned {
        /// The first fault, as text.
        cause: String,
    },
    /// The operating system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn corrupt(file: &Path, offset: u64, detail: &'static str) -> Self {
        Self::Corrupt {
            file: file.to_owned(),
            offset,
            detail,
        }
    }
}

/// Why a record was not taken. After `TooLarge` and `Full` nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The payload is larger than `max_record_bytes`.
    #[error("record of {bytes} bytes is above the limit of {limit}")]
    TooLarge {
        /// Size of the payload.
        bytes: usize,
        /// The limit.
        limit: u32,
    },
    /// No space is reserved for the record; see [`crate::Journal::try_reserve`].
    #[error("no disk space for the next segment")]
    Full,
    /// The journal is broken.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// Whether the system says that there is no room (as against a broken disk).
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
