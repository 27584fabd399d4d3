//! The book and the ledger beside their slow twins: the same arbitrary operations, and every answer, every event and
//! everything they then hold must be the same.

use std::fmt::Debug;

use everopen_book::twin::TwinBook;
use everopen_book::{Book, BookOrder, Fill, MatchSink, Slot, Taker, UncrossFill, UncrossSink};
use everopen_domain::snapshot::AccountOwner;
use everopen_domain::{
    Amount, AssetId, MemberId, Price, Quantity, SelfTradePrevention, Side, StopDirection,
};
use everopen_ledger::twin::TwinLedger;
use everopen_ledger::{Ledger, SUPPLY_MAX};

use crate::tape::Tape;

/// Operations of one input; more would only make a failure harder to read.
const OPERATIONS: usize = 400;

/// Writes down everything.
#[derive(Default)]
struct Transcript(Vec<String>);

impl Transcript {
    fn note(&mut self, what: &str, value: impl Debug) {
        self.0.push(format!("{what} {value:?}"));
    }
}

impl MatchSink for Transcript {
    fn traded(&mut self, fill: &Fill) {
        self.note("traded", fill);
    }
    fn refreshed(&mut self, slot: Slot, order: &BookOrder) {
        self.note("refreshed", (slot, order));
    }
    fn maker_canceled(&mut self, slot: Slot, order: &BookOrder) {
        self.note("maker canceled", (slot, order));
    }
    fn maker_reduced(&mut self, slot: Slot, order: &BookOrder, by: Quantity) {
        self.note("maker reduced", (slot, order, by));
    }
}

impl UncrossSink for Transcript {
    fn traded(&mut self, fill: &UncrossFill) {
        self.note("uncrossed", fill);
    }
    fn refreshed(&mut self, slot: Slot, order: &BookOrder) {
        self.note("refreshed", (slot, order));
    }
    fn canceled(&mut self, slot: Slot, order: &BookOrder) {
        self.note("canceled", (slot, order));
    }
    fn reduced(&mut self, slot: Slot, order: &BookOrder, by: Quantity) {
        self.note("reduced", (slot, order, by));
    }
}

fn taker(order: &BookOrder) -> Taker {
    Taker {
        sequence: order.sequence,
        member: order.member,
        side: order.side,
        limit: order.price,
        size: order.visible,
        self_trade_prevention: order.self_trade_prevention,
    }
}

fn order(tape: &mut Tape<'_>, sequence: u64) -> BookOrder {
    let prices = [
        1,
        2,
        3,
        63,
        64,
        65,
        100,
        101,
        4_096,
        1 << 40,
        (1 << 62) - 1,
        1 << 62,
    ];
    let near = 1_000 + u64::from(tape.below(24));
    let price = if tape.once_in(5) {
        tape.pick(&prices)
    } else {
        near
    };
    BookOrder {
        sequence,
        price: Price(price),
        visible: Quantity(1 + u64::from(tape.below(40))),
        hidden: Quantity::ZERO,
        peak: Quantity(if tape.once_in(5) {
            1 + u64::from(tape.below(6))
        } else {
            0
        }),
        member: MemberId(u32::from(tape.below(4))),
        side: tape.pick(&[Side::Buy, Side::Sell]),
        self_trade_prevention: tape.pick(&[
            SelfTradePrevention::DecreaseAndCancel,
            SelfTradePrevention::CancelOldest,
            SelfTradePrevention::CancelNewest,
            SelfTradePrevention::CancelBoth,
            SelfTradePrevention::Allow,
        ]),
    }
}

/// The same operations on either book, which share names but no trait outside their tests.
macro_rules! book_story {
    ($name:ident, $book:ty) => {
        fn $name(bytes: &[u8]) -> Vec<String> {
            let mut tape = Tape::new(bytes);
            let mut book = <$book>::new();
            let mut told = Transcript::default();
            for sequence in 1..=OPERATIONS as u64 {
                if tape.is_empty() {
                    break;
                }
                let resting: Vec<(Slot, BookOrder)> = [Side::Buy, Side::Sell]
                    .into_iter()
                    .flat_map(|side| book.orders(side).collect::<Vec<_>>())
                    .collect();
                let picked = |tape: &mut Tape<'_>| {
                    let at = tape.word() as usize;
                    (!resting.is_empty()).then(|| resting[at % resting.len()])
                };
                match tape.below(10) {
                    0..=4 => {
                        let slot = book.allocate();
                        let mut order = order(&mut tape, sequence);
                        told.note("slot", slot);
                        // Now and then an order rests without matching, as in a call auction.
                        if !tape.once_in(6) {
                            told.note("reachable", book.reachable(&taker(&order)));
                            let matched = book.take(&taker(&order), &mut told);
                            told.note("matched", &matched);
                            order.visible = match matched.ended {
                                everopen_book::Ended::SelfTrade => Quantity::ZERO,
                                _ => matched.remaining,
                            };
                        }
                        // A full peak shows, the rest is hidden.
                        if order.peak.0 > 0 && order.visible > order.peak {
                            order.hidden = Quantity(order.visible.0 - order.peak.0);
                            order.visible = order.peak;
                        }
                        if order.visible.0 == 0 {
                            book.free(slot);
                        } else {
                            book.rest(slot, order);
                        }
                    }
                    5 => {
                        if let Some((slot, _)) = picked(&mut tape) {
                            told.note("removed", book.remove(slot));
                        }
                    }
                    6 => {
                        if let Some((slot, order)) = picked(&mut tape) {
                            let visible = 1 + tape.word() % order.visible.0;
                            let hidden = tape.word() % (order.hidden.0 + 1);
                            book.reduce(slot, Quantity(visible), Quantity(hidden));
                        }
                    }
                    7 => {
                        let slot = book.allocate();
                        let way = tape.pick(&[StopDirection::Loss, StopDirection::Entry]);
                        let price = Price(1_000 + u64::from(tape.below(24)));
                        book.add_stop(slot, way, price, sequence, MemberId(0));
                    }
                    8 => {
                        let price = Price(1_000 + u64::from(tape.below(24)));
                        while let Some(slot) = book.pop_triggered(price) {
                            told.note("triggered", slot);
                            book.free(slot);
                        }
                    }
                    _ => {
                        let reference = Price(1_000 + u64::from(tape.below(24)));
                        let indication = book.indicate(reference);
                        told.note("indicated", &indication);
                        let volume = book.uncross(indication.price, &mut told);
                        told.note("uncrossed", volume);
                    }
                }
                for side in [Side::Buy, Side::Sell] {
                    told.note("best", book.best(side));
                    told.note("orders", book.orders(side).collect::<Vec<_>>());
                    told.note("levels", book.levels(side).collect::<Vec<_>>());
                }
            }
            told.0
        }
    };
}

book_story!(fast_book, Book);
book_story!(slow_book, TwinBook);

/// The same operations on either ledger.
macro_rules! ledger_story {
    ($name:ident, $ledger:ty, $open:expr) => {
        fn $name(bytes: &[u8]) -> Vec<String> {
            let mut tape = Tape::new(bytes);
            let mut ledger = <$ledger>::default();
            let mut told = Transcript::default();
            for _ in 0..OPERATIONS {
                if tape.is_empty() {
                    break;
                }
                let asset = AssetId(u32::from(tape.below(2)));
                let owner =
                    |tape: &mut Tape<'_>| AccountOwner::Member(MemberId(u32::from(tape.below(3))));
                let (one, other) = (owner(&mut tape), owner(&mut tape));
                let (one, other) = (
                    $open(&mut ledger, one, asset),
                    $open(&mut ledger, other, asset),
                );
                let wanted = match tape.below(4) {
                    0 => SUPPLY_MAX.0 - i128::from(tape.byte()),
                    1 => i128::from(tape.word()),
                    _ => i128::from(tape.byte()),
                };
                let (wanted, balance) = (Amount(wanted), ledger.balance(one));
                // What must not be asked for is asked for only as far as it may be.
                let held = Amount(wanted.0.min(balance.held.0));
                let available = Amount(wanted.0.min(balance.available.0));
                ledger.begin_command();
                match tape.below(9) {
                    0 | 1 => told.note("deposit", ledger.deposit(one, wanted)),
                    2 => told.note("hold", ledger.hold(one, wanted)),
                    3 => ledger.release(one, held),
                    4 => ledger.settle(one, other, held),
                    5 => told.note("transfer", ledger.transfer(one, other, wanted)),
                    6 => ledger.charge_held(one, held),
                    7 => ledger.charge_available(one, available),
                    _ => ledger.withdraw_held(one, held),
                }
                told.note("touched", ledger.touched().len());
                told.note("accounts", ledger.accounts_sorted());
                assert_eq!(ledger.sum(asset), Amount::ZERO, "INV-LEDGER-1");
            }
            told.0
        }
    };
}

ledger_story!(fast_ledger, Ledger, Ledger::open);
ledger_story!(
    slow_ledger,
    TwinLedger,
    |_: &mut TwinLedger, owner, asset| (owner, asset)
);

/// Both books tell the same story.
pub fn book_twin(bytes: &[u8]) {
    assert_eq!(fast_book(bytes), slow_book(bytes));
}

/// Both ledgers tell the same story.
pub fn ledger_twin(bytes: &[u8]) {
    assert_eq!(fast_ledger(bytes), slow_ledger(bytes));
}

/// Tapes long enough for every kind of operation.
pub fn seeds() -> Vec<Vec<u8>> {
    (1..=8u64)
        .map(|seed| {
            let mut random = crate::inputs::Random::new("twins", seed);
            random.bytes(1_500)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_reach_every_kind_of_answer() {
        let book: Vec<String> = seeds().iter().flat_map(|seed| fast_book(seed)).collect();
        for kind in [
            "traded",
            "refreshed",
            "maker canceled",
            "maker reduced",
            "removed",
            "triggered",
            "indicated",
            "uncrossed Uncross",
        ] {
            assert!(book.iter().any(|line| line.starts_with(kind)), "{kind}");
        }
        let ledger: Vec<String> = seeds().iter().flat_map(|seed| fast_ledger(seed)).collect();
        for kind in [
            "deposit Ok",
            "deposit Err",
            "hold Ok",
            "hold Err",
            "transfer Ok",
            "transfer Err",
        ] {
            assert!(ledger.iter().any(|line| line.starts_with(kind)), "{kind}");
        }
    }
}
