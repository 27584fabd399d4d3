//! Carrying out a plan: each step is in the journal before it is begun. Whatever happens, and whenever
//! the controller is killed, the end is the new version or the old one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use everopen_edge::Reading;
use everopen_edge::admin::{Client, Status};
use serde_json::{Value, json};
use tokio::task::block_in_place;

use crate::file::File;
use crate::journal::{Entry, Journal, Line, Outcome};
use crate::journey::fill;
use crate::meter::Meter;
use crate::plan::{Inventory, Plan, Step};
use crate::process::{self, Process};
use crate::state::{Folder, Running, State, now_ms, write};
use crate::{alarm, http, journey};

/// Between two looks at alarms.
const LOOK: Duration = Duration::from_millis(500);
/// Between two looks whether a process is ready, or a pause has ended.
const READY_LOOK: Duration = Duration::from_millis(50);
/// How long the edge may take for an order.
const EDGE: Duration = Duration::from_secs(5);
/// How long one readiness request may take.
const READY: Duration = Duration::from_secs(2);
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

struct Controller<'a> {
    folder: Folder,
    path: PathBuf,
    plan: Plan,
    edge: Client,
    journal: Journal,
    past: Vec<Line>,
    meter: Option<Meter>,
    /// What the edge had counted before traffic moved.
    before: Option<Status>,
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

    fn order(&self, method: &str, what: &str, body: &Value) -> io::Result<Value> {
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

    async fn wait_while_paused(&self) {
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
        if self.plan.from.is_some() {
            let what = format!("groups/{to}/targets");
            self.insist("empty the group", "PUT", &what, &json!([]))
                .await?;
        } else {
            // Nobody served before, so nobody can go on: without a weight it takes no requests.
            let _ = self.order("PUT", "weights", &json!({ to.as_str(): 0 }));
            let _ = self.order("PUT", &format!("groups/{to}/targets"), &json!([]));
        }
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

    fn processes(&self) -> Result<Vec<Process>, String> {
        process::find(&self.plan.id).map_err(|error| format!("look for processes: {error}"))
    }

    /// All instances, if all of them run.
    fn all_run(&self) -> Result<Vec<Process>, String> {
        let processes = self.processes()?;
        let wanted = self.plan.file.start.instances;
        let gone = (0..wanted).find(|instance| !processes.iter().any(|p| p.instance == *instance));
        match gone {
            None => Ok(processes),
            Some(gone) => Err(format!(
                "instance {gone} has ended; its log ends with: {}",
                self.log_of(gone)
            )),
        }
    }

    fn log_of(&self, instance: u16) -> String {
        let path = self.path.join(format!("instance-{instance}.log"));
        let text = std::fs::read(path).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    async fn perform(&mut self, step: &Step) -> Result<String, String> {
        match step {
            Step::Retire { .. } => self.retire(),
            Step::Start { instances } => self.start(*instances),
            Step::Ready => self.ready().await,
            Step::Register => self.register(),
            Step::Check { name } => self.check(name).await,
            Step::Journey => {
                let journey = self.plan.file.journey.as_ref();
                let steps = journey::run(journey.ok_or("the plan has no journey")?).await?;
                Ok(format!("{steps} steps"))
            }
            Step::Shift { percent } => self.shift(*percent).await,
            Step::Bake { ms } => self.bake(Duration::from_millis(*ms)).await,
            Step::Drain => self.drain(),
        }
    }

    fn retire(&mut self) -> Result<String, String> {
        let to = self.plan.to.clone();
        let text = |error: io::Error| error.to_string();
        self.order("PUT", "weights", &json!({ to.as_str(): 0 }))
            .map_err(text)?;
        self.order("PUT", &format!("groups/{to}/targets"), &json!([]))
            .map_err(text)?;
        let mut state: State = self.folder.state().map_err(text)?;
        let mut count = 0;
        if let Some(running) = state.groups.get(&to) {
            let patience = Duration::from_millis(running.stop_ms);
            count = block_in_place(|| process::end(&running.rollout, patience)).map_err(text)?;
        }
        state.groups.remove(&to);
        state.back = None;
        self.folder.set_state(&state).map_err(text)?;
        Ok(format!("{count} processes ended"))
    }

    fn start(&mut self, instances: u16) -> Result<String, String> {
        let running = self.processes()?;
        let mut given: Vec<u16> = running.iter().map(|process| process.port).collect();
        for instance in (0..instances).filter(|at| !running.iter().any(|p| p.instance == *at)) {
            let (start, version) = (&self.plan.file.start, &self.plan.file.version);
            let started =
                process::start(start, version, &self.plan.id, instance, &given, &self.path);
            given.push(started.map_err(|error| error.to_string())?);
        }
        Ok(format!(
            "{instances} started, logs in {}",
            self.path.display()
        ))
    }

    async fn ready(&self) -> Result<String, String> {
        let began = Instant::now();
        let start = &self.plan.file.start;
        let deadline = began + Duration::from_millis(start.ready_ms);
        // A process is not there in the same moment in which it was started.
        let grace = began + Duration::from_millis(500);
        loop {
            let (processes, missing) = match self.all_run() {
                Ok(processes) => (processes, None),
                Err(missing) => (Vec::new(), Some(missing)),
            };
            if let Some(missing) = &missing
                && Instant::now() > grace
            {
                return Err(missing.clone());
            }
            let mut last = missing.unwrap_or_default();
            let mut count = 0;
            for process in &processes {
                match http::get(&process.address().to_string(), &start.ready, READY).await {
                    Ok(answer) if answer.status == 200 => count += 1,
                    Ok(answer) => last = format!("{} answers {}", start.ready, answer.status),
                    Err(error) => last = format!("{}: {error}", start.ready),
                }
            }
            if !processes.is_empty() && count == processes.len() {
                return Ok(format!("after {} ms", began.elapsed().as_millis()));
            }
            if Instant::now() > deadline {
                return Err(format!("not ready within {} ms: {last}", start.ready_ms));
            }
            tokio::time::sleep(READY_LOOK).await;
        }
    }

    fn register(&mut self) -> Result<String, String> {
        let text = |error: io::Error| error.to_string();
        let to = self.plan.to.clone();
        let targets: Vec<String> = self
            .all_run()?
            .iter()
            .map(|p| p.address().to_string())
            .collect();
        // First no weight, then targets: nobody is sent there yet.
        self.order("PUT", "weights", &json!({ to.as_str(): 0 }))
            .map_err(text)?;
        self.order("PUT", &format!("groups/{to}/targets"), &json!(targets))
            .map_err(text)?;
        Ok(format!("{to}: {}", targets.join(", ")))
    }

    async fn check(&self, name: &str) -> Result<String, String> {
        let file = &self.plan.file;
        let check = file.checks.iter().find(|check| check.name == name);
        let check = check.ok_or("the plan has no such check")?;
        let processes = self.all_run()?;
        for process in &processes {
            let values = BTreeMap::from([
                ("address".to_string(), process.address().to_string()),
                ("port".to_string(), process.port.to_string()),
            ]);
            let command: Vec<String> = check
                .command
                .iter()
                .map(|part| fill(part, &values))
                .collect();
            let patience = Duration::from_millis(check.within_ms);
            if let Some(said) = alarm::run(&command, &file.start.dir, patience).await {
                return Err(format!(
                    "check {name} of instance {}: {said}",
                    process.instance
                ));
            }
        }
        Ok(format!("{} instances", processes.len()))
    }

    async fn shift(&mut self, percent: u32) -> Result<String, String> {
        // Never onto one that is not there any more.
        for process in self.all_run()? {
            let address = process.address().to_string();
            let answer = http::get(&address, &self.plan.file.start.ready, READY).await;
            if !answer.as_ref().is_ok_and(|answer| answer.status == 200) {
                let instance = process.instance;
                return Err(format!(
                    "instance {instance} is not ready any more: {answer:?}"
                ));
            }
        }
        if self.before.is_none() {
            self.before = block_in_place(|| self.edge.status()).ok();
        }
        let to = self.plan.to.as_str();
        let weights = match &self.plan.from {
            Some(from) => json!({ from.as_str(): 100 - percent, to: percent }),
            None => json!({ to: percent }),
        };
        self.order("PUT", "weights", &weights)
            .map_err(|error| error.to_string())?;
        Ok(weights.to_string())
    }

    fn readings(&self) -> Result<(Reading, Reading), String> {
        let status = block_in_place(|| self.edge.status())
            .map_err(|error| format!("ask the edge: {error}"))?;
        let of = |status: &Status, group: &str| {
            let service = status.services.get(&self.plan.file.service);
            let group = service.and_then(|service| service.groups.get(group));
            group.map(|group| group.reading.clone()).unwrap_or_default()
        };
        let from = self.plan.from.as_deref().unwrap_or_default();
        let mut old = of(&status, from);
        if let Some(before) = &self.before {
            old = old.since(&of(before, from));
        }
        Ok((old, of(&status, &self.plan.to)))
    }

    async fn bake(&mut self, time: Duration) -> Result<String, String> {
        if self.before.is_none() {
            self.before = block_in_place(|| self.edge.status()).ok();
        }
        let (_, begun) = self.readings()?;
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(LOOK)).await;
            self.wait_while_paused().await;
            self.all_run()?;
            if let Some(breach) = self.meter.as_ref().and_then(Meter::breach) {
                return Err(breach);
            }
            let (old, new) = self.readings()?;
            let new = new.since(&begun);
            let file = &self.plan.file;
            if let Some(reason) = alarm::look(&file.alarms, &file.start.dir, &old, &new).await {
                return Err(reason);
            }
            if Instant::now() >= deadline {
                let p99 = new.latency.percentile(99.0).unwrap_or(0);
                return Ok(format!(
                    "{} requests, {} failed, p99 {p99} us; the old version {} requests, {} failed, p99 {} us",
                    new.requests,
                    new.failed(),
                    old.requests,
                    old.failed(),
                    old.latency.percentile(99.0).unwrap_or(0),
                ));
            }
        }
    }

    fn drain(&self) -> Result<String, String> {
        let from = self.plan.from.as_deref().unwrap_or_default();
        let ms = self.plan.file.after.drain_ms;
        let path = format!("/services/{}/groups/{from}/drain", self.plan.file.service);
        let patience = Duration::from_millis(ms) + EDGE;
        let drained = block_in_place(|| {
            self.edge
                .call("POST", &path, &json!({ "ms": ms }), patience)
        });
        let drained = drained.map_err(|error| error.to_string())?;
        Ok(format!("{} were cut", drained["left"]))
    }
}
