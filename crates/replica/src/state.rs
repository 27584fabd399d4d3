//! What the replicas agree on: the venue, the client sessions, the membership. Entries go in, in
//! order; the same entries give the same state and the same events on every replica.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use everopen_domain::{Command, Event, Timestamp};
use everopen_venue::Venue;
use everopen_wire::message::RefusalCode;
use everopen_wire::{event, snapshot};
use raft::eraftpb::ConfState;
use twox_hash::xxhash3_128;

use crate::bundle::{self, Meta};
use crate::bytes::{Input, Malformed, Output};
use crate::message::{conf_state, put_conf_state};
use crate::sessions::{Known, Sessions, Stored};

/// A hash by which replicas compare themselves: XXH3-128, see `everopen_wire::hash`.
pub type Digest = [u8; 16];

/// The version of the whole state's bytes.
const VERSION: u16 = 1;

/// Why an entry was not applied. Nothing of it was.
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
    /// What became of each of its requests, in order.
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
    requests: Vec<Meta>,
    commands: Vec<Command>,
    spans: Vec<(usize, Range<usize>, u32)>,
    chained: Vec<u8>,
}

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

    /// Applies an entry's commands.
    ///
    /// # Errors
    /// [`ApplyError`] when it is not of a form or of rules known here; nothing has changed then.
    pub fn apply(
        &mut self,
        index: u64,
        term: u64,
        bytes: &[u8],
        logic_max: u16,
    ) -> Result<AppliedEntry, ApplyError> {
        assert_eq!(index, self.index + 1, "invariant: entries come in order");
        let mut scratch = std::mem::take(&mut self.scratch);
        let read = bundle::read(bytes, &mut scratch.requests, &mut scratch.commands);
        let time = read.map_err(|detail| ApplyError::Unreadable { index, detail })?;
        for command in &scratch.commands {
            // Any other wrong version is refused alike by every release.
            if let Command::ActivateLogic { version } = command
                && *version == self.venue.logic() + 1
                && *version > logic_max
            {
                return Err(ApplyError::UnknownLogic {
                    index,
                    version: *version,
                    known: logic_max,
                });
            }
        }
        self.time = self.time.max(time);
        (self.index, self.term) = (index, term);
        self.bytes_since_snapshot += bytes.len() as u64;
        let entry = self.perform(&mut scratch);
        self.chain(&entry.encoded);
        self.scratch = scratch;
        Ok(entry)
    }

    fn perform(&mut self, scratch: &mut Scratch) -> AppliedEntry {
        let (index, time) = (self.index, self.time);
        let mut events: Vec<Event> = Vec::with_capacity(scratch.commands.len() * 3);
        let mut encoded = Vec::with_capacity(scratch.commands.len() * 256);
        let mut requests = Vec::with_capacity(scratch.requests.len());
        scratch.spans.clear();
        let mut applied = 0;
        for (number, request) in scratch.requests.iter().enumerate() {
            let known = match request {
                Meta::OpenSession { nonce } => {
                    // Unique, since indices are: at most 65,535 requests stand in one entry.
                    let id = index << 16 | number as u64;
                    let opened = self.sessions.open(id, *nonce, time);
                    requests
                        .push(opened.map_or(Became::Refused(RefusalCode::Busy), Became::Opened));
                    continue;
                }
                Meta::Internal { .. } => Known::New,
                Meta::Session {
                    client,
                    sequence,
                    behind,
                    ..
                } => self.sessions.begin(*client, *sequence, *behind, time),
            };
            match known {
                Known::New => {
                    let (from, start) = (events.len(), encoded.len());
                    for command in &scratch.commands[request.commands()] {
                        self.venue.apply(time, command, &mut events);
                        applied += 1;
                    }
                    for event in &events[from..] {
                        event::encode(event, &mut encoded);
                    }
                    let count = (events.len() - from) as u32;
                    scratch.spans.push((number, start..encoded.len(), count));
                    // Made whole below, once all bytes of the entry are in one place.
                    requests.push(Became::Done(Stored {
                        index,
                        time,
                        count,
                        events: Bytes::new(),
                    }));
                }
                Known::Answered(stored) => requests.push(Became::Done(stored)),
                Known::Forgotten => {
                    requests.push(Became::Refused(RefusalCode::SequenceForgotten));
                }
                Known::WindowFull => requests.push(Became::Refused(RefusalCode::WindowFull)),
                Known::Unknown => requests.push(Became::Refused(RefusalCode::SessionUnknown)),
            }
            // A request that stands twice in one entry must find that it was seen.
            if let (
                Meta::Session {
                    client, sequence, ..
                },
                Some(Became::Done(stored)),
            ) = (request, requests.last())
                && scratch.spans.last().is_some_and(|span| span.0 == number)
            {
                self.sessions.store(*client, *sequence, stored.clone());
            }
        }
        let encoded = Bytes::from(encoded);
        for (number, span, count) in scratch.spans.drain(..) {
            let stored = Stored {
                index,
                time,
                count,
                events: encoded.slice(span),
            };
            if let Meta::Session {
                client, sequence, ..
            } = &scratch.requests[number]
            {
                self.sessions.store(*client, *sequence, stored.clone());
            }
            requests[number] = Became::Done(stored);
        }
        // The second of two equal requests took the first one's answer before it was whole.
        for (number, request) in scratch.requests.iter().enumerate() {
            if let Meta::Session {
                client, sequence, ..
            } = request
                && matches!(&requests[number], Became::Done(stored)
                    if stored.index == index && stored.count > 0 && stored.events.is_empty())
                && let Known::Answered(whole) = self.sessions.look(*client, *sequence)
            {
                requests[number] = Became::Done(whole);
            }
        }
        AppliedEntry {
            index,
            time,
            events,
            encoded,
            requests,
            commands: applied,
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
