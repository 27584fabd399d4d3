//! Rollouts of the gateway whose controller was killed, and who takes them back.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::support::Venue;
use super::support::operator::until;
use super::{gateway, next_version, rollout, settings};

/// The gateways of a venue that run, whoever keeps them.
fn gateways(dir: &Path) -> Vec<u32> {
    let dir = dir.to_str().expect("UTF-8");
    let all = fs::read_dir("/proc").expect("the system's processes");
    let pids = all.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &u32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let mut words = line.split('\0').skip(1);
        words.next() == Some("gateway") && words.any(|word| word.starts_with(dir))
    })
    .collect()
}

/// The gateway's rollout that is under way, and the steps of it that are done.
fn under_way(dir: &Path) -> Option<(String, usize)> {
    let folder = dir.join("rollouts/gateway");
    let state = fs::read_to_string(folder.join("state.json")).expect("the gateway's state");
    let state: Value = serde_json::from_str(&state).expect("JSON");
    let id = state["under_way"].as_str()?.to_string();
    let journal = fs::read_to_string(folder.join(&id).join("journal.jsonl")).unwrap_or_default();
    Some((id, journal.matches(r#""what":"done""#).count()))
}

#[test]
fn a_replacement_that_was_cut_off_is_taken_back_and_done_again() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("data");
    let start = |rate: u32| {
        let more = ["--replicas", "1", "--public-rate", &rate.to_string()];
        Venue::start_untied(&dir, &more).expect("start")
    };
    let venue = start(1_001);
    let first = gateway(&venue, "gateway").expect("a gateway");
    venue.kill_supervisor().expect("kill");
    // The supervisor is killed when its new gateway was started and is not in service. Once may be too late.
    let (cut, rate) = (1_002..1_012)
        .find_map(|rate| {
            let venue = start(rate);
            until("the new gateway is started", || {
                let new = gateway(&venue, "gateway").filter(|pid| *pid != first);
                let begun = under_way(&dir).is_some_and(|(_, done)| done > 0);
                (begun || new.is_some()).then_some(())
            });
            venue.kill_supervisor().expect("kill");
            under_way(&dir).map(|(id, _)| (id, rate))
        })
        .expect("one of them is cut off");
    let orphans = gateways(&dir);
    assert!(orphans.len() > 1, "the new gateway was left: {orphans:?}");

    let venue = start(rate + 1);
    until("the gateway of these settings is in service", || {
        let pid = gateway(&venue, "gateway")?;
        let is_new = settings(pid).contains(&format!("public_rate = {}", rate + 1));
        (is_new && under_way(&dir).is_none()).then_some(())
    });
    let journal = dir.join("rollouts/gateway").join(cut).join("journal.jsonl");
    let journal = fs::read_to_string(journal).expect("its journal");
    assert!(journal.contains(r#""outcome":"old""#), "{journal}");
    // The one that serves and the one to go back to: nothing of what was cut off runs.
    let kept = [gateway(&venue, "gateway"), gateway(&venue, "standby")];
    let mut kept: Vec<u32> = kept.into_iter().flatten().collect();
    kept.sort_unstable();
    let mut running = gateways(&dir);
    running.sort_unstable();
    assert_eq!(running, kept);
    assert!(venue.stop().expect("stop"));
}

#[test]
fn a_rollout_that_an_operator_paused_is_left_to_the_operator() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("data");
    let venue = Venue::start_untied(&dir, &["--replicas", "1"]).expect("start");
    let serving = gateway(&venue, "gateway").expect("a gateway");
    let next = next_version(&dir, folder.path());
    let root = dir.join("rollouts");
    let mut controller = Command::new(env!("CARGO_BIN_EXE_everopen"))
        .args(["rollout", "apply"])
        .arg(&next)
        .arg("--root")
        .arg(&root)
        .stdout(Stdio::null())
        .spawn()
        .expect("begin");
    until("it is under way", || under_way(&dir));
    rollout(&dir, &["pause", "gateway"]);
    controller.kill().expect("kill");
    controller.wait().expect("wait");
    let (cut, _) = under_way(&dir).expect("it was paused before its end");
    venue.kill_supervisor().expect("kill");

    let venue = Venue::start_untied(&dir, &["--replicas", "1"]).expect("start");
    let said = dir.join("stderr.txt");
    until("it says what stands in the way", || {
        let said = fs::read_to_string(&said).expect("what it said");
        said.contains("everopen rollout resume gateway")
            .then_some(())
    });
    assert_eq!(under_way(&dir).expect("as it was").0, cut);
    assert_eq!(gateway(&venue, "gateway"), Some(serving));
    assert!(venue.stop().expect("stop"));
}
