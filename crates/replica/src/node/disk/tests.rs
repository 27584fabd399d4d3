//! Who makes which write durable.

use super::*;
use crate::core::Record;
use everopen_journal::{Config, Journal};
use raft::eraftpb::Entry;

fn write(number: u64, bytes: usize) -> Write {
    let entry = Entry {
        index: number,
        data: vec![number as u8; bytes].into(),
        ..Entry::default()
    };
    Write {
        number,
        install: None,
        records: vec![Record::Entry(entry)],
    }
}

fn desk(journal: Journal) -> (Desk, Receiver<Order>) {
    let progress = Arc::<Progress>::default();
    let (orders, ordered) = std::sync::mpsc::channel();
    let writer = Arc::new(Mutex::new(Writer::new(journal)));
    (Desk::new(writer, orders, progress, 0), ordered)
}

fn records(journal: &Journal) -> usize {
    let mut reader = journal.replay(0).expect("all of it");
    let mut count = 0;
    while reader.next_record().expect("good").is_some() {
        count += 1;
    }
    count
}

#[test]
fn writes_that_were_begun_become_durable_in_order() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(Config::new(dir.path())).expect("opens");
    let (mut desk, ordered) = desk(journal);
    if desk.signal().is_none() {
        // Not by a macro, whose output nobody would see.
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            b"LEFT OUT: this system carries out no writes alone\n",
        );
        return;
    }
    let mut durable = 0;
    for number in 1..=200 {
        let next = [write(number, 200)];
        assert_eq!(desk.way(&next, true, true), Way::Behind);
        desk.begin(next.into()).expect("begins");
        assert!(desk.under_way.is_some() || desk.waiting.is_empty());
        let now = desk.progress.durable.load(Relaxed);
        assert!((durable..=number).contains(&now));
        durable = now;
    }
    // Nobody waits for a follower's loop, but what is under way would hold up a write of its own.
    let last = [write(201, 200)];
    if desk.progress.durable.load(Relaxed) < desk.given {
        assert_eq!(desk.way(&last, false, false), Way::Thread);
    }
    while desk.progress.durable.load(Relaxed) < 200 {
        desk.look().expect("ends well");
    }
    assert_eq!(desk.way(&last, false, false), Way::Now);
    assert_eq!(desk.way(&last, false, true), Way::Thread);
    assert!(ordered.try_recv().is_err(), "the thread got nothing");
    drop(desk);
    let (journal, _) = Journal::open(Config::new(dir.path())).expect("opens again");
    assert_eq!(records(&journal), 200);
}

#[test]
fn a_disk_that_does_nothing_while_something_waits_hangs() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(Config::new(dir.path())).expect("opens");
    let (mut desk, _ordered) = desk(journal);
    let (begin, step) = (Instant::now(), HANGS / 2);
    assert!(
        !desk.hangs(begin) && !desk.hangs(begin + 9 * HANGS),
        "nothing waits"
    );
    desk.hand_over([write(1, 10), write(2, 10)]);
    assert!(!desk.hangs(begin) && !desk.hangs(begin + step));
    assert!(desk.hangs(begin + 2 * step));
    desk.progress.durable.store(1, Relaxed);
    assert!(!desk.hangs(begin + 3 * step), "it has done something");
    assert!(desk.hangs(begin + 5 * step));
    desk.progress.durable.store(2, Relaxed);
    assert!(!desk.hangs(begin + 9 * step));
}

#[test]
fn what_is_large_goes_to_the_thread_behind_what_has_waited() {
    let dir = tempfile::tempdir().expect("a folder");
    let (journal, _) = Journal::open(Config::new(dir.path())).expect("opens");
    let (mut desk, ordered) = desk(journal);
    desk.waiting.push(write(1, 10));
    let large = [write(2, INLINE_BYTES_MAX)];
    assert_eq!(desk.way(&large, true, false), Way::Thread);
    desk.hand_over(large);
    // And what comes after it, however small, as long as the thread has not caught up.
    let small = [write(3, 10)];
    assert_eq!(desk.way(&small, true, false), Way::Thread);
    desk.hand_over(small);
    for number in 1..=3 {
        assert!(matches!(ordered.try_recv(), Ok(Order::Write(write)) if write.number == number));
    }
    desk.progress.durable.store(3, Relaxed);
    assert_ne!(desk.way(&[write(4, 10)], true, false), Way::Thread);
}
