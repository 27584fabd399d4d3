//! What a file may say: an opening line, a size, no leftovers, no machine's paths, and for the kernel no ambient
//! time, randomness, threads or floats.

use super::Finding;
use crate::workspace;
use anyhow::Result;
use std::path::{Path, PathBuf};

const LONG: usize = 500;
const TOO_LONG: usize = 1000;
const KERNEL: &[&str] = &["domain", "book", "ledger", "venue", "wire"];
const TEXT: &[&str] = &[
    "rs", "toml", "md", "py", "sh", "yml", "yaml", "json", "txt", "html", "css", "js",
];

/// Words that never belong in a file: (the word, what to do instead). The halves keep this file from finding itself.
const LEFTOVERS: &[(&str, &str)] = &[
    (
        concat!("to", "do!("),
        "finish it, or return a refusal or an error",
    ),
    (
        concat!("unimple", "mented!("),
        "finish it, or return a refusal or an error",
    ),
    (
        concat!("db", "g!("),
        "remove it; telemetry goes through tracing",
    ),
    (
        concat!("#[ig", "nore"),
        "a test that is never run proves nothing; put long runs behind `--long`",
    ),
];

/// Words that tell of the machine or the tools of whoever typed a line; readers have neither.
const FOREIGN: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("chat", "gpt"),
    concat!("cl", "aude"),
    concat!("anth", "ropic"),
    concat!("co", "pilot"),
    concat!("ai ", "assistant"),
    concat!("as an ", "ai"),
    concat!("generated ", "with ai"),
    concat!("generated ", "by ai"),
];

/// What the kernel must not name: (the word, what to do instead).
const AMBIENT: &[(&str, &str)] = &[
    ("std::time", "time comes with the command"),
    ("Instant::now", "time comes with the command"),
    ("SystemTime", "time comes with the command"),
    (
        "std::thread",
        "the kernel is one thread; the replica owns threads",
    ),
    (
        "std::sync",
        "the kernel is one thread; the replica owns threads",
    ),
    ("rand::", "randomness would make replicas differ"),
    ("getrandom", "randomness would make replicas differ"),
    (
        "std::collections::HashMap",
        "its order differs between runs; use an ordered map",
    ),
    (
        "std::collections::HashSet",
        "its order differs between runs; use an ordered set",
    ),
    ("std::env", "settings that matter are commands in the log"),
    ("std::fs", "the kernel does no I/O"),
    ("std::net", "the kernel does no I/O"),
    ("println!", "the kernel emits events and never logs"),
    ("tracing::", "the kernel emits events and never logs"),
    ("extern crate std", "the kernel is no_std"),
    ("f64", "money and everything replicas agree on are integers"),
    ("f32", "money and everything replicas agree on are integers"),
];

/// Findings, and the files that are long without being too long.
pub type Checked = (Vec<Finding>, Vec<(String, usize)>);

/// Checks the files given, relative to the workspace root.
pub fn check(files: &[PathBuf]) -> Result<Checked> {
    let root = workspace::root();
    let here = machine_paths(&root);
    let (mut findings, mut long) = (Vec::new(), Vec::new());
    for path in files {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or("");
        let script = path.starts_with(".ci");
        if !TEXT.contains(&extension) && !script {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(root.join(path)) else {
            findings.push(Finding::new(path.display().to_string(), "is not UTF-8"));
            continue;
        };
        let name = path.display().to_string();
        judge(path, &text, &here, &mut findings);
        if extension == "rs" {
            let lines = text.lines().count();
            if lines > TOO_LONG {
                findings.push(Finding::new(
                    name,
                    format!("has {lines} lines, more than {TOO_LONG}; split it into modules"),
                ));
            } else if lines > LONG {
                long.push((name, lines));
            }
        }
    }
    long.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
    Ok((findings, long))
}

/// The folders of this machine that a committed file must not name: home, and where this clone lies.
fn machine_paths(root: &Path) -> Vec<String> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let mut paths: Vec<String> = [
        Some(root.to_path_buf()),
        root.parent().map(Path::to_path_buf),
        home,
    ]
    .into_iter()
    .flatten()
    .map(|path| format!("{}/", path.display().to_string().trim_end_matches('/')))
    // `/`, `/tmp/` and the like are ordinary words of documentation.
    .filter(|path| path.len() > 5)
    .collect();
    paths.dedup();
    paths
}

fn judge(path: &Path, text: &str, here: &[String], findings: &mut Vec<Finding>) {
    let name = path.display().to_string();
    let rust = name.ends_with(".rs");
    let kernel = kernel_source(path);
    if rust && !text.starts_with("//!") {
        findings.push(Finding::new(
            format!("{name}:1"),
            "open the file with `//!` and what it is for",
        ));
    }
    if !text.is_empty() && !text.ends_with('\n') {
        findings.push(Finding::new(&name, "ends without a newline"));
    }
    let mut in_tests = false;
    let mut before = "";
    for (index, line) in text.lines().enumerate() {
        let place = || format!("{name}:{}", index + 1);
        if line.ends_with([' ', '\t', '\r']) {
            findings.push(Finding::new(place(), "trailing white space; remove it"));
        }
        let lower = line.to_lowercase();
        for word in FOREIGN {
            if lower.contains(word) {
                findings.push(Finding::new(
                    place(),
                    format!("`{word}` does not belong in the repository"),
                ));
            }
        }
        for path in here {
            if line.contains(path.as_str()) {
                findings.push(Finding::new(
                    place(),
                    format!("names this machine's {path}; write a relative path"),
                ));
            }
        }
        if rust {
            for (word, instead) in LEFTOVERS {
                if line.contains(word) {
                    findings.push(Finding::new(
                        place(),
                        format!("`{word}` left in: {instead}"),
                    ));
                }
            }
        }
        let code = line.trim_start();
        // Unit tests close a file; from there on a clock or a printed line harms nobody.
        in_tests |=
            before.trim() == "#[cfg(test)]" && code.starts_with("mod ") && code.ends_with('{');
        if kernel && !in_tests && !code.starts_with("//") {
            for (word, instead) in AMBIENT {
                if contains_word(code, word) {
                    findings.push(Finding::new(
                        place(),
                        format!("`{word}` in the kernel: {instead}"),
                    ));
                }
            }
        }
        before = line;
    }
    if kernel && name.ends_with("src/lib.rs") {
        for (attribute, why) in [
            (
                "no_std",
                "so that the compiler holds I/O, clocks and threads out",
            ),
            (
                "forbid(unsafe_code)",
                "so that no reader has to look for it",
            ),
        ] {
            if !text.contains(attribute) {
                findings.push(Finding::new(
                    format!("{name}:1"),
                    format!("lacks `{attribute}`, {why}"),
                ));
            }
        }
    }
}

/// Product code of a kernel crate: its `src`, without files that only tests include: their own modules, generators of
/// arbitrary values, and the slow twins that the fast rooms are compared with.
fn kernel_source(path: &Path) -> bool {
    let parts: Vec<&str> = path.iter().filter_map(|part| part.to_str()).collect();
    let [first, room, source, rest @ ..] = parts.as_slice() else {
        return false;
    };
    *first == "crates"
        && KERNEL.contains(room)
        && *source == "src"
        && !rest.iter().any(|part| {
            let stem = part.strip_suffix(".rs").unwrap_or(part);
            ["tests", "strategies", "twin"].contains(&stem)
        })
}

/// Whether `code` holds `word` with no letter, digit or underscore joined to it.
fn contains_word(code: &str, word: &str) -> bool {
    let joins = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let open_end = word.ends_with(|c: char| !joins(c));
        !before.is_some_and(joins) && (open_end || !after.is_some_and(joins))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(path: &str, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        judge(
            Path::new(path),
            text,
            &["/home/somebody/".to_owned()],
            &mut found,
        );
        found
            .into_iter()
            .map(|f| format!("{}: {}", f.place, f.what))
            .collect()
    }

    #[test]
    fn a_clean_file_has_no_findings() {
        assert!(findings("crates/views/src/lib.rs", "//! Views.\npub fn f() {}\n").is_empty());
        assert!(findings("README.md", "# A title\n\nText.\n").is_empty());
    }

    #[test]
    fn openings_white_space_endings_and_leftovers_are_found() {
        let stub = concat!("to", "do!()");
        let found = findings(
            "crates/views/src/a.rs",
            &format!("fn f() {{ {stub} }} \nfn g() {{}}"),
        );
        assert_eq!(found.len(), 4, "{found:?}");
        assert!(found[0].starts_with("crates/views/src/a.rs:1: open the file"));
    }

    #[test]
    fn paths_of_this_machine_are_found_in_any_text() {
        let found = findings("docs/a.md", "see /home/somebody/notes\n");
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("docs/a.md:1: "));
    }

    #[test]
    fn the_kernel_may_not_name_clocks_maps_or_floats_outside_its_tests() {
        let head = "//! Kernel.\n#![no_std]\n#![forbid(unsafe_code)]\n";
        let path = "crates/venue/src/lib.rs";
        assert!(findings(path, head).is_empty());
        for bad in [
            "use std::time::Instant;",
            "let x: f64 = 0.0;",
            "let n = rand::random();",
        ] {
            assert_eq!(findings(path, &format!("{head}{bad}\n")).len(), 1, "{bad}");
        }
        // Words that merely contain a forbidden one, comments, and tests are left alone.
        for good in [
            "let buf64 = 1;",
            "// unlike f64",
            "#[cfg(test)]\nmod tests {\nlet x = 1f64;\n}",
        ] {
            assert!(
                findings(path, &format!("{head}{good}\n")).is_empty(),
                "{good}"
            );
        }
        assert!(findings("crates/venue/src/state/tests.rs", "//! T.\nlet x: f64;\n").is_empty());
        assert!(
            findings(
                "crates/venue/tests/a.rs",
                "//! T.\nuse std::time::Instant;\n"
            )
            .is_empty()
        );
    }

    #[test]
    fn a_kernel_crate_states_no_std_and_forbids_unsafe() {
        assert_eq!(findings("crates/book/src/lib.rs", "//! Book.\n").len(), 2);
        assert!(findings("crates/gateway/src/lib.rs", "//! Gateway.\n").is_empty());
    }
}
