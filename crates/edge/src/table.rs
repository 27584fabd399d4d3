//! Which target a request goes to.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{Relaxed, SeqCst},
};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, watch};

use crate::config;
use crate::meter::{Meter, Reading};
use crate::pool::Pool;

/// How long a target that could not be reached is only asked when no other is left.
const SHUNNED: Duration = Duration::from_secs(1);
/// Requests that may wait while a service is held.
pub const HELD_MAX: usize = 10_000;
/// The longest hold.
pub const HOLD_MAX: Duration = Duration::from_secs(60);

/// A change that can't be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// No such service.
    #[error("there is no service {0:?}")]
    Service(String),
    /// No such group.
    #[error("service {service:?} has no group {group:?}")]
    Group {
        /// The service.
        service: String,
        /// The group.
        group: String,
    },
    /// Nobody would get requests.
    #[error("no group of service {0:?} would have a weight and a target")]
    Nobody(String),
    /// It would be too long.
    #[error("a hold is at most {} s", HOLD_MAX.as_secs())]
    Hold,
}

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
    fn new(address: SocketAddr) -> Arc<Self> {
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
    fn new(name: &str) -> Arc<Self> {
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

/// Something that is under way in a group.
#[derive(Debug)]
pub(crate) struct Open(Arc<Group>);

impl Open {
    pub fn new(group: &Arc<Group>) -> Self {
        group.open.fetch_add(1, SeqCst);
        Self(Arc::clone(group))
    }
}

impl Open {
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
    fn candidates(&self) -> Vec<Arc<Target>> {
        let from = self.group.next.fetch_add(1, Relaxed);
        let count = self.targets.len();
        let mut all: Vec<Arc<Target>> = (0..count)
            .map(|at| Arc::clone(&self.targets[(from.wrapping_add(at)) % count]))
            .collect();
        all.sort_by_key(|target| (target.is_shunned(), target.busy.load(Relaxed)));
        all
    }
}

/// A service.
#[derive(Debug)]
pub(crate) struct Service {
    pub name: String,
    pub answer: Duration,
    pub connect: Duration,
    pub affinity: bool,
    shares: RwLock<Arc<Vec<Share>>>,
    /// One change at a time.
    changing: Mutex<()>,
    drawn: AtomicU64,
    /// Counts changes of the shares.
    version: AtomicU64,
    /// Until when requests wait.
    hold: watch::Sender<Option<Instant>>,
    held: AtomicUsize,
    is_full: AtomicBool,
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
    fn new(name: &str, config: &config::Service) -> Self {
        let shares = config.groups.iter().map(|(name, group)| Share {
            group: Group::new(name),
            weight: group.weight,
            targets: group.targets.iter().copied().map(Target::new).collect(),
        });
        Self {
            name: name.to_string(),
            answer: Duration::from_millis(config.answer_ms),
            connect: Duration::from_millis(config.connect_ms),
            affinity: config.affinity,
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
        Arc::clone(&shares.unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn set_shares(&self, shares: Vec<Share>) {
        let lock = self.shares.write();
        *lock.unwrap_or_else(std::sync::PoisonError::into_inner) = Arc::new(shares);
        self.version.fetch_add(1, SeqCst);
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
        let number = self.drawn.fetch_add(1, Relaxed);
        // Multiples of the golden ratio, modulo one.
        let point = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut point = ((u128::from(point) * u128::from(sum)) >> 64) as u64;
        weighted.iter().position(|share| {
            let weight = u64::from(share.weight);
            let falls_here = point < weight;
            point = point.wrapping_sub(weight);
            falls_here
        })
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

/// All services of an edge.
#[derive(Clone, Debug)]
pub struct Table {
    services: Arc<BTreeMap<String, Arc<Service>>>,
}

/// A service as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its groups.
    pub groups: BTreeMap<String, GroupStatus>,
    /// Milliseconds for which new requests still wait.
    pub held_ms: u64,
    /// Requests that wait.
    pub held: usize,
    /// Whether the bound of waiting requests was reached in the last hold.
    pub held_full: bool,
}

/// A group as operators see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its share of new requests.
    pub weight: u32,
    /// Its targets.
    pub targets: Vec<SocketAddr>,
    /// Requests and tunnels under way.
    pub open: usize,
    /// What was counted since the edge's start.
    pub reading: Reading,
}

impl Table {
    /// The services of a configuration.
    pub fn new(config: &config::Config) -> Self {
        let services = config.services.iter();
        let made =
            services.map(|(name, service)| (name.clone(), Arc::new(Service::new(name, service))));
        Self {
            services: Arc::new(made.collect()),
        }
    }

    pub(crate) fn service(&self, name: &str) -> Result<&Arc<Service>, TableError> {
        let found = self.services.get(name);
        found.ok_or_else(|| TableError::Service(name.to_string()))
    }

    pub(crate) fn group(&self, service: &str, group: &str) -> Result<Share, TableError> {
        let shares = self.service(service)?.shares();
        let found = shares.iter().find(|share| share.group.name == group);
        found.cloned().ok_or_else(|| TableError::Group {
            service: service.to_string(),
            group: group.to_string(),
        })
    }

    /// Gives groups of a service other weights, all at once. Those that are not named keep theirs.
    ///
    /// # Errors
    /// An unknown name, or nobody would be left to take requests.
    pub fn set_weights(
        &self,
        service: &str,
        weights: &BTreeMap<String, u32>,
    ) -> Result<(), TableError> {
        for group in weights.keys() {
            self.group(service, group)?;
        }
        self.change(service, |share| {
            if let Some(weight) = weights.get(&share.group.name) {
                share.weight = *weight;
            }
        })
    }

    /// Gives a group other targets. What runs on the old ones goes on.
    ///
    /// # Errors
    /// An unknown name, or nobody would be left to take requests.
    pub fn set_targets(
        &self,
        service: &str,
        group: &str,
        targets: &[SocketAddr],
    ) -> Result<(), TableError> {
        self.group(service, group)?;
        self.change(service, |share| {
            if share.group.name != group {
                return;
            }
            let kept = |address: &SocketAddr| {
                let known = share
                    .targets
                    .iter()
                    .find(|target| target.address == *address);
                known.cloned().unwrap_or_else(|| Target::new(*address))
            };
            share.targets = targets.iter().map(kept).collect();
        })
    }

    /// Takes a group out of service whole, its weight and its targets, even if nobody is left then: what
    /// answers at its addresses next may be something else.
    ///
    /// # Errors
    /// An unknown name.
    pub fn empty(&self, service: &str, group: &str) -> Result<(), TableError> {
        self.group(service, group)?;
        let service = self.service(service)?;
        let _one = service.changing.lock();
        let mut shares = service.shares().as_ref().clone();
        for share in shares.iter_mut().filter(|share| share.group.name == group) {
            (share.weight, share.targets) = (0, Vec::new());
        }
        service.set_shares(shares);
        Ok(())
    }

    fn change(&self, name: &str, change: impl Fn(&mut Share)) -> Result<(), TableError> {
        let service = self.service(name)?;
        let takes = |shares: &[Share]| {
            let mut shares = shares.iter();
            shares.any(|share| share.weight > 0 && !share.targets.is_empty())
        };
        let _one = service.changing.lock();
        let before = service.shares();
        let mut shares = before.as_ref().clone();
        shares.iter_mut().for_each(change);
        // One that never had anybody may be filled step by step.
        if takes(&before) && !takes(&shares) {
            return Err(TableError::Nobody(name.to_string()));
        }
        service.set_shares(shares);
        Ok(())
    }

    /// Lets new requests of a service wait, until it is resumed or the time is over.
    ///
    /// # Errors
    /// An unknown name, or a time above [`HOLD_MAX`].
    pub fn hold(&self, service: &str, time: Duration) -> Result<(), TableError> {
        let service = self.service(service)?;
        if time > HOLD_MAX {
            return Err(TableError::Hold);
        }
        service.is_full.store(false, Relaxed);
        service.hold.send_replace(Some(Instant::now() + time));
        Ok(())
    }

    /// Serves what waits.
    ///
    /// # Errors
    /// An unknown name.
    pub fn resume(&self, service: &str) -> Result<(), TableError> {
        self.service(service)?.hold.send_replace(None);
        Ok(())
    }

    /// Waits until nothing is under way in a group, at most so long; then ends the tunnels that are left.
    /// How much was left.
    ///
    /// # Errors
    /// An unknown name.
    pub async fn drain(
        &self,
        service: &str,
        group: &str,
        time: Duration,
    ) -> Result<usize, TableError> {
        let group = self.group(service, group)?.group;
        let is_idle = async {
            loop {
                let idle = group.idle.notified();
                tokio::pin!(idle);
                // From here on no notice is missed.
                idle.as_mut().enable();
                if group.open.load(SeqCst) == 0 {
                    return;
                }
                idle.await;
            }
        };
        let _ = tokio::time::timeout(time, is_idle).await;
        let left = group.open.load(SeqCst);
        group.cut.send_modify(|times| *times += 1);
        Ok(left)
    }

    /// All of it, for operators.
    pub fn status(&self) -> BTreeMap<String, ServiceStatus> {
        let now = Instant::now();
        let of = |service: &Arc<Service>| {
            let shares = service.shares();
            let groups = shares.iter().map(|share| {
                let status = GroupStatus {
                    weight: share.weight,
                    targets: share.targets.iter().map(|target| target.address).collect(),
                    open: share.group.open.load(Relaxed),
                    reading: share.group.meter.read(),
                };
                (share.group.name.clone(), status)
            });
            let until = *service.hold.borrow();
            let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
            ServiceStatus {
                groups: groups.collect(),
                held_ms: left.as_millis() as u64,
                held: service.held.load(Relaxed),
                held_full: service.is_full.load(Relaxed),
            }
        };
        let services = self.services.iter();
        services
            .map(|(name, service)| (name.clone(), of(service)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(blue: u32, green: u32) -> Table {
        let group = |port: u16, weight| config::Group {
            targets: vec![
                ([127, 0, 0, 1], port).into(),
                ([127, 0, 0, 1], port + 1).into(),
            ],
            weight,
        };
        let service = config::Service {
            groups: BTreeMap::from([
                ("blue".into(), group(1, blue)),
                ("green".into(), group(3, green)),
            ]),
            affinity: false,
            answer_ms: 1,
            connect_ms: 1,
        };
        Table::new(&config::Config {
            admin: "".into(),
            listeners: Vec::new(),
            services: BTreeMap::from([("api".into(), service)]),
        })
    }

    fn count(table: &Table, requests: usize) -> usize {
        let service = table.service("api").unwrap();
        (0..requests)
            .filter(|_| service.route(Wish::default())[0].0.name == "green")
            .count()
    }

    #[test]
    fn shares_are_nearly_exact_over_few_requests() {
        for (blue, green, of_hundred) in
            [(99, 1, 1), (9, 1, 10), (1, 1, 50), (0, 5, 100), (5, 0, 0)]
        {
            let table = table(blue, green);
            for _ in 0..10 {
                let found = count(&table, 100);
                assert!(
                    found.abs_diff(of_hundred) <= 2,
                    "{blue}:{green} gave {found}"
                );
            }
        }
    }

    #[test]
    fn the_other_groups_targets_come_after_those_of_the_chosen_one_and_none_without_weight() {
        let both = table(1, 1);
        let service = both.service("api").unwrap();
        let route = service.route(Wish {
            rather: Some("green"),
            ..Wish::default()
        });
        let names: Vec<&str> = route.iter().map(|(group, _)| group.name.as_str()).collect();
        assert_eq!(names, ["green", "green", "blue", "blue"]);
        let blue = table(1, 0);
        let service = blue.service("api").unwrap();
        let route = service.route(Wish {
            rather: Some("green"),
            ..Wish::default()
        });
        assert!(route.iter().all(|(group, _)| group.name == "blue") && route.len() == 2);
        // A test listener has its group whatever the weights.
        let only = service.route(Wish {
            only: Some("green"),
            ..Wish::default()
        });
        assert!(only.iter().all(|(group, _)| group.name == "green") && only.len() == 2);
        assert!(
            service
                .route(Wish {
                    only: Some("red"),
                    ..Wish::default()
                })
                .is_empty()
        );
    }

    #[test]
    fn a_target_that_could_not_be_reached_is_tried_last() {
        let table = table(1, 0);
        let service = table.service("api").unwrap();
        let first = Arc::clone(&service.route(Wish::default())[0].1);
        first.shun();
        for _ in 0..4 {
            let route = service.route(Wish::default());
            assert_eq!(route.len(), 2);
            assert_eq!(route[1].1.address, first.address);
        }
        first.welcome();
        let firsts: Vec<_> = (0..2)
            .map(|_| service.route(Wish::default())[0].1.address)
            .collect();
        assert_ne!(firsts[0], firsts[1], "turn by turn");
    }

    #[test]
    fn a_change_that_leaves_nobody_is_refused() {
        let table = table(1, 0);
        let weights = |pairs: &[(&str, u32)]| {
            pairs
                .iter()
                .map(|(name, weight)| ((*name).to_string(), *weight))
                .collect()
        };
        let refused = table
            .set_weights("api", &weights(&[("blue", 0)]))
            .unwrap_err();
        assert_eq!(refused, TableError::Nobody("api".into()));
        assert!(table.set_targets("api", "blue", &[]).is_err());
        assert!(table.set_weights("api", &weights(&[("red", 1)])).is_err());
        assert!(table.set_weights("app", &weights(&[])).is_err());
        table
            .set_weights("api", &weights(&[("blue", 0), ("green", 1)]))
            .unwrap();
        assert_eq!(count(&table, 10), 10);
        table.set_targets("api", "blue", &[]).unwrap();
        assert!(table.status()["api"].groups["blue"].targets.is_empty());
    }
}
