//! Figures as an aligned table for people and as JSON for programs.

use std::path::Path;

use serde_json::{Value, json};

use crate::Machine;

/// Least, middle and most of several runs.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle one.
    pub median: f64,
    /// The most.
    pub max: f64,
}

impl Spread {
    /// Of these figures; there must be at least one.
    pub fn of(mut figures: Vec<f64>) -> Self {
        figures.sort_by(f64::total_cmp);
        let middle = figures.len() / 2;
        let median = if figures.len() % 2 == 1 {
            figures[middle]
        } else {
            (figures[middle - 1] + figures[middle]) / 2.0
        };
        Self {
            min: figures[0],
            median,
            max: figures[figures.len() - 1],
        }
    }
}

/// One figure.
#[derive(Clone, Debug)]
pub struct Row {
    /// What was measured, such as `book`.
    pub name: String,
    /// On which workload.
    pub workload: String,
    /// Which of its costs, such as `thread cpu`.
    pub figure: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// The figures; all three are the same where it was measured once.
    pub spread: Spread,
    /// How many runs.
    pub runs: usize,
    /// How often the floor's median; measured in the same minutes.
    pub ratio: Option<f64>,
}

/// All figures of one benchmark.
#[derive(Clone, Debug)]
pub struct Report {
    /// The benchmark's name.
    pub title: String,
    /// What it ran on.
    pub machine: Machine,
    /// The figures.
    pub rows: Vec<Row>,
    /// What a reader must know beside them.
    pub notes: Vec<String>,
}

impl Report {
    /// An empty report of this machine.
    pub fn new(title: &str) -> Self {
        Self {
            title: title.into(),
            machine: Machine::now(),
            rows: vec![],
            notes: vec![],
        }
    }

    /// Prints the table.
    pub fn print(&self) {
        println!("\n{}: {}", self.title, self.machine);
        println!(
            "{:<12} {:<9} {:<18} {:>10} {:>10} {:>10}  {:<13} {:>5} {:>8}",
            "name", "workload", "figure", "min", "median", "max", "unit", "runs", "× floor"
        );
        for row in &self.rows {
            let ratio = row
                .ratio
                .map(|ratio| format!("{ratio:.2}"))
                .unwrap_or_default();
            let digits = if row.unit == "allocations" { 6 } else { 1 };
            println!(
                "{:<12} {:<9} {:<18} {:>10.digits$} {:>10.digits$} {:>10.digits$}  {:<13} {:>5} {:>8}",
                row.name,
                row.workload,
                row.figure,
                row.spread.min,
                row.spread.median,
                row.spread.max,
                row.unit,
                row.runs,
                ratio
            );
        }
        for note in &self.notes {
            println!("note: {note}");
        }
    }

    /// The report as JSON.
    pub fn to_json(&self) -> Value {
        let results: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                json!({
                    "name": row.name, "workload": row.workload, "figure": row.figure,
                    "unit": row.unit, "min": row.spread.min, "median": row.spread.median,
                    "max": row.spread.max, "runs": row.runs, "ratio": row.ratio,
                })
            })
            .collect();
        json!({
            "benchmark": self.title, "machine": self.machine.to_json(), "results": results,
            "notes": self.notes,
        })
    }

    /// Writes the JSON, making the folder if need be.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_json(&self, path: &Path) -> std::io::Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let text = serde_json::to_string_pretty(&self.to_json())?;
        std::fs::write(path, text + "\n")
    }
}
