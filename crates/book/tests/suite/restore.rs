//! Lists that are no book are refused, and the right ones go on as if nothing had happened.

use everopen_book::twin::TwinBook;
use everopen_book::*;
use everopen_domain::{MemberId, Price, Quantity, Side, StopDirection};

use crate::both::{Lists, Subject};

fn order(sequence: u64, side: Side, price: u64) -> BookOrder {
    BookOrder {
        sequence,
        price: Price(price),
        visible: Quantity(1),
        side,
        ..BookOrder::default()
    }
}

fn lists() -> Lists {
    Lists {
        bids: vec![(3, order(1, Side::Buy, 99)), (0, order(2, Side::Buy, 98))],
        asks: vec![(1, order(3, Side::Sell, 101))],
        stops: vec![StopOrder {
            slot: 4,
            sequence: 9,
            member: MemberId(1),
            direction: StopDirection::Entry,
            price: Price(120),
        }],
        free: vec![5, 2],
    }
}

fn refuses<B: Subject>() {
    let refused = |change: &dyn Fn(&mut Lists)| {
        let mut lists = lists();
        change(&mut lists);
        B::restore(lists).err()
    };
    assert_eq!(refused(&|_| {}), None);
    for slots in [
        &(|l: &mut Lists| l.free.push(1)) as &dyn Fn(&mut Lists),
        &|l| l.free.clear(),
        &|l| l.free[0] = u32::MAX,
        &|l| l.bids[0].0 = 0,
        &|l| l.stops[0].slot = 2,
    ] {
        assert_eq!(refused(slots), Some(RestoreError::Slots));
    }
    for bad in [
        &(|l: &mut Lists| l.bids[0].1.side = Side::Sell) as &dyn Fn(&mut Lists),
        &|l| l.asks[0].1.visible = Quantity::ZERO,
        &|l| l.asks[0].1.visible = Quantity(Quantity::MAX.0 + 1),
        &|l| l.asks[0].1.hidden = Quantity(1),
        &|l| l.asks[0].1.price = Price(Price::MAX.0 + 1),
        &|l| l.stops[0].price = Price(u64::MAX),
    ] {
        assert_eq!(refused(bad), Some(RestoreError::Order));
    }
    let swap: &dyn Fn(&mut Lists) = &|l| l.bids.swap(0, 1);
    assert_eq!(refused(swap), Some(RestoreError::Priority));
    let twice: &dyn Fn(&mut Lists) = &|l| {
        let stop = l.stops[0];
        l.stops.push(StopOrder { slot: 6, ..stop });
    };
    assert_eq!(refused(twice), Some(RestoreError::Priority));
}

#[test]
fn lists_that_are_no_book_are_refused() {
    refuses::<Book>();
    refuses::<TwinBook>();
}

fn gives_the_same_slots<B: Subject>() {
    let mut book = B::restore(lists()).unwrap();
    assert_eq!(book.lists(), lists());
    assert_eq!([(); 4].map(|()| book.allocate()), [2, 5, 6, 7]);
    book.remove(3);
    book.remove_stop(4);
    assert_eq!([(); 3].map(|()| book.allocate()), [4, 3, 8]);
}

#[test]
fn a_restored_book_gives_the_same_slots() {
    gives_the_same_slots::<Book>();
    gives_the_same_slots::<TwinBook>();
}
