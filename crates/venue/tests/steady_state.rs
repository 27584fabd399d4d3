//! The venue on a small OBW1: the published totals, the audit, and no allocation once it is warm.

#[path = "support/obw1.rs"]
mod driver;

use driver::Driver;
use everopen_orderflow::obw1::{Workload, named};
use everopen_testkit::{CountingAllocator, allocations};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Few, so that each has used more ids than are remembered when the count begins.
const MEMBERS_PER_SIDE: u32 = 2;

#[test]
fn the_steady_state_allocates_nothing_and_reaches_the_published_totals() {
    let known = named("s1k").expect("a published workload");
    let workload = Workload::generate(known.params);
    let mut driver = Driver::new(
        known.params.symbols,
        workload.records.len() as u64,
        MEMBERS_PER_SIDE,
    );
    let (warm, steady) = workload.records.split_at(workload.records.len() / 2);
    for record in warm {
        driver.drive(record);
    }
    driver.venue.check();
    let before = allocations();
    for record in steady {
        driver.drive(record);
    }
    let allocated = allocations() - before;
    driver.venue.check();
    assert_eq!(Some(driver.totals()), known.totals_after(100_000));
    assert_eq!(allocated, 0, "allocations in {} commands", steady.len());
}
