//! Targets, and the groups of them that run the same version.

use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, watch};

use crate::meter::Meter;
use crate::pool::Pool;

/// How long a target that could not be reached is only asked when no other is left.
const SHUNNED: Duration = Duration::from_secs(1);

/// One target.
#[derive(Debug)]
pub(crate) struct Target {
    pub address: SocketAddr,
    pub pool: Pool,
    /// Requests that it works on.
    pub busy: AtomicUsize,
    shunned_until: Mutex<Option<Instant>>,
}

impl Target {
    pub fn new(address: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            address,
            pool: Pool::new(address),
            busy: AtomicUsize::new(0),
            shunned_until: Mutex::new(None),
        })
    }

    fn shunned(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.shunned_until
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub fn shun(&self) {
        *self.shunned() = Some(Instant::now() + SHUNNED);
    }

    pub fn welcome(&self) {
        *self.shunned() = None;
    }

    fn is_shunned(&self) -> bool {
        self.shunned().is_some_and(|until| until > Instant::now())
    }
}

/// A group of targets of one version.
#[derive(Debug)]
pub(crate) struct Group {
    pub name: String,
    pub meter: Meter,
    /// Requests and tunnels under way.
    pub open: AtomicUsize,
    /// Somebody waits until none is.
    pub idle: Notify,
    /// Ends the tunnels of this group, when it changes.
    pub cut: watch::Sender<u64>,
    next: AtomicUsize,
}

impl Group {
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_string(),
            meter: Meter::default(),
            open: AtomicUsize::new(0),
            idle: Notify::new(),
            cut: watch::Sender::new(0),
            next: AtomicUsize::new(0),
        })
    }
}

impl Group {
    /// Comes back when nothing is under way.
    pub async fn idled(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            // From here on no notice is missed.
            idle.as_mut().enable();
            if self.open.load(SeqCst) == 0 {
                return;
            }
            idle.await;
        }
    }

    /// Ends its tunnels. How much was under way.
    pub fn cut_tunnels(&self) -> usize {
        let left = self.open.load(SeqCst);
        self.cut.send_modify(|times| *times += 1);
        left
    }
}

/// Something that is under way in a group.
#[derive(Debug)]
pub(crate) struct Open(Arc<Group>);

impl Open {
    pub fn new(group: &Arc<Group>) -> Self {
        group.open.fetch_add(1, SeqCst);
        Self(Arc::clone(group))
    }

    /// This one if it is of that group, else one of it.
    pub fn of(this: Option<Self>, group: &Arc<Group>) -> Self {
        this.filter(|open| Arc::ptr_eq(&open.0, group))
            .unwrap_or_else(|| Self::new(group))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if self.0.open.fetch_sub(1, SeqCst) == 1 {
            self.0.idle.notify_waiters();
        }
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
    /// The targets in the order in which they are to be tried: those that can be reached first, the
    /// least busy first.
    pub fn candidates(&self) -> Vec<Arc<Target>> {
        let from = self.group.next.fetch_add(1, Relaxed);
        let count = self.targets.len();
        let mut all: Vec<Arc<Target>> = (0..count)
            .map(|at| Arc::clone(&self.targets[(from.wrapping_add(at)) % count]))
            .collect();
        all.sort_by_key(|target| (target.is_shunned(), target.busy.load(Relaxed)));
        all
    }
}
