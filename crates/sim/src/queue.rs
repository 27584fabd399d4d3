//! What is going to happen, in the order of time and, at one moment, in the order of asking.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// Events to come.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    order: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, E>,
    asked: u64,
}

impl<E> Queue<E> {
    pub fn new() -> Self {
        Self {
            order: BinaryHeap::new(),
            events: BTreeMap::new(),
            asked: 0,
        }
    }

    pub fn push(&mut self, at: u64, event: E) {
        self.asked += 1;
        self.order.push(Reverse((at, self.asked)));
        self.events.insert(self.asked, event);
    }

    /// The next event and its moment.
    pub fn pop(&mut self) -> Option<(u64, E)> {
        let Reverse((at, number)) = self.order.pop()?;
        let event = self
            .events
            .remove(&number)
            .expect("invariant: an event stands in both or in none");
        Some((at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_time_and_then_of_asking() {
        let mut queue = Queue::new();
        for (at, name) in [(5, "b"), (3, "a"), (5, "c"), (4, "x")] {
            queue.push(at, name);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        assert_eq!(order, [(3, "a"), (4, "x"), (5, "b"), (5, "c")]);
    }
}
