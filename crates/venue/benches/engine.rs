//! The whole venue on OBW1: limits, holds, matching, fees, ledger and events; beside it, in the
//! same run, the book alone with its events and the reference floor.
//!
//! Sixteen members trade, each order has a client order id, and a command takes a microsecond of
//! the log's time.
//!
//! `cargo bench -p everopen-venue --bench engine -- [--quick] [--json PATH] [--workload NAME]`

/// The book's own benchmark, for its driver; its allocator counts here, too.
#[path = "../../book/benches/book.rs"]
#[allow(dead_code, reason = "its main is not ours")]
mod book;
#[path = "../tests/support/obw1.rs"]
mod driver;

use std::hint::black_box;

use driver::Driver;
use everopen_orderflow::obw1::{Record, Totals};
use everopen_testkit::{Args, Engine, MakeEngine, bench};

/// Members on each side.
const MEMBERS_PER_SIDE: u32 = 8;

struct Venue(Driver);

impl Engine for Venue {
    #[inline]
    fn apply(&mut self, record: &Record) {
        self.0.drive(record);
        black_box(self.0.events.as_slice());
    }

    fn apply_all(&mut self, records: &[Record]) {
        records.iter().for_each(|record| self.apply(record));
    }

    fn totals(&self) -> Totals {
        self.0.totals()
    }
}

fn main() {
    let venue: MakeEngine =
        |symbols, orders| Box::new(Venue(Driver::new(symbols, orders, MEMBERS_PER_SIDE)));
    let engines = [("book", book::Driver::make as MakeEngine), ("venue", venue)];
    bench(
        "engine",
        &Args::parse(),
        &["d1k", "d100k", "m100"],
        &engines,
    );
}
