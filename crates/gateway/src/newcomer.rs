//! A gateway that begins to get a member's requests in the place of another one: what that one answered
//! a moment ago must be visible here, too.
//!
//! Each gateway answers a command only when its own views show it, and so a member finds at one gateway
//! what it was answered there. When members come over from another gateway, this one's views may lack the
//! last milliseconds of what they were told, and what the other is still working on.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Without a signed request for so long, the next ones come from elsewhere.
const QUIET: Duration = Duration::from_secs(3);
/// For so long the other one may still be answering.
const CARE: Duration = Duration::from_secs(5);

/// Whether members have just come over.
#[derive(Debug)]
pub(crate) struct Newcomer {
    started: Instant,
    /// Milliseconds from the start to the last signed request, and one; 0 for none.
    last: AtomicU64,
    /// Milliseconds from the start until which care is taken.
    until: AtomicU64,
}

impl Newcomer {
    pub fn new(started: Instant) -> Self {
        Self {
            started,
            last: AtomicU64::new(0),
            until: AtomicU64::new(0),
        }
    }

    /// Notes a signed request, and says whether a read of it should wait for the whole venue.
    pub fn takes_care(&self, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.started).as_millis() as u64 + 1;
        let last = self.last.swap(now, Relaxed);
        if last == 0 || now.saturating_sub(last) > QUIET.as_millis() as u64 {
            let until = now + CARE.as_millis() as u64;
            self.until.fetch_max(until, Relaxed);
        }
        now < self.until.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn care_is_taken_at_first_and_after_a_quiet_time() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let newcomer = Newcomer::new(start);
        assert!(newcomer.takes_care(at(0)) && newcomer.takes_care(at(2_500)));
        assert!(newcomer.takes_care(at(4_999)));
        for ms in (5_000..60_000).step_by(2_900) {
            assert!(!newcomer.takes_care(at(ms)), "{ms}");
        }
        assert!(newcomer.takes_care(at(70_000)) && newcomer.takes_care(at(72_000)));
        assert!(!newcomer.takes_care(at(75_000)));
    }
}
