//! How a replica comes back: the newest good snapshot, then the journal's records after it.

mod fault;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use everopen_domain::LogIndex;
use everopen_journal::{self as journal, Journal, Recovery, SnapshotRef, TornTail};
use everopen_venue::Venue;
use everopen_wire::snapshot as wire_snapshot;
use raft::eraftpb::{ConfState, HardState};

use crate::record::{self, Record};
use crate::snapshot::{self, Content, Descriptor};
use crate::state::{ApplyError, State};
use crate::storage::Log;
use crate::{Applied, Reader};

pub use fault::Fault;

/// How far the replay of the log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Entries replayed.
    pub done: u64,
    /// Entries to replay in all.
    pub total: u64,
}

/// What a start found and did.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The entry of the snapshot that was used; 0 if there was none.
    pub snapshot_index: u64,
    /// The last entry of the log; 0 if it is new.
    pub last_index: u64,
    /// Entries that were replayed.
    pub entries_replayed: u64,
    /// Commands in them.
    pub commands_replayed: u64,
    /// Bytes of them.
    pub bytes_replayed: u64,
    /// How long that took.
    pub replay_time: std::time::Duration,
    /// What was cut from the end of the log, if its last write was torn.
    pub torn_tail: Option<TornTail>,
    /// Snapshots that were damaged and passed over, as sentences.
    pub bad_snapshots: Vec<String>,
}

impl Report {
    /// As the journal was opened.
    fn of(found: &Recovery) -> Self {
        let told = |bad: &journal::BadSnapshot| {
            let file = bad.file.display();
            format!("{file} at offset {}: {}", bad.offset, bad.detail)
        };
        Self {
            torn_tail: found.torn_tail.clone(),
            bad_snapshots: found.bad_snapshots.iter().map(told).collect(),
            ..Self::default()
        }
    }
}

/// What a replica starts from if it has no log.
#[derive(Clone, Debug)]
pub struct Origin {
    /// This replica.
    pub node: u64,
    /// Its cluster.
    pub cluster: [u8; 16],
    /// The first voters, with their addresses; none when this replica joins a cluster that runs.
    pub voters: BTreeMap<u64, String>,
}

/// What a core starts from.
pub struct Recovered {
    pub(crate) state: State,
    pub(crate) log: Log,
    /// Records in the journal.
    pub(crate) place: u64,
    /// The newest snapshot's file.
    pub(crate) file: Option<SnapshotRef>,
}

impl Recovered {
    /// The last entry that was known to be committed.
    pub fn commit_index(&self) -> u64 {
        self.log.hard_state().commit
    }

    /// The last entry of the log.
    pub fn last_index(&self) -> u64 {
        self.log.last_index()
    }

    /// The newest snapshot's file, if there is one.
    pub fn file(&self) -> Option<&SnapshotRef> {
        self.file.as_ref()
    }

    /// The state as of the snapshot; later entries are applied by the core.
    pub fn state(&self) -> &State {
        &self.state
    }
}

/// Reads an open journal; a new one is given its first state.
///
/// # Errors
/// A [`Fault`] that says what is wrong with it.
pub fn recover(
    journal: &mut Journal,
    found: &Recovery,
    origin: &Origin,
    reader: &mut impl Reader,
    logic_max: u16,
) -> Result<(Recovered, Report), Fault> {
    let mut report = Report::of(found);
    let mut read = Read::default();
    if let Some(newest) = &found.snapshot {
        read.take_back(newest, origin, reader, logic_max)?;
        report.snapshot_index = read.state.as_ref().map_or(0, |state| state.index);
    }
    let after = found.snapshot.as_ref().map_or(0, |newest| newest.index);
    let mut records = journal.replay(after)?;
    while let Some((place, bytes)) = records.next_record()? {
        if record::is_legacy(bytes) {
            read.replay_legacy(place, bytes, origin, reader, logic_max, &mut report)?;
        } else {
            read.replay(place, bytes, found, origin)?;
        }
    }
    drop(records);
    let is_new = read.state.is_none();
    let recovered = read.end(journal, origin, reader)?;
    report.last_index = if is_new { 0 } else { recovered.last_index() };
    Ok((recovered, report))
}

/// What was read so far.
#[derive(Default)]
struct Read {
    hard_state: HardState,
    /// None where there is no snapshot, and no entry of version 0.1.0.
    state: Option<State>,
    /// Of the snapshot, if it is one of this version.
    descriptor: Option<Descriptor>,
    file: Option<SnapshotRef>,
    /// Whether version 0.1.0 wrote the last of it.
    is_legacy: bool,
    log: Option<Log>,
}

impl Read {
    /// The newest snapshot.
    fn take_back(
        &mut self,
        newest: &SnapshotRef,
        origin: &Origin,
        reader: &mut impl Reader,
        logic_max: u16,
    ) -> Result<(), Fault> {
        let refuse = |detail: String| Fault::Snapshot {
            file: newest.path.clone(),
            detail,
        };
        let content = newest.read()?;
        match snapshot::split(&content).map_err(|e| refuse(e.to_string()))? {
            Content::Current { hard_state, bytes } => {
                let (state, checkpoint) = State::decode(bytes).map_err(refuse)?;
                if state.logic() > logic_max {
                    let unknown = ApplyError::UnknownLogic {
                        index: state.index,
                        version: state.logic(),
                        known: logic_max,
                    };
                    return Err(Fault::Stop(unknown.into()));
                }
                if state.cluster != origin.cluster {
                    return Err(Fault::OtherCluster {
                        found: hex(&state.cluster),
                        expected: hex(&origin.cluster),
                    });
                }
                reader.restore(checkpoint).map_err(refuse)?;
                self.hard_state = hard_state;
                self.descriptor = Some(Descriptor::of(bytes, newest.index));
                self.file = Some(newest.clone());
                self.state = Some(state);
            }
            Content::Legacy { venue, checkpoint } => {
                let venue = wire_snapshot::decode(venue).map_err(|e| refuse(e.to_string()))?;
                let mut state = alone(origin);
                state.time = venue.time;
                state.venue = Venue::restore(&venue).map_err(|e| refuse(e.to_string()))?;
                (state.index, state.term) = (newest.index, 1);
                reader.restore(checkpoint).map_err(refuse)?;
                self.state = Some(state);
                self.is_legacy = true;
            }
        }
        Ok(())
    }

    /// A record of version 0.1.0. The only voter wrote it, so it is committed.
    fn replay_legacy(
        &mut self,
        place: u64,
        bytes: &[u8],
        origin: &Origin,
        reader: &mut impl Reader,
        logic_max: u16,
        report: &mut Report,
    ) -> Result<(), Fault> {
        self.is_legacy = true;
        let state = self.state.get_or_insert_with(|| alone(origin));
        if place != state.index + 1 {
            return Err(Fault::Gap {
                index: place,
                last: state.index,
            });
        }
        let applied = state
            .apply(place, 1, bytes, logic_max, false)
            .map_err(|e| Fault::Stop(e.into()))?;
        reader.applied(&Applied {
            index: LogIndex(place),
            time: applied.time,
            events: &applied.events,
        });
        report.entries_replayed += 1;
        report.commands_replayed += applied.commands;
        report.bytes_replayed += bytes.len() as u64;
        Ok(())
    }

    /// A record of this version. Its entry is applied later, by the core.
    fn replay(
        &mut self,
        place: u64,
        bytes: &[u8],
        found: &Recovery,
        origin: &Origin,
    ) -> Result<(), Fault> {
        let refuse = |detail: String| Fault::Record { place, detail };
        match record::decode(place, bytes).map_err(|e| refuse(e.to_string()))? {
            Record::HardState(state) => self.hard_state = state,
            Record::Installed { index, .. } => {
                // Without its snapshot it was never acknowledged: the replica was killed between the
                // two. With a damaged one, what follows continues a state that is not here, unless
                // there is the same one.
                let first = u64::from(!origin.voters.is_empty());
                let base = self.state.as_ref().map_or(first, |state| state.index);
                let damaged = found.bad_snapshots.iter().any(|bad| bad.index == place);
                if damaged && (self.log.is_some() || base != index) {
                    let last = self.log.as_ref().map_or(base, Log::last_index);
                    return Err(Fault::Gap { index, last });
                }
            }
            Record::Entry(entry) => {
                let log = self.log.get_or_insert_with(|| {
                    let state = self.state.as_ref();
                    let base = state.map_or((0, 0), |state| (state.index, state.term));
                    log_after(base)
                });
                if entry.index > log.last_index() + 1 {
                    return Err(Fault::Gap {
                        index: entry.index,
                        last: log.last_index(),
                    });
                }
                if entry.index > log.base_index() {
                    log.append(entry, place);
                }
            }
        }
        Ok(())
    }

    /// Puts together what was read; what has no state on the disk yet gets one.
    fn end(
        self,
        journal: &mut Journal,
        origin: &Origin,
        reader: &mut impl Reader,
    ) -> Result<Recovered, Fault> {
        let Self {
            mut hard_state,
            mut descriptor,
            mut file,
            ..
        } = self;
        let begins = self.state.is_none() && !origin.voters.is_empty();
        let state = self.state.unwrap_or_else(|| first(origin));
        if self.is_legacy {
            hard_state.term = hard_state.term.max(1);
        }
        if begins || self.is_legacy && self.log.is_none() {
            hard_state.commit = state.index;
            hard_state.term = hard_state.term.max(1);
            let (stored, at) = first_snapshot(journal, &state, &hard_state, reader)?;
            (descriptor, file) = (Some(stored), Some(at));
        }
        let mut log = self
            .log
            .unwrap_or_else(|| log_after((state.index, state.term)));
        log.set_conf(state.conf.clone());
        hard_state.commit = hard_state.commit.max(state.index).min(log.last_index());
        log.set_hard_state(hard_state);
        if let Some(descriptor) = descriptor {
            log.set_snapshot(snapshot::described(&state, &descriptor));
        }
        Ok(Recovered {
            place: journal.last_index(),
            state,
            log,
            file,
        })
    }
}

/// An empty log after an entry of that index and term.
fn log_after((index, term): (u64, u64)) -> Log {
    Log::new(index, term, ConfState::default(), HardState::default())
}

/// The state of a replica that has none yet.
fn first(origin: &Origin) -> State {
    if origin.voters.is_empty() {
        return State::new(origin.cluster, ConfState::default(), BTreeMap::new());
    }
    let conf = ConfState {
        voters: origin.voters.keys().copied().collect(),
        ..ConfState::default()
    };
    let mut state = State::new(origin.cluster, conf, origin.voters.clone());
    // An entry that nobody wrote: a replica that joins later has less than this, and so is
    // sent the whole state, which names the first voters.
    state.pass(1, 1);
    state
}

/// The state of a venue of version 0.1.0: one replica is the whole cluster.
fn alone(origin: &Origin) -> State {
    let conf = ConfState {
        voters: vec![origin.node],
        ..ConfState::default()
    };
    let nodes = origin
        .voters
        .iter()
        .filter(|(node, _)| **node == origin.node)
        .map(|(node, address)| (*node, address.clone()))
        .collect();
    State::new(origin.cluster, conf, nodes)
}

/// Stores a state at a place of its own in the journal.
fn first_snapshot(
    journal: &mut Journal,
    state: &State,
    hard_state: &HardState,
    reader: &mut impl Reader,
) -> Result<(Descriptor, SnapshotRef), Fault> {
    let mut bytes = Vec::new();
    record::put_installed(state.index, state.term, &mut bytes);
    let place = journal.append(&bytes).map_err(Fault::Append)?;
    let mut bytes = Vec::new();
    record::put_hard_state(hard_state, &mut bytes);
    journal.append(&bytes).map_err(Fault::Append)?;
    journal.commit()?;
    let portable = snapshot::encode(state, &reader.checkpoint());
    let header = snapshot::header(hard_state);
    let file = journal.snapshots().write_with(place, |out| {
        out.write_all(&header)?;
        out.write_all(&portable)
    })?;
    Ok((Descriptor::of(&portable, place), file))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
