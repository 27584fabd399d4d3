//! What the replicas measured, read from their answers.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::cluster::access::Answered;
use crate::config::Peer;

/// Microseconds at two percentiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Times {
    pub p50: f64,
    pub p99: f64,
}

impl Times {
    fn of(value: &Value) -> Option<Self> {
        Some(Self {
            p50: value["p50_us"].as_f64()?,
            p99: value["p99_us"].as_f64()?,
        })
    }
}

/// One replica's measurements.
#[derive(Clone, Debug, Default)]
pub struct Node {
    pub id: u64,
    pub is_loopback: bool,
    /// Why it did not answer, if it did not.
    pub silent: Option<String>,
    pub rtt: BTreeMap<u64, Times>,
    pub sync: Option<Times>,
    /// Microseconds by which the other's clock is ahead of this one's.
    pub clock: BTreeMap<u64, f64>,
    pub cores: Option<u64>,
    pub numa_nodes: Option<u64>,
    pub governor: Option<String>,
    pub load: Option<f64>,
    /// Why it can't keep its processors from sleeping, though it is to.
    pub drowsy: Option<String>,
}

/// Everything that was measured.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    pub nodes: Vec<Node>,
    pub voters: Vec<u64>,
    pub leader: Option<u64>,
    /// Whether an acknowledgment waits for disks.
    pub is_fsync: bool,
}

impl Measured {
    /// Reads the answers; what a replica does not tell is left out.
    pub fn of(statuses: &[Answered], answers: &[Answered], leader: Option<&Peer>) -> Self {
        let knows = leader
            .and_then(|leader| statuses.iter().find(|s| s.node.id == leader.id))
            .or_else(|| statuses.iter().find(|s| s.answer.is_ok()))
            .and_then(|answered| answered.answer.as_ref().ok());
        let voters = knows.and_then(|status| {
            let ids = status["voters"].as_array()?;
            Some(ids.iter().filter_map(Value::as_u64).collect())
        });
        Self {
            nodes: answers.iter().map(read).collect(),
            voters: voters.unwrap_or_else(|| answers.iter().map(|a| a.node.id).collect()),
            leader: leader.map(|leader| leader.id),
            is_fsync: knows.is_none_or(|status| status["mode"] != "memory"),
        }
    }

    /// A replica's measurements.
    pub fn node(&self, id: u64) -> Option<&Node> {
        self.nodes.iter().find(|node| node.id == id)
    }

    /// By how many microseconds a replica's clock is ahead of the middle of all others.
    pub fn clock_error(&self, id: u64) -> Option<f64> {
        let seen: Vec<f64> = self
            .nodes
            .iter()
            .filter_map(|node| node.clock.get(&id).copied())
            .collect();
        median(seen)
    }
}

impl Node {
    /// Its processor in a few words.
    pub fn processor(&self) -> String {
        let mut words = Vec::new();
        if let Some(cores) = self.cores {
            words.push(format!("{cores} cores"));
        }
        if let Some(numa) = self.numa_nodes.filter(|nodes| *nodes > 1) {
            words.push(format!("{numa} NUMA nodes"));
        }
        if let Some(governor) = &self.governor {
            words.push(format!("governor {governor}"));
        }
        if let Some(load) = self.load {
            words.push(format!("load {load:.1}"));
        }
        words.join(", ")
    }
}

fn read(answered: &Answered) -> Node {
    let mut node = Node {
        id: answered.node.id,
        is_loopback: answered.node.address.is_loopback(),
        ..Node::default()
    };
    let answer = match &answered.answer {
        Ok(answer) => answer,
        Err(error) => {
            node.silent = Some(error.clone());
            return node;
        }
    };
    for measured in answer["rtt"].as_array().into_iter().flatten() {
        if let (Some(to), Some(times)) = (measured["to"].as_u64(), Times::of(measured)) {
            node.rtt.insert(to, times);
        }
    }
    for measured in answer["clock"].as_array().into_iter().flatten() {
        if let (Some(to), Some(offset)) = (measured["to"].as_u64(), measured["offset_us"].as_f64())
        {
            node.clock.insert(to, offset);
        }
    }
    node.sync = Times::of(&answer["sync"]);
    let cpu = &answer["cpu"];
    node.cores = cpu["cores"].as_u64();
    node.numa_nodes = cpu["numa_nodes"].as_u64();
    node.governor = cpu["governor"].as_str().map(str::to_owned);
    node.load = cpu["load"].as_f64();
    node.drowsy = answer["awake"]["error"].as_str().map(str::to_owned);
    node
}

/// The one in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// Microseconds without decimals that nobody needs.
pub fn us(us: f64) -> String {
    format!("{us:.0}")
}
