//! Histories of clients while processes of one machine are killed and stopped.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::history::{Clients, Reads};
use crate::nemesis::{self, Fault};
use crate::support::Venue;
use crate::{agreement, alone, by_suite, seed, until};

#[test]
fn clients_see_one_linear_history_whatever_is_killed_or_stopped() {
    let _alone = alone();
    let seed = seed();
    let time = by_suite(Duration::from_secs(7), Duration::from_secs(240));
    let folder = crate::folder();
    let dir = folder.path();
    let venue = Venue::start(dir, &["--replicas", "3"]).expect("start");
    let cluster = Cluster::of(&venue, dir);
    cluster.wait_for_leader();
    let clients = Clients::start(&cluster, Reads::Linearizable, seed, time * 2);
    until("the load runs", || {
        (clients.acknowledged() > 50).then_some(())
    });
    let faults = [
        Fault::Kill,
        Fault::KillLeader,
        Fault::KillTwo,
        Fault::Pause,
        Fault::PauseLeader,
        Fault::KillGateway,
        Fault::Transfer,
    ];
    nemesis::trouble(&venue, &cluster, &faults, seed, time);
    nemesis::heal(&venue, &cluster);
    let before = clients.acknowledged();
    until("clients are served again", || {
        (clients.acknowledged() > before + 50).then_some(())
    });
    clients.finish(&cluster).expect("a linear history");
    nemesis::no_process_failed(dir);
    agreement::logs_are_sound(venue, dir);
}

/// The net catches what it is spread for: the same clients that read what is at hand, as any
/// gateway does unless it is asked for more.
#[test]
fn reads_that_ask_nobody_are_found_out() {
    let _alone = alone();
    let seed = seed();
    let folder = crate::folder();
    let venue = Venue::start(folder.path(), &["--replicas", "3"]).expect("start");
    let cluster = Cluster::of(&venue, folder.path());
    cluster.wait_until_whole();
    until("a read behind an answer that was given before it", || {
        let clients = Clients::start(&cluster, Reads::AtHand, seed, Duration::from_secs(60));
        until("the load runs", || {
            (clients.acknowledged() > 200).then_some(())
        });
        let found = clients.finish(&cluster).err()?;
        println!("{found}");
        Some(())
    });
}
