//! A target in memory with a known latency and a clock of its own, for the tests of the generators.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use super::{Busy, Done, Target};

/// Answers each command after the same time; its clock moves only when somebody waits.
pub struct Simulated {
    begin: Instant,
    elapsed: Duration,
    latency: Duration,
    capacity: usize,
    /// Due times since the beginning, in order, and the answers.
    under_way: VecDeque<(Duration, Done)>,
    submitted: u64,
    /// Each so-and-so-many-th command is refused; 0 for none.
    pub refuse_every: u64,
    /// This command, counted from 0, gets no answer.
    pub swallow: Option<u64>,
    /// Between these times nothing is answered and the clock jumps over them in one wait.
    pub stall: Option<(Duration, Duration)>,
}

impl Simulated {
    pub fn new(latency: Duration, capacity: usize) -> Self {
        Self {
            begin: Instant::now(),
            elapsed: Duration::ZERO,
            latency,
            capacity,
            under_way: VecDeque::new(),
            submitted: 0,
            refuse_every: 0,
            swallow: None,
            stall: None,
        }
    }
}

impl Target for Simulated {
    fn submit(&mut self, token: u64) -> Result<(), Busy> {
        if self.under_way.len() == self.capacity {
            return Err(Busy);
        }
        let number = self.submitted;
        self.submitted += 1;
        if self.swallow != Some(number) {
            let accepted =
                self.refuse_every == 0 || !self.submitted.is_multiple_of(self.refuse_every);
            let answer = Done { token, accepted };
            self.under_way
                .push_back((self.elapsed + self.latency, answer));
        }
        Ok(())
    }

    fn poll(&mut self, until: Instant, done: &mut Vec<Done>) -> io::Result<()> {
        let until = until.saturating_duration_since(self.begin);
        let due = self.under_way.front().map_or(until, |(due, _)| *due);
        self.elapsed = self.elapsed.max(due.min(until));
        if let Some((from, to)) = self.stall
            && (from..to).contains(&self.elapsed)
        {
            self.elapsed = to;
        }
        while let Some(&(due, answer)) = self.under_way.front() {
            if due > self.elapsed {
                break;
            }
            self.under_way.pop_front();
            done.push(answer);
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        self.begin + self.elapsed
    }
}
