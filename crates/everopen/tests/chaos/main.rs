//! What clients see while real processes are killed, paused, cut off from each other and starved
//! of disk.
//!
//! `EVEROPEN_SEED` repeats a run's faults (their moments are real time, so not the run itself);
//! `EVEROPEN_LONG` makes every test longer. One test runs at a time: they measure time.

mod agreement;
mod cluster;
mod disks;
mod door;
mod drill;
mod failover;
mod faults;
mod fleet;
mod history;
mod metronome;
mod money;
mod nemesis;
mod open_loop;
mod partitions;
mod replaced;
#[path = "../support/mod.rs"]
mod support;
mod trader;

use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use everopen_testkit::sandbox::say;

/// How long anything may take that must happen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something to become true.
#[track_caller]
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Lets time pass that is part of what a test does; nothing is waited for.
fn pass(time: Duration) {
    let end = Instant::now() + time;
    while let Some(left) = end
        .checked_duration_since(Instant::now())
        .filter(|l| !l.is_zero())
    {
        std::thread::park_timeout(left);
    }
}

/// One test at a time, whatever became of the one before.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Whether the long suite runs.
fn is_long() -> bool {
    std::env::var_os("EVEROPEN_LONG").is_some()
}

/// The first for the ordinary suite, the second for the long one.
fn by_suite<T>(ordinary: T, long: T) -> T {
    if is_long() { long } else { ordinary }
}

/// A number that the environment may set.
fn number(name: &str, otherwise: u64) -> u64 {
    let told = std::env::var(name).ok();
    told.and_then(|text| text.parse().ok()).unwrap_or(otherwise)
}

/// A folder for a test's data, removed after it unless `EVEROPEN_KEEP` is set.
fn folder() -> tempfile::TempDir {
    let mut folder = tempfile::tempdir().expect("a folder");
    if std::env::var_os("EVEROPEN_KEEP").is_some() {
        println!("kept: {}", folder.path().display());
        folder.disable_cleanup(true);
    }
    folder
}

/// The seed of this run, told so that it can be repeated.
fn seed() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = number("EVEROPEN_SEED", since.unwrap_or_default().as_nanos() as u64);
    println!("EVEROPEN_SEED={seed}");
    seed
}

/// splitmix64.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn between(&mut self, least: Duration, most: Duration) -> Duration {
        let spread = (most - least).as_micros() as u64;
        least + Duration::from_micros(self.below(spread.max(1)))
    }

    fn pick<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}
