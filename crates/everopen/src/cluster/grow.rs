//! More replicas and fewer: in a data directory, and in the cluster.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use everopen_identity::{Authority, Name};
use serde_json::{Value, json};

use super::access::{Access, leader};
use crate::config::cluster::Cluster;
use crate::config::node::Node;
use crate::config::{Peer, Tls};
use crate::up::ports;

/// A learner may vote when it lacks at most so many entries: it then has them before it is missed.
const NEAR: u64 = 1_000;
/// Between two looks how far a learner is.
const LOOK: Duration = Duration::from_millis(200);
/// How long a change may take.
const CHANGE: Duration = Duration::from_secs(20);
/// How long a learner may make no progress at all.
const STUCK: Duration = Duration::from_secs(60);

/// Makes a replica's folder and files in a data directory, with the settings of the first.
///
/// # Errors
/// When it can't be written.
pub fn prepare(dir: &Path, learner: bool) -> Result<Peer> {
    Cluster::update(dir, |cluster| {
        let first = &cluster.nodes[0];
        let like = Node::read(&dir.join(&first.dir).join("node.toml"))?.node;
        let (address, _kept) = ports::take()?;
        let id = cluster.add(address, true).id;
        let folder = dir.join(format!("node-{id}"));
        fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
        let authority = Authority::open_or_create(&dir.join("tls").join("authority"))?;
        authority.issue(&Name::Node(id), &dir.join("tls"))?;
        if let Some(added) = cluster.nodes.last_mut() {
            added.learner = learner;
        }
        let node = Node {
            node: id,
            listen: address,
            join: true,
            tls: Tls::within(Path::new("../tls"), Name::Node(id)),
            nodes: cluster.peers(),
            ..like
        };
        node.write(&folder.join("node.toml"))?;
        Ok(Peer {
            id,
            address: address.into(),
        })
    })
}

/// Notes that a replica of a data directory votes.
///
/// # Errors
/// When it can't be written.
pub fn note_promoted(dir: &Path, id: u64) -> Result<()> {
    Cluster::update(dir, |cluster| {
        for node in cluster.nodes.iter_mut().filter(|node| node.id == id) {
            node.learner = false;
        }
        Ok(())
    })
}

/// Notes that a replica of a data directory is not run any more.
///
/// # Errors
/// When it can't be written.
pub fn note_removed(dir: &Path, id: u64) -> Result<()> {
    Cluster::update(dir, |cluster| {
        cluster.nodes.retain(|node| node.id != id);
        Ok(())
    })
}

/// Where a replica stands in the cluster, as the leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    None,
    Learner { behind: Option<u64> },
    Voter,
}

fn standing(status: &Value, id: u64) -> Standing {
    let holds = |name: &str| {
        let ids = status[name].as_array();
        ids.is_some_and(|ids| ids.iter().any(|known| known.as_u64() == Some(id)))
    };
    if holds("voters") {
        return Standing::Voter;
    }
    if !holds("learners") {
        return Standing::None;
    }
    let peers = status["peers"].as_array().into_iter().flatten();
    let known = peers
        .filter(|peer| peer["id"].as_u64() == Some(id))
        .find_map(|peer| peer["match"].as_u64());
    Standing::Learner {
        behind: known.and_then(|known| Some(status["last_index"].as_u64()?.saturating_sub(known))),
    }
}

fn ask_standing(access: &mut Access, id: u64) -> Option<Standing> {
    let statuses = access.statuses();
    let leads = leader(&statuses)?;
    let found = statuses.iter().find(|s| s.node.id == leads.id)?;
    Some(standing(found.answer.as_ref().ok()?, id))
}

/// Makes a replica a learner, unless it is in the cluster already.
///
/// # Errors
/// What the leader refused.
pub fn add(access: &mut Access, node: &Peer, patience: Duration) -> Result<()> {
    if !matches!(ask_standing(access, node.id), None | Some(Standing::None)) {
        return Ok(());
    }
    let question = json!({ "ask": "add", "node": node.id, "address": node.address.to_string() });
    access
        .ask_leader(&question, patience)
        .with_context(|| format!("add replica {}", node.id))
        .map(drop)
}

/// Waits until a learner has nearly caught up, and gives it a vote.
///
/// # Errors
/// When it makes no progress, or the leader refuses.
pub fn promote_when_ready(
    access: &mut Access,
    node: &Peer,
    is_stopped: &dyn Fn() -> bool,
) -> Result<()> {
    let mut least = u64::MAX;
    let mut moved = Instant::now();
    loop {
        if is_stopped() {
            bail!("stopped before replica {} had caught up", node.id);
        }
        match ask_standing(access, node.id) {
            Some(Standing::Voter) => return Ok(()),
            Some(Standing::None) => bail!("replica {} is not in the cluster", node.id),
            Some(Standing::Learner {
                behind: Some(behind),
            }) => {
                if behind < least {
                    (least, moved) = (behind, Instant::now());
                }
                if behind <= NEAR {
                    let question = json!({ "ask": "promote", "node": node.id });
                    match access.ask_leader(&question, CHANGE) {
                        Ok(_) => return Ok(()),
                        Err(error) => {
                            // Another change may be under way, or it fell back just now.
                            tracing::info!("replica {} is not promoted yet: {error:#}", node.id);
                        }
                    }
                }
            }
            Some(Standing::Learner { behind: None }) | None => {}
        }
        if moved.elapsed() > STUCK {
            return Err(match least {
                u64::MAX => anyhow!("replica {} can't be reached by the leader", node.id),
                behind => anyhow!(
                    "replica {} stays {behind} entries behind the leader",
                    node.id
                ),
            });
        }
        std::thread::sleep(LOOK);
    }
}

/// Brings every replica of a data directory that is to join into the cluster, one after another.
///
/// # Errors
/// When one can't be brought in; those before it are in.
pub fn bring_in(dir: &Path, access: &mut Access, is_stopped: &dyn Fn() -> bool) -> Result<()> {
    let cluster = Cluster::read(dir)?;
    for replica in cluster
        .nodes
        .iter()
        .filter(|node| node.join && !node.learner)
    {
        let node = Peer {
            id: replica.id,
            address: replica.address.into(),
        };
        if ask_standing(access, node.id) == Some(Standing::Voter) {
            continue;
        }
        add(access, &node, CHANGE)?;
        promote_when_ready(access, &node, is_stopped)?;
        tracing::info!("replica {} has joined and votes", node.id);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_leader_knows_where_a_replica_stands() {
        let status = json!({
            "voters": [1, 2], "learners": [3, 4], "last_index": 500,
            "peers": [{ "id": 3, "match": 480 }, { "id": 4, "match": null }],
        });
        assert_eq!(standing(&status, 1), Standing::Voter);
        assert_eq!(standing(&status, 3), Standing::Learner { behind: Some(20) });
        assert_eq!(standing(&status, 4), Standing::Learner { behind: None });
        assert_eq!(standing(&status, 5), Standing::None);
    }
}
