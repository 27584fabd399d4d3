//! Where instances run: as processes of this machine, or in a cluster.

use std::time::{Duration, Instant};

use tokio::task::block_in_place;

use crate::cluster::{Cluster, Seen, Set};
use crate::controller::Controller;
use crate::execute::NO_CLUSTER;
use crate::plan::Plan;
use crate::process::{self, Process};

/// Between two looks whether a cluster has ended what it was to end.
const LOOK: Duration = Duration::from_millis(200);

/// An instance that runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Instance {
    /// For people.
    pub name: String,
    /// `host:port`
    pub address: String,
}

impl Instance {
    pub fn port(&self) -> &str {
        self.address.rsplit_once(':').map_or("", |(_, port)| port)
    }
}

impl Controller<'_> {
    /// The set that this rollout is about, if it is in a cluster.
    pub(crate) fn set(&self) -> Option<Set> {
        self.plan.file.set(&self.plan.to, &self.plan.id)
    }

    pub(crate) fn cluster(&self) -> Result<&dyn Cluster, String> {
        self.cluster.ok_or_else(|| NO_CLUSTER.to_string())
    }

    pub(crate) async fn look(&self, set: &Set) -> Result<Seen, String> {
        let seen = self.cluster()?.look(set).await?;
        match &seen.failed {
            Some(failed) => Err(failed.clone()),
            None => Ok(seen),
        }
    }

    /// What runs, of which these instances should.
    pub(crate) fn processes(&self, wanted: &[u16]) -> Result<Vec<Process>, String> {
        block_in_place(|| process::find_all(&self.plan.id, wanted))
            .map_err(|error| format!("look for processes: {error}"))
    }

    /// All instances of the new version, if all of them run.
    pub(crate) async fn all_run(&self) -> Result<Vec<Instance>, String> {
        if let Some(set) = self.set() {
            let seen = self.look(&set).await?;
            if seen.ready.len() < usize::from(set.replicas) {
                let (ready, wanted) = (seen.ready.len(), set.replicas);
                return Err(format!(
                    "{ready} of {wanted} pods are ready: {}",
                    seen.trouble
                ));
            }
            return Ok(pods(&seen));
        }
        let wanted: Vec<u16> = (0..self.plan.file.start.instances).collect();
        let processes = self.processes(&wanted)?;
        let mut wanted = wanted.into_iter();
        let gone = wanted.find(|instance| !processes.iter().any(|p| p.instance == *instance));
        match gone {
            None => Ok(processes.iter().map(instance).collect()),
            Some(gone) => Err(format!(
                "instance {gone} has ended; its log ends with: {}",
                self.log_of(gone)
            )),
        }
    }

    fn log_of(&self, instance: u16) -> String {
        let path = self.path.join(format!("instance-{instance}.log"));
        let text = std::fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// Where the edge sends requests for the new version.
    pub(crate) async fn targets(&self) -> Result<Vec<String>, String> {
        match self.set() {
            // The cluster balances by itself, and goes on when pods come and go.
            Some(set) => Ok(vec![self.look(&set).await?.service.to_string()]),
            None => {
                let all = self.all_run().await?;
                Ok(all.into_iter().map(|instance| instance.address).collect())
            }
        }
    }

    /// The plan by which a version came that runs, or is kept.
    fn plan_of(&self, rollout: &str) -> Option<Plan> {
        Plan::read(&self.folder.rollout(rollout).join("plan.json")).ok()
    }

    /// The set of a version that another rollout brought, if it is in a cluster.
    fn set_of(&self, rollout: &str) -> Option<Set> {
        let plan = self.plan_of(rollout)?;
        plan.file.set(&plan.to, rollout)
    }

    /// Instances of a version that another rollout brought.
    pub(crate) async fn instances_of(&self, rollout: &str) -> Result<Vec<Instance>, String> {
        match self.set_of(rollout) {
            Some(set) => Ok(pods(&self.cluster()?.look(&set).await?)),
            None => match process::find(rollout) {
                Ok(found) => Ok(found.iter().map(instance).collect()),
                Err(error) => Err(format!("look for the old version's processes: {error}")),
            },
        }
    }

    /// Ends all instances that a rollout brought. How many there were.
    pub(crate) async fn end_all(&self, rollout: &str, patience: Duration) -> Result<usize, String> {
        let set = match rollout == self.plan.id {
            true => self.set(),
            false => self.set_of(rollout),
        };
        let Some(set) = set else {
            let ended = block_in_place(|| process::end(rollout, patience));
            return ended.map_err(|error| format!("end processes: {error}"));
        };
        let cluster = self.cluster()?;
        // What runs there by now may belong to a later rollout.
        let count = cluster.end(&set).await?;
        let deadline = Instant::now() + patience;
        // That they end is the cluster's business; how long it takes is only looked at.
        while Instant::now() < deadline
            && cluster
                .look(&set)
                .await
                .is_ok_and(|seen| !seen.ready.is_empty())
        {
            tokio::time::sleep(LOOK).await;
        }
        Ok(count)
    }
}

fn instance(process: &Process) -> Instance {
    Instance {
        name: format!("instance {}", process.instance),
        address: process.address().to_string(),
    }
}

fn pods(seen: &Seen) -> Vec<Instance> {
    let each = seen.ready.iter();
    each.map(|address| Instance {
        name: format!("pod {}", address.ip()),
        address: address.to_string(),
    })
    .collect()
}
