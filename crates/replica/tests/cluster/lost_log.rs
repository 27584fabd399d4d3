//! A replica whose log is gone: its number must not vote again.

use std::net::TcpListener;
use std::path::Path;
use std::time::{Duration, Instant};

use everopen_replica::Fault;
use everopen_replica::core::Stop;
use everopen_replica::node::Node;

use super::support::{Client, Cluster, Reply, member};

/// Three replicas with twenty commands, and the follower that is killed.
fn with_one_killed() -> (Cluster, u64) {
    let mut cluster = Cluster::started(3);
    let mut client = Client::connect(cluster.addresses[&cluster.leader()]);
    assert!(matches!(client.open(1), Reply::Opened(_)));
    submit(&mut client, 0..20);
    cluster.settled();
    let leader = cluster.leader();
    let lost = (1..=3).find(|node| *node != leader).expect("two of them");
    cluster.kill(lost);
    (cluster, lost)
}

fn submit(client: &mut Client, numbers: std::ops::Range<u64>) {
    for number in numbers {
        let Reply::Outcome { .. } = client.submit(number, &[member(number)]) else {
            panic!("no outcome of {number}");
        };
    }
}

fn refused(cluster: &Cluster, node: u64) -> Fault {
    let config = cluster.config(node, &cluster.dir(node));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    match Node::start(config, listener, (), &mut |_| {}) {
        Ok(_) => panic!("replica {node} started"),
        Err(fault) => fault,
    }
}

fn the_others_go_on(cluster: &Cluster) {
    let mut client = Client::connect(cluster.addresses[&cluster.leader()]);
    assert!(matches!(client.open(2), Reply::Opened(_)));
    submit(&mut client, 20..30);
}

#[test]
fn a_replica_with_an_emptied_disk_does_not_start_under_its_number() {
    let (cluster, lost) = with_one_killed();
    let dir = cluster.dir(lost);
    for file in std::fs::read_dir(&dir).expect("its log") {
        std::fs::remove_file(file.expect("a file").path()).expect("removed");
    }
    let fault = refused(&cluster, lost);
    assert!(matches!(fault, Fault::LostLog { .. }), "{fault}");
    assert!(fault.to_string().contains("cluster remove"), "{fault}");
    std::fs::remove_dir_all(&dir).expect("removed");
    let fault = refused(&cluster, lost);
    assert!(matches!(fault, Fault::LostLog { .. }), "{fault}");
    the_others_go_on(&cluster);
}

#[test]
fn a_replica_whose_machine_was_set_up_anew_ends_when_the_leader_knows_more_of_it() {
    let (mut cluster, lost) = with_one_killed();
    set_up_anew(&cluster, lost);
    cluster.start(lost);
    cluster.wait("it has ended", |cluster| !cluster.nodes[&lost].is_running());
    let node = cluster.nodes.remove(&lost).expect("it was there");
    let fault = node.stop().expect_err("it ended by a fault");
    let Fault::Stop(Stop::LostLog { acknowledged, last }) = fault else {
        panic!("{fault}");
    };
    assert!(acknowledged > last, "{acknowledged} {last}");
    // And stays away, whatever is in its log by now.
    let fault = refused(&cluster, lost);
    assert!(matches!(fault, Fault::LostLog { .. }), "{fault}");
    the_others_go_on(&cluster);
}

/// Sets a machine up anew: neither log nor note are left.
fn set_up_anew(cluster: &Cluster, node: u64) {
    let dir = cluster.dir(node);
    std::fs::remove_dir_all(&dir).expect("removed");
    std::fs::remove_file(dir.with_extension("begun")).expect("the note is there");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for file in std::fs::read_dir(from).expect("a log") {
        let file = file.expect("a file");
        let (path, to) = (file.path(), to.join(file.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            std::fs::copy(&path, to).expect("copied");
        }
    }
}

#[test]
fn an_older_copy_of_a_log_ends_when_the_leader_knows_more_of_it() {
    let (mut cluster, lost) = with_one_killed();
    let (dir, aside) = (cluster.dir(lost), cluster.dir(9));
    copy(&dir, &aside);
    cluster.start(lost);
    let mut client = Client::connect(cluster.addresses[&cluster.leader()]);
    assert!(matches!(client.open(2), Reply::Opened(_)));
    submit(&mut client, 20..40);
    cluster.settled();
    cluster.kill(lost);
    std::fs::remove_dir_all(&dir).expect("removed");
    copy(&aside, &dir);
    cluster.start(lost);
    cluster.wait("it has ended", |cluster| !cluster.nodes[&lost].is_running());
    let node = cluster.nodes.remove(&lost).expect("it was there");
    let fault = node.stop().expect_err("it ended by a fault");
    assert!(
        matches!(fault, Fault::Stop(Stop::LostLog { .. })),
        "{fault}"
    );
    let fault = refused(&cluster, lost);
    assert!(matches!(fault, Fault::LostLog { .. }), "{fault}");
}

#[test]
fn a_machine_that_is_set_up_anew_elects_nobody_who_lacks_what_it_had_acknowledged() {
    let (mut cluster, behind) = with_one_killed();
    let leader = cluster.leader();
    let lost = 6 - leader - behind;
    // These are only on the leader and on the one that will lose them.
    let mut client = Client::connect(cluster.addresses[&leader]);
    assert!(matches!(client.open(2), Reply::Opened(_)));
    submit(&mut client, 20..40);
    let applied = cluster.settled();
    cluster.kill(lost);
    cluster.kill(leader);
    set_up_anew(&cluster, lost);
    cluster.start(lost);
    cluster.start(behind);
    // With the other's vote it would lead within a second.
    let begun = Instant::now();
    cluster.wait("it has asked more than once", |cluster| {
        let statuses = cluster.statuses();
        assert!(statuses.iter().all(|status| status["role"] != "leader"));
        let asks = cluster.nodes[&behind].status()["role"] == "candidate";
        asks && begun.elapsed() > Duration::from_secs(3)
    });
    assert!(cluster.nodes[&lost].is_running());
    cluster.start(leader);
    assert!(cluster.settled() > applied);
    assert_eq!(cluster.nodes.len(), 3);
    assert_eq!(cluster.leader(), leader, "it has the longest log");
    // What was acknowledged is there; the lost log is filled, and votes again.
    let mut client = Client::connect(cluster.addresses[&leader]);
    assert!(matches!(client.open(3), Reply::Opened(_)));
    submit(&mut client, 40..50);
    cluster.settled();
    cluster.kill(leader);
    let next = cluster.leader();
    let status = cluster.nodes[&next].status();
    assert!(status["applied"].as_u64() > Some(applied + 10), "{status}");
}
