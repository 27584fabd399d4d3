//! The program as front and as controller: real processes, killed at bad moments, while clients of a
//! service in another language go on.

mod greeter;

use std::process::{Command, Stdio};
use std::sync::Arc;

use greeter::{Example, Load, PROGRAM, until};

#[test]
fn the_example_is_rolled_out_and_back_whoever_is_killed() {
    let example = Arc::new(Example::new());
    let mut edge = example.edge(&[]);
    let shown = example.done(&["plan", "v1.toml"]);
    assert!(
        shown.contains("start 2 processes") && shown.contains("Nothing has changed"),
        "{shown}"
    );
    example.done(&["apply", "v1.toml"]);
    example.only("1");
    let load = Load::start(&example);

    // The controller is killed while two versions share the traffic.
    let mut controller = example
        .command(&["rollout", "apply", "v2.toml", "--why", "the next one"])
        .stdout(Stdio::null())
        .spawn()
        .expect("start");
    until("both versions answer", || example.versions().len() == 2);
    controller.kill().expect("kill");
    controller.wait().expect("it is gone");
    let status = example.done(&["status", "greeter", "--edge", "edge.sock"]);
    assert!(status.contains("was CUT OFF"), "{status}");
    let (_, refused) = example.rollout(&["apply", "v2.toml"]);
    assert!(refused.contains("both groups have a weight"), "{refused}");
    let resumed = example.done(&["resume", "greeter"]);
    assert!(resumed.contains("the new version serves"), "{resumed}");
    example.only("2");

    // What a client would do is done on, by the clock.
    let public = example.public.to_string();
    let journey = ["journey", "greeter", "--at", &public];
    let walks = example.done(&[&journey[..], &["--every-ms", "100", "--times", "3"]].concat());
    assert_eq!(walks.matches("version 2  well").count(), 3, "{walks}");
    let nowhere = ["journey", "greeter", "--at", "127.0.0.1:1"];
    let (success, said) = example.rollout(&nowhere);
    assert!(
        !success && said.contains("1 of 1 journeys failed"),
        "{said}"
    );

    // One that is broken never meets a client.
    let (success, said) = example.rollout(&["apply", "v3-broken.toml"]);
    assert!(
        !success && said.contains("status 500, expected 200"),
        "{said}"
    );
    example.only("2");
    load.end_without_failure();

    // The edge is killed and goes on with what it was told.
    edge.kill().expect("kill");
    edge.wait().expect("it is gone");
    let mut edge = example.edge(&[]);
    example.only("2");
    example.done(&["apply", "v1.toml"]);
    let back = example.done(&["rollback", "greeter", "--why", "that was too early"]);
    assert!(back.contains("the version before serves again"), "{back}");
    example.only("2");
    let history = example.done(&["history", "greeter", "--steps"]);
    for part in [
        "the next one",
        "that was too early",
        "was rolled back",
        "came back to the old version",
    ] {
        assert!(history.contains(part), "{part}: {history}");
    }
    edge.kill().expect("kill");
    edge.wait().expect("it is gone");
}

#[test]
fn an_edge_replaces_itself_under_load() {
    let example = Arc::new(Example::new());
    let mut edge = example.edge(&[]);
    example.done(&["apply", "v1.toml"]);
    let load = Load::start(&example);
    for _ in 0..3 {
        let before = load.served();
        until("clients are served", || load.served() > before + 30);
        let next = example.edge(&["--take-over"]);
        let ended = edge.wait().expect("the old one ends by itself");
        assert!(ended.success(), "{ended}");
        edge = next;
    }
    let before = load.served();
    until("clients are served", || load.served() > before + 30);
    load.end_without_failure();
    // The operators' socket is the last one's.
    let status = example.done(&["status", "greeter", "--edge", "edge.sock"]);
    assert!(
        status.contains("blue        100") || status.contains("blue"),
        "{status}"
    );
    edge.kill().expect("kill");
    edge.wait().expect("it is gone");
}

#[test]
fn a_bad_file_is_refused_with_its_place() {
    let example = Example::new();
    let text = std::fs::read_to_string(example.path("v2.toml")).expect("read");
    for (from, to, found) in [
        (
            "percent = [10, 50]",
            "percent = [50, 10]",
            "strategy.percent: 10 after 50",
        ),
        ("bake_ms = 2000", "bake = 2000", "unknown field `bake`"),
        (
            "edge = \"edge.sock\"",
            "edge = \"nobody.sock\"",
            "ask the edge",
        ),
    ] {
        std::fs::write(example.path("bad.toml"), text.replace(from, to)).expect("written");
        let (success, said) = example.rollout(&["plan", "bad.toml"]);
        assert!(!success && said.contains(found), "{said}");
    }
}

/// In a mount namespace of its own: the controller's disk has 256 KiB, which a hook fills up in the middle of
/// many small steps; then there is room again and the rollout is taken back.
const FULL: &str = r#"
program=$1
mount -t tmpfs -o size=256k tmpfs rollouts || exit 77
"$program" rollout apply v1.toml --root rollouts >&2 || exit 78
"$program" rollout apply full.toml --root rollouts
echo "ended with $?"
"$program" rollout status greeter --root rollouts --edge edge.sock
rm rollouts/ballast
"$program" rollout rollback greeter --root rollouts || exit 79
"$program" rollout history greeter --root rollouts
"#;

#[test]
fn when_the_controllers_disk_is_full_the_old_version_serves() {
    let mounts = [
        "--mount",
        "--map-root-user",
        "mount",
        "-t",
        "tmpfs",
        "tmpfs",
        "/mnt",
    ];
    let tried = Command::new("unshare")
        .args(mounts)
        .stderr(Stdio::null())
        .status();
    if !tried.is_ok_and(|status| status.success()) {
        println!("left out: a full disk under a rollout (this user may not mount a tmpfs)");
        return;
    }
    let example = Arc::new(Example::new());
    let mut edge = example.edge(&[]);
    std::fs::create_dir(example.path("rollouts")).expect("a folder");
    let text = std::fs::read_to_string(example.path("v2.toml")).expect("read");
    let shares: Vec<String> = (1..100).map(|percent| percent.to_string()).collect();
    let text = text
        .replace(
            "percent = [10, 50]",
            &format!("percent = [{}]", shares.join(", ")),
        )
        .replace("bake_ms = 2000", "bake_ms = 10");
    let fill = "[[hook]]\nname = \"fill\"\nphase = \"after_share\"\n\
                command = [\"sh\", \"-c\", \"dd if=/dev/zero of=rollouts/ballast 2>/dev/null; true\"]\n";
    std::fs::write(example.path("full.toml"), format!("{text}\n{fill}")).expect("written");

    let mut controller = example.command(&[]);
    controller = {
        let mut command = Command::new("unshare");
        command
            .args([
                "--mount",
                "--map-root-user",
                "sh",
                "-c",
                FULL,
                "sh",
                PROGRAM,
            ])
            .current_dir(controller.get_current_dir().expect("a folder"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    };
    let running = controller.spawn().expect("start");
    until("the first version serves", || {
        example.ask().as_deref() == Some("1")
    });
    let load = Load::start(&example);
    let output = running.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {said}{errors}", output.status);
    until("clients go on", || load.served() > 60);
    load.end_without_failure();
    assert!(said.contains("ended with 1"), "{said}");
    assert!(errors.contains("No space left on device"), "{errors}");
    assert!(errors.contains("all new requests go to blue"), "{errors}");
    assert!(said.contains("was CUT OFF"), "{said}");
    assert!(said.contains("blue        100"), "{said}");
    assert!(said.contains("came back to the old version"), "{said}");
    example.only("1");
    edge.kill().expect("kill");
    edge.wait().expect("it is gone");
}

#[test]
fn a_game_day_ends_where_it_began() {
    let example = Arc::new(Example::new());
    let mut edge = example.edge(&[]);
    example.done(&["apply", "v1.toml"]);
    let text = std::fs::read_to_string(example.path("v2.toml")).expect("read");
    // What is thrown in may cost the probes something; the outcome is looked at here.
    let text = text
        .replace("bake_ms = 2000", "bake_ms = 1500")
        .replace("failed = 0", "failed = 50");
    std::fs::write(example.path("game.toml"), text).expect("written");
    let (success, day) = example.rollout(&["game-day", "game.toml"]);
    assert!(success, "{day}");
    assert_eq!(day.matches("  the old version serves").count(), 3, "{day}");
    assert!(day.contains("instance 0 has ended"), "{day}");
    assert!(day.contains("is not ready any more"), "{day}");
    example.only("1");
    let history = example.done(&["history", "greeter"]);
    assert_eq!(
        history.matches("game day").count(),
        4,
        "three, and one taken up: {history}"
    );
    let (success, refused) = example.rollout(&["game-day", "v1.toml"]);
    assert!(
        !success && refused.contains("a game day needs a share"),
        "{refused}"
    );
    // It is free for the next one.
    example.done(&["apply", "v2.toml"]);
    example.only("2");
    edge.kill().expect("kill");
    edge.wait().expect("it is gone");
}
