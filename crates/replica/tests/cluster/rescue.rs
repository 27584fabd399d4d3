//! A majority is lost for good: a new cluster from a survivor.

use everopen_domain::Event;
use everopen_replica::rescue;
use everopen_venue::Venue;
use everopen_wire::event;
use serde_json::json;

use super::support::{CLUSTER, Client, Cluster, Reply, asset, member};

const NEW: [u8; 16] = *b"the next cluster";

#[test]
fn the_longest_log_of_the_survivors_founds_a_new_cluster() {
    let mut cluster = Cluster::started(5);
    let leader = cluster.leader();
    let mut client = Client::connect(cluster.addresses[&leader]);
    client.open(1);
    for number in 0..10 {
        client.submit(number, &[member(number)]);
    }
    cluster.settled();
    // One falls behind, then three of five are lost.
    let behind = (1..=5).find(|node| *node != leader).expect("one");
    cluster.kill(behind);
    for number in 10..20 {
        client.submit(number, &[member(number)]);
    }
    cluster.settled();
    for node in (1..=5).filter(|node| *node != behind) {
        cluster.kill(node);
    }
    let inspect = |node: u64| {
        let config = cluster.config(node, &cluster.dir(node)).journal;
        rescue::inspect(&config, CLUSTER, Venue::LOGIC_MAX).expect("its log is good")
    };
    let (short, long) = (inspect(behind), inspect(leader));
    assert!(long.rank() > short.rank(), "{long:?} {short:?}");
    assert_eq!(long.voters, [1, 2, 3, 4, 5]);
    assert!(rescue::may_miss(5, 2));

    let config = cluster.config(leader, &cluster.dir(leader));
    let refounded = rescue::refound(
        &config.journal,
        leader,
        &config.advertise,
        CLUSTER,
        NEW,
        &mut (),
        Venue::LOGIC_MAX,
    )
    .expect("a new cluster");
    assert_eq!(refounded.last_index, long.last_index);
    // The old cluster's settings no longer fit the log.
    assert!(rescue::inspect(&config.journal, CLUSTER, Venue::LOGIC_MAX).is_err());

    cluster.cluster = NEW;
    cluster.start(leader);
    assert_eq!(cluster.leader(), leader);
    assert_eq!(cluster.nodes[&leader].status()["voters"], json!([leader]));
    let mut client = Client::connect(cluster.addresses[&leader]);
    client.open(9);
    let Reply::Outcome { events, .. } = client.submit(0, &[member(99)]) else {
        panic!("no outcome");
    };
    let added = event::decode(&events).expect("an event");
    assert!(
        matches!(added, Event::MemberAdded { member, .. } if member.0 == 20),
        "all twenty members are there: {added:?}"
    );
    // A survivor comes back as a new replica.
    let address = cluster.reserve(6);
    cluster.start(6);
    let question = json!({ "ask": "add", "node": 6, "address": address.to_string() });
    assert!(matches!(client.call(&question), Reply::Call(true, _)));
    client.submit(1, &[asset(1)]);
    cluster.settled();
}
