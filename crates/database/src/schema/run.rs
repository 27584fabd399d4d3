//! The next phase of a change, and the way back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use everopen_rollout::execute::By;
use everopen_rollout::id;
use everopen_rollout::journal::{Entry, Journal, Line, Outcome};
use everopen_rollout::state::{Folder, write};

use super::clone::Clone;
use super::file::{File, Index, Schema, Version};
use super::{Phase, Proof, backfill};
use crate::run::{Fault, io_fault};
use crate::server::{Server, Side, literal};

/// How far it has come, and what each step said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done {
    /// The phase now.
    pub phase: Phase,
    /// What was done.
    pub told: Vec<String>,
}

/// How far the change has come.
///
/// # Errors
/// The database can't be asked.
pub async fn phase(file: &File) -> Result<Phase, String> {
    now(&connect(&file.schema).await?, &file.schema.name).await
}

async fn connect(schema: &Schema) -> Result<Server, String> {
    Server::connect(Side::Blue, &schema.database).await
}

async fn now(server: &Server, name: &str) -> Result<Phase, String> {
    let is_kept = server
        .value("SELECT to_regclass('everopen_schema.phase') IS NOT NULL")
        .await?;
    if is_kept != "t" {
        return Ok(Phase::Before);
    }
    let sql = format!(
        "SELECT phase FROM everopen_schema.phase WHERE change = {}",
        literal(name)
    );
    let found = server.value(&sql).await?;
    match found.is_empty() {
        true => Ok(Phase::Before),
        false => Phase::named(&found).ok_or_else(|| format!("{found:?} is no phase")),
    }
}

/// SQL by which the database knows where it is.
fn note(name: &str, phase: Phase) -> String {
    format!(
        "INSERT INTO everopen_schema.phase VALUES ({}, '{phase}', now()) ON CONFLICT (change) DO UPDATE SET phase = EXCLUDED.phase, at = now();",
        literal(name)
    )
}

/// Versions that serve or can be gone back to, by rollouts of the service or by the file.
fn serving(root: &Path, schema: &Schema) -> Result<Vec<String>, Fault> {
    let mut names = schema.serving.clone();
    if let Some(service) = &schema.service {
        let known = io_fault("read the service's rollouts", Folder::peek(root, service))?;
        names.extend(known.groups.into_values().map(|running| running.version));
    }
    names.sort();
    names.dedup();
    let unknown = |name: &&String| schema.versions.iter().all(|version| version.name != **name);
    if let Some(name) = names.iter().find(unknown) {
        return Err(Fault::Refused(format!(
            "version {name} serves or can be gone back to, and the file does not say how it is tried: add a [[schema.version]]"
        )));
    }
    Ok(names)
}

/// Tries each version on the schema as it is and on what the next phase makes of it, on a clone.
///
/// # Errors
/// The clone can't be made, or the change does not work on it.
pub async fn proofs(root: &Path, file: &File) -> Result<Vec<Proof>, Fault> {
    let schema = &file.schema;
    let at = phase(file).await.map_err(Fault::Refused)?;
    let next = match at {
        Phase::Before => Some((Phase::Expanded, &schema.expand.file)),
        Phase::Expanded | Phase::Migrated => schema
            .contract
            .as_ref()
            .map(|contract| (Phase::Contracted, &contract.file)),
        Phase::Contracted => None,
    };
    prove(root, schema, at, next).await
}

async fn prove(
    root: &Path,
    schema: &Schema,
    at: Phase,
    next: Option<(Phase, &PathBuf)>,
) -> Result<Vec<Proof>, Fault> {
    let serving = serving(root, schema)?;
    let clone = Clone::make(schema).await.map_err(Fault::Refused)?;
    let is_serving = |version: &Version| serving.contains(&version.name);
    let tried = async {
        let mut proofs = Vec::new();
        // One that fails on what there is says nothing about what there will be.
        for version in schema.versions.iter().filter(|one| is_serving(one)) {
            proofs.push(clone.check(version, at, true).await);
        }
        if let Some((phase, change)) = next {
            clone.run(change).await?;
            for version in &schema.versions {
                let proof = clone.check(version, phase, is_serving(version)).await;
                proofs.push(proof);
            }
        }
        Ok(proofs)
    }
    .await;
    let dropped = clone.drop().await;
    let proofs = tried.map_err(Fault::Refused)?;
    dropped.map_err(Fault::Refused)?;
    Ok(proofs)
}

/// Carries something out with a lock and a journal.
struct Work<'a> {
    _lock: Folder,
    journal: Journal,
    tell: &'a mut (dyn FnMut(&Line) + Send),
    step: usize,
    told: Vec<String>,
}

fn kept_file(root: &Path, name: &str) -> PathBuf {
    root.join(name).join("schema.json")
}

/// The file by which a change was last begun; none if nothing is known of one of that name.
///
/// # Errors
/// It can't be read.
pub fn kept(root: &Path, name: &str) -> io::Result<Option<File>> {
    match fs::read(kept_file(root, name)) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

impl<'a> Work<'a> {
    fn open(
        root: &Path,
        file: &File,
        what: &str,
        by: &By,
        tell: &'a mut (dyn FnMut(&Line) + Send),
    ) -> Result<Self, Fault> {
        let name = &file.schema.name;
        let lock = io_fault("open the change's folder", Folder::open(root, name))?;
        let text = serde_json::to_vec_pretty(file).map_err(Into::into);
        let text = io_fault("write what is done", text)?;
        io_fault("write what is done", write(&kept_file(root, name), &text))?;
        let path = lock.rollout(&id::fresh(what));
        io_fault("make the change's folder", fs::create_dir_all(&path))?;
        io_fault("write what is done", write(&path.join("plan.json"), &text))?;
        let opened = Journal::open(&path.join("journal.jsonl"));
        let (journal, _): (_, Vec<Line>) = io_fault("open the journal", opened)?;
        let mut work = Self {
            _lock: lock,
            journal,
            tell,
            step: 0,
            told: Vec::new(),
        };
        work.note(Entry::Opened {
            who: by.who.clone(),
            why: by.why.clone(),
        })?;
        Ok(work)
    }

    fn note(&mut self, entry: Entry) -> Result<(), Fault> {
        let line = io_fault("write the journal", self.journal.write(entry))?;
        (self.tell)(&line);
        Ok(())
    }

    async fn step(
        &mut self,
        text: &str,
        step: impl Future<Output = Result<String, String>>,
    ) -> Result<(), Fault> {
        let number = self.step;
        self.step += 1;
        self.note(Entry::Begun {
            step: number,
            text: text.into(),
        })?;
        match step.await {
            Ok(evidence) => {
                self.told.push(evidence.clone());
                self.note(Entry::Done {
                    step: number,
                    evidence,
                })
            }
            Err(reason) => {
                self.note(Entry::Failed {
                    step: number,
                    reason: reason.clone(),
                })?;
                self.note(Entry::Ended {
                    outcome: Outcome::Old,
                    noticed: "not measured".into(),
                })?;
                Err(Fault::Refused(reason))
            }
        }
    }

    /// Goes on only if every version that serves runs on what comes.
    async fn prove(
        &mut self,
        root: &Path,
        schema: &Schema,
        at: Phase,
        next: (Phase, &PathBuf),
    ) -> Result<(), Fault> {
        self.step("try all versions on a clone", async {
            let proofs = prove(root, schema, at, Some(next)).await;
            judge(&proofs.map_err(|fault| fault.to_string())?)
        })
        .await
    }

    fn end(mut self, phase: Phase) -> Result<Done, Fault> {
        self.note(Entry::Ended {
            outcome: Outcome::New,
            noticed: "not measured".into(),
        })?;
        Ok(Done {
            phase,
            told: self.told,
        })
    }
}

/// What stands in the way; else what was seen.
fn judge(proofs: &[Proof]) -> Result<String, String> {
    let lines = |proofs: &mut dyn Iterator<Item = &Proof>| {
        let lines: Vec<String> = proofs.map(ToString::to_string).collect();
        lines.join("\n      ")
    };
    let wrong = |proof: &&Proof| proof.is_serving && proof.failed.is_some();
    match proofs.iter().any(|proof| wrong(&proof)) {
        true => Err(lines(&mut proofs.iter().filter(wrong))),
        false => Ok(lines(&mut proofs.iter())),
    }
}

/// Does the next phase: what is new is added and rows are filled; or, when that is done, what is old is taken
/// away. One that was cut off goes on where it was.
///
/// # Errors
/// [`Fault`]; a version that serves would not run on it, among others.
pub async fn apply(
    root: &Path,
    by: &By,
    file: &File,
    tell: &mut (dyn FnMut(&Line) + Send),
) -> Result<Done, Fault> {
    let schema = &file.schema;
    let server = connect(schema).await.map_err(Fault::Refused)?;
    let at = now(&server, &schema.name).await.map_err(Fault::Refused)?;
    let contract = match (at, &schema.contract) {
        (Phase::Contracted, _) | (Phase::Migrated, None) => {
            return Err(Fault::Refused(format!("it is {at}: nothing is left to do")));
        }
        (Phase::Before | Phase::Expanded, _) => None,
        (Phase::Migrated, Some(contract)) => Some(contract),
    };
    let what = if contract.is_some() {
        "contract"
    } else {
        "expand"
    };
    let mut work = Work::open(root, file, what, by, tell)?;
    if let Some(contract) = contract {
        work.prove(root, schema, at, (Phase::Contracted, &contract.file))
            .await?;
        work.step(
            "look whether all rows have their values",
            all_filled(&server, schema),
        )
        .await?;
        work.step(
            "take away what is old",
            change(&server, schema, &contract.file, Phase::Contracted),
        )
        .await?;
        return work.end(Phase::Contracted);
    }
    if at == Phase::Before {
        work.prove(root, schema, at, (Phase::Expanded, &schema.expand.file))
            .await?;
        work.step(
            "add what is new",
            change(&server, schema, &schema.expand.file, Phase::Expanded),
        )
        .await?;
    }
    for index in &schema.expand.index {
        work.step(
            &format!("make index {}", index.name),
            make_index(&server, index),
        )
        .await?;
    }
    for backfill in &schema.backfill {
        work.step(&format!("fill {}", backfill.table), async {
            let filled = backfill::fill(&server, backfill, schema.lock_ms).await?;
            Ok(filled.told(&backfill.table))
        })
        .await?;
    }
    work.step("look whether all rows have their values", async {
        let told = all_filled(&server, schema).await?;
        server.run(&note(&schema.name, Phase::Migrated)).await?;
        Ok(told)
    })
    .await?;
    work.end(Phase::Migrated)
}

/// Takes away what was added.
///
/// # Errors
/// [`Fault`]; there is no way back, or a version that serves would not run on it, among others.
pub async fn roll_back(
    root: &Path,
    by: &By,
    file: &File,
    tell: &mut (dyn FnMut(&Line) + Send),
) -> Result<Done, Fault> {
    let schema = &file.schema;
    let server = connect(schema).await.map_err(Fault::Refused)?;
    let at = now(&server, &schema.name).await.map_err(Fault::Refused)?;
    let undo = match (at, &schema.expand.undo) {
        (Phase::Before, _) => return Err(Fault::Refused("nothing was changed".into())),
        (Phase::Contracted, _) => {
            return Err(Fault::Refused(
                "what was taken away is gone: the way back is a backup, or the next change".into(),
            ));
        }
        (_, None) => return Err(Fault::Refused("the file has no `expand.undo`".into())),
        (_, Some(undo)) => undo,
    };
    let mut work = Work::open(root, file, "undo", by, tell)?;
    work.prove(root, schema, at, (Phase::Before, undo)).await?;
    work.step(
        "take away what was added",
        change(&server, schema, undo, Phase::Before),
    )
    .await?;
    work.end(Phase::Before)
}

/// Runs a file in one transaction, in which the database notes where it is then. A lock that does not come in time
/// is asked for again later, so that clients do not wait behind it.
async fn change(
    server: &Server,
    schema: &Schema,
    file: &Path,
    then: Phase,
) -> Result<String, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    server
        .run("CREATE SCHEMA IF NOT EXISTS everopen_schema; CREATE TABLE IF NOT EXISTS everopen_schema.phase (change text PRIMARY KEY, phase text NOT NULL, at timestamptz NOT NULL)")
        .await?;
    let sql = format!(
        "BEGIN; SET LOCAL lock_timeout = {};\n{text}\n;{} COMMIT",
        schema.lock_ms,
        note(&schema.name, then)
    );
    let mut last = String::new();
    for attempt in 1..=schema.attempts {
        if attempt > 1 {
            tokio::time::sleep(Duration::from_millis(schema.retry_ms)).await;
        }
        match server.run(&sql).await {
            Ok(()) => return Ok(format!("in {attempt} tries")),
            Err(error) => {
                let _ = server.run("ROLLBACK").await;
                if !error.contains("55P03") {
                    return Err(format!("{}: {error}", file.display()));
                }
                tracing::info!(attempt, error, "a lock is asked for again later");
                last = error;
            }
        }
    }
    Err(format!(
        "no lock within {} ms in {} tries; nothing has changed. The last: {last}",
        schema.lock_ms, schema.attempts
    ))
}

/// Without a lock that writers wait for; one that was cut off in the middle is made anew.
async fn make_index(server: &Server, index: &Index) -> Result<String, String> {
    let Index { name, on, unique } = index;
    let state = format!(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass({})",
        literal(name)
    );
    let unique = if *unique { "UNIQUE " } else { "" };
    match server.value(&state).await?.as_str() {
        "t" => return Ok("it is there".into()),
        "f" => {
            server
                .run(&format!("DROP INDEX CONCURRENTLY {name}"))
                .await?
        }
        _ => {}
    }
    let made = server
        .run(&format!("CREATE {unique}INDEX CONCURRENTLY {name} ON {on}"))
        .await;
    if made.is_err() {
        // What is left of it would be kept up to date for nothing.
        let _ = server
            .run(&format!("DROP INDEX CONCURRENTLY IF EXISTS {name}"))
            .await;
    }
    made.map(|()| "made".into())
}

async fn all_filled(server: &Server, schema: &Schema) -> Result<String, String> {
    for backfill in &schema.backfill {
        let left = server
            .value(&format!(
                "SELECT count(*) FROM {} WHERE {}",
                backfill.table, backfill.still
            ))
            .await?;
        if left != "0" {
            return Err(format!(
                "{left} rows of {} have none yet: a version that serves writes rows without them. Let the database fill them (a trigger, a default), or go on when it is gone",
                backfill.table
            ));
        }
    }
    Ok(format!("{} tables", schema.backfill.len()))
}
