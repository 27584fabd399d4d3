//! Runs engines over OBW1, checks what they did, and reports what it cost.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;

use everopen_orderflow::obw1::{self, Params, Record, Totals, Workload};

use crate::instructions::{MANY, per_command};
use crate::report::{Report, Row, Spread};
use crate::timing::{Timed, latencies, timer_cost_ns};
use crate::{Floor, allocations};

/// Something that matches orders.
pub trait Engine {
    /// Carries out one command. Latencies are timed around this.
    fn apply(&mut self, record: &Record);

    /// Carries out many. Costs are timed around this: write the loop here, so that the call of
    /// [`Engine::apply`] can be inlined.
    fn apply_all(&mut self, records: &[Record]);

    /// Trades and volume that it reported so far.
    fn totals(&self) -> Totals;
}

/// Makes a fresh engine for so many symbols and at most so many orders.
pub type MakeEngine = fn(symbols: u32, orders: u64) -> Box<dyn Engine>;

/// What the command line asks for.
#[derive(Clone, Debug, Default)]
pub struct Args {
    /// A tenth of the commands, fewer runs, no instruction counts.
    pub quick: bool,
    /// Where to write the figures as JSON.
    pub json: Option<PathBuf>,
    /// Only these workloads; all when empty.
    pub workloads: Vec<String>,
    /// Internal: run one engine over the start of a file and print nothing.
    count: Option<(String, PathBuf, u64)>,
}

impl Args {
    /// Reads the command line; ends the process with a message on wrong use.
    pub fn parse() -> Self {
        let mut parsed = Self::default();
        let mut arguments = std::env::args().skip(1);
        let usage = || -> ! {
            eprintln!("usage: [--quick] [--json PATH] [--workload d1k|d100k|m100]...");
            std::process::exit(2);
        };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().unwrap_or_else(|| usage());
            match argument.as_str() {
                // Cargo passes this to every benchmark.
                "--bench" => {}
                "--quick" => parsed.quick = true,
                "--json" => parsed.json = Some(value().into()),
                "--workload" => parsed.workloads.push(value()),
                "--count" => {
                    let (engine, file) = (value(), value().into());
                    let commands = value().parse().unwrap_or_else(|_| usage());
                    parsed.count = Some((engine, file, commands));
                }
                _ => usage(),
            }
        }
        parsed
    }
}

/// Measures engines against the floor on these OBW1 workloads, prints the table and writes the
/// JSON that the command line asks for.
///
/// # Panics
/// When an engine's trades or volume are not the published ones.
pub fn bench(title: &str, args: &Args, workloads: &[&str], engines: &[(&str, MakeEngine)]) {
    let mut all: Vec<(&str, MakeEngine)> = vec![("floor", Floor::boxed)];
    all.extend_from_slice(engines);
    if let Some((engine, file, commands)) = &args.count {
        let make = all.iter().find(|(name, _)| name == engine);
        let (_, make) = make.expect("the engine to count is one of this benchmark");
        let workload = Workload::read(BufReader::new(File::open(file).expect("workload file")))
            .expect("the benchmark's own workload file");
        let mut engine = make(workload.header.symbols, workload.records.len() as u64);
        engine.apply_all(workload.warm_up());
        engine.apply_all(&workload.timed()[..*commands as usize]);
        return;
    }
    let mut report = Report::new(title);
    report.notes.push(format!(
        "latencies include about {} ns for reading the clock",
        timer_cost_ns()
    ));
    for name in workloads {
        if args.workloads.is_empty() || args.workloads.iter().any(|wanted| wanted == name) {
            measure(&mut report, name, args.quick, &all);
        }
    }
    report.machine.load = crate::Machine::now().load;
    report.print();
    if let Some(path) = &args.json {
        match report.write_json(path) {
            Ok(()) => println!("wrote {}", path.display()),
            Err(error) => {
                eprintln!("could not write {}: {error}", path.display());
                std::process::exit(1);
            }
        }
    }
}

fn measure(report: &mut Report, name: &str, quick: bool, engines: &[(&str, MakeEngine)]) {
    let known = obw1::named(name).expect("a published workload");
    let commands = if quick { 500_000 } else { 5_000_000 };
    let runs = if quick { 3 } else { 7 };
    let workload = Workload::generate(Params {
        commands,
        ..known.params
    });
    let expected = known.totals_after(commands).expect("published totals");
    let orders = workload.records.len() as u64;
    let warm = |make: MakeEngine| {
        let mut engine = make(known.params.symbols, orders);
        engine.apply_all(workload.warm_up());
        engine
    };
    let mut times: Vec<Vec<Timed>> = vec![vec![]; engines.len()];
    let mut allocated = vec![0; engines.len()];
    // Interleaved, so that what else the machine does meets all engines alike.
    for _ in 0..runs {
        for (at, (engine_name, make)) in engines.iter().enumerate() {
            let mut engine = warm(*make);
            let before = allocations();
            times[at].push(Timed::of(|| engine.apply_all(workload.timed())));
            allocated[at] = allocations() - before;
            assert_eq!(engine.totals(), expected, "{engine_name} on {name}");
        }
    }
    let spread = |at: usize, of: fn(&Timed) -> u64| {
        let per_command = |timed| of(timed) as f64 / commands as f64;
        Spread::of(times[at].iter().map(per_command).collect())
    };
    let mut floor_instructions = None;
    let file = (!quick).then(|| write_start(name, known.params, &workload));
    for (at, (engine, make)) in engines.iter().enumerate() {
        let mut add = |figure, unit, spread: Spread, runs, floor: Option<f64>| {
            report.rows.push(Row {
                name: engine.to_string(),
                workload: name.into(),
                figure,
                unit,
                spread,
                runs,
                ratio: floor.map(|floor| spread.median / floor),
            });
        };
        let once = |figure: f64| Spread::of(vec![figure]);
        let floor = spread(0, |timed| timed.cpu_ns).median;
        let cpu = spread(at, |timed| timed.cpu_ns);
        add("thread cpu", "ns/command", cpu, runs, Some(floor));
        add(
            "wall",
            "ns/command",
            spread(at, |timed| timed.wall_ns),
            runs,
            None,
        );
        let each = allocated[at] as f64 / commands as f64;
        add("allocations", "allocations", once(each), 1, None);
        let mut engine_instance = warm(*make);
        let timed = &workload.timed()[..1_000_000.min(commands as usize)];
        let latency = latencies(timed, |record| engine_instance.apply(record));
        for (figure, ns) in [
            ("latency p50", latency.p50),
            ("latency p99", latency.p99),
            ("latency p99.9", latency.p999),
        ] {
            add(figure, "ns", once(ns as f64), 1, None);
        }
        if let Some(file) = &file {
            match per_command(engine, file) {
                Ok(count) => {
                    let floor = *floor_instructions.get_or_insert(count);
                    add("instructions", "per command", once(count), 1, Some(floor));
                }
                Err(error) => report.notes.push(format!("{engine}: not counted: {error}")),
            }
        }
    }
    if let Some(file) = file {
        let _ = std::fs::remove_file(file);
    }
}

/// The start of a workload as a file, for the program under cachegrind.
fn write_start(name: &str, params: Params, workload: &Workload) -> PathBuf {
    let start = Workload {
        header: obw1::Header {
            commands: MANY,
            ..workload.header
        },
        records: workload.records[..(params.warm_up() + MANY) as usize].to_vec(),
    };
    let path = std::env::temp_dir().join(format!("obw1-{name}-{}.bin", std::process::id()));
    let mut out = BufWriter::new(File::create(&path).expect("a file in the temporary folder"));
    start
        .write(&mut out)
        .expect("the workload's file is written");
    out.flush().expect("the workload's file is written");
    path
}
