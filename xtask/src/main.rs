//! All automation: `cargo xtask ...`. The same commands run on a laptop and in continuous integration.

mod bench;
mod docs;
mod fuzz;
mod packages;
mod postgres;
mod process;
mod python;
mod report;
mod sim;
mod suite;
mod tidy;
mod workspace;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "All automation of Everopen")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the tests need and run every test.
    Test(suite::Options),
    /// Check what the compiler cannot: crate directions, licenses, the text of every file.
    Tidy,
    /// Measure speed and write `target/bench/*.json`.
    Bench(bench::Options),
    /// Fuzz one target with coverage guidance, or list the targets.
    Fuzz(fuzz::Options),
    /// Run simulated clusters through faults for hours, until one is not well.
    Sim(sim::Options),
    /// Make the Python environment of the conformance suite and print its interpreter.
    Python,
    /// Check the commands and links in the documents against the built program.
    Docs,
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Test(options) => suite::run(&options),
        Command::Tidy => tidy::run(),
        Command::Bench(options) => bench::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Sim(options) => sim::run(&options),
        Command::Python => python::environment().map(|python| {
            println!("{}", python.display());
            true
        }),
        Command::Docs => docs::run(),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
