//! The tables, the bounds of the figures, and the JSON.

use std::path::Path;

use anyhow::{Context, Result};
use everopen_testkit::load::Outcome;
use everopen_testkit::{Bound, Machine, Side, Verdict, file_system};
use hdrhistogram::Histogram;
use serde_json::{Value, json};

use crate::CLIENTS;
use crate::awake::Awake;
use crate::bounds;
use crate::driver::{Load, Mode};
use crate::floor::Floor;

/// One system under one load.
pub struct Row {
    system: &'static str,
    mode: Mode,
    load: Load,
    /// Or why there is none.
    outcome: Result<Outcome, String>,
    /// The load average over one minute when it was done.
    machine_load: String,
}

impl Row {
    /// A row with figures.
    pub fn measured(system: &'static str, mode: Mode, load: Load, outcome: Outcome) -> Self {
        Self {
            system,
            mode,
            load,
            outcome: Ok(outcome),
            machine_load: one_minute(&Machine::now()).to_owned(),
        }
    }

    /// A row without.
    pub fn missing(system: &'static str, mode: Mode, load: Load, why: &str) -> Self {
        Self {
            system,
            mode,
            load,
            outcome: Err(why.to_owned()),
            machine_load: String::new(),
        }
    }

    fn print(&self) {
        let (system, mode, load) = (self.system, self.mode.name(), self.load);
        print!("{system:<9} {mode:<7} {load:<34}");
        match &self.outcome {
            Err(why) => println!(" not measured: {why}"),
            Ok(outcome) => {
                print!(" {:>11.0}", outcome.per_second());
                for quantile in [0.5, 0.99, 0.999, 1.0] {
                    print!(" {:>9.0}", outcome.latency_us(quantile));
                }
                let lost = outcome.refused + outcome.unanswered;
                println!(" {lost:>6} {:>6}", self.machine_load);
            }
        }
    }

    fn to_json(&self) -> Value {
        let mut row = json!({
            "system": self.system, "mode": self.mode.name(), "load": self.load.to_string(),
        });
        match &self.outcome {
            Err(why) => row["not_measured"] = json!(why),
            Ok(outcome) => {
                row["per_second"] = json!(outcome.per_second());
                row["latency"] = latency(&outcome.latency);
                row["refused"] = json!(outcome.refused);
                row["unanswered"] = json!(outcome.unanswered);
                row["busy"] = json!(outcome.busy);
                row["load_average"] = json!(self.machine_load);
            }
        }
        row
    }
}

fn latency(times: &Histogram<u64>) -> Value {
    let us = |quantile| times.value_at_quantile(quantile) as f64 / 1e3;
    json!({
        "count": times.len(), "p50_us": us(0.5), "p99_us": us(0.99), "p999_us": us(0.999),
        "max_us": us(1.0),
    })
}

fn one_minute(machine: &Machine) -> &str {
    machine.load.split(' ').next().unwrap_or_default()
}

/// Everything that was measured.
pub struct Results {
    /// The machine when all this began.
    pub machine: Machine,
    /// The machine when everything was done.
    pub machine_after: Machine,
    file_system: String,
    /// Whom its processors are kept awake for.
    pub awake: Awake,
    /// What the machine itself takes.
    pub floor: Option<Floor>,
    /// The same with processors kept awake, where what is above is without.
    pub floor_awake: Option<Floor>,
    /// The version of etcd.
    pub peer: Option<String>,
    /// The systems.
    pub rows: Vec<Row>,
    /// How often something that is here could not be measured.
    pub failures: usize,
}

impl Results {
    /// Nothing yet; the data will go to `dir`.
    pub fn new(dir: &Path) -> Self {
        Self {
            machine: Machine::now(),
            machine_after: Machine::now(),
            file_system: file_system(dir),
            awake: Awake::None,
            floor: None,
            floor_awake: None,
            peer: None,
            rows: vec![],
            failures: 0,
        }
    }

    /// What came of one measurement, if there is anything.
    pub fn row(&self, system: &str, mode: Mode, load: Load) -> Option<&Outcome> {
        let same = |row: &&Row| (row.system, row.mode, row.load) == (system, mode, load);
        self.rows.iter().find(same)?.outcome.as_ref().ok()
    }

    /// Whether nothing failed and no bound is missed.
    pub fn is_good(&self) -> bool {
        let missed = |bound: &Bound| bound.verdict() == Verdict::Fail;
        self.failures == 0 && !bounds::of(self).iter().any(missed)
    }

    /// Prints the tables.
    pub fn print(&self) {
        println!("\ncluster: {}", self.machine);
        println!(
            "load average after {}, data on {}; {}",
            self.machine_after.load, self.file_system, self.awake
        );
        if let Some(floor) = &self.floor {
            print_floor("floor", floor);
        }
        if let Some(floor) = &self.floor_awake {
            print_floor("floor, processors kept awake", floor);
        }
        if let Some(version) = &self.peer {
            println!(
                "\netcd {version}: three members, settings as they come (every put waits for fsync), clients at the leader"
            );
        }
        println!(
            "\n{:<9} {:<7} {:<34} {:>11} {:>9} {:>9} {:>9} {:>9} {:>6} {:>6}",
            "system",
            "mode",
            "load",
            "commands/s",
            "p50 us",
            "p99 us",
            "p99.9 us",
            "max us",
            "lost",
            "load"
        );
        self.rows.iter().for_each(Row::print);
        println!(
            "\n{:<44} {:>12} {:>21} {:<11} verdict",
            "bound", "measured", "asked for", "unit"
        );
        for bound in bounds::of(self) {
            let number = |value: Option<f64>| {
                let known = value.filter(|value| value.is_finite());
                known.map_or("-".to_owned(), |value| format!("{value:.0}"))
            };
            let side = match bound.side {
                Side::AtMost => "at most",
                Side::AtLeast => "at least",
            };
            println!(
                "{:<44} {:>12} {side:>9} {:>11} {:<11} {}",
                bound.what,
                number(bound.figure),
                number(bound.limit),
                bound.unit,
                bound.verdict(),
            );
            if let (Verdict::Excused, Some(why)) = (bound.verdict(), &bound.excuse) {
                println!("    {why}");
            }
        }
    }

    /// Writes everything as JSON, making the folder if need be.
    pub fn write_json(&self, path: &Path) -> Result<()> {
        let floor = |floor: &Floor| {
            json!({
                "p50_us": floor.p50_us(), "clients_per_second": floor.clients_per_second(),
                "echoes_per_second": floor.echoes, "round_trip": latency(&floor.round_trip),
                "sync_of_three_files": latency(&floor.sync),
            })
        };
        let document = json!({
            "bench": "cluster",
            "method": "three processes, their clients on the same cores; closed loops from the moment \
                       a client is free, open loops from the intended send time",
            "machine": self.machine.to_json(),
            "load_average_after": self.machine_after.load,
            "file_system": self.file_system,
            "processors": self.awake.to_string(),
            "floor": self.floor.as_ref().map(floor),
            "floor_awake": self.floor_awake.as_ref().map(floor),
            "etcd": self.peer,
            "rows": self.rows.iter().map(Row::to_json).collect::<Vec<_>>(),
            "bounds": bounds::of(self).iter().map(Bound::to_json).collect::<Vec<_>>(),
        });
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, format!("{document:#}\n"))
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

fn print_floor(what: &str, floor: &Floor) {
    println!("\n{what:<44} {:>9} {:>9}", "p50 us", "p99 us");
    for (name, part) in [
        ("TCP loopback, 64 bytes there and back", &floor.round_trip),
        ("fdatasync of 4 KiB in three files at once", &floor.sync),
    ] {
        let us = |quantile| part.value_at_quantile(quantile) as f64 / 1e3;
        println!("{name:<44} {:>9.1} {:>9.1}", us(0.5), us(0.99));
    }
    println!(
        "{:<44} {:>9.1}",
        "two round trips and one sync",
        floor.p50_us()
    );
    println!(
        "{CLIENTS} clients that are answered after that  {:>21.0} commands/s",
        floor.clients_per_second()
    );
    println!(
        "TCP loopback, echo over {CLIENTS} connections    {:>21.0} commands/s",
        floor.echoes
    );
}
