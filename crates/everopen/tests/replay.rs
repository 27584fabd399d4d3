//! `everopen replay` as a user runs it: samples, real files, damaged files.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn replay(file: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_everopen"))
        .arg("replay")
        .arg(file)
        .args(more)
        .output()
        .expect("run everopen")
}

fn summary(file: &Path) -> Value {
    let output = replay(file, &["--json"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", file.display());
    serde_json::from_slice(&output.stdout).expect("a summary")
}

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../samples")
        .join(name)
}

/// The folder with the real files, if this machine has it beside or above the repository.
fn real(name: &str) -> Option<PathBuf> {
    let given = std::env::var_os("EVEROPEN_SHARED").map(PathBuf::from);
    let above = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|dir| dir.join("shared"));
    let found = given
        .into_iter()
        .chain(above)
        .find(|dir| dir.join("data/market").is_dir());
    if found.is_none() {
        println!("left out: replay of the real {name} (no shared/data/market near the repository)");
    }
    found.map(|dir| dir.join("data/market").join(name))
}

fn count(summary: &Value, name: &str) -> u64 {
    summary[name]
        .as_u64()
        .unwrap_or_else(|| panic!("no {name} in {summary}"))
}

#[test]
fn samples_replay_to_the_same_hashes_every_time() {
    for name in [
        "synthetic.itch.gz",
        "synthetic-lobster.csv",
        "synthetic-bitstamp.csv",
    ] {
        let (first, second) = (summary(&sample(name)), summary(&sample(name)));
        assert_eq!(first["state_hash"], second["state_hash"], "{name}");
        assert_eq!(first["events_hash"], second["events_hash"], "{name}");
        assert!(count(&first, "orders_placed") > 100, "{first}");
        assert!(count(&first, "trades") > 0, "{first}");
        assert_eq!(count(&first, "unknown_references"), 0, "{first}");
        assert!(count(&first, "books_touched") > 0, "{first}");
    }
}

#[test]
fn the_summary_for_people_names_rate_and_books() {
    let output = replay(&sample("synthetic.itch.gz"), &[]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    for expected in [
        "messages/s",
        "trades",
        "volume",
        "unknown orders",
        "state hash",
        "bid",
        "ask",
    ] {
        assert!(text.contains(expected), "no {expected:?} in:\n{text}");
    }
}

#[test]
fn damaged_and_truncated_files_name_the_offset_and_give_no_result() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = std::fs::read(sample("synthetic.itch.gz")).expect("read");
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    let csv = std::fs::read(sample("synthetic-lobster.csv")).expect("read");
    let lines = csv.split_inclusive(|b| *b == b'\n').count();
    let mut not_a_number = csv.clone();
    not_a_number.extend_from_slice(b"\n34200.5,1,77,abc,100,1\n");
    let cases: [(&str, Vec<u8>); 5] = [
        ("cut.itch.gz", whole[..whole.len() * 2 / 3].to_vec()),
        ("flipped.itch.gz", flipped),
        ("empty.csv", Vec::new()),
        (
            "noise.bin",
            (0..4096u32).map(|n| (n * 7 % 251) as u8).collect(),
        ),
        ("number.csv", not_a_number),
    ];
    for (name, bytes) in cases {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).expect("write");
        let output = replay(&file, &["--json"]);
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{name} was taken for whole");
        assert!(output.stdout.is_empty(), "{name} gave a result");
        assert!(errors.contains(name), "{name} is not named: {errors}");
        assert!(errors.contains("offset"), "{name}: no offset: {errors}");
    }
    assert!(lines > 100, "the sample has lines");
}

#[test]
fn a_missing_file_is_a_clear_error() {
    let output = replay(Path::new("no-such-file.itch"), &[]);
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("no-such-file.itch"));
}

#[test]
fn real_itch_replays_with_its_known_counts() {
    let Some(file) = real("smoke.itch.gz") else {
        return;
    };
    let summary = summary(&file);
    assert_eq!(count(&summary, "messages"), 291_913);
    assert_eq!(count(&summary["messages_by_type"], "A"), 18_173);
    assert_eq!(count(&summary["messages_by_type"], "F"), 18_096);
    // 13,138 if the new number of a replaced unknown order is unknown, too.
    assert_eq!(count(&summary, "unknown_references"), 13_138);
    assert!(count(&summary, "trades") > 0);
}

#[test]
fn real_lobster_and_bitstamp_replay() {
    if let Some(file) = real("AAPL_2012-06-21_34200000_57600000_message_10.csv") {
        let summary = summary(&file);
        assert_eq!(count(&summary, "messages"), 999);
        assert_eq!(count(&summary, "unknown_references"), 9);
        assert_eq!(summary["books"][0]["symbol"], "AAPL");
    }
    if let Some(file) = real("bitstamp-btcusd-2015-05-01-orders.csv.xz") {
        let summary = summary(&file);
        assert_eq!(count(&summary, "messages"), 50_414);
        assert!(count(&summary, "unknown_references") >= 186, "{summary}");
        assert!(count(&summary, "orders_placed") > 24_000, "{summary}");
    }
}
