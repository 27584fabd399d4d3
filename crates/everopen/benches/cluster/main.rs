//! Three replicas on this machine, beside what the machine itself takes and beside three members of
//! etcd, measured in one run.
//!
//! `cargo xtask bench cluster -- [--seconds N] [--only floor|etcd|ours] [--mode fsync|memory]
//! [--load one|clients|pipelined|batched|open] [--memory-mib N]
//! [--awake ours|all|none]`
//!
//! The floor is measured before and after everything else; the systems run one after the other,
//! each alone, and each load on a cluster of its own. Replicas keep processors awake while commands come, as
//! their settings have it; what the floor is with processors awake is measured as well, and `--awake all` has
//! them awake for everything. Clients and all processes share the machine's
//! cores. Ends with an error when a bound is missed or something that was asked for could not be
//! measured; etcd missing on this machine is no error, but what is compared with it then counts as
//! not measured.
#![forbid(unsafe_code)]

mod awake;
mod bounds;
mod driver;
mod echo;
mod etcd;
mod floor;
mod grpc;
mod ours;
mod report;
mod session;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use awake::{Awake, Held};
use clap::{Parser, ValueEnum};
use driver::{Driver, Load, Mode, Work};
use everopen_testkit::Machine;
use everopen_testkit::load::Span;
use report::{Results, Row};

/// Clients of the closed loop; both systems get the same.
const CLIENTS: usize = 64;
/// All over one connection, as a gateway's members are. The peer's calls share one of HTTP/2.
const SHARED: Load = Load::Clients(Work::Bare, CLIENTS, 1);
/// Over a connection of its own each.
const EACH: Load = Load::Clients(Work::Bare, CLIENTS, CLIENTS);
/// Commands under way when throughput is measured.
const WINDOW: usize = 8_192;
/// Commands that one request carries then at most: a client that has many ready sends them so.
const PER_REQUEST: usize = 16;
/// The load that throughput is held to.
const PIPELINED: Load = Load::Pipelined(Work::Bare, WINDOW, PER_REQUEST);
/// Commands a second of the open loops.
const RATES: [u64; 2] = [10_000, 100_000];

#[derive(Parser)]
struct Options {
    /// Seconds each measurement takes; a fifth of it more goes before it unmeasured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// One part alone; what needs the others is then not measured.
    #[arg(long)]
    only: Option<Part>,
    /// One durability mode alone.
    #[arg(long)]
    mode: Option<Mode>,
    /// One load alone; bounds of the others are then not measured.
    #[arg(long)]
    load: Option<LoadKind>,
    /// Memory that each replica has in place from the start; its default when not given.
    #[arg(long)]
    memory_mib: Option<u32>,
    /// Whom processors are kept awake for.
    #[arg(long, value_enum, default_value_t = Awake::Ours)]
    awake: Awake,
    /// Where the data goes; the disk is what is measured. The build folder when not given.
    #[arg(long)]
    dir: Option<PathBuf>,
    /// Where to write the figures as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Passed by cargo to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LoadKind {
    /// One command at a time.
    One,
    /// Many clients that each wait for their answers.
    Clients,
    /// Many under way, one in a request, and orders.
    Pipelined,
    /// Many under way, many in a request: what throughput is held to.
    Batched,
    /// Fixed rates.
    Open,
}

impl LoadKind {
    fn of(load: Load) -> Self {
        match load {
            Load::One(_) => Self::One,
            Load::Clients(..) => Self::Clients,
            PIPELINED => Self::Batched,
            Load::Pipelined(..) => Self::Pipelined,
            Load::Open(..) => Self::Open,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What the machine itself takes.
    Floor,
    /// The peer.
    Etcd,
    /// Everopen.
    Ours,
}

impl Options {
    fn wants(&self, part: Part) -> bool {
        self.only.is_none_or(|only| only == part)
    }

    fn loads(&self, mut loads: Vec<Load>) -> Vec<Load> {
        loads.retain(|load| self.load.is_none_or(|only| only == LoadKind::of(*load)));
        loads
    }

    fn modes(&self) -> impl Iterator<Item = Mode> {
        let only = self.mode;
        [Mode::Fsync, Mode::Memory]
            .into_iter()
            .filter(move |mode| only.is_none_or(|only| only == *mode))
    }
}

fn main() -> Result<ExitCode> {
    let options = Options::parse();
    let base = options
        .dir
        .clone()
        .unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    std::fs::create_dir_all(&base)
        .with_context(|| format!("cannot make the folder {}", base.display()))?;
    // Removed when this ends, also by a panic.
    let dir = tempfile::Builder::new()
        .prefix("bench-cluster-")
        .tempdir_in(&base)
        .with_context(|| format!("cannot make a folder in {}", base.display()))?;
    let results = measure(&options, dir.path())?;
    results.print();
    if let Some(path) = &options.json {
        results.write_json(path)?;
    }
    Ok(if results.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn measure(options: &Options, dir: &Path) -> Result<Results> {
    let time = Duration::from_secs(options.seconds);
    let mut results = Results::new(dir);
    results.awake = options.awake;
    let held = match options.awake {
        Awake::All => {
            Some(Held::new().context("cannot keep processors awake (/dev/cpu_dma_latency)")?)
        }
        Awake::Ours | Awake::None => None,
    };
    if options.wants(Part::Floor) {
        println!("floor ...");
        results.floor = Some(floor::measure(dir, time / 2)?);
    }
    if options.wants(Part::Etcd) && options.modes().any(|mode| mode == Mode::Fsync) {
        let loads = options.loads(vec![Load::One(Work::Bare), SHARED, EACH]);
        etcd(&mut results, dir, &loads, Span::of(time));
    }
    if options.wants(Part::Ours) {
        for mode in options.modes() {
            let loads = options.loads(vec![
                Load::One(Work::Bare),
                Load::One(Work::Order),
                SHARED,
                EACH,
                Load::Clients(Work::Order, CLIENTS, 1),
                Load::Pipelined(Work::Bare, WINDOW, 1),
                PIPELINED,
                Load::Pipelined(Work::Order, WINDOW, PER_REQUEST),
                Load::Open(Work::Bare, RATES[0]),
                Load::Open(Work::Bare, RATES[1]),
            ]);
            let setup = ours::Setup {
                mode,
                memory_mib: options.memory_mib,
                keep_awake: options.awake.as_config(),
            };
            ours(&mut results, setup, dir, &loads, Span::of(time));
        }
    }
    if let Some(floor) = &mut results.floor {
        println!("floor again ...");
        floor.add(&floor::measure(dir, time / 2)?);
        if options.awake == Awake::Ours {
            println!("floor with processors awake ...");
            match Held::new() {
                Ok(_held) => results.floor_awake = Some(floor::measure(dir, time / 2)?),
                Err(error) => println!("not measured: they can't be kept awake here: {error}"),
            }
        }
    }
    drop(held);
    results.machine_after = Machine::now();
    Ok(results)
}

/// The peer; it has the one mode.
fn etcd(results: &mut Results, dir: &Path, loads: &[Load], span: Span) {
    let program = match etcd::Program::find() {
        Ok(program) => program,
        Err(why) => {
            let why = format!("{why:#}");
            println!("etcd: not measured: {why}");
            let row = |load: &Load| Row::missing(etcd::NAME, Mode::Fsync, *load, &why);
            results.rows.extend(loads.iter().map(row));
            return;
        }
    };
    results.peer = Some(program.version.clone());
    let start = |dir: &Path| etcd::Etcd::start(&program, dir);
    run(
        results,
        (etcd::NAME, Mode::Fsync),
        (loads, span),
        dir,
        start,
    );
}

fn ours(results: &mut Results, setup: ours::Setup, dir: &Path, loads: &[Load], span: Span) {
    let start = |dir: &Path| ours::Everopen::start(setup, dir);
    run(results, (ours::NAME, setup.mode), (loads, span), dir, start);
}

/// Measures each load on a cluster of its own, whose data goes with it: no row is slower, or quicker, for what
/// the rows before it left.
fn run<D: Driver>(
    results: &mut Results,
    (system, mode): (&'static str, Mode),
    (loads, span): (&[Load], Span),
    dir: &Path,
    start: impl Fn(&Path) -> Result<D>,
) {
    for load in loads {
        println!("{system}, {}, {load} ...", mode.name());
        // What the row before wrote and nobody waited for would be written while this one is measured.
        rustix::fs::sync();
        let measured = tempfile::tempdir_in(dir)
            .context("make a folder for the data")
            .and_then(|dir| start(dir.path())?.measure(*load, span));
        match measured {
            Ok(outcome) => results
                .rows
                .push(Row::measured(system, mode, *load, outcome)),
            Err(error) => fail(results, system, mode, &[*load], &error),
        }
    }
}

fn fail(
    results: &mut Results,
    system: &'static str,
    mode: Mode,
    loads: &[Load],
    error: &anyhow::Error,
) {
    println!("{system}, {}: FAILED: {error:#}", mode.name());
    let why = format!("failed: {error:#}");
    results.failures += 1;
    let row = |load: &Load| Row::missing(system, mode, *load, &why);
    results.rows.extend(loads.iter().map(row));
}
