//! Carrying out a plan: each step is in the journal before it is begun. Whatever happens, and whenever
//! the controller is killed, the end is the new version or the old one.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use everopen_edge::admin::{Client, Status};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::file::File;
use crate::journal::{Entry, Journal, Line, Outcome};
use crate::meter::Meter;
use crate::plan::{Inventory, Plan};
use crate::process;
use crate::state::{Folder, Running, now_ms, write};

/// Between two looks whether a process is ready, or a pause has ended.
pub(crate) const READY_LOOK: Duration = Duration::from_millis(50);
/// How long the edge may take for an order.
pub(crate) const EDGE: Duration = Duration::from_secs(5);
/// How long what a failed version still does may take to end.
const UNDO_DRAIN: Duration = Duration::from_secs(2);

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
}

fn io_fault<T>(what: impl Into<String>, done: io::Result<T>) -> Result<T, Fault> {
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
#[derive(Clone, Debug, Default)]
pub struct By {
    /// The system's user.
    pub who: String,
    /// In their words.
    pub why: String,
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
    root: &Path,
    plan: Plan,
    by: &By,
    tell: &mut dyn FnMut(&Line),
) -> Result<Ended, Fault> {
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
    let path = folder.rollout(&plan.id);
    io_fault("make the rollout's folder", std::fs::create_dir_all(&path))?;
    let text = io_fault(
        "write the plan",
        serde_json::to_vec_pretty(&plan).map_err(Into::into),
    )?;
    io_fault("write the plan", write(&path.join("plan.json"), &text))?;
    state.under_way = Some(plan.id.clone());
    io_fault("write the service's state", folder.set_state(&state))?;
    Controller::open(folder, path, plan, by, tell)?
        .go_on(false)
        .await
}

/// Goes on with a rollout that was cut off, or paused; with `back`, takes it back.
///
/// # Errors
/// There is none, or it could be brought to neither end.
pub async fn resume(
    root: &Path,
    service: &str,
    back: bool,
    by: &By,
    tell: &mut dyn FnMut(&Line),
) -> Result<Ended, Fault> {
    let state = io_fault("read the service's state", Folder::peek(root, service))?;
    let Some(id) = state.under_way else {
        return Err(Fault::Refused(format!(
            "no rollout of {service} is under way"
        )));
    };
    // A controller that waits goes on by itself.
    let _ = std::fs::remove_file(root.join(service).join(&id).join("pause"));
    let folder = io_fault("open the service's folder", Folder::open(root, service))?;
    let path = folder.rollout(&id);
    let text = io_fault("read the plan", std::fs::read(path.join("plan.json")))?;
    let plan = io_fault(
        "read the plan",
        serde_json::from_slice(&text).map_err(Into::into),
    )?;
    Controller::open(folder, path, plan, by, tell)?
        .go_on(back)
        .await
}

/// Lets a rollout wait before its next step, until it is resumed.
///
/// # Errors
/// None is under way.
pub fn pause(root: &Path, service: &str) -> Result<String, Fault> {
    let state = io_fault("read the service's state", Folder::peek(root, service))?;
    let id = state
        .under_way
        .ok_or_else(|| Fault::Refused(format!("no rollout of {service} is under way")))?;
    let path = root.join(service).join(&id).join("pause");
    io_fault("write the pause", write(&path, b""))?;
    Ok(id)
}

/// Goes back to the version that was kept, which takes a change of two weights.
///
/// # Errors
/// There is none to go back to, it does not answer, or the edge can't be told.
pub async fn rollback(
    root: &Path,
    service: &str,
    by: &By,
    tell: &mut dyn FnMut(&Line),
) -> Result<Ended, Fault> {
    let state = io_fault("read the service's state", Folder::peek(root, service))?;
    if state.under_way.is_some() {
        return resume(root, service, true, by, tell).await;
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
    if let Some(kept) = &kept {
        let processes = io_fault("look for the old version's processes", process::find(kept))?;
        if processes.is_empty() {
            return Err(Fault::Refused(format!(
                "the version in {group} does not run any more: roll it out again"
            )));
        }
    }
    let mut controller = Controller::open(folder, path, plan, by, tell)?;
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

/// Ends all processes that a rollout started, whichever state it is in. How many there were.
///
/// # Errors
/// The system's processes can't be looked at.
pub fn end_processes(rollout: &str, patience: Duration) -> io::Result<usize> {
    process::end(rollout, patience)
}

pub(crate) struct Controller<'a> {
    pub(crate) folder: Folder,
    pub(crate) path: PathBuf,
    pub(crate) plan: Plan,
    pub(crate) edge: Client,
    journal: Journal,
    past: Vec<Line>,
    pub(crate) meter: Option<Meter>,
    /// What the edge had counted before traffic moved.
    pub(crate) before: Option<Status>,
    tell: &'a mut dyn FnMut(&Line),
}

impl<'a> Controller<'a> {
    fn open(
        folder: Folder,
        path: PathBuf,
        plan: Plan,
        by: &By,
        tell: &'a mut dyn FnMut(&Line),
    ) -> Result<Self, Fault> {
        let opened = Journal::open(&path.join("journal.jsonl"));
        let (journal, past) = io_fault("open the journal", opened)?;
        let mut controller = Self {
            edge: Client::new(&plan.file.edge),
            folder,
            path,
            plan,
            journal,
            past,
            meter: None,
            before: None,
            tell,
        };
        controller.note(Entry::Opened {
            who: by.who.clone(),
            why: by.why.clone(),
        })?;
        Ok(controller)
    }

    fn note(&mut self, entry: Entry) -> Result<(), Fault> {
        let line = io_fault("write the journal", self.journal.write(entry))?;
        (self.tell)(&line);
        Ok(())
    }

    pub(crate) fn order(&self, method: &str, what: &str, body: &Value) -> io::Result<Value> {
        let path = format!("/services/{}/{what}", self.plan.file.service);
        block_in_place(|| self.edge.call(method, &path, body, EDGE))
    }

    async fn go_on(mut self, back: bool) -> Result<Ended, Fault> {
        let ended = self.past.iter().rev().find_map(|line| match &line.entry {
            Entry::Ended { outcome, .. } => Some(*outcome),
            _ => None,
        });
        if let Some(outcome) = ended {
            // Only the word of it was missing.
            self.settle(outcome)?;
            return Ok(Ended {
                outcome,
                reason: None,
                noticed: self.noticed(),
            });
        }
        let failed = self.past.iter().rev().find_map(|line| match &line.entry {
            Entry::Failed { reason, .. } => Some(reason.clone()),
            Entry::Undoing { .. } => {
                Some("it was being taken back when the controller was cut off".into())
            }
            _ => None,
        });
        if back || failed.is_some() {
            let reason = failed.unwrap_or_else(|| "somebody asked for it".to_string());
            return self.undo(reason).await;
        }
        if let Some(budget) = &self.plan.file.budget
            && self.plan.from.is_some()
        {
            self.meter = Some(Meter::start(budget));
        }
        let done = self.past.iter().filter_map(|line| match line.entry {
            Entry::Done { step, .. } => Some(step + 1),
            _ => None,
        });
        let first = done.max().unwrap_or(0);
        for step in first..self.plan.steps.len() {
            self.wait_while_paused().await;
            let what = self.plan.steps[step].clone();
            self.note(Entry::Begun {
                step,
                text: what.to_string(),
            })?;
            let mut performed = self.perform(&what).await;
            if performed.is_ok()
                && let Some(breach) = self.meter.as_ref().and_then(Meter::breach)
            {
                performed = Err(breach);
            }
            match performed {
                Ok(evidence) => self.note(Entry::Done { step, evidence })?,
                Err(reason) => {
                    self.note(Entry::Failed {
                        step,
                        reason: reason.clone(),
                    })?;
                    return self.undo(reason).await;
                }
            }
        }
        self.end(Outcome::New, None)
    }

    pub(crate) async fn wait_while_paused(&self) {
        while self.path.join("pause").exists() {
            tokio::time::sleep(READY_LOOK).await;
        }
    }

    /// The last word, and what follows of it for the service.
    fn end(&mut self, outcome: Outcome, reason: Option<String>) -> Result<Ended, Fault> {
        let noticed = self.noticed();
        self.note(Entry::Ended {
            outcome,
            noticed: noticed.clone(),
        })?;
        self.settle(outcome)?;
        Ok(Ended {
            outcome,
            reason,
            noticed,
        })
    }

    fn noticed(&self) -> String {
        let noticed = self.meter.as_ref().map(|meter| meter.noticed().to_string());
        noticed.unwrap_or_else(|| "not measured".into())
    }

    fn settle(&mut self, outcome: Outcome) -> Result<(), Fault> {
        let mut state = io_fault("read the service's state", self.folder.state())?;
        if outcome != Outcome::Back && state.under_way.as_deref() == Some(&self.plan.id) {
            state.under_way = None;
            let file = &self.plan.file;
            match outcome {
                Outcome::New => {
                    let running = Running {
                        rollout: self.plan.id.clone(),
                        version: file.version.clone(),
                        stop_ms: file.start.stop_ms,
                    };
                    state.groups.insert(self.plan.to.clone(), running);
                    let from = self.plan.from.clone();
                    state.back = from.map(|from| (from, now_ms() + file.after.warm_ms));
                }
                _ => drop(state.groups.remove(&self.plan.to)),
            }
            io_fault("write the service's state", self.folder.set_state(&state))?;
        }
        Ok(())
    }

    /// Takes back what was done, in the opposite order; all of it may be done again.
    async fn undo(mut self, reason: String) -> Result<Ended, Fault> {
        let to = self.plan.to.clone();
        if let Some(from) = self.plan.from.clone() {
            self.note(Entry::Undoing {
                text: format!("all new requests to {from}"),
            })?;
            let weights = json!({ from.as_str(): 100, to.as_str(): 0 });
            self.insist("shift traffic back", "PUT", "weights", &weights)
                .await?;
        }
        self.note(Entry::Undoing {
            text: format!("{to} is emptied and its processes are ended"),
        })?;
        let what = format!("groups/{to}/drain");
        let span = json!({ "ms": UNDO_DRAIN.as_millis() as u64 });
        let _ = self.order("POST", &what, &span);
        let what = format!("groups/{to}/empty");
        self.insist("empty the group", "POST", &what, &json!({}))
            .await?;
        let patience = Duration::from_millis(self.plan.file.start.stop_ms);
        let ended = block_in_place(|| process::end(&self.plan.id, patience));
        io_fault("end the new version's processes", ended)?;
        self.end(Outcome::Old, Some(reason))
    }

    /// An order that must be carried out: an edge that is started again just now is waited for.
    async fn insist(&self, why: &str, method: &str, what: &str, body: &Value) -> Result<(), Fault> {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.order(method, what, body) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return io_fault(why, Err(error)),
                Err(error) => tracing::warn!(%error, "the edge can't be told; it is tried again"),
            }
            tokio::time::sleep(READY_LOOK).await;
        }
    }
}
