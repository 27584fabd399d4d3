//! The open loop.

use std::io;
use std::time::{Duration, Instant};

use super::{BUSY_PAUSE, DRAIN, Outcome, Span, Target};

/// Sends `rate` commands a second at fixed times, whatever the answers do.
///
/// Latency is from the time at which a command was meant to be sent; what waits because the target
/// is busy or the generator is late counts it as latency. The commands that were meant to be sent
/// in the measured time count, whenever they are answered.
///
/// # Errors
/// What the target's [`Target::poll`] fails with.
///
/// # Panics
/// When `rate` is zero.
pub fn open_loop(
    target: &mut (impl Target + ?Sized),
    rate: u64,
    span: Span,
) -> io::Result<Outcome> {
    assert!(rate > 0, "invariant: an open loop has a rate");
    let mut outcome = Outcome::new();
    let begin = target.now();
    let schedule = Schedule { begin, rate };
    let first_measured = schedule.before(span.warmup);
    let total = schedule.before(span.warmup + span.measured);
    let give_up = begin + span.warmup + span.measured + DRAIN;
    let (mut next, mut answered) = (0, 0);
    let mut answered_measured = 0;
    let mut last = begin;
    let mut done = Vec::new();
    let mut now = begin;
    while answered < total && now < give_up {
        let mut until = give_up;
        while next < total {
            let intended = schedule.at(next);
            if intended > now {
                until = intended;
                break;
            }
            if target.submit(next).is_err() {
                outcome.busy += 1;
                until = now + BUSY_PAUSE;
                break;
            }
            next += 1;
        }
        target.poll(until, &mut done)?;
        now = target.now();
        for answer in done.drain(..) {
            assert!(
                answer.token < next,
                "invariant: an answer belongs to a command that was sent"
            );
            answered += 1;
            if answer.token < first_measured {
                continue;
            }
            answered_measured += 1;
            last = now;
            if answer.accepted {
                outcome.record(now - schedule.at(answer.token));
            } else {
                outcome.refused += 1;
            }
        }
    }
    outcome.unanswered = total - first_measured - answered_measured;
    outcome.took = last.saturating_duration_since(begin + span.warmup);
    Ok(outcome)
}

/// When each command is meant to be sent.
struct Schedule {
    begin: Instant,
    rate: u64,
}

impl Schedule {
    fn at(&self, number: u64) -> Instant {
        // From the number and not from the one before, so that rounding does not add up.
        let nanos = u128::from(number) * 1_000_000_000 / u128::from(self.rate);
        self.begin + Duration::from_nanos(nanos as u64)
    }

    /// How many are meant to be sent in that time from the beginning on.
    fn before(&self, time: Duration) -> u64 {
        (time.as_nanos() * u128::from(self.rate) / 1_000_000_000) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulated::Simulated;
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SPAN: Span = Span {
        warmup: Duration::from_millis(100),
        measured: Duration::from_millis(1000),
    };

    #[test]
    fn a_fast_target_shows_its_latency_at_the_rate_asked_for() {
        let mut target = Simulated::new(MS / 2, 1_000);
        let outcome = open_loop(&mut target, 10_000, SPAN).unwrap();
        assert_eq!(outcome.completed, 10_000);
        assert!(outcome.is_clean());
        assert!((outcome.per_second() / 10_000.0 - 1.0).abs() < 0.01);
        for quantile in [0.0, 0.5, 1.0] {
            let us = outcome.latency_us(quantile);
            assert!((499.0..=501.0).contains(&us), "{us}");
        }
    }

    #[test]
    fn a_stall_counts_for_every_command_that_was_meant_to_be_sent_in_it() {
        let mut target = Simulated::new(MS / 10, 1_000_000);
        // From 0.5 s to 0.7 s nothing moves: a fifth of what is measured.
        target.stall = Some((500 * MS, 700 * MS));
        let outcome = open_loop(&mut target, 1_000, SPAN).unwrap();
        assert_eq!(outcome.completed, 1_000);
        let waited = |ms: u64| {
            let limit = ms * 1_000_000;
            (outcome.completed - outcome.latency.count_between(0, limit)) as i64
        };
        // Half of those in the stall wait more than half of it, and so on.
        assert!((waited(1) - 200).abs() <= 3, "{}", waited(1));
        assert!((waited(100) - 100).abs() <= 3, "{}", waited(100));
        assert!(outcome.latency_us(1.0) > 199_000.0);
    }

    #[test]
    fn a_target_below_the_rate_shows_growing_latency_and_what_it_can_do() {
        // One at a time, 1 ms each: half of what is asked for.
        let mut target = Simulated::new(MS, 1);
        let outcome = open_loop(&mut target, 2_000, SPAN).unwrap();
        assert!(outcome.busy > 0);
        assert!(outcome.per_second() < 1_100.0, "{}", outcome.per_second());
        assert!(outcome.latency_us(0.99) > 900_000.0);
    }

    #[test]
    fn refusals_and_missing_answers_are_never_latencies() {
        let mut target = Simulated::new(MS, 1_000);
        target.refuse_every = 4;
        let outcome = open_loop(&mut target, 1_000, SPAN).unwrap();
        assert_eq!((outcome.completed, outcome.refused), (750, 250));
        let mut target = Simulated::new(MS, 1_000);
        target.swallow = Some(500);
        let outcome = open_loop(&mut target, 1_000, SPAN).unwrap();
        assert_eq!((outcome.completed, outcome.unanswered), (999, 1));
    }

    #[test]
    fn the_schedule_does_not_drift() {
        let begin = Instant::now();
        let schedule = Schedule { begin, rate: 3 };
        assert_eq!(
            schedule.at(3_000_000),
            begin + Duration::from_secs(1_000_000)
        );
        assert_eq!(schedule.before(Duration::from_secs(7)), 21);
    }
}
