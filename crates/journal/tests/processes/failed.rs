//! Writes that fail, waited for and begun.

use std::path::Path;

use everopen_journal::{AppendError, Config, Durability, Error, Journal};

use crate::{State, append, busy, command, limited, restore, set_file_size, succeeds, support};

pub fn failed_write() {
    let dir = tempfile::tempdir().unwrap();
    succeeds(limited("failed write", dir.path()));
}

pub fn failed_write_child(dir: &Path) {
    let config = Config {
        durability: Durability::Fsync,
        ..busy(dir)
    };
    let (mut journal, _) = Journal::open(config.clone()).unwrap();
    let state = append(&mut journal, State::EMPTY, 100);
    let used = everopen_journal::scan(&std::fs::read(support::segment(dir, 1)).unwrap()).end;
    // In the middle of the next frame.
    set_file_size(Some(used + 300));
    for number in 101..=110 {
        journal.append(&command(number)).unwrap();
    }
    assert!(matches!(journal.commit(), Err(Error::Io { .. })));
    set_file_size(None);
    assert!(matches!(journal.commit(), Err(Error::Poisoned { .. })));
    assert!(matches!(
        journal.append(b"x"),
        Err(AppendError::Failed(Error::Poisoned { .. }))
    ));
    assert!(matches!(
        journal.try_reserve(),
        Err(AppendError::Failed(Error::Poisoned { .. }))
    ));
    assert_eq!(
        (journal.room(), journal.durable_index()),
        (0, state.applied)
    );
    drop(journal);
    let (journal, recovery) = Journal::open(config).unwrap();
    let torn = recovery.torn_tail.expect("part of the frame was written");
    assert!(torn.offset >= used && torn.bytes_dropped > 0, "{torn:?}");
    drop(journal);
    let (mut journal, reopened) = restore(dir);
    assert!((100..110).contains(&reopened.applied), "{reopened:?}");
    let state = append(&mut journal, reopened, 10);
    drop(journal);
    assert_eq!(restore(dir).1, state);
    println!("survived with {} commands", state.applied);
}

pub fn failed_begun_write() {
    let dir = tempfile::tempdir().unwrap();
    succeeds(limited("failed begun write", dir.path()));
}

pub fn failed_begun_write_child(dir: &Path) {
    let config = Config {
        durability: Durability::Fsync,
        ..busy(dir)
    };
    let (mut journal, _) = Journal::open(config).unwrap();
    let state = append(&mut journal, State::EMPTY, 100);
    // The block in which the next frame begins, and no further.
    let used = everopen_journal::scan(&std::fs::read(support::segment(dir, 1)).unwrap()).end;
    set_file_size(Some(used));
    for number in 101..=110 {
        journal.append(&command(number)).unwrap();
    }
    let failed = loop {
        match journal.begin_commit().and_then(|()| journal.poll_commit()) {
            Ok(true) => panic!("there was no room for it"),
            Ok(false) => {}
            Err(error) => break error,
        }
    };
    assert!(matches!(failed, Error::Io { .. }), "{failed}");
    set_file_size(None);
    assert!(matches!(
        journal.begin_commit(),
        Err(Error::Poisoned { .. })
    ));
    assert!(matches!(journal.commit(), Err(Error::Poisoned { .. })));
    assert_eq!(journal.durable_index(), state.applied);
    drop(journal);
    let (mut journal, reopened) = restore(dir);
    assert!((100..=110).contains(&reopened.applied), "{reopened:?}");
    let state = append(&mut journal, reopened, 10);
    drop(journal);
    assert_eq!(restore(dir).1, state);
    println!("survived with {} commands", state.applied);
}
