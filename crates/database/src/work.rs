//! What each step of a plan does.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use tokio::process::Command;

use crate::clone::Cloning;
use crate::cutover::{Cutover, Held, fence, set_lines, switch};
use crate::file::{CloneOf, Database, How, Strategy};
use crate::plan::{Plan, Step};
use crate::proof::Proof;
use crate::run::connect;
use crate::server::{Server, Side};
use crate::{guard, preflight, seed, stream, writes};

/// What the steps of one rollout share.
pub(crate) struct Work {
    pub database: Database,
    pub from: Side,
    id: String,
    path: PathBuf,
    guard: Vec<String>,
    /// Connections that stay open for the whole of it, each from when it is first needed.
    sides: Sides,
    tables: Vec<stream::Table>,
    held: Option<Held>,
    /// Whether a pooler may lead to the other side.
    pub is_told: bool,
    /// For how long clients noticed it, when they were let go.
    pub noticed: Option<String>,
}

#[derive(Default)]
struct Sides {
    from: Option<Server>,
    to: Option<Server>,
}

impl Work {
    pub fn new(plan: &Plan, path: PathBuf, guard: &[String], is_told: bool) -> Self {
        Self {
            database: plan.file.database.clone(),
            from: plan.from,
            id: plan.id.clone(),
            path,
            guard: guard.to_vec(),
            sides: Sides::default(),
            tables: Vec::new(),
            held: None,
            is_told,
            noticed: None,
        }
    }

    /// Until when writes may be held, if they are and it is still possible to go back.
    pub fn deadline(&self) -> Option<Instant> {
        let clone = self.database.clone.as_ref()?;
        let held = self.held.as_ref().filter(|held| held.is_of_writes())?;
        (!self.is_told).then(|| held.began + clone.hold())
    }

    async fn open_from(&mut self) -> Result<(), String> {
        if self.sides.from.is_none() {
            self.sides.from = Some(connect(&self.database, self.from).await?);
        }
        if self.tables.is_empty() {
            self.tables = stream::tables(self.from()).await?;
        }
        Ok(())
    }

    async fn open_both(&mut self) -> Result<(), String> {
        self.open_from().await?;
        if self.sides.to.is_none() {
            self.sides.to = Some(connect(&self.database, self.from.other()).await?);
        }
        Ok(())
    }

    fn from(&self) -> &Server {
        self.sides
            .from
            .as_ref()
            .expect("invariant: it is opened first")
    }

    fn to(&self) -> &Server {
        self.sides
            .to
            .as_ref()
            .expect("invariant: it is opened first")
    }

    /// Does a step. What it says of it.
    pub async fn step(&mut self, step: Step) -> Result<String, String> {
        match step {
            Step::Preflight => return self.preflight().await,
            Step::Mark | Step::HoldWrites | Step::Keep | Step::Clone => self.open_from().await?,
            _ => self.open_both().await?,
        }
        match step {
            Step::Preflight => unreachable!("it was done above"),
            Step::Mark => {
                stream::prepare(self.from(), self.from()).await?;
                Ok("its schema is everopen".into())
            }
            Step::HoldWrites => self.hold_writes().await,
            Step::Keep => {
                stream::publish(self.from(), &self.tables, false).await?;
                let patience = Duration::from_millis(self.database.copy_ms);
                stream::make_slot(self.from(), patience).await?;
                let (slot, on) = (self.from.other().stream(), self.from.name());
                Ok(format!("slot {slot} on {on}"))
            }
            Step::Clone if self.database.strategy == Strategy::Replicate => self.seed().await,
            Step::Clone => self.clone_blue().await,
            Step::Follow => {
                let (from, to) = (self.from(), self.to());
                let patience = Duration::from_millis(self.database.copy_ms);
                stream::subscribe(to, from, false, patience).await?;
                stream::followed(to, from, patience).await
            }
            Step::Schema => self.schema().await,
            Step::Change => self.change().await,
            Step::Copy => {
                let (from, to) = (self.from(), self.to());
                stream::publish(from, &self.tables, false).await?;
                let patience = Duration::from_millis(self.database.copy_ms);
                stream::subscribe(to, from, true, patience).await?;
                stream::copied(to, from, patience).await
            }
            Step::WayBack => {
                let to = self.to();
                let both = stream::common(&self.tables, &stream::tables(to).await?);
                let is_to_change = self.held.as_ref().is_some_and(Held::is_of_writes);
                stream::publish(to, &both, is_to_change).await?;
                stream::make_slot(to, Duration::from_millis(self.database.copy_ms)).await?;
                stream::forget_beginning(to).await?;
                self.note("way back");
                let (slot, on) = (self.from.stream(), self.from.other().name());
                Ok(format!("slot {slot} on {on}"))
            }
            Step::Hold => self.hold().await,
            Step::Switch => {
                if let Some(mut held) = self.held.take_if(|held| held.is_of_writes()) {
                    let paused = writes::hold_all(&self.database, self.from(), &mut held).await;
                    self.held = Some(held);
                    paused?;
                    fence(self.to(), false).await?;
                } else if self.held.is_none() {
                    fence(self.to(), false).await?;
                }
                // Nobody is sent to one that has died since.
                self.to().value("SELECT 1").await?;
                let side = self.to().side;
                set_lines(&self.database, side)?;
                self.is_told = true;
                let told = switch(&self.database, self.held.as_ref(), side).await;
                self.noticed = Some(told.clone());
                Ok(told)
            }
            Step::Turn => turn(self.from(), self.to()).await,
            Step::Proof => match self.held.take().and_then(|held| held.proof) {
                Some(proof) => {
                    let both = stream::common(&self.tables, &stream::tables(self.to()).await?);
                    proof
                        .compare(&both, Some(&self.path.join("proof.json")))
                        .await
                }
                None => Ok("not taken, since it was cut off while clients were held".into()),
            },
        }
    }

    fn note(&mut self, what: &str) {
        if let Some(held) = &mut self.held {
            held.note(what);
        }
    }

    async fn preflight(&self) -> Result<String, String> {
        let found = preflight::look(&self.database).await?;
        let told: Vec<String> = found.iter().map(ToString::to_string).collect();
        match found.iter().any(|finding| finding.blocks) {
            true => Err(told.join("\n      ")),
            false if told.is_empty() => Ok("nothing stands in the way".into()),
            false => Ok(told.join("\n      ")),
        }
    }

    fn clone_of(&self) -> Result<&CloneOf, String> {
        let clone = self.database.clone.as_ref();
        clone.ok_or_else(|| "the file does not say how green is made".into())
    }

    /// Before anybody is held.
    fn start_guard(&self) -> Result<(), String> {
        let mut command = self.guard.clone();
        if !command.is_empty() {
            command.push(self.database.name.clone());
        }
        guard::start(&command).map_err(|error| format!("start the guard: {error}"))
    }

    async fn hold_writes(&mut self) -> Result<String, String> {
        self.start_guard()?;
        let held = writes::hold(&self.database, self.clone_of()?, self.from()).await?;
        let mut told = "nobody writes any more, and reads go on".to_string();
        if !held.strays.is_empty() {
            let strays = held.strays.join(", ");
            told += &format!("; sessions that had gone around the poolers were ended: {strays}");
        }
        self.held = Some(held);
        Ok(told)
    }

    async fn clone_blue(&mut self) -> Result<String, String> {
        let cloning = Cloning {
            database: &self.database,
            clone: self.clone_of()?,
            id: &self.id,
            path: &self.path,
        };
        let told = cloning.make(self.from()).await?;
        let is_dump = cloning.clone.how == How::Dump;
        self.note("clone");
        self.open_both().await?;
        if is_dump {
            // Plans of queries need it; the dump of before 18 has none.
            self.to().run("ANALYZE").await?;
            self.note("analyze");
        }
        // What it is now is kept, before it is changed.
        let mut proof = Proof::connect(self.from(), self.to()).await?;
        proof.keep_before_change().await?;
        if let Some(held) = &mut self.held {
            held.proof = Some(proof);
        }
        self.note("snapshot");
        Ok(told)
    }

    /// As [`Work::clone_blue`], while clients write; it says where it ends.
    async fn seed(&mut self) -> Result<String, String> {
        let patience = Duration::from_millis(self.database.copy_ms);
        let cloning = Cloning {
            database: &self.database,
            clone: self.clone_of()?,
            id: &self.id,
            path: &self.path,
        };
        // What is cut off by the time limit is dropped, and with it its programs.
        let told = tokio::time::timeout(patience, cloning.make(self.from())).await;
        let told =
            told.map_err(|_| format!("it took longer than {} ms", patience.as_millis()))??;
        let green = seed::up(&self.database, patience).await?;
        self.sides.to = Some(green);
        let ends = seed::join(self.to(), self.from()).await?;
        fence(self.to(), true).await?;
        Ok(format!("{told}; it ends at {ends} of blue's log"))
    }

    async fn schema(&self) -> Result<String, String> {
        let (from, to) = (self.from(), self.to());
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
            &self.database.blue,
        ];
        run(&self.database.pg_dump, &dump).await?;
        self.psql(&path).await?;
        fence(to, true).await?;
        Ok(format!("after {} ms", began.elapsed().as_millis()))
    }

    async fn psql(&self, path: &std::path::Path) -> Result<(), String> {
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
            &self.database.green,
        ];
        run(&self.database.psql, &arguments).await
    }

    async fn change(&mut self) -> Result<String, String> {
        // A clone has rows already, and those go on to come from blue.
        let is_seed = self.database.clone.is_some() && self.held.is_none();
        let watch = match is_seed {
            true => Some(seed::Watch::begin(self.to()).await?),
            false => None,
        };
        for path in &self.database.change {
            // The fence is for clients.
            let text =
                fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            let name = path.file_name().unwrap_or_default();
            let copy = self.path.join(name);
            let text = format!(
                "SET default_transaction_read_only = off; SET transaction_read_only = off;\n{text}"
            );
            fs::write(&copy, text).map_err(|error| format!("{}: {error}", copy.display()))?;
            self.psql(&copy).await?;
        }
        let now = stream::tables(self.to()).await?;
        let both = stream::common(&self.tables, &now);
        stream::only_whole(&both, &now)?;
        if let Some(watch) = watch {
            watch.end(self.to(), &both).await?;
        }
        self.note("change");
        Ok(format!("{} files", self.database.change.len()))
    }

    async fn hold(&mut self) -> Result<String, String> {
        let now = stream::tables(self.from()).await?;
        if let Some(changed) = changed(&self.tables, &now) {
            return Err(format!(
                "{changed} while rows were copied: that is not on the other side"
            ));
        }
        self.start_guard()?;
        let cutover = Cutover {
            database: &self.database,
            from: self.from(),
            to: self.to(),
        };
        self.held = Some(cutover.hold().await?);
        Ok("clients are held".to_string())
    }

    /// Clients who are held go on where they were, if they can't have been sent on. Needs no journal.
    pub async fn let_go(&mut self) -> Result<(), String> {
        let Some(held) = self.held.take().filter(|_| !self.is_told) else {
            return Ok(());
        };
        if held.is_of_writes() {
            return writes::let_go(&self.database, self.from()).await;
        }
        let cutover = Cutover {
            database: &self.database,
            from: self.from(),
            to: self.to(),
        };
        cutover.release().await
    }

    /// Ends and removes what was made of a green that was to be a clone.
    pub async fn remove_clone(&self) -> Result<(), String> {
        let cloning = Cloning {
            database: &self.database,
            clone: self.clone_of()?,
            id: &self.id,
            path: &self.path,
        };
        cloning.remove().await
    }
}

/// The stream that led to the side that serves now is ended, and one leads from there.
async fn turn(from: &Server, to: &Server) -> Result<String, String> {
    stream::unsubscribe(to).await?;
    stream::drop_slot(from).await?;
    if !stream::is_subscribed(from).await? {
        // One from before it was cut off may be there, and not have begun yet.
        stream::unsubscribe(from).await?;
        stream::subscribe(from, to, false, Duration::MAX).await?;
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
