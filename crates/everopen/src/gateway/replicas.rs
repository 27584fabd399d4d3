//! The replicas that a gateway asks: those of its file, and those that it has heard of since.

use std::time::Duration;

use everopen_client::{Client, Node};

use crate::config::gateway::GatewayFile;
use crate::config::{Peer, known};

/// Between two looks whether there are others.
const LOOK: Duration = Duration::from_millis(250);

/// Those to begin with.
pub fn to_ask(file: &GatewayFile) -> Vec<Node> {
    let mut nodes = file.gateway.nodes.clone();
    for peer in known::read(file.base(), file.gateway.cluster) {
        if !nodes.iter().any(|node| node.id == peer.id) {
            nodes.push(peer);
        }
    }
    let node = |peer: Peer| Node {
        id: peer.id,
        address: peer.address.to_string(),
    };
    nodes.into_iter().map(node).collect()
}

/// Keeps those that the client has heard of for the next start.
pub fn remember(runtime: &tokio::runtime::Runtime, client: &Client, file: &GatewayFile) {
    let (client, begun) = (client.clone(), to_ask(file));
    let (folder, cluster) = (file.base().to_path_buf(), file.gateway.cluster);
    runtime.spawn(async move {
        let mut kept = begun;
        let mut clock = tokio::time::interval(LOOK);
        loop {
            clock.tick().await;
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
