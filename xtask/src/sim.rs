//! `cargo xtask sim`: one simulated world after the other, until one is not well or the time is over.

use crate::workspace;
use anyhow::{Context, Result, bail};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

/// Between two lines about how far it is.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// How long, and from where.
#[derive(Args)]
pub struct Options {
    /// How long to go on.
    #[arg(long, default_value_t = 1.0)]
    hours: f64,
    /// The first seed; without one the clock chooses.
    #[arg(long)]
    seed_from: Option<u64>,
    /// Worlds at once; without a number one for each core.
    #[arg(long)]
    jobs: Option<usize>,
}

/// What all jobs share.
struct Shared {
    program: PathBuf,
    end: Instant,
    seed: AtomicU64,
    done: AtomicU64,
    faults: AtomicU64,
    over: AtomicBool,
    failed: Mutex<Option<(u64, String)>>,
}

/// Runs worlds; whether all were well.
pub fn run(options: &Options) -> Result<bool> {
    let built = workspace::cargo(["build", "--release", "--locked", "-p", "everopen"])?
        .status()
        .context("cannot start cargo build")?;
    if !built.success() {
        bail!("cargo build failed");
    }
    let hours = Duration::try_from_secs_f64(options.hours * 3_600.0).context("hours")?;
    let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let from = match options.seed_from {
        Some(seed) => seed,
        None => clock.context("the clock is before 1970")?.as_secs() * 1_000,
    };
    let jobs = options
        .jobs
        .or_else(|| std::thread::available_parallelism().ok().map(usize::from))
        .unwrap_or(1);
    let begun = Instant::now();
    let shared = Shared {
        program: workspace::target()?.join("release/everopen"),
        end: begun + hours,
        seed: AtomicU64::new(from),
        done: AtomicU64::new(0),
        faults: AtomicU64::new(0),
        over: AtomicBool::new(false),
        failed: Mutex::new(None),
    };
    std::thread::scope(|scope| {
        let jobs: Vec<_> = (0..jobs.max(1))
            .map(|_| scope.spawn(|| work(&shared)))
            .collect();
        let mut said = begun;
        while !jobs.iter().all(|job| job.is_finished()) {
            std::thread::park_timeout(Duration::from_millis(100));
            if said.elapsed() >= SAY_EVERY {
                said = Instant::now();
                say(&shared, begun);
            }
        }
    });
    say(&shared, begun);
    let failed = shared.failed.into_inner().unwrap_or_default();
    let Some((seed, text)) = failed else {
        return Ok(true);
    };
    println!("{text}");
    println!("reproduce it with: everopen sim --seed {seed} --trace");
    Ok(false)
}

fn say(shared: &Shared, begun: Instant) {
    let done = shared.done.load(Ordering::Relaxed);
    let seconds = begun.elapsed().as_secs_f64().max(0.001);
    println!(
        "{done} worlds, {} faults injected, {:.1} worlds/s, up to seed {}",
        shared.faults.load(Ordering::Relaxed),
        done as f64 / seconds,
        shared.seed.load(Ordering::Relaxed)
    );
}

fn work(shared: &Shared) {
    while Instant::now() < shared.end && !shared.over.load(Ordering::Relaxed) {
        let seed = shared.seed.fetch_add(1, Ordering::Relaxed);
        match world(&shared.program, seed) {
            Ok(faults) => {
                shared.done.fetch_add(1, Ordering::Relaxed);
                shared.faults.fetch_add(faults, Ordering::Relaxed);
            }
            Err(text) => {
                shared.over.store(true, Ordering::Relaxed);
                if let Ok(mut failed) = shared.failed.lock() {
                    failed.get_or_insert((seed, text));
                }
            }
        }
    }
}

/// Runs one world; how many faults it had, or what went wrong.
fn world(program: &Path, seed: u64) -> Result<u64, String> {
    let output = Command::new(program)
        .args(["sim", "--seed", &seed.to_string()])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start {}: {error}", program.display()))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        return Err(text + &String::from_utf8_lossy(&output.stderr));
    }
    faults(&text).ok_or_else(|| format!("seed {seed}: unexpected output:\n{text}"))
}

/// The number before the word `faults` at the end of the first line.
fn faults(text: &str) -> Option<u64> {
    let line = text.lines().next()?;
    let mut words = line.rsplit(' ');
    (words.next()? == "faults").then_some(())?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_faults_is_read_from_the_first_line() {
        let text =
            "seed 7: 9 events in 1.000000 simulated seconds, 5 entries committed, 12 faults\n";
        assert_eq!(faults(text), Some(12));
        assert_eq!(faults("seed 7"), None);
    }
}
