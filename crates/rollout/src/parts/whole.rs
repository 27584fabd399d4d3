//! The controller of a plan of several parts.

use std::fs;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{End, Part, Place, Plan};
use crate::execute::{By, Ended, Fault, io_fault};
use crate::journal::{Entry, Journal, Line, Outcome};
use crate::state::{Folder, write};

/// The last plan of a folder; none if there was none.
///
/// # Errors
/// It can't be read.
pub fn last<P: DeserializeOwned>(root: &Path, folder: &str) -> io::Result<Option<Plan<P>>> {
    let rollouts = match Folder::rollouts(root, folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        rollouts => rollouts?,
    };
    let last = rollouts.last().map(|path| path.join("plan.json"));
    last.map(|path| Plan::read(&path)).transpose()
}

/// The plan that is under way or was cut off, and whether its controller is at work.
///
/// # Errors
/// The state can't be read.
pub fn busy(root: &Path, folder: &str) -> io::Result<Option<(String, bool)>> {
    if !root.join(folder).exists() {
        return Ok(None);
    }
    let is_at_work = Folder::open(root, folder).is_err();
    let under_way = Folder::peek(root, folder)?.under_way;
    Ok(under_way.map(|id| (id, is_at_work)))
}

/// Carries plans of several parts out.
pub struct Carrier<'a> {
    /// The folder of all rollouts.
    pub root: &'a Path,
    /// The plan's own folder in it.
    pub folder: &'a str,
    /// The name by which people call the plan.
    pub name: &'a str,
    /// Who does it, and why.
    pub by: &'a By,
    /// The parts, in the order in which they become new.
    pub parts: Vec<&'a mut dyn Part>,
    /// What is told of each line of the plan's own journal.
    pub tell: &'a mut dyn FnMut(&Line),
}

impl Carrier<'_> {
    /// Begins a plan: all parts are at the other end.
    ///
    /// # Errors
    /// It is not to be begun, or could be brought to neither end; then [`Self::resume`] tries again.
    pub async fn begin<P: Serialize>(self, plan: &Plan<P>) -> Result<Ended, Fault> {
        let folder = io_fault(
            "open the plan's folder",
            Folder::open(self.root, self.folder),
        )?;
        let mut state = io_fault("read the plan's state", folder.state())?;
        if let Some(id) = &state.under_way {
            return Err(Fault::Refused(format!(
                "plan {id} was cut off: `everopen rollout resume {0}` goes on with it, `everopen rollout rollback {0}` takes it back",
                self.name
            )));
        }
        for part in &self.parts {
            match part.place().map_err(Fault::Refused)? {
                Place::At(end) if end != plan.to => {}
                place => return Err(Fault::Refused(unexpected(*part, &place, plan.to.other()))),
            }
        }
        let path = folder.rollout(&plan.id);
        io_fault("make the plan's folder", fs::create_dir_all(&path))?;
        let text = serde_json::to_vec_pretty(plan).map_err(Into::into);
        let text = io_fault("write the plan", text)?;
        io_fault("write the plan", write(&path.join("plan.json"), &text))?;
        state.under_way = Some(plan.id.clone());
        io_fault("write the plan's state", folder.set_state(&state))?;
        Whole::open(self, folder, &plan.id, plan.to)?
            .go_on(false)
            .await
    }

    /// Goes on with the plan that was cut off; with `back`, takes it back.
    ///
    /// # Errors
    /// There is none, or it could be brought to neither end.
    pub async fn resume<P>(self, plan: &Plan<P>, back: bool) -> Result<Ended, Fault> {
        let folder = io_fault(
            "open the plan's folder",
            Folder::open(self.root, self.folder),
        )?;
        let state = io_fault("read the plan's state", folder.state())?;
        if state.under_way.as_deref() != Some(&plan.id) {
            return Err(Fault::Refused(format!(
                "no plan of {} is under way",
                self.name
            )));
        }
        Whole::open(self, folder, &plan.id, plan.to)?
            .go_on(back)
            .await
    }

    /// The end to which the plan that has ended can be taken: all parts are where it left them, and each has
    /// a way.
    ///
    /// # Errors
    /// Why it can't be.
    pub fn turned(&self) -> Result<End, Fault> {
        let state = io_fault(
            "read the plan's state",
            Folder::peek(self.root, self.folder),
        )?;
        let to = state.back.and_then(|(end, _)| End::of(&end));
        let to = to.ok_or_else(|| {
            Fault::Refused(format!("there is no way back for all of {}", self.name))
        })?;
        for part in &self.parts {
            match part.place().map_err(Fault::Refused)? {
                Place::At(end) if end != to => {}
                place => return Err(Fault::Refused(unexpected(*part, &place, to.other()))),
            }
            if part.way().map_err(Fault::Refused)?.is_none() {
                return Err(Fault::Refused(format!(
                    "{} has no way back, so nothing is taken back ({} acts on it alone)",
                    part.name(),
                    part.alone()
                )));
            }
        }
        Ok(to)
    }

    /// Closes the plan: there is no way back for all parts from here. One that was cut off is closed only if
    /// it can't be brought to an end, and when each part is at one.
    ///
    /// # Errors
    /// It is under way, or the state can't be written.
    pub fn close(self) -> Result<(), Fault> {
        let folder = io_fault(
            "open the plan's folder",
            Folder::open(self.root, self.folder),
        )?;
        let mut state = io_fault("read the plan's state", folder.state())?;
        let Some(id) = state.under_way.clone() else {
            state.back = None;
            return io_fault("write the plan's state", folder.set_state(&state));
        };
        for part in &self.parts {
            if part.place().map_err(Fault::Refused)? == Place::Between {
                return Err(Fault::Refused(format!("{} is under way", part.name())));
            }
        }
        let name = self.name.to_string();
        let mut whole = Whole::open(self, folder, &id, End::New)?;
        if !whole.is_stuck() {
            return Err(Fault::Refused(format!(
                "plan {id} was cut off: `everopen rollout resume {name}` goes on with it, `everopen rollout rollback {name}` takes it back"
            )));
        }
        whole.note(Entry::Ended {
            outcome: Outcome::Old,
            noticed: format!("closed as it was: {}", whole.places()),
        })?;
        (state.under_way, state.back) = (None, None);
        io_fault("write the plan's state", whole.folder.set_state(&state))
    }
}

/// Why a plan is not begun with a part where it is.
fn unexpected(part: &dyn Part, place: &Place, wanted: End) -> String {
    let is = match place {
        Place::At(end) => format!("it is {} already", end.name()),
        Place::Between => "a rollout of it was cut off".into(),
        Place::Elsewhere(why) => why.clone(),
    };
    format!(
        "{} is not where it should be ({}): {is}; nothing was changed ({} acts on it alone)",
        part.name(),
        wanted.name(),
        part.alone()
    )
}

/// A plan that is being carried out.
struct Whole<'a> {
    with: Carrier<'a>,
    folder: Folder,
    id: String,
    to: End,
    journal: Journal,
    past: Vec<Line>,
}

impl<'a> Whole<'a> {
    fn open(with: Carrier<'a>, folder: Folder, id: &str, to: End) -> Result<Self, Fault> {
        let path = folder.rollout(id).join("journal.jsonl");
        let (journal, past) = io_fault("open the journal", Journal::open(&path))?;
        let (who, why) = (with.by.who.clone(), with.by.why.clone());
        let id = id.to_string();
        let mut whole = Self {
            with,
            folder,
            id,
            to,
            journal,
            past,
        };
        whole.note(Entry::Opened { who, why })?;
        Ok(whole)
    }

    fn note(&mut self, entry: Entry) -> Result<(), Fault> {
        let line = io_fault("write the journal", self.journal.write(entry))?;
        (self.with.tell)(&line);
        self.past.push(line);
        Ok(())
    }

    /// Places of parts, in the order in which they go.
    fn order(&self) -> Vec<usize> {
        let forth = 0..self.with.parts.len();
        match self.to {
            End::New => forth.collect(),
            End::Old => forth.rev().collect(),
        }
    }

    fn has_begun(&self, at: usize) -> bool {
        let is_it = |line: &Line| matches!(line.entry, Entry::Begun { step, .. } if step == at);
        self.past.iter().any(is_it)
    }

    /// Whether it was being taken back, and that failed.
    fn is_stuck(&self) -> bool {
        let last = self
            .past
            .iter()
            .rev()
            .find(|line| matches!(line.entry, Entry::Undoing { .. } | Entry::Failed { .. }));
        let is_undoing = |line: &Line| matches!(line.entry, Entry::Undoing { .. });
        last.is_some_and(|line| matches!(line.entry, Entry::Failed { .. }))
            && self.past.iter().any(is_undoing)
    }

    async fn go_on(mut self, back: bool) -> Result<Ended, Fault> {
        let ended = self.past.iter().rev().find_map(|line| match &line.entry {
            Entry::Ended { outcome, .. } => Some(*outcome),
            _ => None,
        });
        if let Some(outcome) = ended {
            // Only the word of it was missing.
            return self.settle(outcome, None);
        }
        let failed = self.past.iter().find_map(|line| match &line.entry {
            Entry::Failed { reason, .. } => Some(reason.clone()),
            Entry::Undoing { .. } => Some("it was taken back".into()),
            _ => None,
        });
        match failed {
            Some(reason) => self.take_back(reason).await,
            None if back => self.take_back("it was taken back".into()).await,
            None => self.forth().await,
        }
    }

    async fn forth(mut self) -> Result<Ended, Fault> {
        let to = self.to;
        for (step, at) in self.order().into_iter().enumerate() {
            let was_begun = self.has_begun(step);
            let mut done = Ok("it was brought to its end".to_string());
            if self.place(at)? == Place::Between && was_begun {
                done = self.with.parts[at].settle(to).await;
            }
            match self.place(at)? {
                Place::At(end) if end == to => {
                    if !was_begun {
                        // Somebody else has brought it there: it is there.
                        continue;
                    }
                }
                // It has come back by itself, or never began: to try once more is for people to say.
                Place::At(_) if was_begun => {
                    done = Err(done.err().unwrap_or_else(|| "it was cut off".into()));
                }
                Place::At(_) => {
                    let text = format!("{}: {}", self.with.parts[at].name(), way_of(to));
                    self.note(Entry::Begun { step, text })?;
                    done = self.with.parts[at].go(to).await;
                }
                Place::Between | Place::Elsewhere(_) => {}
            }
            match (self.place(at)?, done) {
                (Place::At(end), Ok(evidence)) if end == to => {
                    self.note(Entry::Done { step, evidence })?;
                }
                (Place::Between, done) => {
                    let reason = done.err().unwrap_or_else(|| "it was cut off".into());
                    return Err(self.stuck(&reason));
                }
                (place, done) => {
                    let reason = match (done, place) {
                        (Err(reason), _) | (_, Place::Elsewhere(reason)) => reason,
                        _ => "it came back".into(),
                    };
                    let reason = format!("{}: {reason}", self.with.parts[at].name());
                    let told = reason.clone();
                    self.note(Entry::Failed { step, reason })?;
                    return self.take_back(told).await;
                }
            }
        }
        self.end(
            match to {
                End::New => Outcome::New,
                End::Old => Outcome::Back,
            },
            None,
        )
    }

    /// All parts to where they were, the last first.
    async fn take_back(mut self, mut reason: String) -> Result<Ended, Fault> {
        let origin = self.to.other();
        let order = self.order();
        for (step, at) in order.into_iter().enumerate().rev() {
            if self.place(at)? == Place::At(origin) {
                continue;
            }
            let text = format!("{}: {}", self.with.parts[at].name(), way_of(origin));
            self.note(Entry::Undoing { text })?;
            let mut done = Ok(String::new());
            if self.place(at)? == Place::Between {
                done = self.with.parts[at].settle(origin).await;
            }
            if self.place(at)? == Place::At(self.to) {
                done = self.with.parts[at].go(origin).await;
            }
            match (self.place(at)?, done) {
                (Place::At(end), done) if end == origin => {
                    if let Err(error) = done {
                        // It is there, and people must know.
                        reason = format!("{reason}; {}: {error}", self.with.parts[at].name());
                    }
                }
                (place, done) => {
                    let why = match (done, place) {
                        (Err(why), _) | (_, Place::Elsewhere(why)) => why,
                        _ => "it did not go".into(),
                    };
                    let part = self.with.parts[at].name();
                    let why = format!("{reason}; and {part} can't be taken back: {why}");
                    self.note(Entry::Failed {
                        step,
                        reason: why.clone(),
                    })?;
                    return Err(self.stuck(&why));
                }
            }
        }
        self.end(Outcome::Old, Some(reason))
    }

    fn place(&self, at: usize) -> Result<Place, Fault> {
        let part = &self.with.parts[at];
        part.place()
            .map_err(|error| self.stuck(&format!("{} can't be asked: {error}", part.name())))
    }

    /// Where all of them are.
    fn places(&self) -> String {
        let told = self.with.parts.iter().map(|part| {
            let place = match part.place() {
                Ok(Place::At(end)) => format!("is {}", end.name()),
                Ok(Place::Between) => "is under way".into(),
                Ok(Place::Elsewhere(why)) => why,
                Err(error) => format!("can't be asked ({error})"),
            };
            format!("{} {place}", part.name())
        });
        told.collect::<Vec<_>>().join(", ")
    }

    fn stuck(&self, reason: &str) -> Fault {
        let name = self.with.name;
        Fault::Stuck(format!(
            "{reason}; {} (`everopen rollout resume {name}` tries again{})",
            self.places(),
            match self.is_stuck() {
                true => format!(", `everopen rollout finish {name}` leaves it as it is"),
                false => String::new(),
            }
        ))
    }

    fn end(&mut self, outcome: Outcome, reason: Option<String>) -> Result<Ended, Fault> {
        self.note(Entry::Ended {
            outcome,
            noticed: self.places(),
        })?;
        self.settle(outcome, reason)
    }

    /// What follows of the last word.
    fn settle(&mut self, outcome: Outcome, reason: Option<String>) -> Result<Ended, Fault> {
        let mut state = io_fault("read the plan's state", self.folder.state())?;
        let until = |parts: &[&mut dyn Part]| {
            let ways: Option<Vec<u64>> =
                parts.iter().map(|part| part.way().ok().flatten()).collect();
            ways?.into_iter().min()
        };
        let back = |end: End| Some((end.name().to_string(), until(&self.with.parts)?));
        state.back = match outcome {
            Outcome::New => back(End::Old),
            Outcome::Back => back(End::New),
            // One that was to be taken back, and was not, still can be.
            Outcome::Old if self.to == End::Old => back(End::Old),
            Outcome::Old => None,
        };
        state.under_way = state.under_way.filter(|id| *id != self.id);
        io_fault("write the plan's state", self.folder.set_state(&state))?;
        Ok(Ended {
            outcome,
            reason,
            noticed: self.places(),
        })
    }
}

fn way_of(to: End) -> &'static str {
    match to {
        End::New => "to the new one",
        End::Old => "back to the old one",
    }
}
