//! Targets that die, break off and hang.

use std::time::{Duration, Instant};

use everopen_testkit::free_address;
use serde_json::json;

use super::support::{Client, Manner, Place, Server, count, get, until};

#[test]
fn a_target_that_comes_back_in_time_costs_no_request() {
    let address = free_address();
    let mut place = Place::new(&[address], &[], (1, 0));
    place.config.services.get_mut("api").unwrap().wait_ms = 10_000;
    let _edge = place.start();
    let public = place.public();
    let waiting: Vec<_> = ["GET", "POST"]
        .map(|method| {
            std::thread::spawn(move || {
                let mut client = Client::connect(public).expect("connected");
                client
                    .send(method, "", "body")
                    .map(|(status, _, body)| (status, body))
            })
        })
        .into();
    let held = || place.operator().status().expect("a status").services["api"].held;
    until("both wait", || held() == 2);
    let _server = Server::start_at("back", address);
    for waiting in waiting {
        assert_eq!(
            waiting.join().expect("a client"),
            Some((200, "back".into()))
        );
    }
}

#[test]
fn a_dead_target_costs_no_request() {
    let live = Server::start("live");
    let place = Place::new(&[free_address(), live.address, free_address()], &[], (1, 0));
    let _edge = place.start();
    assert_eq!(count(place.public(), 60)["live"], 60);
    // Nor does a group that is dead as a whole, as long as another one has a weight.
    place
        .order(
            "PUT",
            "/services/api/groups/green/targets",
            &json!([free_address()]),
        )
        .expect("set");
    place
        .order("PUT", "/services/api/weights", &json!({ "green": 5 }))
        .expect("shifted");
    assert_eq!(count(place.public(), 60)["live"], 60);
    let mut client = Client::connect(place.public()).expect("connected");
    for _ in 0..20 {
        let (status, _, body) = client.send("POST", "", "money").expect("an answer");
        assert_eq!(
            (status, body.as_str()),
            (200, "live"),
            "no target had seen it"
        );
    }
}

#[test]
fn nobody_there_is_said_with_a_code() {
    let place = Place::new(&[free_address()], &[], (1, 0));
    let _edge = place.start();
    let (status, body) = get(place.public());
    assert_eq!(status, 503);
    assert!(body.contains("edge_unreachable"), "{body}");
    place
        .order("PUT", "/services/api/weights", &json!({ "green": 1 }))
        .expect("set");
    place
        .order("PUT", "/services/api/groups/blue/targets", &json!([]))
        .expect_err("somebody must be left");
}

#[test]
fn only_what_is_safe_to_repeat_is_repeated() {
    let (first, second) = (Server::start("first"), Server::start("second"));
    first.set(Manner::BreaksOff);
    second.set(Manner::BreaksOff);
    let place = Place::new(&[first.address, second.address], &[], (1, 0));
    let _edge = place.start();
    let mut client = Client::connect(place.public()).expect("connected");
    let (status, _, body) = client.send("POST", "", "an order").expect("an answer");
    assert_eq!(status, 502);
    assert!(body.contains("the outcome is not known"), "{body}");
    assert_eq!(
        first.seen() + second.seen(),
        1,
        "an order is not sent twice"
    );
    // A method that may be repeated, but with a body that is gone.
    let (status, ..) = client.send("PUT", "", "a body").expect("an answer");
    assert_eq!((status, first.seen() + second.seen()), (502, 2));
    let (status, ..) = client.send("GET", "", "").expect("an answer");
    assert_eq!(
        (status, first.seen() + second.seen()),
        (502, 4),
        "both were asked"
    );
    second.set(Manner::Answers);
    let (status, _, body) = client.send("DELETE", "", "").expect("an answer");
    assert_eq!((status, body.as_str()), (200, "second"));
}

#[test]
fn a_connection_that_was_closed_meanwhile_costs_no_order() {
    let server = Server::start("again");
    let place = Place::new(&[server.address], &[], (1, 0));
    let _edge = place.start();
    let mut client = Client::connect(place.public()).expect("connected");
    for _ in 0..20 {
        assert_eq!(client.send("POST", "", "one").expect("an answer").0, 200);
        // The server closes the connection on which the edge would send the next one.
        server.set(Manner::BreaksOff);
        assert_eq!(client.send("POST", "", "lost").expect("an answer").0, 502);
        server.set(Manner::Answers);
    }
}

#[test]
fn a_target_that_does_not_answer_in_time_is_not_asked_again() {
    let server = Server::start("late");
    server.set(Manner::Waits);
    let mut place = Place::new(&[server.address], &[], (1, 0));
    place.config.services.get_mut("api").unwrap().answer_ms = 150;
    let _edge = place.start();
    let began = Instant::now();
    let (status, body) = get(place.public());
    assert_eq!((status, server.seen()), (504, 1));
    assert!(body.contains("edge_too_late"), "{body}");
    assert!(began.elapsed() >= Duration::from_millis(150));
}

#[test]
fn errors_are_counted_where_they_came_from() {
    let (blue, green) = (Server::start("blue"), Server::start("green"));
    green.set(Manner::Fails);
    let place = Place::new(&[blue.address], &[green.address], (1, 1));
    let _edge = place.start();
    let mut client = Client::connect(place.public()).expect("connected");
    let failed = (0..40)
        .filter(|_| client.send("GET", "", "").expect("an answer").0 == 503)
        .count();
    let status = place.operator().status().expect("status");
    let groups = &status.services["api"].groups;
    assert_eq!(groups["green"].reading.server_errors, failed as u64);
    assert_eq!(
        (
            groups["blue"].reading.failed(),
            groups["blue"].reading.requests
        ),
        (0, 40 - failed as u64)
    );
    assert!(failed.abs_diff(20) <= 1);
}
