//! What a rollout brought into service is kept running.

use std::time::{Duration, Instant};

use everopen_rollout::journal::Outcome;
use everopen_rollout::keep::{self, Instance, Keeper};

use super::support::{Place, SERVICE};

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).expect("a pid"));
    rustix::process::kill_process(pid.expect("a pid"), rustix::process::Signal::KILL)
        .expect("killed");
}

/// Looks until this holds of what runs.
fn look_until(keeper: &mut Keeper, holds: impl Fn(&[Instance]) -> bool) -> Vec<Instance> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        keeper.look().expect("a look");
        let running = keeper.running().expect("processes");
        if holds(&running) {
            return running;
        }
        assert!(Instant::now() < deadline, "not in time: {running:?}");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}

#[test]
fn what_ends_is_started_again_where_the_edge_looks_for_it() {
    let place = Place::new();
    place.bring("1");
    place.bring("2");
    let mut keeper = Keeper::new(&place.root(), SERVICE);
    assert_eq!(keeper.look().expect("a look"), 0, "all of them run");
    let before = keeper.running().expect("processes");
    let of = |all: &[Instance], version: &str| -> Vec<(u16, u16, bool)> {
        let found = all.iter().filter(|instance| instance.version == version);
        found.map(|i| (i.instance, i.port, i.serves)).collect()
    };
    assert_eq!(before.len(), 4);
    assert!(of(&before, "2").iter().all(|(.., serves)| *serves));
    assert!(of(&before, "1").iter().all(|(.., serves)| !serves));

    before.iter().for_each(|instance| kill(instance.pid));
    let after = look_until(&mut keeper, |running| {
        let is_new = |now: &Instance| before.iter().all(|old| old.pid != now.pid);
        running.len() == 4 && running.iter().all(is_new)
    });
    for version in ["1", "2"] {
        assert_eq!(of(&after, version), of(&before, version), "the same ports");
    }
    place.until_answered();
    place.only("2");
    // The one that is kept is there to go back to.
    assert_eq!(place.roll_back().outcome, Outcome::Back);
    place.only("1");

    assert_eq!(keep::end(&place.root(), SERVICE).expect("ended"), 4);
    assert!(keeper.running().expect("processes").is_empty());
    // As when a machine starts again: all come back.
    look_until(&mut keeper, |running| running.len() == 4);
    place.until_answered();
    place.only("1");
}

#[test]
fn one_that_ends_again_and_again_is_not_started_without_a_pause() {
    let place = Place::new();
    place.bring("1");
    let mut keeper = Keeper::new(&place.root(), SERVICE);
    let begun = Instant::now();
    let mut starts = 0;
    while begun.elapsed() < Duration::from_millis(700) {
        for instance in keeper.running().expect("processes") {
            kill(instance.pid);
        }
        starts += keeper.look().expect("a look");
        std::thread::park_timeout(Duration::from_millis(5));
    }
    // Two instances, each at 0, 100, 300, 700 ms.
    assert!((2..=8).contains(&starts), "{starts} starts");
}

#[test]
fn one_whose_port_was_taken_meanwhile_gets_another() {
    let place = Place::new();
    place.bring("1");
    let mut keeper = Keeper::new(&place.root(), SERVICE);
    let before = keeper.running().expect("processes");
    let port = before[0].port;
    assert_eq!(keep::end(&place.root(), SERVICE).expect("ended"), 2);
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).expect("it is free now");
    let after = look_until(&mut keeper, |running| running.len() == 2);
    assert_ne!(after[0].port, port);
    assert_eq!(after[1].port, before[1].port);
    place.until_answered();
    place.only("1");
}
