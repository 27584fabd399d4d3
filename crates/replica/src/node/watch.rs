//! How long the parts of a turn take. A loop that stands still is silent to the others, and a few
//! hundred milliseconds of that cost a leader its lead: who looks for the reason finds it in the log.

use std::time::{Duration, Instant};

/// A turn that takes so long is reported.
const SLOW_TURN: Duration = Duration::from_millis(100);
/// Parts of a turn.
const PARTS: usize = 4;

/// Watches one turn.
#[derive(Debug)]
pub(super) struct Watch {
    last: Instant,
    laps: [(&'static str, Duration); PARTS],
    count: usize,
}

impl Watch {
    pub fn start() -> Self {
        Self {
            last: Instant::now(),
            laps: [("", Duration::ZERO); PARTS],
            count: 0,
        }
    }

    /// A part has ended.
    pub fn lap(&mut self, part: &'static str) {
        let now = Instant::now();
        if let Some(lap) = self.laps.get_mut(self.count) {
            *lap = (part, now - self.last);
            self.count += 1;
        }
        self.last = now;
    }

    /// The turn has ended: how long it took.
    pub fn end(self) -> Duration {
        let total: Duration = self.laps.iter().map(|(_, took)| *took).sum();
        if total >= SLOW_TURN {
            let slowest = self.laps.iter().max_by_key(|(_, took)| *took);
            let part = slowest.map_or("", |(part, _)| part);
            let took = total.as_millis() as u64;
            tracing::warn!(ms = took, part, "the loop stood still");
        }
        total
    }
}
