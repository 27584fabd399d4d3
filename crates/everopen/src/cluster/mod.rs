//! `everopen cluster`: what operators ask and change.

pub mod access;
mod doctor;
pub mod grow;
mod recover;
pub mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use crate::config::{Address, Peer};
use access::Access;

/// How long a change may take: a leader may have to be elected first.
const CHANGE: Duration = Duration::from_secs(20);
/// How long a planned change of the leader may take.
const HANDOVER: Duration = Duration::from_secs(5);
/// How long the measurements of the doctor may take.
const MEASURE: Duration = Duration::from_secs(30);

#[derive(Debug, Args)]
pub struct Cluster {
    #[command(flatten)]
    at: Where,
    #[command(subcommand)]
    what: What,
}

/// Which cluster.
#[derive(Debug, Args)]
pub struct Where {
    /// A data directory of `everopen up`
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        default_value = "everopen-data",
        env = "EVEROPEN_DIR"
    )]
    dir: PathBuf,
    /// The file of one of its replicas, whose certificate is used
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Where {
    /// The way to its replicas.
    ///
    /// # Errors
    /// When its files can't be read.
    pub fn access(&self) -> Result<Access> {
        match &self.config {
            Some(file) => Access::of_file(file),
            None => Access::of_dir(&self.dir),
        }
    }
}

#[derive(Debug, Subcommand)]
enum What {
    /// Show role, term, indexes, lag, state hash and versions of every replica
    Status {
        /// Print the replicas' answers as JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a replica: it follows the log, and votes once it has caught up
    Add {
        /// Its number, if it runs elsewhere; in a data directory a new replica is made and started
        #[arg(long, value_name = "ID", requires = "address")]
        node: Option<u64>,
        /// Where it listens
        #[arg(long, value_name = "ADDRESS", requires = "node")]
        address: Option<Address>,
        /// Leave it a learner: it follows without a vote until it is promoted
        #[arg(long)]
        learner: bool,
    },
    /// Give a learner a vote
    Promote {
        /// Its number
        node: u64,
    },
    /// Take a replica out of the cluster, for good: its number is never used again
    Remove {
        /// Its number
        node: u64,
    },
    /// Let another replica lead, with hardly a pause
    TransferLeader {
        /// Its number
        node: u64,
    },
    /// Switch on the next version of the venue's rules, at one entry of the log, if every replica
    /// knows it (try it with `everopen shadow --activate` first)
    Activate {
        /// The version, one above the one in force
        #[arg(value_name = "VERSION")]
        rules: u16,
    },
    /// When a majority is lost for good: show what the survivors have, and with --yes begin a new
    /// cluster with the longest log, its markets in cancel-only. The venue must be stopped
    Recover {
        /// Do it; without this nothing is changed
        #[arg(long)]
        yes: bool,
        /// The replica to go on with, if not the one with the longest log
        #[arg(long, value_name = "ID")]
        node: Option<u64>,
    },
    /// Bring the markets that are in cancel-only (or in auction) to the next phase: first auction,
    /// then online
    Reopen {
        /// auction or online
        phase: String,
    },
    /// Measure round trips, disks, clocks and processors, and say what to change
    Doctor {
        /// The latency that is wanted at the 99th percentile, in milliseconds
        #[arg(long, value_name = "MS", default_value_t = 1.0)]
        goal_ms: f64,
        /// Print the measurements and findings as JSON
        #[arg(long)]
        json: bool,
    },
}

/// Performs the command.
///
/// # Errors
/// What the cluster refused, or that it can't be reached.
pub fn run(cluster: &Cluster) -> Result<()> {
    let at = &cluster.at;
    match &cluster.what {
        What::Recover { yes, node } => {
            return recover::run(&at.dir, at.config.as_deref(), *node, *yes);
        }
        What::Reopen { phase } => return recover::reopen(&at.dir, phase),
        _ => {}
    }
    let mut access = at.access()?;
    let is_local = at.config.is_none();
    match &cluster.what {
        What::Status { json } => status(&mut access, *json),
        What::Add {
            node: Some(id),
            address: Some(address),
            learner,
        } => {
            let node = Peer {
                id: *id,
                address: address.clone(),
            };
            add(&mut access, node, *learner)
        }
        What::Add { learner, .. } => {
            if !is_local {
                bail!("name the replica that runs elsewhere with --node and --address");
            }
            let node = grow::prepare(&at.dir, *learner)?;
            say!("replica {} is made, at {}", node.id, node.address);
            say!("(a running `everopen up` starts it; a stopped one will)");
            let mut access = Access::of_dir(&at.dir)?;
            add(&mut access, node, *learner)
        }
        What::Promote { node } => {
            let question = json!({ "ask": "promote", "node": node });
            access.ask_leader(&question, CHANGE)?;
            if is_local {
                grow::note_promoted(&at.dir, *node)?;
            }
            say!("replica {node} votes");
            Ok(())
        }
        What::Remove { node } => {
            access.step_down(*node, HANDOVER)?;
            let question = json!({ "ask": "remove", "node": node });
            access.ask_leader(&question, CHANGE)?;
            if is_local {
                grow::note_removed(&at.dir, *node)?;
            }
            say!("replica {node} is no longer in the cluster; its folder stays as it is");
            Ok(())
        }
        What::TransferLeader { node } => {
            let question = json!({ "ask": "transfer", "to": node });
            access.ask_leader(&question, CHANGE)?;
            access.wait_for_leader(*node, HANDOVER)?;
            say!("replica {node} leads");
            Ok(())
        }
        What::Activate { rules } => {
            let question = json!({ "ask": "activate", "version": rules });
            let answer = access.ask_leader(&question, CHANGE)?;
            say!(
                "rules {rules} are in force from entry {} on",
                answer["index"]
            );
            Ok(())
        }
        What::Recover { .. } | What::Reopen { .. } => {
            unreachable!("invariant: these ask no running replica")
        }
        What::Doctor { goal_ms, json } => doctor::run(&mut access, *goal_ms, *json, MEASURE),
    }
}

fn add(access: &mut Access, node: Peer, learner: bool) -> Result<()> {
    access.know(node.clone());
    grow::add(access, &node, CHANGE)?;
    say!("replica {} follows the log", node.id);
    if !learner {
        grow::promote_when_ready(access, &node, &|| false)?;
        say!("replica {} has caught up and votes", node.id);
    }
    Ok(())
}

fn status(access: &mut Access, json: bool) -> Result<()> {
    let statuses = access.statuses();
    if json {
        let answers: Vec<_> = statuses
            .iter()
            .map(|answered| match &answered.answer {
                Ok(status) => status.clone(),
                Err(error) => json!({ "node": answered.node.id, "error": error }),
            })
            .collect();
        say!("{}", serde_json::to_string_pretty(&answers)?);
    } else {
        table::print(&statuses);
    }
    if statuses.iter().all(|answered| answered.answer.is_err()) {
        bail!("no replica answers");
    }
    Ok(())
}
