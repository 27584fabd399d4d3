//! What the loop and its other threads tell each other: entries go to the publisher, word of writes and
//! snapshots comes back.

use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::mpsc::TrySendError;

use super::event_loop::Inner;
use super::follow::Recent;
use super::publisher::{Publication, Published};
use crate::core::Step;
use crate::recovery::Fault;

/// Entries that may wait for the publisher before nothing more is read from the network.
pub(super) const BACKLOG_MAX: usize = 16_384;
/// Entries that wait for the publisher until it is woken for them.
const BACKLOG_WAKES: usize = 64;
/// The same of their events: what is passed on soon is still in the processor's cache.
const BACKLOG_EVENTS: usize = 2_048;

impl Inner {
    /// Takes what the other threads have to say.
    pub(super) fn hear_threads(&mut self) -> Result<(), Fault> {
        if let Some(desk) = &mut self.threads.desk {
            desk.look()?;
        }
        let progress = &self.threads.progress;
        self.core.persisted(progress.durable.load(Acquire));
        self.core.set_disk_full(progress.full.load(Relaxed));
        for thread in [&mut self.threads.disk, &mut self.threads.publisher] {
            if thread.as_ref().is_some_and(|thread| thread.is_finished())
                && let Some(thread) = thread.take()
            {
                thread.join().unwrap_or(Err(Fault::Panicked))?;
                return Err(Fault::Panicked);
            }
        }
        while let Ok(published) = self.threads.published.try_recv() {
            match published {
                Published::Checkpoint {
                    follower,
                    index,
                    time,
                    bytes,
                } => self.checkpoint_ready(follower, index, time, bytes),
                Published::Snapshot {
                    taken: Ok(taken),
                    is_kept,
                } => {
                    self.core.set_understudied(is_kept);
                    self.core.set_state_hash(taken.index, taken.state_hash);
                    self.core.snapshot_ended(Some(taken.snapshot));
                    self.state_hash = Some((taken.index, taken.state_hash));
                    self.bulk.set_file(taken.file);
                    self.tell_state_hash(taken.index, taken.state_hash);
                    if let Some(desk) = &self.threads.desk {
                        desk.retire();
                    }
                    tracing::info!(index = taken.index, "snapshot taken");
                }
                Published::Snapshot {
                    taken: Err(error),
                    is_kept,
                } => {
                    self.core.set_understudied(is_kept);
                    tracing::warn!(error, "snapshot failed; the next one is tried later");
                    self.core.snapshot_ended(None);
                }
            }
        }
        while let Ok(events) = self.threads.used_events.try_recv() {
            self.core.recycle(events);
        }
        while let Ok(late) = self.answers.1.try_recv() {
            self.late(late);
        }
        if let Ok(mut installed) = self.threads.progress.installed.lock()
            && let Some(file) = installed.take()
        {
            self.bulk.set_file(file);
        }
        self.hear_bulk();
        self.push_backlog()
    }

    pub(super) fn publish_now(&mut self, publication: Publication) {
        self.backlog.push_back(publication);
        self.push_backlog_now = true;
    }

    pub(super) fn push_backlog(&mut self) -> Result<(), Fault> {
        // Nobody waits for single entries, and waking a thread for each costs more than they do.
        let few = self.backlog.len() < BACKLOG_WAKES && self.backlog_events < BACKLOG_EVENTS;
        if few && !self.push_backlog_now {
            return Ok(());
        }
        let Some(publications) = &self.threads.publications else {
            return Ok(());
        };
        while let Some(publication) = self.backlog.pop_front() {
            match publications.try_send(publication) {
                Ok(()) => {}
                Err(TrySendError::Full(publication)) => {
                    self.backlog.push_front(publication);
                    self.push_backlog_now = true;
                    return Ok(());
                }
                Err(TrySendError::Disconnected(_)) => return Err(Fault::Panicked),
            }
        }
        (self.push_backlog_now, self.backlog_events) = (false, 0);
        Ok(())
    }

    pub(super) fn step(&mut self, step: Step) {
        match step {
            Step::Entry(entry, line) => {
                self.commands += entry.commands;
                self.ring.push(Recent::of(&entry));
                self.backlog_events += entry.events.len();
                self.backlog.push_back(Publication::Entry {
                    index: entry.index,
                    time: entry.time,
                    events: entry.events,
                    line,
                });
            }
            Step::Snapshot(job) => self.publish_now(Publication::Snapshot(job)),
            Step::Installed {
                index,
                time,
                checkpoint,
            } => {
                tracing::info!(index, "took over a peer's state");
                self.ring.clear();
                self.publish_now(Publication::Installed {
                    index,
                    time,
                    checkpoint,
                });
                self.cut_followers();
            }
        }
    }
}
