//! The one binary of Everopen: subcommands, wiring, supervision.

#[macro_use]
mod console;

mod admin;
mod cli;
mod cluster;
mod config;
mod edge;
mod gateway;
mod journey;
mod log;
mod member;
mod memory;
mod node;
mod progress;
mod replay;
mod rollout;
mod runbook;
mod shadow;
mod sim;
mod telemetry;
mod tether;
mod up;

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    memory::keep();
    let cli = cli::Cli::parse();
    let done = match &cli.command {
        cli::Command::Up(args) => up::run(args),
        cli::Command::Node(args) => node::run(args),
        cli::Command::Gateway(args) => gateway::run(args),
        cli::Command::Edge(args) => edge::run(args),
        cli::Command::Rollout(args) => rollout::run(args),
        cli::Command::Runbook(args) => runbook::run(args),
        cli::Command::Journey(args) => journey::run(args),
        cli::Command::Cluster(args) => cluster::run(args),
        cli::Command::Shadow(args) => shadow::run(args),
        cli::Command::Sim(args) => sim::perform(args),
        cli::Command::Replay(args) => replay::run(args),
        cli::Command::Member(command) => member::run(command),
        cli::Command::Admin(args) => admin::perform(&args.data.dir, &args.action).map(|answer| {
            say!(
                "{}",
                serde_json::to_string_pretty(&answer).unwrap_or_default()
            );
        }),
        cli::Command::Log(command) => log::run(command),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody may be there to read it any more.
            let _ = writeln!(std::io::stderr(), "everopen: {error:#}");
            ExitCode::FAILURE
        }
    }
}
