//! What only a leader does: take requests, stamp them with the time, answer reads, change the
//! membership.

use std::collections::VecDeque;

use everopen_domain::{Command, Timestamp};
use everopen_wire::command;
use everopen_wire::entry::{Origin, Request};
use everopen_wire::message::RefusalCode;
use raft::eraftpb::{ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2};

use super::{Answer, Core, Refused, Submission, Ticket};
use crate::bundle;
use crate::sessions::{Known, WINDOW};

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

/// A change of membership.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MembershipChange {
    /// A new replica that follows and does not vote yet.
    AddLearner {
        /// Its number.
        node: u64,
        /// Where it is reached.
        address: String,
    },
    /// A learner becomes a voter.
    Promote {
        /// Its number.
        node: u64,
    },
    /// A replica leaves.
    Remove {
        /// Its number.
        node: u64,
    },
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
            for command in command::decode_all(commands, u32::from(*count)) {
                match command {
                    Err(_) => return Err(Refused::new(RefusalCode::Malformed)),
                    // Only [`Core::activate`] knows whether every member is ready for it.
                    Ok(Command::ActivateLogic { .. }) => {
                        return Err(Refused::new(RefusalCode::NotAllowed));
                    }
                    Ok(_) => {}
                }
            }
        }
        if self.disk_full {
            return Err(Refused::later(RefusalCode::JournalFull, FULL_RETRY_MS));
        }
        if self.pending.len() >= PENDING_ENTRIES_MAX {
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

    /// Proposes a change of membership; answered when it has taken effect.
    ///
    /// # Errors
    /// A sentence for the operator: nothing was proposed.
    pub fn change(&mut self, ticket: Ticket, change: &MembershipChange) -> Result<(), String> {
        if !self.is_leader() {
            return Err("this replica does not lead".into());
        }
        if self.raw.raft.has_pending_conf() || !self.state.conf.voters_outgoing.is_empty() {
            return Err("another change of membership is under way; try again".into());
        }
        let conf = &self.state.conf;
        let (kind, node, context) = match change {
            MembershipChange::AddLearner { node, address } => {
                if super::members(conf).contains(node) {
                    return Err(format!("replica {node} is a member already"));
                }
                if *node == 0 || address.contains(char::is_whitespace) {
                    return Err("a replica needs a number from 1 and an address".into());
                }
                let context = format!("{node} {address}");
                (ConfChangeType::AddLearnerNode, *node, context)
            }
            MembershipChange::Promote { node } => {
                if !conf.learners.contains(node) {
                    return Err(format!("replica {node} is no learner"));
                }
                self.may_promote(*node)?;
                (ConfChangeType::AddNode, *node, String::new())
            }
            MembershipChange::Remove { node } => {
                if !super::members(conf).contains(node) {
                    return Err(format!("replica {node} is no member"));
                }
                if conf.voters == [*node] {
                    return Err("the last voter can't be removed".into());
                }
                if *node == self.config.node {
                    return Err("a leader can't remove itself: transfer the lead first".into());
                }
                (ConfChangeType::RemoveNode, *node, String::new())
            }
        };
        let mut single = ConfChangeSingle::default();
        single.node_id = node;
        single.set_change_type(kind);
        let mut proposal = ConfChangeV2::default();
        proposal.set_transition(ConfChangeTransition::Auto);
        proposal.mut_changes().push(single);
        proposal.context = context.into_bytes().into();
        self.raw
            .propose_conf_change(Vec::new(), proposal)
            .map_err(|e| e.to_string())?;
        self.changes.push_back((self.last_index(), ticket));
        Ok(())
    }

    /// A learner that is far behind would take the cluster's quorum with it.
    fn may_promote(&self, node: u64) -> Result<(), String> {
        const NEAR: u64 = 1_000;
        let (matched, _) = self
            .progress(node)
            .ok_or_else(|| format!("nothing is known of replica {node}"))?;
        let behind = self.commit_index().saturating_sub(matched);
        if behind > NEAR {
            return Err(format!(
                "replica {node} is {behind} entries behind; wait until it has caught up"
            ));
        }
        if self.supports.get(&node).copied().unwrap_or(0) < self.state.logic() {
            return Err(format!("replica {node} does not know the rules in force"));
        }
        Ok(())
    }

    /// Switches on the next version of the rules, if every member knows it.
    ///
    /// # Errors
    /// A sentence for the operator: nothing was proposed.
    pub fn activate(&mut self, ticket: Ticket, version: u16) -> Result<(), String> {
        if !self.is_leader() {
            return Err("this replica does not lead".into());
        }
        if version != self.state.logic() + 1 {
            return Err(format!(
                "logic version {} is in force; only {} can be activated next",
                self.state.logic(),
                self.state.logic() + 1
            ));
        }
        for node in self.members() {
            let known = if node == self.config.node {
                Some(self.config.logic_max)
            } else {
                self.supports.get(&node).copied()
            };
            match known {
                Some(known) if known >= version => {}
                Some(known) => {
                    return Err(format!(
                        "replica {node} knows logic up to {known}, not {version}"
                    ));
                }
                None => {
                    return Err(format!(
                        "replica {node} has not said which logic it knows; is it running?"
                    ));
                }
            }
        }
        let command = Command::ActivateLogic { version };
        self.submit(ticket, &Submission::Internal(&[command]))
            .map_err(|refused| refused.code.text().to_string())
    }

    /// Hands the lead to a voter, or to the one that is furthest if none is named.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn transfer(&mut self, to: Option<u64>) -> Result<u64, String> {
        if !self.is_leader() {
            return Err("this replica does not lead".into());
        }
        let own = self.config.node;
        let voters = &self.state.conf.voters;
        let to = match to {
            Some(to) if !voters.contains(&to) => return Err(format!("replica {to} does not vote")),
            Some(to) => to,
            None => voters
                .iter()
                .copied()
                .filter(|node| *node != own)
                .filter(|node| {
                    let progress = self.raw.raft.prs().get(*node);
                    progress.is_some_and(|progress| progress.recent_active)
                })
                .max_by_key(|node| self.progress(*node).map(|(matched, _)| matched))
                .ok_or("no other voter can be reached")?,
        };
        if to == own {
            return Err(format!("replica {to} leads already"));
        }
        self.raw.transfer_leader(to);
        self.keep_timeout();
        Ok(to)
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
        let due = self.state.venue.next_expiry();
        if due.is_some_and(|due| due <= now) && !self.tick_pending && !self.disk_full {
            self.propose_tick();
        }
        if !self.bundle.is_empty()
            && !self.is_handing_over()
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
        self.effects.notices.push(format!("leads in term {term}"));
        self.tick_pending = false;
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
        if self.is_handing_over() {
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
