//! Targets, and the groups of them that run the same version.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::time::Duration;

use smallvec::SmallVec;
use tokio::sync::{Notify, watch};

use crate::clock::now;
use crate::meter::Meter;
use crate::pool::Pool;
use crate::workers::{self, PerWorker};

/// How long a target that could not be reached is only asked when no other is left.
const SHUNNED: Duration = Duration::from_secs(1);

/// Targets and groups that are put in order without memory of their own.
pub(crate) const FEW: usize = 8;

/// One target.
#[derive(Debug)]
pub(crate) struct Target {
    pub address: SocketAddr,
    pub pool: Pool,
    /// Requests that it works on, of each worker.
    busy: PerWorker<AtomicUsize>,
    /// When that ends, as [`now`] counts; 0 if it is not shunned.
    shunned_until: AtomicU64,
}

impl Target {
    pub fn new(address: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            address,
            pool: Pool::new(address),
            busy: PerWorker::default(),
            shunned_until: AtomicU64::new(0),
        })
    }

    pub fn shun(&self) {
        let until = now() + SHUNNED.as_nanos() as u64;
        self.shunned_until.store(until, Relaxed);
    }

    pub fn welcome(&self) {
        // Looked at first: it is written rarely, and so all processors can keep it.
        if self.shunned_until.load(Relaxed) != 0 {
            self.shunned_until.store(0, Relaxed);
        }
    }

    fn is_shunned(&self) -> bool {
        let until = self.shunned_until.load(Relaxed);
        until != 0 && until > now()
    }

    /// How busy it is with what this thread has put to it.
    fn busy(&self) -> usize {
        self.busy.here().load(Relaxed)
    }
}

/// A group of targets of one version.
#[derive(Debug)]
pub(crate) struct Group {
    pub name: String,
    pub meter: Meter,
    /// Requests and tunnels under way, of each worker.
    open: PerWorker<AtomicUsize>,
    /// Who waits until none is.
    waiting: AtomicUsize,
    idle: Notify,
    /// Ends the tunnels of this group, when it changes.
    pub cut: watch::Sender<u64>,
    /// The target with which a worker begins.
    next: PerWorker<AtomicUsize>,
}

impl Group {
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_string(),
            meter: Meter::default(),
            open: PerWorker::default(),
            waiting: AtomicUsize::new(0),
            idle: Notify::new(),
            cut: watch::Sender::new(0),
            next: PerWorker::default(),
        })
    }

    /// Requests and tunnels under way. Each is counted where it began, so none that was under way before and
    /// is after is missed.
    pub fn open(&self) -> usize {
        self.open.iter().map(|open| open.load(SeqCst)).sum()
    }

    /// Comes back when nothing is under way.
    pub async fn idled(&self) {
        let _waits = Waits::new(&self.waiting);
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            // From here on no notice is missed.
            idle.as_mut().enable();
            if self.open() == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Ends its tunnels. How much was under way.
    pub fn cut_tunnels(&self) -> usize {
        let left = self.open();
        self.cut.send_modify(|times| *times += 1);
        left
    }
}

/// Somebody who is told when a group is idle.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, SeqCst);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// A group, its weight and its targets now.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub group: Arc<Group>,
    pub weight: u32,
    pub targets: Vec<Arc<Target>>,
}

impl Share {
    pub fn takes(&self) -> bool {
        self.weight > 0 && !self.targets.is_empty()
    }

    /// The targets' places in the order in which they are to be tried: those that can be reached first, the
    /// least busy first.
    pub fn candidates(&self) -> impl Iterator<Item = usize> {
        let count = self.targets.len();
        let mut order: SmallVec<[usize; FEW]> = (0..count).collect();
        if count > 1 {
            let from = self.group.next.here().fetch_add(1, Relaxed);
            order.rotate_left(from % count);
            order.sort_by_key(|at| (self.targets[*at].is_shunned(), self.targets[*at].busy()));
        }
        order.into_iter()
    }
}

/// A service's groups as they were at a moment.
pub(crate) type Shares = Arc<Vec<Share>>;

/// A target of one of them.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// This and no count of each group and target: all that a thread has share its own copy.
    pub shares: Shares,
    pub share: usize,
    pub target: usize,
}

impl Place {
    pub fn group(&self) -> &Arc<Group> {
        &self.shares[self.share].group
    }

    pub fn target(&self) -> &Arc<Target> {
        &self.shares[self.share].targets[self.target]
    }
}

/// Something that is under way in a group.
#[derive(Debug)]
pub(crate) struct Open {
    place: Place,
    worker: usize,
}

impl Open {
    pub fn new(place: &Place) -> Self {
        let worker = workers::here();
        place.group().open.of(worker).fetch_add(1, SeqCst);
        Self {
            place: place.clone(),
            worker,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let group = self.place.group();
        let was = group.open.of(self.worker).fetch_sub(1, SeqCst);
        // Who comes to wait after this has seen the count.
        if was == 1 && group.waiting.load(SeqCst) > 0 {
            group.idle.notify_waiters();
        }
    }
}

/// A request is under way in a group, at a target.
#[derive(Debug)]
pub(crate) struct AtWork {
    place: Place,
    open: Open,
}

impl AtWork {
    /// With what is already counted, if that is of the same group.
    pub fn new(first: Option<Open>, place: Place) -> Self {
        let is_same = |open: &Open| Arc::ptr_eq(open.place.group(), place.group());
        let open = first.filter(is_same).unwrap_or_else(|| Open::new(&place));
        place.target().busy.of(open.worker).fetch_add(1, Relaxed);
        Self { place, open }
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    pub fn group(&self) -> &Arc<Group> {
        self.place.group()
    }

    pub fn target(&self) -> &Arc<Target> {
        self.place.target()
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let busy = &self.target().busy;
        busy.of(self.open.worker).fetch_sub(1, Relaxed);
    }
}
