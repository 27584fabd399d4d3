//! Fuzz targets as plain functions: libFuzzer calls them with inputs that it steers by coverage, and the ordinary
//! test suite calls the same functions with some thousand seeded ones.
//!
//! A target checks more than that nothing panics: what decodes encodes to the same bytes again, and what the venue
//! does keeps its invariants.
#![forbid(unsafe_code)]

pub mod decoders;
pub mod gateway;
pub mod inputs;
mod tape;
pub mod twins;
pub mod venue;

/// One thing to fuzz.
pub struct Target {
    /// Its name, which is also that of its libFuzzer program.
    pub name: &'static str,
    /// Takes any bytes; panics when it finds a mistake.
    pub run: fn(&[u8]),
    /// Valid inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    Target {
        name: "wire_command",
        run: decoders::wire_command,
        seeds: decoders::command_seeds,
    },
    Target {
        name: "wire_event",
        run: decoders::wire_event,
        seeds: decoders::event_seeds,
    },
    Target {
        name: "wire_entry",
        run: decoders::wire_entry,
        seeds: decoders::entry_seeds,
    },
    Target {
        name: "wire_message",
        run: decoders::wire_message,
        seeds: decoders::message_seeds,
    },
    Target {
        name: "wire_snapshot",
        run: decoders::wire_snapshot,
        seeds: decoders::snapshot_seeds,
    },
    Target {
        name: "itch",
        run: decoders::itch,
        seeds: decoders::itch_seeds,
    },
    Target {
        name: "lobster",
        run: decoders::lobster,
        seeds: decoders::lobster_seeds,
    },
    Target {
        name: "bitstamp",
        run: decoders::bitstamp,
        seeds: decoders::bitstamp_seeds,
    },
    Target {
        name: "journal_scan",
        run: decoders::journal_scan,
        seeds: decoders::journal_seeds,
    },
    Target {
        name: "gateway_json",
        run: gateway::json,
        seeds: gateway::seeds,
    },
    Target {
        name: "venue_commands",
        run: venue::commands,
        seeds: Vec::new,
    },
    Target {
        name: "book_twin",
        run: twins::book_twin,
        seeds: twins::seeds,
    },
    Target {
        name: "ledger_twin",
        run: twins::ledger_twin,
        seeds: twins::seeds,
    },
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// Runs one input through the target of that name.
pub fn run(name: &str, data: &[u8]) {
    let target = target(name).unwrap_or_else(|| panic!("no fuzz target is called {name}"));
    (target.run)(data);
}
