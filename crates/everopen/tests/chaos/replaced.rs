//! Replicas that are replaced, one after the other, until none of the first is left.

use crate::alone;
use crate::cluster::Cluster;
use crate::nemesis;
use crate::support::Venue;
use crate::support::operator::{everopen, leader, place_at_last, voters};

#[test]
fn a_gateway_finds_its_cluster_again_after_all_of_its_replicas_were_replaced() {
    let _alone = alone();
    let folder = crate::folder();
    let dir = folder.path();
    let venue = Venue::start(dir, &["--replicas", "3"]).expect("start");
    Cluster::of(&venue, dir).wait_until_whole();
    place_at_last(&venue, "before");
    let change = |args: &[&str]| {
        everopen(dir, args).unwrap_or_else(|error| panic!("{args:?}: {error}"));
    };
    for _ in 1..=3 {
        change(&["cluster", "add"]);
    }
    // The leader among them hands over before it goes.
    for id in 1..=3 {
        change(&["cluster", "remove", &id.to_string()]);
    }
    assert_eq!(voters(dir), 3);
    assert!(leader(dir) > Some(3));
    place_at_last(&venue, "between");
    nemesis::kill_role(&venue, "gateway");
    place_at_last(&venue, "after");
}
