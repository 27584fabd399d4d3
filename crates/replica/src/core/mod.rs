//! The heart of a replica: consensus and the replicated state, without any thread, clock, disk or
//! network. Whoever runs it (an event loop, or a simulated world) brings ticks, messages, requests
//! and word from the disk, and carries out the [`Effects`] of each [`Core::turn`].
//!
//! The order of things is the library's asynchronous one: a leader's messages leave before its own
//! disk has written; votes and acknowledgments leave only after it has.

mod agree;
mod apply;
mod change;
mod config;
mod effects;
mod elect;
mod lead;
mod prove;
mod stop;
#[cfg(test)]
mod tests;
mod turn;

use std::collections::{BTreeMap, VecDeque};

use everopen_domain::Timestamp;
use everopen_wire::EntryWriter;
use raft::eraftpb::{ConfState, Entry, HardState, Message, MessageType, Snapshot};
use raft::{RawNode, StateRole};

use crate::logger;
use crate::recovery::Recovered;
use crate::state::{ApplyError, State};
use crate::storage::Log;

pub use agree::Disagreement;
pub use change::MembershipChange;
pub use config::Config;
pub use effects::{Answer, Effects, Install, Record, Refused, Step, Submission, Ticket, Write};
pub use prove::Trust;
pub use stop::Stop;

/// What a replica is in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It takes requests.
    Leader,
    /// It follows a leader, and votes.
    Follower,
    /// It asks for votes.
    Candidate,
    /// It follows and does not vote.
    Learner,
}

/// A replica without its surroundings.
pub struct Core {
    config: Config,
    raw: RawNode<Log>,
    state: State,
    /// Places given to journal records so far.
    place: u64,
    // Writing.
    write_issued: u64,
    write_done: u64,
    /// The write that holds the newest term and vote.
    voted: u64,
    /// Readies whose writes are under way, with the messages that wait for them.
    persisting: VecDeque<Persisting>,
    /// Bytes of the writes that the disk has not done.
    unwritten_bytes: usize,
    /// A state that is being taken over: the write that holds it.
    installing: Option<u64>,
    /// A peer's state, its bytes, and how many of them are its own.
    incoming: Option<(State, bytes::Bytes, usize)>,
    /// Committed, and not applied yet.
    committed: Vec<Entry>,
    // Leading.
    bundle: EntryWriter,
    bundled: Vec<Ticket>,
    pending: VecDeque<lead::Pending>,
    stamped: Timestamp,
    /// Whether that is of the clock since this replica leads; until then nothing is proposed.
    is_timed: bool,
    reads: lead::Reads,
    changes: VecDeque<(u64, Ticket)>,
    tick_pending: bool,
    /// The last commit index that was sent to the others, with entries or alone.
    told_commit: u64,
    supports: BTreeMap<u64, u16>,
    disk_full: bool,
    led_term: Option<u64>,
    /// The first entry of that term.
    led_from: u64,
    // Snapshots.
    snapshot_running: bool,
    snapshots_skipped: u32,
    /// A second state is kept elsewhere, so that this one need not be copied.
    is_understudied: bool,
    // Elections.
    random: u64,
    timer: (u64, StateRole, u64),
    /// An election that does not wait for the whole timeout.
    hurry: Option<elect::Hurry>,
    timeout: usize,
    trust: Trust,
    agree: agree::Agreement,
    effects: Effects,
    stop: Option<Stop>,
}

struct Persisting {
    number: u64,
    write: u64,
    bytes: usize,
    messages: Vec<Message>,
}

impl Core {
    /// A core that goes on from what was recovered.
    ///
    /// # Errors
    /// [`Stop::Consensus`] when the recovered log contradicts itself.
    pub fn new(config: Config, recovered: Recovered) -> Result<Self, Stop> {
        let Recovered {
            state, log, place, ..
        } = recovered;
        let raft_config = raft::Config {
            id: config.node,
            election_tick: config.election_ticks,
            heartbeat_tick: config.heartbeat_ticks,
            min_election_tick: config.election_ticks,
            max_election_tick: config.election_ticks * 2,
            applied: state.index,
            max_size_per_msg: config.uncommitted_bytes_max.min(1 << 20),
            max_inflight_msgs: 256,
            check_quorum: true,
            pre_vote: true,
            batch_append: true,
            // The next entry brings it; see [`Core::tell_commit`].
            skip_bcast_commit: true,
            max_uncommitted_size: config.uncommitted_bytes_max,
            max_committed_size_per_ready: 8 << 20,
            ..raft::Config::default()
        };
        let raw = RawNode::new(&raft_config, log, &logger::logger(config.node))
            .map_err(|e| Stop::Consensus(e.to_string()))?;
        let mut core = Self {
            bundle: EntryWriter::new(config.entry_bytes_max),
            bundled: Vec::new(),
            pending: VecDeque::new(),
            stamped: state.time,
            is_timed: false,
            reads: lead::Reads::default(),
            changes: VecDeque::new(),
            tick_pending: false,
            supports: BTreeMap::new(),
            disk_full: false,
            led_term: None,
            led_from: 0,
            place,
            write_issued: 0,
            write_done: 0,
            voted: 0,
            persisting: VecDeque::new(),
            unwritten_bytes: 0,
            installing: None,
            incoming: None,
            committed: Vec::new(),
            told_commit: 0,
            snapshot_running: false,
            snapshots_skipped: 0,
            is_understudied: false,
            random: config.seed,
            timer: (0, StateRole::Follower, 0),
            hurry: None,
            timeout: config.election_ticks,
            trust: config.trust,
            agree: agree::Agreement::new(config.node, state.index, state.digest),
            effects: Effects::default(),
            stop: None,
            config,
            raw,
            state,
        };
        core.prove();
        core.redraw_timeout();
        Ok(core)
    }

    /// A tick of the clock has passed. After a pause, however long, at most one may be given.
    pub fn tick(&mut self) {
        // Who campaigns looks at what is not applied yet, and that is not there while a state is on
        // its way to the disk.
        if self.installing.is_none() {
            if self.is_partial() {
                self.raw.raft.election_elapsed = 0;
            }
            self.raw.tick();
        }
        self.tick_agreement();
        self.keep_timeout();
    }

    /// A consensus message of a peer has come. Not for messages with a snapshot.
    pub fn receive(&mut self, message: Message) {
        let kind = message.get_msg_type();
        if kind == MessageType::MsgSnapshot || is_local(kind) || kind == MessageType::MsgPropose {
            return;
        }
        if kind == MessageType::MsgTimeoutNow && self.installing.is_some() {
            return;
        }
        if self.must_ignore(&message) {
            return;
        }
        // A leader's library that batches can join entries to a message that waits without any, when
        // a peer's refusal made it go back in between; taken as it is, more would be acknowledged
        // here than there is. It is as good as lost, and will be sent again.
        let follows = |entry: &Entry| entry.index == message.index + 1;
        if kind == MessageType::MsgAppend && !message.entries.first().is_none_or(follows) {
            return;
        }
        // A leader tells a follower no more than what that has acknowledged.
        let last = self.raw.raft.raft_log.last_index();
        let is_of_now = message.term >= self.raw.raft.term;
        if kind == MessageType::MsgHeartbeat && is_of_now && message.commit > last {
            self.stop = Some(Stop::LostLog {
                acknowledged: message.commit,
                last,
            });
            return;
        }
        // A message of a peer that was removed, say: the library says so, and that is all.
        let _ = self.raw.step(message);
        self.keep_timeout();
    }

    /// A peer's whole state has come, and the message that offered it. False if it is of no use.
    pub fn receive_snapshot(&mut self, message: Message, bytes: bytes::Bytes) -> bool {
        let busy = self.installing.is_some() || self.incoming.is_some();
        if busy || message.get_msg_type() != MessageType::MsgSnapshot {
            return false;
        }
        let meta = message.get_snapshot().get_metadata();
        let (state, own) = match State::decode(&bytes) {
            Ok((state, rest)) => (state, bytes.len() - rest.len()),
            Err(error) => {
                tracing::warn!(error, "a peer's snapshot can't be read");
                return false;
            }
        };
        if (state.index, state.term) != (meta.index, meta.term)
            || state.cluster != self.state.cluster
        {
            tracing::warn!("a peer's snapshot is not what it offered");
            return false;
        }
        if state.logic() > self.config.logic_max {
            self.stop = Some(Stop::Apply(ApplyError::UnknownLogic {
                index: state.index,
                version: state.logic(),
                known: self.config.logic_max,
            }));
            return false;
        }
        let stepped = self.raw.step(message).is_ok();
        self.keep_timeout();
        let taken = stepped && self.raw.raft.raft_log.unstable_snapshot().is_some();
        if taken {
            self.incoming = Some((state, bytes, own));
        }
        taken
    }

    /// The snapshot that was sent to a peer has arrived, or will not.
    pub fn report_snapshot(&mut self, to: u64, arrived: bool) {
        let status = if arrived {
            raft::SnapshotStatus::Finish
        } else {
            raft::SnapshotStatus::Failure
        };
        self.raw.report_snapshot(to, status);
    }

    /// A peer can't be reached now.
    pub fn report_unreachable(&mut self, to: u64) {
        self.raw.report_unreachable(to);
    }

    /// Every write up to this number is on the disk.
    pub fn persisted(&mut self, write: u64) {
        assert!(
            write >= self.write_done && write <= self.write_issued,
            "invariant: writes end in order"
        );
        self.write_done = write;
    }

    /// A snapshot job has ended. `taken` describes the snapshot, none if it failed.
    pub fn snapshot_ended(&mut self, taken: Option<Snapshot>) {
        self.snapshot_running = false;
        let Some(snapshot) = taken else { return };
        if snapshot.get_metadata().index > self.raw.store().snapshot_index() {
            self.raw.mut_store().set_snapshot(snapshot);
            self.compact();
        }
    }

    /// Whether every applied entry is given to an [`crate::understudy::Understudy`] that has the state
    /// before it: then snapshots need no copy. A state that is taken over from a peer ends that.
    pub fn set_understudied(&mut self, is: bool) {
        self.is_understudied = is;
    }

    /// Whether a snapshot is being taken.
    pub fn is_taking_snapshot(&self) -> bool {
        self.snapshot_running
    }

    /// Whether the disk has no room for more log.
    pub fn set_disk_full(&mut self, full: bool) {
        self.disk_full = full;
    }

    /// Asks the cluster to elect this replica now.
    pub fn campaign(&mut self) {
        if self.installing.is_some() || self.is_partial() {
            return;
        }
        let _ = self.raw.campaign();
        self.keep_timeout();
    }

    /// What this replica is now.
    pub fn role(&self) -> Role {
        match self.raw.raft.state {
            StateRole::Leader => Role::Leader,
            StateRole::Candidate | StateRole::PreCandidate => Role::Candidate,
            StateRole::Follower if self.state.conf.learners.contains(&self.config.node) => {
                Role::Learner
            }
            StateRole::Follower => Role::Follower,
        }
    }

    /// Whether it leads.
    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// Who leads, as far as it knows.
    pub fn leader(&self) -> Option<u64> {
        Some(self.raw.raft.leader_id).filter(|leader| *leader != 0)
    }

    /// Its term.
    pub fn term(&self) -> u64 {
        self.raw.raft.term
    }

    /// The last entry known to be committed.
    pub fn commit_index(&self) -> u64 {
        self.raw.raft.raft_log.committed
    }

    /// The last entry of its log.
    pub fn last_index(&self) -> u64 {
        self.raw.raft.raft_log.last_index()
    }

    /// The entry before the first one that it keeps.
    pub fn base_index(&self) -> u64 {
        self.raw.store().base_index()
    }

    /// The newest snapshot's index; 0 for none.
    pub fn snapshot_index(&self) -> u64 {
        self.raw.store().snapshot_index()
    }

    /// The replicated state as it is applied here.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Takes back a buffer of applied events; see [`State::recycle`].
    pub fn recycle(&mut self, events: Vec<everopen_domain::Event>) {
        self.state.recycle(events);
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// For a leader: how far a member's log is known to match, and what it is doing.
    pub fn progress(&self, node: u64) -> Option<(u64, String)> {
        if !self.is_leader() {
            return None;
        }
        let progress = self.raw.raft.prs().get(node)?;
        Some((progress.matched, progress.state.to_string()))
    }

    /// All members, voters first.
    pub fn members(&self) -> Vec<u64> {
        members(&self.state.conf)
    }

    /// A peer says up to which version of the rules it knows.
    pub fn set_support(&mut self, node: u64, logic_max: u16) {
        self.supports.insert(node, logic_max);
    }

    /// An applied entry as it stands in the log: its term, whether it holds commands, its data.
    /// None when it is only in the snapshot any more, or not applied yet.
    pub fn log_entry(&self, index: u64) -> Option<(u64, bool, bytes::Bytes)> {
        let entry = self.raw.store().entry(index)?;
        let commands = entry.get_entry_type() == raft::eraftpb::EntryType::EntryNormal
            && !entry.data.is_empty();
        (index <= self.state.index).then(|| (entry.term, commands, entry.data.clone()))
    }

    /// Whether anything waits for a turn.
    pub fn has_work(&self) -> bool {
        self.may_propose()
            || self.raw.has_ready()
            || !self.committed.is_empty()
            || self.stop.is_some()
    }

    fn hard_state(&self) -> &HardState {
        self.raw.store().hard_state()
    }

    /// The hard state, with no more committed than `index`.
    fn hard_state_up_to(&self, index: u64) -> HardState {
        let mut state = self.hard_state().clone();
        state.commit = state.commit.min(index);
        state
    }

    fn compact(&mut self) {
        let snapshot = self.raw.store().snapshot_index();
        let slowest = if self.is_leader() {
            let progress = self.raw.raft.prs();
            let matched = progress.iter().map(|(_, progress)| progress.matched);
            matched.min().unwrap_or(0)
        } else {
            // A follower may lead next: it keeps as much for the slowest as it may.
            0
        };
        let keep = self.config.log_keep_bytes;
        self.raw
            .mut_store()
            .compact(snapshot.min(self.state.index), slowest, keep);
    }
}

/// All members of a configuration, voters first, each once.
pub(crate) fn members(conf: &ConfState) -> Vec<u64> {
    let mut all = Vec::new();
    for node in conf
        .voters
        .iter()
        .chain(&conf.voters_outgoing)
        .chain(&conf.learners)
        .chain(&conf.learners_next)
    {
        if !all.contains(node) {
            all.push(*node);
        }
    }
    all
}

/// Messages that a node sends to itself; from the network they are not taken.
fn is_local(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::MsgHup
            | MessageType::MsgBeat
            | MessageType::MsgUnreachable
            | MessageType::MsgSnapStatus
            | MessageType::MsgCheckQuorum
    )
}
