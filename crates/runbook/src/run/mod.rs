//! Runs: carried out with a journal, taken up again after they were cut off, cancelled, approved, undone.
//!
//! A run has a folder: the document as it was when the run began, `run.json`, `journal.jsonl`, and what
//! people decided.

pub mod approval;
mod executor;
mod progress;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use everopen_rollout::id;
use everopen_rollout::journal::{self, Line};
use everopen_rollout::state::{Folder, now_ms, write};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::document::{Document, parameter};
use executor::Executor;
pub use progress::{At, Open, Progress};

/// What a line of a run's journal says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Entry {
    /// Somebody began the run, or took it up.
    Opened {
        /// Who: the system's user.
        who: String,
        /// Why, in their words.
        why: String,
    },
    /// A step is begun.
    Begun {
        /// Its name.
        step: String,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// A step has ended well.
    Done {
        /// Its name.
        step: String,
        /// What came of it, for later steps.
        results: Map<String, Value>,
        /// What was seen, for people.
        evidence: String,
        /// The step that comes next; none at the end.
        next: Option<String>,
    },
    /// An attempt has failed.
    Failed {
        /// The step.
        step: String,
        /// Why.
        reason: String,
        /// Whether it is tried again.
        again: bool,
        /// Whether the run has failed with it.
        counts: bool,
        /// If not, the step that comes next; none at the end.
        next: Option<String>,
    },
    /// Somebody cancelled the run.
    Cancelled {
        /// Who.
        who: String,
        /// Why.
        why: String,
        /// The step that comes next; none at the end.
        next: Option<String>,
    },
    /// Somebody wants a run that had ended well to be undone.
    TakenBack {
        /// Who.
        who: String,
        /// Why.
        why: String,
    },
    /// A step is being undone.
    Undoing {
        /// Its name.
        step: String,
        /// Which attempt, from 1.
        attempt: u32,
    },
    /// A step is undone.
    Undone {
        /// Its name.
        step: String,
        /// What was seen.
        evidence: String,
    },
    /// A step could not be undone.
    NotUndone {
        /// Its name.
        step: String,
        /// Why.
        reason: String,
        /// Whether it is tried again.
        again: bool,
    },
    /// The run has ended.
    Ended {
        /// How.
        outcome: Outcome,
    },
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Well; steps that are not critical may have failed.
    Success,
    /// A critical step failed. What could be undone is undone.
    Failed,
    /// Somebody cancelled it. What could be undone is undone.
    Cancelled,
    /// It had ended well, and was undone afterwards.
    TakenBack,
}

pub use everopen_rollout::execute::By;

/// What a run was begun with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begun {
    /// Its name.
    pub id: String,
    /// The document's file.
    pub file: PathBuf,
    /// The values of its parameters.
    pub parameters: BTreeMap<String, Value>,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// Why a run could not be begun, or not be brought to an end: the folder or the journal failed, and the run is
/// cut off and can be resumed; or it is not to be done.
pub use everopen_rollout::execute::Fault;
pub(crate) use everopen_rollout::execute::io_fault;

/// How it ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// How.
    pub outcome: Outcome,
    /// Where the run was then: its failures, what was undone and what was not.
    pub progress: Progress,
    /// The values of the document's `outputs` that have one.
    pub outputs: BTreeMap<String, Value>,
}

/// A run that was looked at.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What it was begun with.
    pub begun: Begun,
    /// The document.
    pub document: Document,
    /// Its journal.
    pub lines: Vec<Line<Entry>>,
    /// What the journal says.
    pub progress: Progress,
    /// Whether somebody is at work on it.
    pub is_at_work: bool,
}

fn from_json<T: serde::de::DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

/// Looks at a run without changing it.
///
/// # Errors
/// There is none of this name, or it can't be read.
pub fn look(root: &Path, id: &str) -> Result<Seen, Fault> {
    let folder = folder(root, id)?;
    let (begun, document) = read(&folder)?;
    let path = folder.join("journal.jsonl");
    let lines = match path.exists() {
        true => io_fault("read the journal", journal::read(&path))?,
        false => Vec::new(),
    };
    Ok(Seen {
        begun,
        progress: Progress::of(&document, &lines),
        document,
        lines,
        is_at_work: Folder::is_held(root, id),
    })
}

fn read(folder: &Path) -> Result<(Begun, Document), Fault> {
    let begun = io_fault("read the run", from_json(&folder.join("run.json")))?;
    let document = from_json(&folder.join("document.json"));
    Ok((begun, io_fault("read the document", document)?))
}

/// The run's folder. A name is one of ours, and no path.
fn folder(root: &Path, id: &str) -> Result<PathBuf, Fault> {
    let is_name = !id.is_empty() && !id.starts_with('.') && !id.contains('/');
    let folder = root.join(id);
    match is_name && folder.join("run.json").exists() {
        true => Ok(folder),
        false => Err(Fault::Refused(format!(
            "there is no run {id:?} in {}",
            root.display()
        ))),
    }
}

/// The runs, oldest first.
///
/// # Errors
/// The folder can't be read.
pub fn all(root: &Path) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    if !root.exists() {
        return Ok(found);
    }
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        if entry.path().join("run.json").exists() {
            found.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    found.sort();
    Ok(found)
}

/// Begins a run: its folder with everything that it needs. [`resume`] carries it to its end.
///
/// # Errors
/// A parameter is wrong, the document has steps that are not translated, or the folder failed.
pub fn prepare(
    root: &Path,
    file: &Path,
    document: &Document,
    given: &[(String, String)],
) -> Result<Begun, Fault> {
    if let [(step, why), ..] = document.untranslated().as_slice() {
        let text = format!("step {step:?} is not translated yet: {why}");
        return Err(Fault::Refused(text));
    }
    let parameters = parameter::values(document, given).map_err(Fault::Refused)?;
    let file = io_fault("find the document", std::path::absolute(file))?;
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let known = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let stem: String = stem
        .chars()
        .map(|c| if known(c) { c } else { '-' })
        .collect();
    let at_ms = now_ms();
    let id = id::fresh(&stem);
    io_fault("make the folder of runs", std::fs::create_dir_all(root))?;
    let folder = root.join(&id);
    io_fault("make the run's folder", std::fs::create_dir(&folder))?;
    let begun = Begun {
        id,
        file,
        parameters,
        at_ms,
    };
    let keep = |name: &str, bytes: serde_json::Result<Vec<u8>>| {
        let written = bytes
            .map_err(Into::into)
            .and_then(|bytes| write(&folder.join(name), &bytes));
        io_fault(format!("write {name}"), written)
    };
    keep("document.json", serde_json::to_vec_pretty(document))?;
    // Last: with it the run is there.
    keep("run.json", serde_json::to_vec_pretty(&begun))?;
    Ok(begun)
}

/// Carries a run to its end that was begun, or cut off.
///
/// # Errors
/// There is none, it has ended, somebody is at work on it, or the folder or the journal failed.
pub async fn resume(
    root: &Path,
    id: &str,
    by: &By,
    tell: &mut (dyn FnMut(&Line<Entry>) + Send),
) -> Result<Ended, Fault> {
    if let At::Ended(outcome) = look(root, id)?.progress.at {
        return Err(Fault::Refused(format!("run {id} has ended: {outcome:?}")));
    }
    take(root, id, by, tell)?.go_on().await
}

/// Undoes a run that had ended well.
///
/// # Errors
/// It has not, or the folder or the journal failed.
pub async fn undo(
    root: &Path,
    id: &str,
    by: &By,
    tell: &mut (dyn FnMut(&Line<Entry>) + Send),
) -> Result<Ended, Fault> {
    match look(root, id)?.progress.at {
        At::Ended(Outcome::Success) => {
            let mut executor = take(root, id, by, tell)?;
            executor.note(Entry::TakenBack {
                who: by.who.clone(),
                why: by.why.clone(),
            })?;
            executor.go_on().await
        }
        At::Ended(outcome) => Err(Fault::Refused(format!(
            "run {id} has ended ({outcome:?}) and is undone as far as it can be"
        ))),
        _ => Err(Fault::Refused(format!(
            "run {id} has not ended: cancel it, and it is undone"
        ))),
    }
}

fn take<'a>(
    root: &Path,
    id: &str,
    by: &By,
    tell: &'a mut (dyn FnMut(&Line<Entry>) + Send),
) -> Result<Executor<'a>, Fault> {
    let lock = io_fault(format!("take run {id}"), Folder::open(root, id))?;
    let path = folder(root, id)?;
    let (begun, document) = read(&path)?;
    Executor::open(lock, path, begun, document, by, tell)
}

/// Ends a run: the step at work is stopped, and what was done is undone. One that was cut off does so when
/// it is resumed.
///
/// # Errors
/// There is none, or it has ended.
pub fn cancel(root: &Path, id: &str, by: &By) -> Result<(), Fault> {
    let seen = look(root, id)?;
    match seen.progress.at {
        At::Ended(outcome) => {
            return Err(Fault::Refused(format!("run {id} has ended: {outcome:?}")));
        }
        At::Undo => {
            return Err(Fault::Refused(format!("run {id} is being undone already")));
        }
        At::Step { .. } => {}
    }
    let text = io_fault("write the word", serde_json::to_vec(by).map_err(Into::into))?;
    let path = folder(root, id)?.join("cancel.json");
    io_fault("write the word", write(&path, &text))
}
