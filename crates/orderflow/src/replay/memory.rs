//! Tables by order number, and what is remembered of orders that are gone.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use everopen_domain::ClientOrderId;

/// Orders that left the feed lately. Recordings hold messages a little out of order, so a second
/// deletion, or a deletion before its order, must be told from a reference to an order before the
/// file. Older ones are forgotten, so that memory does not follow the length of the feed.
#[derive(Default)]
pub(super) struct Ended {
    /// The type of the deletion that named an order not added so far.
    orders: HashMap<u64, Option<u8>, Numbers>,
    oldest: VecDeque<u64>,
}

impl Ended {
    const KEPT: usize = 1 << 16;

    pub fn contains(&self, order_ref: u64) -> bool {
        self.orders.get(&order_ref) == Some(&None)
    }

    pub fn get(&self, order_ref: u64) -> Option<Option<u8>> {
        self.orders.get(&order_ref).copied()
    }

    pub fn insert(&mut self, order_ref: u64, deleted_by: Option<u8>) {
        if self.orders.insert(order_ref, deleted_by).is_some() {
            return;
        }
        self.oldest.push_back(order_ref);
        if self.oldest.len() > Self::KEPT
            && let Some(forgotten) = self.oldest.pop_front()
        {
            self.orders.remove(&forgotten);
        }
    }
}

/// The feed's number as the client's id.
pub(super) fn client_order_id(order_ref: u64) -> ClientOrderId {
    ClientOrderId::new(order_ref.to_string().as_bytes()).expect("invariant: digits fit")
}

/// Spreads order numbers over a table. They come from a file, so a crafted file can make lookups
/// slow, never wrong.
#[derive(Default)]
pub(super) struct NumberHasher(u64);

pub(super) type Numbers = BuildHasherDefault<NumberHasher>;

impl Hasher for NumberHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        let mixed = (self.0 ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = mixed ^ (mixed >> 29);
    }
}
