//! What happened to requests: counts and latencies, cheap enough to be kept of each.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::workers::PerWorker;

/// Steps between a latency and its double: a percentile is at most 19 % too high.
const STEPS: usize = 4;
/// Doublings of a microsecond: up to 134 s.
const DOUBLINGS: usize = 27;
const BUCKETS: usize = STEPS * DOUBLINGS + 1;

/// Counts of a group, kept apart for each thread.
#[derive(Debug, Default)]
pub struct Meter(PerWorker<Counts>);

#[derive(Debug)]
struct Counts {
    requests: AtomicU64,
    server_errors: AtomicU64,
    unreachable: AtomicU64,
    timeouts: AtomicU64,
    retries: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Default for Counts {
    fn default() -> Self {
        Self {
            requests: AtomicU64::new(0),
            server_errors: AtomicU64::new(0),
            unreachable: AtomicU64::new(0),
            timeouts: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

/// What became of a request that was sent to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered, with this status.
    Answered(u16),
    /// No target took it.
    Unreachable,
    /// A target took it and did not answer in time, or broke off.
    Unanswered,
}

fn bucket(took: Duration) -> usize {
    let micros = took.as_micros().clamp(1, u128::from(u32::MAX)) as u64;
    let doubling = micros.ilog2() as usize;
    let into = ((micros << 8) >> doubling) as usize - 256;
    (doubling * STEPS + into * STEPS / 256 + 1).min(BUCKETS - 1)
}

/// The highest latency that a bucket holds, in microseconds.
fn highest(bucket: usize) -> u64 {
    let (doubling, step) = (
        bucket.saturating_sub(1) / STEPS,
        bucket.saturating_sub(1) % STEPS,
    );
    let base = 1u64 << doubling;
    base + base * (step as u64 + 1) / STEPS as u64
}

impl Meter {
    pub(crate) fn retried(&self) {
        self.0.here().retries.fetch_add(1, Relaxed);
    }

    /// Counts a request that has ended.
    pub fn ended(&self, outcome: Outcome, took: Duration) {
        let counts = self.0.here();
        counts.requests.fetch_add(1, Relaxed);
        match outcome {
            Outcome::Answered(status) if status < 500 => {}
            Outcome::Answered(_) => drop(counts.server_errors.fetch_add(1, Relaxed)),
            Outcome::Unreachable => drop(counts.unreachable.fetch_add(1, Relaxed)),
            Outcome::Unanswered => drop(counts.timeouts.fetch_add(1, Relaxed)),
        }
        counts.buckets[bucket(took)].fetch_add(1, Relaxed);
    }

    /// All that was counted so far.
    pub fn read(&self) -> Reading {
        let sum = |count: &dyn Fn(&Counts) -> &AtomicU64| {
            let each = self.0.iter().map(|counts| count(counts).load(Relaxed));
            each.sum::<u64>()
        };
        let latency = (0..BUCKETS).map(|at| sum(&|counts| &counts.buckets[at]));
        Reading {
            requests: sum(&|counts| &counts.requests),
            server_errors: sum(&|counts| &counts.server_errors),
            unreachable: sum(&|counts| &counts.unreachable),
            unanswered: sum(&|counts| &counts.timeouts),
            retries: sum(&|counts| &counts.retries),
            latency: Latency(latency.collect()),
        }
    }
}

/// Counts at a moment; two of them tell what happened in between.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// Requests that ended.
    pub requests: u64,
    /// Of them, answered with 500 to 599.
    pub server_errors: u64,
    /// Of them, taken by no target.
    pub unreachable: u64,
    /// Of them, taken and not answered in time or not to the end.
    pub unanswered: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// How long they took.
    pub latency: Latency,
}

impl Reading {
    /// What came after an earlier reading.
    pub fn since(&self, before: &Self) -> Self {
        let less = |now: u64, then: u64| now.saturating_sub(then);
        let pairs = self.latency.0.iter().enumerate();
        let latency =
            pairs.map(|(at, now)| less(*now, before.latency.0.get(at).copied().unwrap_or(0)));
        Self {
            requests: less(self.requests, before.requests),
            server_errors: less(self.server_errors, before.server_errors),
            unreachable: less(self.unreachable, before.unreachable),
            unanswered: less(self.unanswered, before.unanswered),
            retries: less(self.retries, before.retries),
            latency: Latency(latency.collect()),
        }
    }

    /// Requests that a client saw fail.
    pub fn failed(&self) -> u64 {
        self.server_errors + self.unreachable + self.unanswered
    }
}

/// Latencies in buckets of a quarter of a doubling.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Latency(Vec<u64>);

impl Latency {
    /// The latency in microseconds that this share of requests (in percent) did not exceed, rounded up
    /// to its bucket; none without requests.
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        let all: u64 = self.0.iter().sum();
        if all == 0 {
            return None;
        }
        let rank = ((all as f64 * percent / 100.0).ceil() as u64).clamp(1, all);
        let mut seen = 0;
        let at = self.0.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        at.map(highest)
    }

    /// How many took longer than that, in microseconds; those that may have, by their bucket, count.
    pub fn slower(&self, than: u64) -> u64 {
        let all = self.0.iter().enumerate();
        all.filter(|(at, _)| highest(*at) > than)
            .map(|(_, count)| count)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_at_most_a_quarter_of_a_doubling_too_high() {
        let meter = Meter::default();
        for micros in 1..=10_000u64 {
            meter.ended(Outcome::Answered(200), Duration::from_micros(micros));
        }
        let reading = meter.read();
        for (percent, exact) in [(1.0, 100), (50.0, 5_000), (99.0, 9_900), (100.0, 10_000)] {
            let found = reading.latency.percentile(percent).unwrap();
            assert!(
                found >= exact && found as f64 <= exact as f64 * 1.26,
                "{percent}: {found}"
            );
        }
        let latency = reading.latency;
        let p99 = latency.percentile(99.0).unwrap();
        assert!(latency.slower(p99) <= 100 && latency.slower(p99 - 1) > 100);
        assert_eq!((latency.slower(0), latency.slower(20_000)), (10_000, 0));
        assert_eq!(Reading::default().latency.percentile(50.0), None);
        assert_eq!(Reading::default().latency.slower(0), 0);
    }

    #[test]
    fn extreme_latencies_have_a_bucket() {
        assert!(bucket(Duration::ZERO) < BUCKETS);
        assert_eq!(bucket(Duration::from_secs(1 << 40)), BUCKETS - 1);
        let mut last = 0;
        for micros in (0..28).map(|power| 1u64 << power) {
            let at = bucket(Duration::from_micros(micros));
            assert!(at >= last && highest(at) >= micros.min(highest(BUCKETS - 1)));
            last = at;
        }
    }

    #[test]
    fn two_readings_tell_what_came_in_between() {
        let meter = Meter::default();
        meter.ended(Outcome::Answered(503), Duration::from_millis(1));
        let before = meter.read();
        meter.ended(Outcome::Unreachable, Duration::from_millis(100));
        meter.ended(Outcome::Unanswered, Duration::from_millis(100));
        meter.ended(Outcome::Answered(404), Duration::from_millis(100));
        let between = meter.read().since(&before);
        assert_eq!((between.requests, between.failed()), (3, 2));
        assert!(between.latency.percentile(1.0).unwrap() >= 100_000);
        assert_eq!(before.failed(), 1);
    }
}
