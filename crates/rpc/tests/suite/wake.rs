//! Waking a hub from other threads.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use everopen_rpc::{Hub, Limits, Security};
use everopen_testkit::thread_cpu_ns;

use crate::support::PATIENCE;

fn hub() -> Hub {
    Hub::new(Limits::default(), Security::Plain).expect("a poll")
}

/// One that looks for so long before it waits.
fn looking(most: Duration) -> Hub {
    let mut hub = hub();
    hub.look_before_waiting(most);
    hub
}

/// One turn that may wait for long, and how long it did.
fn turn(hub: &mut Hub, timeout: Duration) -> Duration {
    let start = Instant::now();
    hub.turn(Some(timeout), &mut |event| panic!("{event:?}"))
        .expect("the poll works");
    start.elapsed()
}

#[test]
fn a_turn_without_anything_ends_at_its_timeout() {
    let mut hub = hub();
    assert!(turn(&mut hub, Duration::from_millis(20)) >= Duration::from_millis(20));
    assert!(turn(&mut hub, Duration::ZERO) < PATIENCE);
}

#[test]
fn a_wake_before_the_turn_keeps_it_from_waiting_once() {
    let mut hub = hub();
    let waker = hub.waker();
    for _ in 0..1_000 {
        waker.wake();
    }
    assert!(turn(&mut hub, PATIENCE) < PATIENCE);
    assert!(turn(&mut hub, Duration::from_millis(20)) >= Duration::from_millis(20));
}

#[test]
fn a_wake_ends_a_wait() {
    is_woken(&mut hub());
}

/// Another thread wakes it while it waits, or looks.
fn is_woken(hub: &mut Hub) {
    let waker = hub.waker();
    let (asleep, told) = mpsc::channel();
    let other = thread::spawn(move || {
        told.recv().expect("the hub's thread lives");
        waker.wake();
    });
    asleep.send(()).expect("the other thread lives");
    assert!(turn(hub, PATIENCE) < PATIENCE);
    other.join().expect("it does not panic");
}

#[test]
fn a_wake_ends_a_look_and_the_next_turn_looks_again() {
    let mut hub = looking(PATIENCE);
    hub.waker().wake();
    assert!(turn(&mut hub, PATIENCE) < PATIENCE);
    is_woken(&mut hub);
    // Neither looks longer than the turn may take.
    let short = Duration::from_millis(20);
    assert!(turn(&mut hub, short) >= short);
}

#[test]
fn a_hub_to_which_nothing_comes_stops_looking() {
    let most = Duration::from_millis(10);
    let mut hub = looking(most);
    let before = thread_cpu_ns();
    for _ in 0..50 {
        turn(&mut hub, most);
    }
    let took = Duration::from_nanos(thread_cpu_ns() - before);
    assert!(took < 10 * most, "{took:?} of {:?}", 50 * most);
}

#[test]
fn no_wake_is_lost_between_two_threads() {
    for most in [0, 5, 1_000] {
        no_wake_is_lost(looking(Duration::from_micros(most)));
    }
}

fn no_wake_is_lost(mut hub: Hub) {
    const COUNT: u32 = 100_000;
    let waker = hub.waker();
    let (queue, waiting) = mpsc::sync_channel(16);
    let other = thread::spawn(move || {
        for number in 0..COUNT {
            queue.send(number).expect("the hub's thread lives");
            waker.wake();
        }
    });
    let mut next = 0;
    while next < COUNT {
        // A lost wake would show as a turn that waits to its end.
        assert!(turn(&mut hub, PATIENCE) < PATIENCE, "at {next}");
        for number in waiting.try_iter() {
            assert_eq!(number, next);
            next += 1;
        }
    }
    other.join().expect("it does not panic");
}
