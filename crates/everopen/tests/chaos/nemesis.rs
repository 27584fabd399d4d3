//! What is done to a venue's processes, drawn from a seed.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, replica};
use crate::support::{Venue, signal};
use crate::{Random, pass, until};

/// The longest that a process is stopped.
const PAUSE_MOST: Duration = Duration::from_secs(2);
/// Between two faults, at least and at most.
const CALM: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(1_500));

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Kill,
    KillLeader,
    KillTwo,
    Pause,
    PauseLeader,
    KillGateway,
    /// Not a fault, but a change of leaders all the same.
    Transfer,
}

/// Does faults to a venue for so long, then sees to it that everything runs.
pub fn trouble(venue: &Venue, cluster: &Cluster, faults: &[Fault], seed: u64, time: Duration) {
    let mut random = Random(seed);
    let begun = Instant::now();
    let mut done = 0;
    // Each kind comes, however short the time is.
    let mut left: Vec<Fault> = Vec::new();
    while begun.elapsed() < time {
        if left.is_empty() {
            left = faults.to_vec();
        }
        let fault = left.swap_remove(random.below(left.len() as u64) as usize);
        println!("at {:.2} s: {fault:?}", begun.elapsed().as_secs_f64());
        commit(venue, cluster, fault, &mut random);
        done += 1;
        let calm = random.between(CALM.0, CALM.1);
        pass(calm);
    }
    println!("{done} faults in {:?}", begun.elapsed());
}

fn commit(venue: &Venue, cluster: &Cluster, fault: Fault, random: &mut Random) {
    let mut ids = cluster.ids();
    let any = *random.pick(&ids);
    let leader = || cluster.leader().unwrap_or(any);
    match fault {
        Fault::Kill => kill(venue, &[any]),
        Fault::KillLeader => kill(venue, &[leader()]),
        Fault::KillTwo => {
            ids.retain(|id| *id != any);
            kill(venue, &ids);
        }
        Fault::Pause => pause(venue, any, random),
        Fault::PauseLeader => pause(venue, leader(), random),
        Fault::KillGateway => {
            let gateway = venue.processes().into_iter().find(|p| p.role == "gateway");
            if let Some(gateway) = gateway {
                signal(gateway.pid, "KILL");
            }
        }
        Fault::Transfer => {
            let question = serde_json::json!({ "ask": "transfer", "to": any });
            if let Err(error) = cluster.ask(leader(), &question) {
                println!("  not transferred: {error}");
            }
        }
    }
}

fn kill(venue: &Venue, ids: &[u64]) {
    for process in ids.iter().filter_map(|id| replica(venue, *id)) {
        println!("  kill -9 replica {}", process.id);
        signal(process.pid, "KILL");
    }
}

fn pause(venue: &Venue, id: u64, random: &mut Random) {
    let Some(process) = replica(venue, id) else {
        return;
    };
    let time = random.between(PAUSE_MOST / 20, PAUSE_MOST);
    println!("  replica {id} is stopped for {time:?}");
    signal(process.pid, "STOP");
    pass(time);
    signal(process.pid, "CONT");
}

/// Waits until every process runs again.
pub fn heal(venue: &Venue, cluster: &Cluster) {
    until("all processes run", || {
        // Supervisor, edge and gateway.
        (venue.processes().len() == cluster.ids().len() + 3).then_some(())
    });
    cluster.wait_until_whole();
}

/// Fails when a process ended by a fault of its own.
pub fn no_process_failed(dir: &std::path::Path) {
    let mut logs: Vec<_> = std::fs::read_dir(dir)
        .expect("the data directory")
        .flatten()
        .filter_map(|entry| {
            let folder = entry.path();
            let name = folder.file_name()?.to_str()?;
            let stem = if name.starts_with("node-") {
                "node"
            } else {
                name
            };
            Some(folder.join(format!("{stem}.log")))
        })
        .filter(|log| log.is_file())
        .collect();
    logs.sort();
    assert!(logs.len() > 2, "no logs in {}", dir.display());
    for log in logs {
        let text = std::fs::read_to_string(&log).expect("a log");
        let wrong = [
            "panicked",
            "invariant",
            "ended by a fault",
            "ended by itself",
            "differs",
        ];
        let lines = text
            .lines()
            .filter(|line| wrong.iter().any(|word| line.contains(word)));
        let lines: Vec<&str> = lines.take(20).collect();
        assert!(lines.is_empty(), "{}:\n{}", log.display(), lines.join("\n"));
    }
}
