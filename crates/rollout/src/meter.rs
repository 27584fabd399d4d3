//! The downtime meter: what somebody outside notices, asked for every 20 ms.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::file::Budget;
use crate::http;

/// Between two probes, counted from when they are due.
const EVERY: Duration = Duration::from_millis(20);
/// How long a probe waits for its answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// What was noticed so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Noticed {
    pub probes: u64,
    pub failed: u64,
    /// The longest time between the moments at which two good answers had been due.
    pub longest_gap: Duration,
    /// The slowest good answer, from when its probe was due.
    pub slowest: Duration,
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
        )
    }
}

#[derive(Debug)]
struct Shared {
    noticed: Noticed,
    last_good: Instant,
}

/// A running meter.
#[derive(Debug)]
pub(crate) struct Meter {
    shared: Arc<Mutex<Shared>>,
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
        }));
        let (asked, at) = (Arc::clone(&shared), budget.clone());
        let task = tokio::spawn(async move {
            let mut due = tokio::time::interval(EVERY);
            loop {
                let due = due.tick().await.into_std();
                let (asked, at) = (Arc::clone(&asked), at.clone());
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
                    shared.last_good = shared.last_good.max(due);
                });
            }
        });
        Self {
            shared,
            budget: budget.clone(),
            task,
        }
    }

    pub fn noticed(&self) -> Noticed {
        lock(&self.shared).noticed
    }

    /// Why the budget is used up; none if it is not.
    pub fn breach(&self) -> Option<String> {
        let shared = lock(&self.shared);
        let noticed = shared.noticed;
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
