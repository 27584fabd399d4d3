//! `everopen log`: reads the logs of stopped replicas.

use anyhow::{Context, Result, bail};
use everopen_domain::Timestamp;
use everopen_replica::core::Core;
use everopen_replica::journal::Journal;
use everopen_replica::{Origin, Report, recover};
use everopen_wire::{StateHash, state_hash};

use crate::cli;
use crate::config::cluster::Cluster;
use crate::config::node::{Node, NodeFile};
use crate::progress::Bar;

/// Performs the command.
///
/// # Errors
/// Where a log is damaged, or in use.
pub fn run(command: &cli::Log) -> Result<()> {
    let cli::Log::Verify { data, node } = command;
    let cluster = Cluster::read(&data.dir)
        .with_context(|| format!("no replicas in {}", data.dir.display()))?;
    let wanted = |id: u64| node.is_none_or(|node| node == id);
    let mut seen = 0;
    for replica in cluster.nodes.iter().filter(|replica| wanted(replica.id)) {
        let file = Node::read(&data.dir.join(&replica.dir).join("node.toml"))?;
        let dir = file.journal().dir;
        if !dir.is_dir() {
            say!("replica {}   no log yet", replica.id);
            continue;
        }
        seen += 1;
        let (report, hash) = verify(&file).with_context(|| {
            format!(
                "read the log of replica {} in {}",
                replica.id,
                dir.display()
            )
        })?;
        say!("replica     {}", replica.id);
        say!(
            "entries     {} (snapshot {})",
            report.last_index,
            report.snapshot_index
        );
        say!(
            "replayed    {} entries, {} commands",
            report.entries_replayed,
            report.commands_replayed
        );
        say!("state hash  {hash}");
    }
    if seen == 0 {
        bail!("no log to read in {}", data.dir.display());
    }
    Ok(())
}

/// Reads a whole log and applies what is known to be committed.
fn verify(file: &NodeFile) -> Result<(Report, StateHash)> {
    let config = crate::node::replica(file)?;
    let (mut journal, found) = Journal::open(config.journal)?;
    let origin = Origin {
        node: config.node,
        cluster: config.cluster,
        voters: config.voters,
    };
    let (recovered, mut report) = recover(
        &mut journal,
        &found,
        &origin,
        &mut (),
        config.core.logic_max,
    )?;
    let commit = recovered.commit_index();
    let mut bar = Bar::new("reading the log", "entries");
    let mut core = Core::new(config.core, recovered)?;
    let from = core.state().index;
    while core.state().index < commit {
        for step in core.turn(Timestamp::ZERO)?.steps {
            if let everopen_replica::core::Step::Entry(entry, _) = step {
                report.entries_replayed += 1;
                report.commands_replayed += entry.commands;
            }
        }
        bar.update(core.state().index - from, commit - from);
    }
    bar.finish();
    Ok((report, state_hash(&core.state().venue.snapshot())))
}
