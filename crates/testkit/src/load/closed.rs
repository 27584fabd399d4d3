//! The closed loop.

use std::collections::VecDeque;
use std::io;

use super::{BUSY_PAUSE, DRAIN, Outcome, Span, Target};

/// Keeps that many commands under way: as many clients that each send their next command when the
/// answer to the last one is seen, or one client with a window of that size.
///
/// What is answered within the measured time counts. Latency is from the moment the client was
/// free to send, which is when its previous answer was seen.
///
/// # Errors
/// What the target's [`Target::poll`] fails with.
///
/// # Panics
/// When the target answers a command that is not under way.
pub fn keep_outstanding(
    target: &mut (impl Target + ?Sized),
    outstanding: usize,
    span: Span,
) -> io::Result<Outcome> {
    let mut outcome = Outcome::new();
    let begin = target.now();
    let (from, end) = (begin + span.warmup, begin + span.warmup + span.measured);
    let mut free: VecDeque<u64> = (0..outstanding as u64).collect();
    let mut ready_at = vec![begin; outstanding];
    let mut sent = vec![false; outstanding];
    let mut done = Vec::with_capacity(outstanding);
    let mut now = begin;
    while now < end {
        let mut until = end;
        while let Some(&token) = free.front() {
            if target.submit(token).is_err() {
                outcome.busy += 1;
                until = end.min(now + BUSY_PAUSE);
                break;
            }
            free.pop_front();
            sent[token as usize] = true;
        }
        target.poll(until, &mut done)?;
        now = target.now();
        for answer in done.drain(..) {
            let client = answer.token as usize;
            assert!(
                sent.get(client) == Some(&true),
                "invariant: an answer belongs to a command under way"
            );
            sent[client] = false;
            if !answer.accepted {
                outcome.refused += 1;
            } else if (from..end).contains(&now) {
                outcome.record(now - ready_at[client]);
            }
            ready_at[client] = now;
            free.push_back(answer.token);
        }
    }
    outcome.took = span.measured;
    outcome.unanswered = drain(target, outstanding - free.len(), &mut outcome.refused)?;
    Ok(outcome)
}

/// Waits for that many answers, so that the next measurement starts with nothing under way; how
/// many did not come.
fn drain(
    target: &mut (impl Target + ?Sized),
    mut missing: usize,
    refused: &mut u64,
) -> io::Result<u64> {
    let deadline = target.now() + DRAIN;
    let mut done = Vec::new();
    while missing > 0 && target.now() < deadline {
        target.poll(deadline, &mut done)?;
        *refused += done.iter().filter(|answer| !answer.accepted).count() as u64;
        missing = missing.saturating_sub(done.len());
        done.clear();
    }
    Ok(missing as u64)
}

#[cfg(test)]
mod tests {
    use super::super::simulated::Simulated;
    use super::*;
    use std::time::Duration;

    const MS: Duration = Duration::from_millis(1);

    fn span(measured: Duration) -> Span {
        Span {
            warmup: 10 * MS,
            measured,
        }
    }

    #[test]
    fn one_outstanding_command_shows_the_latency_of_the_target() {
        let mut target = Simulated::new(MS / 4, 1);
        let outcome = keep_outstanding(&mut target, 1, span(1000 * MS)).unwrap();
        // The answer at the very end of the measured time is outside.
        assert!((3_999..=4_000).contains(&outcome.completed), "{outcome:?}");
        assert!(outcome.is_clean());
        for quantile in [0.0, 0.5, 1.0] {
            let us = outcome.latency_us(quantile);
            assert!((249.0..=251.0).contains(&us), "{us}");
        }
    }

    #[test]
    fn a_window_multiplies_the_rate_and_leaves_the_latency() {
        let mut target = Simulated::new(MS, 64);
        let outcome = keep_outstanding(&mut target, 64, span(500 * MS)).unwrap();
        assert!((outcome.per_second() / 64_000.0 - 1.0).abs() < 0.01);
        assert!((999.0..=1_001.0).contains(&outcome.latency_us(0.99)));
        assert_eq!(outcome.busy, 0);
    }

    #[test]
    fn a_target_that_is_busy_is_tried_again_and_the_wait_counts() {
        let mut target = Simulated::new(MS, 1);
        let outcome = keep_outstanding(&mut target, 2, span(1000 * MS)).unwrap();
        assert!(outcome.busy > 0);
        // Two clients take turns at one place: each waits for the other.
        assert!((outcome.per_second() / 1_000.0 - 1.0).abs() < 0.15);
        assert!(outcome.latency_us(0.5) >= 1_900.0, "{outcome:?}");
    }

    #[test]
    fn warmup_refusals_and_missing_answers_are_kept_apart() {
        let mut target = Simulated::new(MS, 1);
        target.refuse_every = 10;
        let outcome = keep_outstanding(&mut target, 1, span(100 * MS)).unwrap();
        // 110 in all, each tenth refused, ten of the others before the measured time.
        assert!((88..=91).contains(&outcome.completed), "{outcome:?}");
        assert_eq!(outcome.refused, 11);
        assert!(!outcome.is_clean());

        let mut target = Simulated::new(MS, 4);
        target.swallow = Some(3);
        let outcome = keep_outstanding(&mut target, 4, span(100 * MS)).unwrap();
        assert_eq!(outcome.unanswered, 1);
    }
}
