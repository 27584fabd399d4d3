//! A simulated replica: the real core, the real journal on real files, and around them what a
//! process would do, step by step in simulated time.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;

use bytes::Bytes;
use everopen_domain::{LogIndex, Timestamp};
use everopen_journal::{self as journal, Durability, Journal, RetainLog, SnapshotRef, Snapshots};
use everopen_replica::core::{self, Core, Step, Trust, Write};
use everopen_replica::disk::Writer;
use everopen_replica::understudy::{Made, Understudy};
use everopen_replica::{Applied, Fault, Origin, Reader, recover};

use crate::bulk::Bulk;
use crate::follower::Follower;
use crate::packet::{About, Packet};
use crate::profile::Profile;

/// The cluster of every simulated world.
pub(crate) const CLUSTER: [u8; 16] = *b"simulated world!";
/// Where simulated time begins, in nanoseconds since 1970.
const EPOCH: u64 = 1_700_000_000 * Timestamp::NANOS_PER_SECOND;

/// A machine that a replica runs on.
pub(crate) struct Node {
    pub id: u64,
    pub dir: PathBuf,
    /// Whether it was there from the beginning.
    pub founder: bool,
    /// The newest rules that its program knows.
    pub logic_max: u16,
    /// Nanoseconds that its clock is ahead of true time.
    pub clock: i64,
    /// How many times it was started.
    pub epoch: u64,
    pub process: Option<Box<Process>>,
    pub paused_until: u64,
    pub slow_until: u64,
    pub full_until: u64,
    /// The next commit fails.
    pub failing: bool,
    /// A bit of its files was flipped.
    pub damaged: bool,
    /// It does not start with the files that it has.
    pub refused: bool,
    /// What it notes beside its log.
    pub trust: Trust,
}

impl Node {
    pub fn new(id: u64, dir: PathBuf, founder: bool, logic_max: u16) -> Self {
        Self {
            id,
            dir,
            founder,
            logic_max,
            clock: 0,
            epoch: 0,
            process: None,
            paused_until: 0,
            slow_until: 0,
            full_until: 0,
            failing: false,
            damaged: false,
            refused: false,
            trust: Trust::New,
        }
    }

    /// Its wall clock at a moment of true time.
    pub fn clock(&self, now: u64) -> Timestamp {
        Timestamp(wall(now).0.saturating_add_signed(self.clock))
    }
}

/// True time as a wall clock shows it.
pub(crate) fn wall(now: u64) -> Timestamp {
    Timestamp(EPOCH + now * 1_000)
}

/// Who waits for an answer of a replica.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    Client {
        endpoint: u64,
        about: About,
        /// What was committed when a read began.
        floor: u64,
    },
    Operator,
}

/// A running replica.
pub(crate) struct Process {
    pub core: Core,
    pub writer: Writer,
    pub snapshots: Snapshots,
    pub reader: Follower,
    /// Writes that the disk has not done, in order.
    pub writes: VecDeque<Write>,
    /// How many of them it works on.
    pub writing: usize,
    pub durable: u64,
    pub understudy: Understudy,
    /// A snapshot that is being written; none in it if there was no state to make it of.
    pub job: Option<Option<Made>>,
    pub file: Option<SnapshotRef>,
    pub bulk: Bulk,
    pub askers: BTreeMap<u64, Asker>,
    pub asked: u64,
    pub inbox: VecDeque<(u64, Packet)>,
    /// Peers whose connections have broken.
    pub broken: Vec<u64>,
    pub last_tick: u64,
    pub last_chores: u64,
    /// What the others know to be committed while more is, and since when.
    pub untold: Option<(u64, u64)>,
    pub wake_at: u64,
    pub wake_number: u64,
    /// It dies at the end of this turn.
    pub doomed: bool,
}

/// What a start has to show.
pub(crate) struct Started {
    pub process: Box<Process>,
    /// Entries replayed, for the audit.
    pub steps: Vec<Step>,
    pub report: everopen_replica::Report,
}

/// The settings of a node's journal.
pub(crate) fn journal_config(dir: PathBuf, profile: &Profile) -> journal::Config {
    journal::Config {
        segment_bytes: profile.segment_bytes,
        max_record_bytes: profile.segment_bytes as u32 / 2,
        durability: Durability::Memory,
        retain_snapshots: 2,
        retain_log: RetainLog::SinceOldestSnapshot,
        ..journal::Config::new(dir)
    }
}

/// Starts a replica as a process does.
pub(crate) fn start(
    node: &Node,
    profile: &Profile,
    seed: u64,
    voters: &BTreeMap<u64, String>,
    now: u64,
) -> Result<Started, Fault> {
    let (mut journal, found) = Journal::open(journal_config(node.dir.clone(), profile))?;
    let origin = Origin {
        node: node.id,
        cluster: CLUSTER,
        voters: if node.founder {
            voters.clone()
        } else {
            BTreeMap::new()
        },
    };
    let mut reader = Follower::default();
    let (recovered, report) = recover(&mut journal, &found, &origin, &mut reader, node.logic_max)?;
    let commit = recovered.commit_index();
    let file = recovered.file().cloned();
    let config = core::Config {
        election_ticks: profile.election_ticks,
        heartbeat_ticks: profile.heartbeat_ticks,
        seed,
        trust: node.trust,
        logic_max: node.logic_max,
        entry_bytes_max: profile.segment_bytes as usize / 4,
        entry_requests_max: profile.entry_requests_max,
        uncommitted_bytes_max: profile.uncommitted_bytes_max,
        snapshot_every_bytes: profile.snapshot_every_bytes,
        log_keep_bytes: profile.log_keep_bytes,
        ..core::Config::new(node.id)
    };
    let mut core = Core::new(config, recovered)?;
    let mut writes = VecDeque::new();
    let mut steps = Vec::new();
    while core.state().index < commit {
        let effects = core.turn(Timestamp::ZERO)?;
        writes.extend(effects.writes);
        for step in effects.steps {
            match &step {
                Step::Entry(entry, _) => reader.applied(&Applied {
                    index: LogIndex(entry.index),
                    time: entry.time,
                    events: &entry.events,
                }),
                // The reader is further by now; the next one is taken when it is due.
                Step::Snapshot(_) => core.snapshot_ended(None),
                Step::Installed { .. } => {}
            }
            steps.push(step);
        }
    }
    let mut understudy = Understudy::new(profile.keep_state_from, node.logic_max);
    if profile.keep_state_from == 0 {
        understudy.begin(core.state().clone());
        core.set_understudied(true);
    }
    let snapshots = journal.snapshots();
    let process = Box::new(Process {
        core,
        writer: Writer::new(journal),
        snapshots,
        reader,
        writes,
        writing: 0,
        durable: 0,
        understudy,
        job: None,
        file,
        bulk: Bulk::default(),
        askers: BTreeMap::new(),
        asked: 0,
        inbox: VecDeque::new(),
        broken: Vec::new(),
        last_tick: now,
        last_chores: now,
        untold: None,
        wake_at: u64::MAX,
        wake_number: 0,
        doomed: false,
    });
    Ok(Started {
        process,
        steps,
        report,
    })
}

impl Process {
    pub fn ticket(&mut self, asker: Asker) -> u64 {
        self.asked += 1;
        self.askers.insert(self.asked, asker);
        self.asked
    }

    /// The bytes of the newest snapshot as a peer is sent them.
    pub fn portable(&self, place: u64) -> Option<Bytes> {
        let file = self.file.as_ref().filter(|file| file.index == place)?;
        let content = Bytes::from(file.read().ok()?);
        everopen_replica::snapshot::portable(&content).ok()
    }
}
