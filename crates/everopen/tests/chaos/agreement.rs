//! After the end: what the replicas' disks hold.

use std::path::Path;
use std::process::Command;

use crate::support::Venue;

/// Stops a venue and reads the replicas' logs again, record by record and through the venue's own
/// checks: the books balance after every command. (How far each log is known to be committed
/// differs, so the hashes at their ends do; while they ran the replicas were compared at one entry.)
pub fn logs_are_sound(venue: Venue, dir: &Path) {
    let processes = venue.processes().into_iter();
    let replicas = processes.filter(|p| p.role == "replica").count();
    assert!(venue.stop().expect("stop"), "the venue ended with a fault");
    let output = Command::new(env!("CARGO_BIN_EXE_everopen"))
        .args(["log", "verify", "--dir"])
        .arg(dir)
        .output()
        .expect("run everopen");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}{errors}");
    let read = said.lines().filter(|line| line.starts_with("state hash"));
    assert_eq!(read.count(), replicas, "{said}");
}
