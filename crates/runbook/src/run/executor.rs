//! Carrying a run on: each step is in the journal before it is begun.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use everopen_rollout::execute::end_processes;
use everopen_rollout::journal::{Journal, Line};
use everopen_rollout::state::Folder;
use serde_json::{Map, Value};
use tokio::task::block_in_place;

use super::{At, Begun, By, Ended, Entry, Fault, Outcome, Progress, from_json, io_fault};
use crate::actions::{Performed, Place, perform};
use crate::document::{Document, Kind, OnCancel, OnFailure, Step};

/// Between two looks whether somebody has cancelled the run.
const LOOK: Duration = Duration::from_millis(100);
/// What a step that was cut off left at work may take to end before it is killed.
const LEFT: Duration = Duration::from_secs(5);
/// Attempts of all steps of a run: a document may go round in circles, but not for ever.
const ATTEMPTS_MAX: u64 = 10_000;

pub(super) struct Executor<'a> {
    folder: PathBuf,
    _lock: Folder,
    begun: Begun,
    document: Document,
    journal: Journal,
    progress: Progress,
    /// Lines in the journal.
    lines: usize,
    tell: &'a mut (dyn FnMut(&Line<Entry>) + Send),
}

/// How the time of a step ended.
enum Came {
    Done(Result<Performed, String>),
    Cancelled(By),
}

impl<'a> Executor<'a> {
    pub fn open(
        lock: Folder,
        folder: PathBuf,
        begun: Begun,
        document: Document,
        by: &By,
        tell: &'a mut (dyn FnMut(&Line<Entry>) + Send),
    ) -> Result<Self, Fault> {
        let opened = Journal::open(&folder.join("journal.jsonl"));
        let (journal, past) = io_fault("open the journal", opened)?;
        let mut executor = Self {
            folder,
            _lock: lock,
            begun,
            progress: Progress::of(&document, &past),
            document,
            journal,
            lines: past.len(),
            tell,
        };
        executor.note(Entry::Opened {
            who: by.who.clone(),
            why: by.why.clone(),
        })?;
        Ok(executor)
    }

    pub fn note(&mut self, entry: Entry) -> Result<(), Fault> {
        let line = io_fault(
            "write the journal (the run is cut off; `everopen runbook resume` goes on with it)",
            self.journal.write(entry),
        )?;
        self.progress.add(self.lines, &line);
        self.lines += 1;
        (self.tell)(&line);
        Ok(())
    }

    pub async fn go_on(mut self) -> Result<Ended, Fault> {
        loop {
            match self.progress.at.clone() {
                At::Step { name, attempt } => self.step(&name, attempt).await?,
                At::Undo => self.undo().await?,
                At::Ended(outcome) => {
                    return Ok(Ended {
                        outcome,
                        outputs: self.outputs(),
                        progress: self.progress,
                    });
                }
            }
        }
    }

    fn outputs(&self) -> BTreeMap<String, Value> {
        let values = self.progress.values(&self.begun);
        let named = self.document.outputs.iter();
        named
            .filter_map(|name| Some((name.clone(), values.of(name).ok()?)))
            .collect()
    }

    /// The step that comes after one that ended well.
    fn after(&self, step: &Step) -> Option<String> {
        if step.is_end {
            return None;
        }
        if step.next_step.is_some() {
            return step.next_step.clone();
        }
        let at = self
            .document
            .main_steps
            .iter()
            .position(|one| one.name == step.name)?;
        Some(self.document.main_steps.get(at + 1)?.name.clone())
    }

    async fn step(&mut self, name: &str, attempt: u32) -> Result<(), Fault> {
        let found = self.document.step(name).cloned();
        let step = found.ok_or_else(|| Fault::Refused(format!("there is no step {name:?}")))?;
        if let Some(open) = self.progress.open.clone() {
            self.end_what_is_left(open.visit)?;
            let waits = matches!(step.action, Kind::Sleep | Kind::Approve);
            if !step.is_repeatable {
                let reason = "it was cut off, and may not be done again".to_string();
                return self.failed(&step, reason, true);
            }
            // One that only waits goes on waiting; all else is begun anew, as the same attempt.
            if !waits {
                self.note(Entry::Begun {
                    step: step.name.clone(),
                    attempt: open.attempt,
                })?;
            }
        } else {
            if self.progress.attempts >= ATTEMPTS_MAX {
                let reason = format!("the run goes round in circles: {ATTEMPTS_MAX} attempts");
                return self.note(Entry::Failed {
                    step: step.name,
                    reason,
                    again: false,
                    counts: true,
                    next: None,
                });
            }
            if attempt > 1 {
                self.pause(Duration::from_secs(step.retry_seconds)).await;
            }
            self.note(Entry::Begun {
                step: step.name.clone(),
                attempt,
            })?;
        }
        let patience = step.timeout().map(Duration::from_secs);
        let came = self
            .perform(step.action, &step.inputs, patience, true)
            .await?;
        let performed = match came {
            Came::Done(performed) => performed,
            Came::Cancelled(by) => {
                let next = match &step.on_cancel {
                    OnCancel::Abort => None,
                    OnCancel::Step(name) => Some(name.clone()),
                };
                let By { who, why } = by;
                return self.note(Entry::Cancelled { who, why, next });
            }
        };
        match performed.and_then(|performed| Ok((named(&step, &performed)?, performed))) {
            Ok((results, performed)) => {
                let next = performed.next.or_else(|| self.after(&step));
                self.note(Entry::Done {
                    step: step.name,
                    results,
                    evidence: performed.evidence,
                    next,
                })
            }
            Err(reason) => self.failed(&step, reason, false),
        }
    }

    fn failed(&mut self, step: &Step, reason: String, is_last: bool) -> Result<(), Fault> {
        let attempt = self.progress.open.as_ref().map_or(1, |open| open.attempt);
        let again = !is_last && attempt < step.max_attempts;
        let next = match &step.on_failure {
            OnFailure::Abort => None,
            OnFailure::Continue => self.after(step),
            OnFailure::Step(name) => Some(name.clone()),
        };
        self.note(Entry::Failed {
            step: step.name.clone(),
            reason,
            again,
            counts: !again && (step.counts() || step.on_failure == OnFailure::Abort),
            next: next.filter(|_| !again),
        })
    }

    /// Waits, unless somebody cancels the run.
    async fn pause(&mut self, time: Duration) {
        let may_be_cancelled = !self.progress.is_cancelled;
        tokio::select! {
            _ = cancelled(&self.folder), if may_be_cancelled => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    fn owner(&self, visit: usize) -> String {
        format!("{}.{visit}", self.begun.id)
    }

    /// What a step that was cut off started may be at work still, and would do it twice at once.
    fn end_what_is_left(&self, visit: usize) -> Result<(), Fault> {
        let owner = self.owner(visit);
        let ended = block_in_place(|| end_processes(&owner, LEFT));
        io_fault("end what was at work when the run was cut off", ended)?;
        Ok(())
    }

    async fn perform(
        &mut self,
        kind: Kind,
        inputs: &Value,
        patience: Option<Duration>,
        may_be_cancelled: bool,
    ) -> Result<Came, Fault> {
        let open = self.progress.open.as_ref();
        let open = open.ok_or_else(|| Fault::Refused("no step is open".into()))?;
        let owner = self.owner(open.visit);
        let base = self.begun.file.parent().unwrap_or(&self.folder);
        let place = Place {
            base,
            folder: &self.folder,
            owner: &owner,
            visit: open.visit,
            begun_ms: open.at_ms,
            patience,
        };
        let values = self.progress.values(&self.begun);
        let work = perform(kind, inputs, &values, &place);
        Ok(tokio::select! {
            biased;
            by = cancelled(&self.folder), if may_be_cancelled && !self.progress.is_cancelled => {
                Came::Cancelled(by)
            }
            done = work => Came::Done(done),
        })
    }

    async fn undo(&mut self) -> Result<(), Fault> {
        if !self.progress.is_to_be_undone() {
            return self.note(Entry::Ended {
                outcome: Outcome::Success,
            });
        }
        let Some(step) = self.progress.next_undo(&self.document).cloned() else {
            let outcome = match (self.progress.is_taken_back, self.progress.is_cancelled) {
                (true, _) => Outcome::TakenBack,
                (_, true) => Outcome::Cancelled,
                _ => Outcome::Failed,
            };
            return self.note(Entry::Ended { outcome });
        };
        let undo = step
            .undo
            .ok_or_else(|| Fault::Refused("it has no undo".into()))?;
        let mut attempt = self
            .progress
            .undo_attempts
            .get(&step.name)
            .copied()
            .unwrap_or(0);
        let open = self.progress.open.clone();
        let waits = matches!(undo.action, Kind::Sleep | Kind::Approve);
        match &open {
            // Cut off: the same attempt.
            Some(open) => self.end_what_is_left(open.visit)?,
            None => {
                attempt += 1;
                if attempt > 1 {
                    tokio::time::sleep(Duration::from_secs(undo.retry_seconds)).await;
                }
            }
        }
        if open.is_none() || !waits {
            self.note(Entry::Undoing {
                step: step.name.clone(),
                attempt,
            })?;
        }
        let patience = undo.timeout().map(Duration::from_secs);
        let came = self
            .perform(undo.action, &undo.inputs, patience, false)
            .await?;
        match came {
            Came::Done(Ok(performed)) => self.note(Entry::Undone {
                step: step.name,
                evidence: performed.evidence,
            }),
            Came::Done(Err(reason)) => self.note(Entry::NotUndone {
                step: step.name,
                reason,
                again: attempt < undo.max_attempts,
            }),
            Came::Cancelled(_) => Ok(()),
        }
    }
}

/// Waits until somebody cancels the run in this folder.
async fn cancelled(folder: &Path) -> By {
    loop {
        if let Ok(by) = from_json(&folder.join("cancel.json")) {
            return by;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// What came of a step, with the names that it gives to values.
fn named(step: &Step, performed: &Performed) -> Result<Map<String, Value>, String> {
    let all = Value::Object(performed.results.clone());
    let mut results = performed.results.clone();
    for (name, pointer) in &step.outputs {
        let value = all.pointer(pointer).ok_or_else(|| {
            let said: String = all.to_string().chars().take(200).collect();
            format!("output {name}: what came has no {pointer}: {said}")
        })?;
        results.insert(name.clone(), value.clone());
    }
    Ok(results)
}
