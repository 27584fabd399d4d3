//! The example's runbook with the program itself: killed in the middle, approved, refused, interrupted,
//! undone, while clients of the service go on.

mod greeter;

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use greeter::{Example, Load, PROGRAM, until};
use rustix::process::{Pid, Signal, kill_process};

struct Desk {
    example: Arc<Example>,
}

impl Desk {
    fn command(&self, arguments: &[&str]) -> Command {
        let programs = Path::new(PROGRAM)
            .parent()
            .expect("a folder")
            .display()
            .to_string();
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = self.example.command(&[&["runbook"], arguments].concat());
        command.env("PATH", format!("{programs}:{path}"));
        command
    }

    fn say(&self, arguments: &[&str]) -> (bool, String) {
        let output = self.command(arguments).output().expect("run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (
            output.status.success(),
            text + &String::from_utf8_lossy(&output.stderr),
        )
    }

    fn done(&self, arguments: &[&str]) -> String {
        let (success, text) = self.say(arguments);
        assert!(success, "{text}");
        text
    }

    /// Begins a run beside the test: its process, and its name.
    fn begin(&self, more: &[&str]) -> (Child, String) {
        let before = self.runs();
        let front = format!("front=http://{}", self.example.public);
        let arguments = [&["run", "release.yaml", "-p", &front], more].concat();
        let child = self
            .command(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.expect("start");
        let mut found = String::new();
        until("the run is begun", || {
            let new = self.runs().into_iter().find(|run| !before.contains(run));
            found = new.unwrap_or_default();
            !found.is_empty()
        });
        (child, found)
    }

    fn runs(&self) -> Vec<String> {
        let all = self.done(&["status"]);
        let lines = all.lines().filter(|line| line.contains("-release"));
        lines
            .filter_map(|line| line.split(' ').next().map(str::to_string))
            .collect()
    }

    fn waits(&self, run: &str) {
        until("it waits for an approval", || {
            self.done(&["status", run])
                .contains("waits for an approval")
        });
    }
}

fn tell(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .expect("a process");
    kill_process(pid, signal).expect("it is there");
}

#[test]
fn the_example_ends_with_one_version_whatever_becomes_of_the_run() {
    let desk = Desk {
        example: Arc::new(Example::new()),
    };
    let example = &desk.example;
    let checked = desk.done(&["check", "release.yaml"]);
    assert!(checked.contains("stays"), "{checked}");
    let mut edge = example.edge(&[]);
    example.done(&["apply", "v1.toml"]);
    let load = Load::start(example);

    // Killed while the rollout that it started has two versions in service.
    let (mut child, run) = desk.begin(&["--why", "the next one"]);
    until("both versions answer", || example.versions().len() == 2);
    child.kill().expect("kill");
    child.wait().expect("it is gone");
    let status = desk.done(&["status", &run]);
    assert!(status.contains("was CUT OFF"), "{status}");
    let mut child = desk
        .command(&["resume", &run])
        .stdout(Stdio::null())
        .spawn()
        .expect("start");
    desk.waits(&run);
    let status = desk.done(&["status", &run]);
    assert!(
        status.contains("Version 2 serves in place of 1. Does it stay?"),
        "{status}"
    );
    let (success, said) = desk.say(&["approve", &run, "--step", "release"]);
    assert!(!success && said.contains("waits at \"stays\""), "{said}");
    desk.done(&["approve", &run, "--why", "it is well"]);
    assert!(child.wait().expect("it ends").success());
    example.only("2");

    // It had ended well, and is undone all the same.
    let back = desk.done(&["undo", &run, "--why", "on second thoughts"]);
    assert!(back.contains("undone: release"), "{back}");
    example.only("1");

    // Somebody says no.
    let (mut child, refused) = desk.begin(&[]);
    desk.waits(&refused);
    example.only("2");
    desk.done(&["reject", &refused, "--why", "not yet"]);
    assert!(!child.wait().expect("it ends").success());
    example.only("1");

    // Somebody presses Ctrl-C.
    let (mut child, interrupted) = desk.begin(&[]);
    desk.waits(&interrupted);
    tell(&child, Signal::INT);
    assert!(!child.wait().expect("it ends").success());
    example.only("1");

    // The version is broken: nothing is to be undone, and the runbook sees that.
    let (mut child, broken) = desk.begin(&["-p", "file=v3-broken.toml"]);
    assert!(!child.wait().expect("it ends").success());
    example.only("1");
    load.end_without_failure();

    for (run, parts) in [
        (
            &run,
            &[
                "the next one",
                "release, attempt 1",
                "approved by",
                "it is well",
                "on second thoughts",
            ][..],
        ),
        (&refused, &["said no: \"not yet\"", "undo release"]),
        (
            &interrupted,
            &["cancelled by", "interrupted", "undo release"],
        ),
        (
            &broken,
            &["the old version serves, as before", "undo release"],
        ),
    ] {
        let history = desk.done(&["history", run]);
        for part in parts {
            assert!(history.contains(part), "{part}: {history}");
        }
    }
    let (success, said) = desk.say(&["resume", &broken]);
    assert!(!success && said.contains("has ended"), "{said}");
    edge.kill().expect("kill");
    edge.wait().expect("it is gone");
}

#[test]
fn what_is_wrong_is_said_in_a_line() {
    let desk = Desk {
        example: Arc::new(Example::new()),
    };
    let say = |arguments: &[&str]| {
        let (success, said) = desk.say(arguments);
        assert!(!success, "{said}");
        said
    };
    let folder = desk.example.path("book.yaml");
    let write = |text: &str| std::fs::write(&folder, text).expect("written");
    write("schemaVersion: everopen-1\nmainSteps:\n- name: a\n  action: sleep\n");
    let said = say(&["check", "book.yaml"]);
    assert!(
        said.contains("book.yaml:3: step \"a\": inputs.seconds"),
        "{said}"
    );
    for arguments in [
        &["status", "../x"][..],
        &["resume", "x"],
        &["approve", "x"],
        &["history", ".."],
    ] {
        assert!(say(arguments).contains("there is no run"), "{arguments:?}");
    }
    let said = say(&["run", "release.yaml", "-p", "front=ftp://x"]);
    assert!(said.contains("does not match"), "{said}");
    let said = say(&["run", "release.yaml", "-p", "nobody=1"]);
    assert!(said.contains("the document has file, front"), "{said}");
    write("schemaVersion: '0.3'\nmainSteps:\n- { name: a, action: 'aws:runCommand' }\n");
    let said = say(&["import", "book.yaml", "-o", "new.yaml"]);
    assert!(
        said.contains("NOT TRANSLATED: step a: aws:runCommand"),
        "{said}"
    );
    let said = say(&["run", "new.yaml"]);
    assert!(said.contains("step \"a\" is not translated yet"), "{said}");
}
