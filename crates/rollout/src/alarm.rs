//! Alarms: the new version against the old one, as the edge counts both.

use std::collections::BTreeMap;
use std::time::Duration;

use everopen_edge::Reading;

use crate::file::Alarms;
use crate::program::{self, Program};

/// How long an alarm's program may take.
const PATIENCE: Duration = Duration::from_secs(10);

fn percent(reading: &Reading) -> f64 {
    match reading.requests {
        0 => 0.0,
        requests => reading.failed() as f64 * 100.0 / requests as f64,
    }
}

/// Why the new version is worse; none if it is not. Both readings are of the time in which both were
/// asked.
pub(crate) fn compare(alarms: &Alarms, old: &Reading, new: &Reading) -> Option<String> {
    if new.requests < alarms.requests_min {
        return None;
    }
    let (was, is) = (percent(old), percent(new));
    if is > was + alarms.error_percent {
        return Some(format!(
            "{is:.2} % of {} requests failed at the new version, {was:.2} % at the old one ({} failed with 5xx, {} were taken by no target, {} were not answered)",
            new.requests, new.server_errors, new.unreachable, new.unanswered
        ));
    }
    slower(alarms, old, new)
}

/// Why the new version is slower; none if it is not, or nobody wants to know.
pub(crate) fn slower(alarms: &Alarms, old: &Reading, new: &Reading) -> Option<String> {
    let ratio = alarms.p99_ratio?;
    if new.requests < alarms.requests_min {
        return None;
    }
    let (was, is) = (old.latency.percentile(99.0)?, new.latency.percentile(99.0)?);
    let limit = (was as f64 * ratio) as u64;
    let slow = new.latency.slower(limit);
    (slow as f64 > slow_at_most(new.requests)).then(|| {
        format!(
            "the 99th percentile of latency is {is} us at the new version, {was} us at the old one; {slow} of {} requests took more than {ratio} times that",
            new.requests
        )
    })
}

/// How many of these requests may be slower than a limit that one in a hundred exceeds: with a few
/// hundred requests the 99th percentile itself is one or two of them, and a moment in which the machine
/// was busy would take back a good version.
fn slow_at_most(requests: u64) -> f64 {
    const SHARE: f64 = 0.01;
    const DEVIATIONS: f64 = 3.0;
    let expected = requests as f64 * SHARE;
    expected + DEVIATIONS * (expected * (1.0 - SHARE)).sqrt()
}

/// Runs an alarm's program, or a check: none if it ends with 0, else what it said.
pub(crate) async fn run(
    command: &[String],
    dir: &std::path::Path,
    patience: Duration,
) -> Option<String> {
    if command.is_empty() {
        return None;
    }
    let program = Program {
        command,
        dir,
        env: &BTreeMap::new(),
        input: b"",
    };
    match program::run(program, patience).await {
        Ok(ran) if ran.status.success() => None,
        Ok(ran) => Some(format!("{}: {}: {}", command[0], ran.status, ran.said())),
        Err(error) => Some(error.to_string()),
    }
}

/// Looks at all alarms once.
pub(crate) async fn look(
    alarms: &Alarms,
    dir: &std::path::Path,
    old: &Reading,
    new: &Reading,
) -> Option<String> {
    if let Some(reason) = compare(alarms, old, new) {
        return Some(reason);
    }
    run(alarms.command.as_deref().unwrap_or_default(), dir, PATIENCE).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use everopen_edge::{Meter, Outcome};

    fn reading(requests: u64, server_errors: u64) -> Reading {
        Reading {
            requests,
            server_errors,
            ..Reading::default()
        }
    }

    #[test]
    fn the_old_version_is_the_measure() {
        let alarms = Alarms::default();
        assert_eq!(
            compare(&alarms, &reading(1_000, 0), &reading(19, 19)),
            None,
            "too few"
        );
        let breach = compare(&alarms, &reading(1_000, 0), &reading(100, 2)).expect("worse");
        assert!(breach.contains("2.00 % of 100"), "{breach}");
        // What fails at both is not the new version's fault.
        assert_eq!(
            compare(&alarms, &reading(1_000, 100), &reading(100, 10)),
            None
        );
        assert!(compare(&alarms, &reading(0, 0), &reading(100, 2)).is_some());
    }

    /// A hundred fast requests at the old version, and so many of either kind at the new one.
    fn latencies(fast: u64, slow: u64) -> Option<String> {
        let taken = |requests: [(u64, u64); 2]| {
            let meter = Meter::default();
            for (count, ms) in requests {
                let took = Duration::from_millis(ms);
                (0..count).for_each(|_| meter.ended(Outcome::Answered(200), took));
            }
            meter.read()
        };
        let alarms = Alarms {
            p99_ratio: Some(5.0),
            ..Alarms::default()
        };
        compare(
            &alarms,
            &taken([(100, 1), (0, 0)]),
            &taken([(fast, 1), (slow, 100)]),
        )
    }

    #[test]
    fn latency_is_compared_as_far_as_so_few_requests_tell() {
        for (fast, slow) in [(20, 0), (19, 1), (99, 1), (97, 3), (9_890, 110)] {
            assert_eq!(latencies(fast, slow), None, "{slow} of {}", fast + slow);
        }
        for (fast, slow) in [(0, 20), (16, 4), (90, 10), (9_800, 200)] {
            let breach = latencies(fast, slow).expect("slower");
            let said = format!("{slow} of {} requests", fast + slow);
            assert!(breach.contains(&said), "{breach}");
        }
    }

    #[tokio::test]
    async fn a_program_says_why() {
        let run = |script: &str, ms| {
            let command = ["sh", "-c", script].map(str::to_string).to_vec();
            async move {
                run(
                    &command,
                    std::path::Path::new("."),
                    Duration::from_millis(ms),
                )
                .await
            }
        };
        assert_eq!(run("exit 0", 5_000).await, None);
        let said = run("echo the queue is full >&2; exit 3", 5_000)
            .await
            .expect("failed");
        assert!(
            said.contains("the queue is full") && said.contains('3'),
            "{said}"
        );
        let late = run("sleep 60", 50).await.expect("too late");
        assert!(late.contains("longer than 50 ms"), "{late}");
    }
}
