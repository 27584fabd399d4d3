//! Why a replica does not start, or ended.

use std::io;
use std::path::PathBuf;

use everopen_journal::{self as journal, AppendError};

use crate::core::Stop;

/// Why a replica does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The journal's fault.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The journal could not take a record.
    #[error("append to the log")]
    Append(#[source] AppendError),
    /// A snapshot's bytes passed their checksum but are not a state of this version.
    #[error("snapshot {} can't be taken back: {detail}", file.display())]
    Snapshot {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A record's bytes passed their checksum but are none of this version.
    #[error("record {place} of the journal can't be read: {detail}")]
    Record {
        /// Its place.
        place: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// Entries are missing between a snapshot and the records after it.
    #[error(
        "entry {index} follows entry {last} in the journal: the snapshot between them is damaged. \
         Remove this replica from the cluster and add it anew"
    )]
    Gap {
        /// The entry found.
        index: u64,
        /// The last one before.
        last: u64,
    },
    /// The log is another cluster's.
    #[error("the log belongs to cluster {found}, this replica to {expected}")]
    OtherCluster {
        /// The log's cluster.
        found: String,
        /// This replica's.
        expected: String,
    },
    /// In memory mode the machine stopped without a clean end, and no other replica has what may be
    /// gone.
    #[error(
        "the machine stopped before all that was acknowledged in memory was on the disk, and no other \
         replica has it. `everopen cluster recover` says what is left in {} and goes on with that",
        dir.display()
    )]
    LostMemory {
        /// The log's directory.
        dir: PathBuf,
    },
    /// The log that this replica wrote is not there any more (its disk was emptied or replaced), or a
    /// leader found it older than what the replica had acknowledged ([`Stop::LostLog`]).
    #[error(
        "the log that this replica wrote in {} is gone, or older than what it had acknowledged: it may have \
         voted for what it no longer knows. If it is only not there, as on a disk that is not mounted, bring it \
         back; else take the replica away with `everopen cluster remove`, then `everopen cluster add` a new one",
        dir.display()
    )]
    LostLog {
        /// The log's directory.
        dir: PathBuf,
    },
    /// A note beside the log could not be read or written.
    #[error("keep the notes beside the log: how its last run ended, and which life it is in")]
    Boot(#[source] io::Error),
    /// The rules forbid going on.
    #[error(transparent)]
    Stop(#[from] Stop),
    /// The network could not be set up.
    #[error("set up the network")]
    Network(#[source] io::Error),
    /// A thread could not be started.
    #[error("start a thread")]
    Thread(#[source] io::Error),
    /// A thread of the replica panicked: an invariant does not hold. The log is as it was.
    #[error("a thread of the replica panicked")]
    Panicked,
}
