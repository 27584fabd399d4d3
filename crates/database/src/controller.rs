//! Carrying a plan out. Until clients are sent to the other side everything can be taken back; from there on
//! it is brought to its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use everopen_rollout::journal::{Entry, Journal, Line, Outcome};
use everopen_rollout::state::{Folder, now_ms};
use tokio::process::Command;

use crate::cutover::{Cutover, Held, fence, is_fenced, set_lines, switch};
use crate::file::Database;
use crate::plan::{Plan, Step};
use crate::run::{Ended, Fault, Site, State, clean, connect, io_fault, set_state, state};
use crate::server::{Server, Side};
use crate::{guard, preflight, stream};

/// The controller of one rollout.
pub(crate) struct Controller<'a> {
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
    pub fn open(
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

    pub async fn go_on(self) -> Result<Ended, Fault> {
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
            // Clients may be on the other side already, unless they were let go where they were, when the
            // journal could not be written.
            Some(step) if step >= self.place(Step::Switch) => {
                let is_told = first > self.place(Step::Switch);
                match is_told || self.is_held().await? {
                    true => self.forth(first).await,
                    false => self.take_back("clients had been let go".into()).await,
                }
            }
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

    /// Whether the side that served still takes no writes.
    async fn is_held(&self) -> Result<bool, Fault> {
        let from = connect(&self.plan.file.database, self.plan.from).await;
        let from = from.map_err(Fault::Stuck)?;
        is_fenced(&from).await.map_err(Fault::Stuck)
    }

    async fn forth(mut self, first: usize) -> Result<Ended, Fault> {
        let database = self.database();
        let to = self.plan.from.other();
        let mut held: Option<Held> = None;
        // Those that stay open for the whole of it.
        let mut sides: Option<(Server, Server)> = None;
        let mut tables = Vec::new();
        // Whether a pooler may lead to the other side.
        let mut is_told = first > self.place(Step::Switch);
        for place in first..self.plan.steps.len() {
            let step = self.plan.steps[place];
            let begun = Entry::Begun {
                step: place,
                text: step.to_string(),
            };
            if let Err(fault) = self.note(begun) {
                return Err(self.let_go(fault, held.is_some() && !is_told, &sides).await);
            }
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
                        let patience = Duration::from_millis(database.copy_ms);
                        stream::copied(to, from, patience).await
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
                    Step::Switch => {
                        set_lines(&database, to.side)?;
                        is_told = true;
                        Ok(switch(&database, held.as_ref(), to.side).await)
                    }
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
                Ok(evidence) => {
                    let done = Entry::Done {
                        step: place,
                        evidence,
                    };
                    if let Err(fault) = self.note(done) {
                        return Err(self.let_go(fault, held.is_some() && !is_told, &sides).await);
                    }
                }
                Err(reason) => {
                    let failed = Entry::Failed {
                        step: place,
                        reason: reason.clone(),
                    };
                    if let Err(fault) = self.note(failed) {
                        return Err(self.let_go(fault, held.is_some() && !is_told, &sides).await);
                    }
                    drop(held);
                    if !is_told {
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

    /// The journal can't be written, so nothing more is begun. Clients who are held are let go where they
    /// were, which needs no journal; the rollout itself stays cut off.
    async fn let_go(
        &self,
        fault: Fault,
        are_held: bool,
        sides: &Option<(Server, Server)>,
    ) -> Fault {
        let (true, Some((from, to))) = (are_held, sides) else {
            return fault;
        };
        let database = self.database();
        let cutover = Cutover {
            database: &database,
            from,
            to,
        };
        match cutover.release().await {
            Ok(()) => fault,
            Err(error) => Fault::Stuck(format!("{fault}; and clients can't be let go: {error}")),
        }
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
        stream::prepare(from, to).await?;
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
            stream::drop_copies(&serving).await.map_err(stuck)?;
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
