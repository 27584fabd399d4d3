//! A book as the market sees it: visible sizes, order by order, in the order of their queues.

use std::collections::BTreeMap;

use everopen_domain::{MemberId, OrderId, Price, Quantity, Side};
use serde::{Deserialize, Serialize};

/// One price of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LevelView {
    /// The price.
    pub price: Price,
    /// What is shown at that price; a sum, so it may exceed one order's range.
    pub visible: u128,
    /// How many orders show something.
    pub orders: u32,
}

/// One order of a book.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookOrder {
    /// The order.
    pub order: OrderId,
    /// Whose; not for the public.
    pub member: MemberId,
    /// Its price.
    pub price: Price,
    /// What the book shows of it.
    pub visible: Quantity,
}

/// What an auction would do if it ended now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuctionIndication {
    /// The price, zero when nothing would trade.
    pub price: Price,
    /// The volume that would trade.
    pub volume: Quantity,
    /// The side that has more at that price.
    pub surplus_side: Side,
    /// How much more.
    pub surplus: Quantity,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Level {
    visible: u128,
    /// By ticket: the market data sequence at which the order joined the queue.
    orders: BTreeMap<u64, BookOrder>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Place {
    side: Side,
    price: Price,
    ticket: u64,
}

/// A book at an instant. Everything in it holds as of [`BookView::sequence`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BookView {
    sequence: u64,
    bids: BTreeMap<Price, Level>,
    asks: BTreeMap<Price, Level>,
    /// Where each order is, by the order's sequence.
    places: BTreeMap<u64, Place>,
    indication: Option<AuctionIndication>,
}

impl BookView {
    /// The sequence of the last market data event that is in this book; 0 before the first.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The levels of one side, best price first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = LevelView> + '_ {
        self.ordered(side).map(|(price, level)| LevelView {
            price: *price,
            visible: level.visible,
            orders: level.orders.len() as u32,
        })
    }

    /// The best level of one side.
    pub fn best(&self, side: Side) -> Option<LevelView> {
        self.levels(side).next()
    }

    /// What one price shows; zero when it shows nothing.
    pub fn visible_at(&self, side: Side, price: Price) -> u128 {
        self.side(side).get(&price).map_or(0, |level| level.visible)
    }

    /// The orders of one side, best price first and in queue order within a price.
    pub fn orders(&self, side: Side) -> impl Iterator<Item = &BookOrder> + '_ {
        self.ordered(side)
            .flat_map(|(_, level)| level.orders.values())
    }

    /// How many orders show something.
    pub fn order_count(&self) -> u64 {
        self.places.len() as u64
    }

    /// What the book shows of an order; zero if it is not there.
    pub fn visible_of(&self, order: OrderId) -> Quantity {
        self.places
            .get(&order.sequence)
            .map_or(Quantity::ZERO, |place| {
                self.side(place.side)[&place.price].orders[&place.ticket].visible
            })
    }

    /// Where an order rests; none if it is not in the book.
    pub fn place_of(&self, order: OrderId) -> Option<(Side, Price)> {
        self.places
            .get(&order.sequence)
            .map(|place| (place.side, place.price))
    }

    /// What the auction would do if it ended now; none outside an auction.
    pub fn indication(&self) -> Option<AuctionIndication> {
        self.indication
    }

    fn side(&self, side: Side) -> &BTreeMap<Price, Level> {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    fn side_mut(&mut self, side: Side) -> &mut BTreeMap<Price, Level> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    fn ordered(&self, side: Side) -> impl Iterator<Item = (&Price, &Level)> + '_ {
        // One of the two is empty, so both sides have one type without a box.
        let (bids, asks) = match side {
            Side::Buy => (Some(self.bids.iter().rev()), None),
            Side::Sell => (None, Some(self.asks.iter())),
        };
        bids.into_iter().flatten().chain(asks.into_iter().flatten())
    }

    pub(crate) fn advance(&mut self, sequence: u64) {
        if sequence == 0 {
            return;
        }
        debug_assert_eq!(
            sequence,
            self.sequence + 1,
            "invariant: market data sequence has no gap"
        );
        self.sequence = sequence;
    }

    pub(crate) fn set_indication(&mut self, indication: Option<AuctionIndication>) {
        self.indication = indication;
    }

    /// The order joins the end of its price's queue, leaving where it was.
    pub(crate) fn join(&mut self, side: Side, order: BookOrder) {
        self.leave(order.order);
        if order.visible == Quantity::ZERO {
            return;
        }
        let ticket = self.sequence;
        let level = self.side_mut(side).entry(order.price).or_default();
        level.visible += u128::from(order.visible.0);
        level.orders.insert(ticket, order);
        self.places.insert(
            order.order.sequence,
            Place {
                side,
                price: order.price,
                ticket,
            },
        );
    }

    /// The book shows `visible` of the order now; with nothing shown it leaves. An order that is
    /// not in the book stays out.
    pub(crate) fn show(&mut self, order: OrderId, visible: Quantity) {
        if visible == Quantity::ZERO {
            self.leave(order);
            return;
        }
        let Some(place) = self.places.get(&order.sequence).copied() else {
            return;
        };
        let level = self
            .side_mut(place.side)
            .get_mut(&place.price)
            .expect("invariant: a placed order has a level");
        let entry = level
            .orders
            .get_mut(&place.ticket)
            .expect("invariant: a placed order is in its level");
        level.visible = level.visible - u128::from(entry.visible.0) + u128::from(visible.0);
        entry.visible = visible;
    }

    /// The order leaves the book, if it is there.
    pub(crate) fn leave(&mut self, order: OrderId) {
        let Some(place) = self.places.remove(&order.sequence) else {
            return;
        };
        let side = self.side_mut(place.side);
        let level = side
            .get_mut(&place.price)
            .expect("invariant: a placed order has a level");
        let entry = level
            .orders
            .remove(&place.ticket)
            .expect("invariant: a placed order is in its level");
        level.visible -= u128::from(entry.visible.0);
        if level.orders.is_empty() {
            side.remove(&place.price);
        }
    }
}
