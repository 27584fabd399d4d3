//! Approvals, refusals and cancellations.

use std::time::Duration;

use everopen_rollout::file::Decision;
use everopen_runbook::run::{self, Entry, Outcome, approval};

use crate::support::{Bench, by, step, undo};

fn decision(who: &str, approved: bool) -> Decision {
    Decision {
        approved,
        who: who.into(),
        why: "looked at it".into(),
    }
}

fn book() -> Bench {
    let ask = "- name: ask\n  action: approve\n  inputs: { message: 'Go on with {{ what }}?', approvers: ['{{ first }}', ben, eve], minRequiredApprovals: 2 }\n";
    let steps = [step("one", 0, &undo("one")), ask.into(), step("two", 0, "")];
    Bench::of(&format!(
        "parameters: {{ what: {{ type: String }}, first: {{ type: String, default: ada }} }}\nmainSteps:\n{}",
        steps.concat()
    ))
}

#[tokio::test(flavor = "multi_thread")]
async fn enough_of_those_who_may_must_say_yes() {
    let bench = book();
    let id = bench.begin(&[("what", "it")]).expect("it begins");
    let (work, told) = bench.beside(&id);
    told.begun("ask").await;
    let seen = bench.look(&id);
    let (_, asked) = approval::question(&seen).expect("it waits");
    assert_eq!(asked.message, "Go on with it?");
    let decide = |who: &str| approval::decide(&bench.root(), &id, None, &decision(who, true));
    assert_eq!(decide("ada").expect("she may"), ("ask".into(), 1));
    for (who, why) in [("ada", "already"), ("mallory", "may not decide")] {
        let error = decide(who).expect_err("refused").to_string();
        assert!(error.contains(why), "{error}");
    }
    let other = approval::decide(&bench.root(), &id, Some("two"), &decision("ben", true));
    assert!(other.expect_err("another step").to_string().contains("ask"));
    assert_eq!(bench.log(), ["one"]);
    assert_eq!(decide("ben").expect("he may"), ("ask".into(), 0));
    let ended = work.await.expect("whole").expect("it ends");
    assert_eq!(ended.outcome, Outcome::Success);
    assert_eq!(bench.log(), ["one", "two"]);
    assert!(decide("eve").is_err(), "it has ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_no_ends_it_also_when_it_comes_while_nobody_is_at_work() {
    let bench = book();
    let id = bench.begin(&[("what", "it")]).expect("it begins");
    let (work, told) = bench.beside(&id);
    told.begun("ask").await;
    work.abort();
    let _ = work.await;
    approval::decide(&bench.root(), &id, Some("ask"), &decision("ada", true)).expect("noted");
    approval::decide(&bench.root(), &id, Some("ask"), &decision("eve", false)).expect("noted");
    let ended = bench.go_on(&id).await.expect("it ends");
    assert_eq!(ended.outcome, Outcome::Failed);
    assert_eq!(bench.log(), ["one", "undo-one"]);
    let why = &ended.progress.failures["ask"];
    assert!(
        why.contains("eve said no") && why.contains("looked at it"),
        "{why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_waited_for_longer_than_it_says() {
    let ask = "- name: ask\n  action: approve\n  timeoutSeconds: 1\n";
    let bench = Bench::new(&[step("one", 0, &undo("one")), ask.to_string()].concat());
    let (_, ended) = bench.run(&[]).await;
    assert_eq!(ended.outcome, Outcome::Failed);
    assert!(ended.progress.failures["ask"].contains("longer than 1 s"));
    assert_eq!(bench.log(), ["one", "undo-one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_cancelled_stops_at_once_and_is_undone() {
    let long = "- name: long\n  action: script\n  inputs: { script: 'echo long >> LOG; exec sleep 300' }\n";
    let steps = [
        step("one", 0, &undo("one")),
        long.to_string(),
        step("two", 0, ""),
    ];
    let bench = Bench::new(&steps.concat());
    let id = bench.begin(&[]).expect("it begins");
    let (work, told) = bench.beside(&id);
    told.begun("long").await;
    run::cancel(&bench.root(), &id, &by("ada")).expect("told");
    let ended = tokio::time::timeout(Duration::from_secs(60), work).await;
    let ended = ended.expect("in time").expect("whole").expect("it ends");
    assert_eq!(ended.outcome, Outcome::Cancelled);
    assert_eq!(bench.log().last().expect("undone"), "undo-one");
    assert!(!bench.log().contains(&"two".to_string()));
    assert!(
        run::cancel(&bench.root(), &id, &by("ada")).is_err(),
        "it has ended"
    );
    let told = bench
        .look(&id)
        .lines
        .into_iter()
        .any(|line| matches!(line.entry, Entry::Cancelled { who, .. } if who == "ada"));
    assert!(told, "who cancelled it is in the journal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_says_where_it_goes_when_it_is_cancelled() {
    let long = "- name: long\n  action: sleep\n  inputs: { seconds: 300 }\n  onCancel: step:tidy\n  isEnd: true\n";
    let steps = [
        step("one", 0, &undo("one")),
        long.to_string(),
        step("tidy", 0, ""),
    ];
    let bench = Bench::new(&steps.concat());
    let id = bench.begin(&[]).expect("it begins");
    let (work, told) = bench.beside(&id);
    told.begun("long").await;
    run::cancel(&bench.root(), &id, &by("ada")).expect("told");
    let ended = work.await.expect("whole").expect("it ends");
    assert_eq!(ended.outcome, Outcome::Cancelled);
    assert_eq!(bench.log(), ["one", "tidy", "undo-one"]);
}
