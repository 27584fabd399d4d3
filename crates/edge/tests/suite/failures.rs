//! Targets that die, break off and hang.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use everopen_testkit::free_address;
use serde_json::json;

use super::support::{Client, Manner, PATIENCE, Place, Server, count, get, until};

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

/// A server that refuses a body by its length answers at once and reads no further.
#[test]
fn an_answer_that_comes_before_the_request_has_ended_is_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let place = Place::new(&[listener.local_addr().expect("an address")], &[], (1, 0));
    let _edge = place.start();
    let server = std::thread::spawn(move || {
        for stream in listener.incoming().take(50) {
            let mut stream = stream.expect("a connection");
            let mut some = [0; 16];
            stream.read_exact(&mut some).expect("a beginning");
            let said =
                b"HTTP/1.1 413 Too Long\r\ncontent-length: 4\r\nconnection: close\r\n\r\nlong";
            stream.write_all(said).expect("answered");
            // It goes with most of the request unread.
        }
    });
    for _ in 0..50 {
        let mut client = Client::connect(place.public()).expect("connected");
        let body = "x".repeat(1 << 20);
        let (status, _, body) = client.send("POST", "", &body).expect("an answer");
        assert_eq!((status, body.as_str()), (413, "long"));
    }
    server.join().expect("the server");
}

#[test]
fn a_client_that_ends_within_its_request_is_told_so_and_no_target_is_blamed() {
    let server = Server::start("whole");
    let place = Place::new(&[server.address], &[], (1, 0));
    let _edge = place.start();
    let mut client = TcpStream::connect(place.public()).expect("connected");
    client.set_read_timeout(Some(PATIENCE)).expect("set");
    client
        .write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n{")
        .expect("sent");
    client.shutdown(Shutdown::Write).expect("ended");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("read");
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
    assert!(answer.contains("edge_cut"), "{answer}");
    let status = place.operator().status().expect("a status");
    assert_eq!(status.services["api"].groups["blue"].reading.failed(), 0);
}

#[test]
fn a_listener_without_http2_does_not_speak_it() {
    let place = Place::new(&[Server::start("one").address], &[], (1, 0));
    let _edge = place.start();
    let mut client = TcpStream::connect(place.public()).expect("connected");
    client.set_read_timeout(Some(PATIENCE)).expect("set");
    client
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .expect("sent");
    client.shutdown(Shutdown::Write).expect("ended");
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).expect("read");
    assert!(
        answer.is_empty() || answer.starts_with(b"HTTP/1.1 4"),
        "{answer:?}"
    );
}
