//! `replicas.toml` in a gateway's folder: replicas that it has heard of beside those of its own file, so
//! that it finds the cluster again after all of these were replaced.

use std::path::Path;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::{ClusterId, Peer};

const FILE: &str = "replicas.toml";
const HEAD: &str = "\
# Replicas that a gateway of this folder has heard of. It writes this file, and asks them when it starts.
";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    cluster: ClusterId,
    nodes: Vec<Peer>,
}

/// Those of that cluster. None where there is no such file, or one that can't be read: it is a help, and
/// no more.
pub fn read(folder: &Path, cluster: ClusterId) -> Vec<Peer> {
    let path = folder.join(FILE);
    if !path.exists() {
        return Vec::new();
    }
    match super::read::<Known>(&path) {
        Ok(known) if known.cluster == cluster => known.nodes,
        Ok(_) => Vec::new(),
        Err(error) => {
            tracing::warn!("{error:#}");
            Vec::new()
        }
    }
}

/// Writes them.
///
/// # Errors
/// When the file can't be written.
pub fn write(folder: &Path, cluster: ClusterId, nodes: Vec<Peer>) -> Result<()> {
    super::write(&folder.join(FILE), HEAD, &Known { cluster, nodes }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_of_is_read_again_and_only_in_its_cluster() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let (own, other) = (ClusterId([1; 16]), ClusterId([2; 16]));
        assert!(read(folder, own).is_empty());
        let nodes = vec![Peer {
            id: 4,
            address: "host:7000".parse().expect("an address"),
        }];
        write(folder, own, nodes.clone()).expect("written");
        assert_eq!(read(folder, own), nodes);
        assert!(read(folder, other).is_empty());
        std::fs::write(folder.join(FILE), "nodes = [").expect("written");
        assert!(read(folder, own).is_empty());
    }
}
