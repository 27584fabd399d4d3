//! The whole venue on OBW1: limits, holds, matching, fees, ledger and events, beside the reference
//! floor in the same run.
//!
//! `cargo bench -p everopen-venue --bench engine -- [--quick] [--json PATH] [--workload NAME]`

#[path = "../tests/support/obw1.rs"]
mod driver;

use std::hint::black_box;

use driver::Driver;
use everopen_orderflow::obw1::{Record, Totals};
use everopen_testkit::{Args, CountingAllocator, Engine, MakeEngine, bench};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

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
    bench(
        "engine",
        &Args::parse(),
        &["d1k", "d100k", "m100"],
        &[("venue", venue)],
    );
}
