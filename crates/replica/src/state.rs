//! What the replicas agree on: the venue, the client sessions, the membership. Entries go in, in
//! order; the same entries give the same state and the same events on every replica.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use everopen_domain::{Command, Event, Timestamp};
use everopen_venue::Venue;
use everopen_wire::entry::{EntryReader, InPlace, Origin};
use everopen_wire::message::RefusalCode;
use everopen_wire::{DecodeError, event, snapshot};
use raft::eraftpb::ConfState;
use twox_hash::xxhash3_128;

use crate::bytes::{Input, Malformed, Output};
use crate::message::{conf_state, put_conf_state};
use crate::sessions::{Known, Sessions, Stored};

/// A hash by which replicas compare themselves: XXH3-128, see `everopen_wire::hash`.
pub type Digest = [u8; 16];

/// The version of the whole state's bytes.
const VERSION: u16 = 1;

/// Why an entry was not applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// It is not of a form that this program knows.
    #[error("entry {index} can't be read: {detail}")]
    Unreadable {
        /// Its index.
        index: u64,
        /// What is wrong.
        detail: String,
    },
    /// It switches on rules that this program does not have.
    #[error("entry {index} activates logic version {version}, this program knows up to {known}")]
    UnknownLogic {
        /// Its index.
        index: u64,
        /// The version it activates.
        version: u16,
        /// The newest version known.
        known: u16,
    },
}

/// What became of one request of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// Applied now, or before: then this is the first answer.
    Done(Stored),
    /// A session was opened: its id.
    Opened(u64),
    /// Not applied.
    Refused(RefusalCode),
}

/// An applied entry.
#[derive(Clone, Debug, Default)]
pub struct AppliedEntry {
    /// Its index.
    pub index: u64,
    /// The time it was applied at.
    pub time: Timestamp,
    /// All that happened, in order.
    pub events: Vec<Event>,
    /// The same, encoded.
    pub encoded: Bytes,
    /// What became of each of its requests, in order; empty when nobody waited for it.
    pub requests: Vec<Became>,
    /// Commands in it.
    pub commands: u64,
}

/// The replicated state.
#[derive(Clone, Debug)]
pub struct State {
    /// Which cluster's it is.
    pub cluster: [u8; 16],
    /// The last entry applied.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// The latest time of an entry.
    pub time: Timestamp,
    /// A hash over the events of all entries, each chained to the one before.
    pub digest: Digest,
    /// Bytes of entries applied since the last agreed place for a snapshot.
    pub bytes_since_snapshot: u64,
    /// Who votes and who learns.
    pub conf: ConfState,
    /// Where each replica is reached.
    pub nodes: BTreeMap<u64, String>,
    /// The venue.
    pub venue: Venue,
    /// Client sessions.
    pub sessions: Sessions,
    scratch: Scratch,
}

/// Buffers of [`State::apply`], kept for the next entry.
#[derive(Debug, Default)]
struct Scratch {
    /// Empty ones, see [`State::recycle`].
    events: Vec<Vec<Event>>,
    /// How many the last entry had.
    expected: usize,
    encoded: Vec<u8>,
    applied: Vec<AppliedRequest>,
    /// Requests that stand in the entry twice, and where they stand first.
    repeated: Vec<(usize, u32)>,
    chained: Vec<u8>,
}

/// A request of the entry that is being applied.
#[derive(Debug)]
struct AppliedRequest {
    /// Its number in the entry.
    number: usize,
    session: Option<(u64, u64)>,
    /// Its events among the encoded ones.
    span: Range<usize>,
    count: u32,
}

/// Buffers for events that are kept, and the most of them that one may hold.
const RECYCLED_MAX: usize = 32;
const RECYCLED_EVENTS_MAX: usize = 64 << 10;

impl Clone for Scratch {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl State {
    /// The state before the first entry.
    pub fn new(cluster: [u8; 16], conf: ConfState, nodes: BTreeMap<u64, String>) -> Self {
        Self {
            cluster,
            index: 0,
            term: 0,
            time: Timestamp::ZERO,
            digest: Digest::default(),
            bytes_since_snapshot: 0,
            conf,
            nodes,
            venue: Venue::new(),
            sessions: Sessions::default(),
            scratch: Scratch::default(),
        }
    }

    /// The rules in force.
    pub fn logic(&self) -> u16 {
        self.venue.logic()
    }

    /// An entry without commands: one of a new leader, or a change of membership.
    pub fn pass(&mut self, index: u64, term: u64) {
        assert_eq!(index, self.index + 1, "invariant: entries come in order");
        (self.index, self.term) = (index, term);
        self.chain(&[]);
    }

    /// Applies an entry's commands. What became of each request is only gathered when somebody
    /// waits for it (`answers`).
    ///
    /// # Errors
    /// [`ApplyError`] when it is not of a form or of rules known here. The state must not be used
    /// any more then: what stood before the place of the error was applied.
    pub fn apply(
        &mut self,
        index: u64,
        term: u64,
        bytes: &[u8],
        logic_max: u16,
        answers: bool,
    ) -> Result<AppliedEntry, ApplyError> {
        assert_eq!(index, self.index + 1, "invariant: entries come in order");
        let unreadable = |error: DecodeError| ApplyError::Unreadable {
            index,
            detail: error.to_string(),
        };
        let reader = EntryReader::new(bytes).map_err(unreadable)?;
        self.time = self.time.max(reader.time());
        (self.index, self.term) = (index, term);
        self.bytes_since_snapshot += bytes.len() as u64;
        let mut scratch = std::mem::take(&mut self.scratch);
        let entry = self.perform(reader.in_place(), &mut scratch, logic_max, answers);
        self.scratch = scratch;
        let entry = entry?;
        self.chain(&entry.encoded);
        Ok(entry)
    }

    /// Takes a buffer back whose events nobody needs any more: large ones cost the system's memory
    /// management more than all else.
    pub fn recycle(&mut self, mut events: Vec<Event>) {
        let kept = &mut self.scratch.events;
        if kept.len() < RECYCLED_MAX && events.capacity() <= RECYCLED_EVENTS_MAX {
            events.clear();
            kept.push(events);
        }
    }

    fn perform(
        &mut self,
        mut entry: InPlace<'_>,
        scratch: &mut Scratch,
        logic_max: u16,
        answers: bool,
    ) -> Result<AppliedEntry, ApplyError> {
        let (index, time) = (self.index, self.time);
        let unreadable = |error: DecodeError| ApplyError::Unreadable {
            index,
            detail: error.to_string(),
        };
        let expected = scratch.expected;
        let mut events = match scratch.events.pop() {
            Some(events) => events,
            None => Vec::with_capacity(expected),
        };
        let mut requests = Vec::new();
        scratch.encoded.clear();
        scratch.applied.clear();
        scratch.repeated.clear();
        let mut applied = 0;
        let mut number = 0;
        let mut command = Command::Tick;
        while let Some(request) = entry.next_request() {
            let (origin, _) = request.map_err(unreadable)?;
            let (known, session) = match origin {
                Origin::OpenSession { nonce } => {
                    // Unique, since indices are: at most 65,535 requests stand in one entry.
                    let id = index << 16 | number as u64;
                    let opened = self.sessions.open(id, nonce, time);
                    if answers {
                        let refused = Became::Refused(RefusalCode::Busy);
                        requests.push(opened.map_or(refused, Became::Opened));
                    }
                    number += 1;
                    continue;
                }
                Origin::Internal => (Known::New, None),
                Origin::Session {
                    client,
                    sequence,
                    behind,
                } => {
                    let place = number as u32;
                    let known = self.sessions.begin(client, sequence, behind, time, place);
                    (known, Some((client, sequence)))
                }
            };
            let became = match known {
                Known::New => {
                    let (from, start) = (events.len(), scratch.encoded.len());
                    while let Some(read) = entry.next_command(&mut command) {
                        read.map_err(unreadable)?;
                        self.check_logic(&command, logic_max)?;
                        self.venue.apply(time, &command, &mut events);
                        applied += 1;
                    }
                    for event in &events[from..] {
                        event::encode(event, &mut scratch.encoded);
                    }
                    scratch.applied.push(AppliedRequest {
                        number,
                        session,
                        span: start..scratch.encoded.len(),
                        count: (events.len() - from) as u32,
                    });
                    // Made whole below, once all bytes of the entry are in one place.
                    Became::Refused(RefusalCode::OutcomeUnknown)
                }
                Known::Applying(first) => {
                    scratch.repeated.push((number, first));
                    Became::Refused(RefusalCode::OutcomeUnknown)
                }
                Known::Answered(stored) => Became::Done(stored),
                Known::Forgotten => Became::Refused(RefusalCode::SequenceForgotten),
                Known::WindowFull => Became::Refused(RefusalCode::WindowFull),
                Known::Unknown => Became::Refused(RefusalCode::SessionUnknown),
            };
            if answers {
                requests.push(became);
            }
            number += 1;
        }
        let encoded = Bytes::copy_from_slice(&scratch.encoded);
        for request in scratch.applied.drain(..) {
            let stored = Stored {
                index,
                time,
                count: request.count,
                events: encoded.slice(request.span),
            };
            if answers {
                requests[request.number] = Became::Done(stored.clone());
            }
            if let Some((client, sequence)) = request.session {
                self.sessions.store(client, sequence, stored);
            }
        }
        if answers {
            for (number, first) in scratch.repeated.drain(..) {
                requests[number] = requests[first as usize].clone();
            }
        }
        scratch.expected = events.len();
        Ok(AppliedEntry {
            index,
            time,
            events,
            encoded,
            requests,
            commands: applied,
        })
    }

    fn check_logic(&self, command: &Command, logic_max: u16) -> Result<(), ApplyError> {
        match command {
            // Any other wrong version is refused alike by every release.
            Command::ActivateLogic { version }
                if *version == self.venue.logic() + 1 && *version > logic_max =>
            {
                Err(ApplyError::UnknownLogic {
                    index: self.index,
                    version: *version,
                    known: logic_max,
                })
            }
            _ => Ok(()),
        }
    }

    fn chain(&mut self, encoded: &[u8]) {
        let mut hasher = xxhash3_128::Hasher::new();
        let chained = &mut self.scratch.chained;
        chained.clear();
        chained.extend_from_slice(&self.digest);
        chained.extend_from_slice(&self.index.to_le_bytes());
        hasher.write(chained);
        hasher.write(encoded);
        self.digest = hasher.finish_128().to_be_bytes();
    }

    /// Appends the whole state.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u16(VERSION);
        out.put(&self.cluster);
        out.put_u64(self.index);
        out.put_u64(self.term);
        out.put_u64(self.time.0);
        out.put(&self.digest);
        out.put_u64(self.bytes_since_snapshot);
        put_conf_state(&self.conf, out);
        out.put_u32(self.nodes.len() as u32);
        for (node, address) in &self.nodes {
            out.put_u64(*node);
            out.put_slice(address.as_bytes());
        }
        self.encode_machine(out);
    }

    /// The part that [`State::hash`] is of.
    fn encode_machine(&self, out: &mut Vec<u8>) {
        let mut venue = Vec::new();
        snapshot::encode(&self.venue.snapshot(), &mut venue);
        out.put_u64(venue.len() as u64);
        out.put(&venue);
        self.sessions.encode(out);
    }

    /// What [`State::encode`] wrote; returns the bytes after it, too.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), String> {
        let mut input = Input(bytes);
        let state = Self::get(&mut input)?;
        Ok((state, input.0))
    }

    fn get(input: &mut Input<'_>) -> Result<Self, String> {
        let text = |error: Malformed| error.to_string();
        if input.u16().map_err(text)? != VERSION {
            return Err("unknown version of a replica's state".into());
        }
        let cluster = input.hash().map_err(text)?;
        let mut state = Self::new(cluster, ConfState::default(), BTreeMap::new());
        state.index = input.u64().map_err(text)?;
        state.term = input.u64().map_err(text)?;
        state.time = Timestamp(input.u64().map_err(text)?);
        state.digest = input.hash().map_err(text)?;
        state.bytes_since_snapshot = input.u64().map_err(text)?;
        state.conf = conf_state(input).map_err(text)?;
        for _ in 0..input.count(12).map_err(text)? {
            let node = input.u64().map_err(text)?;
            let address = input.text().map_err(text)?;
            state.nodes.insert(node, address);
        }
        let length = input.u64().map_err(text)?;
        let length = usize::try_from(length).map_err(|e| e.to_string())?;
        let venue = input.take(length).map_err(text)?;
        let venue = snapshot::decode(venue).map_err(|e| e.to_string())?;
        state.venue = Venue::restore(&venue).map_err(|e| e.to_string())?;
        state.sessions = Sessions::decode(input).map_err(text)?;
        Ok(state)
    }

    /// The hash of what replicas must agree on at one index.
    pub fn hash(&self) -> Digest {
        let mut bytes = Vec::new();
        bytes.put(&self.digest);
        self.encode_machine(&mut bytes);
        xxhash3_128::Hasher::oneshot(&bytes).to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everopen_wire::EntryWriter;
    use everopen_wire::entry::Request;

    fn session(client: u64, sequence: u64, behind: u32) -> Request<'static> {
        Request::Session {
            client,
            sequence,
            behind,
            commands: &[Command::Tick],
        }
    }

    fn entry(requests: &[Request<'_>]) -> Vec<u8> {
        let mut writer = EntryWriter::new(4_096);
        writer.begin(Timestamp(7));
        for request in requests {
            writer.push(request).expect("it fits");
        }
        writer.finish().to_vec()
    }

    fn with_session() -> (State, u64) {
        let mut state = State::new([1; 16], ConfState::default(), BTreeMap::new());
        let opened = entry(&[Request::OpenSession { nonce: 9 }]);
        let applied = state.apply(1, 1, &opened, 1, true).expect("readable");
        match applied.requests[..] {
            [Became::Opened(client)] => (state, client),
            ref other => panic!("no session was opened: {other:?}"),
        }
    }

    #[test]
    fn a_client_may_give_a_request_up_that_stands_in_the_same_entry() {
        let (mut state, client) = with_session();
        let bytes = entry(&[session(client, 5, 0), session(client, 6, 0)]);
        let applied = state.apply(2, 1, &bytes, 1, true).expect("readable");
        let done = |became: &Became| matches!(became, Became::Done(stored) if stored.index == 2);
        assert!(applied.requests.iter().all(done));
        assert_eq!(state.sessions.look(client, 5), Known::Forgotten);
        assert!(matches!(state.sessions.look(client, 6), Known::Answered(_)));
        // Far beyond all that is kept, and far back.
        let bytes = entry(&[session(client, u64::MAX, 0), session(client, 7, 0)]);
        let applied = state.apply(3, 1, &bytes, 1, true).expect("readable");
        assert!(matches!(applied.requests[0], Became::Done(_)));
        assert_eq!(
            applied.requests[1],
            Became::Refused(RefusalCode::SequenceForgotten)
        );
    }

    #[test]
    fn a_request_that_stands_twice_in_an_entry_happens_once() {
        let (mut state, client) = with_session();
        let twice = [session(client, 0, 0), session(client, 0, 0)];
        let applied = state
            .apply(2, 1, &entry(&twice), 1, true)
            .expect("readable");
        assert_eq!(applied.commands, 1);
        assert_eq!(applied.requests[0], applied.requests[1]);
        assert!(matches!(applied.requests[0], Became::Done(_)));
    }

    #[test]
    fn answers_are_only_gathered_for_who_waits() {
        let (mut state, client) = with_session();
        let applied = state
            .apply(2, 1, &entry(&[session(client, 0, 0)]), 1, false)
            .expect("readable");
        assert!(applied.requests.is_empty());
        assert!(matches!(state.sessions.look(client, 0), Known::Answered(_)));
    }
}
