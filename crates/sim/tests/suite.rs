//! The simulated world finds what is planted, finds nothing where nothing is, and is the same each
//! time.

use std::time::{Duration, Instant, SystemTime};

use everopen_sim::{Canary, Check, Options, Report, run, run_showing};

/// Seeds on which a canary must sing at least once.
const TRIES: u64 = 12;

fn assert_well(report: &Report) {
    if let Some(violation) = &report.violation {
        panic!(
            "seed {}: {violation}\nreproduce it with: everopen sim --seed {} --trace",
            report.seed, report.seed
        );
    }
}

#[test]
fn the_same_seed_gives_the_same_world() {
    let options = Options {
        steps: 20_000,
        ..Options::default()
    };
    let shown = |seed| {
        let mut lines = Vec::new();
        let report = run_showing(seed, &options, &mut |line| lines.push(line.to_string()));
        (lines, report)
    };
    for seed in [7, 8, 9] {
        let (lines, report) = shown(seed);
        assert!(lines.len() > 1_000, "everything is shown");
        let (again, other) = shown(seed);
        assert_eq!(lines, again);
        assert_eq!(report.to_string(), other.to_string());
        // Whether somebody watches makes no difference.
        assert_eq!(report, run(seed, &options));
        assert_ne!(report.trace_hash, run(seed + 100, &options).trace_hash);
    }
}

#[test]
fn known_worlds_are_well() {
    // One tore a write between what it committed and the entry that it replaced; in another a replica
    // with an empty disk is asked for its vote by one that lacks what it had acknowledged; in the last
    // a member is removed before those that are left have anything of the first leader's.
    let others = [
        9_001_055,
        49_651_200_333_280_800,
        1_000_228,
        1_796_106_611_954,
    ];
    for seed in (1..=24).chain(others) {
        assert_well(&run(seed, &Options::default()));
    }
}

#[test]
fn fresh_worlds_are_well() {
    let seconds = std::env::var("EVEROPEN_SIM_SECONDS")
        .ok()
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(20);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut seed = since.expect("after 1970").as_millis() as u64;
    let begun = Instant::now();
    let mut worlds = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        seed += 1;
        worlds += 1;
        assert_well(&run(seed, &Options::default()));
    }
    println!("{worlds} worlds up to seed {seed}");
}

/// Runs a canary's worlds until it is found.
fn hunt(canary: Canary, without: &[Check]) -> Option<(Check, String)> {
    (1..=TRIES).find_map(|seed| {
        let options = Options {
            steps: 40_000,
            canary: Some(canary),
            without: without.to_vec(),
            ..Options::default()
        };
        let violation = run(seed, &options).violation?;
        Some((violation.check, format!("seed {seed}: {violation}")))
    })
}

#[test]
fn every_planted_fault_is_found() {
    for canary in Canary::ALL {
        let (check, text) = hunt(*canary, &[]).unwrap_or_else(|| panic!("{canary:?} is not found"));
        assert!(canary.found_by().contains(&check), "{canary:?}: {text}");
    }
}

#[test]
fn every_canarys_world_is_well_without_it() {
    for canary in Canary::ALL {
        for seed in 1..=2 {
            let options = Options {
                steps: 40_000,
                canary: Some(*canary),
                silent: true,
                ..Options::default()
            };
            let report = run(seed, &options);
            assert_eq!(report.violation, None, "{canary:?}: seed {seed}");
        }
    }
}

#[test]
fn replicas_that_differ_find_it_out_themselves() {
    let blind = [
        Check::Prefix,
        Check::Digest,
        Check::Follower,
        Check::Answer,
        Check::Session,
        Check::Ledger,
        Check::Once,
    ];
    for canary in [
        Canary::DroppedEntry,
        Canary::FlippedEntry,
        Canary::MovedMoney,
    ] {
        let (check, text) = hunt(canary, &blind).expect("found");
        assert_eq!(check, Check::Stop, "{text}");
        assert!(text.contains("differs from replicas"), "{text}");
    }
}
