//! A shadow: this program's rules run over a live log beside the replicas, and what comes of each
//! entry is compared with what came of it there. So a new version is tried on real flow before it
//! answers anybody, and rules that are shipped inactive are tried before they are switched on.

use std::collections::VecDeque;

use bytes::Bytes;
use everopen_domain::{Command, Event};
use everopen_venue::Venue;
use everopen_wire::event;

use crate::state::State;

/// Entries of either side that may wait for the other's.
const AHEAD_MAX: usize = 65_536;

/// The first thing that came out differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The entry.
    pub index: u64,
    /// The place among the entry's events, from 0.
    pub event: usize,
    /// What happened at the replicas; none if they had no more events.
    pub live: Option<Event>,
    /// What happened here.
    pub shadow: Option<Event>,
}

/// Why a shadow can't go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShadowError {
    /// The state that it was to begin with is of no form known here.
    #[error("the snapshot can't be read: {0}")]
    Snapshot(String),
    /// An entry is of no form or rules known here: a replica of this version would stop at it.
    #[error("entry {index} can't be applied: {detail}")]
    Entry {
        /// The entry.
        index: u64,
        /// Why.
        detail: String,
    },
    /// Entries were left out.
    #[error("entry {found} came, {wanted} was next")]
    Order {
        /// What came.
        found: u64,
        /// What was next.
        wanted: u64,
    },
    /// One side is too far ahead of the other.
    #[error("more than {AHEAD_MAX} entries wait to be compared")]
    TooFarApart,
    /// The events of the live side can't be read.
    #[error("the events of entry {index} can't be read: {detail}")]
    Events {
        /// The entry.
        index: u64,
        /// Why.
        detail: String,
    },
}

/// The state that follows, and what is still to be compared.
#[derive(Debug)]
pub struct Shadow {
    state: State,
    own: VecDeque<(u64, Bytes)>,
    live: VecDeque<(u64, Bytes)>,
    compared: u64,
    events: u64,
}

impl Shadow {
    /// Begins with the bytes of a replica's snapshot. `activate` switches on rules that are not in
    /// force yet, here alone.
    ///
    /// # Errors
    /// [`ShadowError::Snapshot`].
    pub fn new(snapshot: &[u8], activate: Option<u16>) -> Result<Self, ShadowError> {
        let (mut state, _) = State::decode(snapshot).map_err(ShadowError::Snapshot)?;
        if let Some(version) = activate {
            let mut events = Vec::new();
            while state.venue.logic() < version {
                let next = state.venue.logic() + 1;
                if next > Venue::LOGIC_MAX {
                    return Err(ShadowError::Snapshot(format!(
                        "this program knows rules up to {}, not {version}",
                        Venue::LOGIC_MAX
                    )));
                }
                let command = Command::ActivateLogic { version: next };
                state.venue.apply(state.time, &command, &mut events);
            }
        }
        Ok(Self {
            state,
            own: VecDeque::new(),
            live: VecDeque::new(),
            compared: 0,
            events: 0,
        })
    }

    /// The last entry applied.
    pub fn index(&self) -> u64 {
        self.state.index
    }

    /// Entries and events compared so far.
    pub fn compared(&self) -> (u64, u64) {
        (self.compared, self.events)
    }

    /// An entry of the log.
    ///
    /// # Errors
    /// [`ShadowError`].
    pub fn entry(
        &mut self,
        index: u64,
        term: u64,
        commands: bool,
        data: &[u8],
    ) -> Result<Option<Difference>, ShadowError> {
        let wanted = self.state.index + 1;
        if index != wanted {
            return Err(ShadowError::Order {
                found: index,
                wanted,
            });
        }
        let encoded = if commands {
            let applied = self.state.apply(index, term, data, Venue::LOGIC_MAX, false);
            applied
                .map_err(|error| ShadowError::Entry {
                    index,
                    detail: error.to_string(),
                })?
                .encoded
        } else {
            self.state.pass(index, term);
            Bytes::new()
        };
        self.own.push_back((index, encoded));
        self.compare()
    }

    /// What came of an entry at the replicas.
    ///
    /// # Errors
    /// [`ShadowError`].
    pub fn events(&mut self, index: u64, events: &[u8]) -> Result<Option<Difference>, ShadowError> {
        self.live.push_back((index, Bytes::copy_from_slice(events)));
        self.compare()
    }

    fn compare(&mut self) -> Result<Option<Difference>, ShadowError> {
        if self.own.len().max(self.live.len()) > AHEAD_MAX {
            return Err(ShadowError::TooFarApart);
        }
        while let (Some((own_index, own)), Some((live_index, live))) =
            (self.own.front(), self.live.front())
        {
            if live_index < own_index {
                self.live.pop_front();
                continue;
            }
            if live_index > own_index {
                return Err(ShadowError::Order {
                    found: *live_index,
                    wanted: *own_index,
                });
            }
            let index = *own_index;
            let (shadow, live) = (read(index, own)?, read(index, live)?);
            self.own.pop_front();
            self.live.pop_front();
            self.compared += 1;
            self.events += live.len() as u64;
            let most = shadow.len().max(live.len());
            if let Some(event) = (0..most).find(|at| shadow.get(*at) != live.get(*at)) {
                return Ok(Some(Difference {
                    index,
                    event,
                    live: live.get(event).copied(),
                    shadow: shadow.get(event).copied(),
                }));
            }
        }
        Ok(None)
    }
}

fn read(index: u64, bytes: &[u8]) -> Result<Vec<Event>, ShadowError> {
    event::decode_all(bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| ShadowError::Events {
            index,
            detail: error.to_string(),
        })
}
