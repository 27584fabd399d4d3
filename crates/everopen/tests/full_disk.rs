//! A full disk, for real: a small file system of the test's own, mounted where only the venue and
//! the test see it. Commands are refused while it is full, reads go on, and when there is room
//! again the venue goes on without a restart.

mod support;

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use support::{Client, Venue};

/// Whether this machine lets the test mount a file system of its own.
fn can_mount() -> bool {
    let tried = Command::new("unshare")
        .args([
            "--mount",
            "--map-root-user",
            "mount",
            "-t",
            "tmpfs",
            "tmpfs",
            "/mnt",
        ])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

fn start(dir: &Path, errors: &Path, replicas: &str) -> Venue {
    let mut command = Command::new("unshare");
    let script = r#"dir="$1"; shift; mount -t tmpfs -o size=64m tmpfs "$dir" && exec "$@""#;
    command
        .args(["--mount", "--map-root-user", "sh", "-c", script, "sh"])
        .arg(dir);
    command.arg(env!("CARGO_BIN_EXE_everopen"));
    let inside = dir.to_path_buf();
    let seen_at = move |process| through(process, &inside);
    let segments = [
        "--replicas",
        replicas,
        "--tied",
        "--segment-mib",
        "2",
        "--keep-log",
    ];
    Venue::spawn(command, dir, &segments, errors, seen_at).expect("start")
}

/// A path as the process sees it.
fn through(process: u32, path: &Path) -> PathBuf {
    let inside = path.strip_prefix("/").expect("an absolute path");
    Path::new("/proc")
        .join(process.to_string())
        .join("root")
        .join(inside)
}

#[test]
fn a_full_disk_refuses_and_recovers_with_one_replica() {
    refuse_and_recover("1");
}

#[test]
fn a_full_disk_refuses_and_recovers_with_three_replicas() {
    refuse_and_recover("3");
}

fn refuse_and_recover(replicas: &str) {
    if !can_mount() {
        println!("left out: a full disk under a running venue (this user may not mount a tmpfs)");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("data");
    std::fs::create_dir(&dir).expect("a folder");
    let venue = start(&dir, &folder.path().join("stderr.txt"), replicas);
    let mut client = Client::connect(&venue).expect("connect");

    // Fill the file system to its last block.
    let ballast = through(venue.id(), &dir).join("ballast");
    let mut file = File::create(&ballast).expect("create");
    while file.write_all(&[1; 4096]).is_ok() {}
    drop(file);

    // The log has a segment in reserve; it ends at some time, and then commands are refused.
    let mut acknowledged = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(120);
    let refusal = loop {
        assert!(Instant::now() < deadline, "the log never ran out of room");
        let number = acknowledged.len();
        let body = format!(
            r#"{{"type":"limit","side":"buy","product_id":"BTC-USD","price":"100","size":"0.01","client_oid":"full-{number}"}}"#
        );
        let (status, answer) = client.call("POST", "/orders", &body).expect("an answer");
        if status != 200 {
            break (status, answer);
        }
        let id = answer["id"].as_str().expect("an id").to_string();
        // Keep the number of open orders small: what fills the log is the commands.
        let (status, answer) = client
            .call("DELETE", &format!("/orders/{id}"), "")
            .expect("an answer");
        acknowledged.push((id, status == 200));
        if status != 200 {
            break (status, answer);
        }
    };
    assert_eq!(refusal.0, 503, "{}", refusal.1);
    assert!(refusal.1["message"].is_string(), "{}", refusal.1);

    // Reads go on, and the process is well.
    let orders = client
        .good("GET", "/orders?status=all&limit=10", "")
        .expect("orders");
    assert!(orders.as_array().is_some_and(|orders| !orders.is_empty()));

    // Room again: the same process takes commands again.
    std::fs::remove_file(&ballast).expect("remove");
    let deadline = Instant::now() + Duration::from_secs(30);
    let order = loop {
        assert!(Instant::now() < deadline, "the venue did not find the room");
        let body = r#"{"type":"limit","side":"buy","product_id":"BTC-USD","price":"101","size":"0.01","client_oid":"after"}"#;
        let (status, answer) = client.call("POST", "/orders", body).expect("an answer");
        if status == 200 {
            break answer;
        }
        assert_eq!(status, 503, "{answer}");
        std::thread::park_timeout(Duration::from_millis(20));
    };
    assert_eq!(order["client_oid"], "after");
    let (last, canceled) = acknowledged
        .last()
        .expect("orders before the disk was full");
    let (status, order) = client
        .call("GET", &format!("/orders/{last}"), "")
        .expect("an answer");
    assert_eq!(status, 200, "{order}");
    assert_eq!(order["status"] == "done", *canceled, "{order}");
}
