//! What the suite needs of a book, and a sink that writes down everything it hears.

use everopen_book::twin::TwinBook;
use everopen_book::*;
use everopen_domain::{MemberId, Price, Quantity, Side, StopDirection};

/// All that a book can say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    Traded(Fill),
    Refreshed(Slot, BookOrder),
    MakerCanceled(Slot, BookOrder),
    MakerReduced(Slot, BookOrder, Quantity),
    TakerReduced(Price, Quantity),
    Uncrossed(UncrossFill),
    Canceled(Slot, BookOrder),
    Reduced(Slot, BookOrder, Quantity),
}

/// Writes down what it hears. With `funds` it caps what the taker may spend.
#[derive(Clone, Debug, Default)]
pub struct Recorder {
    pub said: Vec<Said>,
    pub funds: Option<u128>,
}

impl Recorder {
    fn affordable(&self, price: Price, wanted: Quantity) -> Quantity {
        let Some(funds) = self.funds else {
            return wanted;
        };
        let most = funds.checked_div(u128::from(price.0)).unwrap_or(0);
        wanted.min(Quantity(most.try_into().unwrap_or(u64::MAX)))
    }

    fn spend(&mut self, price: Price, quantity: Quantity) {
        if let Some(funds) = &mut self.funds {
            *funds -= u128::from(price.0) * u128::from(quantity.0);
        }
    }
}

impl MatchSink for Recorder {
    fn cap(&mut self, price: Price, wanted: Quantity) -> Quantity {
        self.affordable(price, wanted)
    }
    fn cap_decrease(&mut self, price: Price, wanted: Quantity) -> Quantity {
        self.affordable(price, wanted)
    }
    fn traded(&mut self, fill: &Fill) {
        self.spend(fill.price, fill.quantity);
        self.said.push(Said::Traded(*fill));
    }
    fn refreshed(&mut self, slot: Slot, order: &BookOrder) {
        self.said.push(Said::Refreshed(slot, *order));
    }
    fn maker_canceled(&mut self, slot: Slot, order: &BookOrder) {
        self.said.push(Said::MakerCanceled(slot, *order));
    }
    fn maker_reduced(&mut self, slot: Slot, order: &BookOrder, by: Quantity) {
        self.said.push(Said::MakerReduced(slot, *order, by));
    }
    fn taker_reduced(&mut self, price: Price, by: Quantity) {
        self.spend(price, by);
        self.said.push(Said::TakerReduced(price, by));
    }
}

impl UncrossSink for Recorder {
    fn traded(&mut self, fill: &UncrossFill) {
        self.said.push(Said::Uncrossed(*fill));
    }
    fn refreshed(&mut self, slot: Slot, order: &BookOrder) {
        self.said.push(Said::Refreshed(slot, *order));
    }
    fn canceled(&mut self, slot: Slot, order: &BookOrder) {
        self.said.push(Said::Canceled(slot, *order));
    }
    fn reduced(&mut self, slot: Slot, order: &BookOrder, by: Quantity) {
        self.said.push(Said::Reduced(slot, *order, by));
    }
}

/// A book as plain lists: what a snapshot holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lists {
    pub bids: Vec<(Slot, BookOrder)>,
    pub asks: Vec<(Slot, BookOrder)>,
    pub stops: Vec<StopOrder>,
    pub free: Vec<Slot>,
}

/// A book under test.
pub trait Subject: Sized {
    fn empty() -> Self;
    fn allocate(&mut self) -> Slot;
    fn free(&mut self, slot: Slot);
    fn take(&mut self, taker: &Taker, sink: &mut Recorder) -> Matched;
    fn rest(&mut self, slot: Slot, order: BookOrder);
    fn remove(&mut self, slot: Slot) -> BookOrder;
    fn take_out(&mut self, slot: Slot) -> BookOrder;
    fn reduce(&mut self, slot: Slot, visible: Quantity, hidden: Quantity);
    fn get(&self, slot: Slot, sequence: u64) -> Option<BookOrder>;
    fn best(&self, side: Side) -> Option<Price>;
    fn reachable(&self, taker: &Taker) -> Reachable;
    fn levels(&self, side: Side) -> Vec<Level>;
    fn add_stop(&mut self, slot: Slot, way: StopDirection, price: Price, seq: u64, of: MemberId);
    fn remove_stop(&mut self, slot: Slot) -> StopOrder;
    fn get_stop(&self, slot: Slot, sequence: u64) -> Option<StopOrder>;
    fn pop_triggered(&mut self, last_price: Price) -> Option<Slot>;
    fn indicate(&self, reference: Price) -> Indication;
    fn uncross(&mut self, price: Price, sink: &mut Recorder) -> Quantity;
    fn lists(&self) -> Lists;
    fn restore(lists: Lists) -> Result<Self, RestoreError>;
}

macro_rules! subject {
    ($book:ty) => {
        impl Subject for $book {
            fn empty() -> Self {
                <$book>::new()
            }
            fn allocate(&mut self) -> Slot {
                self.allocate()
            }
            fn free(&mut self, slot: Slot) {
                self.free(slot);
            }
            fn take(&mut self, taker: &Taker, sink: &mut Recorder) -> Matched {
                self.take(taker, sink)
            }
            fn rest(&mut self, slot: Slot, order: BookOrder) {
                self.rest(slot, order);
            }
            fn remove(&mut self, slot: Slot) -> BookOrder {
                self.remove(slot)
            }
            fn take_out(&mut self, slot: Slot) -> BookOrder {
                self.take_out(slot)
            }
            fn reduce(&mut self, slot: Slot, visible: Quantity, hidden: Quantity) {
                self.reduce(slot, visible, hidden);
            }
            fn get(&self, slot: Slot, sequence: u64) -> Option<BookOrder> {
                self.get(slot, sequence)
            }
            fn best(&self, side: Side) -> Option<Price> {
                self.best(side)
            }
            fn reachable(&self, taker: &Taker) -> Reachable {
                self.reachable(taker)
            }
            fn levels(&self, side: Side) -> Vec<Level> {
                self.levels(side).collect()
            }
            fn add_stop(&mut self, s: Slot, way: StopDirection, p: Price, seq: u64, of: MemberId) {
                self.add_stop(s, way, p, seq, of);
            }
            fn remove_stop(&mut self, slot: Slot) -> StopOrder {
                self.remove_stop(slot)
            }
            fn get_stop(&self, slot: Slot, sequence: u64) -> Option<StopOrder> {
                self.get_stop(slot, sequence)
            }
            fn pop_triggered(&mut self, last_price: Price) -> Option<Slot> {
                self.pop_triggered(last_price)
            }
            fn indicate(&self, reference: Price) -> Indication {
                self.indicate(reference)
            }
            fn uncross(&mut self, price: Price, sink: &mut Recorder) -> Quantity {
                self.uncross(price, sink)
            }
            fn lists(&self) -> Lists {
                let orders = |side| self.orders(side).collect();
                Lists {
                    bids: orders(Side::Buy),
                    asks: orders(Side::Sell),
                    stops: self.stops().collect(),
                    free: self.free_slots().collect(),
                }
            }
            fn restore(lists: Lists) -> Result<Self, RestoreError> {
                <$book>::restore(lists.bids, lists.asks, lists.stops, lists.free)
            }
        }
    };
}
subject!(Book);
subject!(TwinBook);
