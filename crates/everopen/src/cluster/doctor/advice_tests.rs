//! Advice from made-up measurements.

use super::*;

/// Three voters; `rtt[a][b]` and `sync` in µs, p99 twice as much.
fn cluster(rtt: [[f64; 3]; 3], sync: [f64; 3]) -> Measured {
    let times = |us: f64| Times {
        p50: us,
        p99: us * 2.0,
    };
    let nodes = (0..3).map(|a| Node {
        id: a as u64 + 1,
        rtt: (0..3)
            .filter(|b| *b != a)
            .map(|b| (b as u64 + 1, times(rtt[a][b])))
            .collect(),
        sync: Some(times(sync[a])),
        clock: (0..3)
            .filter(|b| *b != a)
            .map(|b| (b as u64 + 1, 5.0))
            .collect(),
        cores: Some(8),
        numa_nodes: Some(1),
        governor: Some("performance".into()),
        load: Some(1.0),
        ..Node::default()
    });
    Measured {
        nodes: nodes.collect(),
        voters: vec![1, 2, 3],
        leader: Some(1),
        is_fsync: true,
    }
}

/// Replicas 2 and 3 share a zone, 1 is elsewhere.
const TWO_ZONES: [[f64; 3]; 3] = [[0.0, 700.0, 720.0], [700.0, 0.0, 90.0], [720.0, 90.0, 0.0]];

fn said(measured: &Measured, goal_ms: f64) -> Vec<(Grade, String)> {
    findings(measured, goal_ms * 1e3)
        .into_iter()
        .map(|f| {
            (
                f.grade,
                format!("{} {}", f.text, f.todo.unwrap_or_default()),
            )
        })
        .collect()
}

#[track_caller]
fn has(said: &[(Grade, String)], grade: Grade, part: &str) {
    assert!(
        said.iter()
            .any(|(g, text)| *g == grade && text.contains(part)),
        "no {grade:?} with {part:?} in {said:#?}"
    );
}

#[track_caller]
fn lacks(said: &[(Grade, String)], part: &str) {
    assert!(
        said.iter().all(|(_, text)| !text.contains(part)),
        "{part:?} in {said:#?}"
    );
}

#[test]
fn a_commit_waits_for_the_nearest_majority_and_its_disks() {
    let measured = cluster(TWO_ZONES, [100.0, 100.0, 100.0]);
    assert_eq!(commit(&measured, 1).unwrap().p50, 800.0);
    assert_eq!(commit(&measured, 2).unwrap().p50, 190.0);
    assert_eq!(commit(&measured, 2).unwrap().p99, 380.0);
    // The leader's own disk counts when it is the slowest part.
    let slow = cluster(TWO_ZONES, [100.0, 900.0, 100.0]);
    assert_eq!(commit(&slow, 2).unwrap().p50, 900.0);
    let memory = Measured {
        is_fsync: false,
        ..measured
    };
    assert_eq!(commit(&memory, 2).unwrap().p50, 90.0);
}

#[test]
fn the_replica_in_the_middle_should_lead() {
    let measured = cluster(TWO_ZONES, [100.0, 100.0, 100.0]);
    let told = said(&measured, 1.0);
    has(&told, Grade::Change, "replica 2 should lead");
    has(&told, Grade::Change, "in about 190 µs (p99 380 µs)");
    has(&told, Grade::Change, "transfer-leader 2");
    has(&told, Grade::Good, "fits a goal of 1 ms");
    let led = Measured {
        leader: Some(2),
        ..measured
    };
    let told = said(&led, 1.0);
    has(&told, Grade::Good, "replica 2 leads and should");
    lacks(&told, "should lead:");
    lacks(&told, "one zone, perhaps");
}

#[test]
fn a_small_gain_is_not_worth_a_change() {
    let rtt = [[0.0, 60.0, 60.0], [60.0, 0.0, 50.0], [60.0, 50.0, 0.0]];
    let told = said(&cluster(rtt, [100.0; 3]), 1.0);
    has(&told, Grade::Good, "replica 1 leads and should");
}

#[test]
fn far_replicas_do_not_fit_and_the_network_is_named() {
    let rtt = [
        [0.0, 900.0, 900.0],
        [900.0, 0.0, 900.0],
        [900.0, 900.0, 0.0],
    ];
    let told = said(&cluster(rtt, [100.0; 3]), 1.0);
    has(&told, Grade::Change, "does not fit a goal of 1 ms");
    has(&told, Grade::Change, "cluster placement group: about 35 µs");
    has(&told, Grade::Change, "900 µs to the majority");
}

#[test]
fn slow_disks_are_named() {
    let rtt = [[0.0, 50.0, 50.0], [50.0, 0.0, 50.0], [50.0, 50.0, 0.0]];
    let told = said(&cluster(rtt, [4_000.0; 3]), 1.0);
    has(&told, Grade::Change, "The disk is most of it");
    let told = said(&cluster(rtt, [100.0, 100.0, 900.0]), 1.0);
    has(&told, Grade::Change, "the disk of replica 3 is slow");
}

#[test]
fn all_in_one_place_fail_together() {
    let rtt = [[0.0, 40.0, 40.0], [40.0, 0.0, 40.0], [40.0, 40.0, 0.0]];
    let mut measured = cluster(rtt, [100.0; 3]);
    let told = said(&measured, 1.0);
    has(&told, Grade::Change, "never all voters in one zone");
    for node in &mut measured.nodes {
        node.is_loopback = true;
    }
    let told = said(&measured, 1.0);
    has(&told, Grade::Note, "all replicas are on this machine");
    lacks(&told, "never all voters");
}

#[test]
fn clocks_processors_and_silence_are_told() {
    let mut measured = cluster(TWO_ZONES, [100.0; 3]);
    for (at, node) in measured.nodes.iter_mut().enumerate() {
        if at != 2 {
            node.clock.insert(3, -25_000.0);
        }
    }
    measured.nodes[0].governor = Some("powersave".into());
    measured.nodes[1].cores = Some(2);
    measured.nodes[1].load = Some(11.0);
    measured.nodes[2].numa_nodes = Some(2);
    measured.nodes[1].drowsy = Some("/dev/cpu_dma_latency: Permission denied".into());
    let told = said(&measured, 1.0);
    has(&told, Grade::Change, "clock of replica 3 is 25.0 ms behind");
    has(&told, Grade::Change, "governor powersave");
    has(&told, Grade::Change, "11.0 threads want its 2 cores");
    has(&told, Grade::Note, "2 NUMA nodes");
    has(
        &told,
        Grade::Note,
        "replica 2 can't keep its processors from sleeping",
    );
    lacks(&told, "replica 1 can't keep");
    measured.nodes[2] = Node {
        id: 3,
        silent: Some("not reachable".into()),
        ..Node::default()
    };
    let told = said(&measured, 1.0);
    has(&told, Grade::Change, "replica 3 does not answer");
    has(&told, Grade::Change, "The next failure stops the market");
}

#[test]
fn one_replica_is_told_what_it_lacks() {
    let measured = Measured {
        nodes: vec![Node {
            id: 1,
            sync: Some(Times {
                p50: 100.0,
                p99: 200.0,
            }),
            ..Node::default()
        }],
        voters: vec![1],
        leader: Some(1),
        is_fsync: true,
    };
    let told = said(&measured, 1.0);
    has(&told, Grade::Note, "the loss of 0 is survived");
    has(&told, Grade::Good, "in about 100 µs (p99 200 µs)");
}
