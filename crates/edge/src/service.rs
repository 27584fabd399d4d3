//! A service: which of its targets a request goes to, and whether it waits first.

use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use tokio::sync::watch;

use crate::config;
use crate::group::{FEW, Group, Open, Place, Share, Shares, Target};
use crate::shadow::Shadow;
use crate::workers::PerWorker;

/// Between two tries to reach a target.
const AGAIN: Duration = Duration::from_millis(20);
/// Requests that may wait while a service is held.
const HELD_MAX: usize = 10_000;

/// The n-th of a sequence that is spread evenly from 0 to below `sum`: multiples of the golden ratio, modulo
/// one.
pub(crate) fn spread(number: u64, sum: u64) -> u64 {
    let point = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((u128::from(point) * u128::from(sum)) >> 64) as u64
}

/// A service.
#[derive(Debug)]
pub(crate) struct Service {
    pub name: String,
    pub answer: Duration,
    pub connect: Duration,
    /// How long a request may wait for a target when none can be reached.
    pub wait: Duration,
    pub affinity: bool,
    /// Whether there is a shadow: asked for each request.
    has_shadow: AtomicBool,
    shadow: Mutex<Option<Arc<Shadow>>>,
    /// A copy for each worker.
    shares: PerWorker<RwLock<Shares>>,
    changing: Mutex<()>,
    drawn: AtomicU64,
    /// Counts changes of the shares.
    version: AtomicU64,
    /// Whether somebody may have to wait: asked for each request.
    is_held: AtomicBool,
    /// Until when requests wait.
    hold: watch::Sender<Option<Instant>>,
    /// Requests that wait.
    pub held: AtomicUsize,
    /// Whether the bound of them was reached in the last hold.
    pub is_full: AtomicBool,
}

/// Targets to try, in order.
#[derive(Debug)]
pub(crate) struct Route {
    shares: Shares,
    /// The places of groups and of targets among them.
    order: smallvec::IntoIter<[(usize, usize); FEW]>,
}

impl Iterator for Route {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        let (share, target) = self.order.next()?;
        let shares = Arc::clone(&self.shares);
        Some(Place {
            shares,
            share,
            target,
        })
    }
}

impl Route {
    fn first(&self) -> Option<Place> {
        let &(share, target) = self.order.as_slice().first()?;
        let shares = Arc::clone(&self.shares);
        Some(Place {
            shares,
            share,
            target,
        })
    }
}

/// What a client asks for beyond the weights.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wish<'a> {
    /// This group and no other: the listener says so, or a header that it lets clients use.
    pub only: Option<&'a str>,
    /// The group with the least weight and no other: a test listener.
    pub least: bool,
    /// This group, as long as it has a weight.
    pub rather: Option<&'a str>,
}

impl Service {
    pub fn new(name: &str, config: &config::Service) -> Self {
        let shares = config.groups.iter().map(|(name, group)| Share {
            group: Group::new(name),
            weight: group.weight,
            targets: group.targets.iter().copied().map(Target::new).collect(),
        });
        let shares: Vec<Share> = shares.collect();
        Self {
            name: name.to_string(),
            answer: Duration::from_millis(config.answer_ms),
            connect: Duration::from_millis(config.connect_ms),
            wait: Duration::from_millis(config.wait_ms),
            affinity: config.affinity,
            has_shadow: AtomicBool::new(false),
            shadow: Mutex::new(None),
            shares: PerWorker::new(|| RwLock::new(Arc::new(shares.clone()))),
            changing: Mutex::new(()),
            drawn: AtomicU64::new(0),
            version: AtomicU64::new(0),
            is_held: AtomicBool::new(false),
            hold: watch::Sender::new(None),
            held: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
        }
    }

    pub fn shares(&self) -> Shares {
        let shares = self.shares.here().read();
        Arc::clone(&shares.unwrap_or_else(PoisonError::into_inner))
    }

    /// Whoever calls this has [`Service::changing`].
    pub fn set_shares(&self, shares: &[Share]) {
        for of_one in self.shares.iter() {
            let mut of_one = of_one.write().unwrap_or_else(PoisonError::into_inner);
            *of_one = Arc::new(shares.to_vec());
        }
        self.version.fetch_add(1, SeqCst);
    }

    /// Until when requests wait, if they do.
    pub fn held_until(&self) -> Option<Instant> {
        *self.hold.borrow()
    }

    /// Lets requests wait, or serves what waits.
    pub fn set_hold(&self, until: Option<Instant>) {
        self.hold.send_modify(|hold| {
            // Under the lock of it, so that the two agree.
            self.is_held.store(until.is_some(), SeqCst);
            *hold = until;
        });
    }

    /// What is put to a shadow, if there is one.
    pub fn shadow(&self) -> Option<Arc<Shadow>> {
        if !self.has_shadow.load(Relaxed) {
            return None;
        }
        let shadow = self.shadow.lock();
        shadow.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Begins another shadow, or ends the one that there is.
    pub fn set_shadow(&self, shadow: Option<Arc<Shadow>>) {
        let kept = self.shadow.lock();
        let mut kept = kept.unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = &*kept {
            before.is_over.store(true, Relaxed);
        }
        self.has_shadow.store(shadow.is_some(), Relaxed);
        *kept = shadow;
    }

    /// One change at a time: whoever reads the shares to change them has this.
    pub fn changing(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Service::route`], with the first group's count of what is under way: whoever drains a group
    /// after it lost its weight sees every request that still goes there.
    pub fn enter(&self, wish: Wish<'_>) -> (Route, Option<Open>) {
        loop {
            let version = self.version.load(SeqCst);
            let route = self.route(wish);
            let open = route.first().map(|place| Open::new(&place));
            if self.version.load(SeqCst) == version {
                return (route, open);
            }
        }
    }

    /// The targets to try, in order: those of the group that the weights, or the client's wish, fall on, then
    /// those of the others that have a weight.
    pub fn route(&self, wish: Wish<'_>) -> Route {
        let shares = self.shares();
        let mut order = SmallVec::new();
        let mut try_all_of = |at: usize| {
            let candidates = shares[at].candidates();
            order.extend(candidates.map(|target| (at, target)));
        };
        let all = || shares.iter().enumerate();
        if let Some(only) = wish.only {
            let named = shares.iter().position(|share| share.group.name == only);
            named.into_iter().for_each(&mut try_all_of);
        } else if wish.least {
            let filled = all().filter(|(_, share)| !share.targets.is_empty());
            let least = filled.min_by_key(|(_, share)| share.weight);
            least.into_iter().for_each(|(at, _)| try_all_of(at));
        } else {
            let weighted = || all().filter(|(_, share)| share.takes());
            let rather = wish.rather.and_then(|rather| {
                let mut weighted = weighted();
                weighted.find(|(_, share)| share.group.name == rather)
            });
            let first = rather.map(|(at, _)| at).or_else(|| self.draw(weighted));
            if let Some(first) = first {
                try_all_of(first);
                let others = weighted().filter(|(at, _)| *at != first);
                others.for_each(|(at, _)| try_all_of(at));
            }
        }
        Route {
            shares,
            order: order.into_iter(),
        }
    }

    /// The next of a sequence that is spread evenly: of any hundred requests in a row, the shares are
    /// nearly exact.
    fn draw<'a, W>(&self, weighted: impl Fn() -> W) -> Option<usize>
    where
        W: Iterator<Item = (usize, &'a Share)>,
    {
        let (only, second) = (weighted().next()?, weighted().nth(1));
        if second.is_none() {
            return Some(only.0);
        }
        let sum = weighted().map(|(_, share)| u64::from(share.weight)).sum();
        let mut point = spread(self.drawn.fetch_add(1, Relaxed), sum);
        let fallen_on = weighted().find(|(_, share)| {
            let weight = u64::from(share.weight);
            let falls_here = point < weight;
            point = point.wrapping_sub(weight);
            falls_here
        });
        fallen_on.map(|(at, _)| at)
    }

    /// Waits a moment for a target to come back; false when too many wait already, or it is too late.
    pub async fn wait_for_target(&self, since: Instant) -> bool {
        if since.elapsed() >= self.wait {
            return false;
        }
        if self.held.fetch_add(1, Relaxed) >= HELD_MAX {
            self.held.fetch_sub(1, Relaxed);
            return false;
        }
        tokio::time::sleep(AGAIN).await;
        self.held.fetch_sub(1, Relaxed);
        true
    }

    /// Waits while the service is held. False when too many wait already.
    pub async fn wait_while_held(&self) -> bool {
        if !self.is_held.load(SeqCst) {
            return true;
        }
        let mut hold = self.hold.subscribe();
        let Some(mut until) = *hold.borrow_and_update() else {
            return true;
        };
        if self.held.fetch_add(1, Relaxed) >= HELD_MAX {
            self.held.fetch_sub(1, Relaxed);
            self.is_full.store(true, Relaxed);
            return false;
        }
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(until.into()) => break,
                changed = hold.changed() => match (changed, *hold.borrow()) {
                    (Ok(()), Some(later)) => until = later,
                    _ => break,
                },
            }
        }
        self.held.fetch_sub(1, Relaxed);
        true
    }
}
