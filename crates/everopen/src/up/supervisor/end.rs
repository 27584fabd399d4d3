//! How everything ends: from outside in, so that nobody is left without an answer.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{GATEWAY_END, LOOK, Role, State, Supervisor, Ward};
use crate::cluster::access;
use crate::up::endpoints;

/// How long a replica may take to end: it may write a snapshot.
const REPLICA_END: Duration = Duration::from_secs(60);
/// How long replicas may take to say who leads before they are stopped.
const ASK: Duration = Duration::from_millis(500);

impl Supervisor {
    /// Gateway first, so that nobody is left without an answer; then the replicas, the leader last.
    pub(super) fn end_all(&mut self) {
        endpoints::remove(self.layout.dir());
        self.access = None;
        self.stop = true;
        self.listener = None;
        self.wards.iter_mut().for_each(|ward| {
            ward.is_leaving = true;
            if ward.due().is_some() {
                ward.state = State::Ended;
            }
        });
        // Those behind the edge first: what they have taken they answer, and their clients hear of it.
        if let Some(gateways) = &mut self.gateways {
            gateways.end();
        }
        self.end(&[Role::Gateway, Role::Edge], GATEWAY_END);
        let leader = self.leader();
        let replicas = |is_leader: bool| -> Vec<Role> {
            let roles = self.wards.iter().map(|ward| ward.role);
            roles
                .filter(|role| match role {
                    Role::Replica(id) => (Some(*id) == leader) == is_leader,
                    Role::Gateway | Role::Edge => false,
                })
                .collect()
        };
        let (others, leaders) = (replicas(false), replicas(true));
        self.end(&others, REPLICA_END);
        self.end(&leaders, REPLICA_END);
        self.forward_logs();
    }

    /// Who leads, and how far the log is now that nobody writes to it.
    fn leader(&mut self) -> Option<u64> {
        let access = access::Access::of_dir(self.layout.dir()).ok()?;
        let question = serde_json::json!({ "ask": "status" });
        let statuses = access.ask_all(&question, ASK);
        let applied = statuses
            .iter()
            .filter_map(|status| status.answer.as_ref().ok()?["applied"].as_u64());
        self.last_entry = applied.max();
        access::leader(&statuses).map(|node| node.id)
    }

    /// The last entry of the log when the venue was stopped, if a replica told it.
    pub fn last_entry(&self) -> Option<u64> {
        self.last_entry
    }

    /// Asks these to end and waits for it; kills what takes too long.
    pub(super) fn end(&mut self, roles: &[Role], patience: Duration) {
        let deadline = Instant::now() + patience;
        for ward in self.wards.iter_mut().filter(|w| roles.contains(&w.role)) {
            ward.is_leaving = true;
            if let Some(process) = ward.process() {
                process.signal(Signal::TERM);
            }
        }
        let mut killed = false;
        loop {
            let running = |ward: &&Ward| roles.contains(&ward.role) && ward.process().is_some();
            if self.wards.iter().find(running).is_none() {
                return;
            }
            if Instant::now() > deadline && !killed {
                killed = true;
                for ward in self.wards.iter().filter(running) {
                    tracing::error!("the {} did not end in time and is killed", ward.role);
                    if let Some(process) = ward.process() {
                        process.signal(Signal::KILL);
                    }
                }
            }
            self.wait(LOOK);
            self.forward_logs();
        }
    }

    pub(super) fn kill_all(&self) {
        tracing::warn!("told to stop twice: everything is killed");
        for process in self.wards.iter().filter_map(Ward::process) {
            process.signal(Signal::KILL);
        }
    }
}
