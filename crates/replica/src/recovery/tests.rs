//! What a start takes back, and what it refuses.

use everopen_journal::{Config, Durability};
use raft::eraftpb::Entry;

use super::*;
use crate::core::Stop;

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
