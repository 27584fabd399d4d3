//! Instructions per command, counted by valgrind's cachegrind: the steadiest figure on a machine
//! that others use, too. The benchmark runs itself under it, once over few and once over many
//! commands; the difference leaves out everything but the commands.

use std::path::Path;
use std::process::Command;

/// Lengths whose difference is counted.
pub const FEW: u64 = 20_000;
/// See [`FEW`].
pub const MANY: u64 = 100_000;

/// Instructions of this program run with these arguments, or why they could not be counted.
fn count(arguments: &[&str]) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new("valgrind")
        .args([
            "--tool=cachegrind",
            "--cache-sim=no",
            "--cachegrind-out-file=/dev/null",
        ])
        .arg(program)
        .args(arguments)
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    let text = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("valgrind: {}: {}", output.status, text.trim()));
    }
    let line = text
        .lines()
        .find(|line| line.contains("I refs:") || line.contains("I   refs:"));
    let digits: String = line
        .and_then(|line| line.split_once("refs:"))
        .map(|(_, count)| count.chars().filter(char::is_ascii_digit).collect())
        .unwrap_or_default();
    digits
        .parse()
        .map_err(|_| format!("valgrind: no count in: {}", text.trim()))
}

/// Instructions per command of an engine over the workload in `file`.
pub fn per_command(engine: &str, file: &Path) -> Result<f64, String> {
    let file = file.to_str().ok_or("the path is no text")?;
    let of = |commands: u64| count(&["--count", engine, file, &commands.to_string()]);
    Ok((of(MANY)? as f64 - of(FEW)? as f64) / (MANY - FEW) as f64)
}
