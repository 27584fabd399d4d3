//! Sessions that are forgotten, windows, and reads.

use std::sync::mpsc;

use everopen_client::{Client, Refusal};
use everopen_domain::LogIndex;
use everopen_wire::message::RefusalCode;

use crate::support::*;

fn read(client: &Client) -> Result<LogIndex, Refusal> {
    let (tell, told) = mpsc::channel();
    client
        .read_index(Box::new(move |index| tell.send(index).unwrap()))
        .unwrap();
    told.recv_timeout(PATIENCE).expect("an answer")
}

#[test]
fn a_forgotten_session_is_opened_anew_for_what_was_never_taken() {
    let cluster = Cluster::start(1);
    let client = cluster.client();
    client.execute(vec![set(1)]).unwrap();
    cluster.world().sessions.clear();
    let mut submitted = Submitted::new();
    for price in 2..=50 {
        submitted.submit(&client, price);
    }
    assert!(submitted.answers().values().all(Result::is_ok));
    assert_eq!(cluster.applied(), (1..=50).collect::<Vec<_>>());
    assert_eq!(cluster.world().opened, 2);
}

#[test]
fn what_may_have_been_taken_in_a_forgotten_session_is_unknown_and_never_done_twice() {
    let cluster = Cluster::start(1);
    cluster.script(&[Does::Right, Does::AppliesAndForgets]);
    let client = cluster.client();
    client.execute(vec![set(1)]).unwrap();
    // While nobody leads they gather; then the first one is what finds out who does.
    cluster.world().leader = 0;
    until("the lead is lost", || !client.has_leader());
    let mut submitted = Submitted::new();
    for price in 2..=20 {
        submitted.submit(&client, price);
    }
    cluster.world().leader = 1;
    let answers = submitted.answers();
    assert_eq!(answers[&2], Err(Refusal::OutcomeUnknown));
    assert!((3..=20).all(|price| answers[&price].is_ok()));
    assert_eq!(cluster.applied(), (1..=20).collect::<Vec<_>>());
    assert_eq!(cluster.world().opened, 2);
}

#[test]
fn a_submission_without_an_answer_holds_up_the_window_and_nothing_is_lost() {
    let cluster = Cluster::start(1);
    // The first one's answer is lost; as long as others are answered the connection is kept.
    cluster.script(&[Does::Right, Does::LosesAnswer]);
    let mut config = cluster.config();
    config.in_flight_max = 20_000;
    let client = Client::start(config).unwrap();
    client.execute(vec![set(1)]).unwrap();
    let mut submitted = Submitted::new();
    for price in 2..=12_000 {
        submitted.submit(&client, price);
    }
    assert!(submitted.answers().values().all(Result::is_ok));
    let mut applied = cluster.applied();
    applied.sort_unstable();
    assert_eq!(applied, (1..=12_000).collect::<Vec<_>>());
}

#[test]
fn a_read_is_as_new_as_every_answer_and_survives_a_change_of_leader() {
    let cluster = Cluster::start(3);
    let client = cluster.client();
    assert_eq!(read(&client), Ok(LogIndex(0)));
    let index = client.execute(vec![set(1)]).unwrap().index;
    assert_eq!(read(&client), Ok(index));
    cluster.world().leader = 3;
    assert_eq!(read(&client), Ok(index));
    // Reads that are lost without a word are asked again.
    cluster.world().reads_lost = 2;
    assert_eq!(read(&client), Ok(index));
    cluster.world().mute.insert(3);
    cluster.world().leader = 1;
    assert_eq!(read(&client), Ok(index));

    let mut config = cluster.config();
    config.patience = std::time::Duration::from_millis(200);
    cluster.world().leader = 0;
    let client = Client::start(config).unwrap();
    assert_eq!(read(&client), Err(Refusal::Unavailable));
}

#[test]
fn a_session_that_can_not_be_opened_is_tried_again() {
    let cluster = Cluster::start(2);
    cluster.world().script = Box::new(|at| match at {
        0..=2 => Does::Refuses(RefusalCode::SessionUnknown),
        _ => Does::Right,
    });
    let client = cluster.client();
    client.execute(vec![set(1)]).unwrap();
    assert_eq!(cluster.applied(), [1]);
    assert_eq!(cluster.world().opened, 4);
}
