//! Goal: movements between accounts that exist allocate nothing. Method: an allocator that
//! counts, and the same work once to grow and many times to count.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use everopen_domain::snapshot::AccountOwner::Member;
use everopen_domain::{Amount, AssetId, MemberId};
use everopen_ledger::Ledger;

struct Counting;

thread_local! {
    /// Of this thread, so that the test harness does not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: passes everything on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

#[test]
fn movements_allocate_nothing() {
    let mut ledger = Ledger::new();
    let mut accounts = Vec::new();
    for member in 0..100 {
        for asset in 0..3 {
            let account = ledger.open(Member(MemberId(member)), AssetId(asset));
            ledger.deposit(account, Amount(1_000)).unwrap();
            accounts.push(account);
        }
    }
    let mut work = || {
        for at in 3..accounts.len() {
            let (from, to) = (accounts[at], accounts[at - 3]);
            ledger.begin_command();
            ledger.open(ledger.owner(from), ledger.asset(from));
            ledger.hold(from, Amount(10)).unwrap();
            ledger.settle(from, to, Amount(5));
            ledger.charge_held(from, Amount(2));
            ledger.rebate(to, Amount(1));
            ledger.release(from, Amount(3));
            ledger.transfer(to, from, Amount(6)).unwrap();
            ledger.deposit(from, Amount(1)).unwrap();
            assert!(!ledger.touched().is_empty());
        }
    };
    assert!(
        allocations(&mut work) < 10,
        "the list of touched accounts grows"
    );
    assert_eq!(allocations(&mut work), 0);
    assert_eq!(
        allocations(|| drop(std::hint::black_box(Box::new(1)))),
        1,
        "the counter counts"
    );
}
