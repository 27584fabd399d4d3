//! What the figures are held to.

use everopen_testkit::load::Outcome;
use everopen_testkit::{Bound, Side};

use crate::driver::{Load, Mode, Work};
use crate::floor::Floor;
use crate::report::Results;
use crate::{EACH, PIPELINED, RATES, SHARED, etcd, ours};

/// Three replicas and a client without a core each cannot keep a millisecond at the 99th percentile.
const CORES_FOR_P99: usize = 4;

type Figure = fn(&Outcome) -> f64;

/// Every bound, with what is known of its figure and its limit.
pub fn of(results: &Results) -> Vec<Bound> {
    let own = |mode, load, figure: Figure| {
        let outcome = results.row(ours::NAME, mode, load)?;
        // A run that lost commands keeps no bound, however fast it was.
        Some(match outcome.is_clean() {
            true => figure(outcome),
            false => f64::NAN,
        })
    };
    let peer = |load, figure: Figure| {
        let outcome = results.row(etcd::NAME, Mode::Fsync, load)?;
        outcome.is_clean().then(|| figure(outcome))
    };
    let p50: Figure = |outcome| outcome.latency_us(0.5);
    let p99: Figure = |outcome| outcome.latency_us(0.99);
    let rate: Figure = Outcome::per_second;
    let floor = results.floor.as_ref().map(Floor::p50_us);
    let one = Load::One(Work::Bare);
    let alone = own(Mode::Fsync, one, p50);

    let mut bounds = vec![
        at_most(
            "fsync, 1 outstanding, p50: 1.5 x the floor",
            alone,
            floor.map(|us| 1.5 * us),
        ),
        at_least(
            "fsync, 64-byte commands, pipelined",
            own(Mode::Fsync, PIPELINED, rate),
            Some(1e6),
        ),
        at_least(
            "fsync, 64 clients, 1 connection: 20 x etcd",
            own(Mode::Fsync, SHARED, rate),
            peer(SHARED, rate).map(|puts| 20.0 * puts),
        ),
        at_least(
            "fsync, 64 clients, 64 connections: 20 x etcd",
            own(Mode::Fsync, EACH, rate),
            peer(EACH, rate).map(|puts| 20.0 * puts),
        ),
        at_most(
            "fsync, 1 outstanding, p50: half of etcd's",
            alone,
            peer(one, p50).map(|us| us / 2.0),
        ),
    ];
    let mut tail = at_most(
        "memory, open loop, 100000/s, p99",
        own(Mode::Memory, Load::Open(Work::Bare, RATES[1]), p99),
        Some(1_000.0),
    );
    let cores = results.machine.cpus;
    if cores < CORES_FOR_P99 {
        tail.excuse = Some(format!(
            "{cores} cores carry three replicas and the client; it is asked for from {CORES_FOR_P99} on"
        ));
    }
    bounds.push(tail);
    bounds
}

fn at_most(what: &str, figure: Option<f64>, limit: Option<f64>) -> Bound {
    bound(what, "us", Side::AtMost, figure, limit)
}

fn at_least(what: &str, figure: Option<f64>, limit: Option<f64>) -> Bound {
    bound(what, "commands/s", Side::AtLeast, figure, limit)
}

fn bound(
    what: &str,
    unit: &'static str,
    side: Side,
    figure: Option<f64>,
    limit: Option<f64>,
) -> Bound {
    Bound {
        what: what.to_owned(),
        unit,
        side,
        figure,
        limit,
        excuse: None,
    }
}
