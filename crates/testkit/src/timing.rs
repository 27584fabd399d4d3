//! Clocks: the thread's CPU time for costs, wall time beside it and for latencies.

use std::time::Instant;

use hdrhistogram::Histogram;
use rustix::time::{ClockId, clock_gettime};

/// CPU time of this thread so far, in nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

/// What a piece of work took.
#[derive(Clone, Copy, Debug)]
pub struct Timed {
    /// CPU time of this thread, in nanoseconds.
    pub cpu_ns: u64,
    /// Wall time, in nanoseconds.
    pub wall_ns: u64,
}

impl Timed {
    /// Times `work`.
    pub fn of(work: impl FnOnce()) -> Self {
        let (wall, cpu) = (Instant::now(), thread_cpu_ns());
        work();
        Self {
            cpu_ns: thread_cpu_ns() - cpu,
            wall_ns: wall.elapsed().as_nanos() as u64,
        }
    }
}

/// Percentiles of wall time, in nanoseconds, the cost of reading the clock included.
#[derive(Clone, Copy, Debug)]
pub struct Latency {
    /// Half are at or below this.
    pub p50: u64,
    /// 99 % are.
    pub p99: u64,
    /// 99.9 % are.
    pub p999: u64,
}

/// Times each item alone.
pub fn latencies<T>(items: &[T], mut each: impl FnMut(&T)) -> Latency {
    let mut histogram = Histogram::<u64>::new_with_bounds(1, 1_000_000_000, 3)
        .expect("invariant: the bounds of the histogram are valid");
    for item in items {
        let start = Instant::now();
        each(item);
        histogram.saturating_record(start.elapsed().as_nanos() as u64);
    }
    Latency {
        p50: histogram.value_at_quantile(0.5),
        p99: histogram.value_at_quantile(0.99),
        p999: histogram.value_at_quantile(0.999),
    }
}

/// What timing nothing shows: the median, in nanoseconds.
pub fn timer_cost_ns() -> u64 {
    latencies(&[(); 100_000], |()| {}).p50
}
