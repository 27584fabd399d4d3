//! Forth and back, and versions that are not well.

use std::time::{Duration, Instant};

use everopen_rollout::file::File;
use everopen_rollout::gameday::{self, Fault};
use everopen_rollout::journal::Outcome;

use crate::place::{Load, Place};

const CANARY: &str = "[strategy]\npercent = [20]\nbake_ms = 2500\n[alarms]\nrequests_min = 5\n";

#[test]
fn a_version_comes_and_goes_while_clients_go_on() {
    let place = Place::new();
    let ended = place.apply(&place.file("1", "")).expect("it ends");
    assert_eq!(ended.outcome, Outcome::New, "{ended:?}");
    place.only("1");
    let load = Load::start(place.public);
    let ended = place.apply(&place.file("2", CANARY)).expect("it ends");
    assert_eq!(ended.outcome, Outcome::New, "{ended:?}");
    place.only("2");
    // A patch leaves what else the deployment has.
    let serving = ["blue", "green"]
        .into_iter()
        .find(|group| place.pods(group) == ["2", "2"]);
    let serving = serving.expect("two pods of it");
    let deployment = place.cluster.deployment(&format!("greeter-{serving}"));
    let containers = &deployment["spec"]["template"]["spec"]["containers"];
    assert_eq!(
        (&containers[0]["image"], &containers[1]["image"]),
        (&"greeter:2".into(), &"beside:1".into())
    );

    place.roll_back().expect("it is kept");
    place.only("1");
    place.roll_back().expect("and back");
    place.only("2");
    let ended = place.apply(&place.file("3", CANARY)).expect("it ends");
    assert_eq!(ended.outcome, Outcome::New, "{ended:?}");
    load.end_without_failure();
    place.only("3");
    let mut all = [place.pods("blue"), place.pods("green")];
    all.sort();
    assert_eq!(
        all,
        [vec!["2"; 2], vec!["3"; 2]],
        "the one before is kept, and none else"
    );
}

#[test]
fn one_that_is_not_well_comes_back_and_leaves_no_pods() {
    let place = Place::new();
    place.apply(&place.file("1", "")).expect("it ends");
    let load = Load::start(place.public);
    for (version, more, why) in [
        ("absent", "", "ImagePullBackOff: no such image"),
        (
            "crash",
            CANARY,
            "greeter has ended 1 times, last with 7 Error",
        ),
    ] {
        let ended = place.apply(&place.file(version, more)).expect("it ends");
        assert_eq!(ended.outcome, Outcome::Old, "{ended:?}");
        let said = ended.reason.expect("a reason");
        assert!(said.contains(why), "{said}");
        place.only("1");
        let others = |group| place.pods(group).iter().any(|pod| pod != "1");
        // Told to run none; the cluster takes its time.
        let deadline = Instant::now() + Duration::from_secs(20);
        while others("blue") || others("green") {
            assert!(Instant::now() < deadline, "they are still there");
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
    load.end_without_failure();
}

#[test]
fn what_the_cluster_gives_up_is_not_waited_for() {
    let place = Place::new();
    place.apply(&place.file("1", "")).expect("it ends");
    let mut file = place.file("absent", "");
    file.start.ready_ms = 600_000;
    let cluster = std::sync::Arc::clone(&place.cluster);
    let giving_up =
        std::thread::spawn(move || {
            let name = |group: &str| format!("greeter-{group}");
            loop {
                for group in ["blue", "green"].map(name) {
                    if cluster.pods(&group).iter().any(|pod| {
                        pod["metadata"]["annotations"]["everopen.dev/version"] == "absent"
                    }) {
                        return cluster.give_up(&group);
                    }
                }
                std::thread::park_timeout(Duration::from_millis(10));
            }
        });
    let ended = place.apply(&file).expect("it ends");
    giving_up.join().expect("it gave up");
    assert!(
        ended
            .reason
            .expect("a reason")
            .contains("ProgressDeadlineExceeded")
    );
    place.only("1");
}

#[test]
fn a_controller_that_was_killed_is_gone_on_with_or_taken_back() {
    let place = Place::new();
    place.apply(&place.file("1", "")).expect("it ends");
    let load = Load::start(place.public);
    for text in ["start 2", "ready", "journey", "20 %", "watch", "100 %"] {
        place.cut_off_at(&place.file("2", CANARY), text);
        let ended = place.resume(true);
        assert_eq!(ended.outcome, Outcome::Old, "{text}");
        place.only("1");
        let left = ["blue", "green"].map(|group| place.pods(group));
        assert!(
            left.iter().flatten().all(|version| version == "1"),
            "{text}: {left:?}"
        );
    }
    place.cut_off_at(&place.file("2", CANARY), "watch");
    assert_eq!(place.resume(false).outcome, Outcome::New);
    place.only("2");
    load.end_without_failure();
}

#[test]
fn a_game_day_takes_a_pod_away() {
    let place = Place::new();
    place.apply(&place.file("1", "")).expect("it ends");
    let file = place.file("2", CANARY);
    assert_eq!(Fault::of(&file), [Fault::Kill, Fault::Controller]);
    let root = place.root();
    let seen = place.runtime.block_on(async {
        gameday::play(
            &root,
            Some(&place.clusters),
            &file,
            Fault::Kill,
            &mut |_| {},
        )
        .await
    });
    let seen = seen.expect("it ends");
    // The cluster makes another at once: either nobody was missed, or the old version serves.
    assert!(seen.thrown, "{seen:?}");
    place.only("1");
}

#[test]
fn what_is_missing_is_named() {
    let place = Place::new();
    let fails = |change: &dyn Fn(&mut File)| {
        let mut file = place.file("1", "");
        change(&mut file);
        place.apply(&file).expect_err("it is not begun").to_string()
    };
    type Change = Box<dyn Fn(&mut everopen_rollout::file::Kubernetes)>;
    let changes: [(Change, &str); 6] = [
        (
            Box::new(|k| k.container = "other".into()),
            "no container \"other\": it has greeter, beside",
        ),
        (
            Box::new(|k| k.service = "gone-{group}".into()),
            "get service gone-",
        ),
        (Box::new(|k| k.port = 1), "none of its ports leads to 1"),
        (
            Box::new(|k| k.context = Some("elsewhere".into())),
            "elsewhere",
        ),
        (
            Box::new(|k| k.deployment = "gone-{group}".into()),
            "there is no deployment gone-",
        ),
        (
            Box::new(|k| k.kubeconfig = Some("/no/such.yaml".into())),
            "/no/such.yaml",
        ),
    ];
    for (change, why) in changes {
        let said = fails(&|file| change(file.start.kubernetes.as_mut().expect("it has one")));
        assert!(said.contains(why), "{said}");
    }
    place.write_kubeconfig("another");
    let stranger = Place {
        clusters: everopen_kubernetes::Clusters::default(),
        ..place
    };
    let said = stranger.apply(&stranger.file("1", ""));
    let said = said.expect_err("it is not begun").to_string();
    assert!(said.contains("Unauthorized"), "{said}");
}

#[test]
fn a_file_that_makes_no_sense_is_refused() {
    let place = Place::new();
    place.file("1", "");
    let good = std::fs::read_to_string(place.path("rollout.toml")).expect("written");
    for (from, to, why) in [
        (
            "deployment = \"greeter-{group}\"",
            "deployment = \"greeter\"",
            "{group}",
        ),
        (
            "instances = 2",
            "instances = 2\ncommand = [\"x\"]",
            "start.kubernetes is there",
        ),
        (
            "instances = 2",
            "instances = 2\nenv = { A = \"b\" }",
            "start.env",
        ),
        (
            "drain_ms = 2000",
            "drain_ms = 2000\ndrain_signal = \"USR1\"",
            "preStop",
        ),
        ("container = \"greeter\"", "", "container"),
    ] {
        let path = place.path("other.toml");
        std::fs::write(&path, good.replace(from, to)).expect("written");
        let error = File::read(&path).expect_err("refused").to_string();
        assert!(error.contains(why), "{error}");
    }
}
