//! Headings, durations, the closing table and the totals of every test runner.

use std::time::{Duration, Instant};

/// Tests counted from the closing lines of `cargo test` and `pytest`.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Totals {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed or could not be set up.
    pub failed: u64,
    /// Tests that were not run.
    pub skipped: u64,
}

impl Totals {
    /// Adds the totals of one line of output, if it is a closing line.
    pub fn add_line(&mut self, line: &str) {
        let line = line.trim();
        if let Some(rest) = line.strip_prefix("test result: ") {
            let counts = rest.split_once(". ").map_or(rest, |(_, counts)| counts);
            self.add_counts(counts.split(';'));
        } else {
            // pytest frames its closing line unless it was told to be quiet.
            let line = line.trim_matches('=').trim();
            if let Some((counts, time)) = line.split_once(" in ")
                && time.starts_with(|c: char| c.is_ascii_digit())
                && counts.starts_with(|c: char| c.is_ascii_digit())
            {
                self.add_counts(counts.split(','));
            }
        }
    }

    fn add_counts<'a>(&mut self, parts: impl Iterator<Item = &'a str>) {
        for part in parts {
            let mut words = part.split_whitespace();
            let (Some(count), Some(word)) = (words.next(), words.next()) else {
                continue;
            };
            let Ok(count) = count.parse::<u64>() else {
                continue;
            };
            match word {
                "passed" => self.passed += count,
                "failed" | "error" | "errors" => self.failed += count,
                "ignored" | "skipped" => self.skipped += count,
                _ => {}
            }
        }
    }

    /// Adds another count to this one.
    pub fn add(&mut self, other: Totals) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// How a step ended.
pub enum Outcome {
    /// It did what it is for.
    Passed(Totals),
    /// It did not; the text says what to look at.
    Failed(Totals, String),
    /// It was not run; the text says why and what would change that.
    LeftOut(String),
}

struct Row {
    name: &'static str,
    took: Duration,
    outcome: Outcome,
}

/// The steps of one run, in order.
pub struct Report {
    rows: Vec<Row>,
    steps: usize,
    started: Instant,
}

impl Report {
    /// A report for the number of steps given.
    pub fn new(steps: usize) -> Self {
        Report {
            rows: Vec::new(),
            steps,
            started: Instant::now(),
        }
    }

    /// Announces a step, runs it, and keeps how it went.
    pub fn step(
        &mut self,
        name: &'static str,
        about: &str,
        work: impl FnOnce() -> anyhow::Result<Outcome>,
    ) {
        println!(
            "\n==> [{}/{}] {name}: {about}   (at {})",
            self.rows.len() + 1,
            self.steps,
            seconds(self.started.elapsed())
        );
        let started = Instant::now();
        let outcome =
            work().unwrap_or_else(|error| Outcome::Failed(Totals::default(), format!("{error:#}")));
        let took = started.elapsed();
        match &outcome {
            Outcome::Passed(_) => println!("    {name}: ok in {}", seconds(took)),
            Outcome::Failed(_, why) => println!("    {name}: FAILED in {}: {why}", seconds(took)),
            Outcome::LeftOut(why) => println!("    left out: {why}"),
        }
        self.rows.push(Row {
            name,
            took,
            outcome,
        });
    }

    /// Prints the table and the closing line; whether nothing failed.
    ///
    /// A step that fails without a failing test (formatting, say) counts as one failure, so that the last line
    /// never claims zero failures for a failed run.
    pub fn close(self) -> bool {
        println!(
            "\n{:<14} {:>9}  {:>6}  {:>6}  result",
            "step", "time", "passed", "failed"
        );
        println!("{}", "-".repeat(70));
        let mut all = Totals::default();
        for row in &self.rows {
            let (totals, result) = match &row.outcome {
                Outcome::Passed(totals) => (*totals, "ok".to_owned()),
                Outcome::Failed(totals, why) => (
                    Totals {
                        failed: totals.failed.max(1),
                        ..*totals
                    },
                    format!("FAILED: {why}"),
                ),
                Outcome::LeftOut(why) => (Totals::default(), format!("left out: {why}")),
            };
            all.add(totals);
            println!(
                "{:<14} {:>9}  {:>6}  {:>6}  {result}",
                row.name,
                seconds(row.took),
                totals.passed,
                totals.failed
            );
        }
        println!("{}", "-".repeat(70));
        println!("total time {}", seconds(self.started.elapsed()));
        if all.skipped > 0 {
            println!("{} tests were skipped by their runners", all.skipped);
        }
        println!("\n{} passed, {} failed", all.passed, all.failed);
        all.failed == 0
    }
}

/// A duration as a person reads it.
pub fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    if whole >= 60 {
        format!("{}m {:02}s", whole / 60, whole % 60)
    } else {
        format!("{}.{}s", whole, time.subsec_millis() / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(lines: &[&str]) -> (u64, u64, u64) {
        let mut totals = Totals::default();
        for line in lines {
            totals.add_line(line);
        }
        (totals.passed, totals.failed, totals.skipped)
    }

    #[test]
    fn closing_lines_of_cargo_test_add_up() {
        let lines = [
            "running 3 tests",
            "test a ... ok",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.02s",
            "test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1s",
        ];
        assert_eq!(totals(&lines), (13, 2, 1));
    }

    #[test]
    fn closing_lines_of_pytest_add_up_and_errors_are_failures() {
        let lines = [
            "======= test session starts =======",
            "tests/test_x.py ..F                     [100%]",
            "=== 1 failed, 41 passed, 2 skipped, 3 errors in 12.30s ===",
            "===== 5 passed in 0.10s =====",
            "272 passed in 85.72s (0:01:25)",
            "3 passed in the past, says somebody",
        ];
        assert_eq!(totals(&lines), (318, 4, 2));
    }

    #[test]
    fn a_failed_step_without_a_failed_test_is_a_failure() {
        let mut report = Report::new(1);
        report.step("fmt", "formatting", || {
            Ok(Outcome::Failed(Totals::default(), "diff".into()))
        });
        assert!(!report.close());
    }

    #[test]
    fn a_step_left_out_is_not_a_failure() {
        let mut report = Report::new(1);
        report.step("deny", "policy", || {
            Ok(Outcome::LeftOut("not installed".into()))
        });
        assert!(report.close());
    }
}
