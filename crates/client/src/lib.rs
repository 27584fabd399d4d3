//! The way into a cluster from another process: submit commands exactly once, follow the log.
//!
//! A [`Client`] keeps one session in the replicated state. Every submission has a sequence in it;
//! when the leader dies, changes or does not answer in time, the client asks the next one with the
//! same sequence, and the cluster answers what it answered (or would have answered) first.
#![forbid(unsafe_code)]

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use everopen_domain::{Command, Event, LogIndex, Timestamp};
use everopen_identity::Identity;
use serde_json::Value;

/// A replica's number in its cluster, from 1.
pub type NodeId = u64;

/// Where a replica is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its number.
    pub id: NodeId,
    /// Where it listens.
    pub address: SocketAddr,
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

/// Submits commands to a cluster. Cheap to clone, usable from every thread.
#[derive(Clone, Debug)]
pub struct Client {}

impl Client {
    /// Starts the client's thread. Does not wait for the cluster.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(config: Config) -> std::io::Result<Self> {
        let _ = config;
        Ok(Self {})
    }

    /// Submits commands that stand in one entry of the log. They are applied at most once, however
    /// often leaders change meanwhile.
    ///
    /// # Errors
    /// [`Refusal::Busy`], [`Refusal::TooLarge`] or [`Refusal::Stopped`]; then nothing was submitted
    /// and `answer` is not called. Every other refusal comes through `answer`.
    pub fn submit(&self, commands: Vec<Command>, answer: Answer) -> Result<(), Refusal> {
        let _ = (commands, answer);
        Err(Refusal::Stopped)
    }

    /// Submits and waits.
    ///
    /// # Errors
    /// Every [`Refusal`].
    pub fn execute(&self, commands: Vec<Command>) -> Result<Outcome, Refusal> {
        let _ = commands;
        Err(Refusal::Stopped)
    }

    /// The index that a reader must have applied to be as new as every answer given before this
    /// call (Raft's ReadIndex).
    ///
    /// # Errors
    /// [`Refusal::Busy`] or [`Refusal::Stopped`], else through `answer`.
    pub fn read_index(
        &self,
        answer: Box<dyn FnOnce(Result<LogIndex, Refusal>) + Send>,
    ) -> Result<(), Refusal> {
        let _ = answer;
        Err(Refusal::Stopped)
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
        let _ = (follower, on_end);
        Ok(())
    }

    /// Whether a leader is known now.
    pub fn has_leader(&self) -> bool {
        false
    }

    /// Stops; what is under way is answered [`Refusal::OutcomeUnknown`].
    pub fn stop(&self) {}
}

/// Asks one replica an operator's question and waits for the answer. The questions stand in
/// `docs/operating/cluster.md`; each is a JSON object with a field `ask`.
///
/// # Errors
/// A sentence: not reachable, refused, or no answer within `patience`.
pub fn call(
    address: SocketAddr,
    node: NodeId,
    identity: &Arc<Identity>,
    question: &Value,
    patience: Duration,
) -> Result<Value, String> {
    let _ = (address, node, identity, question, patience);
    Err("not reachable".into())
}
