//! Requests that are put to another group, too, whose answers no client sees.

use everopen_edge::shadow::ShadowStatus;
use serde_json::{Value, json};

use crate::support::{Client, Manner, Place, Server, count, get, until};

fn begin(place: &Place, more: Value) {
    let mut shadowing = json!({ "group": "green" });
    for (key, value) in more.as_object().expect("a map") {
        shadowing[key] = value.clone();
    }
    place
        .order("PUT", "/services/api/shadow", &shadowing)
        .expect("it begins");
}

fn seen(place: &Place) -> ShadowStatus {
    let status = place.operator().status().expect("a status");
    status.services["api"]
        .shadow
        .clone()
        .expect("there is a shadow")
}

#[test]
fn clients_get_the_old_answers_and_differences_are_kept() {
    let (blue, green) = (Server::start("one"), Server::start("one"));
    let place = Place::new(&[blue.address], &[green.address], (100, 0));
    let edge = place.start();
    assert_eq!(count(place.public(), 10)["one"], 10);
    assert_eq!(green.seen(), 0);
    begin(&place, json!({}));
    assert_eq!(count(place.public(), 50)["one"], 50);
    until("all are compared", || seen(&place).same == 50);
    let head = green.head.lock().unwrap().to_lowercase();
    assert!(
        head.contains("everopen-shadow: 1") && head.contains("/path?x=1"),
        "{head}"
    );
    assert!(head.contains("x-forwarded-for: 127.0.0.1"), "{head}");
    let status = seen(&place);
    assert_eq!((status.compared(), status.reading.requests), (50, 50));

    // A status that is another, and then nobody.
    green.set(Manner::Fails);
    assert_eq!(get(place.public()), (200, "one".into()));
    until("the difference is seen", || seen(&place).different == 1);
    green.set(Manner::BreaksOff);
    assert_eq!(get(place.public()), (200, "one".into()));
    until("it is seen that nobody answers", || {
        seen(&place).unanswered == 1
    });
    let samples = seen(&place).samples;
    assert_eq!(samples.len(), 2);
    assert_eq!(
        (samples[0].method.as_str(), samples[0].path.as_str()),
        ("GET", "/path?x=1")
    );
    assert!(
        samples[0].what.contains("status 503, and 200 before"),
        "{samples:?}"
    );
    assert!(samples[1].what.contains("broke off"), "{samples:?}");

    // What a client gets by another way is not put to the shadow.
    green.set(Manner::Answers);
    let before = seen(&place).compared();
    assert_eq!(get(place.test()).0, 200);
    assert_eq!(seen(&place).compared(), before);
    place
        .order("DELETE", "/services/api/shadow", &Value::Null)
        .expect("it ends");
    let asked = green.seen();
    assert_eq!(count(place.public(), 20)["one"], 20);
    assert_eq!(green.seen(), asked, "nobody asks it any more");
    assert!(
        place.operator().status().expect("a status").services["api"]
            .shadow
            .is_none()
    );
    drop(edge);
}

#[test]
fn only_what_changes_nothing_is_put_to_it_unless_somebody_wants_more() {
    let (blue, green) = (Server::start("one"), Server::start("two"));
    let place = Place::new(&[blue.address], &[green.address], (100, 0));
    let edge = place.start();
    begin(&place, json!({}));
    let mut client = Client::connect(place.public()).expect("connected");
    let post = |client: &mut Client, body: &str| {
        let mark = "everopen-shadow: 1\r\n";
        assert_eq!(client.send("POST", mark, body).expect("an answer").0, 200);
    };
    post(&mut client, "an order");
    assert!(
        !blue.head.lock().unwrap().contains("everopen-shadow"),
        "clients can't say it"
    );
    assert_eq!(seen(&place).compared(), 0);
    begin(&place, json!({ "methods": ["POST"], "body_max": 1000 }));
    post(&mut client, "an order");
    until("it is compared", || seen(&place).different == 1);
    let head = green.head.lock().unwrap().to_lowercase();
    assert!(
        head.starts_with("post") && head.contains("content-length: 8"),
        "{head}"
    );
    assert!(
        seen(&place).samples[0]
            .what
            .contains("\"two\", and \"one\" before")
    );
    post(&mut client, &"x".repeat(1001));
    until("it is passed over", || seen(&place).too_long == 1);
    assert_eq!(get(place.public()).0, 200);
    assert_eq!(seen(&place).compared(), 1);
    drop(edge);
}

#[test]
fn a_shadow_that_stands_still_keeps_nobody_waiting_and_has_a_bound() {
    let (blue, green) = (Server::start("one"), Server::start("one"));
    let place = Place::new(&[blue.address], &[green.address], (100, 0));
    let edge = place.start();
    green.set(Manner::Waits);
    begin(&place, json!({}));
    assert_eq!(count(place.public(), 100)["one"], 100);
    until("what is too much is left out", || {
        seen(&place).dropped == 36
    });
    until("it has what it may have", || green.seen() == 64);
    green.open_gate();
    until("they are compared", || seen(&place).compared() == 64);
    drop(edge);
}

#[test]
fn a_share_of_requests_and_none_of_its_own() {
    let (blue, green) = (Server::start("one"), Server::start("one"));
    let place = Place::new(&[blue.address], &[green.address], (50, 50));
    let edge = place.start();
    begin(&place, json!({ "percent": 100 }));
    assert_eq!(count(place.public(), 100)["one"], 100);
    until("the other half is compared", || {
        seen(&place).same == blue.seen() as u64
    });
    assert_eq!(green.seen(), 100, "its own, and those of the other");
    begin(&place, json!({ "percent": 10 }));
    place
        .order("PUT", "/services/api/weights", &json!({ "green": 0 }))
        .expect("ordered");
    assert_eq!(count(place.public(), 100)["one"], 100);
    until("a tenth is compared", || {
        (9..=11).contains(&seen(&place).same)
    });
    drop(edge);
}

#[test]
fn what_makes_no_sense_is_refused() {
    let blue = Server::start("one");
    let place = Place::new(&[blue.address], &[], (100, 0));
    let edge = place.start();
    for (shadowing, why) in [
        (json!({ "group": "red" }), "no group \"red\""),
        (json!({ "group": "green", "percent": 0 }), "percent: 0"),
        (
            json!({ "group": "green", "body_max": 1_u64 << 40 }),
            "body_max",
        ),
        (json!({ "group": "green", "methods": [] }), "methods"),
        (
            json!({ "group": "green", "ignore": ["time"] }),
            "ignore: \"time\"",
        ),
        (json!({ "group": "green", "color": 1 }), "color"),
    ] {
        let error = place
            .order("PUT", "/services/api/shadow", &shadowing)
            .expect_err("refused");
        assert!(error.contains(why), "{error}");
    }
    // One without targets keeps nobody from being served.
    begin(&place, json!({}));
    assert_eq!(get(place.public()), (200, "one".into()));
    until("nobody answers there", || seen(&place).unanswered == 1);
    assert_eq!(seen(&place).samples[0].what, "it has no target");
    drop(edge);
}
