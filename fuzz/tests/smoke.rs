//! Every target on seeded inputs: what the ordinary suite runs where no fuzzer is installed.
//!
//! `EVEROPEN_FUZZ_INPUTS` sets how many inputs each target gets; a failure prints the number of its input, and the
//! same number is the same input on every machine.

use everopen_fuzz::{TARGETS, Target, inputs, target};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

fn inputs_wanted(ordinarily: u64) -> u64 {
    std::env::var("EVEROPEN_FUZZ_INPUTS")
        .map(|text| text.parse().expect("EVEROPEN_FUZZ_INPUTS is a number"))
        .unwrap_or(ordinarily)
}

fn try_one(target: &Target, data: &[u8], what: &str) {
    if catch_unwind(AssertUnwindSafe(|| (target.run)(data))).is_err() {
        let hex: String = data.iter().map(|byte| format!("{byte:02x}")).collect();
        panic!("{}: {what} fails: {hex}", target.name);
    }
}

fn smoke(name: &str, ordinarily: u64) {
    let target = target(name).expect("the target is in the list");
    let seeds = (target.seeds)();
    for (number, seed) in seeds.iter().enumerate() {
        try_one(target, seed, &format!("seed {number}"));
    }
    for number in 0..inputs_wanted(ordinarily) {
        let data = inputs::input(name, number, &seeds);
        try_one(target, &data, &format!("input {number}"));
    }
}

macro_rules! targets {
    ($($name:ident: $inputs:literal),* $(,)?) => {
        $(#[test]
        fn $name() {
            smoke(stringify!($name), $inputs);
        })*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

targets! {
    wire_command: 100_000,
    wire_event: 50_000,
    wire_entry: 50_000,
    wire_message: 50_000,
    wire_snapshot: 20_000,
    itch: 50_000,
    lobster: 50_000,
    bitstamp: 50_000,
    journal_scan: 10_000,
    gateway_json: 100_000,
    venue_commands: 2_000,
    book_twin: 1_000,
    ledger_twin: 2_000,
}

#[test]
fn every_target_is_tested_here_and_has_a_program() {
    let listed: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(listed, TESTED);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    for name in listed {
        let program = folder.join(name).with_extension("rs");
        let text = std::fs::read_to_string(&program).unwrap_or_default();
        assert!(
            text.contains(&format!("run(\"{name}\", data)")),
            "{}",
            program.display()
        );
    }
}

#[test]
fn seeds_are_accepted_by_their_decoders() {
    use everopen_orderflow::{bitstamp, itch, lobster};
    use everopen_wire::message::Message;
    use everopen_wire::{EntryReader, command, event, snapshot};

    let all = |name: &str, accepts: &dyn Fn(&[u8]) -> bool| {
        let seeds = (target(name).expect("the target is in the list").seeds)();
        assert!(
            !seeds.is_empty() && seeds.iter().all(|seed| accepts(seed)),
            "{name}"
        );
    };
    all("wire_command", &|seed| command::decode(seed).is_ok());
    all("wire_event", &|seed| {
        event::decode_all(seed).all(|event| event.is_ok())
    });
    all("wire_entry", &|seed| {
        EntryReader::new(seed).is_ok_and(|mut entry| {
            entry.all(|request| request.is_ok_and(|r| r.commands().all(|c| c.is_ok())))
        })
    });
    all("wire_message", &|seed| Message::decode(seed).is_ok());
    all("wire_snapshot", &|seed| snapshot::decode(seed).is_ok());
    all("journal_scan", &|seed| {
        everopen_journal::scan(seed).frames > 0
    });
    all("itch", &|seed| itch::decode_slice(seed).is_ok());
    all("lobster", &|seed| lobster::decode_slice(seed).is_ok());
    all("bitstamp", &|seed| bitstamp::decode_slice(seed).is_ok());
}

/// Inputs that once failed stay tests: put them into `fuzz/regressions/TARGET/`.
#[test]
fn inputs_that_once_failed_pass() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions");
    for target in TARGETS {
        let Ok(entries) = std::fs::read_dir(folder.join(target.name)) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("the folder can be read").path();
            let data = std::fs::read(&path).expect("the input can be read");
            try_one(target, &data, &path.display().to_string());
        }
    }
}

/// A fuzzer that never leaves the doorstep finds nothing: random tapes must reach every kind of event.
#[test]
fn tapes_reach_every_kind_of_event() {
    let mut reached = std::collections::BTreeMap::<String, u64>::new();
    for number in 0..300 {
        let data = inputs::input("venue_commands", number, &[]);
        for (kind, count) in everopen_fuzz::venue::reached(&data) {
            *reached.entry(kind).or_default() += count;
        }
    }
    for kind in [
        "OrderAccepted",
        "OrderRejected",
        "OrderTriggered",
        "OrderOpened",
        "OrderAmended",
        "AmendRejected",
        "CancelRejected",
        "Traded",
        "OrderDone",
        "AuctionIndicated",
        "AuctionUncrossed",
        "Deposited",
        "WithdrawalRequested",
        "WithdrawalCompleted",
        "WithdrawalCanceled",
        "Transferred",
        "KillSwitchEngaged",
        "KillSwitchReleased",
        "LogicActivated",
        "CommandRejected",
    ] {
        assert!(
            reached.get(kind).is_some_and(|count| *count > 5),
            "{kind}: {:?}",
            reached.get(kind)
        );
    }
}
