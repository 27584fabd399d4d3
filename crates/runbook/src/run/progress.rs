//! Where a run is: what its journal says, and nothing else.

use std::collections::{BTreeMap, BTreeSet};

use everopen_rollout::journal::Line;
use serde_json::Value;

use super::{Begun, Entry, Outcome};
use crate::document::Document;
use crate::values::Values;

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum At {
    /// A step.
    Step {
        /// Its name.
        name: String,
        /// Which attempt of it.
        attempt: u32,
    },
    /// What was done is undone.
    Undo,
    /// Nothing.
    Ended(Outcome),
}

/// A step that is at work, or was when the run was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open {
    /// Its name.
    pub step: String,
    /// Whether it is being undone.
    pub is_undo: bool,
    /// Which attempt.
    pub attempt: u32,
    /// The line of the journal that says so, counted from 0.
    pub visit: usize,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// Where a run is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What comes next.
    pub at: At,
    /// What is at work.
    pub open: Option<Open>,
    /// What came of each step that ended well.
    pub results: BTreeMap<String, Value>,
    /// The steps that were begun, each where it was begun last.
    pub begun: Vec<String>,
    /// Those whose last attempt failed, and why.
    pub failures: BTreeMap<String, String>,
    /// Whether a critical step failed.
    pub has_failed: bool,
    /// Whether somebody cancelled it.
    pub is_cancelled: bool,
    /// Whether somebody wanted it undone when it had ended well.
    pub is_taken_back: bool,
    /// The steps that are undone.
    pub undone: BTreeSet<String>,
    /// Those that could not be, and why.
    pub not_undone: BTreeMap<String, String>,
    /// Attempts of all steps so far.
    pub attempts: u64,
    /// Attempts of undoing each step so far.
    pub undo_attempts: BTreeMap<String, u32>,
}

impl Progress {
    /// Reads it out of a journal.
    pub fn of(document: &Document, lines: &[Line<Entry>]) -> Self {
        let first = document.main_steps.first();
        let mut progress = Self {
            at: At::Step {
                name: first.map(|step| step.name.clone()).unwrap_or_default(),
                attempt: 1,
            },
            open: None,
            results: BTreeMap::new(),
            begun: Vec::new(),
            failures: BTreeMap::new(),
            has_failed: false,
            is_cancelled: false,
            is_taken_back: false,
            undone: BTreeSet::new(),
            not_undone: BTreeMap::new(),
            attempts: 0,
            undo_attempts: BTreeMap::new(),
        };
        for (place, line) in lines.iter().enumerate() {
            progress.add(place, line);
        }
        progress
    }

    /// Takes in one more line.
    pub(super) fn add(&mut self, place: usize, line: &Line<Entry>) {
        let open = |step: &String, is_undo, attempt: &u32| {
            Some(Open {
                step: step.clone(),
                is_undo,
                attempt: *attempt,
                visit: place,
                at_ms: line.at_ms,
            })
        };
        match &line.entry {
            Entry::Opened { .. } => {}
            Entry::Begun { step, attempt } => {
                self.open = open(step, false, attempt);
                self.begun.retain(|begun| begun != step);
                self.begun.push(step.clone());
                self.attempts += 1;
            }
            Entry::Done {
                step,
                results,
                next,
                ..
            } => {
                let results = Value::Object(results.clone());
                self.results.insert(step.clone(), results);
                self.failures.remove(step);
                self.goes_on(next.as_ref());
            }
            Entry::Failed {
                step,
                reason,
                again,
                counts,
                next,
            } => {
                self.failures.insert(step.clone(), reason.clone());
                if *again {
                    let attempt = self.open.take().map_or(1, |open| open.attempt);
                    self.at = At::Step {
                        name: step.clone(),
                        attempt: attempt + 1,
                    };
                    return;
                }
                self.has_failed |= counts;
                self.goes_on(next.as_ref());
            }
            Entry::Cancelled { next, .. } => {
                self.is_cancelled = true;
                self.goes_on(next.as_ref());
            }
            Entry::TakenBack { .. } => {
                self.is_taken_back = true;
                self.at = At::Undo;
            }
            Entry::Undoing { step, attempt } => {
                self.open = open(step, true, attempt);
                self.undo_attempts.insert(step.clone(), *attempt);
            }
            Entry::Undone { step, .. } => {
                self.open = None;
                self.undone.insert(step.clone());
            }
            Entry::NotUndone {
                step,
                reason,
                again,
            } => {
                self.open = None;
                if !again {
                    self.not_undone.insert(step.clone(), reason.clone());
                }
            }
            Entry::Ended { outcome } => {
                self.open = None;
                self.at = At::Ended(*outcome);
            }
        }
    }

    fn goes_on(&mut self, next: Option<&String>) {
        self.open = None;
        self.at = match next {
            Some(name) => At::Step {
                name: name.clone(),
                attempt: 1,
            },
            // Even if nothing is to be undone: then only the last word is missing.
            None => At::Undo,
        };
    }

    /// Whether anything is to be undone at the end.
    pub(super) fn is_to_be_undone(&self) -> bool {
        self.has_failed || self.is_cancelled || self.is_taken_back
    }

    /// The step that is undone next: the last of those that were begun and are not undone.
    pub(super) fn next_undo<'d>(
        &self,
        document: &'d Document,
    ) -> Option<&'d crate::document::Step> {
        let open = self.begun.iter().rev();
        open.filter(|name| !self.undone.contains(*name) && !self.not_undone.contains_key(*name))
            .filter_map(|name| document.step(name))
            .find(|step| {
                let has_failed = self.failures.contains_key(&step.name)
                    || !self.results.contains_key(&step.name);
                step.undo
                    .as_ref()
                    .is_some_and(|undo| undo.after_failure || !has_failed)
            })
    }

    /// Everything that has a value now.
    pub(crate) fn values(&self, begun: &Begun) -> Values {
        let time = i64::try_from(begun.at_ms).ok();
        let time = time.and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        let time = time.map_or_else(String::new, |time| time.to_string());
        let date: String = time.chars().take(10).collect();
        let clock: String = time.chars().skip(11).take(8).collect();
        Values {
            parameters: begun.parameters.clone(),
            results: self.results.clone(),
            run: BTreeMap::from([
                ("id".to_string(), begun.id.clone()),
                (
                    "dateTime".to_string(),
                    format!("{date}_{}", clock.replace(':', ".")),
                ),
                ("date".to_string(), date),
            ]),
        }
    }
}
