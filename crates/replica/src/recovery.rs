//! How a replica comes back: the newest good snapshot, then the journal's records after it.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use everopen_domain::LogIndex;
use everopen_journal::{self as journal, AppendError, Journal, Recovery, SnapshotRef, TornTail};
use everopen_venue::Venue;
use everopen_wire::snapshot as wire_snapshot;
use raft::eraftpb::{ConfState, HardState};

use crate::core::Stop;
use crate::record::{self, Record};
use crate::snapshot::{self, Content, Descriptor};
use crate::state::{ApplyError, State};
use crate::storage::Log;
use crate::{Applied, Reader};

/// Why a replica does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The journal's fault.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The journal could not take a record.
    #[error("append to the log")]
    Append(#[source] AppendError),
    /// A snapshot's bytes passed their checksum but are not a state of this version.
    #[error("snapshot {} can't be taken back: {detail}", file.display())]
    Snapshot {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        detail: String,
    },
    /// A record's bytes passed their checksum but are none of this version.
    #[error("record {place} of the journal can't be read: {detail}")]
    Record {
        /// Its place.
        place: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// Entries are missing between a snapshot and the records after it.
    #[error(
        "entry {index} follows entry {last} in the journal: the snapshot between them is damaged. \
         Remove this replica from the cluster and add it anew"
    )]
    Gap {
        /// The entry found.
        index: u64,
        /// The last one before.
        last: u64,
    },
    /// The log is another cluster's.
    #[error("the log belongs to cluster {found}, this replica to {expected}")]
    OtherCluster {
        /// The log's cluster.
        found: String,
        /// This replica's.
        expected: String,
    },
    /// In memory mode the machine stopped without a clean end, and no other replica has what may be
    /// gone.
    #[error(
        "the machine stopped before all that was acknowledged in memory was on the disk, and no other \
         replica has it. `everopen cluster recover` says what is left in {} and goes on with that",
        dir.display()
    )]
    LostMemory {
        /// The log's directory.
        dir: PathBuf,
    },
    /// A note beside the log could not be read or written.
    #[error("keep the notes beside the log: how its last run ended, and which life it is in")]
    Boot(#[source] io::Error),
    /// The rules forbid going on.
    #[error(transparent)]
    Stop(#[from] Stop),
    /// The network could not be set up.
    #[error("set up the network")]
    Network(#[source] io::Error),
    /// A thread could not be started.
    #[error("start a thread")]
    Thread(#[source] io::Error),
    /// A thread of the replica panicked: an invariant does not hold. The log is as it was.
    #[error("a thread of the replica panicked")]
    Panicked,
}

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
    let mut report = Report {
        torn_tail: found.torn_tail.clone(),
        bad_snapshots: found
            .bad_snapshots
            .iter()
            .map(|bad| {
                format!(
                    "{} at offset {}: {}",
                    bad.file.display(),
                    bad.offset,
                    bad.detail
                )
            })
            .collect(),
        ..Report::default()
    };
    let mut hard_state = HardState::default();
    let mut start = None;
    let mut descriptor = None;
    let mut file = None;
    let mut after = 0;
    if let Some(newest) = &found.snapshot {
        let refuse = |detail: String| Fault::Snapshot {
            file: newest.path.clone(),
            detail,
        };
        after = newest.index;
        let content = newest.read()?;
        match snapshot::split(&content).map_err(|e| refuse(e.to_string()))? {
            Content::Current {
                hard_state: own,
                bytes,
            } => {
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
                hard_state = own;
                descriptor = Some(Descriptor::of(bytes, newest.index));
                file = Some(newest.clone());
                start = Some(state);
            }
            Content::Legacy { venue, checkpoint } => {
                let venue = wire_snapshot::decode(venue).map_err(|e| refuse(e.to_string()))?;
                let mut state = alone(origin);
                state.time = venue.time;
                state.venue = Venue::restore(&venue).map_err(|e| refuse(e.to_string()))?;
                (state.index, state.term) = (newest.index, 1);
                reader.restore(checkpoint).map_err(refuse)?;
                start = Some(state);
            }
        }
        report.snapshot_index = start.as_ref().map_or(0, |state| state.index);
    }
    let mut legacy = start.is_some() && descriptor.is_none();
    let mut log: Option<Log> = None;
    let mut records = journal.replay(after)?;
    while let Some((place, bytes)) = records.next_record()? {
        let refuse = |detail: String| Fault::Record { place, detail };
        if record::is_legacy(bytes) {
            // The only voter wrote it, so it is committed.
            legacy = true;
            let state = start.get_or_insert_with(|| alone(origin));
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
            continue;
        }
        match record::decode(place, bytes).map_err(|e| refuse(e.to_string()))? {
            Record::HardState(state) => hard_state = state,
            Record::Installed { index, .. } => {
                // Without its snapshot it was never acknowledged: the replica was killed between the
                // two. With a damaged one, what follows continues a state that is not here, unless
                // there is the same one.
                let first = u64::from(!origin.voters.is_empty());
                let base = start.as_ref().map_or(first, |state| state.index);
                let damaged = found.bad_snapshots.iter().any(|bad| bad.index == place);
                if damaged && (log.is_some() || base != index) {
                    let last = log.as_ref().map_or(base, Log::last_index);
                    return Err(Fault::Gap { index, last });
                }
            }
            Record::Entry(entry) => {
                let base = start
                    .as_ref()
                    .map_or((0, 0), |state| (state.index, state.term));
                let log = log.get_or_insert_with(|| {
                    Log::new(base.0, base.1, ConfState::default(), HardState::default())
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
    }
    drop(records);
    let fresh = start.is_none();
    let state = match start {
        Some(state) => state,
        None if origin.voters.is_empty() => {
            State::new(origin.cluster, ConfState::default(), BTreeMap::new())
        }
        None => {
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
    };
    if legacy {
        hard_state.term = hard_state.term.max(1);
    }
    if fresh && !origin.voters.is_empty() || legacy && log.is_none() {
        hard_state.commit = state.index;
        hard_state.term = hard_state.term.max(1);
        let (stored, at) = first_snapshot(journal, &state, &hard_state, reader)?;
        (descriptor, file) = (Some(stored), Some(at));
    }
    let mut log = log.unwrap_or_else(|| {
        Log::new(
            state.index,
            state.term,
            ConfState::default(),
            HardState::default(),
        )
    });
    log.set_conf(state.conf.clone());
    hard_state.commit = hard_state.commit.max(state.index).min(log.last_index());
    log.set_hard_state(hard_state);
    if let Some(descriptor) = descriptor {
        log.set_snapshot(snapshot::described(&state, &descriptor));
    }
    report.last_index = if fresh { 0 } else { log.last_index() };
    let recovered = Recovered {
        place: journal.last_index(),
        state,
        log,
        file,
    };
    Ok((recovered, report))
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

#[cfg(test)]
mod tests {
    use everopen_journal::{Config, Durability};
    use raft::eraftpb::Entry;

    use super::*;

    fn open(dir: &std::path::Path) -> (Journal, Recovery) {
        Journal::open(Config {
            segment_bytes: 64 << 10,
            max_record_bytes: 16 << 10,
            durability: Durability::Memory,
            ..Config::new(dir)
        })
        .expect("opens")
    }

    fn origin(voters: &[u64]) -> Origin {
        Origin {
            node: 1,
            cluster: [7; 16],
            voters: voters.iter().map(|node| (*node, String::new())).collect(),
        }
    }

    fn again(dir: &std::path::Path, logic_max: u16) -> Result<Recovered, Fault> {
        let (mut journal, found) = open(dir);
        let recovered = recover(&mut journal, &found, &origin(&[]), &mut (), logic_max);
        recovered.map(|(recovered, _)| recovered)
    }

    fn put(journal: &mut Journal, bytes: &[u8]) -> u64 {
        let place = journal.append(bytes).expect("appended");
        journal.commit().expect("committed");
        place
    }

    fn put_entry(journal: &mut Journal, index: u64, term: u64) {
        let mut entry = Entry::default();
        (entry.index, entry.term) = (index, term);
        let mut bytes = Vec::new();
        record::put_entry(&entry, &mut bytes);
        put(journal, &bytes);
    }

    /// Puts a state of that index and term where a peer's state is put.
    fn install(journal: &mut Journal, index: u64, term: u64, logic: u16) -> SnapshotRef {
        let mut record = Vec::new();
        record::put_installed(index, term, &mut record);
        let place = put(journal, &record);
        let mut state = State::new([7; 16], ConfState::default(), BTreeMap::new());
        (1..=index).for_each(|index| state.pass(index, term));
        if logic > 1 {
            let mut events = Vec::new();
            let activate = everopen_domain::Command::ActivateLogic { version: logic };
            let time = everopen_domain::Timestamp(1);
            state.venue.apply(time, &activate, &mut events);
        }
        let header = snapshot::header(&HardState::default());
        let bytes = snapshot::encode(&state, &[]);
        let written = journal.snapshots().write_with(place, |out| {
            out.write_all(&header)?;
            out.write_all(&bytes)
        });
        written.expect("written")
    }

    #[test]
    fn what_continues_a_damaged_state_is_not_taken_for_a_continuation_of_the_one_before() {
        let dir = tempfile::tempdir().expect("a folder");
        let file = {
            let (mut journal, _) = open(dir.path());
            install(&mut journal, 3, 1, 1);
            // A tail that was never agreed on; a peer's state replaces it, and its log goes on.
            for index in 4..=8 {
                put_entry(&mut journal, index, 1);
            }
            let file = install(&mut journal, 6, 2, 1);
            put_entry(&mut journal, 7, 2);
            file
        };
        let recovered = again(dir.path(), 1).map(|recovered| recovered.last_index());
        assert!(matches!(recovered, Ok(7)));
        let mut bytes = std::fs::read(&file.path).expect("read");
        bytes[100] ^= 1;
        std::fs::write(&file.path, bytes).expect("written");
        let refused = again(dir.path(), 1).err();
        assert!(matches!(refused, Some(Fault::Gap { index: 6, last: 8 })));
        // One that was never written whole was never acknowledged.
        std::fs::remove_file(&file.path).expect("removed");
        let recovered = again(dir.path(), 1).map(|recovered| recovered.last_index());
        assert!(matches!(recovered, Ok(7)));
    }

    #[test]
    fn a_state_of_rules_that_are_not_known_is_not_taken_back() {
        let dir = tempfile::tempdir().expect("a folder");
        install(&mut open(dir.path()).0, 3, 1, 2);
        assert!(again(dir.path(), 2).is_ok());
        let refused = again(dir.path(), 1).err();
        assert!(matches!(
            refused,
            Some(Fault::Stop(Stop::Apply(ApplyError::UnknownLogic {
                version: 2,
                known: 1,
                ..
            })))
        ));
    }
}
