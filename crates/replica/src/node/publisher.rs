//! The publisher's thread: shows entries to the reader, and has snapshots made of what it and the
//! state are at the same entry.

use std::sync::mpsc::{Receiver, SyncSender};

use bytes::Bytes;
use everopen_domain::{Event, LogIndex, Timestamp};
use everopen_journal::SnapshotRef;
use everopen_rpc::Waker;

use super::snapshots::Stage;
use crate::recovery::Fault;
use crate::state::Digest;
use crate::understudy::{Job, Line};
use crate::{Applied, Reader};

/// For the publisher's thread, in the order of the log.
pub(super) enum Publication {
    Entry {
        index: u64,
        time: Timestamp,
        events: Vec<Event>,
        line: Line,
    },
    Installed {
        index: u64,
        time: Timestamp,
        checkpoint: Bytes,
    },
    Snapshot(Box<Job>),
    /// Somebody wants to begin to follow from here.
    Checkpoint(u64),
}

/// What the publisher says to the loop.
pub(super) enum Published {
    /// A checkpoint for the follower with this number, as of an entry.
    Checkpoint {
        follower: u64,
        index: u64,
        time: Timestamp,
        bytes: Bytes,
    },
    /// A snapshot was taken, or why not; and whether the next one needs no copy of the state.
    Snapshot {
        taken: Result<Taken, String>,
        is_kept: bool,
    },
}

/// A snapshot on the disk.
pub(super) struct Taken {
    pub index: u64,
    pub snapshot: raft::eraftpb::Snapshot,
    pub file: SnapshotRef,
    pub state_hash: Digest,
}

pub(super) struct Publisher<R> {
    pub reader: R,
    pub stage: Stage,
    pub tell: SyncSender<Published>,
    /// Buffers to be used again.
    pub used: SyncSender<Vec<Event>>,
    pub waker: Waker,
    pub index: u64,
    pub time: Timestamp,
}

impl<R: Reader> Publisher<R> {
    pub fn run(mut self, publications: &Receiver<Publication>) -> Result<(), Fault> {
        while let Ok(publication) = publications.recv() {
            match publication {
                Publication::Entry {
                    index,
                    time,
                    events,
                    line,
                } => {
                    (self.index, self.time) = (index, time);
                    self.stage.entry(|| line)?;
                    self.reader.applied(&Applied {
                        index: LogIndex(index),
                        time,
                        events: &events,
                    });
                    // When the loop has enough of them, this one is let go.
                    let _ = self.used.try_send(events);
                }
                Publication::Installed {
                    index,
                    time,
                    checkpoint,
                } => {
                    (self.index, self.time) = (index, time);
                    self.stage.end()?;
                    if let Err(error) = self.reader.restore(&checkpoint) {
                        tracing::error!(error, "a peer's checkpoint can't be read");
                        return Err(Fault::Panicked);
                    }
                }
                Publication::Checkpoint(follower) => {
                    let bytes = self.reader.checkpoint().into();
                    self.tell(Published::Checkpoint {
                        follower,
                        index: self.index,
                        time: self.time,
                        bytes,
                    });
                }
                Publication::Snapshot(job) => {
                    let checkpoint = self.reader.checkpoint();
                    // Making and writing it takes long; entries go on being shown meanwhile.
                    self.stage.snapshot(job, checkpoint)?;
                }
            }
        }
        Ok(())
    }

    fn tell(&self, published: Published) {
        // Nobody listens any more when the loop has ended.
        let _ = self.tell.send(published);
        self.waker.wake();
    }
}
