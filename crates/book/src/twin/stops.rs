//! Stop orders of the twin: one list, in the order of acceptance.

use everopen_domain::{MemberId, Price, StopDirection};

use crate::twin::TwinBook;
use crate::{Slot, StopOrder};

impl TwinBook {
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
}
