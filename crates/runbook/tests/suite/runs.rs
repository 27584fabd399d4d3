//! What is done after what, what is tried again, and what is undone.

use std::io::{Read, Write};
use std::net::TcpListener;

use everopen_runbook::run::{self, At, Entry, Outcome};
use serde_json::json;

use crate::support::{Bench, by, step, undo};

#[tokio::test(flavor = "multi_thread")]
async fn steps_pass_what_came_of_them_on() {
    let bench = Bench::of(
        r#"
parameters:
  who: { type: String, default: world }
  count: { type: Integer }
mainSteps:
- name: make
  action: script
  inputs:
    command: [python3, -c, "import json,os,sys; print(json.dumps({'order': {'id': os.environ['WHO'] + '-1', 'n': int(sys.argv[1])}, 'read': json.load(sys.stdin)}))", "{{ count }}"]
    env: { WHO: "{{ who }}" }
    input: { given: "{{ count }}" }
  outputs: { id: /json/order/id }
- name: use
  action: script
  inputs: { command: [sh, -c, 'echo "$1 $2 $3"', x, "{{ make.id }}", "n={{ make.json.order.n }}", "{{ make.json.read.given }}"] }
- name: sure
  action: assert
  inputs: { that: { and: [{ variable: "{{ use.exitCode }}", equals: 0 }, { variable: "{{ use.stdout }}", startsWith: "world-1 n=7 7" }] } }
outputs: [make.id, use.stdout]
"#,
    );
    assert_eq!(
        bench
            .begin(&[])
            .expect_err("no count")
            .matches("count")
            .count(),
        1
    );
    let (_, ended) = bench.run(&[("count", "7")]).await;
    assert_eq!(ended.outcome, Outcome::Success, "{:?}", ended.progress);
    assert_eq!(ended.outputs["make.id"], json!("world-1"));
    assert_eq!(ended.outputs["use.stdout"], json!("world-1 n=7 7\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_value_says_never_becomes_code() {
    let bench = Bench::of(
        r#"
parameters: { who: { type: String } }
mainSteps:
- name: say
  action: script
  inputs: { script: 'echo "$WHO {{ who }}" >> LOG', env: { WHO: "{{ who }}" } }
"#,
    );
    let (_, ended) = bench.run(&[("who", "$(touch broken); `id`")]).await;
    assert_eq!(ended.outcome, Outcome::Success);
    assert_eq!(bench.log(), ["$(touch broken); `id` {{ who }}"]);
    assert!(!bench.folder().join("broken").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_fails_is_undone_in_reverse() {
    let steps = [
        step("one", 0, &undo("one")),
        step("two", 0, ""),
        step("three", 0, &undo("three")),
        step("four", 1, &undo("four")),
        step("five", 0, &undo("five")),
    ];
    let bench = Bench::new(&steps.concat());
    let (id, ended) = bench.run(&[]).await;
    assert_eq!(ended.outcome, Outcome::Failed);
    let wanted = [
        "one",
        "two",
        "three",
        "four",
        "undo-four",
        "undo-three",
        "undo-one",
    ];
    assert_eq!(bench.log(), wanted);
    assert!(
        ended.progress.failures["four"].contains("exit status: 1"),
        "{:?}",
        ended.progress
    );
    assert_eq!(bench.look(&id).progress.at, At::Ended(Outcome::Failed));
    // It has ended, and nothing is done twice.
    assert!(bench.go_on(&id).await.is_err());
    assert_eq!(bench.log(), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_step_is_undone_only_if_it_wants_that() {
    let not_after = undo("two").replace(" } }\n", " }, afterFailure: false }\n");
    let steps = [step("one", 0, &undo("one")), step("two", 1, &not_after)];
    let bench = Bench::new(&steps.concat());
    let (_, ended) = bench.run(&[]).await;
    assert_eq!(ended.outcome, Outcome::Failed);
    assert_eq!(bench.log(), ["one", "two", "undo-one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_undone_is_named_and_the_rest_is() {
    let fails = "  undo: { action: script, inputs: { script: 'echo try >> LOG; exit 1' }, maxAttempts: 2, retrySeconds: 0 }\n";
    let unknown = "  undo: { action: script, inputs: { command: [echo, '{{ last.json }}'] }, maxAttempts: 1 }\n";
    let steps = [
        step("one", 0, &undo("one")),
        step("two", 0, fails),
        step("three", 0, unknown),
        step("last", 1, ""),
    ];
    let bench = Bench::new(&steps.concat());
    let (_, ended) = bench.run(&[]).await;
    assert_eq!(ended.outcome, Outcome::Failed);
    assert_eq!(
        bench.log(),
        ["one", "two", "three", "last", "try", "try", "undo-one"]
    );
    let not_undone: Vec<&String> = ended.progress.not_undone.keys().collect();
    assert_eq!(not_undone, ["three", "two"]);
    assert!(ended.progress.not_undone["three"].contains("last.json"));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_it_goes_on() {
    // It fails twice, and then does not.
    let third = "- name: flaky\n  action: script\n  maxAttempts: 3\n  retrySeconds: 0\n  inputs: { script: 'echo flaky >> LOG; test $(grep -c flaky LOG) = 3' }\n";
    let choice = "- name: choose\n  action: branch\n  inputs:\n    choices: [{ when: { variable: '{{ flaky.exitCode }}', greater: 0 }, nextStep: never }]\n    default: bad\n";
    let steps = [
        third.to_string(),
        choice.to_string(),
        step("never", 0, ""),
        step(
            "bad",
            1,
            "  onFailure: step:mend\n  nextStep: mend\n  isCritical: false\n",
        ),
        step("not-come-to", 0, "  nextStep: mend\n"),
        step("mend", 0, "  nextStep: ignored\n"),
        step("ignored", 4, "  onFailure: Continue\n"),
        step("last", 0, "  isEnd: true\n"),
    ];
    let bench = Bench::new(&steps.concat());
    let error = bench.begin(&[]).expect_err("one step can't be come to");
    assert!(
        error.contains("not-come-to") && error.contains("no step leads"),
        "{error}"
    );
    let mut steps = steps.to_vec();
    steps.remove(4);
    let bench = Bench::new(&steps.concat());
    let (_, ended) = bench.run(&[]).await;
    assert_eq!(ended.outcome, Outcome::Success, "{:?}", ended.progress);
    let wanted = ["flaky", "flaky", "flaky", "bad", "mend", "ignored", "last"];
    assert_eq!(bench.log(), wanted);
    let failed: Vec<&String> = ended.progress.failures.keys().collect();
    assert_eq!(failed, ["bad", "ignored"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_critical_step_fails_the_run_wherever_it_goes_on() {
    let steps = [
        step("one", 0, &undo("one")),
        step("bad", 1, "  onFailure: step:mend\n"),
        step("mend", 0, ""),
    ];
    let bench = Bench::new(&steps.concat());
    let (_, ended) = bench.run(&[]).await;
    assert_eq!(ended.outcome, Outcome::Failed);
    assert_eq!(bench.log(), ["one", "bad", "mend", "undo-one"]);
    // And the other way round.
    let bench = Bench::new(&step(
        "bad",
        1,
        "  onFailure: Continue\n  isCritical: true\n",
    ));
    assert_eq!(bench.run(&[]).await.1.outcome, Outcome::Failed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_does_not_go_round_for_ever() {
    let steps = "- name: a\n  action: sleep\n  inputs: { seconds: 0 }\n  nextStep: a\n";
    let (_, ended) = Bench::new(steps).run(&[]).await;
    assert_eq!(ended.outcome, Outcome::Failed);
    assert!(ended.progress.failures["a"].contains("in circles"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_takes_too_long_is_stopped_with_what_it_started() {
    let steps = "- name: slow\n  action: script\n  timeoutSeconds: 1\n  inputs: { script: 'sleep 60 & echo $! > LOG; wait' }\n";
    let bench = Bench::new(steps);
    let (_, ended) = bench.run(&[]).await;
    assert!(
        ended.progress.failures["slow"].contains("longer than 1"),
        "{:?}",
        ended.progress
    );
    let stat = format!("/proc/{}/stat", bench.log()[0]);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z ")) {
        assert!(std::time::Instant::now() < deadline, "it is still there");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_cut_off_goes_on() {
    let steps = [
        step("one", 0, &undo("one")),
        "- name: two\n  action: script\n  inputs: { script: 'echo two >> LOG; test -e LOG.go || exec sleep 60' }\n".to_string(),
        step("three", 0, ""),
    ];
    let bench = Bench::new(&steps.concat());
    let id = bench.begin(&[]).expect("it begins");
    let (work, told) = bench.beside(&id);
    told.begun("two").await;
    while bench.log().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert!(bench.look(&id).is_at_work);
    assert!(bench.go_on(&id).await.is_err(), "somebody is at work");
    work.abort();
    let _ = work.await;
    let seen = bench.look(&id);
    assert!(!seen.is_at_work);
    assert_eq!(seen.progress.open.expect("it is at two").step, "two");
    std::fs::write(bench.folder().join("log.go"), "").expect("written");
    let ended = bench.go_on(&id).await.expect("it ends");
    assert_eq!(ended.outcome, Outcome::Success);
    assert_eq!(bench.log(), ["one", "two", "two", "three"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_done_again_is_not() {
    let steps = [
        step("one", 0, &undo("one")),
        "- name: once\n  action: script\n  isRepeatable: false\n  maxAttempts: 5\n  inputs: { script: 'echo once >> LOG; exec sleep 60' }\n".to_string(),
    ];
    let bench = Bench::new(&steps.concat());
    let id = bench.begin(&[]).expect("it begins");
    let (work, _) = bench.beside(&id);
    while bench.log().len() < 2 {
        tokio::task::yield_now().await;
    }
    work.abort();
    let _ = work.await;
    let ended = bench.go_on(&id).await.expect("it ends");
    assert_eq!(ended.outcome, Outcome::Failed);
    assert_eq!(bench.log(), ["one", "once", "undo-one"]);
    assert!(ended.progress.failures["once"].contains("cut off"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_ended_well_can_be_undone() {
    let steps = [step("one", 0, &undo("one")), step("two", 0, &undo("two"))];
    let bench = Bench::new(&steps.concat());
    let (id, ended) = bench.run(&[]).await;
    assert_eq!(ended.outcome, Outcome::Success);
    let back = run::undo(&bench.root(), &id, &by("somebody"), &mut |_| {}).await;
    assert_eq!(back.expect("it ends").outcome, Outcome::TakenBack);
    assert_eq!(bench.log(), ["one", "two", "undo-two", "undo-one"]);
    let again = run::undo(&bench.root(), &id, &by("somebody"), &mut |_| {}).await;
    assert!(again.is_err(), "it is undone");
}

/// Answers the first requests with one text and all after them with another.
fn server(first: usize, before: &'static str, after: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for (at, stream) in listener.incoming().enumerate() {
            let mut stream = stream.expect("a connection");
            let mut asked = vec![0; 4096];
            let count = stream.read(&mut asked).unwrap_or(0);
            let said = String::from_utf8_lossy(&asked[..count]).to_lowercase();
            let body = if at < first { before } else { after };
            let status = if said.contains("x-key: open") {
                "200 OK"
            } else {
                "403 Forbidden"
            };
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\ncontent-length: {length}\r\n\r\n{body}"
            );
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_are_asked_waited_for_and_looked_at() {
    let at = server(
        3,
        r#"{"state":"starting"}"#,
        r#"{"state":"ready","load":[0.5]}"#,
    );
    let steps = format!(
        r#"
- name: wait
  action: waitFor
  timeoutSeconds: 60
  inputs:
    probe: {{ http: {{ url: "http://{at}/state", headers: {{ X-Key: open }} }} }}
    until: {{ variable: "{{{{ probe.json.load.0 }}}}", less: 1 }}
    everySeconds: 0.05
- name: sure
  action: assert
  inputs:
    probe: {{ http: {{ url: "http://{at}/state", headers: {{ x-key: "{{{{ wait.status }}}}" }}, status: [403] }} }}
    that: {{ variable: "{{{{ probe.json.state }}}}", equals: "{{{{ wait.json.state }}}}" }}
- name: refused
  action: http
  inputs: {{ url: "http://{at}/", method: POST, body: {{ a: 1 }} }}
"#
    );
    let (id, ended) = Bench::new(&steps).run(&[]).await;
    assert_eq!(ended.outcome, Outcome::Failed, "{id}");
    assert_eq!(ended.progress.results["wait"]["json"]["load"], json!([0.5]));
    assert!(
        ended.progress.results.contains_key("sure"),
        "{:?}",
        ended.progress
    );
    let refused = &ended.progress.failures["refused"];
    assert!(
        refused.contains("status 403") && refused.contains("ready"),
        "{refused}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_become_true_in_time_is_told_with_what_was_seen() {
    let at = server(0, "", r#"{"state":"starting"}"#);
    let steps = format!(
        r#"
- name: wait
  action: waitFor
  timeoutSeconds: 1
  inputs:
    probe: {{ http: {{ url: "http://{at}/", headers: {{ x-key: open }} }} }}
    until: {{ variable: "{{{{ probe.json.state }}}}", equals: ready }}
    everySeconds: 0.1
"#
    );
    let (_, ended) = Bench::new(&steps).run(&[]).await;
    let why = &ended.progress.failures["wait"];
    assert!(
        why.contains("not within 1 s") && why.contains("starting"),
        "{why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_with_tls_is_asked_and_one_that_nobody_vouches_for_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = crate::support::https(folder.path());
    let port = server.1;
    let steps = |ca: &str| {
        format!(
            "- name: call\n  action: http\n  inputs: {{ url: 'https://localhost:{port}/', caFile: {ca} }}\n"
        )
    };
    let good = folder.path().join("ca.pem").display().to_string();
    let (_, ended) = Bench::new(&steps(&good)).run(&[]).await;
    assert_eq!(ended.outcome, Outcome::Success, "{:?}", ended.progress);
    assert_eq!(ended.progress.results["call"]["body"], json!("over TLS"));
    let other = folder.path().join("other.pem").display().to_string();
    let (_, ended) = Bench::new(&steps(&other)).run(&[]).await;
    let why = &ended.progress.failures["call"];
    assert!(why.contains("certificate"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sleep_goes_on_where_it_was_cut_off() {
    let bench = Bench::new("- name: rest\n  action: sleep\n  inputs: { seconds: 2 }\n");
    let id = bench.begin(&[]).expect("it begins");
    let (work, told) = bench.beside(&id);
    told.begun("rest").await;
    work.abort();
    let _ = work.await;
    let begun = bench.look(&id).progress.open.expect("it sleeps").at_ms;
    bench.go_on(&id).await.expect("it ends");
    let lines = bench.look(&id).lines;
    let done = lines
        .iter()
        .find(|line| matches!(line.entry, Entry::Done { .. }));
    let slept = done.expect("done").at_ms - begun;
    assert!((2_000..12_000).contains(&slept), "{slept}");
    let begins = lines
        .iter()
        .filter(|line| matches!(line.entry, Entry::Begun { .. }));
    assert_eq!(begins.count(), 1, "it was not begun anew");
}
