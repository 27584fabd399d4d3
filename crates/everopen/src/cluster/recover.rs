//! `everopen cluster recover`: a market goes on when a majority of its replicas is lost for good.
//!
//! It reads what the survivors have, says what may be missing, and only with `--yes` makes the one
//! with the longest log the first replica of a new cluster. Its markets come back in cancel-only;
//! `everopen cluster reopen auction` and then `online` bring them on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use everopen_domain::Timestamp;
use everopen_replica::rescue::{self, Survivor};
use serde_json::Value;

use crate::admin::{self, Action};
use crate::config::cluster::Cluster;
use crate::config::node::{Node, NodeFile};
use crate::config::{ClusterId, Peer};
use crate::gateway::follower::ViewsOnly;
use crate::up::layout::Layout;

/// A replica whose disk is here.
struct Candidate {
    file: PathBuf,
    node: NodeFile,
    found: Result<Survivor>,
}

impl Candidate {
    fn read(file: PathBuf) -> Result<Self> {
        let node = Node::read(&file)?;
        let journal = node.journal();
        let found = if journal.dir.is_dir() {
            rescue::inspect(
                &journal,
                node.node.cluster.0,
                everopen_venue::Venue::LOGIC_MAX,
            )
            .map_err(anyhow::Error::from)
        } else {
            Err(anyhow!("no log in {}", journal.dir.display()))
        };
        Ok(Self { file, node, found })
    }

    fn id(&self) -> u64 {
        self.node.node.node
    }
}

/// Performs the command, on a data directory or on one replica's file.
///
/// # Errors
/// When the venue runs, no log can be read, or the chosen one can't be written.
pub fn run(dir: &Path, config: Option<&Path>, wanted: Option<u64>, yes: bool) -> Result<()> {
    let (candidates, _lock) = match config {
        Some(file) => (vec![Candidate::read(file.to_path_buf())?], None),
        None => {
            let cluster = Cluster::read(dir)?;
            let layout = Layout::open(dir)?;
            let lock = layout.lock().context("stop it first")?;
            let files = cluster.nodes.iter().map(|node| layout.node_file(node));
            let read: Result<Vec<Candidate>> = files.map(Candidate::read).collect();
            (read?, Some(lock))
        }
    };
    show(&candidates);
    let chosen = choose(&candidates, wanted)?;
    tell_what_is_missing(&candidates, chosen);
    if !yes {
        say!();
        say!(
            "Nothing has changed. To go on with replica {}, add --yes; the old cluster can't be brought back then.",
            chosen.id()
        );
        if config.is_some() {
            say!(
                "Run this on every host whose disk is left first, and go on with the longest log."
            );
        }
        return Ok(());
    }
    let new = ClusterId::draw()?;
    let address = chosen.node.node.advertised();
    // If this is cut off after the log and before the files are written, the id is needed.
    say!();
    say!("new cluster id {new}");
    let made = rescue::refound(
        &chosen.node.journal(),
        chosen.id(),
        &address.to_string(),
        chosen.node.node.cluster.0,
        new.0,
        &mut ViewsOnly::new(),
        everopen_venue::Venue::LOGIC_MAX,
    )
    .with_context(|| format!("make replica {} the first of a new cluster", chosen.id()))?;
    let first = Peer {
        id: chosen.id(),
        address,
    };
    rewrite(&chosen.file, &chosen.node.node, new, first)?;
    if config.is_none() {
        begin_again(dir, new, first)?;
    }
    say!();
    say!("cluster     {new}, begins with replica {}", first.id);
    say!(
        "log         goes on after entry {}, {} of which were not known to be agreed on",
        made.last_index,
        made.uncertain
    );
    say!("markets     {} in cancel-only", made.markets);
    say!();
    if config.is_some() {
        say!(
            "Write the new cluster id into gateway.toml, start this replica and the gateway, and add new replicas (with the new id, `join = true` and an empty log)."
        );
    } else {
        say!("Now `everopen up`: the other replicas join with empty logs.");
    }
    say!(
        "Then `everopen cluster reopen auction`, and when prices are right `everopen cluster reopen online`."
    );
    Ok(())
}

fn show(candidates: &[Candidate]) {
    say!(
        "{:>4}  {:>10}  {:>12}  {:>12}  {:<24}  voters as it knew them",
        "node",
        "last term",
        "last entry",
        "committed",
        "time of the last entry"
    );
    for candidate in candidates {
        match &candidate.found {
            Ok(found) => {
                let voters: Vec<String> = found.voters.iter().map(u64::to_string).collect();
                let torn = match found.torn_bytes {
                    0 => String::new(),
                    bytes => format!(" (a torn write of {bytes} bytes was cut)"),
                };
                say!(
                    "{:>4}  {:>10}  {:>12}  {:>12}  {:<24}  {}{torn}",
                    candidate.id(),
                    found.last_term,
                    found.last_index,
                    found.commit_index,
                    at(found.last_time),
                    voters.join(" ")
                );
            }
            Err(error) => say!("{:>4}  lost: {error:#}", candidate.id()),
        }
    }
}

/// The one with the longest log in the sense of Raft, or the one that was named.
fn choose(candidates: &[Candidate], wanted: Option<u64>) -> Result<&Candidate> {
    if let Some(id) = wanted {
        let named = candidates.iter().find(|candidate| candidate.id() == id);
        let named = named.with_context(|| format!("no replica {id} here"))?;
        if let Err(error) = &named.found {
            bail!("replica {id} can't be gone on with: {error:#}");
        }
        return Ok(named);
    }
    candidates
        .iter()
        .filter_map(|candidate| Some((candidate.found.as_ref().ok()?.rank(), candidate)))
        .max_by_key(|(rank, _)| *rank)
        .map(|(_, candidate)| candidate)
        .context("no replica has a log that can be read")
}

fn tell_what_is_missing(candidates: &[Candidate], chosen: &Candidate) {
    let Ok(found) = &chosen.found else { return };
    let survivors = candidates
        .iter()
        .filter(|candidate| candidate.found.is_ok() && found.voters.contains(&candidate.id()))
        .count();
    say!();
    say!(
        "The longest log is replica {}'s: entry {} of term {}.",
        chosen.id(),
        found.last_index,
        found.last_term
    );
    let uncertain = found.last_index.saturating_sub(found.commit_index);
    if uncertain > 0 {
        say!(
            "It does not know of the last {uncertain} entries whether they were agreed on; they will count, whether they were acknowledged or not."
        );
    }
    let voters = found.voters.len();
    let lost = voters.saturating_sub(survivors);
    if lost < voters / 2 + 1 {
        say!(
            "Only {lost} of {voters} voters are lost: a majority is left, which has all that was acknowledged. Start it instead of doing this."
        );
    } else if rescue::may_miss(voters, survivors) {
        say!(
            "{lost} of {voters} voters are lost, a majority: what only they had acknowledged, after {}, is missing and can't be brought back.",
            at(found.last_time)
        );
    }
}

/// Writes the chosen replica's file for the new cluster.
fn rewrite(path: &Path, old: &Node, new: ClusterId, first: Peer) -> Result<()> {
    let node = Node {
        cluster: new,
        join: false,
        nodes: vec![first],
        ..old.clone()
    };
    node.write(path).map(drop)
}

/// Lets the other replicas of a data directory join with empty logs. What they had is kept aside.
fn begin_again(dir: &Path, new: ClusterId, first: Peer) -> Result<()> {
    Cluster::update(dir, |cluster| {
        let old = cluster.cluster.to_string();
        for node in &mut cluster.nodes {
            node.join = node.id != first.id;
            if node.id == first.id {
                continue;
            }
            node.started = false;
            let log = dir.join(&node.dir).join("log");
            let aside = dir.join(&node.dir).join(format!("log-of-{}", &old[..8]));
            if log.exists() {
                fs::rename(&log, &aside)
                    .with_context(|| format!("move {} aside", log.display()))?;
            }
        }
        cluster.cluster = new;
        Ok(())
    })
}

/// Brings markets to the next phase through the gateway of the running venue.
///
/// # Errors
/// When the venue does not run or refuses.
pub fn reopen(dir: &Path, phase: &str) -> Result<()> {
    let from = match phase {
        "auction" => "CancelOnly",
        "online" => "Auction",
        _ => bail!("phase {phase:?} is neither auction nor online"),
    };
    let status = admin::perform(dir, &Action::Status)?;
    let products = status["products"].as_array().into_iter().flatten();
    let waiting: Vec<&str> = products
        .filter(|product| product["phase"] == from)
        .filter_map(|product| product["id"].as_str())
        .collect();
    if waiting.is_empty() {
        bail!("no market is in the phase before {phase}");
    }
    for product in waiting {
        let action = Action::Phase {
            product: product.to_string(),
            phase: phase.to_string(),
        };
        let done = admin::perform(dir, &action)?;
        let trades = done.get("trades").and_then(Value::as_u64).unwrap_or(0);
        say!("{product:<12} {phase}, {trades} trades");
    }
    Ok(())
}

/// A time for people.
fn at(time: Timestamp) -> String {
    everopen_views::clock_text::Iso(time).to_string()
}
