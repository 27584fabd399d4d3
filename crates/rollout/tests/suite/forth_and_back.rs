//! What goes well: forth, back, and on with the next version.

use std::time::Duration;

use everopen_edge::Edge;
use everopen_rollout::journal::{Entry, Outcome};

use super::support::{Load, Place};

#[test]
fn a_service_in_another_language_goes_forth_and_back_while_clients_are_served() {
    let place = Place::new();
    let first = place.apply(&place.file("1", "", ""));
    assert_eq!((first.outcome, first.reason), (Outcome::New, None));
    place.only("1");
    let load = Load::start(place.public);
    let budget = format!("[budget]\nat = \"{}\"\npath = \"/health\"\n", place.public);
    let canary = format!("[strategy]\npercent = [10, 50]\nbake_ms = 700\n{budget}");
    let second = place.apply(&place.file("2", "", &canary));
    assert_eq!(second.outcome, Outcome::New, "{second:?}");
    assert!(second.noticed.starts_with("0 of "), "{second:?}");
    place.only("2");
    assert_eq!(
        (place.running(Some("1")), place.running(Some("2"))),
        (2, 2),
        "the old one is warm"
    );
    let back = place.roll_back();
    assert_eq!(back.outcome, Outcome::Back);
    place.only("1");
    // The next one takes the place of what is not in service.
    let third = place.apply(&place.file("3", "", &canary));
    assert_eq!(third.outcome, Outcome::New, "{third:?}");
    place.only("3");
    assert_eq!((place.running(Some("2")), place.running(Some("1"))), (0, 2));
    let (served, failed) = load.end();
    assert_eq!(failed, 0, "of {served}");
    assert!(served > 100, "{served}");
    let shifts: Vec<String> = place
        .journal()
        .iter()
        .filter_map(|entry| match entry {
            Entry::Begun { text, .. } if text.contains('%') => Some(text.clone()),
            _ => None,
        })
        .collect();
    assert_eq!(
        shifts,
        [
            "10 % of new requests",
            "50 % of new requests",
            "100 % of new requests"
        ]
    );
}

#[test]
fn an_edge_that_is_started_again_in_between_goes_on_with_the_weights() {
    let mut place = Place::new();
    place.bring("1");
    place.bring("2");
    let edge = place.edge.take().expect("an edge");
    place.runtime.block_on(edge.stop(Duration::ZERO));
    let again = place.runtime.block_on(Edge::start(&place.config, false));
    place.edge = Some(again.expect("it starts again"));
    place.only("2");
    assert_eq!(place.roll_back().outcome, Outcome::Back);
    place.only("1");
}

/// As a script in front of the real program does, only more often.
const BECOMES: &str = r#"
if [ "$1" -gt 0 ]; then
    left=$(($1 - 1))
    shift
    exec sh "$0" "$left" "$@"
fi
shift
exec "$@"
"#;

#[test]
fn an_instance_that_becomes_other_programs_before_it_is_ready_has_not_ended() {
    let place = Place::new();
    let script = place.folder.path().join("becomes.sh");
    std::fs::write(&script, BECOMES).expect("written");
    let mut file = place.file("1", "", "");
    let script = script.display().to_string();
    let before = ["sh".to_string(), script, "2000".to_string()];
    file.start.command.splice(0..0, before);
    let ended = place.apply(&file);
    assert_eq!(ended.outcome, Outcome::New, "{ended:?}");
    place.only("1");
}
