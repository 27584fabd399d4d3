//! Writing much without standing in the way: a disk that is given hundreds of megabytes at once lets
//! the next commit wait until it has them.

use std::time::{Duration, Instant};

/// Bytes between two looks at the clock, and between two syncs.
const STEP_BYTES: u64 = 4 << 20;

/// Holds a writer to a rate.
#[derive(Debug)]
pub(crate) struct Pace {
    bytes_per_second: u64,
    /// When the current step began.
    began: Instant,
    /// Bytes of it.
    bytes: u64,
}

impl Pace {
    pub fn new(bytes_per_second: u64) -> Self {
        Self {
            bytes_per_second: bytes_per_second.max(1),
            began: Instant::now(),
            bytes: 0,
        }
    }

    /// So many bytes were written. True at the end of a step: they are to be brought to the disk,
    /// then [`Pace::wait`] must be called.
    pub fn wrote(&mut self, bytes: u64) -> bool {
        self.bytes += bytes;
        self.bytes >= STEP_BYTES
    }

    /// Waits until the step's time is over.
    pub fn wait(&mut self) {
        let step = Duration::from_secs_f64(self.bytes as f64 / self.bytes_per_second as f64);
        let left = step.saturating_sub(self.began.elapsed());
        if !left.is_zero() {
            std::thread::sleep(left);
        }
        (self.began, self.bytes) = (Instant::now(), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_from_step_to_step() {
        let mut pace = Pace::new(400 << 20);
        let began = Instant::now();
        let mut steps = 0;
        for _ in 0..40 {
            if pace.wrote(1 << 20) {
                steps += 1;
                pace.wait();
            }
        }
        assert_eq!(steps, 10);
        assert!(
            began.elapsed() >= Duration::from_millis(95),
            "40 MiB at 400 MiB/s"
        );
    }
}
