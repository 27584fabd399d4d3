//! What the client's handles and its threads share.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use everopen_rpc::Waker;

use crate::pending::Pending;
use crate::{Node, NodeId, ReadAnswer, Refusal};

/// When to come again when too much is under way here.
const BUSY_RETRY: Duration = Duration::from_millis(20);
/// Replicas that are remembered at most.
const NODES_MAX: usize = 64;

/// Work for the submitter's thread.
pub(crate) enum Job {
    Submit(Pending),
    Read {
        answer: ReadAnswer,
        deadline: Instant,
    },
}

impl Job {
    pub fn refuse(self, refusal: Refusal) {
        match self {
            Self::Submit(pending) => (pending.answer)(Err(refusal)),
            Self::Read { answer, .. } => answer(Err(refusal)),
        }
    }
}

#[derive(Default)]
struct Queue {
    closed: bool,
    jobs: VecDeque<Job>,
}

#[derive(Default)]
pub(crate) struct Shared {
    queue: Mutex<Queue>,
    /// Submissions and reads that were accepted and not answered yet.
    under_way: AtomicUsize,
    stopped: AtomicBool,
    has_leader: AtomicBool,
    /// The highest index that the leader said is committed.
    seen: AtomicU64,
    nodes: Mutex<Vec<Node>>,
    /// How often a node was replaced by another.
    replaced: AtomicUsize,
    /// One of each thread's hub.
    wakers: Mutex<Vec<Waker>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("under_way", &self.under_way)
            .field("stopped", &self.stopped)
            .field("has_leader", &self.has_leader)
            .finish_non_exhaustive()
    }
}

impl Shared {
    pub fn new(nodes: Vec<Node>) -> Self {
        Self {
            nodes: Mutex::new(nodes),
            ..Self::default()
        }
    }

    /// Hands a job to the submitter's thread.
    pub fn push(&self, job: Job, under_way_max: usize) -> Result<(), Refusal> {
        {
            let mut queue = lock(&self.queue);
            if queue.closed || self.is_stopped() {
                return Err(Refusal::Stopped);
            }
            // Only here it grows, and the lock is held: it never passes the limit.
            if self.under_way.load(Ordering::Relaxed) >= under_way_max {
                return Err(Refusal::Busy {
                    retry_after: BUSY_RETRY,
                });
            }
            self.under_way.fetch_add(1, Ordering::Relaxed);
            queue.jobs.push_back(job);
        }
        // The first is the submitter's.
        if let Some(waker) = lock(&self.wakers).first() {
            waker.wake();
        }
        Ok(())
    }

    /// Takes all jobs.
    pub fn take_jobs(&self, into: &mut VecDeque<Job>) {
        into.append(&mut lock(&self.queue).jobs);
    }

    /// Takes no more jobs, and gives those that are left.
    pub fn close(&self) -> VecDeque<Job> {
        let mut queue = lock(&self.queue);
        queue.closed = true;
        std::mem::take(&mut queue.jobs)
    }

    /// A submission or read was answered.
    pub fn answered(&self) {
        self.under_way.fetch_sub(1, Ordering::Relaxed);
    }

    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        for waker in lock(&self.wakers).iter() {
            waker.wake();
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    pub fn add_waker(&self, waker: Waker) {
        lock(&self.wakers).push(waker);
    }

    pub fn has_leader(&self) -> bool {
        self.has_leader.load(Ordering::Relaxed)
    }

    pub fn set_leader(&self, known: bool) {
        self.has_leader.store(known, Ordering::Relaxed);
    }

    /// The leader said that this is committed.
    pub fn saw(&self, index: u64) {
        self.seen.fetch_max(index, Ordering::Relaxed);
    }

    pub fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }

    /// The node after that one, by place; wraps around.
    pub fn node(&self, place: usize) -> Option<(usize, Node)> {
        let nodes = lock(&self.nodes);
        let place = place.checked_rem(nodes.len())?;
        Some((place, nodes[place].clone()))
    }

    /// The place of a node that a hint names, which becomes known if it is not.
    pub fn place_of(&self, id: NodeId, address: &str) -> Option<usize> {
        if id == 0 {
            return None;
        }
        let mut nodes = lock(&self.nodes);
        if let Some(place) = nodes.iter().position(|node| node.id == id) {
            return Some(place);
        }
        if address.is_empty() {
            return None;
        }
        let node = Node {
            id,
            address: address.to_string(),
        };
        if nodes.len() < NODES_MAX {
            nodes.push(node);
            return Some(nodes.len() - 1);
        }
        // A cluster has at most a few members: the one that was known longest was removed long ago.
        let place = self.replaced.fetch_add(1, Ordering::Relaxed) % NODES_MAX;
        nodes[place] = node;
        Some(place)
    }

    /// All that are known.
    pub fn nodes(&self) -> Vec<Node> {
        lock(&self.nodes).clone()
    }
}

/// A lock whose holders do not panic, and if one did, what it guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_leader_is_known_however_many_there_were() {
        let shared = Shared::new(Vec::new());
        for id in 1..=3 * NODES_MAX as u64 {
            let place = shared.place_of(id, &format!("host-{id}:1"));
            let place = place.expect("there is always room for one");
            assert_eq!(shared.node(place).map(|(_, node)| node.id), Some(id));
            assert_eq!(shared.place_of(id, ""), Some(place), "it is known");
        }
        assert_eq!(shared.nodes().len(), NODES_MAX);
    }
}
