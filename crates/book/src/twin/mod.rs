//! The slow, obvious book: plain lists, searched from the front. It exists to be read and to be
//! compared with; it promises exactly what [`crate::Book`] does.

mod auction;
mod stops;

use alloc::vec;
use alloc::vec::Vec;

use everopen_domain::{Price, Quantity, SelfTradePrevention, Side};

use crate::{
    BookOrder, Ended, Fill, Level, MatchSink, Matched, Reachable, RestoreError, Slot, StopOrder,
    Taker,
};

/// The book as lists.
#[derive(Clone, Debug, Default)]
pub struct TwinBook {
    /// Best price first, then in queue order.
    bids: Vec<(Slot, BookOrder)>,
    /// Best price first, then in queue order.
    asks: Vec<(Slot, BookOrder)>,
    /// In the order of acceptance.
    stops: Vec<StopOrder>,
    /// Free slots, the one used next last.
    free: Vec<Slot>,
    /// How many slots there are.
    slots: Slot,
}

/// True when `price` is better than `other` on this side.
fn better(side: Side, price: Price, other: Price) -> bool {
    match side {
        Side::Buy => price > other,
        Side::Sell => price < other,
    }
}

/// True when an order on `side` with this limit may trade at `price`.
fn within(side: Side, limit: Price, price: Price) -> bool {
    match side {
        Side::Buy => price <= limit,
        Side::Sell => price >= limit,
    }
}

/// Takes `by` off an order, its hidden part first.
fn decrease(order: &mut BookOrder, by: Quantity) {
    let from_hidden = by.0.min(order.hidden.0);
    order.hidden.0 -= from_hidden;
    order.visible.0 -= by.0 - from_hidden;
}

impl TwinBook {
    /// An empty book.
    pub fn new() -> Self {
        Self::default()
    }

    fn side(&self, side: Side) -> &Vec<(Slot, BookOrder)> {
        match side {
            Side::Buy => &self.bids,
            Side::Sell => &self.asks,
        }
    }

    fn side_mut(&mut self, side: Side) -> &mut Vec<(Slot, BookOrder)> {
        match side {
            Side::Buy => &mut self.bids,
            Side::Sell => &mut self.asks,
        }
    }

    fn find(&self, slot: Slot) -> Option<(Side, usize)> {
        [Side::Buy, Side::Sell].into_iter().find_map(|side| {
            let at = self.side(side).iter().position(|(s, _)| *s == slot)?;
            Some((side, at))
        })
    }

    fn is_held(&self, slot: Slot) -> bool {
        slot < self.slots
            && !self.free.contains(&slot)
            && self.find(slot).is_none()
            && !self.stops.iter().any(|stop| stop.slot == slot)
    }

    /// See [`crate::Book::allocate`].
    pub fn allocate(&mut self) -> Slot {
        self.free.pop().unwrap_or_else(|| {
            self.slots += 1;
            self.slots - 1
        })
    }

    /// See [`crate::Book::free`].
    pub fn free(&mut self, slot: Slot) {
        assert!(
            self.is_held(slot),
            "invariant: only a held slot is freed (INV-BOOK-1)"
        );
        self.free.push(slot);
    }

    /// See [`crate::Book::take`].
    pub fn take(&mut self, taker: &Taker, sink: &mut impl MatchSink) -> Matched {
        let makers = taker.side.opposite();
        let mut remaining = taker.size;
        let ended = loop {
            if remaining == Quantity::ZERO {
                break Ended::Filled;
            }
            let Some(&(slot, maker)) = self.side(makers).first() else {
                break Ended::Exhausted;
            };
            if !within(taker.side, taker.limit, maker.price) {
                break Ended::Exhausted;
            }
            if maker.member == taker.member {
                match taker.self_trade_prevention {
                    SelfTradePrevention::Allow => {}
                    SelfTradePrevention::CancelOldest => {
                        sink.maker_canceled(slot, &maker);
                        self.remove(slot);
                        continue;
                    }
                    SelfTradePrevention::CancelNewest => break Ended::SelfTrade,
                    SelfTradePrevention::CancelBoth => {
                        sink.maker_canceled(slot, &maker);
                        self.remove(slot);
                        break Ended::SelfTrade;
                    }
                    SelfTradePrevention::DecreaseAndCancel => {
                        let smaller = remaining.min(maker.remaining());
                        let by = sink.cap_decrease(maker.price, smaller);
                        if by == Quantity::ZERO {
                            break Ended::Capped;
                        }
                        if by == maker.remaining() {
                            sink.maker_canceled(slot, &maker);
                            self.remove(slot);
                        } else {
                            let order = &mut self.side_mut(makers)[0].1;
                            decrease(order, by);
                            sink.maker_reduced(slot, order, by);
                        }
                        remaining.0 -= by.0;
                        sink.taker_reduced(maker.price, by);
                        if remaining == Quantity::ZERO {
                            break Ended::SelfTrade;
                        }
                        continue;
                    }
                }
            }
            let quantity = sink.cap(maker.price, remaining.min(maker.visible));
            if quantity == Quantity::ZERO {
                break Ended::Capped;
            }
            remaining.0 -= quantity.0;
            let order = &mut self.side_mut(makers)[0].1;
            order.visible.0 -= quantity.0;
            sink.traded(&Fill {
                slot,
                sequence: order.sequence,
                member: order.member,
                price: order.price,
                quantity,
                maker_visible: order.visible,
                maker_remaining: order.remaining(),
                taker_remaining: remaining,
            });
            if order.remaining() == Quantity::ZERO {
                self.remove(slot);
            } else if let Some(order) = self.show_next_peak(slot) {
                sink.refreshed(slot, &order);
            }
        };
        Matched { remaining, ended }
    }

    /// Sends an iceberg that shows nothing to the back of its queue with its next peak.
    fn show_next_peak(&mut self, slot: Slot) -> Option<BookOrder> {
        let (side, at) = self.find(slot)?;
        if self.side(side)[at].1.visible != Quantity::ZERO {
            return None;
        }
        let (_, mut order) = self.side_mut(side).remove(at);
        let peak = order.peak.min(order.hidden);
        order.visible = peak;
        order.hidden.0 -= peak.0;
        self.insert(slot, order);
        Some(order)
    }

    fn insert(&mut self, slot: Slot, order: BookOrder) {
        let side = self.side_mut(order.side);
        let at = side
            .iter()
            .position(|(_, other)| better(order.side, order.price, other.price))
            .unwrap_or(side.len());
        side.insert(at, (slot, order));
    }

    /// See [`crate::Book::rest`].
    pub fn rest(&mut self, slot: Slot, order: BookOrder) {
        assert!(
            self.is_held(slot),
            "invariant: only a held slot rests (INV-BOOK-1)"
        );
        assert!(
            order.visible > Quantity::ZERO
                && (order.hidden == Quantity::ZERO || order.peak > Quantity::ZERO),
            "invariant: a resting order shows something (INV-BOOK-2)"
        );
        self.insert(slot, order);
    }

    /// See [`crate::Book::remove`].
    pub fn remove(&mut self, slot: Slot) -> BookOrder {
        let order = self.take_out(slot);
        self.free(slot);
        order
    }

    /// See [`crate::Book::take_out`].
    pub fn take_out(&mut self, slot: Slot) -> BookOrder {
        let (side, at) = self
            .find(slot)
            .expect("invariant: only a resting order is removed (INV-BOOK-1)");
        self.side_mut(side).remove(at).1
    }

    /// See [`crate::Book::reduce`].
    pub fn reduce(&mut self, slot: Slot, visible: Quantity, hidden: Quantity) {
        let (side, at) = self
            .find(slot)
            .expect("invariant: only a resting order is reduced (INV-BOOK-1)");
        let order = &mut self.side_mut(side)[at].1;
        assert!(
            visible > Quantity::ZERO && visible <= order.visible && hidden <= order.hidden,
            "invariant: sizes only get smaller in place (INV-BOOK-4)"
        );
        order.visible = visible;
        order.hidden = hidden;
    }

    /// See [`crate::Book::get`].
    pub fn get(&self, slot: Slot, sequence: u64) -> Option<BookOrder> {
        let (side, at) = self.find(slot)?;
        let order = self.side(side)[at].1;
        (order.sequence == sequence).then_some(order)
    }

    /// See [`crate::Book::best`].
    pub fn best(&self, side: Side) -> Option<Price> {
        self.side(side).first().map(|(_, order)| order.price)
    }

    /// See [`crate::Book::reachable`].
    pub fn reachable(&self, taker: &Taker) -> Reachable {
        /// Remembers what traded.
        #[derive(Default)]
        struct Sum(Reachable);
        impl MatchSink for Sum {
            fn traded(&mut self, fill: &Fill) {
                self.0.quantity.0 += fill.quantity.0;
                self.0.notional_units += u128::from(fill.price.0) * u128::from(fill.quantity.0);
            }
            fn refreshed(&mut self, _: Slot, _: &BookOrder) {}
            fn maker_canceled(&mut self, _: Slot, _: &BookOrder) {}
            fn maker_reduced(&mut self, _: Slot, _: &BookOrder, _: Quantity) {}
        }
        let mut sum = Sum::default();
        self.clone().take(taker, &mut sum);
        sum.0
    }

    /// See [`crate::Book::levels`].
    pub fn levels(&self, side: Side) -> impl Iterator<Item = Level> + '_ {
        let mut levels: Vec<Level> = vec![];
        for (_, order) in self.side(side) {
            match levels.last_mut() {
                Some(level) if level.price == order.price => {
                    level.visible.0 = level.visible.0.saturating_add(order.visible.0);
                    level.orders += 1;
                }
                _ => levels.push(Level {
                    price: order.price,
                    visible: order.visible,
                    orders: 1,
                }),
            }
        }
        levels.into_iter()
    }

    /// See [`crate::Book::orders`].
    pub fn orders(&self, side: Side) -> impl Iterator<Item = (Slot, BookOrder)> + '_ {
        self.side(side).iter().copied()
    }

    /// See [`crate::Book::free_slots`].
    pub fn free_slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.free.iter().copied()
    }

    /// See [`crate::Book::restore`].
    ///
    /// # Errors
    /// [`RestoreError`] when the lists are not those of a book.
    pub fn restore(
        bids: impl IntoIterator<Item = (Slot, BookOrder)>,
        asks: impl IntoIterator<Item = (Slot, BookOrder)>,
        stops: impl IntoIterator<Item = StopOrder>,
        free_slots: impl IntoIterator<Item = Slot>,
    ) -> Result<Self, RestoreError> {
        let book = Self {
            bids: bids.into_iter().collect(),
            asks: asks.into_iter().collect(),
            stops: stops.into_iter().collect(),
            free: free_slots.into_iter().collect(),
            slots: 0,
        };
        let orders = || book.bids.iter().chain(&book.asks);
        let mut slots: Vec<Slot> = orders().map(|(slot, _)| *slot).collect();
        slots.extend(book.stops.iter().map(|stop| stop.slot));
        slots.extend(&book.free);
        slots.sort_unstable();
        if slots
            .iter()
            .enumerate()
            .any(|(at, slot)| at != *slot as usize)
        {
            return Err(RestoreError::Slots);
        }
        for side in [Side::Buy, Side::Sell] {
            let orders = book.side(side);
            if orders.iter().any(|(_, order)| !order.is_sound(side)) {
                return Err(RestoreError::Order);
            }
            if orders
                .windows(2)
                .any(|pair| better(side, pair[1].1.price, pair[0].1.price))
            {
                return Err(RestoreError::Priority);
            }
        }
        if !book.stops.iter().all(StopOrder::is_sound) {
            return Err(RestoreError::Order);
        }
        if book
            .stops
            .windows(2)
            .any(|p| p[0].sequence >= p[1].sequence)
        {
            return Err(RestoreError::Priority);
        }
        Ok(Self {
            slots: slots.len() as Slot,
            ..book
        })
    }
}
