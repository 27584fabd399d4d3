//! `cluster.toml`: what a data directory of `everopen up` holds.

use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize};

use super::{ClusterId, Peer};

/// The venue in a data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Its id.
    pub cluster: ClusterId,
    /// The number that the next new replica gets; numbers are never used twice.
    pub next_node: u64,
    /// Its replicas.
    #[serde(rename = "node")]
    pub nodes: Vec<Replica>,
}

/// A replica in the data directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replica {
    /// Its number.
    pub id: u64,
    /// Where it listens.
    pub address: SocketAddr,
    /// Its folder, taken from the data directory.
    pub dir: PathBuf,
    /// It was not there at the beginning and joined (or will join) the others.
    #[serde(default)]
    pub join: bool,
    /// Its log has been there. If it is not any more, the replica must not come back as if it were
    /// new: it may have voted for what it no longer knows.
    #[serde(default)]
    pub started: bool,
    /// It follows without a vote until `everopen cluster promote`.
    #[serde(default)]
    pub learner: bool,
}

const HEAD: &str = "\
# The replicas that `everopen up` runs in this directory.
# Changed by `everopen up --replicas` and `everopen cluster add|remove --dir`.
";

impl Cluster {
    /// The file in a data directory.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("cluster.toml")
    }

    /// Reads the file of a data directory.
    ///
    /// # Errors
    /// Names the file, the line where there is one, and the reason.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = Self::path(dir);
        let cluster: Self = super::read(&path)?;
        let check = || -> Result<()> {
            super::check_peers(&cluster.peers()).context("node")?;
            if cluster.nodes.is_empty() {
                bail!("node: a venue has at least one replica");
            }
            if let Some(node) = cluster.nodes.iter().find(|n| n.id >= cluster.next_node) {
                bail!("next_node: must be above node {}", node.id);
            }
            Ok(())
        };
        check().with_context(|| format!("in {}", path.display()))?;
        Ok(cluster)
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        super::write(&Self::path(dir), HEAD, self).map(drop)
    }

    /// Changes the file, while nobody else does.
    ///
    /// # Errors
    /// When it can't be read or written, or what `change` says.
    pub fn update<T>(dir: &Path, change: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let lock = File::create(dir.join(".cluster.lock")).context("open the cluster's lock")?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).context("lock the cluster")?;
        let mut cluster = Self::read(dir)?;
        let made = change(&mut cluster)?;
        cluster.write(dir)?;
        Ok(made)
    }

    /// Its replicas and their addresses.
    pub fn peers(&self) -> Vec<Peer> {
        let peer = |node: &Replica| Peer {
            id: node.id,
            address: node.address.into(),
        };
        self.nodes.iter().map(peer).collect()
    }

    /// The voters that it began with.
    pub fn initial(&self) -> Vec<Peer> {
        let initial = self.nodes.iter().filter(|node| !node.join);
        initial
            .map(|node| Peer {
                id: node.id,
                address: node.address.into(),
            })
            .collect()
    }

    /// Whether a replica was there and has lost its log. One that has begun another life, in memory
    /// mode, knows that itself.
    pub fn has_lost_log(dir: &Path, replica: &Replica) -> bool {
        let folder = dir.join(&replica.dir);
        let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let begins_again =
            |file: &std::fs::DirEntry| file.file_name().to_string_lossy().starts_with("log.lost-");
        let is_there = folder.join("log").exists() || files.into_iter().any(|f| begins_again(&f));
        replica.started && !is_there
    }

    /// Notes a new replica, which does not run yet.
    pub fn add(&mut self, address: SocketAddr, join: bool) -> &Replica {
        let id = self.next_node;
        self.next_node += 1;
        self.nodes.push(Replica {
            id,
            address,
            dir: format!("node-{id}").into(),
            join,
            started: false,
            learner: false,
        });
        self.nodes.last().expect("invariant: one was added")
    }
}
