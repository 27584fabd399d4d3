//! The way into a cluster from another process: submit commands exactly once, follow the log.
//!
//! A [`Client`] keeps one session in the replicated state. Every submission has a sequence in it;
//! when the leader dies, changes or does not answer in time, the client asks the next one with the
//! same sequence, and the cluster answers what it answered (or would have answered) first.
//!
//! ```text
//! submit ─▶ bounded queue ─▶ submitter thread ── one connection ──▶ the leader
//! read_index                  pending by sequence, resent in order
//! follow ──────────────────▶ follower thread ─── one connection ──▶ any replica
//! ```
//!
//! Invariants of this room:
//! - INV-CLIENT-1: a submission has one sequence for as long as any replica may have taken it. It
//!   gets another only when every attempt was refused.
//! - INV-CLIENT-2: a refusal that says "nothing was submitted" is given only when that is certain;
//!   otherwise the submission is tried again, or ends as [`Refusal::OutcomeUnknown`].
//! - INV-CLIENT-3: every submission and read that was accepted is answered once.
//! - INV-CLIENT-4: a follower sees every entry once, in order, without a gap, from wherever it is.
#![forbid(unsafe_code)]

mod call;
mod desk;
mod follow;
mod link;
mod pending;
mod reads;
mod shared;
mod submitter;

pub use call::call;

use std::fmt;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use everopen_domain::{Command, Event, LogIndex, Timestamp};
use everopen_identity::Identity;

use crate::pending::Pending;
use crate::shared::{Job, Shared};

/// A replica's number in its cluster, from 1.
pub type NodeId = u64;

/// Where a replica is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Where it listens: `host:port`. A name is looked up for each connection.
    pub address: String,
}

/// How a client is run.
#[derive(Clone, Debug)]
pub struct Config {
    /// The replicas known at the start; a reply that names another leader is followed, too.
    pub nodes: Vec<Node>,
    /// Who this process is.
    pub identity: Arc<Identity>,
    /// Submissions that may be under way; one more is [`Refusal::Busy`].
    pub in_flight_max: usize,
    /// How long a submission is tried again before it is [`Refusal::OutcomeUnknown`].
    pub patience: Duration,
}

/// What became of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The entry that holds it.
    pub index: LogIndex,
    /// The entry's time.
    pub time: Timestamp,
    /// What happened because of it, in order.
    pub events: Vec<Event>,
}

/// Why there is no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Too much is under way, here or at the leader; nothing was submitted.
    Busy {
        /// When to try again.
        retry_after: Duration,
    },
    /// The leader's disk has no room for the log; nothing was submitted.
    JournalFull,
    /// The group is larger than one entry of the log can be; nothing was submitted.
    TooLarge,
    /// There was no leader for as long as the client is patient; nothing was submitted.
    Unavailable,
    /// The client was stopped; nothing was submitted.
    Stopped,
    /// It was submitted, and no leader said in time what became of it.
    OutcomeUnknown,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Busy { .. } => "the venue is busy",
            Self::JournalFull => "the log has no room on its disk",
            Self::TooLarge => "too many commands in one group",
            Self::Unavailable => "no replica leads",
            Self::Stopped => "the client has stopped",
            Self::OutcomeUnknown => "no replica said in time what became of it",
        })
    }
}

impl std::error::Error for Refusal {}

/// Takes an answer, on the client's thread: it must be quick and must not wait.
pub type Answer = Box<dyn FnOnce(Result<Outcome, Refusal>) + Send>;

/// Who follows the log. Called on the thread of [`Client::follow`], in order, each entry once.
pub trait Follower: Send + 'static {
    /// Where it stands: entries after this index are wanted. None asks for a checkpoint first.
    fn position(&self) -> Option<LogIndex>;
    /// Takes a replica's checkpoint of the views as of entry `index`. Called when
    /// [`Follower::position`] is none, or when the replicas no longer have the entries after it.
    ///
    /// # Errors
    /// A sentence for the operator; following then ends.
    fn restore(&mut self, index: LogIndex, checkpoint: &[u8]) -> Result<(), String>;
    /// Takes the next entry.
    fn applied(&mut self, index: LogIndex, time: Timestamp, events: &[Event]);
}

/// Takes the answer to a [`Client::read_index`], on the client's thread.
pub type ReadAnswer = Box<dyn FnOnce(Result<LogIndex, Refusal>) + Send>;

/// Submits commands to a cluster. Cheap to clone, usable from every thread. When the last clone is
/// dropped, it stops.
#[derive(Clone, Debug)]
pub struct Client(Arc<Handle>);

#[derive(Debug)]
struct Handle {
    config: Config,
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl Client {
    /// Starts the client's thread. Does not wait for the cluster.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(config: Config) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::new(config.nodes.clone()));
        submitter::start(&config, &shared)?;
        Ok(Self(Arc::new(Handle { config, shared })))
    }

    /// Submits commands that stand in one entry of the log. They are applied at most once, however
    /// often leaders change meanwhile. Submissions reach the log in the order in which they were
    /// made, unless one has to be tried again.
    ///
    /// # Errors
    /// [`Refusal::Busy`], [`Refusal::TooLarge`] or [`Refusal::Stopped`]; then nothing was submitted
    /// and `answer` is not called. Every other refusal comes through `answer`.
    pub fn submit(&self, commands: Vec<Command>, answer: Answer) -> Result<(), Refusal> {
        let deadline = Instant::now() + self.0.config.patience;
        let pending = Pending::new(&commands, answer, deadline)?;
        self.push(Job::Submit(pending))
    }

    /// Submits and waits.
    ///
    /// # Errors
    /// Every [`Refusal`].
    pub fn execute(&self, commands: Vec<Command>) -> Result<Outcome, Refusal> {
        let (tell, told) = mpsc::sync_channel(1);
        let answer = Box::new(move |outcome| drop(tell.send(outcome)));
        self.submit(commands, answer)?;
        told.recv().unwrap_or(Err(Refusal::OutcomeUnknown))
    }

    /// The index that a reader must have applied to be as new as every answer given before this
    /// call (Raft's ReadIndex).
    ///
    /// # Errors
    /// [`Refusal::Busy`] or [`Refusal::Stopped`], else through `answer`.
    pub fn read_index(&self, answer: ReadAnswer) -> Result<(), Refusal> {
        let deadline = Instant::now() + self.0.config.patience;
        self.push(Job::Read { answer, deadline })
    }

    /// Follows the log on a thread of its own until [`Client::stop`]: from any replica, going on
    /// with another when one dies. `on_end` is told why it ended, if not by a stop.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn follow(
        &self,
        follower: impl Follower,
        on_end: impl FnOnce(String) + Send + 'static,
    ) -> std::io::Result<()> {
        follow::start(&self.0.config, &self.0.shared, follower, on_end)
    }

    /// The replicas that are known now: those of the start, leaders that others have
    /// named since, and those of [`Self::know`].
    pub fn nodes(&self) -> Vec<Node> {
        self.0.shared.nodes()
    }

    /// There is that replica, too.
    pub fn know(&self, node: &Node) {
        let _ = self.0.shared.place_of(node.id, &node.address);
    }

    /// Whether a leader is known now.
    pub fn has_leader(&self) -> bool {
        self.0.shared.has_leader()
    }

    /// Stops; what is under way is answered [`Refusal::OutcomeUnknown`], or [`Refusal::Stopped`]
    /// where nothing was submitted. Does not wait: these answers come on the client's thread soon
    /// after.
    pub fn stop(&self) {
        self.0.shared.stop();
    }

    fn push(&self, job: Job) -> Result<(), Refusal> {
        self.0.shared.push(job, self.0.config.in_flight_max)
    }
}
