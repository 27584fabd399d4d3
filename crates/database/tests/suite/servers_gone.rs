//! A server dies while rows are copied: clients stay where they are, and nothing is left behind.

use everopen_database::run::{self, Ended, Fault, Side};
use everopen_rollout::journal::{Entry, Line, Outcome};

use crate::place::Place;
use crate::servers::{Load, Session, some, until};

pub const COPYING: &str =
    "SELECT count(*) > 0 FROM pg_replication_slots WHERE slot_name LIKE 'pg\\_%\\_sync\\_%'";

/// Keeps a table on green from being written until it ends, so that its copy is under way. It is one that
/// clients don't write: a row of theirs may come before copies are begun, and then waits in the way of all.
pub fn locked(place: &Place) -> Session {
    let mut session = Session::open(place.green.port, "locks");
    session.tell("BEGIN; LOCK TABLE pgbench_tellers IN SHARE MODE");
    until("green's table is locked", || {
        place.green.sql("SELECT count(*) > 0 FROM pg_locks WHERE mode = 'ShareLock' AND relation = 'pgbench_tellers'::regclass") == "t"
    });
    session
}

/// Applies, and does something as soon as the copy of a table hangs.
fn apply_and_then(place: &Place, then: impl Fn() + Sync) -> Result<Ended, Fault> {
    // A test that goes wrong ends, too.
    let file = place.file("copy_ms = 120000");
    std::thread::scope(|scope| {
        let mut lock = None;
        place.carry(async |site| {
            let mut tell = |line: &Line| {
                if matches!(&line.entry, Entry::Begun { text, .. } if text.contains("copy all")) {
                    lock = Some(locked(place));
                    scope.spawn(|| {
                        until("a table is copied", || place.blue.sql(COPYING) == "t");
                        then();
                    });
                }
            };
            run::apply(site, &file, &mut tell).await
        })
    })
}

/// What is left on blue of a rollout, slots of table copies among it.
fn left(place: &Place) -> String {
    place.blue.sql(
        "SELECT 'slot ' || slot_name FROM pg_replication_slots UNION ALL SELECT 'publication ' || pubname FROM pg_publication UNION ALL SELECT 'schema ' || nspname FROM pg_namespace WHERE nspname = 'everopen'",
    )
}

#[test]
fn green_dies_while_rows_are_copied() {
    let place = Place::new();
    let load = Load::start(&place, 15);
    let ended = apply_and_then(&place, || place.green.kill()).expect("it ends");
    assert_eq!((ended.outcome, ended.serving), (Outcome::Old, Side::Blue));
    assert_eq!(left(&place), "", "{:?}", ended.reason);
    load.end_without_failure();
    place.sql("INSERT INTO orders (account, price) VALUES (1, 1)");
}

#[test]
fn blue_dies_while_rows_are_copied() {
    let mut place = Place::new();
    let fault = apply_and_then(&place, || place.blue.kill()).expect_err("nobody serves");
    assert!(
        fault.to_string().contains("everopen rollout resume"),
        "it says what to do: {fault}"
    );
    place.blue.start_again();
    let ended = place.resume();
    assert_eq!((ended.outcome, ended.serving), (Outcome::Old, Side::Blue));
    assert_eq!(place.left(), "");
    place.sql("INSERT INTO orders (account, price) VALUES (1, 1)");
}

/// Where clients are led, by the pooler's file.
fn led_to(place: &Place) -> Side {
    let line = std::fs::read_to_string(place.path("shop.ini")).expect("a file");
    match line.contains(&format!("port={} ", place.blue.port)) {
        true => Side::Blue,
        false => Side::Green,
    }
}

/// A server dies as each step begins. Whatever comes of it, one side serves in the end, takes writes, and is the
/// one to which clients are led; the other takes none.
fn dies_at_each_step(side: Side) {
    let mut place = Place::new();
    for step in some(0..8, &[2, 4, 5]) {
        let file = place.file("copy_ms = 60000\nattempts = 40");
        let applied = {
            let place = &place;
            place.carry(async |site| {
                let mut tell = |line: &Line| {
                    if matches!(line.entry, Entry::Begun { step: begun, .. } if begun == step) {
                        match side {
                            Side::Blue => place.blue.kill(),
                            Side::Green => place.green.kill(),
                        }
                    }
                };
                run::apply(site, &file, &mut tell).await
            })
        };
        match side {
            Side::Blue => place.blue.start_again(),
            Side::Green => place.green.start_again(),
        }
        let ended = match applied {
            Ok(ended) => ended,
            Err(Fault::Stuck(_)) => place.resume(),
            Err(other) => panic!("at step {step}: {other}"),
        };
        println!("{} died at step {step}: {ended:?}", side.name());
        assert_eq!(led_to(&place), ended.serving, "at step {step}");
        let (serves, other) = match ended.serving {
            Side::Blue => (&place.blue, &place.green),
            Side::Green => (&place.green, &place.blue),
        };
        serves.sql("INSERT INTO orders (account) VALUES (1)");
        match ended.outcome {
            Outcome::New => {
                let reads_only = other.sql("SHOW default_transaction_read_only");
                assert_eq!(reads_only, "on", "at step {step}");
                let back = place.turn_back();
                assert_eq!(
                    (back.serving, &back.reason),
                    (Side::Blue, &None),
                    "at step {step}"
                );
                place.finish();
            }
            _ => {
                assert_eq!(ended.serving, Side::Blue);
                assert_eq!(left(&place), "", "at step {step}");
                // What a green that was dead then still has when it comes back.
                place.finish();
            }
        }
        assert_eq!(place.left(), "", "at step {step}");
        place.empty_green();
    }
}

#[test]
fn green_dies_at_any_step() {
    dies_at_each_step(Side::Green);
}

#[test]
fn blue_dies_at_any_step() {
    dies_at_each_step(Side::Blue);
}
