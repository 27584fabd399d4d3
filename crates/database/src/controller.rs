//! Carrying a plan out. Until clients are sent to the other side everything can be taken back; from there on
//! it is brought to its end.

use std::path::{Path, PathBuf};

use everopen_rollout::journal::{Entry, Journal, Line, Outcome};
use everopen_rollout::state::{Folder, now_ms};

use crate::cutover::{self, fence, is_fenced};
use crate::file::Database;
use crate::plan::{Plan, Step};
use crate::run::{Ended, Fault, Site, State, clean, connect, io_fault, set_state, state};
use crate::server::Side;
use crate::work::Work;
use crate::{stream, writes};

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
        self.past.push(line);
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
        let is_told = first > self.place(Step::Switch);
        let mut work = Work::new(&self.plan, self.path.clone(), self.guard, is_told);
        let to = self.plan.from.other();
        for place in first..self.plan.steps.len() {
            let step = self.plan.steps[place];
            let begun = Entry::Begun {
                step: place,
                text: step.to_string(),
            };
            if let Err(fault) = self.note(begun) {
                return Err(let_go(&mut work, fault).await);
            }
            let done = match work.deadline() {
                None => work.step(step).await,
                Some(deadline) => {
                    match tokio::time::timeout_at(deadline.into(), work.step(step)).await {
                        Ok(done) => done,
                        // A pooler may lead there already: what was cut off is brought to its end.
                        Err(_) if work.is_told => work.step(step).await,
                        // What was under way is dropped, and with it its programs.
                        Err(_) => Err("writes were held for as long as they may be".into()),
                    }
                }
            };
            let told = match &done {
                Ok(evidence) => Entry::Done {
                    step: place,
                    evidence: evidence.clone(),
                },
                Err(reason) => Entry::Failed {
                    step: place,
                    reason: reason.clone(),
                },
            };
            if let Err(fault) = self.note(told) {
                return Err(let_go(&mut work, fault).await);
            }
            let Err(reason) = done else { continue };
            if !work.is_told {
                drop(work);
                return self.take_back(reason).await;
            }
            if step == Step::Proof {
                // Clients are there; people must know.
                return self.end(Outcome::New, to, Some(reason), work.noticed);
            }
            return Err(Fault::Stuck(format!(
                "clients are on {}, but: {reason}",
                to.name()
            )));
        }
        self.end(Outcome::New, to, None, work.noticed)
    }

    fn end(
        &mut self,
        outcome: Outcome,
        serving: Side,
        reason: Option<String>,
        noticed: Option<String>,
    ) -> Result<Ended, Fault> {
        let noticed = match (noticed, outcome) {
            (Some(noticed), _) => noticed,
            (None, Outcome::Old) => "clients are where they were".into(),
            (None, _) => "see the step in which clients were held".into(),
        };
        self.note(Entry::Ended { outcome, noticed })?;
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
        let has = |step| self.plan.steps.contains(&step);
        if has(Step::HoldWrites) {
            writes::let_go(&database, &serving).await.map_err(stuck)?;
        } else {
            cutover::let_go(&database, &serving).await.map_err(stuck)?;
        }
        let clone = self.place(Step::Clone);
        let has_begun = self
            .past
            .iter()
            .any(|line| matches!(line.entry, Entry::Begun { step, .. } if step == clone));
        if has(Step::Clone) {
            if !has_begun {
                // What is in green's place is not of this rollout.
                stream::drop_slot(&serving).await.map_err(stuck)?;
                clean(&serving).await.map_err(stuck)?;
                return self.end(Outcome::Old, from, Some(reason), None);
            }
            let work = Work::new(&self.plan, self.path.clone(), &[], false);
            work.remove_clone().await.map_err(stuck)?;
            if let Ok(other) = &other {
                // One that is not ours to remove: it was there before.
                let _ = clean(other).await;
                let _ = stream::drop_slot(other).await;
            }
            stream::drop_slot(&serving).await.map_err(stuck)?;
            clean(&serving).await.map_err(stuck)?;
        } else if has(Step::Copy) {
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
        self.end(Outcome::Old, from, Some(reason), None)
    }
}

/// The journal can't be written, so nothing more is begun. Clients who are held are let go where they were,
/// which needs no journal; the rollout itself stays cut off.
async fn let_go(work: &mut Work, fault: Fault) -> Fault {
    match work.let_go().await {
        Ok(()) => fault,
        Err(error) => Fault::Stuck(format!("{fault}; and clients can't be let go: {error}")),
    }
}
