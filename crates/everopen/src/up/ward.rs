//! One process in the supervisor's care: when it was started, when it may be started again.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::process::{Process, Role};
use super::tail::Tail;

/// Before a process is started again the first time; doubled each time after that.
const BACK_OFF_FIRST: Duration = Duration::from_millis(50);
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// A process that lived so long starts anew with the shortest wait.
const SETTLED: Duration = Duration::from_secs(10);
/// So many short lives in a row are a fault that waiting does not cure.
pub const HOPELESS: u32 = 4;

/// Where a process stands.
pub enum State {
    /// It runs.
    Running { process: Process, since: Instant },
    /// It is started again at that moment.
    Due(Instant),
    /// It has ended as it should.
    Ended,
}

/// A process in care.
pub struct Ward {
    pub role: Role,
    pub address: SocketAddr,
    pub config: PathBuf,
    pub log_file: PathBuf,
    pub tail: Tail,
    pub state: State,
    /// Counts its lives, so that news of an earlier one is known as old.
    pub life: u64,
    /// It is to end and not to come back.
    pub is_leaving: bool,
    /// It is to end and another to take its place at once.
    pub is_replaced: bool,
    failures: u32,
}

impl Ward {
    /// A process that does not run yet.
    pub fn new(role: Role, address: SocketAddr, config: PathBuf, log_file: PathBuf) -> Self {
        Self {
            role,
            address,
            tail: Tail::from_end(&log_file),
            config,
            log_file,
            state: State::Due(Instant::now()),
            life: 0,
            is_leaving: false,
            is_replaced: false,
            failures: 0,
        }
    }

    /// The process, if it runs.
    pub fn process(&self) -> Option<&Process> {
        match &self.state {
            State::Running { process, .. } => Some(process),
            _ => None,
        }
    }

    /// When it is to be started, if it is.
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Due(at) => Some(at),
            _ => None,
        }
    }

    /// Short lives in a row.
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Notes that it runs.
    pub fn is_running(&mut self, process: Process, now: Instant) {
        self.life += 1;
        self.state = State::Running {
            process,
            since: now,
        };
    }

    /// Takes the process out, if it runs: how long it did, and itself.
    pub fn take(&mut self, now: Instant) -> Option<(Duration, Process)> {
        if !matches!(self.state, State::Running { .. }) {
            return None;
        }
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Running { process, since } => Some((now.duration_since(since), process)),
            _ => None,
        }
    }

    /// Notes that it has ended after that time (none if it could not be started) and says how long
    /// it waits, or none if it does not come back.
    pub fn has_ended(&mut self, now: Instant, lived: Duration) -> Option<Duration> {
        if self.is_leaving {
            self.state = State::Ended;
            return None;
        }
        if std::mem::take(&mut self.is_replaced) {
            self.state = State::Due(now);
            return Some(Duration::ZERO);
        }
        if lived >= SETTLED {
            self.failures = 0;
        }
        let wait = back_off(self.failures);
        self.failures += 1;
        self.state = State::Due(now + wait);
        Some(wait)
    }

    /// What is likely the reason that it ended: the last thing wrong in its log.
    pub fn reason(&self) -> &str {
        self.tail
            .last_urgent()
            .unwrap_or("nothing out of the usual")
    }
}

fn back_off(failures: u32) -> Duration {
    let doubled = BACK_OFF_FIRST.saturating_mul(1 << failures.min(16));
    doubled.min(BACK_OFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_two_seconds() {
        let waits: Vec<u128> = (0..8).map(|n| back_off(n).as_millis()).collect();
        assert_eq!(waits, [50, 100, 200, 400, 800, 1_600, 2_000, 2_000]);
        assert_eq!(back_off(u32::MAX), BACK_OFF_MAX);
    }

    #[test]
    fn a_process_that_leaves_does_not_come_back() {
        let address = SocketAddr::from(([127, 0, 0, 1], 1));
        let mut ward = Ward::new(Role::Gateway, address, "/none".into(), "/none.log".into());
        let now = Instant::now();
        let short = Duration::from_secs(1);
        assert_eq!(ward.has_ended(now, short), Some(BACK_OFF_FIRST));
        assert_eq!(ward.has_ended(now, short), Some(BACK_OFF_FIRST * 2));
        assert_eq!(ward.failures(), 2);
        assert_eq!(ward.has_ended(now, SETTLED), Some(BACK_OFF_FIRST));
        ward.is_leaving = true;
        assert_eq!(ward.has_ended(now, short), None);
        assert!(ward.due().is_none());
    }
}
