//! The services of an edge, and what operators change about them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::config;
use crate::group::{Group, Share, Target};
use crate::meter::Reading;
use crate::service::Service;
use crate::shadow::{Shadow, ShadowStatus, Shadowing};

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
    /// It makes no sense.
    #[error("shadow: {field}: {detail}")]
    Shadow {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        detail: String,
    },
    /// It would be too long.
    #[error("a hold is at most {} s", HOLD_MAX.as_secs())]
    Hold,
}

/// All services of an edge.
#[derive(Clone, Debug)]
pub struct Table {
    services: Arc<BTreeMap<String, Arc<Service>>>,
}

/// A service as operators see it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its groups.
    pub groups: BTreeMap<String, GroupStatus>,
    /// Milliseconds for which new requests still wait.
    pub held_ms: u64,
    /// Requests that wait.
    pub held: usize,
    /// Whether the bound of waiting requests was reached in the last hold.
    pub held_full: bool,
    /// What is put to another group, too, and what came of it.
    #[serde(default)]
    pub shadow: Option<ShadowStatus>,
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
        let _one = service.changing();
        let mut shares = service.shares().as_ref().clone();
        for share in shares.iter_mut().filter(|share| share.group.name == group) {
            (share.weight, share.targets) = (0, Vec::new());
        }
        service.set_shares(&shares);
        Ok(())
    }

    fn change(&self, name: &str, change: impl Fn(&mut Share)) -> Result<(), TableError> {
        let service = self.service(name)?;
        let takes = |shares: &[Share]| shares.iter().any(Share::takes);
        let _one = service.changing();
        let before = service.shares();
        let mut shares = before.as_ref().clone();
        shares.iter_mut().for_each(change);
        // One that never had anybody may be filled step by step.
        if takes(&before) && !takes(&shares) {
            return Err(TableError::Nobody(name.to_string()));
        }
        service.set_shares(&shares);
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
        service.set_hold(Some(Instant::now() + time));
        Ok(())
    }

    /// Serves what waits.
    ///
    /// # Errors
    /// An unknown name.
    pub fn resume(&self, service: &str) -> Result<(), TableError> {
        self.service(service)?.set_hold(None);
        Ok(())
    }

    /// Puts requests of a service to another group as well, and compares the answers; or ends that. What was
    /// counted before is gone.
    ///
    /// # Errors
    /// An unknown name, or what is wrong with it.
    pub fn shadow(&self, service: &str, shadowing: Option<Shadowing>) -> Result<(), TableError> {
        if let Some(shadowing) = &shadowing {
            self.group(service, &shadowing.group)?;
            let wrong = |(field, detail)| TableError::Shadow { field, detail };
            shadowing.check().map_err(wrong)?;
        }
        self.service(service)?
            .set_shadow(shadowing.map(Shadow::new));
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
        let _ = tokio::time::timeout(time, group.idled()).await;
        let left = group.cut_tunnels();
        Ok(left)
    }

    fn groups(&self) -> Vec<Arc<Group>> {
        let shares = self.services.values().flat_map(|service| {
            let shares = service.shares();
            shares
                .iter()
                .map(|share| Arc::clone(&share.group))
                .collect::<Vec<_>>()
        });
        shares.collect()
    }

    /// Comes back when nothing is under way anywhere, tunnels included.
    pub(crate) async fn idled(&self) {
        for group in self.groups() {
            group.idled().await;
        }
    }

    /// Ends all tunnels. How much was under way.
    pub(crate) fn cut_tunnels(&self) -> usize {
        self.groups().iter().map(|group| group.cut_tunnels()).sum()
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
                    open: share.group.open(),
                    reading: share.group.meter.read(),
                };
                (share.group.name.clone(), status)
            });
            let until = service.held_until();
            let left = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
            ServiceStatus {
                groups: groups.collect(),
                held_ms: left.as_millis() as u64,
                held: service.held.load(Relaxed),
                held_full: service.is_full.load(Relaxed),
                shadow: service.shadow().map(|shadow| shadow.status()),
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
    use crate::group::Place;
    use crate::service::Wish;

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
            wait_ms: 0,
        };
        Table::new(&config::Config {
            admin: "".into(),
            listeners: Vec::new(),
            services: BTreeMap::from([("api".into(), service)]),
            stores: BTreeMap::new(),
            connection_log: None,
        })
    }

    fn count(table: &Table, requests: usize) -> usize {
        let service = table.service("api").unwrap();
        (0..requests)
            .filter(|_| route(service, Wish::default())[0].group().name == "green")
            .count()
    }

    fn route(service: &Service, wish: Wish<'_>) -> Vec<Place> {
        service.route(wish).collect()
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
        let rather = Wish {
            rather: Some("green"),
            ..Wish::default()
        };
        let all = route(service, rather);
        let names: Vec<&str> = all.iter().map(|at| at.group().name.as_str()).collect();
        assert_eq!(names, ["green", "green", "blue", "blue"]);
        let blue = table(1, 0);
        let service = blue.service("api").unwrap();
        let all = route(service, rather);
        assert!(all.iter().all(|at| at.group().name == "blue") && all.len() == 2);
        // A test listener has its group whatever the weights.
        let only = |group| Wish {
            only: Some(group),
            ..Wish::default()
        };
        let all = route(service, only("green"));
        assert!(all.iter().all(|at| at.group().name == "green") && all.len() == 2);
        assert!(route(service, only("red")).is_empty());
    }

    #[test]
    fn a_target_that_could_not_be_reached_is_tried_last() {
        let table = table(1, 0);
        let service = table.service("api").unwrap();
        let first = Arc::clone(route(service, Wish::default())[0].target());
        first.shun();
        for _ in 0..4 {
            let all = route(service, Wish::default());
            assert_eq!(all.len(), 2);
            assert_eq!(all[1].target().address, first.address);
        }
        first.welcome();
        let firsts: Vec<_> = (0..2)
            .map(|_| route(service, Wish::default())[0].target().address)
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
