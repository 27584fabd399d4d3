//! The slow, obvious book: plain lists, searched from the front. It exists to be read and to be
//! compared with; it promises exactly what [`crate::Book`] does.

use alloc::vec;
use alloc::vec::Vec;

use everopen_domain::{MemberId, Price, Quantity, SelfTradePrevention, Side, StopDirection};

use crate::{
    BookOrder, Ended, Fill, Indication, Level, MatchSink, Matched, Reachable, RestoreError, Slot,
    StopOrder, Taker, UncrossFill, UncrossSink,
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

fn saturate(sum: u128) -> Quantity {
    Quantity(u64::try_from(sum).unwrap_or(u64::MAX))
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

    /// See [`crate::Book::add_stop`].
    pub fn add_stop(
        &mut self,
        slot: Slot,
        direction: StopDirection,
        price: Price,
        sequence: u64,
        member: MemberId,
    ) {
        assert!(
            self.is_held(slot),
            "invariant: only a held slot waits (INV-BOOK-1)"
        );
        self.stops.push(StopOrder {
            slot,
            sequence,
            member,
            direction,
            price,
        });
    }

    /// See [`crate::Book::remove_stop`].
    pub fn remove_stop(&mut self, slot: Slot) -> StopOrder {
        let at = self
            .stops
            .iter()
            .position(|stop| stop.slot == slot)
            .expect("invariant: only a waiting stop is removed (INV-BOOK-1)");
        let stop = self.stops.remove(at);
        self.free(slot);
        stop
    }

    /// See [`crate::Book::get_stop`].
    pub fn get_stop(&self, slot: Slot, sequence: u64) -> Option<StopOrder> {
        self.stops
            .iter()
            .find(|stop| stop.slot == slot && stop.sequence == sequence)
            .copied()
    }

    /// See [`crate::Book::pop_triggered`].
    pub fn pop_triggered(&mut self, last_price: Price) -> Option<Slot> {
        let losses = self
            .stops
            .iter()
            .filter(|s| s.direction == StopDirection::Loss && s.price >= last_price);
        let entries = self
            .stops
            .iter()
            .filter(|s| s.direction == StopDirection::Entry && s.price <= last_price);
        // Of equal keys `min_by_key` gives the first, which is the oldest.
        let slot = losses
            .min_by_key(|s| core::cmp::Reverse(s.price))
            .or_else(|| entries.min_by_key(|s| s.price))?
            .slot;
        self.stops.retain(|stop| stop.slot != slot);
        Some(slot)
    }

    /// See [`crate::Book::stops`].
    pub fn stops(&self) -> impl Iterator<Item = StopOrder> + '_ {
        self.stops.iter().copied()
    }

    /// See [`crate::Book::free_slots`].
    pub fn free_slots(&self) -> impl Iterator<Item = Slot> + '_ {
        self.free.iter().copied()
    }

    /// See [`crate::Book::indicate`].
    pub fn indicate(&self, reference: Price) -> Indication {
        let sum = |side: Side, price: Price| -> u128 {
            self.side(side)
                .iter()
                .filter(|(_, order)| !better(side, price, order.price))
                .map(|(_, order)| u128::from(order.remaining().0))
                .sum()
        };
        // Volume and surplus change only at prices of orders, so the best price is one of those or
        // the reference between two of them.
        let mut prices: Vec<Price> = self
            .bids
            .iter()
            .chain(&self.asks)
            .map(|o| o.1.price)
            .collect();
        prices.push(reference);
        let volume = |p: Price| sum(Side::Buy, p).min(sum(Side::Sell, p));
        let surplus = |p: Price| sum(Side::Buy, p).abs_diff(sum(Side::Sell, p));
        let most = prices.iter().map(|p| volume(*p)).max().unwrap_or(0);
        if most == 0 {
            return Indication::default();
        }
        prices.retain(|p| volume(*p) == most);
        let least = prices.iter().map(|p| surplus(*p)).min().unwrap_or(0);
        prices.retain(|p| surplus(*p) == least);
        let all_buy = prices
            .iter()
            .all(|p| sum(Side::Buy, *p) > sum(Side::Sell, *p));
        let all_sell = prices
            .iter()
            .all(|p| sum(Side::Buy, *p) < sum(Side::Sell, *p));
        let price = if all_buy {
            prices.iter().max()
        } else if all_sell {
            prices.iter().min()
        } else {
            prices
                .iter()
                .min_by_key(|p| (p.0.abs_diff(reference.0), p.0))
        };
        let price = *price.expect("invariant: some price has the most volume");
        let (buy, sell) = (sum(Side::Buy, price), sum(Side::Sell, price));
        Indication {
            price,
            volume: saturate(most),
            surplus_side: if buy >= sell { Side::Buy } else { Side::Sell },
            surplus: saturate(buy.abs_diff(sell)),
        }
    }

    /// See [`crate::Book::uncross`].
    pub fn uncross(&mut self, price: Price, sink: &mut impl UncrossSink) -> Quantity {
        let mut volume = 0u128;
        while let (Some(&(bid_slot, bid)), Some(&(ask_slot, ask))) =
            (self.bids.first(), self.asks.first())
        {
            if bid.price < ask.price {
                break;
            }
            let price = price.max(ask.price).min(bid.price);
            let bid_is_younger = bid.sequence > ask.sequence;
            let ((old_slot, old), (new_slot, new)) = if bid_is_younger {
                ((ask_slot, ask), (bid_slot, bid))
            } else {
                ((bid_slot, bid), (ask_slot, ask))
            };
            if bid.member == ask.member {
                match new.self_trade_prevention {
                    SelfTradePrevention::Allow => {}
                    SelfTradePrevention::CancelOldest => {
                        self.cancel(old_slot, sink);
                        continue;
                    }
                    SelfTradePrevention::CancelNewest => {
                        self.cancel(new_slot, sink);
                        continue;
                    }
                    SelfTradePrevention::CancelBoth => {
                        self.cancel(old_slot, sink);
                        self.cancel(new_slot, sink);
                        continue;
                    }
                    SelfTradePrevention::DecreaseAndCancel => {
                        let by = old.remaining().min(new.remaining());
                        self.shrink(old_slot, by, sink);
                        self.shrink(new_slot, by, sink);
                        continue;
                    }
                }
            }
            let quantity = bid.visible.min(ask.visible);
            self.bids[0].1.visible.0 -= quantity.0;
            self.asks[0].1.visible.0 -= quantity.0;
            volume += u128::from(quantity.0);
            let (bid, ask) = (self.bids[0].1, self.asks[0].1);
            let (maker, taker) = if bid_is_younger {
                (ask, bid)
            } else {
                (bid, ask)
            };
            sink.traded(&UncrossFill {
                maker_slot: old_slot,
                maker,
                taker_slot: new_slot,
                taker,
                price,
                quantity,
            });
            for (slot, order) in [(old_slot, maker), (new_slot, taker)] {
                if order.remaining() == Quantity::ZERO {
                    self.remove(slot);
                } else if let Some(order) = self.show_next_peak(slot) {
                    sink.refreshed(slot, &order);
                }
            }
        }
        saturate(volume)
    }

    fn cancel(&mut self, slot: Slot, sink: &mut impl UncrossSink) {
        let order = self.take_out(slot);
        sink.canceled(slot, &order);
        self.free(slot);
    }

    fn shrink(&mut self, slot: Slot, by: Quantity, sink: &mut impl UncrossSink) {
        let (side, at) = self
            .find(slot)
            .expect("invariant: only a resting order shrinks (INV-BOOK-1)");
        if self.side(side)[at].1.remaining() == by {
            return self.cancel(slot, sink);
        }
        let order = &mut self.side_mut(side)[at].1;
        decrease(order, by);
        sink.reduced(slot, order, by);
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
