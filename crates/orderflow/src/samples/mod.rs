//! Makes the synthetic feeds of the repository's `samples/`: a plausible market open in each of the
//! formats. Nothing in them is recorded from a market.
//!
//! The flow is consistent: each message names an order that the file added before, executions hit
//! the front of the best queue, and displayed orders never cross. The same seed gives the same
//! bytes.

mod flow;
mod formats;

use std::io::{self, Write};

use flate2::{Compression, GzBuilder};

use flow::{Flow, Shape};

/// Seed of the files in `samples/`.
pub const SEED: u64 = 20_260_727;

/// Names of the files, in the order in which they are made.
pub const FILES: [&str; 3] = [
    "synthetic.itch.gz",
    "synthetic-lobster.csv",
    "synthetic-bitstamp.csv",
];

/// Half past nine, in nanoseconds since midnight.
const OPEN: u64 = (9 * 60 + 30) * 60 * 1_000_000_000;
/// 2026-01-05 14:30 UTC in milliseconds since 1970.
const OPEN_EPOCH_MS: u64 = 1_767_623_400_000;

/// Makes one of [`FILES`].
///
/// # Errors
///
/// When `out` fails.
pub fn make(file: &str, seed: u64, out: &mut impl Write) -> io::Result<()> {
    match file {
        "synthetic.itch.gz" => {
            let mut plain = Vec::new();
            itch(seed, &mut plain)?;
            // No time and no name in the header: the bytes must not depend on when and where.
            let mut gzip = GzBuilder::new().write(out, Compression::best());
            gzip.write_all(&plain)?;
            gzip.finish()?;
            Ok(())
        }
        "synthetic-lobster.csv" => lobster(seed, out),
        "synthetic-bitstamp.csv" => bitstamp(seed, out),
        _ => Err(io::Error::new(
            io::ErrorKind::NotFound,
            "no sample has that name",
        )),
    }
}

/// An ITCH 5.0 file: three seconds of six stocks.
fn itch(seed: u64, out: &mut Vec<u8>) -> io::Result<()> {
    let stocks = [
        ("AURA", 1_842_500),
        ("BOLT", 234_700),
        ("CRUX", 5_610_000),
        ("DELTA", 98_200),
        ("EMBER", 415_300),
        ("FJORD", 27_915_000),
    ];
    let books = stocks.map(|(_, mid)| Shape {
        mid,
        tick: 100,
        lot: 100,
        step_ns: 110_000,
    });
    let names = stocks.map(|(name, _)| name);
    let mut writer = formats::Itch::begin(out, &names, OPEN)?;
    for event in Flow::new(seed, &books, OPEN).take(24_000) {
        writer.write(&event)?;
    }
    writer.end()
}

/// A LOBSTER message file: one stock, about a minute.
fn lobster(seed: u64, out: &mut impl Write) -> io::Result<()> {
    let book = Shape {
        mid: 1_842_500,
        tick: 100,
        lot: 10,
        step_ns: 14_000_000,
    };
    let mut events = Flow::new(seed, &[book], OPEN).take(4_000);
    events.try_for_each(|event| formats::lobster(out, &event))
}

/// A Bitstamp order table: one pair, a few minutes.
fn bitstamp(seed: u64, out: &mut impl Write) -> io::Result<()> {
    let book = Shape {
        mid: 6_412_500,
        tick: 1,
        lot: 100_000,
        step_ns: 60_000_000,
    };
    let start = OPEN_EPOCH_MS * 1_000_000;
    let mut writer = formats::Bitstamp::begin(out)?;
    let mut events = Flow::new(seed, &[book], start).take(3_000);
    events.try_for_each(|event| writer.write(&event))
}
