//! The checkers. The first replica to apply an entry defines what stands at that index; from then
//! on every replica is held against it, against a state of the checker's own that applies the same
//! log, and against a model that shares no code with the replicas.

mod books;
mod model;

use std::collections::BTreeMap;

use bytes::Bytes;
use everopen_domain::{Event, Timestamp};
use everopen_replica::core::{Answer, Step};
use everopen_replica::raft::eraftpb::ConfState;
use everopen_replica::state::{Became, Digest, State};
use everopen_venue::Venue;
use everopen_wire::entry::EntryReader;
use everopen_wire::event;

use crate::packet::About;
use crate::process::{CLUSTER, Process};
use crate::violation::Check;
use crate::world::World;
use books::{Books, balance};
use model::Model;

/// A new cluster's log begins behind an entry that nobody wrote.
const FIRST: u64 = 2;

type Found = Result<(), (Check, String)>;

/// What is known to be committed.
pub(crate) struct Audit {
    entries: Vec<Committed>,
    /// Applies what is committed, once, in order.
    shadow: State,
    model: Model,
    time: Timestamp,
    /// Who leads in each term.
    leaders: BTreeMap<u64, u64>,
    /// Hashes of whole states that replicas told, by index.
    hashes: BTreeMap<u64, (u64, Digest)>,
    /// The first answer to each command: its index and its events.
    answers: BTreeMap<(u64, u64), (u64, Bytes)>,
    pub books: Books,
    /// Commands, by session and sequence, that their clients do not wait for any more.
    pub given_up: Vec<(u64, u64)>,
}

/// An entry as it stands in a replica's log.
#[derive(Clone, PartialEq, Eq)]
struct Logged {
    term: u64,
    commands: bool,
    data: Bytes,
}

struct Committed {
    entry: Logged,
    digest: Digest,
    /// Events up to it.
    events: u64,
}

impl Audit {
    pub fn new() -> Self {
        let mut shadow = State::new(CLUSTER, ConfState::default(), BTreeMap::new());
        shadow.pass(1, 1);
        Self {
            entries: Vec::new(),
            shadow,
            model: Model::default(),
            time: Timestamp::ZERO,
            leaders: BTreeMap::new(),
            hashes: BTreeMap::new(),
            answers: BTreeMap::new(),
            books: Books::default(),
            given_up: Vec::new(),
        }
    }

    /// The last entry that is known to be committed.
    pub fn committed(&self) -> u64 {
        FIRST - 1 + self.entries.len() as u64
    }

    /// The rules in force after it.
    pub fn logic(&self) -> u16 {
        self.shadow.logic()
    }

    fn at(&self, index: u64) -> Option<&Committed> {
        self.entries.get(index.checked_sub(FIRST)? as usize)
    }

    /// A replica has applied an entry.
    fn applied(&mut self, node: u64, index: u64, entry: &Logged) -> Found {
        if let Some(first) = self.at(index) {
            if first.entry != *entry {
                return Err((
                    Check::Prefix,
                    format!(
                        "node {node} applied another entry at {index}: of term {} with {} bytes, \
                         not of term {} with {} bytes",
                        entry.term,
                        entry.data.len(),
                        first.entry.term,
                        first.entry.data.len()
                    ),
                ));
            }
            return Ok(());
        }
        if index != self.committed() + 1 {
            return Err((
                Check::Prefix,
                format!(
                    "node {node} applied entry {index}, but nobody applied {}",
                    self.committed() + 1
                ),
            ));
        }
        if let Some(last) = self.entries.last()
            && last.entry.term > entry.term
        {
            return Err((Check::Prefix, format!("the term goes back at {index}")));
        }
        self.append(index, entry)
    }

    fn append(&mut self, index: u64, entry: &Logged) -> Found {
        let mut events = self.entries.last().map_or(0, |last| last.events);
        if entry.commands {
            let unreadable = |text: String| (Check::Prefix, format!("entry {index}: {text}"));
            let reader = EntryReader::new(&entry.data).map_err(|e| unreadable(e.to_string()))?;
            let time = reader.time();
            if time < self.time {
                return Err((
                    Check::Time,
                    format!("entry {index} is of {time}, one before it of {}", self.time),
                ));
            }
            self.time = time;
            let applied = self
                .shadow
                .apply(index, entry.term, &entry.data, Venue::LOGIC_MAX, true)
                .map_err(|e| unreadable(e.to_string()))?;
            events += applied.events.len() as u64;
            let expected = self.model.apply(index, &entry.data).map_err(unreadable)?;
            self.compare(index, &expected, &applied.requests)?;
        } else {
            self.shadow.pass(index, entry.term);
        }
        self.entries.push(Committed {
            entry: entry.clone(),
            digest: self.shadow.digest,
            events,
        });
        Ok(())
    }

    /// Holds what became of an entry's requests against the model.
    fn compare(&mut self, index: u64, expected: &[model::Outcome], found: &[Became]) -> Found {
        if expected.len() != found.len() {
            return Err((Check::Session, format!("entry {index} lacks outcomes")));
        }
        for (outcome, became) in expected.iter().zip(found) {
            let fits = match (outcome, became) {
                (model::Outcome::Internal, Became::Done(stored)) => stored.index == index,
                (model::Outcome::Opened(id), Became::Opened(opened)) => id == opened,
                (model::Outcome::Applied { key, first }, Became::Done(stored)) => {
                    if *first == index {
                        let answer = (stored.index, stored.events.clone());
                        self.answers.entry(*key).or_insert(answer);
                    }
                    stored.index == *first
                }
                (model::Outcome::Refused, Became::Refused(_)) => true,
                _ => false,
            };
            if !fits {
                return Err((
                    Check::Session,
                    format!("entry {index}: expected {outcome:?}, found {became:?}"),
                ));
            }
        }
        Ok(())
    }

    fn leads(&mut self, node: u64, term: u64) -> Found {
        let leader = *self.leaders.entry(term).or_insert(node);
        if leader == node {
            return Ok(());
        }
        Err((
            Check::Election,
            format!("nodes {leader} and {node} both lead in term {term}"),
        ))
    }

    fn answered(&self, about: About, floor: u64, answer: &Answer) -> Found {
        match (about, answer) {
            (About::Command { session, sequence }, Answer::Done(stored)) => {
                let Some((index, events)) = self.answers.get(&(session, sequence)) else {
                    return Err((
                        Check::Answer,
                        format!(
                            "command {sequence} of session {session} is acknowledged at {}, but \
                             it was never committed",
                            stored.index
                        ),
                    ));
                };
                if *index != stored.index || *events != stored.events {
                    return Err((
                        Check::Answer,
                        format!(
                            "command {sequence} of session {session} was applied at {index}, its \
                             answer says {} or has other events",
                            stored.index
                        ),
                    ));
                }
            }
            (About::Read { .. }, Answer::ReadAt(index)) if *index < floor => {
                return Err((
                    Check::Read,
                    format!("a read is told {index}, but {floor} was committed before it began"),
                ));
            }
            _ => {}
        }
        Ok(())
    }

    fn state_hash(&mut self, node: u64, index: u64, hash: Digest) -> Found {
        if index == self.committed() && self.shadow.hash() != hash {
            return Err((
                Check::Digest,
                format!("node {node} has another state at {index} than its log gives"),
            ));
        }
        let (first, told) = *self.hashes.entry(index).or_insert((node, hash));
        if told == hash {
            return Ok(());
        }
        Err((
            Check::Digest,
            format!("nodes {first} and {node} have different states at {index}"),
        ))
    }
}

impl World<'_> {
    fn found(&mut self, found: Found) {
        if let Err((check, text)) = found {
            self.fail(check, text);
        }
    }

    /// Looks at what a replica applied.
    pub fn audit_steps(&mut self, id: u64, p: &Process, steps: &[Step]) {
        for step in steps {
            if let Step::Entry(applied, _) = step
                && let Some((term, commands, data)) = p.core.log_entry(applied.index)
            {
                let entry = Logged {
                    term,
                    commands,
                    data,
                };
                let found = self.audit.applied(id, applied.index, &entry);
                self.found(found);
            }
        }
    }

    /// Looks at a replica after a turn of its loop.
    pub fn audit_turn(&mut self, id: u64, p: &Process) {
        if p.core.is_leader() {
            let found = self.audit.leads(id, p.core.term());
            self.found(found);
        }
        let state = p.core.state();
        let Some(committed) = self.audit.at(state.index) else {
            return;
        };
        if committed.digest != state.digest {
            let text = format!("node {id} has other events up to {}", state.index);
            return self.fail(Check::Digest, text);
        }
        let (reader, events) = (p.reader, committed.events);
        let counts_from = reader.index == state.index && reader.events == events;
        if reader.gap.is_some() || !counts_from {
            let index = state.index;
            let text = format!("node {id}: {reader:?} at {index} with {events} events");
            return self.fail(Check::Follower, text);
        }
        if state.index == self.audit.committed() && self.random.chance(20) {
            self.audit_deeply(id, p);
        }
    }

    /// Looks at everything that a replica has.
    pub fn audit_deeply(&mut self, id: u64, p: &Process) {
        let state = p.core.state();
        state.venue.check();
        let found = self.audit.state_hash(id, state.index, state.hash());
        self.found(found);
        if let Err(text) = balance(&state.venue.snapshot()) {
            let index = state.index;
            self.fail(Check::Ledger, format!("node {id} at {index}: {text}"));
        }
    }

    /// The last look, when everything works again.
    pub fn audit_end(&mut self) {
        self.look();
        // Whether they happened only the log knows.
        for command in std::mem::take(&mut self.audit.given_up) {
            if let Some((_, events)) = self.audit.answers.get(&command) {
                let events: Result<Vec<Event>, _> = event::decode_all(events).collect();
                match events {
                    Ok(events) => self.audit.books.answered(&events),
                    Err(error) => self.fail(Check::Answer, error.to_string()),
                }
            }
        }
        let venue = self.audit.shadow.venue.snapshot();
        if let Err(text) = self.audit.books.compare(&venue, self.profile.clients) {
            self.fail(Check::Once, text);
        }
    }

    pub fn audit_state_hash(&mut self, id: u64, index: u64, hash: Digest) {
        let found = self.audit.state_hash(id, index, hash);
        self.found(found);
    }

    pub fn audit_answer(&mut self, id: u64, about: About, floor: u64, answer: &Answer) {
        let found = self.audit.answered(about, floor, answer);
        if let Err((check, text)) = found {
            self.fail(check, format!("node {id}: {text}"));
        }
    }
}
