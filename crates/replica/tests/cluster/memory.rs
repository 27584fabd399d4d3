//! Memory mode: what a machine's stop takes with it, and how the replica comes back.

use everopen_domain::Event;
use everopen_journal::Durability;
use everopen_replica::node::Node;
use everopen_replica::{Fault, rescue};
use everopen_venue::Venue;
use everopen_wire::event;
use serde_json::json;

use super::support::{CLUSTER, Client, Cluster, Reply, member};

fn in_memory(size: u64) -> Cluster {
    let mut cluster = Cluster::new(size);
    cluster.durability = Durability::Memory;
    for node in 1..=size {
        cluster.start(node);
    }
    cluster
}

/// The machine of a killed replica stops: what it was is another start of the machine, and the last
/// bytes of its log were never written.
fn stop_machine(cluster: &Cluster, node: u64) {
    let note = cluster.dir(node).with_extension("boot");
    assert!(note.exists(), "memory mode keeps a note");
    std::fs::write(note, "another start of the machine").expect("written");
}

fn submit_all(client: &mut Client, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let Reply::Outcome { .. } = client.submit(number, &[member(number)]) else {
            panic!("no outcome of {number}");
        };
    }
}

fn open(cluster: &Cluster) -> Client {
    let mut client = Client::connect(cluster.addresses[&cluster.leader()]);
    assert!(matches!(client.open(1), Reply::Opened(_)));
    client
}

/// Waits until a replica votes in that life, and is the only one of its number.
fn votes_in_life(cluster: &Cluster, node: u64, life: u64, voters: usize) {
    cluster.wait("it votes again", |cluster| {
        let status = cluster.nodes[&cluster.leader()].status();
        let own = cluster.nodes[&node].status();
        let all = status["voters"].as_array().map_or(0, Vec::len);
        own["life"] == life
            && all == voters
            && status["learners"] == json!([])
            && status["joint"] == false
            && own["voters"] == status["voters"]
            && own["role"] == "follower"
    });
}

#[test]
fn a_replica_whose_machine_stopped_comes_back_in_its_next_life_by_itself() {
    let mut cluster = in_memory(3);
    let mut client = open(&cluster);
    submit_all(&mut client, 0..20);
    cluster.settled();
    let leader = cluster.leader();
    let lost = (1..=3).find(|node| *node != leader).expect("two of them");
    for life in 1..=2 {
        cluster.kill(lost);
        let from = 20 * life;
        submit_all(&mut client, from..from + 20);
        stop_machine(&cluster, lost);
        cluster.start(lost);
        votes_in_life(&cluster, lost, life, 3);
        cluster.settled();
        // The old log is of no use any more.
        let dir = cluster.dir(lost);
        let kept = dir.with_extension(format!("lost-{}", life - 1));
        cluster.wait("the old log is deleted", |_| !kept.exists());
    }
    // Its vote counts: with it, the leader can be done without.
    cluster.kill(leader);
    let mut client = open(&cluster);
    let next = client.submit(60, &[member(60)]);
    let Reply::Outcome { events, .. } = next else {
        panic!("{next:?}");
    };
    let added = event::decode(&events).expect("an event");
    assert!(
        matches!(added, Event::MemberAdded { member, .. } if member.0 == 60),
        "all sixty are there: {added:?}"
    );
}

#[test]
fn the_leaders_machine_stops_and_nothing_acknowledged_is_lost() {
    let mut cluster = in_memory(3);
    let mut client = open(&cluster);
    submit_all(&mut client, 0..10);
    let leader = cluster.leader();
    cluster.kill(leader);
    stop_machine(&cluster, leader);
    cluster.start(leader);
    votes_in_life(&cluster, leader, 1, 3);
    let mut client = open(&cluster);
    submit_all(&mut client, 10..20);
    cluster.settled();
}

#[test]
fn a_process_that_is_killed_is_the_same_replica_afterwards() {
    let mut cluster = in_memory(3);
    let mut client = open(&cluster);
    submit_all(&mut client, 0..10);
    let leader = cluster.leader();
    cluster.kill(leader);
    cluster.start(leader);
    cluster.settled();
    assert_eq!(cluster.nodes[&leader].status()["life"], 0);
    // So is one that was ended well, whichever start of the machine it is.
    cluster.stop(leader);
    let note = cluster.dir(leader).with_extension("boot");
    assert_eq!(std::fs::read_to_string(note).expect("a note"), "clean");
    cluster.start(leader);
    cluster.settled();
    assert_eq!(cluster.nodes[&leader].status()["life"], 0);
}

#[test]
fn a_learner_that_lost_its_memory_stays_a_learner() {
    let mut cluster = in_memory(2);
    let mut client = open(&cluster);
    let address = cluster.reserve(3);
    cluster.start(3);
    let question = json!({ "ask": "add", "node": 3, "address": address.to_string() });
    assert!(matches!(client.call(&question), Reply::Call(true, _)));
    submit_all(&mut client, 0..10);
    cluster.settled();
    cluster.kill(3);
    stop_machine(&cluster, 3);
    cluster.start(3);
    cluster.wait("it learns in its next life", |cluster| {
        let own = cluster.nodes[&3].status();
        own["life"] == 1 && own["role"] == "learner" && own["learners"] == json!([3])
    });
    submit_all(&mut client, 10..20);
    cluster.settled();
    assert_eq!(cluster.nodes[&3].status()["voters"], json!([1, 2]));
    // An operator knows it by its number.
    let promoted = client.call(&json!({ "ask": "promote", "node": 3 }));
    assert!(matches!(promoted, Reply::Call(true, _)), "{promoted:?}");
    votes_in_life(&cluster, 3, 1, 3);
    let removed = client.call(&json!({ "ask": "remove", "node": 3 }));
    assert!(matches!(removed, Reply::Call(true, _)), "{removed:?}");
    // Once it was removed, another life of it is nobody that is known.
    cluster.kill(3);
    stop_machine(&cluster, 3);
    cluster.start(3);
    submit_all(&mut client, 20..30);
    cluster.wait("it was there for a while and is no member", |cluster| {
        let status = cluster.nodes[&1].status();
        cluster.nodes[&3].status()["uptime_ms"].as_u64() > Some(600)
            && status["voters"] == json!([1, 2])
            && status["learners"] == json!([])
    });
}

#[test]
fn the_only_replica_goes_on_with_what_is_left_only_when_told_to() {
    let mut cluster = in_memory(1);
    let mut client = open(&cluster);
    submit_all(&mut client, 0..10);
    cluster.kill(1);
    stop_machine(&cluster, 1);
    let config = cluster.config(1, &cluster.dir(1));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let refused = Node::start(config.clone(), listener, (), &mut |_| {}).map(|_| ());
    assert!(
        matches!(refused, Err(Fault::LostMemory { .. })),
        "{refused:?}"
    );
    let found = rescue::inspect(&config.journal, CLUSTER, Venue::LOGIC_MAX).expect("a log");
    assert!(found.has_lost_memory);
    let new = *b"the next cluster";
    rescue::refound(
        &config.journal,
        1,
        &config.advertise,
        CLUSTER,
        new,
        &mut (),
        Venue::LOGIC_MAX,
    )
    .expect("a new cluster");
    cluster.cluster = new;
    cluster.start(1);
    let mut client = open(&cluster);
    submit_all(&mut client, 10..20);
}

#[test]
fn a_cluster_that_lost_its_power_is_refounded_from_a_log_of_an_earlier_life() {
    let mut cluster = in_memory(3);
    let mut client = open(&cluster);
    submit_all(&mut client, 0..10);
    cluster.settled();
    for node in 1..=3 {
        cluster.kill(node);
        stop_machine(&cluster, node);
    }
    // Each comes back without a log, and nobody is left to fill it.
    for node in 1..=3 {
        cluster.start(node);
        assert_eq!(cluster.nodes[&node].status()["leader"], json!(null));
    }
    for node in 1..=3 {
        cluster.kill(node);
    }
    let config = cluster.config(2, &cluster.dir(2));
    let kept = rescue::lost_logs(&config.journal);
    assert_eq!(kept, [cluster.dir(2).with_extension("lost-0")]);
    std::fs::remove_dir_all(&config.journal.dir).expect("the empty log");
    std::fs::rename(&kept[0], &config.journal.dir).expect("the old one");
    let new = *b"the next cluster";
    let made = rescue::refound(
        &config.journal,
        2,
        &config.advertise,
        CLUSTER,
        new,
        &mut (),
        Venue::LOGIC_MAX,
    )
    .expect("a new cluster");
    assert!(made.last_index >= 10);
    cluster.cluster = new;
    cluster.start(2);
    assert_eq!(cluster.leader(), 2);
    let mut client = open(&cluster);
    submit_all(&mut client, 10..20);
}
