//! Versions that misbehave: the old one serves afterwards.

use everopen_rollout::journal::{Entry, Outcome};

use super::support::{Load, Place};

/// A version that misbehaves: the old one serves afterwards, none of the new one runs, and the reason is
/// there to read.
pub fn comes_back(manner: &str, more: &str, reason: &str, failed_max: u64) {
    let place = Place::new();
    place.bring("1");
    let load = Load::start(place.public);
    let ended = place.apply(&place.file("2", manner, more));
    let (served, failed) = load.end();
    assert_eq!(ended.outcome, Outcome::Old, "{ended:?}");
    let why = ended.reason.expect("a reason");
    assert!(why.contains(reason), "{why}");
    assert!(failed <= failed_max, "{failed} of {served} failed: {why}");
    place.only("1");
    assert_eq!((place.running(Some("1")), place.running(Some("2"))), (2, 0));
    let journal = place.journal();
    assert!(
        journal
            .iter()
            .any(|entry| matches!(entry, Entry::Failed { .. }))
    );
    assert!(matches!(
        journal.last(),
        Some(Entry::Ended {
            outcome: Outcome::Old,
            ..
        })
    ));
    // And the next one is free to come.
    place.bring("3");
    place.only("3");
}

const NO_JOURNEY: &str =
    "[strategy]\npercent = [10, 50]\nbake_ms = 3000\n[alarms]\nrequests_min = 5\n";

#[test]
fn a_version_that_is_never_ready_comes_back() {
    let place = Place::new();
    place.bring("1");
    let mut file = place.file("2", "never-ready", "");
    file.start.ready_ms = 1_500;
    let ended = place.apply(&file);
    assert_eq!(ended.outcome, Outcome::Old);
    let why = ended.reason.expect("a reason");
    assert!(
        why.contains("not ready within 1500 ms: /health answers 503"),
        "{why}"
    );
    place.only("1");
    assert_eq!(place.running(Some("2")), 0);
}

#[test]
fn a_version_that_gives_wrong_answers_never_gets_traffic() {
    comes_back(
        "broken",
        "",
        "journey step \"greet\": status 500, expected 200",
        0,
    );
}

#[test]
fn a_version_that_can_not_be_started_comes_back() {
    let place = Place::new();
    place.bring("1");
    let mut file = place.file("2", "", "");
    file.start.command = vec!["python3".into(), "no-such-file.py".into()];
    let ended = place.apply(&file);
    assert_eq!(ended.outcome, Outcome::Old);
    let why = ended.reason.expect("a reason");
    assert!(
        why.contains("has ended; its log ends with:") && why.contains("no-such-file.py"),
        "{why}"
    );
    place.only("1");
}

#[test]
fn a_version_that_crashes_while_it_gets_traffic_comes_back() {
    // The edge repeats what is safe to; an answer of which half had come when it died can't be saved.
    comes_back("crash", NO_JOURNEY, "has ended", 1);
}

#[test]
fn a_version_that_is_slow_comes_back_by_its_latency() {
    let alarms = NO_JOURNEY.to_string() + "p99_ratio = 3.0\n";
    comes_back("slow", &alarms, "99th percentile of latency", 0);
}

#[test]
fn a_failing_check_comes_back_with_what_it_said() {
    let check = "[[check]]\nname = \"deep\"\ncommand = [\"sh\", \"-c\", \"echo {address} has no database >&2; exit 1\"]\n";
    comes_back("", check, "has no database", 0);
}

#[test]
fn an_alarm_program_takes_it_back() {
    let alarm = "[strategy]\npercent = [50]\nbake_ms = 3000\n[alarms]\ncommand = [\"sh\", \"-c\", \"echo the queue grows; exit 1\"]\n";
    comes_back("", alarm, "the queue grows", 0);
}

#[test]
fn a_first_version_that_is_bad_leaves_nothing_behind() {
    let place = Place::new();
    let ended = place.apply(&place.file("1", "broken", ""));
    assert_eq!(ended.outcome, Outcome::Old);
    assert_eq!(place.running(None), 0);
    place.bring("2");
    place.only("2");
}

#[test]
fn a_version_whose_port_is_taken_comes_back_and_says_so() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let place = Place::new();
    place.bring("1");
    let load = Load::start(place.public);
    // One that does not listen where it is told.
    let mut file = place.file("2", "", "");
    let port = taken.local_addr().expect("an address").port();
    file.start.command[2] = port.to_string();
    let ended = place.apply(&file);
    assert_eq!(ended.outcome, Outcome::Old, "{ended:?}");
    let why = ended.reason.expect("a reason");
    assert!(why.contains("Address already in use"), "{why}");
    assert_eq!(load.end().1, 0);
    place.only("1");
    assert_eq!(place.running(Some("2")), 0);
}

#[test]
fn a_version_that_lacks_what_it_needs_is_not_even_started() {
    let place = Place::new();
    place.bring("1");
    place.bring("2");
    let needs = |at: &str| {
        format!(
            "[health]\nwithin_ms = 2000\n[[health.dependency]]\nname = \"ledger\"\nat = {at:?}\n"
        )
    };
    let ended = place.apply(&place.file("3", "", &needs("127.0.0.1:1")));
    assert_eq!(ended.outcome, Outcome::Old, "{ended:?}");
    assert!(ended.reason.expect("a reason").contains("ledger FAILED"));
    place.only("2");
    assert_eq!(place.running(Some("3")), 0);
    // The one that is kept is still there to go back to.
    assert_eq!(place.running(Some("1")), 2);
    assert_eq!(place.roll_back().outcome, Outcome::Back);
    place.only("1");
    let ended = place.apply(&place.file("4", "", &needs(&place.public.to_string())));
    assert_eq!(ended.outcome, Outcome::New, "{ended:?}");
}

#[test]
fn a_version_that_crashes_after_a_minute_of_all_requests_comes_back() {
    let place = Place::new();
    place.bring("1");
    let more = "[strategy]\npercent = [50]\nbake_ms = 45000\n[alarms]\nrequests_min = 5\n";
    let begun = std::time::Instant::now();
    let ended = place.apply(&place.file("2", "crash-later", more));
    assert_eq!(ended.outcome, Outcome::Old, "{ended:?}");
    assert!(
        begun.elapsed().as_secs() >= 45,
        "it had all requests by then"
    );
    let why = ended.reason.expect("a reason");
    assert!(why.contains("has ended"), "{why}");
    place.only("1");
    let shares = place.journal().into_iter().filter(
        |entry| matches!(entry, Entry::Done { evidence, .. } if evidence.contains("\"blue\":")),
    );
    assert_eq!(shares.count(), 2, "half, and all");
}
