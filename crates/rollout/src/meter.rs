//! The downtime meter: what somebody outside notices, asked for every 20 ms.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use everopen_edge::{Meter as Counts, Outcome, Reading};
use tokio::task::JoinHandle;

use crate::file::Budget;
use crate::http;

/// Between two probes, counted from when they are due.
const EVERY: Duration = Duration::from_millis(20);
/// How long a probe waits for its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was noticed so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noticed {
    pub probes: u64,
    pub failed: u64,
    /// The longest time between the moments at which two good answers had been due.
    pub longest_gap: Duration,
    /// The slowest good answer, from when its probe was due.
    pub slowest: Duration,
    /// How long good answers took before traffic moved, and since.
    pub latency: Option<(Reading, Reading)>,
}

impl fmt::Display for Noticed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} of {} probes failed, longest gap {} ms, slowest answer {} ms",
            self.failed,
            self.probes,
            self.longest_gap.as_millis(),
            self.slowest.as_millis()
        )?;
        let Some((before, since)) = &self.latency else {
            return Ok(());
        };
        let of = |reading: &Reading, percent| reading.latency.percentile(percent);
        // Percentiles of the probes, in milliseconds; what was added may be below zero.
        for (name, percent) in [("median", 50.0), ("p99", 99.0)] {
            if let (Some(was), Some(is)) = (of(before, percent), of(since, percent)) {
                let (was, is) = (was as f64 / 1_000.0, is as f64 / 1_000.0);
                write!(f, ", {name} {is:.1} ms ({:+.1})", is - was)?;
            }
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Shared {
    noticed: Noticed,
    last_good: Instant,
    /// What had been counted when traffic began to move.
    before: Option<Reading>,
}

/// A running meter.
#[derive(Debug)]
pub(crate) struct Meter {
    shared: Arc<Mutex<Shared>>,
    counts: Arc<Counts>,
    budget: Budget,
    task: JoinHandle<()>,
}

fn lock(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Meter {
    /// Begins to ask.
    pub fn start(budget: &Budget) -> Self {
        let shared = Arc::new(Mutex::new(Shared {
            noticed: Noticed::default(),
            last_good: Instant::now(),
            before: None,
        }));
        let counts = Arc::new(Counts::default());
        let (asked, at) = (Arc::clone(&shared), budget.clone());
        let counted = Arc::clone(&counts);
        let task = tokio::spawn(async move {
            let mut due = tokio::time::interval(EVERY);
            loop {
                let due = due.tick().await.into_std();
                let (asked, at) = (Arc::clone(&asked), at.clone());
                let counted = Arc::clone(&counted);
                tokio::spawn(async move {
                    let answer = http::get(&at.at, &at.path, PATIENCE).await;
                    let mut shared = lock(&asked);
                    shared.noticed.probes += 1;
                    if !answer.is_ok_and(|answer| answer.status < 500) {
                        shared.noticed.failed += 1;
                        return;
                    }
                    let gap = due.saturating_duration_since(shared.last_good);
                    shared.noticed.longest_gap = shared.noticed.longest_gap.max(gap);
                    shared.noticed.slowest = shared.noticed.slowest.max(due.elapsed());
                    counted.ended(Outcome::Answered(200), due.elapsed());
                    shared.last_good = shared.last_good.max(due);
                });
            }
        });
        Self {
            shared,
            counts,
            budget: budget.clone(),
            task,
        }
    }

    /// From here on traffic moves; what came before is the measure.
    pub fn traffic_moves(&self) {
        let mut shared = lock(&self.shared);
        if shared.before.is_none() {
            shared.before = Some(self.counts.read());
        }
    }

    pub fn noticed(&self) -> Noticed {
        let shared = lock(&self.shared);
        let since = |before: &Reading| (before.clone(), self.counts.read().since(before));
        Noticed {
            latency: shared.before.as_ref().map(since),
            ..shared.noticed.clone()
        }
    }

    /// Why the budget is used up; none if it is not.
    pub fn breach(&self) -> Option<String> {
        let shared = lock(&self.shared);
        let noticed = &shared.noticed;
        // One that lasts counts as well.
        let gap = noticed
            .longest_gap
            .max(shared.last_good.elapsed().saturating_sub(PATIENCE));
        let too_long = gap > Duration::from_millis(self.budget.gap_ms);
        (noticed.failed > self.budget.failed || too_long)
            .then(|| format!("the error budget is used up: {noticed}"))
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.task.abort();
    }
}
