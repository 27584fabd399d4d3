//! Logs and snapshots of released versions. Goal: today's code reads what a release wrote and comes
//! to the same events and the same state, bit for bit. Method: journals in `golden/`, written by
//! the code of that release, are replayed from their first entry and from their snapshot.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use everopen_journal::{Config, Journal};
use everopen_venue::Venue;
use everopen_wire::{EntryReader, EventHasher, snapshot, state_hash};

const SEGMENT_BYTES: u64 = 64 << 10;

fn golden(release: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "golden", release]
        .iter()
        .collect()
}

/// Puts the stored files into `to` as the journal had them.
fn lay_out(release: &str, to: &Path) -> Config {
    for entry in std::fs::read_dir(golden(release)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        match path.extension().and_then(|e| e.to_str()) {
            Some("segment") => bytes.resize(SEGMENT_BYTES as usize, 0),
            Some("snapshot") => {}
            _ => continue,
        }
        std::fs::write(to.join(name), bytes).unwrap();
    }
    let mut config = Config::new(to);
    config.segment_bytes = SEGMENT_BYTES;
    config.max_record_bytes = 16 << 10;
    config
}

/// The lines of `expected.txt`: a name and, after its last space, what was there.
fn expected(release: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(golden(release).join("expected.txt")).unwrap();
    text.lines()
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A venue that follows a log.
struct Follower {
    venue: Venue,
    hasher: EventHasher,
    commands: usize,
    events: usize,
}

impl Follower {
    fn new(venue: Venue) -> Self {
        Self {
            venue,
            hasher: EventHasher::new(),
            commands: 0,
            events: 0,
        }
    }

    fn apply(&mut self, entry: &[u8]) {
        let entry = EntryReader::new(entry).unwrap();
        let time = entry.time();
        for request in entry {
            for command in request.unwrap().commands() {
                let command = command.unwrap();
                let mut events = Vec::new();
                assert!(self.venue.knows(&command));
                self.venue.apply(time, &command, &mut events);
                events.iter().for_each(|event| self.hasher.push(event));
                self.commands += 1;
                self.events += events.len();
            }
        }
    }

    fn state(&self) -> String {
        state_hash(&self.venue.snapshot()).to_string()
    }
}

#[test]
fn the_log_of_0_1_0_leads_to_the_same_events_and_state() {
    let dir = tempfile::tempdir().unwrap();
    let config = lay_out("v0.1.0", dir.path());
    let expected = expected("v0.1.0");
    let number = |name: &str| expected[name].parse::<u64>().unwrap();
    let (journal, recovery) = Journal::open(config).unwrap();
    assert_eq!(journal.last_index(), number("entries"));
    assert_eq!(recovery.torn_tail, None);

    // The snapshot is the replica's: the state with its length before it, then the reader's part.
    let stored = recovery.snapshot.unwrap();
    assert_eq!(stored.index, number("snapshot"));
    let bytes = stored.read().unwrap();
    let (length, state) = bytes.split_first_chunk::<8>().unwrap();
    let (state, reader) = state.split_at(u64::from_le_bytes(*length) as usize);
    assert!(reader.is_empty());
    let state = snapshot::decode(state).unwrap();
    assert_eq!(state.logic, 1);
    let mut second = Follower::new(Venue::restore(&state).unwrap());
    assert_eq!(second.state(), expected["state at snapshot"]);

    let mut first = Follower::new(Venue::new());
    let mut log = journal.replay(0).unwrap();
    while let Some((index, entry)) = log.next_record().unwrap() {
        first.apply(entry);
        if index == stored.index {
            assert_eq!(first.venue.snapshot(), state);
            let hash = first.hasher.hash();
            assert_eq!(hash.to_string(), expected["events at snapshot"]);
            second.hasher = EventHasher::resume(hash);
        } else if index > stored.index {
            second.apply(entry);
        }
    }
    assert_eq!(first.commands as u64, number("commands"));
    assert_eq!(first.events as u64, number("events"));
    for follower in [first, second] {
        assert_eq!(follower.state(), expected["state"]);
        assert_eq!(follower.hasher.hash().to_string(), expected["all events"]);
    }
}
