//! Running other programs: their output is shown as it comes and read for test totals.

use crate::report::Totals;
use anyhow::{Context, Result};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

/// What a finished program said.
pub struct Finished {
    /// Whether it ended with status 0.
    pub success: bool,
    /// The tests it counted, over all of its closing lines.
    pub totals: Totals,
}

/// Runs a program, echoes its standard output and adds up the closing lines of its test runner.
pub fn run(command: &mut Command) -> Result<Finished> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let output = child
        .stdout
        .take()
        .expect("invariant: standard output was piped");
    let mut totals = Totals::default();
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    let stdout = std::io::stdout();
    while reader
        .read_until(b'\n', &mut line)
        .with_context(|| format!("cannot read {name}"))?
        > 0
    {
        let mut out = stdout.lock();
        // A closed terminal must not stop the tests half-way.
        let _ = out.write_all(&line).and_then(|()| out.flush());
        totals.add_line(&String::from_utf8_lossy(&line));
        line.clear();
    }
    let status = child
        .wait()
        .with_context(|| format!("cannot wait for {name}"))?;
    Ok(Finished {
        success: status.success(),
        totals,
    })
}

/// Runs a program quietly; its standard output when it succeeds.
pub fn capture(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
