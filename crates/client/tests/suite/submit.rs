//! Submissions when nothing, or one thing, goes wrong.

use std::time::{Duration, Instant};

use everopen_client::{Client, Node, Refusal};
use everopen_domain::{Command, LogIndex, Timestamp};
use everopen_wire::message::RefusalCode;

use crate::support::*;

#[test]
fn submissions_are_applied_in_order_and_answered() {
    let cluster = Cluster::start(3);
    let client = cluster.client();
    let mut submitted = Submitted::new();
    for price in 1..=500 {
        submitted.submit(&client, price);
    }
    for (price, answer) in submitted.answers() {
        let outcome = answer.unwrap();
        assert_eq!(outcome.index, LogIndex(price));
        assert_eq!(outcome.time, Timestamp(price * 10));
        assert_eq!(prices(&outcome.events), [price]);
    }
    assert_eq!(cluster.applied(), (1..=500).collect::<Vec<_>>());
    assert!(client.has_leader());
    // A group is one submission.
    let outcome = client.execute(vec![set(7), set(8)]).unwrap();
    assert_eq!(outcome.index, LogIndex(501));
    assert_eq!(prices(&outcome.events), [7, 8]);
    let world = cluster.world();
    assert_eq!((world.opened, world.log.len()), (1, 501));
    // The replicas keep no answer that the client has.
    let session = world.sessions.values().next().unwrap();
    assert_eq!(session.answers.len(), 1);
}

#[test]
fn the_leader_is_found_wherever_it_is() {
    for hints in [true, false] {
        let cluster = Cluster::start(5);
        {
            let mut world = cluster.world();
            world.leader = 4;
            world.hints = hints;
            world.down.insert(2);
        }
        let client = cluster.client();
        client.execute(vec![set(1)]).unwrap();
        assert_eq!(cluster.applied(), [1]);
    }
}

#[test]
fn a_leader_that_was_not_configured_is_found_by_a_hint() {
    let cluster = Cluster::start(3);
    cluster.world().leader = 3;
    let mut config = cluster.config();
    config.nodes.truncate(1);
    let client = Client::start(config).unwrap();
    client.execute(vec![set(1)]).unwrap();
    assert_eq!(cluster.applied(), [1]);
}

#[test]
fn a_process_that_is_not_the_replica_dialed_is_told_nothing() {
    let cluster = Cluster::start(2);
    let mut config = cluster.config();
    // The first address belongs to another replica than it should.
    config.nodes[0] = Node {
        id: 9,
        ..config.nodes[0].clone()
    };
    config.patience = Duration::from_millis(300);
    let client = Client::start(config).unwrap();
    cluster.world().hints = false;
    assert_eq!(client.execute(vec![set(1)]), Err(Refusal::Unavailable));
    assert_eq!(cluster.world().submits, 0);
}

#[test]
fn every_way_to_lose_an_attempt_ends_in_one_application_and_its_answer() {
    for does in [
        Does::LosesAnswer,
        Does::LosesIt,
        Does::AppliesAndCloses,
        Does::Closes,
        Does::AppliesAndRefuses(RefusalCode::OutcomeUnknown),
        Does::Refuses(RefusalCode::OutcomeUnknown),
        Does::Refuses(RefusalCode::Stopping),
        Does::Refuses(RefusalCode::WindowFull),
        Does::StepsDown,
    ] {
        let cluster = Cluster::start(3);
        cluster.script(&[does]);
        let client = cluster.client();
        let outcome = client.execute(vec![set(5)]).unwrap();
        assert_eq!(prices(&outcome.events), [5], "{does:?}");
        assert_eq!(cluster.applied(), [5], "{does:?}");
        assert!(cluster.world().submits >= 2, "{does:?}");
        assert_eq!(cluster.world().opened, 1, "{does:?}");
    }
}

#[test]
fn a_refusal_is_passed_on_only_when_nothing_can_have_been_taken() {
    let busy = |retry_after| Refusal::Busy { retry_after };
    for (code, refusal) in [
        (RefusalCode::Busy, busy(Duration::from_millis(10))),
        (RefusalCode::JournalFull, Refusal::JournalFull),
        (RefusalCode::TooLarge, Refusal::TooLarge),
        (RefusalCode::NotAllowed, Refusal::Unavailable),
    ] {
        let cluster = Cluster::start(1);
        cluster.script(&[Does::Refuses(code)]);
        let client = cluster.client();
        assert_eq!(client.execute(vec![set(1)]), Err(refusal));
        assert_eq!(cluster.applied(), [0; 0]);
        // Its sequence is not missed by those that follow.
        client.execute(vec![set(2)]).unwrap();

        // After an attempt whose fate is not known, the refusal says nothing.
        let cluster = Cluster::start(1);
        cluster.script(&[Does::AppliesAndCloses, Does::Refuses(code), Does::Right]);
        let client = cluster.client();
        let outcome = client.execute(vec![set(1)]).unwrap();
        assert_eq!(prices(&outcome.events), [1]);
        assert_eq!(cluster.applied(), [1]);
        assert_eq!(cluster.world().submits, 3);
    }
}

#[test]
fn impatience_says_whether_anything_was_submitted() {
    let cluster = Cluster::start(3);
    let mut config = cluster.config();
    config.patience = Duration::from_millis(400);
    // Nobody leads.
    cluster.world().leader = 0;
    let client = Client::start(config.clone()).unwrap();
    let started = Instant::now();
    assert_eq!(client.execute(vec![set(1)]), Err(Refusal::Unavailable));
    assert!(started.elapsed() >= config.patience);
    assert!(!client.has_leader());
    assert_eq!(cluster.world().submits, 0);
    // Every leader refuses: still nothing was submitted.
    {
        let mut world = cluster.world();
        world.script = Box::new(|_| Does::StepsDown);
        world.leader = 1;
    }
    assert_eq!(client.execute(vec![set(2)]), Err(Refusal::Unavailable));
    // One takes it and nobody says what became of it.
    cluster.world().script = Box::new(|_| Does::LosesAnswer);
    assert_eq!(client.execute(vec![set(3)]), Err(Refusal::OutcomeUnknown));
    assert_eq!(cluster.applied(), [3]);
    // Then all is well again, and what was given up is not done again.
    cluster.world().script = Box::new(|_| Does::Right);
    client.execute(vec![set(4)]).unwrap();
    assert_eq!(cluster.applied(), [3, 4]);
}

#[test]
fn a_leader_that_falls_silent_is_left() {
    let cluster = Cluster::start(3);
    let client = cluster.client();
    client.execute(vec![set(1)]).unwrap();
    {
        let mut world = cluster.world();
        world.mute.insert(1);
        world.leader = 2;
    }
    client.execute(vec![set(2)]).unwrap();
    assert_eq!(cluster.applied(), [1, 2]);
    // Also when nothing is submitted it is noticed.
    cluster.world().mute.extend([2, 3]);
    until("no leader is known", || !client.has_leader());
    cluster.world().mute.clear();
    until("a leader is known", || client.has_leader());
}

#[test]
fn what_is_too_much_is_refused_at_once() {
    let cluster = Cluster::start(1);
    cluster.world().leader = 0;
    let mut config = cluster.config();
    config.in_flight_max = 3;
    let client = Client::start(config).unwrap();
    let mut submitted = Submitted::new();
    for price in 1..=3 {
        submitted.submit(&client, price);
    }
    let refused = || client.execute(vec![set(4)]);
    assert!(matches!(refused(), Err(Refusal::Busy { .. })));
    let read = client.read_index(Box::new(|_| unreachable!("it was refused")));
    assert!(matches!(read, Err(Refusal::Busy { .. })));
    assert_eq!(client.execute(vec![]), Err(Refusal::TooLarge));
    let many = vec![Command::Tick; 70_000];
    assert_eq!(client.execute(many), Err(Refusal::TooLarge));
    cluster.world().leader = 1;
    assert!(submitted.answers().values().all(Result::is_ok));
    client.execute(vec![set(4)]).unwrap();
}

#[test]
fn a_stop_answers_everything() {
    let cluster = Cluster::start(1);
    cluster.world().script = Box::new(|at| match at {
        0 => Does::Right,
        _ => Does::LosesAnswer,
    });
    let client = cluster.client();
    client.execute(vec![set(0)]).unwrap();
    let mut submitted = Submitted::new();
    submitted.submit(&client, 1);
    until("it is taken", || cluster.world().submits == 2);
    client.clone().stop();
    assert_eq!(client.execute(vec![set(9)]), Err(Refusal::Stopped));
    let answers = submitted.answers();
    assert_eq!(answers[&1], Err(Refusal::OutcomeUnknown));

    // What was never sent was not submitted; and to drop the client is to stop it.
    cluster.world().leader = 0;
    let client = cluster.client();
    let mut submitted = Submitted::new();
    submitted.submit(&client, 2);
    drop(client);
    assert_eq!(submitted.answers()[&2], Err(Refusal::Stopped));
    assert_eq!(cluster.applied(), [0, 1]);
}

#[test]
fn an_answer_that_is_lost_among_others_is_asked_for_again() {
    let cluster = Cluster::start(1);
    cluster.script(&[Does::Right, Does::LosesAnswer]);
    let client = cluster.client();
    client.execute(vec![set(1)]).unwrap();
    let mut submitted = Submitted::new();
    submitted.submit(&client, 2);
    until("it is taken", || cluster.world().submits == 2);
    // The replica goes on to answer, so it is never silent.
    let mut price = 3;
    until("it was sent again", || {
        client.execute(vec![set(price)]).unwrap();
        price += 1;
        let world = cluster.world();
        world.submits > world.log.len() as u64
    });
    assert!(submitted.answers()[&2].is_ok());
}
