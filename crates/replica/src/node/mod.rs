//! A replica as a process runs it: one event loop, a journal's thread, a publisher's thread.

mod awake;
mod backlog;
mod bulk;
mod calls;
mod clients;
mod disk;
mod event_loop;
mod follow;
mod handover;
mod machine;
mod outbox;
mod part;
mod peers;
mod publisher;
mod snapshots;
mod tickets;
mod watch;

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use everopen_domain::{Event, Timestamp};
use everopen_journal::Journal;
use everopen_rpc::{Hub, Limits, Security, Waker};
use serde_json::Value;

pub use awake::KeepAwake;

use crate::boot::{Ended, Note};
use crate::core::{self, Core};
use crate::disk::Writer;
use crate::recovery::{Fault, Origin, Progress, Report, recover};
use crate::{Applied, Reader, journal, member, rescue};

/// How a replica is run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Its number, from 1 to [`member::NUMBER_MAX`]. In a [`Node`] that runs it is what consensus calls
    /// it: number and life.
    pub node: u64,
    /// Its cluster.
    pub cluster: [u8; 16],
    /// Where others reach it.
    pub advertise: String,
    /// The first voters and where they are reached, this replica among them; none when it joins a
    /// cluster that runs.
    pub voters: BTreeMap<u64, String>,
    /// Where and how the log is kept.
    pub journal: journal::Config,
    /// Who it is to others.
    pub security: Security,
    /// The settings of consensus.
    pub core: core::Config,
    /// A tick of the consensus clock.
    pub tick: Duration,
    /// A state whose snapshot has so many bytes is not copied for the next one, which would stop the
    /// loop for about a millisecond per mebibyte: it gets an understudy, which costs its memory and
    /// the work of applying a second time.
    pub keep_state_from: usize,
    /// When the machine's processors are kept from sleeping.
    pub keep_awake: KeepAwake,
    /// The release, for people.
    pub build: String,
}

impl Config {
    /// The usual settings, with the log in `journal`.
    pub fn new(node: u64, cluster: [u8; 16], journal: journal::Config, security: Security) -> Self {
        Self {
            node,
            cluster,
            advertise: String::new(),
            voters: BTreeMap::new(),
            journal,
            security,
            core: core::Config::new(node),
            tick: Duration::from_millis(10),
            keep_state_from: 2 << 20,
            keep_awake: KeepAwake::default(),
            build: env!("CARGO_PKG_VERSION").to_string(),
        }
    }
}

/// What the loop shows of itself to the rest of the process.
#[derive(Debug, Default)]
struct Shown {
    status: Mutex<Value>,
    ended: AtomicBool,
    stop: AtomicBool,
    applied: AtomicU64,
}

/// A running replica. Dropping it stops it as [`Node::stop`] does.
pub struct Node {
    shown: Arc<Shown>,
    waker: Waker,
    address: SocketAddr,
    thread: Option<JoinHandle<Result<(), Fault>>>,
}

impl Node {
    /// Opens the log, brings the state and the reader up to what is known to be committed, and
    /// starts the threads.
    ///
    /// # Errors
    /// A [`Fault`]; a damaged log is left as it was.
    pub fn start(
        mut config: Config,
        listener: TcpListener,
        mut reader: impl Reader,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Self, Report), Fault> {
        let note = Note::beside(&config.journal);
        let (beside_log, cluster) = (note.clone(), config.cluster);
        let ended = note.ended()?;
        if ended == Ended::Lost {
            lose_memory(&config, &note)?;
        }
        if note.has_lost_log(config.cluster)? {
            return Err(Fault::LostLog {
                dir: config.journal.dir.clone(),
            });
        }
        let life = note.life()?;
        config.node = member::id(config.node, life);
        config.core.node = config.node;
        if life > 0 {
            // Whoever knew the first voters was in its first life.
            config.voters.clear();
        }
        config.core.trust = note.log_opens(config.cluster)?;
        note.begin()?;
        let (mut journal, found) = Journal::open(config.journal.clone())?;
        if !note.needs_end() {
            if ended == Ended::Unsettled {
                journal.sync_all()?;
            }
            note.settle()?;
        }
        let origin = Origin {
            node: config.node,
            cluster: config.cluster,
            voters: config.voters.clone(),
        };
        let logic_max = config.core.logic_max;
        let (recovered, mut report) =
            recover(&mut journal, &found, &origin, &mut reader, logic_max)?;
        let commit = recovered.commit_index();
        let file = recovered.file.clone();
        let mut core_config = config.core.clone();
        core_config.seed ^= clock().0 ^ (u64::from(std::process::id()) << 32);
        let mut core = Core::new(core_config, recovered)?;
        // The log's past, before anybody can ask.
        let started = Instant::now();
        let from = core.state().index;
        let mut writes = Vec::new();
        let mut ring = follow::Ring::default();
        while core.state().index < commit {
            let effects = core.turn(Timestamp::ZERO)?;
            writes.extend(effects.writes);
            for step in effects.steps {
                match step {
                    core::Step::Entry(entry, _) => {
                        report.entries_replayed += 1;
                        report.commands_replayed += entry.commands;
                        ring.push(follow::Recent::of(&entry));
                        reader.applied(&Applied {
                            index: everopen_domain::LogIndex(entry.index),
                            time: entry.time,
                            events: &entry.events,
                        });
                    }
                    // The reader is further when somebody could write it; the next one is not far.
                    core::Step::Snapshot(_) => core.snapshot_ended(None),
                    core::Step::Installed { .. } => {}
                }
            }
            progress(Progress {
                done: core.state().index - from,
                total: commit - from,
            });
        }
        report.replay_time = started.elapsed();
        let mut hub = Hub::new(Limits::within_a_cluster(), config.security.clone())
            .map_err(Fault::Network)?;
        let address = hub.listen(listener).map_err(Fault::Network)?;
        let waker = hub.waker();
        let shown = Arc::new(Shown::default());
        let keep_from = config.keep_state_from;
        let is_large = file
            .as_ref()
            .is_some_and(|file| file.bytes >= keep_from as u64);
        let stage = snapshots::Room {
            keep_from,
            is_large,
        };
        let threads = Threads::start(journal, note, reader, &core, &waker, writes, &stage)?;
        core.set_understudied(is_large);
        let event_loop =
            event_loop::EventLoop::new(config, core, hub, threads, ring, file, Arc::clone(&shown));
        let ended = Arc::clone(&shown);
        let thread = thread("everopen-replica", move || {
            let result =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || event_loop.run()));
            ended.ended.store(true, Relaxed);
            let result = result.unwrap_or(Err(Fault::Panicked));
            if let Err(Fault::Stop(core::Stop::LostLog { .. })) = result {
                beside_log.log_is_outdated(cluster)?;
            }
            result
        })?;
        let node = Self {
            shown,
            waker,
            address,
            thread: Some(thread),
        };
        Ok((node, report))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// True until the loop has ended, by [`Node::stop`] or by a fault.
    pub fn is_running(&self) -> bool {
        !self.shown.ended.load(Relaxed)
    }

    /// The last entry applied.
    pub fn applied(&self) -> u64 {
        self.shown.applied.load(Relaxed)
    }

    /// What it says of itself; see `docs/operating/cluster.md`.
    pub fn status(&self) -> Value {
        self.shown
            .status
            .lock()
            .map(|status| status.clone())
            .unwrap_or_default()
    }

    /// Hands the lead over if it leads, finishes what is on its way to the disk, and ends.
    ///
    /// # Errors
    /// The fault that had ended the loop before.
    pub fn stop(mut self) -> Result<(), Fault> {
        self.shown.stop.store(true, Relaxed);
        self.join()
    }

    /// Ends as if the process had been killed: nothing is handed over. For tests.
    pub fn abandon(mut self) {
        self.shown.ended.store(true, Relaxed);
        let _ = self.join();
    }

    fn join(&mut self) -> Result<(), Fault> {
        self.waker.wake();
        match self.thread.take() {
            Some(thread) => thread.join().unwrap_or(Err(Fault::Panicked)),
            None => Ok(()),
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.shown.stop.store(true, Relaxed);
        if let Err(fault) = self.join() {
            tracing::error!(fault = chain(&fault), "replica ended by a fault");
        }
    }
}

/// The machine stopped and took acknowledged entries with it: the replica begins its next life with
/// an empty log, which the others will fill, if there are any.
fn lose_memory(config: &Config, note: &Note) -> Result<(), Fault> {
    let known = rescue::inspect(&config.journal, config.cluster, config.core.logic_max);
    let others = match &known {
        Ok(found) if !found.voters.is_empty() => found.voters.clone(),
        // Its members can't be read: those that it began with are the best guess.
        _ => config.voters.keys().copied().collect(),
    };
    if others == [config.node] {
        return Err(Fault::LostMemory {
            dir: config.journal.dir.clone(),
        });
    }
    let life = note.begin_life()?;
    tracing::warn!(
        life,
        "the machine stopped without an orderly end, and what this replica had acknowledged in memory may \
         be lost: it comes back as a new learner, with an empty log, and votes when it has caught up"
    );
    Ok(())
}

/// Bytes a second that a snapshot is written with at most: the disk is the log's first.
const SNAPSHOT_PACE: u64 = 64 << 20;
/// Buffers on their way back from the publisher.
const BUFFERS: usize = 64;

/// The threads beside the loop, and the ways to them.
struct Threads {
    desk: Option<disk::Desk>,
    disk: Option<JoinHandle<Result<(), Fault>>>,
    progress: Arc<disk::Progress>,
    publications: Option<std::sync::mpsc::SyncSender<publisher::Publication>>,
    published: std::sync::mpsc::Receiver<publisher::Published>,
    used_events: std::sync::mpsc::Receiver<Vec<Event>>,
    publisher: Option<JoinHandle<Result<(), Fault>>>,
}

impl Threads {
    fn start(
        journal: Journal,
        note: Note,
        reader: impl Reader,
        core: &Core,
        waker: &Waker,
        writes: Vec<core::Write>,
        room: &snapshots::Room,
    ) -> Result<Self, Fault> {
        let progress = Arc::<disk::Progress>::default();
        // Bounded by how far a leader lets its disk be behind, and by what it sends a follower ahead.
        let (orders, ordered) = std::sync::mpsc::channel();
        let given = writes.last().map_or(0, |write| write.number);
        for write in writes {
            let _ = orders.send(disk::Order::Write(write));
        }
        let (publications, published_in) = sync_channel(4_096);
        let (tell, published) = sync_channel(64);
        let (used, used_events) = sync_channel(BUFFERS);
        let stage = snapshots::Stage::start(
            journal.snapshots().paced(SNAPSHOT_PACE),
            room.keep_from,
            core.config().logic_max,
            tell.clone(),
            waker.clone(),
        )?;
        if room.is_large {
            // Now, when nobody waits yet.
            stage.begin(Box::new(core.state().clone()))?;
        }
        let publisher = publisher::Publisher {
            reader,
            stage,
            tell,
            used,
            waker: waker.clone(),
            index: core.state().index,
            time: core.state().time,
        };
        let publisher = thread("everopen-publisher", move || {
            step_back();
            publisher.run(&published_in)
        })?;
        let writer = Arc::new(Mutex::new(Writer::new(journal)));
        let desk = disk::Desk::new(Arc::clone(&writer), orders, Arc::clone(&progress), given);
        let disk = {
            let (progress, waker) = (Arc::clone(&progress), waker.clone());
            thread("everopen-journal", move || {
                let result = disk::run(&writer, &note, &ordered, &progress, &waker);
                waker.wake();
                result
            })?
        };
        Ok(Self {
            desk: Some(desk),
            disk: Some(disk),
            progress,
            publications: Some(publications),
            published,
            used_events,
            publisher: Some(publisher),
        })
    }
}

fn thread<T: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<JoinHandle<T>, Fault> {
    std::thread::Builder::new()
        .name(name.to_string())
        .spawn(work)
        .map_err(Fault::Thread)
}

/// Lets the loop and the journal go first, wherever cores are few: nobody waits for this thread. On
/// Linux, niceness is a thread's own.
fn step_back() {
    const NICENESS: i32 = 10;
    // Where it is not allowed, nothing is lost but time.
    let _ = rustix::process::nice(NICENESS);
}

/// The only place that asks for the time: what it says goes into the log.
fn clock() -> Timestamp {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

/// An address as text becomes one that can be dialed.
fn resolve(address: &str) -> io::Result<SocketAddr> {
    use std::net::ToSocketAddrs;
    address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| io::Error::other("no such address"))
}
