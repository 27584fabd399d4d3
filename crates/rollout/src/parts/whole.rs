//! The controller of a plan of several parts.

use super::carrier::Carrier;
use super::{End, Part, Place};
use crate::execute::{Ended, Fault, io_fault};
use crate::journal::{Entry, Journal, Line, Outcome};
use crate::state::Folder;

/// A plan that is being carried out.
pub(super) struct Whole<'a> {
    with: Carrier<'a>,
    pub(super) folder: Folder,
    id: String,
    to: End,
    journal: Journal,
    past: Vec<Line>,
}

impl<'a> Whole<'a> {
    pub(super) fn open(
        with: Carrier<'a>,
        folder: Folder,
        id: &str,
        to: End,
    ) -> Result<Self, Fault> {
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

    pub(super) fn note(&mut self, entry: Entry) -> Result<(), Fault> {
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
    pub(super) fn is_stuck(&self) -> bool {
        let last = self
            .past
            .iter()
            .rev()
            .find(|line| matches!(line.entry, Entry::Undoing { .. } | Entry::Failed { .. }));
        let is_undoing = |line: &Line| matches!(line.entry, Entry::Undoing { .. });
        last.is_some_and(|line| matches!(line.entry, Entry::Failed { .. }))
            && self.past.iter().any(is_undoing)
    }

    pub(super) async fn go_on(mut self, back: bool) -> Result<Ended, Fault> {
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
            let place = self.place(at)?;
            // What somebody else has moved before it was begun is theirs.
            let is_theirs = matches!(place, Place::Elsewhere(_)) && !self.has_begun(step);
            if place == Place::At(origin) || is_theirs {
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
    pub(super) fn places(&self) -> String {
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
