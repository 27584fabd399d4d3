//! Weights, listeners, headers, holds and drains.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use serde_json::json;

use super::support::{Client, Manner, Place, Server, count, get, until};

fn pair() -> (Server, Server) {
    (Server::start("blue"), Server::start("green"))
}

fn counts(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    pairs
        .iter()
        .map(|(name, count)| ((*name).to_string(), *count))
        .collect()
}

#[test]
fn requests_go_by_weight_and_those_of_the_test_listener_to_its_group() {
    let (blue, green) = pair();
    let place = Place::new(&[blue.address], &[green.address], (1, 0));
    let _edge = place.start();
    assert_eq!(count(place.public(), 50), counts(&[("blue", 50)]));
    assert_eq!(count(place.test(), 20), counts(&[("green", 20)]));
    place
        .order(
            "PUT",
            "/services/api/weights",
            &json!({ "blue": 9, "green": 1 }),
        )
        .expect("shifted");
    let shared = count(place.public(), 200);
    assert!(shared["green"].abs_diff(20) <= 2, "{shared:?}");
    place
        .order(
            "PUT",
            "/services/api/weights",
            &json!({ "blue": 0, "green": 1 }),
        )
        .expect("shifted");
    assert_eq!(count(place.public(), 50), counts(&[("green", 50)]));
    assert_eq!(
        count(place.test(), 20),
        counts(&[("blue", 20)]),
        "the other one now"
    );
    let status = place.operator().status().expect("status");
    let green = &status.services["api"].groups["green"];
    assert_eq!((green.weight, green.open), (1, 0));
    assert!(green.reading.requests >= 70 && green.reading.failed() == 0);
    assert!(green.reading.latency.percentile(99.0).is_some());
}

#[test]
fn targets_see_the_client_and_no_word_of_who_it_claims_to_be() {
    let (blue, green) = pair();
    let mut place = Place::new(&[blue.address], &[green.address], (1, 1));
    place.config.listeners[0].group_header = true;
    let _edge = place.start();
    let mut client = Client::connect(place.public()).expect("connected");
    let forged = "X-Amzn-Mtls-Clientcert-Subject: CN=admin\r\nX-Forwarded-Client-Cert: Hash=1\r\n\
                  X-Forwarded-For: 10.9.9.9\r\nEveropen-Group: green\r\nConnection: X-Hop\r\nX-Hop: 1\r\n";
    for _ in 0..4 {
        let (_, head, body) = client.send("POST", forged, "a body").expect("an answer");
        assert_eq!(body, "green", "the header was allowed to choose");
        assert!(
            head.to_lowercase().contains("everopen-group: green"),
            "{head}"
        );
        assert!(
            !head.to_lowercase().contains("keep-alive: timeout"),
            "{head}"
        );
    }
    let head = green.head.lock().unwrap().to_lowercase();
    assert!(head.starts_with("post /path?x=1 http/1.1\r\n"), "{head}");
    for gone in ["mtls", "client-cert", "everopen-group", "x-hop"] {
        assert!(!head.contains(gone), "{gone}: {head}");
    }
    assert!(
        head.contains("x-forwarded-for: 10.9.9.9, 127.0.0.1\r\n"),
        "{head}"
    );
    assert!(head.contains("host: api\r\n") && head.contains("x-forwarded-host: api\r\n"));
}

#[test]
fn without_leave_the_header_chooses_nothing() {
    let (blue, green) = pair();
    let place = Place::new(&[blue.address], &[green.address], (1, 0));
    let _edge = place.start();
    let mut client = Client::connect(place.public()).expect("connected");
    let (_, head, body) = client
        .send("GET", "Everopen-Group: green\r\n", "")
        .expect("an answer");
    assert_eq!(body, "blue");
    assert!(!head.to_lowercase().contains("everopen-group"), "{head}");
}

#[test]
fn a_client_stays_with_the_group_that_it_met_while_that_has_a_weight() {
    let (blue, green) = pair();
    let mut place = Place::new(&[blue.address], &[green.address], (1, 1));
    place.config.services.get_mut("api").unwrap().affinity = true;
    let _edge = place.start();
    let mut client = Client::connect(place.public()).expect("connected");
    let (_, head, first) = client.send("GET", "", "").expect("an answer");
    assert!(
        head.contains(&format!("everopen-group={first}; ")),
        "{head}"
    );
    let cookie = format!("Cookie: a=b; everopen-group={first}\r\n");
    for _ in 0..20 {
        let (_, head, body) = client.send("GET", &cookie, "").expect("an answer");
        assert_eq!(body, first);
        assert!(
            !head.to_lowercase().contains("set-cookie"),
            "it has it already"
        );
    }
    let other = if first == "blue" { "green" } else { "blue" };
    let weights = json!({ first.as_str(): 0, other: 1 });
    place
        .order("PUT", "/services/api/weights", &weights)
        .expect("shifted");
    let (_, head, body) = client.send("GET", &cookie, "").expect("an answer");
    assert_eq!(body, other);
    assert!(
        head.contains(&format!("everopen-group={other}; ")),
        "{head}"
    );
}

#[test]
fn held_requests_wait_and_are_then_served() {
    let (blue, green) = pair();
    let place = Place::new(&[blue.address], &[green.address], (1, 0));
    let _edge = place.start();
    place
        .order("POST", "/services/api/hold", &json!({ "ms": 20_000 }))
        .expect("held");
    let address = place.public();
    let waiting: Vec<_> = (0..8)
        .map(|_| std::thread::spawn(move || get(address)))
        .collect();
    let held = || place.operator().status().expect("status").services["api"].held;
    until("all wait", || held() == 8);
    assert_eq!(blue.seen(), 0);
    place
        .order(
            "PUT",
            "/services/api/weights",
            &json!({ "blue": 0, "green": 1 }),
        )
        .expect("shifted");
    place
        .order("POST", "/services/api/resume", &json!({}))
        .expect("resumed");
    for answer in waiting {
        assert_eq!(answer.join().expect("an answer"), (200, "green".into()));
    }
    assert_eq!(blue.seen(), 0, "what waited went to where it goes now");
    // Nobody has to come to end it.
    let began = Instant::now();
    place
        .order("POST", "/services/api/hold", &json!({ "ms": 100 }))
        .expect("held");
    assert_eq!(get(address), (200, "green".into()));
    assert!(began.elapsed() >= Duration::from_millis(95));
    let long = place.order("POST", "/services/api/hold", &json!({ "ms": 60_001 }));
    assert_eq!(long.unwrap_err(), "a hold is at most 60 s");
}

#[test]
fn a_drain_waits_for_what_is_under_way() {
    let (blue, green) = pair();
    blue.set(Manner::Waits);
    let place = Place::new(&[blue.address], &[green.address], (1, 0));
    let _edge = place.start();
    let address = place.public();
    let slow = std::thread::spawn(move || get(address));
    until("it is at work", || blue.seen() == 1);
    place
        .order(
            "PUT",
            "/services/api/weights",
            &json!({ "blue": 0, "green": 1 }),
        )
        .expect("shifted");
    let drain = |ms: u64| {
        place.order(
            "POST",
            "/services/api/groups/blue/drain",
            &json!({ "ms": ms }),
        )
    };
    assert_eq!(drain(50).expect("looked"), json!({ "left": 1 }));
    std::thread::scope(|scope| {
        let drained = scope.spawn(|| drain(10_000));
        blue.open_gate();
        assert_eq!(
            drained.join().expect("joined").expect("drained"),
            json!({ "left": 0 })
        );
    });
    assert_eq!(slow.join().expect("an answer"), (200, "blue".into()));
}

#[test]
fn operators_get_reasons() {
    let (blue, green) = pair();
    let place = Place::new(&[blue.address], &[green.address], (1, 0));
    let _edge = place.start();
    let mode = std::fs::metadata(&place.config.admin)
        .expect("a socket")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    for (method, path, body, why) in [
        (
            "PUT",
            "/services/app/weights",
            json!({}),
            "there is no service \"app\"",
        ),
        (
            "PUT",
            "/services/api/weights",
            json!({ "red": 1 }),
            "has no group \"red\"",
        ),
        (
            "PUT",
            "/services/api/weights",
            json!({ "blue": 0 }),
            "no group of service \"api\" would have",
        ),
        (
            "PUT",
            "/services/api/weights",
            json!({ "blue": -1 }),
            "invalid value",
        ),
        (
            "PUT",
            "/services/api/groups/blue/targets",
            json!([]),
            "would have a weight and a target",
        ),
        (
            "PUT",
            "/services/api/groups/blue/targets",
            json!(["host"]),
            "invalid socket address",
        ),
        (
            "POST",
            "/services/api/hold",
            json!({ "s": 1 }),
            "unknown field",
        ),
        ("GET", "/", json!(null), "there is no GET /"),
    ] {
        let refused = place.order(method, path, &body).unwrap_err();
        assert!(refused.contains(why), "{path}: {refused}");
    }
    assert_eq!(
        count(place.public(), 5),
        counts(&[("blue", 5)]),
        "nothing has changed"
    );
}
