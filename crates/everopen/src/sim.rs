//! `everopen sim`: the simulated world of a seed, on the terminal.

use std::io::{BufWriter, Write, stdout};

use anyhow::{Result, bail};
use clap::Args;
use everopen_sim::{Options, run, run_showing};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Which world; the same number gives the same one, byte for byte
    #[arg(long)]
    seed: u64,
    /// Events until the faults end and everything must work again
    #[arg(long, value_name = "EVENTS")]
    steps: Option<u64>,
    /// Print everything that happens
    #[arg(long)]
    trace: bool,
}

/// Runs the world and says what was found.
///
/// # Errors
/// Something was violated.
pub fn perform(args: &Arguments) -> Result<()> {
    let mut options = Options::default();
    options.steps = args.steps.unwrap_or(options.steps);
    let report = if args.trace {
        let mut out = BufWriter::new(stdout().lock());
        let report = run_showing(args.seed, &options, &mut |line| {
            // Whoever reads no further has seen enough.
            let _ = writeln!(out, "{line}");
        });
        let _ = out.flush();
        report
    } else {
        run(args.seed, &options)
    };
    say!("{report}");
    if report.violation.is_some() {
        bail!("the world of seed {} is not well", args.seed);
    }
    Ok(())
}
