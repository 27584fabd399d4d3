//! The supervisor follows `cluster.toml`: replicas come and go while it runs.

use std::fs;
use std::time::SystemTime;

use rustix::process::Signal;

use super::{Role, State, Supervisor};
use crate::config::cluster::{Cluster, Replica};

impl Supervisor {
    pub(super) fn cluster_changed(&self) -> Option<SystemTime> {
        let file = fs::metadata(Cluster::path(self.layout.dir())).ok()?;
        file.modified().ok()
    }

    /// Takes up replicas that `everopen cluster add` and `remove` wrote into the directory.
    pub(super) fn follow_cluster(&mut self) {
        let now = self.cluster_changed();
        if now == self.cluster_seen {
            return;
        }
        self.cluster_seen = now;
        let cluster = match Cluster::read(self.layout.dir()) {
            Ok(cluster) => cluster,
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "replicas stay as they are");
                return;
            }
        };
        for replica in &cluster.nodes {
            if !self
                .wards
                .iter()
                .any(|w| w.role == Role::Replica(replica.id))
            {
                let ward = self.replica(replica);
                tracing::info!("a new {} is started", ward.role);
                // The gateway stays the last.
                self.wards.insert(self.wards.len() - 1, ward);
            }
        }
        for ward in &mut self.wards {
            let Role::Replica(id) = ward.role else {
                continue;
            };
            if !cluster.nodes.iter().any(|node| node.id == id) && !ward.is_leaving {
                tracing::info!("the {} is no longer wanted", ward.role);
                ward.is_leaving = true;
                match ward.process() {
                    Some(process) => process.signal(Signal::TERM),
                    None => ward.state = State::Ended,
                }
            }
        }
        self.plan.cluster = cluster;
    }

    /// Notes which replicas have a log by now.
    pub(super) fn note_started(&mut self) {
        let dir = self.layout.dir().to_path_buf();
        let has_log = |replica: &Replica| dir.join(&replica.dir).join("log").exists();
        let is_news = |replica: &Replica| !replica.started && has_log(replica);
        if !self.plan.cluster.nodes.iter().any(is_news) {
            return;
        }
        // What this changes is taken up from the file, like everybody's changes.
        let noted = Cluster::update(&dir, |cluster| {
            for replica in &mut cluster.nodes {
                replica.started |= has_log(replica);
            }
            Ok(())
        });
        if let Err(error) = noted {
            tracing::warn!("cluster.toml is not up to date: {error:#}");
        }
    }
}
