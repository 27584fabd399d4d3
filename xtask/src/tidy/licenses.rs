//! What may be linked: the license, the source and the number of copies of every package in the lock file.

use super::Finding;
use crate::workspace;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Libraries whose types cross our own borders or whose build is long: one version each.
const SINGLE: &[&str] = &[
    "axum",
    "clap",
    "hyper",
    "postcard",
    "proptest",
    "rustix",
    "serde",
    "serde_json",
    "tokio",
    "tracing",
    "tungstenite",
];

/// Checks every package of the lock file against `deny.toml`.
pub fn check(metadata: &Value) -> Result<Vec<Finding>> {
    let path = workspace::root().join("deny.toml");
    let policy: toml::Table = std::fs::read_to_string(&path)
        .with_context(|| format!("cannot read {}", path.display()))?
        .parse()
        .context("deny.toml is not TOML")?;
    judge(metadata, &allowed(&policy)?)
}

fn allowed(policy: &toml::Table) -> Result<BTreeSet<String>> {
    let list = policy
        .get("licenses")
        .and_then(|licenses| licenses.get("allow"))
        .and_then(|allow| allow.as_array())
        .context("deny.toml has no licenses.allow")?;
    Ok(list
        .iter()
        .filter_map(|name| name.as_str())
        .map(str::to_owned)
        .collect())
}

fn judge(metadata: &Value, allow: &BTreeSet<String>) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in metadata["packages"]
        .as_array()
        .context("metadata without packages")?
    {
        let name = package["name"]
            .as_str()
            .context("a package without a name")?;
        let version = package["version"].as_str().unwrap_or("?");
        let place = format!("{name} {version}");
        versions.entry(name).or_default().push(version);
        match package["license"].as_str() {
            None => findings.push(Finding::new(&place, "names no license; use another crate")),
            Some(license) if !permits(license, allow)? => findings.push(Finding::new(
                &place,
                format!("is under {license}, which deny.toml does not allow; use another crate"),
            )),
            Some(_) => {}
        }
        match package["source"].as_str() {
            None | Some(REGISTRY) => {}
            Some(source) => findings.push(Finding::new(
                &place,
                format!("comes from {source}; only crates.io and this workspace are allowed"),
            )),
        }
        if package["source"].is_null() {
            for dependency in package["dependencies"].as_array().into_iter().flatten() {
                if dependency["req"].as_str() == Some("*") && dependency["path"].is_null() {
                    findings.push(Finding::new(
                        &place,
                        format!("takes any version of {}; name one", dependency["name"]),
                    ));
                }
            }
        }
    }
    for name in SINGLE {
        if let Some(found) = versions.get(name)
            && found.len() > 1
        {
            findings.push(Finding::new(
                *name,
                format!(
                    "is linked in versions {}; bring its users to one",
                    found.join(" and ")
                ),
            ));
        }
    }
    Ok(findings)
}

/// Whether an SPDX expression can be satisfied by the allowed licenses. `/` is cargo's old way to write OR.
fn permits(expression: &str, allow: &BTreeSet<String>) -> Result<bool> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut at = 0;
    let result = either(&words, &mut at, allow)?;
    if at != words.len() {
        bail!("license expression not understood: {expression}");
    }
    Ok(result)
}

fn either(words: &[&str], at: &mut usize, allow: &BTreeSet<String>) -> Result<bool> {
    let mut result = both(words, at, allow)?;
    while words.get(*at) == Some(&"OR") {
        *at += 1;
        // Both sides are read even when the first decides: the position must move on.
        result |= both(words, at, allow)?;
    }
    Ok(result)
}

fn both(words: &[&str], at: &mut usize, allow: &BTreeSet<String>) -> Result<bool> {
    let mut result = one(words, at, allow)?;
    while words.get(*at) == Some(&"AND") {
        *at += 1;
        result &= one(words, at, allow)?;
    }
    Ok(result)
}

fn one(words: &[&str], at: &mut usize, allow: &BTreeSet<String>) -> Result<bool> {
    let Some(&word) = words.get(*at) else {
        bail!("license expression ends too early")
    };
    *at += 1;
    if word == "(" {
        let result = either(words, at, allow)?;
        if words.get(*at) != Some(&")") {
            bail!("license expression lacks a closing parenthesis");
        }
        *at += 1;
        return Ok(result);
    }
    if words.get(*at) == Some(&"WITH") {
        let Some(exception) = words.get(*at + 1) else {
            bail!("license expression ends too early")
        };
        *at += 2;
        // An exception only gives more rights, so the plain license suffices too.
        return Ok(allow.contains(word) || allow.contains(&format!("{word} WITH {exception}")));
    }
    Ok(allow.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn allow() -> BTreeSet<String> {
        ["MIT", "Apache-2.0", "Unicode-3.0"]
            .map(str::to_owned)
            .into()
    }

    #[test]
    fn expressions_are_read_as_spdx_means_them() {
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("MIT OR GPL-3.0", true),
            ("MIT/GPL-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("(MIT OR Apache-2.0) AND GPL-3.0", false),
            ("GPL-3.0 OR MIT AND Apache-2.0", true),
            ("Apache-2.0 WITH LLVM-exception OR GPL-2.0", true),
            ("GPL-2.0 WITH Classpath-exception", false),
        ] {
            assert_eq!(
                permits(expression, &allow()).ok(),
                Some(expected),
                "{expression}"
            );
        }
        for nonsense in ["", "MIT OR", "(MIT", "MIT MIT", "MIT WITH"] {
            assert!(permits(nonsense, &allow()).is_err(), "{nonsense:?}");
        }
    }

    #[test]
    fn wrong_licenses_sources_copies_and_wildcards_are_found() {
        let package = |name: &str, version: &str, license: Value, source: Value| json!({"name": name, "version": version, "license": license, "source": source, "dependencies": []});
        let mut ours = package("everopen-book", "0.1.0", json!("Apache-2.0"), Value::Null);
        ours["dependencies"] = json!([
            {"name": "rand", "req": "*"},
            {"name": "everopen-domain", "req": "*", "path": "crates/domain"},
        ]);
        let metadata = json!({"packages": [
            ours,
            package("good", "1.0.0", json!("MIT"), json!(REGISTRY)),
            package("bad", "1.0.0", json!("GPL-3.0"), json!(REGISTRY)),
            package("none", "1.0.0", Value::Null, json!(REGISTRY)),
            package("elsewhere", "1.0.0", json!("MIT"), json!("git+https://example.org/x")),
            package("tokio", "1.0.0", json!("MIT"), json!(REGISTRY)),
            package("tokio", "0.2.0", json!("MIT"), json!(REGISTRY)),
        ]});
        let findings = judge(&metadata, &allow()).expect("readable");
        let places: Vec<&str> = findings.iter().map(|f| f.place.as_str()).collect();
        assert_eq!(
            places,
            [
                "everopen-book 0.1.0",
                "bad 1.0.0",
                "none 1.0.0",
                "elsewhere 1.0.0",
                "tokio"
            ]
        );
    }
}
