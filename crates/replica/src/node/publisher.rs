//! The publisher's thread: shows entries to the reader, and makes snapshots of what it and the
//! state are at the same entry.

use std::sync::mpsc::{Receiver, SyncSender};

use bytes::Bytes;
use everopen_domain::{Event, LogIndex, Timestamp};
use everopen_journal::{SnapshotRef, Snapshots};
use everopen_rpc::Waker;

use crate::core::Job;
use crate::recovery::Fault;
use crate::snapshot::{self, Descriptor};
use crate::state::Digest;
use crate::{Applied, Reader};

/// For the publisher's thread, in the order of the log.
pub(super) enum Publication {
    Entry {
        index: u64,
        time: Timestamp,
        events: Vec<Event>,
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
    /// A snapshot was taken, or why not.
    Snapshot(Result<Taken, String>),
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
    pub snapshots: Snapshots,
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
                } => {
                    (self.index, self.time) = (index, time);
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
                Publication::Snapshot(job) => self.snapshot(*job)?,
            }
        }
        Ok(())
    }

    fn tell(&self, published: Published) {
        // Nobody listens any more when the loop has ended.
        let _ = self.tell.send(published);
        self.waker.wake();
    }

    /// Encoding and writing take long; entries go on being shown meanwhile.
    fn snapshot(&mut self, job: Job) -> Result<(), Fault> {
        let checkpoint = self.reader.checkpoint();
        let (tell, waker, snapshots) = (
            self.tell.clone(),
            self.waker.clone(),
            self.snapshots.clone(),
        );
        let work = move || {
            super::step_back();
            let taken = take(&job, &checkpoint, &snapshots);
            let _ = tell.send(Published::Snapshot(taken));
            waker.wake();
        };
        super::thread("everopen-snapshot", work).map(drop)
    }
}

fn take(job: &Job, checkpoint: &[u8], snapshots: &Snapshots) -> Result<Taken, String> {
    let bytes = snapshot::encode(&job.state, checkpoint);
    let descriptor = Descriptor::of(&bytes, job.place);
    let file = snapshots
        .write_with(job.place, |out| {
            out.write_all(&job.header)?;
            out.write_all(&bytes)
        })
        .map_err(|error| super::chain(&error))?;
    Ok(Taken {
        index: job.state.index,
        snapshot: snapshot::described(&job.state, &descriptor),
        file,
        state_hash: job.state.hash(),
    })
}
