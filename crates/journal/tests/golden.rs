//! Version 1 of the stored bytes: written the same, and read, by every later version of this program.
//! `EVEROPEN_BLESS=1` writes the files anew; only for a new version, under a new name.
mod support;

use everopen_journal::{Journal, Tail, scan};
use std::path::Path;
use support::{open, records, segment, small, write};

/// A golden file against what was written now.
fn golden(name: &str, written: &[u8]) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name);
    if std::env::var_os("EVEROPEN_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, written).unwrap();
    }
    let stored = std::fs::read(&path).unwrap();
    assert!(stored == written, "{name} is written differently now");
    stored
}

#[test]
fn version_1_is_written_and_read() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    write(&mut journal, 1, 3, 64);
    write(&mut journal, 4, 4, 1);
    let snapshot = journal
        .snapshots()
        .write(2, b"the state after two records")
        .unwrap();
    let expected = records(&journal, 0);
    drop(journal);
    let written = std::fs::read(segment(dir.path(), 1)).unwrap();
    let used = written.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    let mut stored = golden("v1.segment", &written[..used]);
    let stored_snapshot = golden("v1.snapshot", &std::fs::read(&snapshot.path).unwrap());

    stored.resize(written.len(), 0);
    let report = scan(&stored);
    assert_eq!(
        (report.last_index, report.frames, report.tail),
        (4, 2, Tail::Clean)
    );
    let other = tempfile::tempdir().unwrap();
    std::fs::write(segment(other.path(), 1), &stored).unwrap();
    std::fs::write(
        other.path().join(snapshot.path.file_name().unwrap()),
        stored_snapshot,
    )
    .unwrap();
    let (journal, recovery) = Journal::open(small(other.path())).unwrap();
    assert_eq!(records(&journal, 0), expected);
    assert_eq!(recovery.torn_tail, None);
    assert_eq!(
        recovery.snapshot.unwrap().read().unwrap(),
        b"the state after two records"
    );
}
