//! Carrying the rollout of a database out: each step is in the journal before it is begun. Until clients are
//! sent to the other side everything can be taken back; from there on it is brought to its end.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use everopen_rollout::execute::By;
use everopen_rollout::journal::{self, Entry, Journal, Line, Outcome};
use everopen_rollout::state::{Folder, now_ms, write};
use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::cutover::{Cutover, Held, fence, switch};
use crate::file::{Database, File};
use crate::server::Server;
pub use crate::server::Side;
use crate::{guard, preflight, stream};

/// Between two looks of a guard.
const LOOK: Duration = Duration::from_millis(50);

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Everything is looked at that could stand in the way.
    Preflight,
    /// Green gets blue's schema.
    Schema,
    /// The change is made on green.
    Change,
    /// Green gets blue's rows, and those that are written meanwhile.
    Copy,
    /// A slot is made from which a stream can lead back.
    WayBack,
    /// Clients are held, the last rows come over, the old side takes no writes any more.
    Hold,
    /// Clients go on, on the other side.
    Switch,
    /// The stream leads the other way.
    Turn,
    /// Both sides are compared as they were while clients were held.
    Proof,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Preflight => "look at what could stand in the way",
            Self::Schema => "give it the schema",
            Self::Change => "make the change there",
            Self::Copy => "copy all rows and follow those that are written",
            Self::WayBack => "make the slot of the way back",
            Self::Hold => "hold clients until all rows are there",
            Self::Switch => "send clients there",
            Self::Turn => "let the stream lead the other way",
            Self::Proof => "compare both sides",
        })
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Its name.
    pub id: String,
    /// The file that it was made of.
    pub file: File,
    /// The side that serves now.
    pub from: Side,
    /// What is done, in order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// From blue to green.
    pub fn forth(file: &File) -> Self {
        let mut steps = vec![Step::Preflight, Step::Schema];
        if !file.database.change.is_empty() {
            steps.push(Step::Change);
        }
        steps.extend([
            Step::Copy,
            Step::WayBack,
            Step::Hold,
            Step::Switch,
            Step::Turn,
            Step::Proof,
        ]);
        Self {
            id: format!("{}-forth", now_ms()),
            file: file.clone(),
            from: Side::Blue,
            steps,
        }
    }

    /// From the side that serves to the one from which it came.
    fn turned(file: &File, from: Side) -> Self {
        Self {
            id: format!(
                "{}-{}",
                now_ms(),
                if from == Side::Green { "back" } else { "forth" }
            ),
            file: file.clone(),
            from,
            steps: vec![
                Step::WayBack,
                Step::Hold,
                Step::Switch,
                Step::Turn,
                Step::Proof,
            ],
        }
    }
}

/// What is known of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The side that serves.
    pub serving: Side,
    /// The rollout that is under way, or was cut off.
    pub under_way: Option<String>,
    /// Until when it is promised that one can go back, in milliseconds since 1970; none if one can't.
    pub back_until: Option<u64>,
    /// The file of the last rollout.
    pub file: File,
}

/// Why it could not be begun, or not be brought to an end.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The folder or the journal failed.
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
    /// It could be brought to neither end yet; `everopen rollout resume` tries again.
    #[error("{0} (`everopen rollout resume` tries again)")]
    Stuck(String),
}

fn io_fault<T>(what: &str, done: io::Result<T>) -> Result<T, Fault> {
    done.map_err(|source| Fault::Io {
        what: what.to_string(),
        source,
    })
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// `New`: the other side serves. `Old`: the same as before.
    pub outcome: Outcome,
    /// The side that serves.
    pub serving: Side,
    /// Why it came back, if it did.
    pub reason: Option<String>,
}

/// Where rollouts are kept, who does this, and how a guard is started.
#[derive(Clone, Debug)]
pub struct Site<'a> {
    /// The folder of all rollouts.
    pub root: &'a Path,
    /// Who, and why.
    pub by: &'a By,
    /// The command of a guard, to which the database's name is added; none starts none.
    pub guard: &'a [String],
}

fn state_file(root: &Path, name: &str) -> PathBuf {
    root.join(name).join("database.json")
}

/// What is known of a database; none if nothing is.
///
/// # Errors
/// It can't be read.
pub fn state(root: &Path, name: &str) -> io::Result<Option<State>> {
    match fs::read(state_file(root, name)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn set_state(root: &Path, name: &str, state: &State) -> Result<(), Fault> {
    let text = serde_json::to_vec_pretty(state).map_err(Into::into);
    let text = io_fault("write what is known of it", text)?;
    io_fault(
        "write what is known of it",
        write(&state_file(root, name), &text),
    )
}

/// Whether somebody is at work on it.
pub fn is_at_work(root: &Path, name: &str) -> bool {
    Folder::open(root, name).is_err()
}

/// From blue to green.
///
/// # Errors
/// It is not to be begun, or could be brought to neither end.
pub async fn apply(
    site: &Site<'_>,
    file: &File,
    tell: &mut (dyn FnMut(&Line) + Send),
) -> Result<Ended, Fault> {
    let name = &file.database.name;
    let before = io_fault("read what is known of it", state(site.root, name))?;
    match &before {
        Some(State {
            under_way: Some(id),
            ..
        }) => {
            return Err(Fault::Refused(format!(
                "rollout {id} was cut off: `everopen rollout resume {name}` brings it to an end"
            )));
        }
        Some(State {
            serving: Side::Green,
            ..
        }) => {
            return Err(Fault::Refused(
                "green serves already: finish that rollout, or go back".into(),
            ));
        }
        Some(State {
            back_until: Some(_),
            ..
        }) => {
            return Err(Fault::Refused(format!(
                "green follows since the last rollout: `everopen rollout rollback {name}` goes forth again, `everopen rollout finish {name}` ends that"
            )));
        }
        _ => {}
    }
    begin(site, Plan::forth(file), Side::Blue, None, tell).await
}

/// To the side from which it came: back, or forth again.
///
/// # Errors
/// There is no way, or it could be brought to neither end.
pub async fn turn_back(
    site: &Site<'_>,
    name: &str,
    tell: &mut (dyn FnMut(&Line) + Send),
) -> Result<Ended, Fault> {
    let known = io_fault("read what is known of it", state(site.root, name))?;
    let known = known.ok_or_else(|| Fault::Refused(format!("nothing is known of {name}")))?;
    if known.under_way.is_some() {
        return resume(site, name, tell).await;
    }
    if known.back_until.is_none() {
        return Err(Fault::Refused(
            "there is no stream by which to go back".into(),
        ));
    }
    let plan = Plan::turned(&known.file, known.serving);
    begin(site, plan, known.serving, known.back_until, tell).await
}

async fn begin(
    site: &Site<'_>,
    plan: Plan,
    serving: Side,
    back_until: Option<u64>,
    tell: &mut (dyn FnMut(&Line) + Send),
) -> Result<Ended, Fault> {
    let name = plan.file.database.name.clone();
    let lock = io_fault("open the database's folder", Folder::open(site.root, &name))?;
    let path = lock.rollout(&plan.id);
    io_fault("make the rollout's folder", fs::create_dir_all(&path))?;
    let text = io_fault(
        "write the plan",
        serde_json::to_vec_pretty(&plan).map_err(Into::into),
    )?;
    io_fault("write the plan", write(&path.join("plan.json"), &text))?;
    let known = State {
        serving,
        under_way: Some(plan.id.clone()),
        back_until,
        file: plan.file.clone(),
    };
    set_state(site.root, &name, &known)?;
    Controller::open(site, lock, path, plan, tell)?
        .go_on()
        .await
}

/// Brings one that was cut off to its end: forward if clients had been sent to the other side, or might
/// have been; else back.
///
/// # Errors
/// None is under way, or it could not be brought to its end.
pub async fn resume(
    site: &Site<'_>,
    name: &str,
    tell: &mut (dyn FnMut(&Line) + Send),
) -> Result<Ended, Fault> {
    let known = io_fault("read what is known of it", state(site.root, name))?;
    let id = known.and_then(|known| known.under_way);
    let id = id.ok_or_else(|| Fault::Refused(format!("no rollout of {name} is under way")))?;
    let lock = io_fault("open the database's folder", Folder::open(site.root, name))?;
    let path = lock.rollout(&id);
    let text = io_fault("read the plan", fs::read(path.join("plan.json")))?;
    let plan = serde_json::from_slice(&text).map_err(Into::into);
    let plan = io_fault("read the plan", plan)?;
    Controller::open(site, lock, path, plan, tell)?
        .go_on()
        .await
}

/// Waits beside a controller until it has brought its cutover to an end; if it dies before, does that.
///
/// # Errors
/// As [`resume`].
pub async fn watch_over(site: &Site<'_>, name: &str) -> Result<(), Fault> {
    loop {
        let known = io_fault("read what is known of it", state(site.root, name))?;
        let Some(id) = known.and_then(|known| known.under_way) else {
            return Ok(());
        };
        let path = site.root.join(name).join(&id);
        let is_free = !is_at_work(site.root, name);
        let lines: Vec<Line> = io_fault(
            "read the journal",
            journal::read(&path.join("journal.jsonl")),
        )?;
        let text = io_fault("read the plan", fs::read(path.join("plan.json")))?;
        let plan: Plan = io_fault(
            "read the plan",
            serde_json::from_slice(&text).map_err(Into::into),
        )?;
        if !is_between(&plan, &lines) {
            return Ok(());
        }
        if is_free {
            return resume(site, name, &mut |_| {}).await.map(drop);
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether clients are held, as far as the journal knows.
fn is_between(plan: &Plan, lines: &[Line]) -> bool {
    let place = |step: Step| plan.steps.iter().position(|one| *one == step);
    let (hold, switch) = (place(Step::Hold), place(Step::Switch));
    let begun = lines
        .iter()
        .any(|line| matches!(&line.entry, Entry::Begun { step, .. } if Some(*step) == hold));
    let over = lines.iter().any(|line| match &line.entry {
        Entry::Done { step, .. } => Some(*step) == switch,
        Entry::Ended { .. } => true,
        _ => false,
    });
    begun && !over
}

/// Ends the way back: what serves, serves alone.
///
/// # Errors
/// A rollout is under way, or a side that must be told can't be.
pub async fn finish(site: &Site<'_>, name: &str) -> Result<String, Fault> {
    let known = io_fault("read what is known of it", state(site.root, name))?;
    let known = known.ok_or_else(|| Fault::Refused(format!("nothing is known of {name}")))?;
    if let Some(id) = known.under_way {
        return Err(Fault::Refused(format!("rollout {id} is under way")));
    }
    let _lock = io_fault("open the database's folder", Folder::open(site.root, name))?;
    let database = &known.file.database;
    let serving = connect(database, known.serving)
        .await
        .map_err(Fault::Stuck)?;
    // The other may be gone already; then its slot here is all that matters.
    let mut told = "nothing of the rollout is left".to_string();
    match connect(database, known.serving.other()).await {
        Ok(other) => clean(&other).await.map_err(Fault::Stuck)?,
        Err(error) => {
            told =
                format!("nothing of the rollout is left where it serves; the other side: {error}")
        }
    }
    stream::drop_slot(&serving).await.map_err(Fault::Stuck)?;
    clean(&serving).await.map_err(Fault::Stuck)?;
    let known = State {
        back_until: None,
        under_way: None,
        serving: known.serving,
        file: known.file.clone(),
    };
    set_state(site.root, name, &known)?;
    Ok(told)
}

/// Whether one can go back, until when, and what it costs.
///
/// # Errors
/// The sides can't be asked.
pub async fn way_back(known: &State) -> Result<String, String> {
    let Some(until) = known.back_until else {
        return Ok("there is no way back".into());
    };
    let serving = connect(&known.file.database, known.serving).await?;
    let slot = known.serving.other().stream();
    let held = serving
        .rows(&format!(
            "SELECT active, pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), pg_size_pretty(pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)) FROM pg_replication_slots WHERE slot_name = '{slot}'"
        ))
        .await?;
    let left = until.saturating_sub(now_ms()) / 60_000;
    match held.first() {
        None => Ok(format!(
            "NO WAY BACK: slot {slot} is gone from {}",
            known.serving.name()
        )),
        Some(row) => {
            let follows = match row[0].as_str() {
                "t" => "follows",
                _ => "DOES NOT FOLLOW at the moment (its subscription is not connected)",
            };
            Ok(format!(
                "to {}, promised for {left} min more; it {follows}, {} behind; the slot makes {} keep {} of log",
                known.serving.other().name(),
                row[2],
                known.serving.name(),
                row[1]
            ))
        }
    }
}

async fn connect(database: &Database, side: Side) -> Result<Server, String> {
    let dsn = match side {
        Side::Blue => &database.blue,
        Side::Green => &database.green,
    };
    Server::connect(side, dsn).await
}

/// All that is ours on a side, but for the slot that the other one uses.
async fn clean(server: &Server) -> Result<(), String> {
    stream::clean(server).await?;
    server.run("DROP SCHEMA IF EXISTS everopen CASCADE").await
}

struct Controller<'a> {
    _lock: Folder,
    root: &'a Path,
    path: PathBuf,
    plan: Plan,
    journal: Journal,
    past: Vec<Line>,
    guard: &'a [String],
    tell: &'a mut (dyn FnMut(&Line) + Send),
}

impl<'a> Controller<'a> {
    fn open(
        site: &Site<'a>,
        lock: Folder,
        path: PathBuf,
        plan: Plan,
        tell: &'a mut (dyn FnMut(&Line) + Send),
    ) -> Result<Self, Fault> {
        let opened = Journal::open(&path.join("journal.jsonl"));
        let (journal, past) = io_fault("open the journal", opened)?;
        let mut controller = Self {
            _lock: lock,
            root: site.root,
            path,
            plan,
            journal,
            past,
            guard: site.guard,
            tell,
        };
        controller.note(Entry::Opened {
            who: site.by.who.clone(),
            why: site.by.why.clone(),
        })?;
        Ok(controller)
    }

    fn note(&mut self, entry: Entry) -> Result<(), Fault> {
        let line = io_fault("write the journal", self.journal.write(entry))?;
        (self.tell)(&line);
        Ok(())
    }

    fn database(&self) -> Database {
        self.plan.file.database.clone()
    }

    fn place(&self, step: Step) -> usize {
        let found = self.plan.steps.iter().position(|one| *one == step);
        found.unwrap_or(usize::MAX)
    }

    async fn go_on(self) -> Result<Ended, Fault> {
        let begun = self.past.iter().filter_map(|line| match line.entry {
            Entry::Begun { step, .. } => Some(step),
            _ => None,
        });
        let begun = begun.max();
        let done = self.past.iter().filter_map(|line| match line.entry {
            Entry::Done { step, .. } => Some(step + 1),
            _ => None,
        });
        let first = done.max().unwrap_or(0);
        match begun {
            None => self.forth(0).await,
            // Clients may be on the other side already.
            Some(step) if step >= self.place(Step::Switch) => self.forth(first).await,
            Some(_) => {
                let failed = self.past.iter().rev().find_map(|line| match &line.entry {
                    Entry::Failed { reason, .. } => Some(reason.clone()),
                    _ => None,
                });
                let reason = failed.unwrap_or_else(|| "it was cut off".into());
                self.take_back(reason).await
            }
        }
    }

    async fn forth(mut self, first: usize) -> Result<Ended, Fault> {
        let database = self.database();
        let to = self.plan.from.other();
        let mut held: Option<Held> = None;
        // Those that stay open for the whole of it.
        let mut sides: Option<(Server, Server)> = None;
        let mut tables = Vec::new();
        for place in first..self.plan.steps.len() {
            let step = self.plan.steps[place];
            self.note(Entry::Begun {
                step: place,
                text: step.to_string(),
            })?;
            let done = async {
                if sides.is_none() {
                    sides = Some((
                        connect(&database, self.plan.from).await?,
                        connect(&database, to).await?,
                    ));
                }
                let (from, to) = sides.as_ref().ok_or("no side is open")?;
                if tables.is_empty() {
                    tables = stream::tables(from).await?;
                }
                let cutover = Cutover {
                    database: &database,
                    from,
                    to,
                };
                match step {
                    Step::Preflight => self.preflight(&database).await,
                    Step::Schema => self.schema(&database, from, to).await,
                    Step::Change => self.change(&database).await,
                    Step::Copy => {
                        stream::publish(from, &tables).await?;
                        stream::subscribe(to, from, true).await?;
                        stream::copied(to, Duration::from_millis(database.copy_ms)).await
                    }
                    Step::WayBack => {
                        let both = stream::common(&tables, &stream::tables(to).await?);
                        stream::publish(to, &both).await?;
                        stream::make_slot(to).await?;
                        Ok(format!("slot {} on {}", from.side.stream(), to.side.name()))
                    }
                    Step::Hold => {
                        let now = stream::tables(from).await?;
                        if let Some(changed) = changed(&tables, &now) {
                            return Err(format!(
                                "{changed} while rows were copied: that is not on the other side"
                            ));
                        }
                        let mut command = self.guard.to_vec();
                        if !command.is_empty() {
                            command.push(database.name.clone());
                        }
                        guard::start(&command)
                            .map_err(|error| format!("start the guard: {error}"))?;
                        held = Some(cutover.hold().await?);
                        Ok("clients are held".to_string())
                    }
                    Step::Switch => switch(&database, held.as_ref(), to.side).await,
                    Step::Turn => turn(from, to).await,
                    Step::Proof => match held.take() {
                        Some(held) => {
                            let both = stream::common(&tables, &stream::tables(to).await?);
                            held.proof.compare(&both).await
                        }
                        None => {
                            Ok("not taken, since it was cut off while clients were held".into())
                        }
                    },
                }
            }
            .await;
            match done {
                Ok(evidence) => self.note(Entry::Done {
                    step: place,
                    evidence,
                })?,
                Err(reason) => {
                    self.note(Entry::Failed {
                        step: place,
                        reason: reason.clone(),
                    })?;
                    drop(held);
                    if place < self.place(Step::Switch) {
                        return self.take_back(reason).await;
                    }
                    if step == Step::Proof {
                        // Clients are there; people must know.
                        return self.end(Outcome::New, to, Some(reason));
                    }
                    return Err(Fault::Stuck(format!(
                        "clients are on {}, but: {reason}",
                        to.name()
                    )));
                }
            }
        }
        self.end(Outcome::New, to, None)
    }

    fn end(
        &mut self,
        outcome: Outcome,
        serving: Side,
        reason: Option<String>,
    ) -> Result<Ended, Fault> {
        let held = self.past.iter().rev().find_map(|line| match &line.entry {
            Entry::Done { evidence, .. } if evidence.contains("held for") => Some(evidence.clone()),
            _ => None,
        });
        self.note(Entry::Ended {
            outcome,
            noticed: held.unwrap_or_else(|| "see the step in which clients were held".into()),
        })?;
        let database = self.database();
        let before = io_fault("read what is known of it", state(self.root, &database.name))?;
        let back_until = match outcome {
            Outcome::New => Some(now_ms() + database.warm_ms),
            _ => before.and_then(|before| before.back_until),
        };
        let known = State {
            serving,
            under_way: None,
            back_until,
            file: self.plan.file.clone(),
        };
        set_state(self.root, &database.name, &known)?;
        Ok(Ended {
            outcome,
            serving,
            reason,
        })
    }

    async fn preflight(&self, database: &Database) -> Result<String, String> {
        let found = preflight::look(database).await?;
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        match found.iter().any(|finding| finding.blocks) {
            true => Err(told.join("\n      ")),
            false if told.is_empty() => Ok("nothing stands in the way".into()),
            false => Ok(told.join("\n      ")),
        }
    }

    async fn schema(
        &self,
        database: &Database,
        from: &Server,
        to: &Server,
    ) -> Result<String, String> {
        stream::prepare(from).await?;
        let began = Instant::now();
        let path = self.path.join("schema.sql");
        let file = path.display().to_string();
        // Neither side's publications and subscriptions belong to the schema.
        let dump = [
            "--schema-only",
            "--no-publications",
            "--no-subscriptions",
            "--file",
            &file,
            "--dbname",
            &database.blue,
        ];
        run(&database.pg_dump, &dump).await?;
        self.psql(database, &path).await?;
        fence(to, true).await?;
        Ok(format!("after {} ms", began.elapsed().as_millis()))
    }

    async fn psql(&self, database: &Database, path: &Path) -> Result<(), String> {
        let file = path.display().to_string();
        let arguments = [
            "--no-psqlrc",
            "--quiet",
            "--single-transaction",
            "--set",
            "ON_ERROR_STOP=1",
            "--file",
            &file,
            "--dbname",
            &database.green,
        ];
        run(&database.psql, &arguments).await
    }

    async fn change(&self, database: &Database) -> Result<String, String> {
        for path in &database.change {
            // The fence is for clients.
            let text =
                fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let name = path.file_name().unwrap_or_default();
            let copy = self.path.join(name);
            let text = format!(
                "SET default_transaction_read_only = off; SET transaction_read_only = off;\n{text}"
            );
            fs::write(&copy, text).map_err(|error| format!("{}: {error}", copy.display()))?;
            self.psql(database, &copy).await?;
        }
        Ok(format!("{} files", database.change.len()))
    }

    /// Everything as before it was begun.
    async fn take_back(mut self, reason: String) -> Result<Ended, Fault> {
        let database = self.database();
        let (from, to) = (self.plan.from, self.plan.from.other());
        self.note(Entry::Undoing {
            text: format!("clients go on at {}, nothing is left behind", from.name()),
        })?;
        let stuck =
            |error: String| Fault::Stuck(format!("{reason}; and it can't be taken back: {error}"));
        let serving = connect(&database, from).await.map_err(stuck)?;
        let other = connect(&database, to).await;
        fence(&serving, false).await.map_err(stuck)?;
        for pooler in &database.poolers {
            // One that is gone holds nobody.
            if let Ok(console) = crate::pooler::Console::open(pooler).await {
                console.resume().await.map_err(stuck)?;
            }
        }
        if self.plan.steps.contains(&Step::Copy) {
            match &other {
                Ok(other) => {
                    fence(other, false).await.map_err(stuck)?;
                    clean(other).await.map_err(stuck)?;
                    stream::drop_slot(other).await.map_err(stuck)?;
                }
                Err(error) => {
                    tracing::warn!(error, "green can't be cleaned; it is of no use any more")
                }
            }
            stream::drop_slot(&serving).await.map_err(stuck)?;
            clean(&serving).await.map_err(stuck)?;
        } else if let Ok(other) = &other {
            // Only the slot for the way after this one was made.
            fence(other, true).await.map_err(stuck)?;
            stream::drop_slot(other).await.map_err(stuck)?;
        }
        self.end(Outcome::Old, from, Some(reason))
    }
}

/// The stream that led to the side that serves now is ended, and one leads from there.
async fn turn(from: &Server, to: &Server) -> Result<String, String> {
    stream::unsubscribe(to).await?;
    stream::drop_slot(from).await?;
    let name = from.side.stream();
    let there = from
        .value(&format!(
            "SELECT 1 FROM pg_subscription WHERE subname = '{name}'"
        ))
        .await?;
    if there.is_empty() {
        stream::subscribe(from, to, false).await?;
    }
    Ok(format!("{} follows {}", from.side.name(), to.side.name()))
}

/// What differs between the tables of two moments.
fn changed(before: &[stream::Table], now: &[stream::Table]) -> Option<String> {
    let of = |all: &[stream::Table], name: &str| {
        all.iter()
            .find(|table| table.name == name)
            .map(|table| table.shape.clone())
    };
    for table in before {
        match of(now, &table.name) {
            None => return Some(format!("{} was dropped", table.name)),
            Some(shape) if shape != table.shape => {
                return Some(format!("{} was changed", table.name));
            }
            Some(_) => {}
        }
    }
    let new = now.iter().find(|table| of(before, &table.name).is_none());
    new.map(|table| format!("{} was made", table.name))
}

async fn run(program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .kill_on_drop(true)
        .output()
        .await;
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let said = String::from_utf8_lossy(&output.stderr);
            let said: String = said.trim().chars().take(600).collect();
            Err(format!("{program}: {}: {said}", output.status))
        }
    }
}
