//! A version that is compared with the old one before any client meets it.

use everopen_rollout::journal::{Entry, Outcome};
use everopen_rollout::plan::Step;

use super::support::{Load, Place};

const SHADOW: &str = "[strategy.shadow]\nfor_ms = 1500\nrequests_min = 10\n";

fn shadow_of(place: &Place) -> bool {
    let status = everopen_edge::admin::Client::new(&place.config.admin).status();
    status.expect("a status").services["greeter"]
        .shadow
        .is_some()
}

#[test]
fn one_that_answers_otherwise_never_meets_a_client() {
    let place = Place::new();
    place.bring("1");
    let load = Load::start(place.public);
    let ended = place.apply(&place.file("2", "", SHADOW));
    let (served, failed) = load.end();
    assert_eq!((ended.outcome, failed), (Outcome::Old, 0), "of {served}");
    let why = ended.reason.expect("a reason");
    assert!(why.contains("100.00 % of"), "{why}");
    assert!(
        why.contains("/greeting is \"hello from version 2\""),
        "{why}"
    );
    place.only("1");
    assert_eq!((place.running(Some("2")), shadow_of(&place)), (0, false));
    let shifted = place.journal().iter().any(
        |entry| matches!(entry, Entry::Begun { text, .. } if text.contains("% of new requests")),
    );
    assert!(!shifted, "no client was to meet it");
}

#[test]
fn one_that_answers_the_same_goes_on_and_says_how_many_were_compared() {
    let place = Place::new();
    // Where nobody serves there is nothing to compare with.
    let more = SHADOW.to_string() + "ignore = [\"/greeting\", \"/version\"]\n";
    let first = place.plan(&place.file("1", "", &more));
    assert!(
        !first
            .steps
            .iter()
            .any(|step| matches!(step, Step::Shadow { .. }))
    );
    place.bring("1");
    let load = Load::start(place.public);
    let ended = place.apply(&place.file("2", "", &more));
    let (_, failed) = load.end();
    assert_eq!(
        (ended.outcome, failed),
        (Outcome::New, 0),
        "{:?}",
        ended.reason
    );
    place.only("2");
    assert!(!shadow_of(&place));
    let told = place.journal().into_iter().find_map(|entry| match entry {
        Entry::Done { evidence, .. } if evidence.contains("compared") => Some(evidence),
        _ => None,
    });
    let told = told.expect("it is in the journal");
    assert!(told.contains("0 different, 0 did not come"), "{told}");
}

#[test]
fn one_that_is_slower_as_a_shadow_or_that_nobody_asked_comes_back() {
    let place = Place::new();
    place.bring("1");
    let ignore = SHADOW.to_string() + "ignore = [\"/greeting\", \"/version\"]\n";
    let load = Load::start(place.public);
    let slow =
        ignore.clone().replace("1500", "8000") + "[alarms]\np99_ratio = 5.0\nrequests_min = 10\n";
    let ended = place.apply(&place.file("2", "slow", &slow));
    let (_, failed) = load.end();
    assert_eq!((ended.outcome, failed), (Outcome::Old, 0));
    let why = ended.reason.expect("a reason");
    assert!(why.contains("as a shadow: the 99th percentile"), "{why}");
    // Without clients nothing is shown.
    let ended = place.apply(&place.file("3", "", &ignore));
    assert_eq!(ended.outcome, Outcome::Old);
    let why = ended.reason.expect("a reason");
    assert!(
        why.contains("only 0 requests were compared, and 10 must be"),
        "{why}"
    );
    place.only("1");
}
