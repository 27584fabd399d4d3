//! How long trading pauses when the leader dies, hands over, or is replaced.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::cluster::{Cluster, replica};
use crate::metronome::Metronome;
use crate::nemesis;
use crate::open_loop::{OpenLoop, Outcome, Spread};
use crate::support::{Process, Venue, signal};
use crate::{agreement, alone, by_suite, number, pass, say, until};

/// The longest that trading may pause for a leader that was killed, at the 99th percentile.
const KILL_MOST: Duration = Duration::from_secs(1);
/// The longest that trading may pause for a leader that hands over.
const TRANSFER_MOST: Duration = Duration::from_millis(100);

/// A venue of three replicas under load.
struct Bench {
    folder: tempfile::TempDir,
    venue: Venue,
    cluster: Cluster,
    load: OpenLoop,
    metronome: Metronome,
}

impl Bench {
    fn start() -> Self {
        let folder = crate::folder();
        let venue = Venue::start(folder.path(), &["--replicas", "3"]).expect("start");
        let cluster = Cluster::of(&venue, folder.path());
        cluster.wait_until_whole();
        let load = OpenLoop::start(&cluster);
        load.wait_past(Instant::now());
        let metronome = Metronome::start(folder.path());
        Self {
            folder,
            venue,
            cluster,
            load,
            metronome,
        }
    }

    fn leader(&self) -> Process {
        until("the leader's process", || {
            replica(&self.venue, self.cluster.leader()?)
        })
    }

    /// Waits until a replica runs in another process than that, and counts again.
    fn wait_for_another(&self, gone: &Process) {
        until("the replica runs again", || {
            let now = replica(&self.venue, gone.id)?;
            (now.pid != gone.pid).then_some(())
        });
        self.cluster.wait_until_whole();
    }
}

#[test]
fn a_killed_leader_is_replaced_within_a_second() {
    let _alone = alone();
    let kills = number("EVEROPEN_LEADER_KILLS", by_suite(5, 100));
    let bench = Bench::start();
    let mut moments = Vec::new();
    for _ in 0..kills {
        let leader = bench.leader();
        signal(leader.pid, "KILL");
        // What is due from now on cannot have been acknowledged by the one that was killed.
        let moment = Instant::now();
        moments.push(moment);
        bench.load.wait_past(moment);
        bench.wait_for_another(&leader);
    }
    let outcome = bench.load.finish(&bench.cluster);
    let pauses = moments
        .iter()
        .map(|moment| outcome.until_acknowledged(*moment));
    let mut pauses: Vec<Duration> = pauses.collect();
    println!("{pauses:?}");
    let spread = Spread::of(&mut pauses);
    say(&format!(
        "kill -9 of the leader, to the next acknowledged command: {spread}"
    ));
    outcome.tell();
    assert_eq!(
        outcome.unacknowledged(),
        0,
        "a patient client is never refused"
    );
    assert!(spread.p99 <= KILL_MOST, "{spread}");
    nemesis::no_process_failed(bench.folder.path());
    agreement::logs_are_sound(bench.venue, bench.folder.path());
}

#[test]
fn a_leader_that_hands_over_is_hardly_missed() {
    let _alone = alone();
    let rounds = by_suite(20, 100);
    let bench = Bench::start();
    let mut moments = Vec::new();
    for _ in 0..rounds {
        let leader = bench.cluster.wait_for_leader();
        let others = bench.cluster.ids().into_iter().filter(|id| *id != leader);
        let to = others
            .min_by_key(|id| id.wrapping_sub(leader) % 3)
            .expect("another");
        let from = Instant::now();
        let question = json!({ "ask": "transfer", "to": to });
        bench.cluster.ask(leader, &question).expect("transfer");
        until("the other leads", || {
            (bench.cluster.leader() == Some(to)).then_some(())
        });
        bench.load.wait_past(Instant::now());
        moments.push((from, Instant::now()));
        pass(Duration::from_millis(50));
    }
    let outcome = bench.load.finish(&bench.cluster);
    let kept_time = bench.metronome.kept_time();
    report(
        "transfer of the lead by an operator",
        &outcome,
        &moments,
        kept_time,
    );
    outcome.tell();
    nemesis::no_process_failed(bench.folder.path());
}

#[test]
fn replicas_are_replaced_one_by_one_under_load() {
    let _alone = alone();
    // The bound is the median's: one alone is what the machine made of it.
    let rounds = by_suite(3, 10);
    let bench = Bench::start();
    let (mut leaders, mut followers) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        for id in bench.cluster.ids() {
            let process = until("its process", || replica(&bench.venue, id));
            let led = bench.cluster.wait_for_leader() == id;
            let from = Instant::now();
            signal(process.pid, "TERM");
            bench.wait_for_another(&process);
            bench.load.wait_past(Instant::now());
            let moments = if led { &mut leaders } else { &mut followers };
            moments.push((from, Instant::now()));
        }
    }
    let outcome = bench.load.finish(&bench.cluster);
    let kept_time = bench.metronome.kept_time();
    report(
        "SIGTERM of the leader, replaced",
        &outcome,
        &leaders,
        kept_time,
    );
    report(
        "SIGTERM of a follower, replaced",
        &outcome,
        &followers,
        kept_time,
    );
    outcome.tell();
    nemesis::no_process_failed(bench.folder.path());
    agreement::logs_are_sound(bench.venue, bench.folder.path());
}

fn report(what: &str, outcome: &Outcome, moments: &[(Instant, Instant)], kept_time: bool) {
    let gaps = moments
        .iter()
        .map(|(from, to)| outcome.longest_gap(*from, *to));
    let mut gaps: Vec<Duration> = gaps.collect();
    println!("{gaps:?}");
    let spread = Spread::of(&mut gaps);
    say(&format!(
        "{what}, longest time between acknowledgments: {spread}"
    ));
    if kept_time {
        assert_eq!(
            outcome.unacknowledged(),
            0,
            "a patient client is never refused"
        );
        assert!(spread.p50 <= TRANSFER_MOST, "{what}: {spread}");
    }
}
