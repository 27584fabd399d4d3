//! The replicas as an operator sees them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use everopen_identity::{Files, Identity, Name};
use serde_json::{Value, json};

use crate::support::{Process, Venue};
use crate::until;

/// How long a replica may take to answer.
const ANSWER: Duration = Duration::from_secs(1);

/// The way to the replicas of a cluster.
#[derive(Clone)]
pub struct Cluster {
    nodes: Vec<(u64, SocketAddr)>,
    identity: Arc<Identity>,
}

impl Cluster {
    /// The replicas of a venue in a data directory.
    pub fn of(venue: &Venue, dir: &Path) -> Self {
        let replicas = venue
            .processes()
            .into_iter()
            .filter(|p| p.role == "replica");
        let nodes = replicas.map(|p| (p.id, p.address.parse().expect("an address")));
        Self::new(nodes.collect(), &dir.join("tls"))
    }

    /// These replicas, asked with the operator's certificate in that folder.
    pub fn new(nodes: Vec<(u64, SocketAddr)>, tls: &Path) -> Self {
        let files = Files::within(tls, Name::Operator);
        let identity = Identity::load(&files).expect("the operator's certificate");
        Self { nodes, identity }
    }

    /// The replicas' numbers.
    pub fn ids(&self) -> Vec<u64> {
        self.nodes.iter().map(|(id, _)| *id).collect()
    }

    /// A client of it.
    pub fn client(&self, patience: Duration) -> everopen_client::Client {
        let nodes = self.nodes.iter();
        everopen_client::Client::start(everopen_client::Config {
            nodes: nodes
                .map(|(id, address)| everopen_client::Node {
                    id: *id,
                    address: address.to_string(),
                })
                .collect(),
            identity: Arc::clone(&self.identity),
            in_flight_max: 16_384,
            patience,
        })
        .expect("start a client")
    }

    /// Asks one replica.
    pub fn ask(&self, id: u64, question: &Value) -> Result<Value, String> {
        let node = self.nodes.iter().find(|(node, _)| *node == id);
        let (_, address) = node.ok_or("no such replica")?;
        everopen_client::call(&address.to_string(), id, &self.identity, question, ANSWER)
    }

    /// What all replicas that answer say of themselves.
    pub fn statuses(&self) -> Vec<Value> {
        std::thread::scope(|scope| {
            let asked: Vec<_> = self
                .ids()
                .into_iter()
                .map(|id| scope.spawn(move || self.ask(id, &json!({ "ask": "status" }))))
                .collect();
            let answers = asked.into_iter().map(|thread| thread.join().expect("asks"));
            answers.filter_map(Result::ok).collect()
        })
    }

    /// Who leads now, by those that answer.
    pub fn leader(&self) -> Option<u64> {
        leader(&self.statuses())
    }

    /// Waits until somebody leads.
    pub fn wait_for_leader(&self) -> u64 {
        until("somebody leads", || self.leader())
    }

    /// Waits until every replica answers, one leads, and all are near the newest entry.
    pub fn wait_until_whole(&self) {
        until("all replicas are there and have caught up", || {
            let statuses = self.statuses();
            let applied = statuses.iter().filter_map(|s| s["applied"].as_u64());
            let newest = applied.clone().max()?;
            let near = applied.filter(|at| at + 200 >= newest).count();
            let leader = leader(&statuses)?;
            let follow = statuses.iter().filter(|s| s["leader"] == leader).count();
            let all = self.nodes.len();
            (near == all && follow == all).then_some(())
        });
    }

    /// Waits until all replicas have applied the same, with the same hash. The last entry.
    pub fn wait_until_equal(&self) -> u64 {
        until(
            "all replicas are at the same entry with the same hash",
            || {
                let statuses = self.statuses();
                let of = |status: &Value| (status["applied"].clone(), status["event_hash"].clone());
                let first = of(statuses.first()?);
                let is_same = |status: &Value| {
                    let differing = status["differing"].as_array().map_or(0, Vec::len);
                    of(status) == first && status["last_index"] == first.0 && differing == 0
                };
                let all = statuses.len() == self.nodes.len() && statuses.iter().all(is_same);
                all.then(|| first.0.as_u64()).flatten()
            },
        )
    }
}

fn leader(statuses: &[Value]) -> Option<u64> {
    let leads = statuses.iter().filter(|status| status["role"] == "leader");
    leads
        .max_by_key(|status| status["term"].as_u64())
        .and_then(|status| status["node"].as_u64())
}

/// A replica's process in a venue, if it runs.
pub fn replica(venue: &Venue, id: u64) -> Option<Process> {
    let mut processes = venue.processes().into_iter();
    processes.find(|process| process.role == "replica" && process.id == id)
}
