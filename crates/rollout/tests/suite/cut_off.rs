//! Controllers that are killed, and one that waits.

use std::path::{Path, PathBuf};

use everopen_rollout::execute::{self, By};
use everopen_rollout::file::File;
use everopen_rollout::journal::{self, Entry, Outcome};
use everopen_rollout::plan::{Plan, plan};
use everopen_rollout::state::Folder;

use super::support::{Load, Place, SERVICE, is_cut_off_after, site};

fn last_journal(root: &Path) -> PathBuf {
    let rollouts = Folder::rollouts(root, SERVICE).expect("rollouts");
    rollouts.last().expect("one").join("journal.jsonl")
}

/// Cuts the controller off at each line of the journal, and goes on or takes back.
fn every_cut_ends_well(back: bool, forgets_last_line: bool) {
    let place = Place::new();
    place.bring("1");
    let load = Load::start(place.public);
    let mut serving = "1".to_string();
    for lines in 1.. {
        let version = format!("c{lines}");
        let file = place.file(&version, "", "[strategy]\npercent = [50]\nbake_ms = 50\n");
        if !is_cut_off_after(&place, &file, lines) {
            serving = version;
            break;
        }
        if forgets_last_line {
            // What it was about to say of a step that was done is not there.
            let path = last_journal(&place.root());
            let text = std::fs::read(&path).expect("a journal");
            std::fs::write(&path, &text[..text.len() - 3]).expect("cut");
        }
        let refused = place
            .try_apply(a_plan(&file))
            .expect_err("one is under way");
        let refused = refused.to_string();
        assert!(refused.contains("was cut off"), "{refused}");
        let ended = place
            .resume(back)
            .unwrap_or_else(|fault| panic!("{lines}: {fault:?}"));
        match ended.outcome {
            Outcome::New => serving.clone_from(&version),
            Outcome::Old => assert_eq!(place.running(Some(&version)), 0, "{lines}"),
            Outcome::Back => panic!("{lines}: {ended:?}"),
        }
        let is_said = lines > 1 || !forgets_last_line;
        assert!(
            !is_said || back || ended.outcome == Outcome::New,
            "{lines}: {ended:?}"
        );
        place.only(&serving);
        assert!(place.resume(back).is_err(), "nothing is under way any more");
    }
    place.only(&serving);
    let (served, failed) = load.end();
    assert_eq!(failed, 0, "of {served}");
}

/// A plan as somebody would make it while another rollout is cut off, whatever the weights are.
fn a_plan(file: &File) -> Plan {
    let inventory = everopen_rollout::plan::Inventory {
        serving: Some(("blue".into(), None)),
        other: ("green".into(), None),
    };
    plan(file, &inventory, "never")
}

#[test]
fn a_controller_that_is_killed_at_any_step_goes_on() {
    every_cut_ends_well(false, false);
}

#[test]
fn a_controller_that_is_killed_at_any_step_takes_back_when_asked() {
    every_cut_ends_well(true, false);
}

#[test]
fn a_controller_that_is_killed_while_it_writes_goes_on() {
    every_cut_ends_well(false, true);
}

#[test]
fn a_first_version_that_is_taken_back_leaves_no_address_behind() {
    let place = Place::new();
    // It has all the traffic, and only the last word is missing.
    let file = place.file("1", "", "");
    let lines = place.plan(&file).steps.len() * 2 + 1;
    assert!(is_cut_off_after(&place, &file, lines));
    place.only("1");
    assert_eq!(
        place.resume(true).expect("taken back").outcome,
        Outcome::Old
    );
    let status = place.edge.as_ref().expect("an edge").table().status();
    let blue = &status[SERVICE].groups["blue"];
    assert_eq!((blue.weight, blue.targets.len()), (0, 0));
    assert_eq!(place.running(None), 0);
    place.bring("2");
}

#[test]
fn a_paused_rollout_waits_before_its_next_step() {
    let place = Place::new();
    let root = place.root();
    let plan = place.plan(&place.file("1", "", ""));
    let (tell, told) = std::sync::mpsc::channel();
    let (tell_refused, refused) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let (place, root) = (&place, &root);
        scope.spawn(move || {
            told.recv().expect("it is paused");
            assert_eq!(place.running(None), 0, "nothing was started yet");
            // The controller is there and goes on; nobody else may.
            let refused = place.resume(false).expect_err("it is at work").to_string();
            assert!(refused.contains("open the service's folder"), "{refused}");
            tell_refused.send(()).expect("somebody waits");
        });
        let mut pause = |line: &journal::Line| {
            // That it goes on is heard at once; it would be at its end before it is looked whether it is at work.
            if matches!(line.entry, Entry::Resumed { .. }) {
                refused.recv().expect("the other was refused");
            }
            if matches!(line.entry, Entry::Opened { .. }) {
                let by = By {
                    who: "ada".into(),
                    why: "lunch".into(),
                };
                execute::pause(root, SERVICE, &by).expect("paused");
                tell.send(()).expect("somebody waits");
            }
        };
        let by = By::default();
        let applied = place
            .runtime
            .block_on(async { execute::apply(&site(root, &by), plan, &mut pause).await });
        assert_eq!(applied.expect("applied").outcome, Outcome::New);
    });
    let paused = place.journal().into_iter().find_map(|entry| match entry {
        Entry::Paused { who, why } => Some((who, why)),
        _ => None,
    });
    assert_eq!(paused, Some(("ada".into(), "lunch".into())));
    let resumed = place
        .journal()
        .iter()
        .any(|entry| matches!(entry, Entry::Resumed { .. }));
    assert!(resumed);
    place.only("1");
}
