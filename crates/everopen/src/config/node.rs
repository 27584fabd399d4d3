//! `node.toml`: one replica on its host.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use everopen_replica::journal;
use everopen_replica::member::NUMBER_MAX;
use serde::{Deserialize, Serialize};

use super::{Address, ClusterId, Durability, KeepAwake, Peer, Tls};

/// The settings of a replica. Paths are taken from the folder of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its number in the cluster, from 1. A number that was removed is never used again.
    pub node: u64,
    /// The cluster's id, the same in all its files.
    pub cluster: ClusterId,
    /// Where it listens for other replicas, gateways and operators.
    pub listen: SocketAddr,
    /// Where others reach it, if that is another address than it listens on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<Address>,
    /// The folder of its log and its snapshots.
    #[serde(default = "log")]
    pub log: PathBuf,
    /// It joins a cluster that runs: it waits until `everopen cluster add` names it. Without it,
    /// the replicas in `nodes` begin as the voters.
    #[serde(default)]
    pub join: bool,
    /// What an acknowledgment means; the same on all replicas.
    #[serde(default)]
    pub durability: Durability,
    /// Size of a log segment.
    #[serde(default = "sixty_four")]
    pub segment_mib: u32,
    /// Keep the whole log, not only what the kept snapshots need.
    #[serde(default)]
    pub keep_log: bool,
    /// A snapshot is taken when the log has grown by so much since the last one.
    #[serde(default = "sixty_four")]
    pub snapshot_every_mib: u32,
    /// Memory that is put in place when it starts; 0 for none.
    #[serde(default = "two_hundred_and_fifty_six")]
    pub memory_mib: u32,
    /// When it keeps the machine's processors from sleeping.
    #[serde(default, skip_serializing_if = "KeepAwake::is_default")]
    pub keep_awake: KeepAwake,
    /// The newest version of the venue's rules that it may switch to; the newest that it knows if
    /// none is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logic_max: Option<u16>,
    /// This replica's certificate.
    pub tls: Tls,
    /// The replicas of the cluster, this one included.
    #[serde(default)]
    pub nodes: Vec<Peer>,
}

fn log() -> PathBuf {
    "log".into()
}

const fn sixty_four() -> u32 {
    64
}

const fn two_hundred_and_fifty_six() -> u32 {
    256
}

const HEAD: &str = "\
# One replica of an Everopen venue: `everopen node --config` this file.
# `everopen up` writes it again at each start; docs/operating/cluster.md explains every key.
";

/// A replica's settings, and the folder that its paths are taken from.
pub struct NodeFile {
    pub node: Node,
    base: PathBuf,
}

impl Node {
    /// Reads and checks a file.
    ///
    /// # Errors
    /// Names the file, the line where there is one, and the reason.
    pub fn read(path: &Path) -> Result<NodeFile> {
        let node: Self = super::read(path)?;
        node.check()
            .with_context(|| format!("in {}", path.display()))?;
        Ok(NodeFile {
            node,
            base: super::base(path),
        })
    }

    /// Writes it; returns whether that changed the file.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, path: &Path) -> Result<bool> {
        super::write(path, HEAD, self)
    }

    /// Whether a replica that runs with `self` would run in the same way with `other`: whom it is
    /// told of at its first start does not matter later.
    pub fn runs_like(&self, other: &Self) -> bool {
        let bare = |node: &Self| Self {
            nodes: Vec::new(),
            ..node.clone()
        };
        bare(self) == bare(other)
    }

    /// The address that others use.
    pub fn advertised(&self) -> Address {
        self.advertise.clone().unwrap_or_else(|| self.listen.into())
    }

    fn check(&self) -> Result<()> {
        if !(1..=NUMBER_MAX).contains(&self.node) {
            bail!("node: {} is not from 1 to {NUMBER_MAX}", self.node);
        }
        if !(2..=1024).contains(&self.segment_mib) {
            bail!("segment_mib: {} is not from 2 to 1024", self.segment_mib);
        }
        if !(1..=65_536).contains(&self.snapshot_every_mib) {
            bail!(
                "snapshot_every_mib: {} is not from 1 to 65536",
                self.snapshot_every_mib
            );
        }
        if self.memory_mib > 65_536 {
            bail!("memory_mib: {} is above 65536", self.memory_mib);
        }
        let known = everopen_venue::Venue::LOGIC_MAX;
        if let Some(wanted) = self.logic_max
            && !(1..=known).contains(&wanted)
        {
            bail!("logic_max: {wanted} is not from 1 to {known}");
        }
        super::check_peers(&self.nodes).context("nodes")?;
        let own = self.nodes.iter().find(|peer| peer.id == self.node);
        match own {
            None if !self.join => bail!("nodes: node {} itself is not among them", self.node),
            Some(peer) if peer.address != self.advertised() => bail!(
                "nodes: node {} is at {} there, but it advertises {}",
                self.node,
                peer.address,
                self.advertised()
            ),
            _ => {}
        }
        if self.advertised().ip().is_some_and(|ip| ip.is_unspecified()) {
            bail!(
                "advertise: others can't reach {}; name the address that they use",
                self.advertised()
            );
        }
        Ok(())
    }
}

impl NodeFile {
    /// The folder that paths are taken from.
    pub fn base(&self) -> &Path {
        &self.base
    }

    /// How its log is kept.
    pub fn journal(&self) -> journal::Config {
        let mut config = journal::Config::new(self.base.join(&self.node.log));
        config.durability = match self.node.durability {
            Durability::Fsync => journal::Durability::Fsync,
            Durability::Memory => journal::Durability::Memory,
        };
        config.segment_bytes = u64::from(self.node.segment_mib) << 20;
        config.retain_log = if self.node.keep_log {
            journal::RetainLog::All
        } else {
            journal::RetainLog::SinceOldestSnapshot
        };
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
node = 1
cluster = "000102030405060708090a0b0c0d0e0f"
listen = "127.0.0.1:7001"

[tls]
ca = "../tls/ca.crt"
cert = "../tls/node-1.crt"
key = "../tls/node-1.key"

[[nodes]]
id = 1
address = "127.0.0.1:7001"
"#;

    fn read(text: &str) -> Result<Node> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        std::fs::write(&path, text).unwrap();
        Node::read(&path).map(|file| file.node)
    }

    fn refused(text: &str) -> String {
        format!("{:#}", read(text).unwrap_err())
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.toml");
        let node = read(GOOD).unwrap();
        assert!(node.write(&path).unwrap());
        assert_eq!(Node::read(&path).unwrap().node, node);
        assert!(!node.write(&path).unwrap(), "nothing changed");
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let said = refused(&GOOD.replace("listen =", "lisen = 1\nlisten ="));
        assert!(said.contains("node.toml"), "{said}");
        assert!(said.contains("line 4"), "{said}");
        assert!(said.contains("lisen"), "{said}");
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_line() {
        let said = refused(&GOOD.replace("127.0.0.1:7001\"\n\n[tls]", "nowhere\"\n\n[tls]"));
        assert!(said.contains("line 4"), "{said}");
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let said = refused(&GOOD.replace("id = 1", "id = 2"));
        assert!(said.contains("itself is not among them"), "{said}");
        let said = refused(&GOOD.replace(
            "address = \"127.0.0.1:7001\"",
            "address = \"127.0.0.1:7002\"",
        ));
        assert!(said.contains("advertises"), "{said}");
        let twice = format!("{GOOD}[[nodes]]\nid = 1\naddress = \"127.0.0.1:7003\"\n");
        assert!(refused(&twice).contains("twice"));
        assert!(refused(&GOOD.replace("0001", "zz")).contains("hexadecimal"));
        let anywhere = GOOD.replace("127.0.0.1:7001", "0.0.0.0:7001");
        assert!(refused(&anywhere).contains("advertise"));
    }
}
