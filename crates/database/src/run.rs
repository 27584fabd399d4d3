//! Rollouts of databases: begun, brought to their end, turned back, finished, watched over.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use everopen_rollout::execute::By;
use everopen_rollout::journal::{self, Entry, Line, Outcome};
use everopen_rollout::state::{Folder, now_ms, write};
use serde::{Deserialize, Serialize};

use crate::controller::Controller;
use crate::file::{Database, File};
pub use crate::plan::{Plan, Step};
use crate::server::Server;
pub use crate::server::Side;
use crate::stream;

/// Between two looks of a guard.
const LOOK: Duration = Duration::from_millis(50);

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

pub(crate) fn io_fault<T>(what: &str, done: io::Result<T>) -> Result<T, Fault> {
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

pub(crate) fn set_state(root: &Path, name: &str, state: &State) -> Result<(), Fault> {
    let text = serde_json::to_vec_pretty(state).map_err(Into::into);
    let text = io_fault("write what is known of it", text)?;
    io_fault(
        "write what is known of it",
        write(&state_file(root, name), &text),
    )
}

/// The database's folder, for whoever works on it.
fn lock(root: &Path, name: &str) -> Result<Folder, Fault> {
    io_fault("open the database's folder", Folder::open(root, name))
}

/// Whether somebody is at work on it.
pub fn is_at_work(root: &Path, name: &str) -> bool {
    Folder::is_held(root, name)
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
    let lock = lock(site.root, &name)?;
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
    let lock = lock(site.root, name)?;
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
        // Asked first: what is read afterwards is then all that there is.
        let is_free = !is_at_work(site.root, name);
        if !is_within(site.root, name)? {
            return Ok(());
        }
        if is_free {
            match resume(site, name, &mut |_| {}).await {
                // Somebody else has begun to.
                Err(_) if is_at_work(site.root, name) => {}
                ended => return ended.map(drop),
            }
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Whether a rollout is under way that holds clients, as far as its journal knows.
pub(crate) fn is_within(root: &Path, name: &str) -> Result<bool, Fault> {
    let known = io_fault("read what is known of it", state(root, name))?;
    let Some(id) = known.and_then(|known| known.under_way) else {
        return Ok(false);
    };
    let path = root.join(name).join(&id);
    let lines: Vec<Line> = io_fault(
        "read the journal",
        journal::read(&path.join("journal.jsonl")),
    )?;
    let text = io_fault("read the plan", fs::read(path.join("plan.json")))?;
    let plan: Plan = io_fault(
        "read the plan",
        serde_json::from_slice(&text).map_err(Into::into),
    )?;
    Ok(is_between(&plan, &lines))
}

/// Whether clients are held, as far as the journal knows.
fn is_between(plan: &Plan, lines: &[Line]) -> bool {
    let place = |step: Step| plan.steps.iter().position(|one| *one == step);
    let hold = place(Step::Hold).or(place(Step::HoldWrites));
    let switch = place(Step::Switch);
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
    let _lock = lock(site.root, name)?;
    let database = &known.file.database;
    let serving = connect(database, known.serving)
        .await
        .map_err(Fault::Stuck)?;
    // The other may be gone already; then its slot here is all that matters.
    let mut told = "nothing of the rollout is left".to_string();
    match connect(database, known.serving.other()).await {
        Ok(other) => {
            clean(&other).await.map_err(Fault::Stuck)?;
            // It has one if it died before clients were sent there.
            stream::drop_slot(&other).await.map_err(Fault::Stuck)?;
        }
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

pub(crate) async fn connect(database: &Database, side: Side) -> Result<Server, String> {
    let (dsn, from_other) = match side {
        Side::Blue => (&database.blue, &database.blue_from_green),
        Side::Green => (&database.green, &database.green_from_blue),
    };
    let mut server = Server::connect(side, dsn).await?;
    if let Some(from_other) = from_other {
        server.from_other.clone_from(from_other);
    }
    Ok(server)
}

/// All that is ours on a side, but for the slot that the other one uses.
pub(crate) async fn clean(server: &Server) -> Result<(), String> {
    stream::clean(server).await?;
    server.run("DROP SCHEMA IF EXISTS everopen CASCADE").await
}
