//! What a running replica counts about itself.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Counters since the start of the process, and the latencies since they were last asked for.
#[derive(Debug)]
pub struct Stats {
    last_index: AtomicU64,
    commands: AtomicU64,
    entries: AtomicU64,
    busy: AtomicU64,
    journal_full: AtomicU64,
    log_bytes: AtomicU64,
    ended: AtomicBool,
    latencies: Mutex<Buckets>,
}

/// Latencies from submission to answer: the time in the queue, the commit, the venue and the
/// reader included. Percentiles are upper bounds, at most 1/16 too high.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LatencySummary {
    /// How many were measured.
    pub count: u64,
    /// Half were at most this.
    pub p50: Duration,
    /// 99 of 100 were at most this.
    pub p99: Duration,
    /// The largest.
    pub max: Duration,
}

/// Sixteen linear steps within each power of two of nanoseconds.
#[derive(Debug)]
struct Buckets {
    counts: [u32; 64 * 16],
    count: u64,
    max_ns: u64,
}

impl Buckets {
    const EMPTY: Self = Self {
        counts: [0; 64 * 16],
        count: 0,
        max_ns: 0,
    };

    fn record(&mut self, ns: u64) {
        let ns = ns.max(16);
        let power = ns.ilog2();
        let step = (ns >> (power - 4)) & 15;
        let at = (power as usize) * 16 + step as usize;
        self.counts[at] = self.counts[at].saturating_add(1);
        self.count += 1;
        self.max_ns = self.max_ns.max(ns);
    }

    fn percentile(&self, per_mille: u64) -> Duration {
        let rank = (self.count * per_mille).div_ceil(1000);
        let mut seen = 0;
        for (at, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= rank && *count > 0 {
                let (power, step) = (at / 16, (at % 16) as u64);
                let end = ((16 + step + 1) << (power - 4)) - 1;
                return Duration::from_nanos(end.min(self.max_ns));
            }
        }
        Duration::ZERO
    }
}

impl Stats {
    pub(crate) fn new(last_index: u64) -> Self {
        Self {
            last_index: AtomicU64::new(last_index),
            commands: AtomicU64::new(0),
            entries: AtomicU64::new(0),
            busy: AtomicU64::new(0),
            journal_full: AtomicU64::new(0),
            log_bytes: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            latencies: Mutex::new(Buckets::EMPTY),
        }
    }

    pub(crate) fn count_entry(&self, index: u64, commands: u64, bytes: u64) {
        self.last_index.store(index, Relaxed);
        self.commands.fetch_add(commands, Relaxed);
        self.entries.fetch_add(1, Relaxed);
        self.log_bytes.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn count_busy(&self) {
        self.busy.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_journal_full(&self, commands: u64) {
        self.journal_full.fetch_add(commands, Relaxed);
    }

    pub(crate) fn record(&self, latencies: impl Iterator<Item = Duration>) {
        let mut buckets = self
            .latencies
            .lock()
            .expect("invariant: nothing panics while counting");
        for latency in latencies {
            buckets.record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
        }
    }

    pub(crate) fn end(&self) {
        self.ended.store(true, Relaxed);
    }

    /// True once the loop has ended: no command is taken any more.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// The last applied entry.
    pub fn last_index(&self) -> u64 {
        self.last_index.load(Relaxed)
    }

    /// Commands applied.
    pub fn commands(&self) -> u64 {
        self.commands.load(Relaxed)
    }

    /// Entries applied, each made durable by one commit.
    pub fn entries(&self) -> u64 {
        self.entries.load(Relaxed)
    }

    /// Bytes of entries written.
    pub fn log_bytes(&self) -> u64 {
        self.log_bytes.load(Relaxed)
    }

    /// Submissions that were answered "busy".
    pub fn busy(&self) -> u64 {
        self.busy.load(Relaxed)
    }

    /// Commands that were refused since the log had no room.
    pub fn journal_full(&self) -> u64 {
        self.journal_full.load(Relaxed)
    }

    /// The latencies since the last call.
    pub fn take_latencies(&self) -> LatencySummary {
        let mut buckets = self
            .latencies
            .lock()
            .expect("invariant: nothing panics while counting");
        let summary = LatencySummary {
            count: buckets.count,
            p50: buckets.percentile(500),
            p99: buckets.percentile(990),
            max: Duration::from_nanos(buckets.max_ns),
        };
        *buckets = Buckets::EMPTY;
        summary
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_upper_bounds_within_a_sixteenth() {
        let stats = Stats::new(0);
        stats.record((1..=10_000).map(Duration::from_micros));
        let summary = stats.take_latencies();
        assert_eq!(summary.count, 10_000);
        assert_eq!(summary.max, Duration::from_micros(10_000));
        let p50 = summary.p50.as_micros();
        assert!((5_000..=5_000 * 17 / 16).contains(&p50), "{p50}");
        let p99 = summary.p99.as_micros();
        assert!((9_900..=10_000).contains(&p99), "{p99}");
        assert_eq!(stats.take_latencies(), LatencySummary::default());
    }
}
