//! Committed entries become state.

use everopen_wire::message::RefusalCode;
use raft::eraftpb::{Entry, EntryType};

use super::{Answer, Core, Refused, Step, Stop};
use crate::message::membership_change;
use crate::snapshot;
use crate::state::{AppliedEntry, ApplyError, Became};
use crate::understudy::{Job, Line};

/// A leader leaves so many snapshots to its followers before it takes one itself: its disk is the
/// one that most wait for, and followers have the time.
const SNAPSHOTS_LEFT_TO_FOLLOWERS: u32 = 3;

impl Core {
    pub(super) fn apply_all(&mut self, entries: Vec<Entry>) -> Result<(), Stop> {
        for entry in entries {
            let (index, term) = (entry.index, entry.term);
            let mut commands = bytes::Bytes::new();
            let applied = match entry.get_entry_type() {
                EntryType::EntryNormal if entry.data.is_empty() => {
                    self.state.pass(index, term);
                    self.passed()
                }
                EntryType::EntryNormal => {
                    let logic_max = self.config.logic_max;
                    let answers = self
                        .pending
                        .front()
                        .is_some_and(|first| first.index <= index);
                    commands = entry.data;
                    self.state
                        .apply(index, term, &commands, logic_max, answers)?
                }
                EntryType::EntryConfChange | EntryType::EntryConfChangeV2 => {
                    self.apply_membership(&entry)?;
                    self.passed()
                }
            };
            self.agree.applied(index, self.state.digest);
            self.answer(index, term, &applied);
            let line = Line {
                index,
                term,
                commands,
            };
            self.effects.steps.push(Step::Entry(applied, line));
            self.snapshot_if_due();
        }
        Ok(())
    }

    fn passed(&self) -> AppliedEntry {
        AppliedEntry {
            index: self.state.index,
            time: self.state.time,
            ..AppliedEntry::default()
        }
    }

    fn apply_membership(&mut self, entry: &Entry) -> Result<(), Stop> {
        let index = entry.index;
        let refuse = |detail: String| ApplyError::Unreadable { index, detail };
        let change = membership_change(entry).map_err(|e| refuse(e.to_string()))?;
        let conf = self
            .raw
            .apply_conf_change(&change)
            .map_err(|e| refuse(e.to_string()))?;
        self.raw.mut_store().set_conf(conf.clone());
        self.state.conf = conf;
        if self.is_leader() && !self.state.conf.voters.contains(&self.config.node) {
            // It became the leader before its own removal took effect. The library goes on leading
            // then, and counts on a progress of its own that is not there any more.
            let term = self.raw.raft.term;
            self.raw.raft.become_follower(term, raft::INVALID_ID);
        }
        self.state.pass(index, entry.term);
        if let Ok(text) = std::str::from_utf8(&change.context)
            && let Some((node, address)) = text.split_once(' ')
            && let Ok(node) = node.parse()
        {
            self.state.nodes.insert(node, address.to_string());
        }
        let members = super::members(&self.state.conf);
        self.state.nodes.retain(|node, _| members.contains(node));
        while let Some((at, ticket)) = self.changes.front().copied() {
            if at > index {
                break;
            }
            self.changes.pop_front();
            let answer = if at == index {
                Answer::Changed(index)
            } else {
                Answer::Refused(Refused::new(RefusalCode::OutcomeUnknown))
            };
            self.effects.answers.push((ticket, answer));
        }
        Ok(())
    }

    /// Answers who waits for an entry.
    fn answer(&mut self, index: u64, term: u64, applied: &AppliedEntry) {
        while let Some(first) = self.pending.front() {
            if first.index > index {
                return;
            }
            let pending = self.pending.pop_front().expect("invariant: it was there");
            let ours = pending.index == index && pending.term == term;
            if pending.tick {
                self.tick_pending = false;
            }
            let mut requests = applied.requests.iter();
            if pending.tick && ours {
                requests.next();
            }
            for ticket in pending.tickets {
                let answer = match requests.next().filter(|_| ours) {
                    Some(Became::Done(stored)) => Answer::Done(stored.clone()),
                    Some(Became::Opened(id)) => Answer::Opened(*id),
                    Some(Became::Refused(code)) => Answer::Refused(Refused::new(*code)),
                    None => Answer::Refused(Refused::new(RefusalCode::OutcomeUnknown)),
                };
                self.effects.answers.push((ticket, answer));
            }
        }
    }

    /// Takes a snapshot at the places in the log that all replicas agree on.
    fn snapshot_if_due(&mut self) {
        if self.state.bytes_since_snapshot < self.config.snapshot_every_bytes {
            return;
        }
        self.state.bytes_since_snapshot = 0;
        let alone = self.state.conf.voters.len() == 1;
        if self.is_leader() && !alone && self.snapshots_skipped < SNAPSHOTS_LEFT_TO_FOLLOWERS {
            self.snapshots_skipped += 1;
            return;
        }
        self.start_snapshot();
    }

    /// Takes a snapshot for a peer that needs one.
    pub(super) fn snapshot_if_wanted(&mut self) {
        if self.raw.store().wanted().is_some() {
            self.start_snapshot();
        }
    }

    /// Takes a snapshot now, unless one is being taken; false then.
    pub fn start_snapshot(&mut self) -> bool {
        let Some(place) = self.raw.store().place(self.state.index) else {
            // The state is that of the newest snapshot.
            return false;
        };
        if self.snapshot_running {
            return false;
        }
        self.snapshot_running = true;
        self.snapshots_skipped = 0;
        self.effects.steps.push(Step::Snapshot(Box::new(Job {
            copy: (!self.is_understudied).then(|| Box::new(self.state.clone())),
            index: self.state.index,
            digest: self.state.digest,
            conf: self.state.conf.clone(),
            nodes: self.state.nodes.clone(),
            bytes_since_snapshot: self.state.bytes_since_snapshot,
            place,
            // What is committed beyond may not be on the disk when the snapshot is.
            header: snapshot::header(&self.hard_state_up_to(self.state.index)),
        })));
        true
    }
}
