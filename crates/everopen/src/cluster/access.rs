//! Asks the replicas of a cluster, all at once.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use everopen_identity::{Identity, Name};
use serde_json::Value;

use crate::config::cluster::Cluster;
use crate::config::node::Node;
use crate::config::{Peer, Tls};

/// How long one replica may take to answer a quick question.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks for a leader.
const LOOK: Duration = Duration::from_millis(50);

/// The way to the replicas.
#[derive(Clone, Debug)]
pub struct Access {
    nodes: Vec<Peer>,
    identity: Arc<Identity>,
}

/// What a replica said when it was asked.
#[derive(Clone, Debug)]
pub struct Answered {
    /// Who was asked.
    pub node: Peer,
    /// Its answer, or why there is none.
    pub answer: Result<Value, String>,
}

impl Access {
    /// The replicas in a data directory of `everopen up`.
    ///
    /// # Errors
    /// When there are none, or the operator's certificate can't be read.
    pub fn of_dir(dir: &Path) -> Result<Self> {
        let cluster = Cluster::read(dir).with_context(|| {
            format!(
                "no cluster in {} (start one with `everopen up --dir`, or name a replica's file with --config)",
                dir.display()
            )
        })?;
        let tls = Tls::within(&dir.join("tls"), Name::Operator);
        Ok(Self {
            nodes: cluster.peers(),
            identity: tls.load(Path::new("."))?,
        })
    }

    /// The replicas that a replica's file names.
    ///
    /// # Errors
    /// When the file or the certificate can't be read.
    pub fn of_file(path: &Path) -> Result<Self> {
        let file = Node::read(path)?;
        let mut nodes = file.node.nodes.clone();
        if !nodes.iter().any(|peer| peer.id == file.node.node) {
            nodes.push(Peer {
                id: file.node.node,
                address: file.node.advertised(),
            });
        }
        Ok(Self {
            nodes,
            identity: file.node.tls.load(file.base())?,
        })
    }

    /// Takes up one more, or its new address.
    pub fn know(&mut self, node: Peer) {
        self.nodes.retain(|known| known.id != node.id);
        self.nodes.push(node);
    }

    /// Asks one replica.
    ///
    /// # Errors
    /// A sentence: not reachable, refused, or no answer in time.
    pub fn ask(&self, node: &Peer, question: &Value, patience: Duration) -> Result<Value, String> {
        let address = node.address.as_str();
        everopen_client::call(address, node.id, &self.identity, question, patience)
    }

    /// Asks all replicas at once; the answers come in the order of their numbers.
    pub fn ask_all(&self, question: &Value, patience: Duration) -> Vec<Answered> {
        let mut answers: Vec<Answered> = std::thread::scope(|scope| {
            let asked: Vec<_> = self
                .nodes
                .iter()
                .map(|node| {
                    let ask = move || self.ask(node, question, patience);
                    (node.clone(), scope.spawn(ask))
                })
                .collect();
            let answered = asked.into_iter().map(|(node, thread)| {
                let answer = thread.join();
                Answered {
                    node,
                    answer: answer.unwrap_or_else(|_| Err("asking panicked".into())),
                }
            });
            answered.collect()
        });
        answers.sort_by_key(|answered| answered.node.id);
        answers
    }

    /// Learns the replicas that the known ones know of, for instance those added since a file was
    /// written.
    pub fn learn(&mut self, statuses: &[Answered]) -> bool {
        let before = self.nodes.len();
        for status in statuses {
            let Ok(status) = &status.answer else { continue };
            for peer in status["peers"].as_array().into_iter().flatten() {
                let id = peer["id"].as_u64();
                let address = peer["address"].as_str().and_then(|a| a.parse().ok());
                if let (Some(id), Some(address)) = (id, address)
                    && !self.nodes.iter().any(|node| node.id == id)
                {
                    self.nodes.push(Peer { id, address });
                }
            }
        }
        self.nodes.len() > before
    }

    /// The status of every replica, also of those that only the others know.
    pub fn statuses(&mut self) -> Vec<Answered> {
        let question = serde_json::json!({ "ask": "status" });
        let statuses = self.ask_all(&question, PATIENCE);
        if self.learn(&statuses) {
            return self.ask_all(&question, PATIENCE);
        }
        statuses
    }

    /// Who this is to the replicas.
    pub fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.identity)
    }

    /// Waits until a replica leads that was asked to.
    ///
    /// # Errors
    /// When it does not in time.
    pub fn wait_for_leader(&mut self, node: u64, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        while leader(&self.statuses()).is_none_or(|leads| leads.id != node) {
            if Instant::now() > deadline {
                bail!(
                    "replica {node} did not take the lead within {patience:?}; is it up to date?"
                );
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Lets another replica lead if that one does: a leader can't be removed.
    ///
    /// # Errors
    /// When no other one takes the lead within `patience`.
    pub fn step_down(&mut self, node: u64, patience: Duration) -> Result<()> {
        let leads = |access: &mut Self| leader(&access.statuses()).map(|leader| leader.id);
        if leads(self) != Some(node) {
            return Ok(());
        }
        let deadline = Instant::now() + patience;
        self.ask_leader(&serde_json::json!({ "ask": "transfer" }), patience)?;
        while leads(self).is_none_or(|leader| leader == node) {
            if Instant::now() > deadline {
                bail!("no other replica took the lead of {node} within {patience:?}");
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Asks the leader, whoever that is when it is asked.
    ///
    /// # Errors
    /// What the leader refused, or that there is none for as long as `patience`.
    pub fn ask_leader(&mut self, question: &Value, patience: Duration) -> Result<Value> {
        let deadline = Instant::now() + patience;
        let mut refused = None;
        loop {
            let statuses = self.statuses();
            if let Some(node) = leader(&statuses) {
                match self.ask(&node, question, patience) {
                    Ok(answer) => return Ok(answer),
                    Err(error) => refused = Some(error),
                }
            }
            if Instant::now() >= deadline || refused.as_deref().is_some_and(is_final) {
                break;
            }
            std::thread::sleep(LOOK);
        }
        match refused {
            Some(error) => bail!("{error}"),
            None => bail!("no replica leads: fewer than a majority can be reached"),
        }
    }
}

/// Whether asking again would bring the same.
fn is_final(refusal: &str) -> bool {
    const PASSING: [&str; 4] = ["not lead", "not reachable", "try again", "lost the lead"];
    !PASSING.iter().any(|passing| refusal.contains(passing))
}

/// Who leads, by the statuses: a deposed leader may not know yet that it is.
pub fn leader(statuses: &[Answered]) -> Option<Peer> {
    let leads = statuses.iter().filter_map(|answered| {
        let status = answered.answer.as_ref().ok()?;
        (status["role"] == "leader").then_some((status["term"].as_u64()?, answered.node.clone()))
    });
    leads.max_by_key(|(term, _)| *term).map(|(_, node)| node)
}
