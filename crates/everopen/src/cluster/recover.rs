//! `everopen cluster recover`: a market goes on when a majority of its replicas is lost for good.
//!
//! It reads what the survivors have, says what may be missing, and only with `--yes` makes the one
//! with the longest log the first replica of a new cluster. Its markets come back in cancel-only;
//! `everopen cluster reopen auction` and then `online` bring them on.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use everopen_domain::Timestamp;
use everopen_replica::rescue::{self, Refounded, Survivor};
use serde_json::Value;

use crate::admin::{self, Action};
use crate::config::cluster::Cluster;
use crate::config::node::{Node, NodeFile};
use crate::config::recovery::Plan;
use crate::config::{ClusterId, Peer};
use crate::gateway::follower::ViewsOnly;
use crate::up::layout::Layout;

/// A replica whose disk is here.
struct Candidate {
    node: NodeFile,
    /// Its longest log: that of its last life, or of one before.
    log: PathBuf,
    found: Result<Survivor>,
}

impl Candidate {
    fn read(file: &Path) -> Result<Self> {
        let node = Node::read(file)?;
        let journal = node.journal();
        let inspect = |log: &Path| {
            let config = everopen_replica::journal::Config {
                dir: log.to_path_buf(),
                ..journal.clone()
            };
            let cluster = node.node.cluster.0;
            rescue::inspect(&config, cluster, everopen_venue::Venue::LOGIC_MAX)
                .map_err(anyhow::Error::from)
        };
        let mut log = journal.dir.clone();
        let mut found = match log.is_dir() {
            true => inspect(&log),
            false => Err(anyhow!("no log in {}", log.display())),
        };
        for kept in rescue::lost_logs(&journal) {
            let Ok(older) = inspect(&kept) else { continue };
            if found.as_ref().is_ok_and(|f| f.rank() >= older.rank()) {
                continue;
            }
            let has_lost_memory = true;
            found = Ok(Survivor {
                has_lost_memory,
                ..older
            });
            log = kept;
        }
        Ok(Self { node, log, found })
    }

    fn id(&self) -> u64 {
        self.node.node.node
    }

    /// Whether it still has all that it had acknowledged.
    fn is_whole(&self) -> bool {
        self.found.as_ref().is_ok_and(|f| !f.has_lost_memory)
    }
}

/// Performs the command, on a data directory or on one replica's file.
///
/// # Errors
/// When the venue runs, no log can be read, or the chosen one can't be written.
pub fn run(dir: &Path, config: Option<&Path>, wanted: Option<u64>, yes: bool) -> Result<()> {
    let (files, _lock) = match config {
        Some(file) => (vec![file.to_path_buf()], None),
        None => {
            let cluster = Cluster::read(dir)?;
            let layout = Layout::open(dir)?;
            let lock = layout.lock().context("stop it first")?;
            let files = cluster.nodes.iter().map(|node| layout.node_file(node));
            (files.collect(), Some(lock))
        }
    };
    let place = match config {
        Some(file) => file.with_extension("recover.toml"),
        None => Plan::path(dir),
    };
    let plan = match Plan::read(&place)? {
        Some(plan) => {
            say!(
                "A recovery with replica {} was cut off; its new cluster is {}.",
                plan.node,
                plan.cluster
            );
            if wanted.is_some_and(|wanted| wanted != plan.node) {
                bail!("it can only be gone on with replica {}", plan.node);
            }
            if !yes {
                say!("Nothing has changed. To end it, add --yes.");
                return Ok(());
            }
            plan
        }
        None => match decide(&files, config.is_some(), wanted, yes)? {
            Some(plan) => plan,
            None => return Ok(()),
        },
    };
    // From here on each step can be repeated, and is, when this is cut off and run again.
    plan.write(&place)?;
    let file = files
        .iter()
        .find(|file| Node::read(file).is_ok_and(|read| read.node.node == plan.node))
        .with_context(|| format!("no replica {} here", plan.node))?;
    let made = refound(file, &plan)?;
    if config.is_none() {
        begin_again(dir, &plan)?;
    }
    Plan::remove(&place)?;
    say!();
    say!(
        "cluster     {}, begins with replica {}",
        plan.cluster,
        plan.node
    );
    if let Some(made) = made {
        say!(
            "log         goes on after entry {}, {} of which were not known to be agreed on",
            made.last_index,
            made.uncertain
        );
        say!("markets     {} in cancel-only", made.markets);
    }
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

/// Shows what there is, and with `yes` says what to do.
fn decide(
    files: &[PathBuf],
    is_single: bool,
    wanted: Option<u64>,
    yes: bool,
) -> Result<Option<Plan>> {
    let read: Result<Vec<Candidate>> = files.iter().map(|file| Candidate::read(file)).collect();
    let candidates = read?;
    show(&candidates);
    let chosen = choose(&candidates, wanted)?;
    tell_what_is_missing(&candidates, chosen);
    if !yes {
        say!();
        say!(
            "Nothing has changed. To go on with replica {}, add --yes; the old cluster can't be brought back then.",
            chosen.id()
        );
        if is_single {
            say!(
                "Run this on every host whose disk is left first, and go on with the longest log."
            );
        }
        return Ok(None);
    }
    Ok(Some(Plan {
        node: chosen.id(),
        old: chosen.node.node.cluster,
        cluster: ClusterId::draw()?,
        log: chosen.log.clone(),
    }))
}

/// Makes the chosen replica the first of the new cluster, unless it is already; then nothing is
/// known of how it went.
fn refound(file: &Path, plan: &Plan) -> Result<Option<Refounded>> {
    let read = Node::read(file)?;
    let journal = read.journal();
    let logic_max = everopen_venue::Venue::LOGIC_MAX;
    if plan.log != journal.dir && plan.log.is_dir() {
        // It goes on with the log of an earlier life.
        if journal.dir.is_dir() {
            move_aside(&journal.dir, plan.old)?;
        }
        fs::rename(&plan.log, &journal.dir)
            .with_context(|| format!("move {} back", plan.log.display()))?;
    }
    let address = read.node.advertised().to_string();
    let is_done = rescue::inspect(&journal, plan.cluster.0, logic_max).is_ok();
    let made = match is_done {
        true => None,
        false => Some(
            rescue::refound(
                &journal,
                plan.node,
                &address,
                plan.old.0,
                plan.cluster.0,
                &mut ViewsOnly::new(),
                logic_max,
            )
            .with_context(|| format!("make replica {} the first of a new cluster", plan.node))?,
        ),
    };
    let node = Node {
        cluster: plan.cluster,
        join: false,
        nodes: vec![Peer {
            id: plan.node,
            address: read.node.advertised(),
        }],
        ..read.node
    };
    node.write(file)?;
    Ok(made)
}

/// Keeps a log that the new cluster does not begin with.
fn move_aside(log: &Path, old: ClusterId) -> Result<()> {
    let aside = log.with_file_name(format!("log-of-{}", &old.to_string()[..8]));
    fs::rename(log, aside).with_context(|| format!("move {} aside", log.display()))
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
                let mut torn = match found.torn_bytes {
                    0 => String::new(),
                    bytes => format!(" (a torn write of {bytes} bytes was cut)"),
                };
                if found.has_lost_memory {
                    torn.push_str(" (its machine stopped, what was only in its memory is lost)");
                }
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
        .filter(|candidate| candidate.is_whole() && found.voters.contains(&candidate.id()))
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

/// Lets the other replicas of a data directory join with empty logs. What they had is kept aside.
fn begin_again(dir: &Path, plan: &Plan) -> Result<()> {
    Cluster::update(dir, |cluster| {
        for node in &mut cluster.nodes {
            node.join = node.id != plan.node;
            if node.id == plan.node {
                continue;
            }
            node.started = false;
            let log = dir.join(&node.dir).join("log");
            if log.exists() {
                move_aside(&log, plan.old)?;
            }
        }
        cluster.cluster = plan.cluster;
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
