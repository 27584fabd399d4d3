//! Where things are: the workspace root, the build folder, the user's cache folder, `cargo metadata`.

use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder that holds the root `Cargo.toml`.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("invariant: xtask lies one level below the workspace root")
        .to_path_buf()
}

/// A folder that outlives this clone: `EVEROPEN_CACHE`, else the user's cache folder.
pub fn cache() -> Result<PathBuf> {
    let set = |name: &str| {
        env::var_os(name)
            .filter(|v| !v.is_empty())
            .map(PathBuf::from)
    };
    let folder = match (set("EVEROPEN_CACHE"), set("XDG_CACHE_HOME"), set("HOME")) {
        (Some(own), _, _) => own,
        (None, Some(xdg), _) => xdg.join("everopen"),
        (None, None, Some(home)) => home.join(".cache/everopen"),
        (None, None, None) => bail!("neither EVEROPEN_CACHE, XDG_CACHE_HOME nor HOME is set"),
    };
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the cache folder {}", folder.display()))?;
    // Processes started later run in other folders, so a relative setting would mean something else there.
    std::fs::canonicalize(&folder).with_context(|| format!("cannot resolve {}", folder.display()))
}

/// Whether this runs unattended.
pub fn unattended() -> bool {
    env::var("CI").is_ok_and(|v| v == "true" || v == "1")
}

/// The build folder to hand to `cargo`, when it is not cargo's own choice.
///
/// Continuous integration clones afresh each time, so a folder inside the clone is always cold.
pub fn target_override() -> Result<Option<PathBuf>> {
    if env::var_os("CARGO_TARGET_DIR").is_some() || !unattended() {
        return Ok(None);
    }
    Ok(Some(cache()?.join("target")))
}

/// The build folder that `cargo` uses.
pub fn target() -> Result<PathBuf> {
    if let Some(own) = target_override()? {
        return Ok(own);
    }
    Ok(match env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root().join(dir),
        None => root().join("target"),
    })
}

/// `cargo` with the arguments given, in the workspace root and with the right build folder.
pub fn cargo<'a>(args: impl IntoIterator<Item = &'a str>) -> Result<Command> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).args(args);
    if let Some(target) = target_override()? {
        command.env("CARGO_TARGET_DIR", target);
    }
    // Set for this process by `cargo run`; tests that start cargo or look for a manifest would be misled.
    for name in [
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
        "CARGO_PKG_NAME",
        "CARGO_PKG_VERSION",
    ] {
        command.env_remove(name);
    }
    Ok(command)
}

/// What cargo knows of every package, with the lock file as it is.
pub fn metadata() -> Result<Value> {
    let output = cargo(["metadata", "--format-version", "1", "--locked"])?
        .output()
        .context("cannot start cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata failed (run `cargo metadata` once and commit Cargo.lock if it changed): {}",
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    serde_json::from_slice(&output.stdout).context("cargo metadata printed something unreadable")
}

/// Every file of the repository that git tracks or would track, relative to the root.
pub fn files() -> Result<Vec<PathBuf>> {
    let output = Command::new("git")
        .current_dir(root())
        .args([
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .output();
    if let Ok(output) = output
        && output.status.success()
    {
        let mut files: Vec<PathBuf> = output
            .stdout
            .split(|&b| b == 0)
            .filter(|name| !name.is_empty())
            .map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned()))
            .filter(|path| root().join(path).is_file())
            .collect();
        files.sort();
        files.dedup();
        return Ok(files);
    }
    // An unpacked archive has no git folder.
    let mut files = Vec::new();
    walk(&root(), Path::new(""), &mut files)?;
    files.sort();
    Ok(files)
}

fn walk(root: &Path, at: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(root.join(at))? {
        let entry = entry?;
        let path = at.join(entry.file_name());
        let name = entry.file_name();
        let skipped = [
            "target",
            ".git",
            "__pycache__",
            "everopen-data",
            "corpus",
            "artifacts",
        ];
        if entry.file_type()?.is_dir() {
            if !skipped.iter().any(|s| name == *s) {
                walk(root, &path, files)?;
            }
        } else {
            files.push(path);
        }
    }
    Ok(())
}
