//! When good-till-time orders are due: a binary heap in which every entry knows its place, so that
//! an order that ends early leaves at once and the head is always the next order due.

use alloc::vec::Vec;

use everopen_domain::{OrderId, Timestamp};

use crate::ids::NONE;

#[derive(Clone, Copy, Debug)]
struct Entry {
    due: Timestamp,
    order: OrderId,
    /// Where in the heap; the next free entry when unused.
    place: u32,
}

impl Entry {
    /// Orders due at the same time expire oldest first.
    fn key(&self) -> (Timestamp, u64) {
        (self.due, self.order.sequence)
    }
}

/// All good-till-time orders of the venue.
#[derive(Clone, Debug)]
pub(crate) struct Expiries {
    heap: Vec<u32>,
    entries: Vec<Entry>,
    free: u32,
}

impl Default for Expiries {
    fn default() -> Self {
        Self {
            heap: Vec::new(),
            entries: Vec::new(),
            free: NONE,
        }
    }
}

impl Expiries {
    /// The order due next, and when.
    #[inline]
    pub fn next(&self) -> Option<(Timestamp, OrderId)> {
        let first = self.heap.first()?;
        let entry = &self.entries[*first as usize];
        Some((entry.due, entry.order))
    }

    /// How many orders there are.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Adds an order; the handle takes it out again.
    pub fn insert(&mut self, due: Timestamp, order: OrderId) -> u32 {
        let place = self.heap.len() as u32;
        let entry = Entry { due, order, place };
        let handle = if self.free == NONE {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        } else {
            let handle = self.free;
            self.free = self.entries[handle as usize].place;
            self.entries[handle as usize] = entry;
            handle
        };
        self.heap.push(handle);
        self.rise(place as usize);
        handle
    }

    /// Takes an order out.
    pub fn remove(&mut self, handle: u32) {
        let place = self.entries[handle as usize].place as usize;
        self.heap.swap_remove(place);
        if place < self.heap.len() {
            self.set(place, self.heap[place]);
            self.sink(place);
            self.rise(place);
        }
        self.entries[handle as usize].place = self.free;
        self.free = handle;
    }

    fn set(&mut self, place: usize, handle: u32) {
        self.heap[place] = handle;
        self.entries[handle as usize].place = place as u32;
    }

    fn before(&self, a: usize, b: usize) -> bool {
        let key = |place: usize| self.entries[self.heap[place] as usize].key();
        key(a) < key(b)
    }

    fn swap(&mut self, a: usize, b: usize) {
        let (at_a, at_b) = (self.heap[a], self.heap[b]);
        self.set(a, at_b);
        self.set(b, at_a);
    }

    fn rise(&mut self, mut place: usize) {
        while place > 0 && self.before(place, (place - 1) / 2) {
            self.swap(place, (place - 1) / 2);
            place = (place - 1) / 2;
        }
    }

    fn sink(&mut self, mut place: usize) {
        loop {
            let (left, right) = (2 * place + 1, 2 * place + 2);
            let mut first = place;
            if left < self.heap.len() && self.before(left, first) {
                first = left;
            }
            if right < self.heap.len() && self.before(right, first) {
                first = right;
            }
            if first == place {
                return;
            }
            self.swap(place, first);
            place = first;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeMap;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn expiries_agree_with_a_sorted_map(steps in proptest::collection::vec((0u64..20, any::<u8>()), 1..200)) {
            let (mut expiries, mut sorted) = (Expiries::default(), BTreeMap::new());
            for (n, (due, pick)) in steps.into_iter().enumerate() {
                if pick % 3 == 0 && !sorted.is_empty() {
                    let key = *sorted.keys().nth(usize::from(pick) % sorted.len()).unwrap();
                    expiries.remove(sorted.remove(&key).unwrap());
                } else {
                    let order = OrderId { sequence: n as u64, ..OrderId::default() };
                    let handle = expiries.insert(Timestamp(due), order);
                    sorted.insert((Timestamp(due), order.sequence), handle);
                }
                let next = expiries.next().map(|(due, order)| (due, order.sequence));
                prop_assert_eq!(next, sorted.keys().next().copied());
                prop_assert_eq!(expiries.len(), sorted.len());
            }
        }
    }
}
