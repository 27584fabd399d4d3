//! Carrying out a plan: each step is in the journal before it is begun. Whatever happens, and whenever
//! the controller is killed, the end is the new version or the old one.

use std::io;
use std::path::Path;
use std::time::Duration;

use everopen_edge::admin::Client;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cluster::Cluster;
use crate::controller::Controller;
use crate::file::{Decision, File};
use crate::health;
use crate::journal::{self, Entry, Line, Outcome};
use crate::moments::decision_file;
use crate::plan::{Inventory, Plan, Step};
use crate::process;
use crate::state::{Folder, now_ms, write};

/// Why a rollout could not be begun, or could not be brought to either end.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The folder, the journal or the edge failed.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is not to be done.
    #[error("{0}")]
    Refused(String),
    /// Parts of a plan could be brought to no common end yet.
    #[error("{0}")]
    Stuck(String),
}

/// A failure of the system, with what was tried.
///
/// # Errors
/// If there was one.
pub fn io_fault<T>(what: impl Into<String>, done: io::Result<T>) -> Result<T, Fault> {
    done.map_err(|source| Fault::Io {
        what: what.into(),
        source,
    })
}

/// How a rollout ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// New or old.
    pub outcome: Outcome,
    /// Why it came back, if it did.
    pub reason: Option<String>,
    /// What clients noticed, where it was measured.
    pub noticed: String,
}

/// Who does it, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct By {
    /// The system's user.
    pub who: String,
    /// In their words.
    pub why: String,
}

/// Why a version in a cluster can't be rolled out.
pub(crate) const NO_CLUSTER: &str = "this program knows no clusters";

/// Where rollouts are carried out, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Site<'a> {
    /// The folder of all services' rollouts.
    pub root: &'a Path,
    /// Who does it, and why.
    pub by: &'a By,
    /// What runs versions that are not processes of this machine.
    pub cluster: Option<&'a dyn Cluster>,
}

/// What is in service, as the edge and the service's state say.
///
/// # Errors
/// The edge can't be asked, or its service has not two groups.
pub fn inventory(root: &Path, file: &File) -> Result<Inventory, Fault> {
    let status = io_fault("ask the edge", Client::new(&file.edge).status())?;
    let state = io_fault(
        "read the service's state",
        Folder::peek(root, &file.service),
    )?;
    let groups = &status
        .services
        .get(&file.service)
        .ok_or_else(|| Fault::Refused(format!("the edge has no service {:?}", file.service)))?
        .groups;
    if groups.len() != 2 {
        let names: Vec<&String> = groups.keys().collect();
        return Err(Fault::Refused(format!(
            "service {:?} needs two groups at the edge, blue and green, and has {names:?}",
            file.service
        )));
    }
    let version = |group: &String| {
        state
            .groups
            .get(group)
            .map(|running| running.version.clone())
    };
    let serving: Vec<&String> = groups
        .iter()
        .filter(|(_, group)| group.weight > 0 && !group.targets.is_empty())
        .map(|(name, _)| name)
        .collect();
    if serving.len() > 1 {
        return Err(Fault::Refused(
            "both groups have a weight: a rollout was cut off, or somebody changed the weights"
                .into(),
        ));
    }
    let serving = serving.first().copied();
    let other = groups
        .keys()
        .find(|name| Some(*name) != serving)
        .expect("invariant: there are two");
    let is_kept = state.groups.contains_key(other) || !groups[other].targets.is_empty();
    Ok(Inventory {
        serving: serving.map(|name| (name.clone(), version(name))),
        other: (
            other.clone(),
            is_kept.then(|| version(other).unwrap_or_else(|| "unknown".into())),
        ),
    })
}

/// Carries a plan out.
///
/// # Errors
/// It could not be begun, or could be brought to neither end; then [`resume`] tries again.
pub async fn apply(
    site: &Site<'_>,
    plan: Plan,
    tell: &mut dyn FnMut(&Line),
) -> Result<Ended, Fault> {
    let root = site.root;
    let folder = io_fault(
        "open the service's folder",
        Folder::open(root, &plan.file.service),
    )?;
    let mut state = io_fault("read the service's state", folder.state())?;
    if let Some(under_way) = &state.under_way {
        return Err(Fault::Refused(format!(
            "rollout {under_way} was cut off: `everopen rollout resume` goes on with it, `everopen rollout rollback` takes it back"
        )));
    }
    is_reached(site, &plan).await?;
    let path = folder.rollout(&plan.id);
    io_fault("make the rollout's folder", std::fs::create_dir_all(&path))?;
    let text = io_fault(
        "write the plan",
        serde_json::to_vec_pretty(&plan).map_err(Into::into),
    )?;
    io_fault("write the plan", write(&path.join("plan.json"), &text))?;
    state.under_way = Some(plan.id.clone());
    io_fault("write the service's state", folder.set_state(&state))?;
    Controller::open(folder, path, plan, site, tell)?
        .go_on(false)
        .await
}

/// What can't be reached could not be taken back either: then nothing is begun.
async fn is_reached(site: &Site<'_>, plan: &Plan) -> Result<(), Fault> {
    let Some(set) = plan.file.set(&plan.to, &plan.id) else {
        return Ok(());
    };
    let cluster = site
        .cluster
        .ok_or_else(|| Fault::Refused(NO_CLUSTER.into()))?;
    cluster.look(&set).await.map(drop).map_err(Fault::Refused)
}

/// Looks at what could stand in the way of a plan before any of it is begun: what was found.
///
/// # Errors
/// What it runs on can't be reached, or something that it needs is not well.
pub async fn preflight(site: &Site<'_>, plan: &Plan) -> Result<String, Fault> {
    is_reached(site, plan).await?;
    match &plan.file.health {
        Some(health) => health::look(health).await.map_err(Fault::Refused),
        None => Ok("nothing stands in the way".into()),
    }
}

/// Goes on with a rollout that was cut off, or paused; with `back`, takes it back.
///
/// # Errors
/// There is none, or it could be brought to neither end.
pub async fn resume(
    site: &Site<'_>,
    service: &str,
    back: bool,
    tell: &mut dyn FnMut(&Line),
) -> Result<Ended, Fault> {
    let root = site.root;
    let state = io_fault("read the service's state", Folder::peek(root, service))?;
    let Some(id) = state.under_way else {
        return Err(Fault::Refused(format!(
            "no rollout of {service} is under way"
        )));
    };
    // A controller that waits goes on by itself.
    unpause(root, service, &id, site.by)?;
    let folder = io_fault("open the service's folder", Folder::open(root, service))?;
    let path = folder.rollout(&id);
    let text = io_fault("read the plan", std::fs::read(path.join("plan.json")))?;
    let plan = io_fault(
        "read the plan",
        serde_json::from_slice(&text).map_err(Into::into),
    )?;
    Controller::open(folder, path, plan, site, tell)?
        .go_on(back)
        .await
}

/// Lets a rollout wait before its next step, until it is resumed.
///
/// # Errors
/// None is under way.
pub fn pause(root: &Path, service: &str, by: &By) -> Result<String, Fault> {
    let state = io_fault("read the service's state", Folder::peek(root, service))?;
    let id = state
        .under_way
        .ok_or_else(|| Fault::Refused(format!("no rollout of {service} is under way")))?;
    let path = root.join(service).join(&id).join("pause");
    let text = serde_json::to_vec(by).map_err(Into::into);
    let text = io_fault("write the pause", text)?;
    io_fault("write the pause", write(&path, &text))?;
    Ok(id)
}

/// Ends the pause of a rollout whose controller waits, if there is one.
///
/// # Errors
/// The word of it can't be written.
pub fn unpause(root: &Path, service: &str, id: &str, by: &By) -> Result<(), Fault> {
    let folder = root.join(service).join(id);
    if !folder.join("pause").exists() {
        return Ok(());
    }
    let text = serde_json::to_vec(by).map_err(Into::into);
    let text = io_fault("write that it goes on", text)?;
    io_fault(
        "write that it goes on",
        write(&folder.join("resumed"), &text),
    )?;
    io_fault("end the pause", std::fs::remove_file(folder.join("pause")))
}

/// Says whether a rollout that waits at a gate may go on. With a name, only at that gate. Which gate it was.
///
/// # Errors
/// It waits at no gate, at another one, or somebody has decided already.
pub fn decide(
    root: &Path,
    service: &str,
    gate: Option<&str>,
    decision: &Decision,
) -> Result<String, Fault> {
    let state = io_fault("read the service's state", Folder::peek(root, service))?;
    let id = state
        .under_way
        .ok_or_else(|| Fault::Refused(format!("no rollout of {service} is under way")))?;
    let folder = root.join(service).join(&id);
    let plan = io_fault("read the plan", Plan::read(&folder.join("plan.json")))?;
    let lines = io_fault(
        "read the journal",
        journal::read(&folder.join("journal.jsonl")),
    )?;
    let at = lines.iter().rev().find_map(|line| match &line.entry {
        Entry::Begun { step, .. } => Some(Some(*step)),
        Entry::Opened { .. } => None,
        _ => Some(None),
    });
    let waits = at.flatten().and_then(|step| match plan.steps.get(step) {
        Some(Step::Gate { name, .. }) => Some((step, name.clone())),
        _ => None,
    });
    let Some((step, name)) = waits else {
        return Err(Fault::Refused(format!("rollout {id} waits at no gate")));
    };
    if let Some(wanted) = gate.filter(|wanted| *wanted != name) {
        return Err(Fault::Refused(format!(
            "rollout {id} waits at gate {name:?}, not at {wanted:?}"
        )));
    }
    let path = decision_file(&folder, step);
    if path.exists() {
        return Err(Fault::Refused(format!("gate {name:?} is decided already")));
    }
    let text = io_fault(
        "write the decision",
        serde_json::to_vec_pretty(decision).map_err(Into::into),
    )?;
    io_fault("write the decision", write(&path, &text))?;
    Ok(name)
}

/// Goes back to the version that was kept, which takes a change of two weights.
///
/// # Errors
/// There is none to go back to, it does not answer, or the edge can't be told.
pub async fn rollback(
    site: &Site<'_>,
    service: &str,
    tell: &mut dyn FnMut(&Line),
) -> Result<Ended, Fault> {
    let root = site.root;
    let state = io_fault("read the service's state", Folder::peek(root, service))?;
    if state.under_way.is_some() {
        return resume(site, service, true, tell).await;
    }
    let folder = io_fault("open the service's folder", Folder::open(root, service))?;
    let mut state = io_fault("read the service's state", folder.state())?;
    let Some((group, _)) = state.back.clone() else {
        return Err(Fault::Refused(format!(
            "nothing of {service} is kept to go back to"
        )));
    };
    let now = state.groups.iter().find(|(name, _)| **name != group);
    let (current, running) = now
        .map(|(name, running)| (name.clone(), running.clone()))
        .ok_or_else(|| Fault::Refused(format!("nothing is known of what serves {service}")))?;
    let path = folder.rollout(&running.rollout);
    let text = io_fault("read the plan", std::fs::read(path.join("plan.json")))?;
    let plan: Plan = io_fault(
        "read the plan",
        serde_json::from_slice(&text).map_err(Into::into),
    )?;
    let kept = state
        .groups
        .get(&group)
        .map(|running| running.rollout.clone());
    let mut controller = Controller::open(folder, path, plan, site, tell)?;
    if let Some(kept) = &kept {
        let found = controller
            .instances_of(kept)
            .await
            .map_err(Fault::Refused)?;
        if found.is_empty() {
            return Err(Fault::Refused(format!(
                "the version in {group} does not run any more: roll it out again"
            )));
        }
    }
    controller.note(Entry::Undoing {
        text: format!("all new requests to {group}"),
    })?;
    let weights = json!({ group.as_str(): 100, current.as_str(): 0 });
    io_fault(
        "shift traffic back",
        controller.order("PUT", "weights", &weights),
    )?;
    if let Err(error) = controller.tell_to_drain(&running.rollout) {
        // They serve their long connections on, which is no reason not to go back.
        tracing::warn!(error, "the version that served is not told");
    }
    let warm = controller.plan.file.after.warm_ms;
    state.back = Some((current, now_ms() + warm));
    io_fault(
        "write the service's state",
        controller.folder.set_state(&state),
    )?;
    controller.end(Outcome::Back, None)
}

/// Ends the version that is kept to go back to, or forth again; only if it is this one, if one is named.
///
/// # Errors
/// None is kept, it is another one, a rollout is under way, or it can't be ended.
pub async fn finish(
    site: &Site<'_>,
    service: &str,
    only: Option<&str>,
    tell: &mut dyn FnMut(&Line),
) -> Result<String, Fault> {
    let folder = io_fault(
        "open the service's folder",
        Folder::open(site.root, service),
    )?;
    let state = io_fault("read the service's state", folder.state())?;
    if let Some(id) = &state.under_way {
        return Err(Fault::Refused(format!("rollout {id} is under way")));
    }
    let kept = state.back.as_ref().and_then(|(group, _)| {
        let running = state.groups.get(group)?;
        Some((group.clone(), running.clone()))
    });
    let (group, running) =
        kept.ok_or_else(|| Fault::Refused(format!("nothing of {service} is kept")))?;
    let version = running.version.as_str();
    if let Some(only) = only.filter(|only| *only != version) {
        return Err(Fault::Refused(format!(
            "version {version} is kept in {group}, not {only}"
        )));
    }
    let path = folder.rollout(&running.rollout);
    let text = io_fault("read the plan", std::fs::read(path.join("plan.json")))?;
    let plan: Plan = io_fault(
        "read the plan",
        serde_json::from_slice(&text).map_err(Into::into),
    )?;
    let mut controller = Controller::open(folder, path, plan, site, tell)?;
    controller.note(Entry::Undoing {
        text: format!("version {version}, kept in {group}, is ended"),
    })?;
    let ended = controller.retire().await.map_err(Fault::Refused)?;
    Ok(format!("version {version} in {group}: {ended}"))
}

pub use crate::process::marking;

/// Ends all processes that a rollout started, whichever state it is in. How many there were.
///
/// # Errors
/// The system's processes can't be looked at.
pub fn end_processes(rollout: &str, patience: Duration) -> io::Result<usize> {
    process::end(rollout, patience)
}
