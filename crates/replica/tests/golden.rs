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

mod sessions {
    //! Version 0.2.0: entries with sessions, and a replica's whole state. The commands are those of
    //! version 0.1.0, each entry's in one request of a session, some of them sent twice.
    //! `EVEROPEN_BLESS=1` writes the files; only for a version that is not released yet.

    use super::*;
    use everopen_domain::{Command, Timestamp};
    use everopen_replica::raft::eraftpb::ConfState;
    use everopen_replica::snapshot;
    use everopen_replica::state::State;
    use everopen_wire::EntryWriter;
    use everopen_wire::entry::Request;

    const RELEASE: &str = "v0.2.0";
    const CLUSTER: [u8; 16] = *b"golden cluster 2";

    fn begin() -> State {
        let conf = ConfState {
            voters: vec![1, 2, 3],
            learners: vec![4],
            ..ConfState::default()
        };
        let nodes = (1..=4).map(|node| (node, format!("10.0.0.{node}:7000")));
        let mut state = State::new(CLUSTER, conf, nodes.collect());
        state.pass(1, 1);
        state
    }

    /// The entries as a leader would write them.
    fn write() -> Vec<Vec<u8>> {
        let dir = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(lay_out("v0.1.0", dir.path())).unwrap();
        let mut writer = EntryWriter::new(256 << 10);
        writer.push(&Request::OpenSession { nonce: 77 }).unwrap();
        let mut entries = vec![writer.finish().to_vec()];
        // The session's number is made of the index of its entry, the second.
        let client = 2 << 16;
        let mut log = journal.replay(0).unwrap();
        let mut sequence = 0;
        while let Some((index, bytes)) = log.next_record().unwrap() {
            let entry = EntryReader::new(bytes).unwrap();
            writer.begin(entry.time());
            let commands: Vec<Command> = entry
                .flat_map(|request| request.unwrap().commands())
                .map(|command| command.unwrap())
                .collect();
            let request = Request::Session {
                client,
                sequence,
                behind: (sequence as u32).min(7),
                commands: &commands,
            };
            writer.push(&request).unwrap();
            if index % 5 == 0 {
                writer.push(&request).unwrap();
            }
            sequence += 1;
            entries.push(writer.finish().to_vec());
        }
        writer.begin(Timestamp(u64::MAX / 2));
        let activate = [Command::ActivateLogic { version: 2 }, Command::Tick];
        writer
            .push(&Request::Internal {
                commands: &activate,
            })
            .unwrap();
        entries.push(writer.finish().to_vec());
        entries
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn bless() {
        let entries = write();
        let mut all = Vec::new();
        let mut state = begin();
        let mut lines = String::new();
        let middle = entries.len() / 2;
        let folder = golden(RELEASE);
        std::fs::create_dir_all(&folder).unwrap();
        for (at, entry) in entries.iter().enumerate() {
            all.extend_from_slice(&(entry.len() as u32).to_le_bytes());
            all.extend_from_slice(entry);
            state.apply(at as u64 + 2, 1, entry, 2, false).unwrap();
            if at == middle {
                std::fs::write(folder.join("state.bin"), snapshot::encode(&state, b"views"))
                    .unwrap();
                lines += &format!(
                    "snapshot {}\nstate at snapshot {}\n",
                    state.index,
                    hex(&state.hash())
                );
            }
        }
        lines += &format!(
            "entries {}\nevents {}\nstate {}\n",
            entries.len(),
            hex(&state.digest),
            hex(&state.hash())
        );
        std::fs::write(folder.join("entries.bin"), all).unwrap();
        std::fs::write(folder.join("expected.txt"), lines).unwrap();
    }

    fn stored() -> Vec<Vec<u8>> {
        let bytes = std::fs::read(golden(RELEASE).join("entries.bin")).unwrap();
        let mut rest = &bytes[..];
        let mut entries = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (entry, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            entries.push(entry.to_vec());
            rest = after;
        }
        entries
    }

    #[test]
    fn the_log_and_the_state_of_0_2_0_lead_to_the_same() {
        if std::env::var_os("EVEROPEN_BLESS").is_some_and(|v| v == "1") {
            bless();
        }
        let expected = expected(RELEASE);
        let entries = stored();
        assert_eq!(entries.len().to_string(), expected["entries"]);
        let bytes = std::fs::read(golden(RELEASE).join("state.bin")).unwrap();
        let (mut from_snapshot, reader) = snapshot::decode(&bytes).unwrap();
        assert_eq!(reader, b"views");
        assert_eq!(from_snapshot.index.to_string(), expected["snapshot"]);
        assert_eq!(hex(&from_snapshot.hash()), expected["state at snapshot"]);
        // One state has one form, also after it was read.
        assert_eq!(snapshot::encode(&from_snapshot, b"views"), bytes);

        let mut from_start = begin();
        for (at, entry) in entries.iter().enumerate() {
            let index = at as u64 + 2;
            from_start.apply(index, 1, entry, 2, false).unwrap();
            if index == from_snapshot.index {
                assert_eq!(from_start.hash(), from_snapshot.hash());
            } else if index > from_snapshot.index {
                from_snapshot.apply(index, 1, entry, 2, false).unwrap();
            }
        }
        for state in [&from_start, &from_snapshot] {
            assert_eq!(hex(&state.digest), expected["events"]);
            assert_eq!(hex(&state.hash()), expected["state"]);
            assert_eq!(state.logic(), 2);
        }
    }

    #[test]
    fn a_release_without_the_rules_stops_before_it_applies_them() {
        let entries = stored();
        let mut state = begin();
        let (last, before) = entries.split_last().unwrap();
        for (at, entry) in before.iter().enumerate() {
            state.apply(at as u64 + 2, 1, entry, 1, false).unwrap();
        }
        let hash = state.hash();
        let refused = state.apply(entries.len() as u64 + 1, 1, last, 1, false);
        assert!(refused.is_err());
        assert_eq!(state.hash(), hash, "nothing was applied");
    }
}
