//! What only a leader does: take requests, stamp them with the time, answer reads.

use std::collections::VecDeque;

use super::{Answer, Core, Refused, Submission, Ticket};
use crate::bundle;
use crate::sessions::{Known, WINDOW};
use everopen_domain::{Command, Timestamp};
use everopen_wire::command;
use everopen_wire::entry::{Origin, Request};
use everopen_wire::message::RefusalCode;

/// When to come again after [`RefusalCode::Busy`].
const BUSY_RETRY_MS: u32 = 20;
/// When to come again after [`RefusalCode::JournalFull`].
const FULL_RETRY_MS: u32 = 1_000;
/// Reads that may wait for one round of the leader's heartbeats.
const READS_MAX: usize = 65_536;
/// Requests that may wait for their entries.
const PENDING_ENTRIES_MAX: usize = 4_096;

/// A proposed entry and who waits for it.
pub(super) struct Pending {
    pub index: u64,
    pub term: u64,
    pub tickets: Vec<Ticket>,
    /// Whether its first request is a tick of the replica's own.
    pub tick: bool,
}

/// Reads on their way through ReadIndex.
#[derive(Default)]
pub(super) struct Reads {
    waiting: Vec<Ticket>,
    rounds: VecDeque<(u64, Vec<Ticket>)>,
    /// Confirmed: to be answered once this index is applied.
    confirmed: VecDeque<(u64, Vec<Ticket>)>,
    round: u64,
    count: usize,
}

impl Reads {
    pub fn confirmed(&mut self, context: &[u8], index: u64) {
        let Ok(round) = context.try_into().map(u64::from_le_bytes) else {
            return;
        };
        // A round that is confirmed confirms those before it.
        while self
            .rounds
            .front()
            .is_some_and(|(number, _)| *number <= round)
        {
            let (_, tickets) = self.rounds.pop_front().expect("invariant: it was there");
            self.confirmed.push_back((index, tickets));
        }
    }

    fn drain(&mut self) -> Vec<Ticket> {
        let mut all = std::mem::take(&mut self.waiting);
        all.extend(self.rounds.drain(..).flat_map(|(_, tickets)| tickets));
        all.extend(self.confirmed.drain(..).flat_map(|(_, tickets)| tickets));
        self.count = 0;
        all
    }
}

impl Core {
    /// Takes a request. What becomes of it comes as an answer with this ticket.
    ///
    /// # Errors
    /// [`Refused`]: it was not taken, and there will be no answer. A request that was answered
    /// before is answered at once, as the next turn's effect.
    pub fn submit(&mut self, ticket: Ticket, submission: &Submission<'_>) -> Result<(), Refused> {
        if !self.is_leader() {
            return Err(Refused::new(RefusalCode::NotLeader));
        }
        self.notice_lead();
        if let Submission::Session {
            client,
            sequence,
            behind,
            count,
            commands,
        } = submission
        {
            match self.state.sessions.look(*client, *sequence) {
                Known::Answered(stored) => {
                    self.effects.answers.push((ticket, Answer::Done(stored)));
                    return Ok(());
                }
                Known::Forgotten => return Err(Refused::new(RefusalCode::SequenceForgotten)),
                // What it says of the answers that it has makes room once it is applied.
                Known::WindowFull if u64::from(*behind) >= WINDOW => {
                    return Err(Refused::later(RefusalCode::WindowFull, BUSY_RETRY_MS));
                }
                // Whether a session is there is only certain where the log says so.
                Known::New | Known::Applying(_) | Known::Unknown | Known::WindowFull => {}
            }
            let mut commands = command::decode_all(commands, u32::from(*count));
            let mut command = Command::Tick;
            while let Some(read) = commands.next_into(&mut command) {
                if read.is_err() {
                    return Err(Refused::new(RefusalCode::Malformed));
                }
                // Only [`Core::activate`] knows whether every member is ready for it.
                if matches!(command, Command::ActivateLogic { .. }) {
                    return Err(Refused::new(RefusalCode::NotAllowed));
                }
            }
        }
        if self.disk_full {
            return Err(Refused::later(RefusalCode::JournalFull, FULL_RETRY_MS));
        }
        if self.pending.len() >= PENDING_ENTRIES_MAX
            || self.unwritten_bytes > self.config.unwritten_bytes_max
        {
            return Err(Refused::later(RefusalCode::Busy, BUSY_RETRY_MS));
        }
        if self.bundle.count() >= self.config.entry_requests_max {
            self.propose()?;
        }
        if self.push(submission).is_err() {
            // Too much for what is left of this entry, perhaps not for the next.
            if self.bundle.is_empty() {
                return Err(Refused::new(RefusalCode::TooLarge));
            }
            self.propose()?;
            self.push(submission)
                .map_err(|_| Refused::new(RefusalCode::TooLarge))?;
        }
        self.bundled.push(ticket);
        Ok(())
    }

    fn push(&mut self, submission: &Submission<'_>) -> Result<(), everopen_wire::EntryFull> {
        match submission {
            Submission::OpenSession { nonce } => {
                self.bundle.push(&Request::OpenSession { nonce: *nonce })
            }
            Submission::Session {
                client,
                sequence,
                behind,
                count,
                commands,
            } => {
                let origin = Origin::Session {
                    client: *client,
                    sequence: *sequence,
                    behind: *behind,
                };
                self.bundle.push_encoded(origin, *count, commands)
            }
            Submission::Internal(commands) => self.bundle.push(&Request::Internal { commands }),
        }
    }

    /// The index that makes a reader as new as every answer given before now.
    ///
    /// # Errors
    /// [`Refused`], as [`Core::submit`].
    pub fn read_index(&mut self, ticket: Ticket) -> Result<(), Refused> {
        if !self.is_leader() {
            return Err(Refused::new(RefusalCode::NotLeader));
        }
        if self.reads.count >= READS_MAX {
            return Err(Refused::later(RefusalCode::Busy, BUSY_RETRY_MS));
        }
        self.reads.count += 1;
        self.reads.waiting.push(ticket);
        Ok(())
    }

    /// What the others were last told to be committed, when that is not all that is. The next entry
    /// would tell them; when none comes soon, [`Core::tell_commit`] does.
    pub fn untold_commit(&self) -> Option<u64> {
        let untold = self.is_leader() && self.commit_index() > self.told_commit;
        untold.then_some(self.told_commit)
    }

    /// Tells the others what is committed, without an entry. A word of its own at once for each
    /// entry would make every replica work twice for it.
    pub fn tell_commit(&mut self) {
        if self.untold_commit().is_some() {
            self.told_commit = self.commit_index();
            self.raw.raft.bcast_append();
        }
    }

    /// Whether the lead is being handed over. What comes meanwhile waits: it goes into the log if
    /// nothing comes of it, and otherwise to whoever leads next.
    pub fn is_handing_over(&self) -> bool {
        self.raw.raft.lead_transferee.is_some()
    }

    /// At the beginning of a turn: proposes what was gathered and asks for reads.
    pub(super) fn lead(&mut self, now: Timestamp) {
        if !self.is_leader() {
            return;
        }
        self.notice_lead();
        self.stamped = self.stamped.max(now);
        self.is_timed = true;
        let due = self.state.venue.next_expiry();
        if due.is_some_and(|due| due <= now) && !self.tick_pending && !self.disk_full {
            self.propose_tick();
        }
        if self.may_propose()
            && let Err(refused) = self.propose()
        {
            debug_assert_ne!(refused.code, RefusalCode::NotLeader);
        }
        let confirmed = self.raw.raft.commit_to_current_term();
        if confirmed && !self.reads.waiting.is_empty() {
            self.reads.round += 1;
            let tickets = std::mem::take(&mut self.reads.waiting);
            self.reads.rounds.push_back((self.reads.round, tickets));
            self.raw.read_index(self.reads.round.to_le_bytes().to_vec());
        }
    }

    /// Whether the entry gathered so far is to be proposed. Not while the one before it is neither on this
    /// replica's disk nor committed: the disks of the others are as busy with it, and what comes meanwhile
    /// shares the next one. An entry that is full does not wait.
    pub(super) fn may_propose(&self) -> bool {
        let is_under_way = self.write_done < self.write_issued && self.awaits_others();
        !self.bundle.is_empty() && !self.is_handing_over() && !is_under_way
    }

    /// Whether this replica leads and an entry of its log is not committed yet.
    pub fn awaits_others(&self) -> bool {
        self.is_leader() && self.commit_index() < self.last_index()
    }

    /// A replica can become the leader in the middle of a turn, and be asked at once.
    fn notice_lead(&mut self) {
        let term = self.term();
        if self.led_term == Some(term) {
            return;
        }
        if self.led_term.is_some() {
            // It lost the lead and has it again.
            self.end_lead();
        }
        self.begin_lead(term);
    }

    fn begin_lead(&mut self, term: u64) {
        self.led_term = Some(term);
        // Nothing was proposed since: the last entry is the one that every lead begins with.
        self.led_from = self.last_index();
        self.effects.notices.push(format!("leads in term {term}"));
        self.tick_pending = false;
        self.is_timed = false;
        // Time must not go back behind what is in the log and not applied yet.
        for index in self.state.index + 1..=self.raw.store().last_index() {
            let entry = self.raw.store().entry(index);
            if let Some(time) = entry.and_then(|entry| bundle::time(&entry.data)) {
                self.stamped = self.stamped.max(time);
            }
        }
        self.stamped = self.stamped.max(self.state.time);
        self.bundle.begin(self.stamped);
    }

    fn propose_tick(&mut self) {
        let mut writer = everopen_wire::EntryWriter::new(4_096);
        writer.begin(self.stamped);
        writer
            .push(&Request::Internal {
                commands: &[Command::Tick],
            })
            .expect("invariant: a tick fits into an entry");
        let data = writer.finish().to_vec();
        if self.raw.propose(Vec::new(), data).is_ok() {
            self.tick_pending = true;
            self.pending.push_back(Pending {
                index: self.last_index(),
                term: self.term(),
                tickets: Vec::new(),
                tick: true,
            });
        }
    }

    /// Proposes the entry gathered so far, if there is one. Its tickets are answered if it is not
    /// taken.
    fn propose(&mut self) -> Result<(), Refused> {
        if self.bundle.is_empty() {
            return Ok(());
        }
        // More than an entry holds can come before a new leader's first turn, which brings the time: as old as
        // the state, in an empty log the beginning of time, a session's first use would let it expire at once.
        if self.is_handing_over() || !self.is_timed {
            return Err(Refused::later(RefusalCode::Busy, BUSY_RETRY_MS));
        }
        self.bundle.set_time(self.stamped);
        let data = self.bundle.finish().to_vec();
        self.bundle.begin(self.stamped);
        let tickets = std::mem::take(&mut self.bundled);
        match self.raw.propose(Vec::new(), data) {
            Ok(()) => {
                // It takes the commit index along.
                self.told_commit = self.commit_index();
                self.pending.push_back(Pending {
                    index: self.last_index(),
                    term: self.term(),
                    tickets,
                    tick: false,
                });
                Ok(())
            }
            Err(_) => {
                // Too much is uncommitted.
                let refused = Refused::later(RefusalCode::Busy, BUSY_RETRY_MS);
                self.refuse(tickets, refused);
                Err(refused)
            }
        }
    }

    /// At the end of a turn: a replica that lost the lead says so to everyone who waits.
    pub(super) fn check_lead(&mut self) {
        let Some(led) = self.led_term else { return };
        if self.is_leader() && self.term() == led {
            return;
        }
        self.end_lead();
    }

    fn end_lead(&mut self) {
        if let Some(term) = self.led_term.take() {
            let notice = format!("leads no longer, after term {term}");
            self.effects.notices.push(notice);
        }
        self.tick_pending = false;
        let unknown = Refused::new(RefusalCode::OutcomeUnknown);
        let waiting: Vec<Ticket> = self
            .pending
            .drain(..)
            .flat_map(|pending| pending.tickets)
            .collect();
        self.refuse(waiting, unknown);
        let changes = self.changes.drain(..).map(|(_, ticket)| ticket).collect();
        self.refuse(changes, unknown);
        let mut untaken = std::mem::take(&mut self.bundled);
        self.bundle.begin(self.stamped);
        untaken.extend(self.reads.drain());
        self.refuse(untaken, Refused::new(RefusalCode::NotLeader));
    }

    pub(super) fn answer_reads(&mut self) {
        while let Some((index, _)) = self.reads.confirmed.front() {
            if *index > self.state.index {
                return;
            }
            let (index, tickets) = self
                .reads
                .confirmed
                .pop_front()
                .expect("invariant: it was there");
            self.reads.count -= tickets.len();
            for ticket in tickets {
                self.effects.answers.push((ticket, Answer::ReadAt(index)));
            }
        }
    }

    fn refuse(&mut self, tickets: Vec<Ticket>, refused: Refused) {
        for ticket in tickets {
            self.effects
                .answers
                .push((ticket, Answer::Refused(refused)));
        }
    }
}
