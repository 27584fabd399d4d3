//! Coming back from what consensus does not cover: a lost majority, and an earlier version's data.

mod support;

use std::fs;
use std::process::Command;

use support::operator::{everopen, place, place_at_last, same_everywhere, statuses, until, voters};
use support::{Client, Venue};

/// The drill of `docs/operating/quorum-lost.md`.
#[test]
fn a_market_comes_back_from_one_of_three_disks() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let venue = Venue::start(dir, &["--replicas", "3"]).expect("start");
    let ids = ["one", "two", "three"];
    let orders = ids.map(|id| place_at_last(&venue, id));
    same_everywhere(dir);
    let running = everopen(dir, &["cluster", "recover"]).unwrap_err();
    assert!(running.contains("stop it first"), "{running}");
    venue.kill().expect("kill");

    for lost in ["node-1", "node-3"] {
        fs::remove_dir_all(dir.join(lost).join("log")).expect("a disk is lost");
    }
    let refused = Venue::start(dir, &[]).map(|_| ()).unwrap_err().to_string();
    assert!(
        refused.contains("the replica 1 has lost its log"),
        "{refused}"
    );
    assert!(refused.contains("too few replicas"), "{refused}");

    let shown = everopen(dir, &["cluster", "recover"]).expect("look");
    assert!(shown.contains("The longest log is replica 2's"), "{shown}");
    assert!(shown.contains("2 of 3 voters are lost"), "{shown}");
    assert!(shown.contains("Nothing has changed"), "{shown}");
    let files = ["cluster.toml", "node-2/node.toml"].map(|name| dir.join(name));
    let before = files
        .clone()
        .map(|file| fs::read_to_string(file).expect("a file"));
    let done = everopen(dir, &["cluster", "recover", "--yes"]).expect("recover");
    assert!(done.contains("4 in cancel-only"), "{done}");
    assert!(!dir.join("recover.toml").exists());

    // As if it had been cut off after the log and before the files.
    let cluster = |text: &str| {
        let line = text.lines().find(|line| line.starts_with("cluster = "));
        line.expect("a cluster id").replace("cluster = ", "")
    };
    let now = fs::read_to_string(&files[0]).expect("a file");
    let (old, new) = (cluster(&before[0]), cluster(&now));
    assert_ne!(old, new);
    for (file, text) in files.iter().zip(&before) {
        fs::write(file, text).expect("written");
    }
    let log = dir.join("node-2/log");
    let plan = format!(
        "node = 2\nold = {old}\ncluster = {new}\nlog = \"{}\"\n",
        log.display()
    );
    fs::write(dir.join("recover.toml"), plan).expect("written");
    let refused = Venue::start(dir, &[]).map(|_| ()).unwrap_err().to_string();
    assert!(
        refused.contains("run `everopen cluster recover` again"),
        "{refused}"
    );
    let shown = everopen(dir, &["cluster", "recover"]).expect("look");
    assert!(shown.contains("was cut off"), "{shown}");
    let other = everopen(dir, &["cluster", "recover", "--yes", "--node", "1"]).unwrap_err();
    assert!(other.contains("only be gone on with replica 2"), "{other}");
    let done = everopen(dir, &["cluster", "recover", "--yes"]).expect("end it");
    assert!(done.contains("begins with replica 2"), "{done}");
    assert!(!dir.join("recover.toml").exists());

    let venue = Venue::start(dir, &[]).expect("start the new cluster");
    let mut client = Client::connect(&venue).expect("connect");
    for (id, order) in ids.iter().zip(&orders) {
        let found = client
            .good("GET", &format!("/orders/client:{id}"), "")
            .expect("an acknowledged order");
        assert_eq!(found["id"], order.as_str());
    }
    let (status, said) = place(&mut client, "too-early").expect("an answer");
    assert_eq!(status, 400, "{said}");
    assert_eq!(said["message"], "Cancel only mode");
    client
        .good("DELETE", &format!("/orders/{}", orders[0]), "")
        .expect("a cancel");
    let early = everopen(dir, &["cluster", "reopen", "online"]).unwrap_err();
    assert!(
        early.contains("no market is in the phase before"),
        "{early}"
    );
    let auction = everopen(dir, &["cluster", "reopen", "auction"]).expect("auction");
    assert_eq!(auction.lines().count(), 4, "{auction}");
    everopen(dir, &["cluster", "reopen", "online"]).expect("online");
    assert_eq!(place(&mut client, "again").expect("an answer").0, 200);
    until("three vote again", || (voters(dir) == 3).then_some(()));
    same_everywhere(dir);
}

/// In memory mode, a power cut of all machines takes what only memory held.
#[test]
fn a_market_in_memory_mode_comes_back_from_a_power_cut_of_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let settings = ["--replicas", "3", "--durability", "memory"];
    let venue = Venue::start(dir, &settings).expect("start");
    let order = place_at_last(&venue, "before");
    same_everywhere(dir);
    venue.kill().expect("kill");
    for node in 1..=3 {
        let note = dir.join(format!("node-{node}/log.boot"));
        assert!(note.exists());
        fs::write(note, "the machine's start before").expect("written");
    }
    let shown = everopen(dir, &["cluster", "recover"]).expect("look");
    assert!(
        shown.contains("what was only in its memory is lost"),
        "{shown}"
    );
    assert!(shown.contains("3 of 3 voters are lost"), "{shown}");
    let done = everopen(dir, &["cluster", "recover", "--yes"]).expect("recover");
    assert!(done.contains("4 in cancel-only"), "{done}");
    let venue = Venue::start(dir, &settings).expect("start the new cluster");
    let mut client = Client::connect(&venue).expect("connect");
    let found = client.good("GET", "/orders/client:before", "");
    assert_eq!(found.expect("an order")["id"], order.as_str());
    until("three vote again", || (voters(dir) == 3).then_some(()));
    same_everywhere(dir);
}

#[test]
fn a_directory_of_version_0_1_0_goes_on_with_three_replicas() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("data");
    fs::create_dir(&dir).expect("a folder");
    let unpacked = Command::new("tar")
        .arg("-xzf")
        .arg(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/data/version-0.1.0.tar.gz"
        ))
        .arg("-C")
        .arg(&dir)
        .status()
        .expect("run tar");
    assert!(unpacked.success());
    let before = fs::read_to_string(dir.join("endpoints.json")).expect("endpoints");
    let before: serde_json::Value = serde_json::from_str(&before).expect("JSON");

    let venue = Venue::start(&dir, &["--segment-mib", "2"]).expect("start");
    assert_eq!(before["key"], venue.text("key"), "the same demo member");
    assert_eq!(before["secret"], venue.text("secret"));
    let mut client = Client::connect(&venue).expect("connect");
    let orders = client.good("GET", "/orders", "").expect("orders");
    let ids: Vec<&str> = orders
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|order| order["client_oid"].as_str())
        .collect();
    assert_eq!(ids, ["after-snapshot", "before-snapshot"]);
    until("all have joined", || (voters(&dir) == 3).then_some(()));
    place_at_last(&venue, "in-this-version");
    same_everywhere(&dir);
    assert_eq!(statuses(&dir).len(), 3);
    let members = everopen(&dir, &["member", "list", "--json"]).expect("members");
    assert!(members.contains("alice"), "{members}");
    assert!(!dir.join("log").exists());
    assert!(venue.stop().expect("stop"));
    let venue = Venue::start(&dir, &[]).expect("start again");
    place_at_last(&venue, "in-this-version");
}
