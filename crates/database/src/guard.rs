//! Somebody beside the controller, who lets clients go on if it dies while they are held.

use std::io;
use std::process::{Command, Stdio};

/// Starts it: a program that waits until the rollout's lock is free and then brings the cutover to an end.
pub(crate) fn start(command: &[String]) -> io::Result<()> {
    let Some((program, arguments)) = command.split_first() else {
        return Ok(());
    };
    // Of its own: what kills the controller's session is not meant for it.
    let mut child = Command::new("setsid")
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    std::thread::spawn(move || child.wait());
    Ok(())
}
