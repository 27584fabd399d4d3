//! Load on something that answers later: closed loops and open loops on one thread.
//!
//! What is loaded is a [`Target`]; the same generators drive every system, so that two figures
//! differ by the systems and not by how they were asked.
//!
//! - [`keep_outstanding`] is the closed loop: so many commands are always under way, and an answer
//!   lets the next one go. With one it measures latency alone, with a wide window throughput. It
//!   slows down with what it measures, so its percentiles are no promise for a given rate.
//! - [`open_loop`] sends at fixed times that do not wait for answers, and counts latency from the
//!   time at which a command was meant to be sent: lateness of any kind counts (no coordinated
//!   omission).

mod closed;
mod open;
#[cfg(test)]
mod simulated;

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

pub use closed::keep_outstanding;
pub use open::open_loop;

/// How long answers are waited for after the last command.
const DRAIN: Duration = Duration::from_secs(10);
/// How long a target that is busy is left alone before the next try.
const BUSY_PAUSE: Duration = Duration::from_micros(100);

/// The target has no room now; the command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Busy;

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Done {
    /// The command's token.
    pub token: u64,
    /// Whether the command was carried out; otherwise it was refused, or nobody knows.
    pub accepted: bool,
}

/// A system under load. Used by one thread.
pub trait Target {
    /// Takes one command. In a closed loop the token is the number of the client that sends it,
    /// in an open loop the command's number. It may be held back until the next [`Target::poll`],
    /// so that many go out together.
    ///
    /// # Errors
    /// [`Busy`] when it has as much under way as it can; the generator tries again.
    fn submit(&mut self, token: u64) -> Result<(), Busy>;

    /// Sends what was held back, waits until there is an answer or the time `until` has come, and
    /// appends every answer there is. A time that has passed means: do not wait.
    ///
    /// # Errors
    /// When the system is gone; the measurement then ends without a result.
    fn poll(&mut self, until: Instant, done: &mut Vec<Done>) -> io::Result<()>;

    /// What time it is for this target. A simulated one brings its own clock.
    fn now(&self) -> Instant {
        Instant::now()
    }
}

/// For how long to load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Load first, without measuring.
    pub warmup: Duration,
    /// Then measure.
    pub measured: Duration,
}

impl Span {
    /// A measurement of that length, with a fifth of it before.
    pub fn of(measured: Duration) -> Self {
        Self {
            warmup: measured / 5,
            measured,
        }
    }
}

/// What came of a measurement.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Commands carried out in the measured time.
    pub completed: u64,
    /// Commands that were answered with a refusal.
    pub refused: u64,
    /// Commands that never got an answer, or could never be sent.
    pub unanswered: u64,
    /// How often the target was busy; those commands were tried again.
    pub busy: u64,
    /// The measured time.
    pub took: Duration,
    /// Latency of the completed commands in nanoseconds.
    pub latency: Histogram<u64>,
}

impl Outcome {
    fn new() -> Self {
        Self {
            completed: 0,
            refused: 0,
            unanswered: 0,
            busy: 0,
            took: Duration::ZERO,
            latency: Histogram::new_with_bounds(1, 60_000_000_000, 3)
                .expect("invariant: the bounds of the histogram are valid"),
        }
    }

    fn record(&mut self, latency: Duration) {
        self.completed += 1;
        self.latency.saturating_record(latency.as_nanos() as u64);
    }

    /// Completed commands per second.
    pub fn per_second(&self) -> f64 {
        if self.took.is_zero() {
            return 0.0;
        }
        self.completed as f64 / self.took.as_secs_f64()
    }

    /// The latency below which this part of the commands lies, in microseconds.
    pub fn latency_us(&self, quantile: f64) -> f64 {
        self.latency.value_at_quantile(quantile) as f64 / 1e3
    }

    /// Whether every command was carried out.
    pub fn is_clean(&self) -> bool {
        self.refused == 0 && self.unanswered == 0
    }
}
