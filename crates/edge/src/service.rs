//! A service: which of its targets a request goes to, and whether it waits first.

use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::config;
use crate::group::{Group, Open, Share, Target};
use crate::shadow::Shadow;

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
    shares: RwLock<Arc<Vec<Share>>>,
    changing: Mutex<()>,
    drawn: AtomicU64,
    /// Counts changes of the shares.
    version: AtomicU64,
    /// Until when requests wait.
    pub hold: watch::Sender<Option<Instant>>,
    /// Requests that wait.
    pub held: AtomicUsize,
    /// Whether the bound of them was reached in the last hold.
    pub is_full: AtomicBool,
}

/// Targets to try, in order, each with its group.
pub(crate) type Route = Vec<(Arc<Group>, Arc<Target>)>;

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
        Self {
            name: name.to_string(),
            answer: Duration::from_millis(config.answer_ms),
            connect: Duration::from_millis(config.connect_ms),
            wait: Duration::from_millis(config.wait_ms),
            affinity: config.affinity,
            has_shadow: AtomicBool::new(false),
            shadow: Mutex::new(None),
            shares: RwLock::new(Arc::new(shares.collect())),
            changing: Mutex::new(()),
            drawn: AtomicU64::new(0),
            version: AtomicU64::new(0),
            hold: watch::Sender::new(None),
            held: AtomicUsize::new(0),
            is_full: AtomicBool::new(false),
        }
    }

    pub fn shares(&self) -> Arc<Vec<Share>> {
        let shares = self.shares.read();
        Arc::clone(&shares.unwrap_or_else(PoisonError::into_inner))
    }

    pub fn set_shares(&self, shares: Vec<Share>) {
        let lock = self.shares.write();
        *lock.unwrap_or_else(PoisonError::into_inner) = Arc::new(shares);
        self.version.fetch_add(1, SeqCst);
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
            let open = route.first().map(|(group, _)| Open::new(group));
            if self.version.load(SeqCst) == version {
                return (route, open);
            }
        }
    }

    /// The targets to try, in order, each with its group: those of the group that the weights, or the
    /// client's wish, fall on, then those of the others that have a weight.
    pub fn route(&self, wish: Wish<'_>) -> Route {
        let shares = self.shares();
        let of = |share: &Share| {
            let group = &share.group;
            let candidates = share.candidates().into_iter();
            candidates
                .map(|target| (Arc::clone(group), target))
                .collect::<Vec<_>>()
        };
        if let Some(only) = wish.only {
            let named = shares.iter().find(|share| share.group.name == only);
            return named.map(of).unwrap_or_default();
        }
        if wish.least {
            let filled = shares.iter().filter(|share| !share.targets.is_empty());
            let least = filled.min_by_key(|share| share.weight);
            return least.map(of).unwrap_or_default();
        }
        let weighted: Vec<&Share> = shares
            .iter()
            .filter(|share| share.weight > 0 && !share.targets.is_empty())
            .collect();
        let first = wish
            .rather
            .and_then(|rather| weighted.iter().position(|share| share.group.name == rather))
            .or_else(|| self.draw(&weighted));
        let Some(first) = first else {
            return Vec::new();
        };
        let others = (0..weighted.len()).filter(|at| *at != first);
        std::iter::once(first)
            .chain(others)
            .flat_map(|at| of(weighted[at]))
            .collect()
    }

    /// The next of a sequence that is spread evenly: of any hundred requests in a row, the shares are
    /// nearly exact.
    fn draw(&self, weighted: &[&Share]) -> Option<usize> {
        let sum: u64 = weighted.iter().map(|share| u64::from(share.weight)).sum();
        if sum == 0 {
            return None;
        }
        let mut point = spread(self.drawn.fetch_add(1, Relaxed), sum);
        weighted.iter().position(|share| {
            let weight = u64::from(share.weight);
            let falls_here = point < weight;
            point = point.wrapping_sub(weight);
            falls_here
        })
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
