//! What a gateway counts about itself, for the live summary.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use everopen_domain::Event;
use hdrhistogram::Histogram;

/// A latency that is longer counts as this.
const LATENCY_MAX_US: u64 = 60_000_000;

/// What happened since the start of the process.
#[derive(Debug)]
pub struct Counts {
    commands: AtomicU64,
    orders: AtomicU64,
    trades: AtomicU64,
    latencies: Mutex<Histogram<u64>>,
}

/// Latencies from submission to answer, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    pub count: u64,
    pub p50_us: u64,
    pub p99_us: u64,
}

impl Default for Counts {
    fn default() -> Self {
        let latencies = Histogram::new_with_bounds(1, LATENCY_MAX_US, 2)
            .expect("invariant: the bounds make a histogram");
        Self {
            commands: AtomicU64::new(0),
            orders: AtomicU64::new(0),
            trades: AtomicU64::new(0),
            latencies: Mutex::new(latencies),
        }
    }
}

impl Counts {
    /// Counts what happened in the venue.
    pub fn add(&self, events: &[Event]) {
        let count = |f: fn(&Event) -> bool| events.iter().filter(|e| f(e)).count() as u64;
        self.orders
            .fetch_add(count(|e| matches!(e, Event::OrderAccepted { .. })), Relaxed);
        self.trades
            .fetch_add(count(|e| matches!(e, Event::Traded { .. })), Relaxed);
    }

    /// Counts commands of this gateway that were answered after that time.
    pub fn answered(&self, commands: u64, latency: Duration) {
        self.commands.fetch_add(commands, Relaxed);
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        self.latencies
            .lock()
            .expect("invariant: nothing panics while counting")
            .saturating_record(us.max(1));
    }

    /// Commands of this gateway that were answered.
    pub fn commands(&self) -> u64 {
        self.commands.load(Relaxed)
    }

    /// Orders accepted in the venue.
    pub fn orders(&self) -> u64 {
        self.orders.load(Relaxed)
    }

    /// Trades in the venue.
    pub fn trades(&self) -> u64 {
        self.trades.load(Relaxed)
    }

    /// The latencies since the last call.
    pub fn take_latency(&self) -> Latency {
        let mut latencies = self
            .latencies
            .lock()
            .expect("invariant: nothing panics while counting");
        let latency = Latency {
            count: latencies.len(),
            p50_us: latencies.value_at_quantile(0.5),
            p99_us: latencies.value_at_quantile(0.99),
        };
        latencies.reset();
        latency
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_those_since_the_last_look() {
        let counts = Counts::default();
        for us in 1..=1_000 {
            counts.answered(1, Duration::from_micros(us));
        }
        let latency = counts.take_latency();
        assert_eq!(latency.count, 1_000);
        assert!((495..=510).contains(&latency.p50_us), "{latency:?}");
        assert!((980..=1_000).contains(&latency.p99_us), "{latency:?}");
        assert_eq!(counts.take_latency().count, 0);
        assert_eq!(counts.commands(), 1_000);
    }
}
