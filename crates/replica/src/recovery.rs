//! How a replica comes back: newest good snapshot, then the log.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Instant;

use everopen_domain::{Event, LogIndex, Timestamp};
use everopen_journal::{self as journal, AppendError, Journal, TornTail};
use everopen_venue::Venue;
use everopen_wire::{EntryReader, StateHash, command, entry, snapshot, state_hash};

use crate::{Applied, Config, Reader};

/// Why a replica does not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The journal's fault.
    #[error(transparent)]
    Journal(#[from] journal::Error),
    /// The journal could not take an entry.
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
    /// An entry's bytes passed their checksum but are no commands of this version.
    #[error("entry {index} of the log can't be read: {detail}")]
    Entry {
        /// The entry.
        index: u64,
        /// What is wrong with it.
        detail: String,
    },
    /// The limits contradict each other.
    #[error("an entry of {commands} commands may not fit into a record of {bytes} bytes")]
    Config {
        /// `entry_commands`.
        commands: usize,
        /// The journal's `max_record_bytes`.
        bytes: u32,
    },
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

/// What the sequencer starts from.
pub(crate) struct Recovered {
    pub venue: Venue,
    pub journal: Journal,
    pub time: Timestamp,
    pub report: Report,
}

pub(crate) fn recover(
    config: &Config,
    reader: &mut impl Reader,
    progress: &mut dyn FnMut(Progress),
) -> Result<Recovered, Fault> {
    let bytes = config.journal.max_record_bytes;
    let command_bytes = entry::REQUEST_BYTES_MAX + command::BYTES_MAX;
    if config.entry_commands * command_bytes + entry::HEADER_BYTES > bytes as usize {
        return Err(Fault::Config {
            commands: config.entry_commands,
            bytes,
        });
    }
    let (journal, recovery) = Journal::open(config.journal.clone())?;
    let mut report = Report {
        last_index: recovery.last_index,
        torn_tail: recovery.torn_tail.clone(),
        bad_snapshots: recovery
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
    let mut venue = Venue::new();
    let mut time = Timestamp::ZERO;
    if let Some(newest) = &recovery.snapshot {
        let refuse = |detail: String| Fault::Snapshot {
            file: newest.path.clone(),
            detail,
        };
        let bytes = newest.read()?;
        let (state, checkpoint) = split_state(&bytes).map_err(refuse)?;
        let state = snapshot::decode(state).map_err(|e| refuse(e.to_string()))?;
        venue = Venue::restore(&state).map_err(|e| refuse(e.to_string()))?;
        reader.restore(checkpoint).map_err(refuse)?;
        time = state.time;
        report.snapshot_index = newest.index;
    }
    let started = Instant::now();
    let total = recovery.last_index - report.snapshot_index;
    let mut log = journal.replay(report.snapshot_index)?;
    let mut events = Vec::new();
    while let Some((index, bytes)) = log.next_record()? {
        report.bytes_replayed += bytes.len() as u64;
        report.commands_replayed += apply(&mut venue, &mut time, index, bytes, &mut events)?;
        reader.applied(&Applied {
            index: LogIndex(index),
            time,
            events: &events,
        });
        report.entries_replayed += 1;
        if report.entries_replayed.is_multiple_of(1024) {
            progress(Progress {
                done: report.entries_replayed,
                total,
            });
        }
    }
    drop(log);
    report.replay_time = started.elapsed();
    progress(Progress {
        done: report.entries_replayed,
        total,
    });
    Ok(Recovered {
        venue,
        journal,
        time,
        report,
    })
}

/// Applies one entry; `events` holds what happened in it afterwards. Returns how many commands it
/// held.
fn apply(
    venue: &mut Venue,
    time: &mut Timestamp,
    index: u64,
    bytes: &[u8],
    events: &mut Vec<Event>,
) -> Result<u64, Fault> {
    events.clear();
    let refuse = |detail: String| Fault::Entry { index, detail };
    let entry = EntryReader::new(bytes).map_err(|e| refuse(e.to_string()))?;
    *time = entry.time();
    let mut commands = 0;
    for request in entry {
        let request = request.map_err(|e| refuse(e.to_string()))?;
        for command in request.commands() {
            let command = command.map_err(|e| refuse(e.to_string()))?;
            venue.apply(*time, &command, events);
            commands += 1;
        }
    }
    Ok(commands)
}

/// A snapshot file holds the venue's state, its length before it, and then the reader's state.
pub(crate) fn encode_state(venue: &Venue, reader: &[u8], out: &mut dyn Write) -> io::Result<()> {
    let mut state = Vec::new();
    snapshot::encode(&venue.snapshot(), &mut state);
    out.write_all(&(state.len() as u64).to_le_bytes())?;
    out.write_all(&state)?;
    out.write_all(reader)
}

fn split_state(bytes: &[u8]) -> Result<(&[u8], &[u8]), String> {
    let (length, rest) = bytes
        .split_first_chunk::<8>()
        .ok_or("shorter than its own header".to_string())?;
    let length = usize::try_from(u64::from_le_bytes(*length)).map_err(|e| e.to_string())?;
    rest.split_at_checked(length)
        .ok_or_else(|| "shorter than it says".to_string())
}

/// Reads the whole log of a stopped replica and returns the state hash at its end, so that two
/// logs, versions or machines can be compared.
///
/// # Errors
/// A [`Fault`] as [`crate::Replica::open`].
pub fn verify(
    config: &Config,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Report, StateHash), Fault> {
    let recovered = recover(config, &mut (), progress)?;
    let hash = state_hash(&recovered.venue.snapshot());
    Ok((recovered.report, hash))
}
