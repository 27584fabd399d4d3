//! Election, replication, failover, restart, exactly once.

use std::time::{Duration, Instant};

use everopen_domain::{Event, RejectReason};
use everopen_replica::snapshot;
use everopen_wire::event;
use everopen_wire::message::{Message, RefusalCode};
use serde_json::json;

use super::support::{Client, Cluster, Reply, asset, encode, member};

fn open_leader(cluster: &Cluster, nonce: u64) -> Client {
    let leader = cluster.leader();
    let mut client = Client::connect(cluster.addresses[&leader]);
    assert!(matches!(client.open(nonce), Reply::Opened(_)));
    client
}

#[test]
fn three_replicas_agree_and_answer() {
    let cluster = Cluster::started(3);
    let mut client = open_leader(&cluster, 1);
    for number in 0..50 {
        let Reply::Outcome { count, .. } = client.submit(number, &[asset(number)]) else {
            panic!("no outcome");
        };
        assert_eq!(count, 1);
    }
    let applied = cluster.settled();
    assert!(applied > 50);
    let Reply::ReadAt(index) = client.read_index() else {
        panic!("no index");
    };
    assert!(index >= applied);
}

#[test]
fn a_follower_names_the_leader() {
    let cluster = Cluster::started(3);
    let leader = cluster.leader();
    let follower = (1..=3).find(|node| *node != leader).expect("two of them");
    let mut client = Client::connect(cluster.addresses[&follower]);
    assert_eq!(
        client.open(1),
        Reply::Refused(RefusalCode::NotLeader, leader)
    );
}

#[test]
fn a_request_that_comes_again_after_the_leader_died_gets_the_first_answer() {
    let mut cluster = Cluster::started(3);
    let mut client = open_leader(&cluster, 7);
    let session = client.session;
    let first = client.submit(0, &[asset(1)]);
    let leader = cluster.leader();
    cluster.kill(leader);
    assert_ne!(cluster.leader(), leader);
    let mut client = Client::connect(cluster.addresses[&cluster.leader()]);
    // The same nonce is the same session, even here.
    assert_eq!(client.open(7), Reply::Opened(session));
    assert_eq!(client.submit(0, &[asset(1)]), first);
    // Under a new sequence it is another command.
    let Reply::Outcome { events, .. } = client.submit(1, &[asset(1)]) else {
        panic!("no outcome");
    };
    let refused = event::decode(&events).expect("an event");
    assert!(
        matches!(refused, Event::CommandRejected { reason } if reason != RejectReason::UnknownMember),
        "{refused:?}"
    );
    cluster.start(leader);
    cluster.settled();
}

#[test]
fn all_replicas_killed_come_back_with_everything() {
    let mut cluster = Cluster::started(3);
    let mut client = open_leader(&cluster, 1);
    for number in 0..20 {
        assert!(matches!(
            client.submit(number, &[member(number)]),
            Reply::Outcome { .. }
        ));
    }
    for node in 1..=3 {
        cluster.kill(node);
    }
    for node in 1..=3 {
        cluster.start(node);
    }
    let mut client = open_leader(&cluster, 1);
    let Reply::Outcome { events, .. } = client.submit(20, &[member(99)]) else {
        panic!("no outcome");
    };
    let added = event::decode(&events).expect("an event");
    assert!(
        matches!(added, Event::MemberAdded { member, .. } if member.0 == 20),
        "{added:?}"
    );
    cluster.settled();
}

#[test]
fn a_planned_stop_hands_the_lead_over() {
    let mut cluster = Cluster::started(3);
    let leader = cluster.leader();
    cluster.stop(leader);
    assert_ne!(cluster.leader(), leader);
    cluster.start(leader);
    cluster.settled();
}

#[test]
fn a_leader_whose_process_ended_is_replaced_without_waiting_for_the_timeout() {
    let mut cluster = Cluster::new(3);
    // Two seconds, of the cluster's ticks.
    cluster.election_ticks = Some(200);
    for node in 1..=3 {
        cluster.start(node);
    }
    let leader = cluster.leader();
    cluster.settled();
    let begun = Instant::now();
    cluster.kill(leader);
    cluster.wait("another leads", |cluster| {
        let mut statuses = cluster.statuses().into_iter();
        statuses.any(|status| status["role"] == "leader")
    });
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn what_comes_while_the_lead_is_handed_over_waits_for_the_next_leader() {
    let cluster = Cluster::started(3);
    for round in 0..5 {
        let leader = cluster.leader();
        let mut client = Client::connect(cluster.addresses[&leader]);
        assert!(matches!(client.open(round), Reply::Opened(_)));
        let to = leader % 3 + 1;
        client.send_call(&json!({ "ask": "transfer", "to": to }));
        let request = client.submit_later(0, &[member(round)]);
        let reply = client.receive(request);
        // Busy would be passed on to whoever sent it, though nothing is busy.
        assert!(
            !matches!(reply, Reply::Refused(RefusalCode::Busy, _)),
            "{reply:?}"
        );
        cluster.wait("the other leads", |_| cluster.leader() == to);
    }
}

#[test]
fn one_replica_alone_is_a_cluster() {
    let mut cluster = Cluster::started(1);
    let mut client = open_leader(&cluster, 1);
    assert!(matches!(
        client.submit(0, &[asset(1), asset(2)]),
        Reply::Outcome { count: 2, .. }
    ));
    cluster.stop(1);
    cluster.start(1);
    let mut client = open_leader(&cluster, 1);
    assert!(matches!(
        client.submit(1, &[asset(3)]),
        Reply::Outcome { .. }
    ));
}

#[test]
fn a_new_replica_takes_over_the_state_and_becomes_a_voter() {
    let mut cluster = Cluster::new(3);
    cluster.snapshot_every_bytes = 2_000;
    for node in 1..=3 {
        cluster.start(node);
    }
    let mut client = open_leader(&cluster, 1);
    for number in 0..200 {
        client.submit(number, &[asset(number)]);
    }
    let address = cluster.reserve(4);
    cluster.start(4);
    // It has nothing to show yet, and says so.
    let mut early = Client::connect(address);
    early.send(|_| {
        encode(&Message::Follow {
            after: 0,
            checkpoint: true,
        })
    });
    let refused = early.receive(0);
    assert!(
        matches!(refused, Reply::Refused(RefusalCode::Busy, _)),
        "{refused:?}"
    );
    let question = json!({ "ask": "add", "node": 4, "address": address.to_string() });
    assert!(matches!(client.call(&question), Reply::Call(true, _)));
    cluster.settled();
    cluster.wait("a learner", |c| c.nodes[&4].status()["role"] == "learner");
    let promoted = client.call(&json!({ "ask": "promote", "node": 4 }));
    assert!(matches!(promoted, Reply::Call(true, _)), "{promoted:?}");
    cluster.settled();
    cluster.wait("a voter", |c| c.nodes[&4].status()["role"] == "follower");
    // Its vote counts: with two of four gone there is no majority, with one of four there is.
    let leader = cluster.leader();
    let other = (1..=3).find(|node| *node != leader).expect("one");
    cluster.kill(other);
    assert!(matches!(
        client.submit(200, &[asset(200)]),
        Reply::Outcome { .. }
    ));
    let removed = client.call(&json!({ "ask": "remove", "node": other }));
    assert!(matches!(removed, Reply::Call(true, _)), "{removed:?}");
    cluster.settled();
}

#[test]
fn snapshots_of_second_states_are_those_of_copies() {
    let mut cluster = Cluster::new(3);
    cluster.snapshot_every_bytes = 2_000;
    for node in 1..=3 {
        // The first copies its state each time, the others only once.
        cluster.keep_state_from = if node == 1 { usize::MAX } else { 0 };
        cluster.start(node);
    }
    let mut client = open_leader(&cluster, 1);
    for number in 0..300 {
        client.submit(number, &[asset(number)]);
    }
    cluster.settled();
    // Followers take the same snapshots, and compare their hashes.
    cluster.wait("two snapshots are the same", |cluster| {
        let all = cluster.statuses();
        let hashes: Vec<_> = all
            .iter()
            .filter(|status| status["state_hash_index"].as_u64() > Some(100))
            .map(|status| (&status["state_hash_index"], &status["state_hash"]))
            .collect();
        let same = |a, b| hashes[a] == hashes[b];
        match hashes.len() {
            2 => same(0, 1),
            3 => same(0, 1) || same(0, 2) || same(1, 2),
            _ => false,
        }
    });
    let before = cluster.settled();
    for node in 1..=3 {
        cluster.kill(node);
    }
    for node in 1..=3 {
        cluster.keep_state_from = 0;
        cluster.start(node);
    }
    let mut client = open_leader(&cluster, 2);
    for number in 300..400 {
        client.submit(number - 300, &[asset(number)]);
    }
    assert!(cluster.settled() > before + 100);
    cluster.wait("snapshots go on", |cluster| {
        let all = cluster.statuses();
        let taken = |status: &serde_json::Value| status["snapshot_index"].as_u64() > Some(before);
        all.iter().filter(|status| taken(status)).count() >= 2
    });
}

#[test]
fn a_state_that_came_in_part_is_not_sent_again_after_a_restart() {
    let mut cluster = Cluster::started(3);
    let mut client = open_leader(&cluster, 1);
    for number in 0..200 {
        client.submit(number, &[asset(number)]);
    }
    let leader = cluster.leader();
    let address = cluster.reserve(4);
    let question = json!({ "ask": "add", "node": 4, "address": address.to_string() });
    let Reply::Call(true, added) = client.call(&question) else {
        panic!("not added");
    };
    let taken = client.call(&json!({ "ask": "snapshot" }));
    assert!(matches!(taken, Reply::Call(true, _)), "{taken:?}");
    let shown = |cluster: &Cluster, what: &str| cluster.nodes[&leader].status()[what].as_u64();
    cluster.wait("a snapshot that names it", |cluster| {
        shown(cluster, "snapshot_index") >= added["index"].as_u64()
    });
    let place = shown(&cluster, "snapshot_place").expect("a place");
    // What an earlier process was sent before it ended.
    let copy = tempfile::tempdir().expect("a folder");
    for file in std::fs::read_dir(cluster.dir(leader)).expect("a folder") {
        let file = file.expect("a file");
        std::fs::copy(file.path(), copy.path().join(file.file_name())).expect("copied");
    }
    let config = cluster.config(leader, copy.path()).journal;
    let (_, found) = everopen_journal::Journal::open(config).expect("a log");
    let content = found.snapshot.expect("a snapshot").read().expect("read");
    let whole = snapshot::portable(&content.into()).expect("a state");
    let of = snapshot::Descriptor::of(&whole, place);
    let mut kept = of.bytes.to_le_bytes().to_vec();
    kept.extend_from_slice(&of.hash);
    let half = whole.len() / 2;
    kept.extend_from_slice(&whole[..half]);
    std::fs::write(cluster.dir(4).with_extension("incoming"), kept).expect("written");
    cluster.start(4);
    cluster.settled();
    let received = cluster.nodes[&4].status()["snapshot_bytes_received"].clone();
    assert_eq!(received, whole.len() - half);
    assert!(!cluster.dir(4).with_extension("incoming").exists());
    // What is shown is a moment old, and one that sent and applied nothing since is shown late.
    cluster.wait("the leader sent as much", |cluster| {
        shown(cluster, "snapshot_bytes_sent") == received.as_u64()
    });
}

#[test]
fn rules_are_switched_on_only_when_every_member_knows_them() {
    let mut cluster = Cluster::started(3);
    let mut client = open_leader(&cluster, 1);
    let leader = cluster.leader();
    let follower = (1..=3).find(|node| *node != leader).expect("two of them");
    cluster.kill(follower);
    // The one that is away has said what it knows; a third version nobody knows.
    let refused = client.call(&json!({ "ask": "activate", "version": 3 }));
    assert!(matches!(refused, Reply::Call(false, _)), "{refused:?}");
    let activated = client.call(&json!({ "ask": "activate", "version": 2 }));
    assert!(matches!(activated, Reply::Call(true, _)), "{activated:?}");
    cluster.start(follower);
    cluster.settled();
    assert!(cluster.statuses().iter().all(|status| status["logic"] == 2));
}

#[test]
fn what_a_single_command_does_may_be_more_than_any_command_is_long() {
    use everopen_domain::*;
    const ORDERS: u64 = 100_000;
    let cluster = Cluster::started(3);
    let mut client = open_leader(&cluster, 1);
    let limits = InstrumentLimits {
        tick: Price(1),
        lot: Quantity(1),
        min_size: Quantity(1),
        max_size: Quantity(1 << 40),
        ..InstrumentLimits::default()
    };
    let mut commands = vec![asset(0), asset(1), member(0)];
    commands.push(Command::SetFeeSchedule {
        schedule: FeeScheduleId(0),
        tiers: FeeTiers {
            len: 1,
            ..FeeTiers::default()
        },
    });
    commands.push(Command::AddInstrument {
        instrument: Instrument {
            base: AssetId(1),
            quote: AssetId(0),
            price_decimals: 1,
            size_decimals: 1,
            limits,
        },
    });
    commands.push(Command::SetTradingPhase {
        instrument: InstrumentId(0),
        phase: TradingPhase::Online,
    });
    commands.push(Command::Deposit {
        member: MemberId(0),
        asset: AssetId(0),
        amount: Amount(10_i128.pow(18)),
        reference: Reference::default(),
    });
    let Reply::Outcome { events, .. } = client.submit(0, &commands) else {
        panic!("no outcome");
    };
    for event in everopen_wire::event::decode_all(&events) {
        let event = event.expect("good");
        assert!(!matches!(event, Event::CommandRejected { .. }), "{event:?}");
    }
    let order = Command::PlaceOrder {
        member: MemberId(0),
        order: NewOrder {
            instrument: InstrumentId(0),
            price: Price(10),
            size: Quantity(1),
            ..NewOrder::default()
        },
    };
    for number in 1..=ORDERS / 1_000 {
        let placed = client.submit(number, &[order; 1_000]);
        let Reply::Outcome { events, .. } = placed else {
            panic!("{placed:?}");
        };
        let first = everopen_wire::event::decode_all(&events)
            .next()
            .expect("one")
            .expect("good");
        assert!(matches!(first, Event::OrderAccepted { .. }), "{first:?}");
    }
    let all = Command::CancelOrders {
        member: MemberId(0),
        instrument: None,
        reason: CancelReason::Requested,
    };
    let Reply::Outcome { count, events, .. } = client.submit(ORDERS, &[all]) else {
        panic!("no outcome");
    };
    assert!(u64::from(count) >= ORDERS, "{count} events");
    assert!(events.len() > 4 << 20, "{} bytes", events.len());
    cluster.settled();
}
