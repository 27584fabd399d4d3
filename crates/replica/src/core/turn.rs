//! A turn: everything that has become possible since the last one.

use everopen_domain::Timestamp;
use raft::Ready;
use raft::eraftpb::{EntryType, Message, Snapshot};

use super::{Core, Effects, Install, Persisting, Record, Step, Stop, Write};
use crate::record;
use crate::snapshot::{self, Descriptor};

impl Core {
    /// Does what can be done and says what the surroundings have to do. `now` is the wall clock;
    /// only a leader looks at it, to stamp its entries.
    ///
    /// # Errors
    /// [`Stop`] when this replica must not go on. Effects of an earlier turn may still be carried
    /// out; the core is of no use any more.
    pub fn turn(&mut self, now: Timestamp) -> Result<Effects, Stop> {
        let mut effects = self.agree_on(now)?;
        effects.append(self.apply()?);
        Ok(effects)
    }

    /// The first half of a turn: what is to be sent and written. Nothing is applied, so that others
    /// need not wait for it; [`Core::apply`] must follow before anything else comes in but
    /// [`Core::persisted`].
    ///
    /// # Errors
    /// As [`Core::turn`].
    pub fn agree_on(&mut self, now: Timestamp) -> Result<Effects, Stop> {
        if let Some(stop) = self.stop.take() {
            self.stop = Some(stop.clone());
            return Err(stop);
        }
        self.lead(now);
        self.settle_writes();
        while self.raw.has_ready() {
            let ready = self.raw.ready();
            self.handle(ready);
            self.settle_writes();
            self.keep_timeout();
        }
        Ok(std::mem::take(&mut self.effects))
    }

    /// The second half of a turn: applies what is committed, and answers.
    ///
    /// # Errors
    /// As [`Core::turn`].
    pub fn apply(&mut self) -> Result<Effects, Stop> {
        let committed = std::mem::take(&mut self.committed);
        self.apply_all(committed)?;
        self.after_readies();
        if let Some(stop) = &self.stop {
            return Err(stop.clone());
        }
        Ok(std::mem::take(&mut self.effects))
    }

    fn handle(&mut self, mut ready: Ready) {
        let mut messages = ready.take_messages();
        for read in ready.take_read_states() {
            self.reads.confirmed(&read.request_ctx, read.index);
        }
        let mut install = None;
        if !ready.snapshot().get_metadata().conf_state.is_none() || !ready.snapshot().is_empty() {
            install = self.install(ready.snapshot().clone());
        }
        let entries = ready.take_entries();
        let mut records = Vec::new();
        let hard_state = ready.hs().cloned();
        let mut votes = false;
        if let Some(state) = &hard_state {
            let before = self.hard_state();
            votes = (state.term, state.vote) != (before.term, before.vote);
            self.raw.mut_store().set_hard_state(state.clone());
        }
        let mut committed = ready.take_committed_entries();
        // A commit index alone is not worth a write: it is found again by asking the others. But
        // whom to ask must be known: one that forgot a change of the membership would go on
        // counting on a replica that was removed and is gone.
        let changes = committed
            .iter()
            .any(|entry| entry.get_entry_type() != EntryType::EntryNormal);
        if ready.must_sync() || !entries.is_empty() || changes {
            if hard_state.is_some() || changes {
                // A write may arrive in part. What it says to be committed must then be in the log
                // without its entries: those may replace others of the same indices.
                let kept = entries.first().map_or(u64::MAX, |first| first.index - 1);
                records.push(Record::HardState(self.hard_state_up_to(kept)));
                self.place += 1;
            }
            for entry in entries {
                records.push(Record::Entry(entry.clone()));
                self.place += 1;
                let place = self.place;
                self.raw.mut_store().append(entry, place);
            }
        }
        let number = ready.number();
        let mut bytes = 0;
        if install.is_some() || !records.is_empty() {
            self.write_issued += 1;
            if install.is_some() {
                self.installing = Some(self.write_issued);
            }
            let write = Write {
                number: self.write_issued,
                install,
                records,
            };
            bytes = write.bytes();
            self.unwritten_bytes += bytes;
            self.effects.writes.push(write);
        }
        if votes {
            self.voted = self.write_issued;
        }
        let mut waiting = ready.take_persisted_messages();
        // A leader's messages leave before its disk has written its entries, but not before it has
        // written that this replica leads: a voter that is alone, with learners to tell, elects
        // itself in an instant, and could lead the same term once more with other entries.
        if self.voted > self.write_done {
            waiting.append(&mut messages);
        }
        self.effects.messages.append(&mut messages);
        self.persisting.push_back(Persisting {
            number,
            write: self.write_issued,
            bytes,
            messages: waiting,
        });
        self.raw.advance_append_async(ready);
        self.committed.append(&mut committed);
    }

    /// Tells the library what the disk has, and lets go what waited for it.
    fn settle_writes(&mut self) {
        let mut highest = None;
        let mut messages: Vec<Message> = Vec::new();
        while let Some(first) = self.persisting.front() {
            if first.write > self.write_done {
                break;
            }
            let mut done = self
                .persisting
                .pop_front()
                .expect("invariant: it was there");
            self.unwritten_bytes -= done.bytes;
            highest = Some(done.number);
            messages.append(&mut done.messages);
        }
        if let Some(number) = highest {
            self.raw.on_persist_ready(number);
            self.prove();
            self.effects.messages.append(&mut messages);
        }
    }

    /// Takes a peer's whole state over.
    fn install(&mut self, offered: Snapshot) -> Option<Install> {
        let meta = offered.get_metadata();
        if meta.index == 0 {
            return None;
        }
        let (state, bytes, own) = self
            .incoming
            .take()
            .expect("invariant: a snapshot is only stepped with its bytes");
        assert_eq!(
            state.index, meta.index,
            "invariant: the bytes are of the snapshot"
        );
        let mut record = Vec::new();
        record::put_installed(state.index, state.term, &mut record);
        self.place += 1;
        let descriptor = Descriptor::of(&bytes, self.place);
        let mut stored = Snapshot::default();
        stored.set_metadata(meta.clone());
        stored.data = descriptor.encode();
        self.raw.mut_store().restart(stored);
        let checkpoint = bytes.slice(own..);
        self.is_understudied = false;
        self.effects.steps.push(Step::Installed {
            index: state.index,
            time: state.time,
            checkpoint,
        });
        // What was committed and not applied is part of the state that comes.
        self.committed.clear();
        self.agree.restart(state.index, state.digest);
        self.state = state;
        self.stamped = self.stamped.max(self.state.time);
        Some(Install {
            record,
            place: self.place,
            header: snapshot::header(&self.hard_state_up_to(self.state.index)),
            bytes,
        })
    }

    fn after_readies(&mut self) {
        // A state that was taken over counts once it is on the disk.
        let log = &self.raw.raft.raft_log;
        let applied = self.state.index.min(log.persisted).min(log.committed);
        if applied > log.applied {
            self.raw.advance_apply_to(applied);
        }
        let written = self.write_done;
        self.installing = self.installing.filter(|write| *write > written);
        self.answer_reads();
        self.check_lead();
        self.snapshot_if_wanted();
        if let Some(disagreement) = self.agree.verdict(&self.state.conf, self.is_leader()) {
            self.stop = Some(disagreement.into());
        }
    }
}
