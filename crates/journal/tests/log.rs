//! The journal as its callers see it: append, commit, read, snapshot, retire, open again.
mod support;

use everopen_journal::{AppendError, Config, Durability, Error, Journal, RetainLog, scan};
use std::io::Read;
use support::{open, payload, records, small, write};

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    for round in 0..4 {
        let config = Config {
            segment_bytes: 64 << 10,
            max_record_bytes: 1024,
            ..Config::new(dir.path())
        };
        let (mut journal, recovery) = Journal::open(config).unwrap();
        assert_eq!(recovery.last_index, all.len() as u64, "round {round}");
        assert_eq!(recovery.torn_tail, None);
        assert_eq!(records(&journal, 0), all);
        for length in [0, 1, 7, 8, 9, 64, 1000, 1024] {
            all.push(payload(all.len() as u64 + 1, length));
            assert_eq!(
                journal.append(all.last().unwrap()).unwrap(),
                all.len() as u64
            );
        }
        assert!(journal.commit().unwrap().bytes > 0);
        assert_eq!(journal.commit().unwrap().bytes, 0, "nothing to do");
        assert_eq!(records(&journal, 0), all);
        assert_eq!(records(&journal, 5), all[5..]);
        journal.append(b"never committed").unwrap();
    }
}

#[test]
fn segments_follow_each_other_and_readers_cross_them() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    let mut reader = journal.replay(0).unwrap();
    for index in 1..=200 {
        write(&mut journal, index, index, 300);
        // A reader that reached the end goes on when there is more.
        assert_eq!(
            reader.next_record().unwrap(),
            Some((index, &payload(index, 300)[..]))
        );
        assert_eq!(reader.next_record().unwrap(), None);
    }
    let segments = std::fs::read_dir(dir.path())
        .unwrap()
        .filter(|entry| {
            entry
                .as_ref()
                .unwrap()
                .file_name()
                .to_string_lossy()
                .ends_with(".segment")
        })
        .count();
    assert!(segments > 5, "{segments} segments");
    for after in 0..=200 {
        assert_eq!(records(&journal, after).len() as u64, 200 - after);
    }
    drop(journal);
    let (journal, recovery) = open(dir.path());
    assert_eq!((recovery.first_index, recovery.last_index), (1, 200));
    assert_eq!(recovery.segments_checked, segments as u64);
    assert_eq!(records(&journal, 0).len(), 200);
}

#[test]
fn one_commit_may_span_segments() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    write(&mut journal, 1, 100, 500);
    assert_eq!(records(&journal, 0).len(), 100);
    drop(journal);
    assert_eq!(open(dir.path()).1.last_index, 100);
}

#[test]
fn a_second_opener_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let second = Journal::open(small(dir.path()));
    assert!(matches!(second, Err(Error::Locked { .. })), "{second:?}");
    drop(journal);
    open(dir.path());
}

#[test]
fn a_too_large_record_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    let refused = journal.append(&[1; 1025]);
    assert!(
        matches!(
            refused,
            Err(AppendError::TooLarge {
                bytes: 1025,
                limit: 1024
            })
        ),
        "{refused:?}"
    );
    write(&mut journal, 1, 1, 1024);
}

#[test]
fn wrong_configurations_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let good = small(dir.path());
    for bad in [
        Config {
            segment_bytes: 8191,
            ..good.clone()
        },
        Config {
            segment_bytes: 2 << 30,
            ..good.clone()
        },
        Config {
            segment_bytes: 4096,
            ..good.clone()
        },
        Config {
            max_record_bytes: u32::MAX,
            ..good.clone()
        },
        Config {
            retain_snapshots: 0,
            ..good.clone()
        },
    ] {
        assert!(matches!(Journal::open(bad), Err(Error::Config(_))));
    }
}

#[test]
fn room_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    for length in [0, 10, 100, 333, 1000, 1024, 64]
        .into_iter()
        .cycle()
        .take(300)
    {
        let cost = everopen_journal::record_bytes(length) + everopen_journal::FRAME_BYTES;
        let before = journal.room();
        journal.append(&vec![1; length as usize]).unwrap();
        journal.commit().unwrap();
        // A segment of space can come up meanwhile, it never goes.
        let waste = everopen_journal::record_bytes(1024);
        assert!(
            journal.room() + cost + waste >= before,
            "{} {before}",
            journal.room()
        );
    }
}

#[test]
fn readers_stay_within_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    write(&mut journal, 1, 3, 10);
    assert_eq!(records(&journal, 3).len(), 0);
    assert!(matches!(
        journal.replay(4),
        Err(Error::OutOfRange { index: 5, .. })
    ));
    journal.append(b"not durable").unwrap();
    assert!(matches!(journal.replay(4), Err(Error::OutOfRange { .. })));
    assert!(matches!(
        journal.replay(u64::MAX),
        Err(Error::OutOfRange { .. })
    ));
}

#[test]
fn the_newest_good_snapshot_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    let snapshots = journal.snapshots();
    write(&mut journal, 1, 10, 10);
    let state: Vec<u8> = (0..3_000_001u32).map(|at| (at % 251) as u8).collect();
    snapshots.write(5, b"five").unwrap();
    snapshots.write(10, &state).unwrap();
    assert!(matches!(
        snapshots.write(11, b"ahead"),
        Err(Error::SnapshotAhead {
            index: 11,
            durable: 10
        })
    ));
    let failed = snapshots.write_with(7, |out| {
        out.write_all(&state)?;
        Err(std::io::Error::other("the machine stopped"))
    });
    assert!(matches!(failed, Err(Error::Io { .. })));
    drop(journal);

    let (journal, recovery) = open(dir.path());
    let newest = recovery.snapshot.unwrap();
    assert_eq!((newest.index, newest.bytes), (10, 3_000_001));
    assert_eq!(newest.read().unwrap(), state);
    let mut streamed = Vec::new();
    newest.open().unwrap().read_to_end(&mut streamed).unwrap();
    assert!(streamed == state);
    drop(journal);

    for (at, offset) in [(3, 0), (70, 64), (1_500_000, 64 + 8 + (1 << 20))] {
        let mut bytes = std::fs::read(&newest.path).unwrap();
        bytes[at] ^= 4;
        std::fs::write(&newest.path, &bytes).unwrap();
        let (_, recovery) = open(dir.path());
        assert_eq!(recovery.snapshot.unwrap().read().unwrap(), b"five");
        assert_eq!(recovery.bad_snapshots.len(), 1);
        assert_eq!(recovery.bad_snapshots[0].offset, offset);
        let read = newest.read();
        assert!(matches!(read, Err(Error::Corrupt { .. })), "{read:?}");
        bytes[at] ^= 4;
        std::fs::write(&newest.path, &bytes).unwrap();
    }
}

#[test]
fn any_flipped_bit_or_cut_of_a_snapshot_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    write(&mut journal, 1, 1, 10);
    let snapshot = journal.snapshots().write(1, &payload(1, 100)).unwrap();
    let good = std::fs::read(&snapshot.path).unwrap();
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        std::fs::write(&snapshot.path, &bytes).unwrap();
        assert!(
            matches!(snapshot.read(), Err(Error::Corrupt { .. })),
            "flip at {at}"
        );
        std::fs::write(&snapshot.path, &good[..at]).unwrap();
        assert!(
            matches!(snapshot.read(), Err(Error::Corrupt { .. })),
            "cut at {at}"
        );
    }
    std::fs::write(&snapshot.path, [&good[..], &[0]].concat()).unwrap();
    assert!(
        matches!(snapshot.read(), Err(Error::Corrupt { .. })),
        "one byte more"
    );
}

#[test]
fn retention_keeps_what_the_oldest_kept_snapshot_needs() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    let mut early = journal.replay(0).unwrap();
    assert_eq!(
        journal.retire().unwrap(),
        everopen_journal::Retired::default()
    );
    for index in 1..=100 {
        write(&mut journal, index, index, 500);
        if index % 20 == 0 {
            journal
                .snapshots()
                .write(index, &payload(index, 50))
                .unwrap();
        }
    }
    let retired = journal.retire().unwrap();
    assert_eq!(retired.snapshots, 3, "100 and 80 stay");
    assert!(retired.segments > 0);
    let first = journal.first_index();
    assert!(first > 60 && first <= 81, "{first}");
    assert_eq!(records(&journal, 80).len(), 20);
    assert!(matches!(journal.replay(0), Err(Error::OutOfRange { .. })));
    // A reader of what went says so; the segment it had open it may finish.
    let ended = loop {
        match early.next_record() {
            Ok(Some(_)) => {}
            other => break other.map(|_| ()),
        }
    };
    assert!(matches!(ended, Err(Error::OutOfRange { .. })), "{ended:?}");
    drop(journal);
    let (journal, recovery) = open(dir.path());
    assert_eq!((recovery.first_index, recovery.last_index), (first, 100));
    assert_eq!(recovery.snapshot.unwrap().index, 100);
    assert_eq!(records(&journal, 80).len(), 20);
}

#[test]
fn all_of_the_log_is_kept_if_configured() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config {
        retain_log: RetainLog::All,
        ..small(dir.path())
    };
    let (mut journal, _) = Journal::open(config.clone()).unwrap();
    write(&mut journal, 1, 100, 500);
    for index in [10, 50, 100] {
        journal.snapshots().write(index, b"state").unwrap();
    }
    assert_eq!(
        journal.retire().unwrap(),
        everopen_journal::Retired {
            snapshots: 1,
            segments: 0
        }
    );
    drop(journal);
    let (journal, recovery) = Journal::open(config).unwrap();
    assert_eq!(recovery.first_index, 1);
    assert_eq!(records(&journal, 0).len(), 100);
    assert_eq!(
        recovery.segments_checked, 1,
        "only what replay needs is read on start"
    );
}

#[test]
fn a_log_that_does_not_reach_back_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    write(&mut journal, 1, 100, 500);
    let last = journal.snapshots().write(100, b"state").unwrap();
    let earlier = journal.snapshots().write(90, b"state").unwrap();
    assert!(journal.retire().unwrap().segments > 0);
    drop(journal);
    std::fs::write(&last.path, b"gone").unwrap();
    assert_eq!(open(dir.path()).1.snapshot.unwrap().index, 90);
    std::fs::write(&earlier.path, b"gone too").unwrap();
    let refused = Journal::open(small(dir.path()));
    assert!(
        matches!(
            refused,
            Err(Error::LogMissing {
                needed: 1,
                bad_snapshots: 2,
                ..
            })
        ),
        "{refused:?}"
    );
}

#[test]
fn another_segment_size_applies_to_the_next_segment() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    drop(journal);
    let larger = Config {
        segment_bytes: 256 << 10,
        max_record_bytes: 100_000,
        ..small(dir.path())
    };
    // The first segment is empty and too small for this record: it is replaced.
    (journal, _) = Journal::open(larger.clone()).unwrap();
    write(&mut journal, 1, 4, 90_000);
    drop(journal);
    (journal, _) = open(dir.path());
    write(&mut journal, 5, 300, 1000);
    drop(journal);
    let (journal, recovery) = Journal::open(larger).unwrap();
    assert_eq!(recovery.last_index, 300);
    assert_eq!(records(&journal, 0).len(), 300);
}

#[test]
fn every_commit_is_marked_and_every_left_segment_sealed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    let mut first = 1;
    for index in 1..=40 {
        write(&mut journal, index, index, 500);
        let current = support::segment(dir.path(), index);
        if index > 1 && current.exists() {
            let left = scan(&std::fs::read(support::segment(dir.path(), first)).unwrap());
            assert_eq!(
                (left.marked, left.sealed, left.last_index),
                (true, true, index - 1)
            );
            first = index;
        }
        let report = scan(&std::fs::read(support::segment(dir.path(), first)).unwrap());
        assert_eq!(
            (report.marked, report.sealed, report.last_index),
            (true, false, index)
        );
    }
    assert!(first > 20, "{first}");
}

#[test]
fn what_is_written_past_the_page_cache_is_what_is_written_through_it() {
    let write = |durability| {
        let dir = tempfile::tempdir().unwrap();
        let config = || Config {
            durability,
            segment_bytes: 64 << 10,
            max_record_bytes: 20 << 10,
            ..support::small(dir.path())
        };
        let mut journal = Journal::open(config()).unwrap().0;
        for index in 1..=200_u64 {
            let length = (index * 7_919 % 1_300) as usize * if index % 17 == 0 { 15 } else { 1 };
            journal.append(&support::payload(index, length)).unwrap();
            match index % 7 {
                0 | 1 => {}
                2 => drop(journal.commit().unwrap()),
                3 | 4 => journal.begin_commit().unwrap(),
                _ => drop(journal.commit_unmarked().unwrap()),
            }
            if index % 41 == 0 {
                journal.commit_unmarked().unwrap();
                drop(journal);
                journal = Journal::open(config()).unwrap().0;
            }
        }
        journal.commit().unwrap();
        drop(journal);
        let mut segments: Vec<(std::ffi::OsString, Vec<u8>)> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.path().extension().is_some_and(|e| e == "segment"))
            .map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap()))
            .collect();
        segments.sort();
        segments
    };
    let (direct, cached) = (write(Durability::Fsync), write(Durability::Memory));
    assert!(direct.len() > 3, "{} segments", direct.len());
    assert!(direct == cached, "the same bytes in the same files");
}
