//! Where the tests find files.
#![allow(dead_code)]

pub mod rules;
pub mod venue;

use std::path::{Path, PathBuf};

/// A file of `shared/data/market`, which lies beside the repository where it is at hand. Without it
/// the test says so and is left out; the repository's own samples go through the same code.
pub fn shared_market(file: &str) -> Option<PathBuf> {
    let root = match std::env::var_os("EVEROPEN_SHARED") {
        Some(root) => Some(PathBuf::from(root)),
        None => Path::new(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|ancestor| ancestor.join("shared"))
            .find(|candidate| candidate.join("data/market").is_dir()),
    };
    let path = root.map(|root| root.join("data/market").join(file));
    let found = path.filter(|path| path.is_file());
    if found.is_none() {
        // Straight to the process's stderr: the test harness hides the output of tests that pass.
        use std::io::Write;
        let line = format!("left out: {file} (no ../shared/data)\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
    }
    found
}

/// A file of the repository's `samples/`.
pub fn sample(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../samples")
        .join(file)
}
