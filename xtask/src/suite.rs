//! `cargo xtask test`: every check of the repository, in one order, with one closing line.

use crate::process::{self, Finished};
use crate::report::{Outcome, Report, Totals};
use crate::{docs, packages, postgres, python, tidy, workspace};
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::PathBuf;
use std::process::Command;

/// What to run.
#[derive(Args)]
pub struct Options {
    /// Run one step only; `--list` shows their names.
    step: Option<String>,
    /// The same as naming the step.
    #[arg(long, conflicts_with = "step")]
    only: Option<String>,
    /// Run the long suites too: 200 kill rounds, ten minutes of simulated
    /// worlds, more generated cases, more fuzz inputs.
    #[arg(long)]
    long: bool,
    /// List the steps and stop.
    #[arg(long)]
    list: bool,
    /// Further arguments for the test runner of the one step named, after `--`.
    #[arg(last = true)]
    rest: Vec<String>,
}

type Work = fn(&Options) -> Result<Outcome>;

const STEPS: [(&str, &str, Work); 10] = [
    ("fmt", "rustfmt leaves every file as it is", fmt),
    ("clippy", "no warning in any target", clippy),
    (
        "tidy",
        "crate directions, licenses, the text of every file",
        tidy_step,
    ),
    (
        "deny",
        "cargo deny: licenses, bans and sources once more, by the field's tool",
        deny,
    ),
    (
        "unit",
        "unit, property and integration tests of every crate",
        unit,
    ),
    (
        "fuzz",
        "every fuzz target on a few thousand seeded inputs",
        fuzz_smoke,
    ),
    (
        "build",
        "the program that the conformance suite drives",
        build,
    ),
    (
        "conformance",
        "unmodified clients against the real program",
        conformance,
    ),
    (
        "failover",
        "the same clients while the leading replica is killed every few seconds",
        failover,
    ),
    ("docs", "commands and links in the documents", docs_step),
];

/// Runs the steps asked for; whether all passed.
pub fn run(options: &Options) -> Result<bool> {
    if options.list {
        for (name, about, _) in STEPS {
            println!("{name:<12} {about}");
        }
        return Ok(true);
    }
    let wanted = options.step.as_deref().or(options.only.as_deref());
    let chosen: Vec<_> = STEPS
        .iter()
        .filter(|(name, ..)| wanted.is_none_or(|wanted| wanted == *name))
        .collect();
    if chosen.is_empty() {
        bail!(
            "no step is called {}; cargo xtask test --list shows them",
            wanted.unwrap_or("")
        );
    }
    if wanted.is_none() && !options.rest.is_empty() {
        bail!("arguments after `--` need one step to go to");
    }
    println!("build folder {}", workspace::target()?.display());
    let mut report = Report::new(chosen.len());
    for (name, about, work) in chosen {
        report.step(name, about, || work(options));
    }
    Ok(report.close())
}

/// The program under test, built with the settings of the test build so that its dependencies are built once.
pub fn binary() -> Result<PathBuf> {
    let built = workspace::cargo([
        "build",
        "--profile",
        "test",
        "--workspace",
        "--bins",
        "--locked",
    ])?
    .status()
    .context("cannot start cargo build")?;
    if !built.success() {
        bail!("cargo build failed");
    }
    let path = workspace::target()?.join("debug/everopen");
    if !path.is_file() {
        bail!("cargo build made no {}", path.display());
    }
    Ok(path)
}

/// The fuzz targets are a workspace of their own, so cargo has to be asked twice.
const WORKSPACES: [&str; 2] = ["Cargo.toml", "fuzz/Cargo.toml"];

fn fmt(_: &Options) -> Result<Outcome> {
    for manifest in WORKSPACES {
        let args = ["fmt", "--all", "--manifest-path", manifest, "--check"];
        let outcome = verdict(
            workspace::cargo(args)?,
            "run `cargo fmt --all`, and in fuzz/ again",
        )?;
        if !matches!(outcome, Outcome::Passed(_)) {
            return Ok(outcome);
        }
    }
    Ok(Outcome::Passed(Totals::default()))
}

fn clippy(_: &Options) -> Result<Outcome> {
    for manifest in WORKSPACES {
        let mut command = workspace::cargo([
            "clippy",
            "--manifest-path",
            manifest,
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])?;
        command.env("CARGO_TARGET_DIR", workspace::target()?);
        let outcome = verdict(command, "see the warnings above")?;
        if !matches!(outcome, Outcome::Passed(_)) {
            return Ok(outcome);
        }
    }
    Ok(Outcome::Passed(Totals::default()))
}

fn tidy_step(_: &Options) -> Result<Outcome> {
    Ok(match tidy::run()? {
        true => Outcome::Passed(Totals::default()),
        false => Outcome::Failed(Totals::default(), "see the findings above".into()),
    })
}

fn deny(_: &Options) -> Result<Outcome> {
    if process::capture(&mut workspace::cargo(["deny", "--version"])?).is_none() {
        return Ok(Outcome::LeftOut(
            "cargo deny is not installed (cargo install cargo-deny); tidy checks licenses and sources itself"
                .into(),
        ));
    }
    // Advisories need a database from the network; everything else is decided by the lock file.
    let args = [
        "deny",
        "--all-features",
        "check",
        "bans",
        "licenses",
        "sources",
    ];
    verdict(workspace::cargo(args)?, "see the findings above")
}

fn unit(options: &Options) -> Result<Outcome> {
    // Tests that need it say that they are left out without it.
    if let Err(error) = packages::ensure(&[packages::IPROUTE]) {
        println!("    {}: {error:#}", packages::IPROUTE.name);
    }
    python::ensure()?;
    packages::ensure(&packages::EDGE_CLIENTS)?;
    postgres::ensure()?;
    let mut command = workspace::cargo(["test", "--workspace", "--locked", "--no-fail-fast"])?;
    lengthen(&mut command, options);
    counted(command.args(&options.rest))
}

fn fuzz_smoke(options: &Options) -> Result<Outcome> {
    if !workspace::root().join("fuzz/Cargo.toml").is_file() {
        return Ok(Outcome::Failed(
            Totals::default(),
            "fuzz/Cargo.toml is missing".into(),
        ));
    }
    let mut command = workspace::cargo(["test", "--manifest-path", "fuzz/Cargo.toml"])?;
    // The same folder as the workspace: its dependencies are built already.
    command.env("CARGO_TARGET_DIR", workspace::target()?);
    lengthen(&mut command, options);
    counted(&mut command)
}

fn build(_: &Options) -> Result<Outcome> {
    println!("    {}", binary()?.display());
    Ok(Outcome::Passed(Totals::default()))
}

fn conformance(options: &Options) -> Result<Outcome> {
    let binary = binary()?;
    let python = python::environment()?;
    let mut command = python::pytest(&python);
    command.env("EVEROPEN_BIN", binary).args(&options.rest);
    lengthen(&mut command, options);
    counted(&mut command)
}

fn failover(options: &Options) -> Result<Outcome> {
    let binary = binary()?;
    let python = python::environment()?;
    let mut command = python::pytest(&python);
    command
        .env("EVEROPEN_BIN", binary)
        .env("EVEROPEN_KILL_LEADER_EVERY", "3")
        .args(&options.rest);
    if !options.long {
        // What money and orders go through; the long suite runs everything.
        command.args(["-k", "orders or fills or accounts or streams_ccxt"]);
    }
    lengthen(&mut command, options);
    counted(&mut command)
}

fn docs_step(_: &Options) -> Result<Outcome> {
    Ok(match docs::run()? {
        true => Outcome::Passed(Totals::default()),
        false => Outcome::Failed(Totals::default(), "see the findings above".into()),
    })
}

/// The one place that says what "long" means.
fn lengthen(command: &mut Command, options: &Options) {
    if options.long {
        command
            .env("EVEROPEN_LONG", "1")
            .env("EVEROPEN_KILL_ROUNDS", "200")
            .env("EVEROPEN_SIM_SECONDS", "600")
            .env("EVEROPEN_FUZZ_INPUTS", "200000")
            .env("PROPTEST_CASES", "4096");
    }
}

fn verdict(mut command: Command, advice: &str) -> Result<Outcome> {
    let success = command.status().context("cannot start cargo")?.success();
    Ok(if success {
        Outcome::Passed(Totals::default())
    } else {
        Outcome::Failed(Totals::default(), advice.into())
    })
}

/// A test runner's run: a runner that ends well without having run a test has not passed.
fn counted(command: &mut Command) -> Result<Outcome> {
    let Finished { success, totals } = process::run(command)?;
    Ok(if !success {
        Outcome::Failed(totals, "the test runner reports failure".into())
    } else if totals.passed == 0 {
        Outcome::Failed(totals, "no test was run".into())
    } else {
        Outcome::Passed(totals)
    })
}
