//! `cargo xtask fuzz`: coverage-guided fuzzing on the stable toolchain.
//!
//! libFuzzer needs only LLVM's coverage counters, which stable rustc can be asked for; the address sanitizer, which
//! needs nightly, adds little to code without `unsafe`. A C++ compiler builds libFuzzer itself.

use crate::{process, workspace};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::fs;
use std::path::Path;
use std::process::Command;

/// What to fuzz and for how long.
#[derive(Args)]
pub struct Options {
    /// The target; without one the targets are listed.
    target: Option<String>,
    /// How long to run.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// Run one input, such as a saved crash, and stop.
    #[arg(long)]
    input: Option<std::path::PathBuf>,
}

/// Runs one target; whether it found nothing.
pub fn run(options: &Options) -> Result<bool> {
    let targets = targets()?;
    let Some(name) = options.target.as_deref() else {
        targets.iter().for_each(|target| println!("{target}"));
        return Ok(true);
    };
    if !targets.iter().any(|target| target == name) {
        bail!(
            "no fuzz target is called {name}; the targets are {}",
            targets.join(", ")
        );
    }
    let fuzz = workspace::root().join("fuzz");
    let host = process::capture(Command::new("rustc").arg("-vV"))
        .and_then(|text| {
            text.lines()
                .find_map(|l| l.strip_prefix("host: ").map(str::to_owned))
        })
        .context("rustc does not say what machine it builds for")?;
    let flags = [
        "--cfg fuzzing",
        "-Cpasses=sancov-module",
        "-Cllvm-args=-sanitizer-coverage-level=4",
        "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
        "-Cllvm-args=-sanitizer-coverage-pc-table",
        "-Cllvm-args=-sanitizer-coverage-trace-compares",
        "-Cdebug-assertions",
        "-Coverflow-checks",
        // One unit keeps the counters of generic code in the same object as their table.
        "-Ccodegen-units=1",
    ];
    let target_folder = workspace::target()?.join("fuzz");
    // Naming the platform keeps the flags away from build scripts and procedural macros.
    let built = workspace::cargo([
        "build",
        "--release",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--features",
        "libfuzzer",
        "--target",
        &host,
        "--bin",
        name,
    ])?
    .env("CARGO_TARGET_DIR", &target_folder)
    .env("RUSTFLAGS", flags.join(" "))
    .status()
    .context("cannot start cargo build")?;
    if !built.success() {
        bail!("cannot build the target (libFuzzer needs a C++ compiler such as g++)");
    }
    let corpus = fuzz.join("corpus").join(name);
    let artifacts = fuzz.join("artifacts").join(name);
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    seed(name, &corpus)?;
    let mut command = Command::new(target_folder.join(&host).join("release").join(name));
    command
        .current_dir(&fuzz)
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    match &options.input {
        Some(input) => command.arg(fs::canonicalize(input).context("no such input")?),
        None => command
            .arg(format!("-max_total_time={}", options.seconds))
            .args(["-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048"])
            .arg(&corpus),
    };
    let status = command.status().context("cannot start the fuzz target")?;
    if !status.success() {
        println!("the failing input lies in {}", artifacts.display());
    }
    Ok(status.success())
}

/// Puts the target's valid inputs into its corpus; libFuzzer starts from them.
fn seed(name: &str, corpus: &Path) -> Result<()> {
    let mut command = workspace::cargo([
        "run",
        "--quiet",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--bin",
        "seeds",
        "--",
        name,
    ])?;
    let status = command
        .arg(corpus)
        .env("CARGO_TARGET_DIR", workspace::target()?)
        .status()
        .context("cannot start cargo run")?;
    if !status.success() {
        bail!("cannot write the seeds of {name}");
    }
    Ok(())
}

fn targets() -> Result<Vec<String>> {
    let folder = workspace::root().join("fuzz/fuzz_targets");
    let mut names: Vec<String> = fs::read_dir(&folder)
        .with_context(|| format!("cannot read {}", folder.display()))?
        .filter_map(|entry| entry.ok()?.path().file_stem()?.to_str().map(str::to_owned))
        .collect();
    names.sort();
    Ok(names)
}
