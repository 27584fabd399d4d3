//! The replicas that a gateway asks: those of its file, those of its data directory, and those that it has
//! heard of since.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use everopen_client::{Client, Node};

use crate::config::cluster::Cluster;
use crate::config::gateway::GatewayFile;
use crate::config::{Peer, known};

/// Between two looks whether there are others.
const LOOK: Duration = Duration::from_millis(100);

fn node(peer: Peer) -> Node {
    Node {
        id: peer.id,
        address: peer.address.to_string(),
    }
}

/// Those to begin with.
pub fn to_ask(file: &GatewayFile) -> Vec<Node> {
    let mut nodes = file.gateway.nodes.clone();
    for peer in known::read(file.base(), file.gateway.cluster) {
        if !nodes.iter().any(|node| node.id == peer.id) {
            nodes.push(peer);
        }
    }
    nodes.into_iter().map(node).collect()
}

/// Looks for others while the gateway runs, and keeps those that it knows for the next start.
pub fn follow(runtime: &tokio::runtime::Runtime, client: &Client, file: &GatewayFile) {
    let (client, mut kept) = (client.clone(), to_ask(file));
    let (folder, cluster) = (file.base().to_path_buf(), file.gateway.cluster);
    let mut directory = file.cluster_dir().map(Directory::new);
    runtime.spawn(async move {
        let mut clock = tokio::time::interval(LOOK);
        loop {
            clock.tick().await;
            if let Some(directory) = &mut directory {
                directory.tell(&client);
            }
            let now = client.nodes();
            if now == kept {
                continue;
            }
            let peer = |node: &Node| {
                let address = node.address.parse().ok()?;
                Some(Peer {
                    id: node.id,
                    address,
                })
            };
            let peers = now.iter().filter_map(peer).collect();
            match known::write(&folder, cluster, peers) {
                Ok(()) => kept = now,
                // Another gateway of this folder may be writing, too.
                Err(error) => tracing::debug!("{error:#}"),
            }
        }
    });
}

/// A data directory whose replicas may be replaced faster than any of them is asked who leads.
struct Directory {
    dir: PathBuf,
    seen: Option<SystemTime>,
}

impl Directory {
    fn new(dir: PathBuf) -> Self {
        Self { dir, seen: None }
    }

    fn tell(&mut self, client: &Client) {
        let file = std::fs::metadata(Cluster::path(&self.dir));
        let now = file.and_then(|file| file.modified()).ok();
        if now == self.seen {
            return;
        }
        // Read whole or not at all, and looked at again when it changes.
        if let Ok(cluster) = Cluster::read(&self.dir) {
            self.seen = now;
            let peers = cluster.peers().into_iter();
            peers.for_each(|peer| client.know(&node(peer)));
        }
    }
}
