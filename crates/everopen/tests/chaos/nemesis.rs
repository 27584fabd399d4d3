//! What is done to a venue's processes and logs, drawn from a seed.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, replica};
use crate::support::{Process, Venue, signal};
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
        Fault::Pause => pause(venue, &[any], random),
        Fault::PauseLeader => pause(venue, &[leader()], random),
        Fault::KillGateway => kill_role(venue, "gateway"),
        Fault::Transfer => {
            let question = serde_json::json!({ "ask": "transfer", "to": any });
            if let Err(error) = cluster.ask(leader(), &question) {
                println!("  not transferred: {error}");
            }
        }
    }
}

/// Ends replicas by `kill -9`.
pub fn kill(venue: &Venue, ids: &[u64]) {
    for process in ids.iter().filter_map(|id| replica(venue, *id)) {
        println!("  kill -9 replica {}", process.id);
        signal(process.pid, "KILL");
    }
}

/// Ends the processes of a role by `kill -9`.
pub fn kill_role(venue: &Venue, role: &str) {
    for process in venue.processes().into_iter().filter(|p| p.role == role) {
        println!("  kill -9 {role}");
        signal(process.pid, "KILL");
    }
}

/// Stops replicas for a while, all at once.
pub fn pause(venue: &Venue, ids: &[u64], random: &mut Random) {
    let processes: Vec<_> = ids.iter().filter_map(|id| replica(venue, *id)).collect();
    let time = random.between(PAUSE_MOST / 20, PAUSE_MOST);
    println!("  replicas {ids:?} are stopped for {time:?}");
    let all = |name| processes.iter().for_each(|p| signal(p.pid, name));
    all("STOP");
    pass(time);
    all("CONT");
}

/// Stops a process, and waits until none of its threads goes on: it begins no other write.
pub fn freeze(process: &Process) {
    signal(process.pid, "STOP");
    let is_stopped = |thread: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        // The state follows the name, which is in parentheses.
        let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
        // The system's own workers for its disk have nothing to stop in.
        state.starts_with('T') || stat.contains("(iou-")
    };
    until("it has stopped", || {
        let threads = std::fs::read_dir(format!("/proc/{}/task", process.pid));
        let mut threads = threads.expect("its threads").flatten();
        threads.all(is_stopped).then_some(())
    });
}

fn newest_segment(log: &Path) -> PathBuf {
    let files = std::fs::read_dir(log).expect("a log").flatten();
    let segments = files.map(|file| file.path());
    let segments = segments.filter(|path| path.extension().is_some_and(|end| end == "segment"));
    segments.max().expect("a segment")
}

/// Flips a bit in the newest file of a log: three times of four in what is written, else anywhere.
pub fn flip_bit(log: &Path, random: &mut Random) {
    let file = newest_segment(log);
    let bytes = std::fs::read(&file).expect("a segment");
    let last = bytes.iter().rposition(|byte| *byte != 0);
    let written = last.map_or(0, |at| at + 1);
    let limit = if random.below(4) == 0 {
        bytes.len()
    } else {
        written
    };
    let offset = random.below(limit as u64);
    let flipped = bytes[offset as usize] ^ (1 << random.below(8));
    println!(
        "  a bit at {offset} of {written} in {} flips",
        file.display()
    );
    let file = File::options().write(true).open(file).expect("open");
    file.write_all_at(&[flipped], offset).expect("write");
}

/// Waits until every process runs again.
pub fn heal(venue: &Venue, cluster: &Cluster) {
    until("all processes run", || {
        // A gateway that only waits to be gone back to does not count.
        let all = venue.processes().into_iter();
        let serving = all.filter(|process| process.role != "standby").count();
        // Supervisor, edge and gateway.
        (serving == cluster.ids().len() + 3).then_some(())
    });
    cluster.wait_until_whole();
}

/// Fails when a process ended by a fault of its own.
pub fn no_process_failed(dir: &Path) {
    only_these_failed(dir, &[]);
}

/// Fails when a process ended by a fault of its own, and was not one of the replicas that had to.
/// Not even those panic.
pub fn only_these_failed(dir: &Path, had_to: &[u64]) {
    let wrong = [
        "panicked",
        "invariant",
        "ended by a fault",
        "ended by itself",
        "differs",
    ];
    let had_to: Vec<String> = had_to.iter().map(|id| format!("node-{id}")).collect();
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
            let words = if had_to.iter().any(|node| node == name) {
                &wrong[..2]
            } else {
                &wrong[..]
            };
            Some((folder.join(format!("{stem}.log")), words))
        })
        .filter(|(log, _)| log.is_file())
        .collect();
    logs.sort();
    assert!(logs.len() > 2, "no logs in {}", dir.display());
    for (log, words) in logs {
        let text = std::fs::read_to_string(&log).expect("a log");
        let lines = text
            .lines()
            .filter(|line| words.iter().any(|word| line.contains(word)));
        let lines: Vec<&str> = lines.take(20).collect();
        assert!(lines.is_empty(), "{}:\n{}", log.display(), lines.join("\n"));
    }
}
