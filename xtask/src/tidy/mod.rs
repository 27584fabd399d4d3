//! Checks that the compiler does not make: who may depend on whom, what may be linked, what a file may say.

mod code_map;
mod floors;
mod licenses;
mod text;

use crate::workspace;
use anyhow::Result;

/// Something to mend: where, what, and what to do instead.
#[derive(Debug, PartialEq, Eq)]
pub struct Finding {
    /// `path:line`, or the package's name.
    pub place: String,
    /// What is wrong, and what to do instead.
    pub what: String,
}

impl Finding {
    fn new(place: impl Into<String>, what: impl Into<String>) -> Self {
        Finding {
            place: place.into(),
            what: what.into(),
        }
    }
}

/// Runs every check; whether nothing was found.
pub fn run() -> Result<bool> {
    let metadata = workspace::metadata()?;
    let files = workspace::files()?;
    let mut findings = floors::check(&metadata)?;
    findings.extend(licenses::check(&metadata)?);
    findings.extend(code_map::check(&metadata)?);
    let (problems, long) = text::check(&files)?;
    findings.extend(problems);

    for (path, lines) in &long {
        println!("    note: {path} has {lines} lines; past 500 a second room may be hiding inside");
    }
    for finding in &findings {
        println!("    {}: {}", finding.place, finding.what);
    }
    println!(
        "    {} files checked, {} findings",
        files.len(),
        findings.len()
    );
    Ok(findings.is_empty())
}
