//! An untested map goes stale: every crate stands in ARCHITECTURE.md, and every crate named there exists.

use super::Finding;
use crate::workspace;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::BTreeSet;

const MAP: &str = "ARCHITECTURE.md";

/// Compares the code map with the workspace.
pub fn check(metadata: &Value) -> Result<Vec<Finding>> {
    let Ok(text) = std::fs::read_to_string(workspace::root().join(MAP)) else {
        return Ok(vec![Finding::new(MAP, "is missing; it holds the code map")]);
    };
    let packages = metadata["packages"]
        .as_array()
        .context("metadata without packages")?;
    let crates: BTreeSet<String> = packages
        .iter()
        .filter(|package| package["source"].is_null())
        .filter_map(|package| package["manifest_path"].as_str())
        .filter_map(|path| path.strip_suffix("/Cargo.toml"))
        .filter_map(|folder| folder.rsplit_once("/crates/"))
        .map(|(_, name)| name.to_owned())
        .collect();
    Ok(compare(&text, &crates))
}

fn compare(text: &str, crates: &BTreeSet<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut named = BTreeSet::new();
    for (index, line) in text.lines().enumerate() {
        for rest in line.split("crates/").skip(1) {
            let name: String = rest
                .chars()
                .take_while(|c| c.is_ascii_alphanumeric() || *c == '-' || *c == '_')
                .collect();
            if name.is_empty() {
                continue;
            }
            if !crates.contains(&name) {
                findings.push(Finding::new(
                    format!("{MAP}:{}", index + 1),
                    format!("names crates/{name}, which does not exist; mend the map"),
                ));
            }
            named.insert(name);
        }
    }
    for name in crates.difference(&named) {
        findings.push(Finding::new(
            MAP,
            format!("the code map lacks crates/{name}; add a line"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_and_an_invented_crate_are_found() {
        let crates = ["book", "venue"].map(str::to_owned).into();
        assert!(
            compare(
                "`crates/book` and [venue](crates/venue/src/lib.rs)",
                &crates
            )
            .is_empty()
        );
        let findings = compare("intro\n`crates/book`, `crates/cellar`\n", &crates);
        let places: Vec<&str> = findings.iter().map(|f| f.place.as_str()).collect();
        assert_eq!(places, ["ARCHITECTURE.md:2", "ARCHITECTURE.md"]);
    }
}
