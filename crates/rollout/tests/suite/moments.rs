//! Hooks, gates, and alarms on what a version counts itself.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use everopen_rollout::execute;
use everopen_rollout::file::{Decision, File};
use everopen_rollout::journal::{Entry, Outcome};

use super::comes_back::comes_back;
use super::support::{Load, Place, SERVICE};

fn hook(name: &str, phase: &str, script: &str) -> String {
    format!(
        "[[hook]]\nname = {name:?}\nphase = {phase:?}\ncommand = [\"sh\", \"-c\", {script:?}]\n"
    )
}

fn decision(approved: bool) -> Decision {
    Decision {
        approved,
        who: "somebody".into(),
        why: "the graphs look so".into(),
    }
}

/// Decides at a gate as soon as the rollout waits there; what it refused before that.
fn decide(root: PathBuf, gate: &'static str, approved: bool) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut last = String::new();
        loop {
            match execute::decide(&root, SERVICE, Some(gate), &decision(approved)) {
                Ok(_) => return last,
                Err(error) => last = error.to_string(),
            }
            assert!(Instant::now() < deadline, "{last}");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    })
}

#[test]
fn hooks_are_run_in_order_with_what_they_may_want_to_know() {
    let place = Place::new();
    place.bring("1");
    let notes = place.folder.path().join("notes");
    let note = |name: &str| {
        format!(
            "echo {name} {{version}} {{group}} {{percent}} >> {}",
            notes.display()
        )
    };
    let phases = [
        "at_end",
        "before_drain",
        "after_share",
        "before_traffic",
        "before_start",
    ];
    let hooks: String = phases
        .iter()
        .map(|phase| hook(phase, phase, &note(phase)))
        .collect();
    let file = place.file(
        "2",
        "",
        &format!("{hooks}\n[strategy]\npercent = [10, 50]\n"),
    );
    let ended = place.apply(&file);
    assert_eq!(ended.outcome, Outcome::New, "{ended:?}");
    let expected = "before_start 2 green 0\nbefore_traffic 2 green 0\nafter_share 2 green 10\n\
                    after_share 2 green 50\nbefore_drain 2 green 100\nat_end 2 green 100\n";
    assert_eq!(std::fs::read_to_string(&notes).expect("notes"), expected);
    place.only("2");
}

#[test]
fn a_hook_that_fails_takes_the_rollout_back_wherever_it_stands() {
    for phase in ["before_start", "after_share", "at_end"] {
        let more = format!(
            "{}\n[strategy]\npercent = [10]\n",
            hook("say no", phase, "echo the license has run out >&2; exit 3")
        );
        comes_back(
            "",
            &more,
            "hook say no: sh: exit status: 3: the license has run out",
            0,
        );
    }
}

#[test]
fn a_gate_is_waited_at_until_somebody_decides() {
    let place = Place::new();
    place.bring("1");
    let more = "[[gate]]\nname = \"look at it\"\nphase = \"after_share\"\npercent = 50\n\
                [strategy]\npercent = [10, 50]\n";
    let load = Load::start(place.public);
    let nowhere = execute::decide(&place.root(), SERVICE, None, &decision(true)).unwrap_err();
    assert!(
        nowhere
            .to_string()
            .contains("no rollout of greeter is under way"),
        "{nowhere}"
    );
    let yes = decide(place.root(), "look at it", true);
    let ended = place.apply(&place.file("2", "", more));
    assert_eq!(ended.outcome, Outcome::New, "{ended:?}");
    yes.join().expect("decided");
    assert!(
        place
            .journal()
            .iter()
            .any(|entry| matches!(entry, Entry::Done { evidence, .. }
        if evidence.contains("approved by somebody") && evidence.contains("the graphs look so")))
    );
    place.only("2");

    let other = decide(place.root(), "look at it", false);
    let ended = place.apply(&place.file("3", "", more));
    assert_eq!(ended.outcome, Outcome::Old);
    other.join().expect("decided");
    let why = ended.reason.expect("a reason");
    assert!(why.contains("look at it: somebody said no"), "{why}");
    place.only("2");
    let (_, failed) = load.end();
    assert_eq!(failed, 0);
}

#[test]
fn a_gate_has_an_end_and_alarms_are_watched_at_it() {
    let gate = |ms: u64| {
        format!(
            "[[gate]]\nname = \"nobody\"\nphase = \"after_share\"\nwithin_ms = {ms}\n\
             [strategy]\npercent = [50]\n[alarms]\nrequests_min = 5\n"
        )
    };
    comes_back("", &gate(500), "nobody decided within 500 ms", 0);
    // It dies while everybody is at lunch.
    comes_back("crash", &gate(600_000), "has ended", u64::MAX);
}

const LEAK: &str = "[strategy]\npercent = [50]\nbake_ms = 20000\n[[alarms.metric]]\nmetric = \"greeter_held\"\n\
                    for_ms = 500\n";

#[test]
fn a_metric_out_of_its_bound_takes_the_rollout_back() {
    comes_back(
        "leaky",
        &format!("{LEAK}above = 20\n"),
        "greeter_held is",
        0,
    );
    comes_back(
        "leaky",
        &format!("{LEAK}times_old = 15\n"),
        "times the old version's 1",
        0,
    );
    comes_back(
        "leaky",
        &format!("{LEAK}per_second = true\nabove = 5\n"),
        "a second, above 5",
        0,
    );
    // What can't be seen is not taken for good.
    let other = format!("{LEAK}above = 1e9\npath = \"/nothing\"\n");
    comes_back("", &other, "there is no such metric", 0);
    let nobody = format!("{LEAK}above = 1e9\nat = \"127.0.0.1:1\"\n");
    comes_back("", &nobody, "scrape 127.0.0.1:1/metrics", 0);
}

#[test]
fn a_metric_within_its_bounds_lets_it_pass() {
    let place = Place::new();
    place.bring("1");
    let more = "[strategy]\npercent = [50]\nbake_ms = 1500\n[[alarms.metric]]\n\
                metric = \"greeter_greetings_total\"\nlabels = { version = \"2\" }\n\
                per_second = true\nabove = 1e6\nbelow = 0.0\nfor_ms = 0\n";
    let load = Load::start(place.public);
    let ended = place.apply(&place.file("2", "", more));
    assert_eq!(ended.outcome, Outcome::New, "{ended:?}");
    assert_eq!(load.end().1, 0);
}

#[test]
fn what_is_wrong_with_hooks_gates_and_metrics_is_named() {
    let place = Place::new();
    let read = |more: &str| {
        let path: &Path = place.folder.path();
        place.file("1", "", "");
        let path = path.join("rollout.toml");
        let text = std::fs::read_to_string(&path).expect("the file");
        std::fs::write(&path, format!("{text}\n{more}")).expect("written");
        File::read(&path).map(|_| ()).unwrap_err().to_string()
    };
    for (more, found) in [
        (hook("a", "sometime", "true"), "unknown variant `sometime`"),
        (
            hook("a", "at_end", "true").repeat(2),
            "hook \"a\": name: another hook has it",
        ),
        (
            "[[hook]]\nname = \"a\"\nphase = \"at_end\"\ncommand = []\n".into(),
            "hook \"a\": command: it names no program",
        ),
        (
            "[[gate]]\nname = \"g\"\nphase = \"after_share\"\npercent = 5\n".into(),
            "gate \"g\": percent: 5 is no share",
        ),
        (
            "[[gate]]\nname = \"g\"\nphase = \"at_end\"\nwithin_ms = 172800001\n".into(),
            "48 hours",
        ),
        (
            "[[alarms.metric]]\nmetric = \"m\"\n".into(),
            "it has no bound",
        ),
        (
            "[[alarms.metric]]\nmetric = \"m\"\nabove = 1\nat = \"x:1\"\ntimes_old = 2\n".into(),
            "`at` is one place for both versions",
        ),
    ] {
        let error = read(&more);
        assert!(error.contains(found), "{found}: {error}");
    }
}
