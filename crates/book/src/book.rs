//! The book itself: slots, queues, waiting stop orders.

use alloc::vec::Vec;

use everopen_domain::{MemberId, OrderId, Price, Quantity, Side, StopDirection};

use crate::ladder::Ladder;
use crate::slab::{NONE, Slab, Use};
use crate::{BookOrder, Level, RestoreError, Slot, StopOrder};

/// One instrument's order book.
///
/// A new book holds no memory. A slot is given out by [`Book::allocate`] when an order is accepted,
/// since it is part of the order's id, and goes back when the order ends.
#[derive(Clone, Debug)]
pub struct Book {
    pub(crate) slab: Slab,
    /// Bids, then asks: the numbers of [`Side`].
    pub(crate) sides: [Ladder; 2],
    /// Losses, then entries: the numbers of [`StopDirection`].
    stops: [Ladder; 2],
}

impl Default for Book {
    fn default() -> Self {
        Self::new()
    }
}

impl Book {
    /// An empty book.
    pub const fn new() -> Self {
        Self {
            slab: Slab::new(),
            sides: [Ladder::highest_first(), Ladder::lowest_first()],
            // A falling price reaches the highest loss stop first, a rising one the lowest entry.
            stops: [Ladder::highest_first(), Ladder::lowest_first()],
        }
    }

    /// Gives a slot to an order: the last one freed, or a new one when none is free.
    #[inline]
    pub fn allocate(&mut self) -> Slot {
        self.slab.allocate()
    }

    /// Takes back the slot of an order that is in no queue: one that never rested, was taken out,
    /// or was a stop order that triggered.
    ///
    /// # Panics
    /// When the slot is not held (INV-BOOK-1).
    #[inline]
    pub fn free(&mut self, slot: Slot) {
        self.slab.free(slot);
    }

    /// Rests an order at the back of its price's queue. It is not matched first.
    ///
    /// # Panics
    /// When the slot is not held (INV-BOOK-1), or the order shows nothing, hides some without a
    /// peak, or its numbers are out of range (INV-BOOK-2).
    #[inline]
    pub fn rest(&mut self, slot: Slot, order: BookOrder) {
        assert!(
            order.is_sound(order.side),
            "invariant: a resting order shows something (INV-BOOK-2)"
        );
        self.slab.change(slot, Use::Held, Use::Resting);
        self.slab.set_order(slot, &order);
        self.sides[order.side as usize].push(&mut self.slab, slot, order.price.0);
    }

    /// Takes a resting order out of the book and frees its slot.
    ///
    /// # Panics
    /// When no order rests in the slot (INV-BOOK-1).
    #[inline]
    pub fn remove(&mut self, slot: Slot) -> BookOrder {
        let order = self.take_out(slot);
        self.slab.free(slot);
        order
    }

    /// Takes a resting order out of the book; its slot stays its own, to [`Book::rest`] or
    /// [`Book::free`] later.
    ///
    /// # Panics
    /// When no order rests in the slot (INV-BOOK-1).
    #[inline]
    pub fn take_out(&mut self, slot: Slot) -> BookOrder {
        self.slab.change(slot, Use::Resting, Use::Held);
        let order = self.slab.order(slot);
        self.sides[order.side as usize].unlink(&mut self.slab, slot);
        order
    }

    /// Makes a resting order smaller in place; it keeps its priority.
    ///
    /// # Panics
    /// When no order rests in the slot (INV-BOOK-1), `visible` is zero (INV-BOOK-2) or a size
    /// would grow (INV-BOOK-4).
    pub fn reduce(&mut self, slot: Slot, visible: Quantity, hidden: Quantity) {
        self.slab.change(slot, Use::Resting, Use::Resting);
        let mut order = self.slab.order(slot);
        assert!(
            visible > Quantity::ZERO && visible <= order.visible && hidden <= order.hidden,
            "invariant: sizes only get smaller in place (INV-BOOK-4)"
        );
        order.visible = visible;
        order.hidden = hidden;
        self.slab.set_order(slot, &order);
    }

    /// The order that rests in `slot`, if it is the one with this sequence.
    #[inline]
    pub fn get(&self, slot: Slot, sequence: u64) -> Option<BookOrder> {
        let order = self.slab.find(slot, Use::Resting)?;
        (order.sequence == sequence).then_some(order)
    }

    /// The best price of a side.
    #[inline]
    pub fn best(&self, side: Side) -> Option<Price> {
        self.sides[side as usize].best().map(Price)
    }

    /// The levels of a side, best first. Each costs a walk along its queue.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = Level> + '_ {
        self.sides[side as usize].heads().map(|head| {
            let mut level = Level {
                price: self.slab.price(head),
                visible: Quantity::ZERO,
                orders: 0,
            };
            for (_, order) in self.slab.queue(head) {
                level.visible.0 = level.visible.0.saturating_add(order.visible.0);
                level.orders += 1;
            }
            level
        })
    }

    /// The orders of a side in priority order.
    pub fn orders(&self, side: Side) -> impl Iterator<Item = (Slot, BookOrder)> + '_ {
        let heads = self.sides[side as usize].heads();
        heads.flat_map(|head| self.slab.queue(head))
    }

    /// Lets a stop order wait for its trigger. Sequences must rise from one call to the next, as
    /// those of acceptances do; of stops at one price the older triggers first.
    ///
    /// # Panics
    /// When the slot is not held (INV-BOOK-1).
    pub fn add_stop(
        &mut self,
        slot: Slot,
        direction: StopDirection,
        price: Price,
        sequence: u64,
        member: MemberId,
    ) {
        self.slab.change(slot, Use::Held, Use::Waiting);
        assert!(
            price <= Price::MAX && sequence < OrderId::SEQUENCE_END,
            "invariant: a stop order's numbers are in range (INV-BOOK-2)"
        );
        let order = BookOrder {
            sequence,
            price,
            member,
            // Which of the two ladders, in the only field that is at hand.
            side: match direction {
                StopDirection::Loss => Side::Buy,
                StopDirection::Entry => Side::Sell,
            },
            ..BookOrder::default()
        };
        self.slab.set_order(slot, &order);
        self.stops[direction as usize].push(&mut self.slab, slot, price.0);
    }

    fn stop(&self, slot: Slot) -> StopOrder {
        let order = self.slab.order(slot);
        StopOrder {
            slot,
            sequence: order.sequence,
            member: order.member,
            direction: match order.side {
                Side::Buy => StopDirection::Loss,
                Side::Sell => StopDirection::Entry,
            },
            price: order.price,
        }
    }

    /// Takes out a waiting stop order and frees its slot.
    ///
    /// # Panics
    /// When no stop order waits in the slot (INV-BOOK-1).
    pub fn remove_stop(&mut self, slot: Slot) -> StopOrder {
        let stop = self.take_out_stop(slot);
        self.slab.free(slot);
        stop
    }

    fn take_out_stop(&mut self, slot: Slot) -> StopOrder {
        self.slab.change(slot, Use::Waiting, Use::Held);
        let stop = self.stop(slot);
        self.stops[stop.direction as usize].unlink(&mut self.slab, slot);
        stop
    }

    /// The stop order that waits in `slot`, if it is the one with this sequence.
    pub fn get_stop(&self, slot: Slot, sequence: u64) -> Option<StopOrder> {
        let order = self.slab.find(slot, Use::Waiting)?;
        (order.sequence == sequence).then(|| self.stop(slot))
    }

    /// Takes out the next stop order that a trade at `last_price` triggers, if there is one; its
    /// slot stays its own. Loss stops go first, the highest stop price first; then entry stops, the
    /// lowest stop price first; of one price the oldest.
    #[inline]
    pub fn pop_triggered(&mut self, last_price: Price) -> Option<Slot> {
        let ladder = self
            .stops
            .iter()
            .find(|stops| stops.reaches(last_price.0))?;
        let slot = ladder.first();
        self.take_out_stop(slot);
        Some(slot)
    }

    /// All waiting stop orders in the order of acceptance. Sorts them.
    pub fn stops(&self) -> impl Iterator<Item = StopOrder> + '_ {
        let heads = self.stops.iter().flat_map(|stops| stops.heads());
        let queues = heads.flat_map(|head| self.slab.queue(head));
        let mut stops: Vec<StopOrder> = queues.map(|(slot, _)| self.stop(slot)).collect();
        stops.sort_unstable_by_key(|stop| stop.sequence);
        stops.into_iter()
    }

    /// Free slots, the one used next last: what [`Book::restore`] needs besides the orders.
    pub fn free_slots(&self) -> impl Iterator<Item = Slot> + '_ {
        let mut slots: Vec<Slot> = self.slab.free_stack().collect();
        slots.reverse();
        slots.into_iter()
    }

    /// A book with these orders in these slots: bids and asks in priority order, stops in the order
    /// of acceptance, free slots as [`Book::free_slots`] gives them. It goes on exactly as the one
    /// that the lists came from.
    ///
    /// # Errors
    /// [`RestoreError`] when the lists are not those of a book.
    pub fn restore(
        bids: impl IntoIterator<Item = (Slot, BookOrder)>,
        asks: impl IntoIterator<Item = (Slot, BookOrder)>,
        stops: impl IntoIterator<Item = StopOrder>,
        free_slots: impl IntoIterator<Item = Slot>,
    ) -> Result<Self, RestoreError> {
        let mut orders: Vec<(Slot, BookOrder)> = bids.into_iter().collect();
        let bids = orders.len();
        orders.extend(asks);
        let stops: Vec<StopOrder> = stops.into_iter().collect();
        let free: Vec<Slot> = free_slots.into_iter().collect();
        let slots = orders.len() + stops.len() + free.len();
        if slots >= NONE as usize {
            return Err(RestoreError::Slots);
        }
        let mut book = Self {
            slab: Slab::unused(slots),
            ..Self::new()
        };
        // As many uses as slots, none used twice: so each is used once.
        let all = orders.iter().map(|(slot, _)| *slot);
        let all = all
            .chain(stops.iter().map(|stop| stop.slot))
            .chain(free.iter().copied());
        for slot in all {
            if book.slab.find(slot, Use::Free).is_none() {
                return Err(RestoreError::Slots);
            }
            book.slab.change(slot, Use::Free, Use::Held);
        }
        for (at, (slot, order)) in orders.iter().enumerate() {
            let side = if at < bids { Side::Buy } else { Side::Sell };
            if !order.is_sound(side) {
                return Err(RestoreError::Order);
            }
            let same_side = at != 0 && at != bids;
            let before = orders[at.saturating_sub(1)].1.price;
            let better = match side {
                Side::Buy => order.price > before,
                Side::Sell => order.price < before,
            };
            if same_side && better {
                return Err(RestoreError::Priority);
            }
            book.rest(*slot, *order);
        }
        if !stops.iter().all(StopOrder::is_sound) {
            return Err(RestoreError::Order);
        }
        if stops.windows(2).any(|p| p[0].sequence >= p[1].sequence) {
            return Err(RestoreError::Priority);
        }
        for stop in stops {
            book.add_stop(
                stop.slot,
                stop.direction,
                stop.price,
                stop.sequence,
                stop.member,
            );
        }
        for slot in free {
            book.slab.free(slot);
        }
        Ok(book)
    }
}
