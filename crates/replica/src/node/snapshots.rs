//! The thread that makes snapshots and writes them, and keeps an understudy of a large state.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel};

use everopen_journal::Snapshots;
use everopen_rpc::Waker;

use super::publisher::{Published, Taken};
use crate::recovery::Fault;
use crate::state::State;
use crate::understudy::{Job, Line, Understudy};

/// Bytes of entries that may wait for the understudy. When there are more the machine has no time for
/// it; it is let go, and the next snapshot is of a copy.
const WAITING_MAX: u64 = 256 << 20;
/// What an entry costs beside its commands.
const OVERHEAD: u64 = 96;

/// Work for the thread, in the order of the log.
enum Order {
    Entry(Line),
    Snapshot(Box<Job>, Vec<u8>),
    Begin(Box<State>),
    End,
}

/// How large the state is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    /// States whose snapshots have so many bytes are kept.
    pub keep_from: usize,
    /// The one at the start has.
    pub is_large: bool,
}

/// The thread, for who gives it work.
pub(super) struct Stage {
    orders: Sender<Order>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Whether entries are of any use. Set before work that needs what follows it, and reset by the
    /// thread when it keeps no state.
    listens: AtomicBool,
    waiting: AtomicU64,
    /// Nobody waits for anything any more.
    ended: AtomicBool,
}

impl Stage {
    pub fn start(
        snapshots: Snapshots,
        keep_from: usize,
        logic_max: u16,
        tell: SyncSender<Published>,
        waker: Waker,
    ) -> Result<Self, Fault> {
        let shared = Arc::new(Shared::default());
        let (orders, ordered) = channel();
        let worker = Worker {
            understudy: Understudy::new(keep_from, logic_max),
            snapshots,
            tell,
            waker,
            shared: Arc::clone(&shared),
        };
        // A snapshot that is being written does not hold up the replica's end.
        super::thread("everopen-snapshot", move || {
            super::step_back();
            worker.run(&ordered);
        })?;
        Ok(Self { orders, shared })
    }

    fn order(&self, order: Order) -> Result<(), Fault> {
        // The thread only ends by itself when an invariant does not hold.
        self.orders.send(order).map_err(|_| Fault::Panicked)
    }

    /// An entry was applied.
    pub fn entry(&self, line: impl FnOnce() -> Line) -> Result<(), Fault> {
        if !self.shared.listens.load(Relaxed) {
            return Ok(());
        }
        if self.shared.waiting.load(Relaxed) > WAITING_MAX {
            tracing::warn!("no time for a second state: the next snapshot is of a copy");
            return self.end();
        }
        let line = line();
        self.shared.waiting.fetch_add(weight(&line), Relaxed);
        self.order(Order::Entry(line))
    }

    /// A snapshot is to be taken.
    pub fn snapshot(&self, job: Box<Job>, checkpoint: Vec<u8>) -> Result<(), Fault> {
        self.shared.listens.store(true, Relaxed);
        self.order(Order::Snapshot(job, checkpoint))
    }

    /// An understudy goes on from here.
    pub fn begin(&self, state: Box<State>) -> Result<(), Fault> {
        self.shared.listens.store(true, Relaxed);
        self.order(Order::Begin(state))
    }

    /// The state is another than the one before with the next entry applied.
    pub fn end(&self) -> Result<(), Fault> {
        self.shared.listens.store(false, Relaxed);
        self.order(Order::End)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.shared.ended.store(true, Relaxed);
    }
}

fn weight(line: &Line) -> u64 {
    line.commands.len() as u64 + OVERHEAD
}

struct Worker {
    understudy: Understudy,
    snapshots: Snapshots,
    tell: SyncSender<Published>,
    waker: Waker,
    shared: Arc<Shared>,
}

impl Worker {
    fn run(mut self, orders: &Receiver<Order>) {
        for order in orders {
            if self.shared.ended.load(Relaxed) {
                return;
            }
            match order {
                Order::Entry(line) => {
                    self.shared.waiting.fetch_sub(weight(&line), Relaxed);
                    self.understudy.entry(&line);
                }
                Order::Begin(state) => self.understudy.begin(*state),
                Order::End => self.understudy.end(),
                Order::Snapshot(job, checkpoint) => self.take(*job, &checkpoint),
            }
        }
    }

    fn take(&mut self, job: Job, checkpoint: &[u8]) {
        let made = self.understudy.make(job, checkpoint);
        let is_kept = self.understudy.is_kept();
        if !is_kept {
            self.shared.listens.store(false, Relaxed);
        }
        let taken = match made {
            None => Err("the second state is behind, the next snapshot is of a copy".to_string()),
            Some(made) => self
                .snapshots
                .write_with(made.place, |out| {
                    out.write_all(&made.header)?;
                    out.write_all(&made.bytes)
                })
                .map_err(|error| super::chain(&error))
                .map(|file| Taken {
                    index: made.index(),
                    snapshot: made.snapshot,
                    file,
                    state_hash: made.state_hash,
                }),
        };
        // Nobody listens any more when the loop has ended.
        let _ = self.tell.send(Published::Snapshot { taken, is_kept });
        self.waker.wake();
    }
}
