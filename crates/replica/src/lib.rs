//! One replica of the venue: the journal and the machine in one event loop, the only writer of
//! the log.
//!
//! ```text
//! submit ─▶ bounded queue ─▶ sequencer thread ─────────────▶ bounded queue ─▶ publisher thread
//!                            stamp the time, journal one       entries          reader (views, feed),
//!                            entry for the turn, commit,                        then the answers
//!                            apply to the venue
//! ```
//!
//! Invariants of this room:
//! - INV-REPLICA-1: nothing is applied before it is durable, nothing answered before it is applied
//!   and the reader has seen it; so who is answered finds its own write in every view.
//! - INV-REPLICA-2: the time in the log never goes backwards.
//! - INV-REPLICA-3: both queues are bounded. A full command queue answers [`Refusal::Busy`], a
//!   journal without room [`Refusal::JournalFull`]; a slow reader slows the sequencer down.
//! - INV-REPLICA-4: a failed commit ends the replica. What its commands became is unknown to their
//!   senders ([`Refusal::OutcomeUnknown`]) until a restart has read the log.
//!
//! Consensus between several replicas is not in this room yet; one replica is the whole log.

mod publisher;
mod recovery;
mod sequencer;
mod stats;

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender, TrySendError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use everopen_domain::{Command, Event, LogIndex, Timestamp};
pub use everopen_journal as journal;

pub use recovery::{Fault, Progress, Report, verify};
pub use stats::{LatencySummary, Stats};

/// How a replica is run.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where and how the log is kept.
    pub journal: journal::Config,
    /// Commands (or groups of commands) that may wait to be sequenced; one more is
    /// [`Refusal::Busy`].
    pub queue_commands: usize,
    /// Commands that one turn of the loop puts into one entry of the log at most.
    pub entry_commands: usize,
    /// A snapshot is taken when the log has grown by this many bytes since the last one.
    pub snapshot_every_bytes: u64,
}

impl Config {
    /// The usual limits, with the log in `dir`.
    pub fn new(dir: impl Into<std::path::PathBuf>) -> Self {
        Self {
            journal: journal::Config::new(dir),
            queue_commands: 16_384,
            entry_commands: 2_048,
            snapshot_every_bytes: 64 << 20,
        }
    }
}

/// Entries that may wait for the reader; past it the sequencer waits.
const QUEUE_ENTRIES: usize = 64;
/// What a client should wait before it tries again when the queue is full.
const BUSY_RETRY: Duration = Duration::from_millis(100);

/// One applied entry, as the reader sees it.
#[derive(Clone, Copy, Debug)]
pub struct Applied<'a> {
    /// Its place in the log.
    pub index: LogIndex,
    /// Its time.
    pub time: Timestamp,
    /// Everything that happened, in order.
    pub events: &'a [Event],
}

/// Who follows the log inside the replica's process. It runs on the publisher's thread.
pub trait Reader: Send + 'static {
    /// Takes the next entry. Entries come in order, each once, and start after the entry of the
    /// last [`Reader::restore`].
    fn applied(&mut self, entry: &Applied<'_>);
    /// The reader's state as bytes; stored with the venue's snapshot of the same entry.
    fn checkpoint(&mut self) -> Vec<u8>;
    /// Takes back what [`Reader::checkpoint`] gave.
    ///
    /// # Errors
    /// A sentence for the operator when the bytes are not from this version.
    fn restore(&mut self, bytes: &[u8]) -> Result<(), String>;
}

/// A reader that follows nothing.
impl Reader for () {
    fn applied(&mut self, _entry: &Applied<'_>) {}
    fn checkpoint(&mut self) -> Vec<u8> {
        Vec::new()
    }
    fn restore(&mut self, _bytes: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

/// What became of a submitted command or group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The entry that holds it.
    pub index: LogIndex,
    /// The entry's time.
    pub time: Timestamp,
    /// What happened because of it, in order; refusals by the venue are events, too.
    pub events: Vec<Event>,
}

/// Why there is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The queue is full; nothing was submitted.
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The disk has no room for the log; nothing was submitted.
    JournalFull,
    /// The group is larger than one entry of the log can be; nothing was submitted.
    TooLarge,
    /// The replica has stopped; nothing was submitted.
    Stopped,
    /// The replica stopped while it worked on the command: it may or may not be in the log.
    OutcomeUnknown,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy { .. } => "the venue is busy",
            Self::JournalFull => "the log has no room on its disk",
            Self::TooLarge => "too many commands in one group",
            Self::Stopped => "the venue has stopped",
            Self::OutcomeUnknown => "the venue stopped before the outcome was known",
        })
    }
}

impl std::error::Error for Refusal {}

/// Takes the answer, on the publisher's thread: it must be quick and must not wait.
pub type Answer = Box<dyn FnOnce(Result<Outcome, Refusal>) + Send>;

/// Work for one turn: a command or a group that must stand in one entry.
#[allow(
    clippy::large_enum_variant,
    reason = "commands are small and most work is one of them"
)]
enum Work {
    One(Command),
    Group(Vec<Command>),
}

struct Request {
    work: Work,
    answer: Option<Answer>,
    submitted: Instant,
}

impl Request {
    fn commands(&self) -> &[Command] {
        match &self.work {
            Work::One(command) => std::slice::from_ref(command),
            Work::Group(commands) => commands,
        }
    }

    fn refuse(self, refusal: Refusal) {
        if let Some(answer) = self.answer {
            answer(Err(refusal));
        }
    }
}

#[allow(
    clippy::large_enum_variant,
    reason = "nearly all messages are requests"
)]
enum Message {
    Request(Request),
    Snapshot(SyncSender<Result<LogIndex, String>>),
    Stop,
}

/// Submits commands to a replica. Cheap to clone, usable from every thread.
#[derive(Clone)]
pub struct Handle {
    queue: SyncSender<Message>,
    stats: Arc<Stats>,
}

impl Handle {
    /// Submits one command.
    ///
    /// # Errors
    /// [`Refusal::Busy`] or [`Refusal::Stopped`]; then nothing was submitted and `answer` is not
    /// called. Every other refusal comes through `answer`.
    pub fn submit(&self, command: Command, answer: Answer) -> Result<(), Refusal> {
        self.send(Work::One(command), Some(answer))
    }

    /// Submits commands that stand in one entry of the log: after a crash all of them happened or
    /// none. Without an `answer` nobody is told what became of them.
    ///
    /// # Errors
    /// As [`Handle::submit`].
    pub fn submit_group(
        &self,
        commands: Vec<Command>,
        answer: Option<Answer>,
    ) -> Result<(), Refusal> {
        self.send(Work::Group(commands), answer)
    }

    /// Submits a group and waits for what became of it; for start-up and tools.
    ///
    /// # Errors
    /// Every [`Refusal`].
    pub fn execute(&self, commands: Vec<Command>) -> Result<Outcome, Refusal> {
        let (tell, told) = mpsc::sync_channel(1);
        self.submit_group(
            commands,
            Some(Box::new(move |outcome| drop(tell.send(outcome)))),
        )?;
        told.recv().unwrap_or(Err(Refusal::OutcomeUnknown))
    }

    /// Takes a snapshot now and waits until it is on the disk.
    ///
    /// # Errors
    /// A sentence for the operator.
    pub fn snapshot(&self) -> Result<LogIndex, String> {
        let (tell, told) = mpsc::sync_channel(1);
        self.queue
            .send(Message::Snapshot(tell))
            .map_err(|_| "the venue has stopped".to_string())?;
        told.recv()
            .unwrap_or_else(|_| Err("the venue has stopped".to_string()))
    }

    /// Counters and latencies.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    fn send(&self, work: Work, answer: Option<Answer>) -> Result<(), Refusal> {
        let request = Request {
            work,
            answer,
            submitted: Instant::now(),
        };
        self.queue
            .try_send(Message::Request(request))
            .map_err(|e| match e {
                TrySendError::Full(_) => {
                    self.stats.count_busy();
                    Refusal::Busy {
                        retry_after: BUSY_RETRY,
                    }
                }
                TrySendError::Disconnected(_) => Refusal::Stopped,
            })
    }
}

/// Says that the loop has ended, however it did.
struct Ended(Arc<Stats>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// A running replica. Dropping it stops it without a last snapshot.
pub struct Replica {
    handle: Handle,
    sequencer: Option<JoinHandle<Result<(), Fault>>>,
    publisher: Option<JoinHandle<()>>,
}

impl Replica {
    /// Opens the log in `config.journal.dir` (a new one if there is none), brings venue and reader
    /// up to its end, and starts the loop. `progress` is told how far the replay of the log is.
    ///
    /// # Errors
    /// A [`Fault`] that names the file and the offset when the log is damaged; nothing is changed
    /// then.
    pub fn open(
        config: Config,
        mut reader: impl Reader,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Self, Report), Fault> {
        let recovered = recovery::recover(&config, &mut reader, progress)?;
        let report = recovered.report.clone();
        let stats = Arc::new(Stats::new(report.last_index));
        let (queue, commands) = mpsc::sync_channel(config.queue_commands);
        let (entries, published) = mpsc::sync_channel(QUEUE_ENTRIES);
        let publisher = {
            let stats = Arc::clone(&stats);
            thread("everopen-publisher", move || {
                publisher::run(reader, &published, &stats)
            })?
        };
        let sequencer = {
            let ended = Ended(Arc::clone(&stats));
            let sequencer =
                sequencer::Sequencer::new(config, recovered, entries, Arc::clone(&stats));
            thread("everopen-sequencer", move || {
                let _ended = ended;
                sequencer.run(&commands)
            })?
        };
        let handle = Handle { queue, stats };
        Ok((
            Self {
                handle,
                sequencer: Some(sequencer),
                publisher: Some(publisher),
            },
            report,
        ))
    }

    /// How others submit to it.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// True until the loop has ended, by [`Replica::stop`] or by a fault.
    pub fn is_running(&self) -> bool {
        self.sequencer
            .as_ref()
            .is_some_and(|thread| !thread.is_finished())
    }

    /// Finishes what is queued and stops.
    ///
    /// # Errors
    /// The fault that had ended the loop before.
    pub fn stop(mut self) -> Result<(), Fault> {
        self.join()
    }

    fn join(&mut self) -> Result<(), Fault> {
        // The queue may be full; the loop drains it, or has gone and the send says so.
        let _ = self.handle.queue.send(Message::Stop);
        let result = match self.sequencer.take() {
            Some(thread) => thread.join().unwrap_or(Err(Fault::Panicked)),
            None => Ok(()),
        };
        if let Some(publisher) = self.publisher.take() {
            publisher.join().map_err(|_| Fault::Panicked)?;
        }
        result
    }
}

impl Drop for Replica {
    fn drop(&mut self) {
        if self.sequencer.is_some()
            && let Err(fault) = self.join()
        {
            tracing::error!(%fault, "replica ended by a fault");
        }
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
