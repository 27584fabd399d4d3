//! What the fast book's structure must withstand: prices chosen to hurt, and no allocation in the
//! steady state.

use everopen_book::twin::TwinBook;
use everopen_book::*;
use everopen_domain::{Price, Quantity, Side};
use everopen_testkit::{CountingAllocator, allocations};

use crate::both::Subject;

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn rest(book: &mut impl Subject, sequence: u64, side: Side, price: u64) -> Slot {
    let slot = book.allocate();
    book.rest(
        slot,
        BookOrder {
            sequence,
            price: Price(price),
            visible: Quantity(1),
            side,
            ..BookOrder::default()
        },
    );
    slot
}

/// Numbers without a pattern, always the same.
fn scramble(number: u64) -> u64 {
    let z = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (z ^ (z >> 31)).wrapping_mul(0x94d0_49bb_1331_11eb)
}

/// Prices that share no page, at all distances, including the ends of the range.
fn hostile(number: u64) -> u64 {
    match number {
        0 => 1,
        1 => Price::MAX.0,
        _ => (scramble(number) >> (2 + number % 60)).max(1),
    }
}

#[test]
fn prices_without_a_pattern_stay_in_order_while_orders_come_and_go() {
    for side in [Side::Buy, Side::Sell] {
        let (mut fast, mut slow) = (Book::new(), TwinBook::new());
        let mut live: Vec<Slot> = vec![];
        for number in 0..3_000 {
            let slot = rest(&mut fast, number, side, hostile(number));
            assert_eq!(slot, rest(&mut slow, number, side, hostile(number)));
            live.push(slot);
            if number % 3 != 0 {
                let gone = live.swap_remove(scramble(number) as usize % live.len());
                assert_eq!(fast.remove(gone), slow.remove(gone));
            }
            assert_eq!(fast.best(side), slow.best(side));
        }
        assert_eq!(fast.lists(), slow.lists());
        let first = |book: &TwinBook| book.orders(side).next().map(|(slot, _)| slot);
        while let Some(slot) = first(&slow) {
            assert_eq!(fast.remove(slot), slow.remove(slot));
            assert_eq!(fast.best(side), slow.best(side));
        }
    }
}

/// Emptied pages and branches are used again, not given back and got anew.
#[test]
fn hostile_prices_cost_nothing_new_once_the_book_has_grown() {
    let mut book = Book::new();
    let round = |book: &mut Book| {
        let slots: Vec<Slot> = (0..2_000)
            .map(|number| rest(book, number, Side::Sell, hostile(number)))
            .collect();
        for slot in slots {
            book.remove(slot);
        }
    };
    round(&mut book);
    let before = allocations();
    round(&mut book);
    assert_eq!(allocations() - before, 1, "the test's own list of slots");
}

#[test]
fn the_steady_state_allocates_nothing() {
    let mut book = Book::new();
    let mut slots: Vec<Slot> = (0..1_000)
        .map(|n| rest(&mut book, n, Side::Buy, 100_000 - scramble(n) % 400))
        .collect();
    // A first round over all that can happen, then the one that counts.
    let mut round = |book: &mut Book| {
        for number in 1_000..50_000 {
            let at = scramble(number) as usize % slots.len();
            book.remove(slots[at]);
            slots[at] = rest(book, number, Side::Buy, 100_000 - scramble(!number) % 400);
        }
    };
    round(&mut book);
    let before = allocations();
    round(&mut book);
    assert_eq!(allocations() - before, 0);
}

#[test]
fn a_new_book_allocates_nothing() {
    let before = allocations();
    let book = Book::new();
    assert_eq!(allocations() - before, 0);
    assert_eq!(book.best(Side::Buy), None);
}

#[test]
fn a_tick_that_gets_finer_lays_the_levels_out_anew() {
    let mut book = Book::new();
    let mut twin = TwinBook::new();
    let prices = (0..20)
        .rev()
        .flat_map(|bit| [(1u64 << 40) + (1 << bit), 3 << bit]);
    for (sequence, price) in prices.enumerate() {
        rest(&mut book, sequence as u64, Side::Sell, price);
        rest(&mut twin, sequence as u64, Side::Sell, price);
        rest(&mut book, sequence as u64, Side::Buy, price);
        rest(&mut twin, sequence as u64, Side::Buy, price);
        assert_eq!(book.lists(), twin.lists());
    }
}

#[test]
#[should_panic(expected = "invariant: ")]
fn a_slot_that_is_not_held_cannot_rest() {
    let mut book = Book::new();
    let slot = rest(&mut book, 1, Side::Buy, 100);
    book.remove(slot);
    book.rest(
        slot,
        BookOrder {
            price: Price(1),
            visible: Quantity(1),
            ..BookOrder::default()
        },
    );
}

#[test]
#[should_panic(expected = "invariant: ")]
fn an_order_is_not_removed_twice() {
    let mut book = Book::new();
    let slot = rest(&mut book, 1, Side::Buy, 100);
    book.remove(slot);
    book.remove(slot);
}
