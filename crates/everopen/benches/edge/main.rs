//! The edge beside HAProxy and nginx on this machine, in one run: requests a second of processor time,
//! latency added at a fixed rate, and what idle WebSockets take.
//!
//! `cargo xtask bench edge -- [--seconds N] [--rounds N] [--sockets N]`
//!
//! Each stands with two threads between the same clients and the same target, one after the other, in
//! turns. Clients and target are this program's (the target in a process of its own) and share the
//! machine's cores with what is measured, so rates are not capacities; processor time is that of the
//! measured processes alone. A peer that is not installed is left out with a line.
#![forbid(unsafe_code)]

mod fronts;
mod load;
mod streams;
mod target;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use fronts::{Front, Running};
use serde_json::{Value, json};

/// Connections of the closed loop, and of the open one.
const CONNECTIONS: usize = 64;
/// Requests a second of the open loop.
const RATE: u64 = 2_000;
/// Of the better peer's requests a second of processor time.
const WANTED: f64 = 0.7;

#[derive(Parser)]
struct Options {
    /// Seconds each measurement takes
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How often all of them take turns
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Idle WebSockets; fewer where the system's bound on open files is lower
    #[arg(long, default_value_t = 10_000)]
    sockets: usize,
    /// Where to write the figures as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Run the target and nothing else
    #[arg(long, hide = true)]
    target: bool,
    /// Passed by cargo to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was seen of one of them in one round.
#[derive(Clone, Debug)]
struct Round {
    requests_per_second: f64,
    /// None for the target itself, which is measured without anybody in front.
    requests_per_cpu_second: Option<f64>,
    p50_us: u64,
    p99_us: u64,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    if options.target {
        return match runtime.block_on(target::serve()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("target: {error:#}");
                ExitCode::FAILURE
            }
        };
    }
    match runtime.block_on(measure(&options)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn measure(options: &Options) -> Result<bool> {
    raise_bound()?;
    let folder = tempfile::tempdir().context("a folder")?;
    let target = target::Process::start()?;
    let fronts = [Front::Everopen, Front::Haproxy, Front::Nginx];
    let mut rows: Vec<(&str, Vec<Round>)> = vec![("no front", Vec::new())];
    let time = Duration::from_secs(options.seconds);
    for round in 0..options.rounds {
        let direct = one_round(target.address, None, time).await?;
        rows[0].1.push(direct);
        for front in fronts {
            let Some(running) = front.start(folder.path(), target.address)? else {
                if round == 0 {
                    println!("  {} is not installed and is left out", front.name());
                }
                continue;
            };
            let seen = one_round(running.address, Some(&running), time)
                .await
                .with_context(|| front.name())?;
            match rows.iter_mut().find(|(name, _)| *name == front.name()) {
                Some((_, rounds)) => rounds.push(seen),
                None => rows.push((front.name(), vec![seen])),
            }
        }
    }
    show(&rows, options);
    let ratio = ratio(&rows);
    if let Some(ratio) = ratio {
        let verdict = if ratio >= WANTED { "met" } else { "MISSED" };
        println!(
            "  requests per CPU second, of the better peer's: {ratio:.2} (at least {WANTED}: {verdict})"
        );
    }
    let sockets = idle_sockets(options, folder.path(), &fronts).await?;
    if let Some(path) = &options.json {
        let text = report(&rows, ratio, &sockets);
        std::fs::write(path, format!("{text:#}\n"))
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(ratio.is_none_or(|ratio| ratio >= WANTED))
}

async fn one_round(
    address: std::net::SocketAddr,
    running: Option<&Running>,
    time: Duration,
) -> Result<Round> {
    // Connections, caches and code are warm before anything counts.
    load::closed(address, CONNECTIONS, time / 5).await?;
    let before = running.map(Running::cpu_seconds).transpose()?;
    let requests = load::closed(address, CONNECTIONS, time).await?;
    let after = running.map(Running::cpu_seconds).transpose()?;
    let used = before.zip(after).map(|(before, after)| after - before);
    let latency = load::open(address, CONNECTIONS, RATE, time).await?;
    Ok(Round {
        requests_per_second: requests as f64 / time.as_secs_f64(),
        requests_per_cpu_second: used.map(|used| requests as f64 / used),
        p50_us: latency.value_at_quantile(0.5) / 1_000,
        p99_us: latency.value_at_quantile(0.99) / 1_000,
    })
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut all: Vec<f64> = values.collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(0.0)
}

fn per_cpu(rounds: &[Round]) -> f64 {
    median(
        rounds
            .iter()
            .filter_map(|round| round.requests_per_cpu_second),
    )
}

fn ratio(rows: &[(&str, Vec<Round>)]) -> Option<f64> {
    let of = |name: &str| {
        let (_, rounds) = rows.iter().find(|(known, _)| *known == name)?;
        Some(per_cpu(rounds))
    };
    let peers = [Front::Haproxy, Front::Nginx];
    let better = peers.iter().filter_map(|peer| of(peer.name()));
    Some(of(Front::Everopen.name())? / better.reduce(f64::max)?)
}

fn show(rows: &[(&str, Vec<Round>)], options: &Options) {
    println!(
        "  medians of {} rounds of {} s; {CONNECTIONS} connections; latency at {RATE} requests/s, from the intended send time",
        options.rounds, options.seconds
    );
    println!(
        "  {:<10}{:>14}{:>18}{:>12}{:>12}{:>16}",
        "", "requests/s", "per CPU second", "p50 us", "p99 us", "p99 added us"
    );
    let p99 = |rounds: &[Round]| median(rounds.iter().map(|round| round.p99_us as f64));
    let bare = p99(&rows[0].1);
    for (at, (name, rounds)) in rows.iter().enumerate() {
        let cpu = match at {
            0 => "-".to_string(),
            _ => format!("{:.0}", per_cpu(rounds)),
        };
        println!(
            "  {name:<10}{:>14.0}{cpu:>18}{:>12.0}{:>12.0}{:>16.0}",
            median(rounds.iter().map(|round| round.requests_per_second)),
            median(rounds.iter().map(|round| round.p50_us as f64)),
            p99(rounds),
            p99(rounds) - bare,
        );
    }
}

/// Memory for idle WebSockets, for each of them: of whom, how many, and KiB for each.
async fn idle_sockets(
    options: &Options,
    folder: &std::path::Path,
    fronts: &[Front],
) -> Result<Vec<(String, usize, f64)>> {
    let bound = open_files();
    // Two for each at the front, and some for the rest.
    let count = options
        .sockets
        .min((bound.saturating_sub(300) / 2) as usize);
    if count < options.sockets {
        println!(
            "  {count} WebSockets over HTTP/1.1 and not {}: {bound} open files are allowed here",
            options.sockets
        );
    }
    let mut seen = Vec::new();
    for front in fronts {
        // A target of its own: the one before still has the other's connections in its hands.
        let target = target::Process::start()?;
        let Some(running) = front.start(folder, target.address)? else {
            continue;
        };
        let before = settled(&running).await?;
        let sockets = load::sockets(running.address, count).await;
        let sockets = sockets.with_context(|| format!("WebSockets through {}", front.name()))?;
        seen.push(taken(front.name(), count, before, running.memory_kib()?));
        // They are there, and not only were.
        load::all_answer(sockets).await?;
    }
    // Over HTTP/2 a client's connection is one open file for many, and the target's is one for each.
    let count = options.sockets.min(bound.saturating_sub(300) as usize);
    for front in fronts {
        let target = target::Process::start()?;
        let Some(running) = front.start(folder, target.address)? else {
            continue;
        };
        let Some(address) = running.http2 else {
            continue;
        };
        let before = settled(&running).await?;
        let sockets = streams::sockets(address, count).await;
        let sockets = sockets.with_context(|| format!("HTTP/2 through {}", front.name()))?;
        let name = format!("{} over HTTP/2", front.name());
        seen.push(taken(&name, count, before, running.memory_kib()?));
        streams::all_answer(sockets).await?;
    }
    Ok(seen)
}

/// Memory of a front that has worked a little.
async fn settled(running: &Running) -> Result<u64> {
    load::closed(running.address, CONNECTIONS, Duration::from_millis(500)).await?;
    running.memory_kib()
}

fn taken(name: &str, count: usize, before: u64, after: u64) -> (String, usize, f64) {
    let each = after.saturating_sub(before) as f64 / count as f64;
    println!(
        "  {name:<21}{count} idle WebSockets: {each:.1} KiB each, {:.0} MiB in all (resident)",
        after as f64 / 1024.0
    );
    (name.to_string(), count, each)
}

fn report(
    rows: &[(&str, Vec<Round>)],
    ratio: Option<f64>,
    sockets: &[(String, usize, f64)],
) -> Value {
    let fronts = rows.iter().map(|(name, rounds)| {
        let rounds: Vec<Value> = rounds
            .iter()
            .map(|round| {
                json!({
                    "requests_per_second": round.requests_per_second,
                    "requests_per_cpu_second": round.requests_per_cpu_second,
                    "p50_us": round.p50_us, "p99_us": round.p99_us,
                })
            })
            .collect();
        ((*name).to_string(), Value::Array(rounds))
    });
    let sockets = sockets.iter().map(
        |(name, count, each)| json!({ "front": name, "idle_websockets": count, "kib_each": each }),
    );
    json!({
        "bench": "edge",
        "connections": CONNECTIONS,
        "open_loop_rate": RATE,
        "fronts": fronts.collect::<serde_json::Map<_, _>>(),
        "ratio_to_better_peer": ratio,
        "idle": sockets.collect::<Vec<_>>(),
    })
}

fn open_files() -> u64 {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit.current.unwrap_or(u64::MAX)
}

fn raise_bound() -> Result<()> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("raise the bound on open files")
}
