//! Ids that a member chose: those of its open orders, and the most recent ones that ended, so that
//! a message sent twice is refused the second time.
//!
//! Ended ids stand in a ring in the order of their ends, so that the one to forget is always the
//! next in memory; open ones in a slab. A table of places finds each. Tables are
//! never iterated, and rehashing reaches nobody. Each member has tables of its own: ids chosen to
//! collide slow down only the lookups of the member who chose them.

use alloc::vec::Vec;

use everopen_domain::{OrderId, Text};
use hashbrown::HashTable;

/// How many ended ids of a member are still refused.
pub(crate) const RECENT_IDS: usize = 4096;

/// "No entry".
pub(crate) const NONE: u32 = u32::MAX;

type Id = Text<36>;

#[derive(Clone, Debug)]
struct Open {
    id: Id,
    hash: u32,
    order: OrderId,
}

#[derive(Clone, Debug)]
struct Ended {
    id: Id,
    hash: u32,
}

/// Where an id is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// It is of an open order, in this entry.
    Open(u32),
    /// Its order has ended.
    Ended,
}

/// The ids of one member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ids {
    open: HashTable<u32>,
    entries: Vec<Open>,
    free: Vec<u32>,
    ended: HashTable<u32>,
    ring: Vec<Ended>,
    /// The oldest of a full ring.
    oldest: usize,
}

/// Folded multiplication over eight bytes at a time.
#[inline]
pub(crate) fn hash(id: &Id) -> u32 {
    const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
    const SECOND: u64 = 0xd6e8_feb8_6659_fd93;
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        (product as u64) ^ ((product >> 64) as u64)
    };
    let bytes = id.as_bytes();
    let mut state = FIRST ^ bytes.len() as u64;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("invariant: eight bytes"));
        state = fold(state ^ word, SECOND);
    }
    let mut rest = 0u64;
    for byte in chunks.remainder() {
        rest = (rest << 8) | u64::from(*byte);
    }
    state = fold(state ^ rest, SECOND ^ FIRST);
    (state ^ (state >> 32)) as u32
}

impl Ids {
    /// Where an id is, given its [`hash`].
    #[inline]
    pub fn find(&self, id: &Id, hash: u32) -> Option<Found> {
        if let Some(entry) = self.find_open(id, hash) {
            return Some(Found::Open(entry));
        }
        let ended = self
            .ended
            .find(spread(hash), |at| self.ring[*at as usize].id == *id);
        ended.map(|_| Found::Ended)
    }

    /// True if the id is in use.
    pub fn contains(&self, id: &Id) -> bool {
        self.find(id, hash(id)).is_some()
    }

    #[inline]
    fn find_open(&self, id: &Id, hash: u32) -> Option<u32> {
        let found = self
            .open
            .find(spread(hash), |at| self.entries[*at as usize].id == *id);
        found.copied()
    }

    /// The open order of an entry.
    #[inline]
    pub fn order(&self, entry: u32) -> OrderId {
        self.entries[entry as usize].order
    }

    /// The open order with this id.
    #[inline]
    pub fn open_order(&self, id: &Id) -> Option<OrderId> {
        self.find_open(id, hash(id)).map(|entry| self.order(entry))
    }

    /// Adds an id of an open order that is not there yet, given its [`hash`].
    #[inline]
    pub fn insert(&mut self, id: &Id, hash: u32, order: OrderId) -> u32 {
        let entry = Open {
            id: *id,
            hash,
            order,
        };
        let at = match self.free.pop() {
            Some(at) => {
                self.entries[at as usize] = entry;
                at as usize
            }
            None => {
                self.entries.push(entry);
                // So that freeing never allocates.
                if self.free.capacity() < self.entries.len() {
                    self.free.reserve(self.entries.capacity());
                }
                self.entries.len() - 1
            }
        };
        self.open.insert_unique(spread(hash), at as u32, |at| {
            spread(self.entries[*at as usize].hash)
        });
        at as u32
    }

    /// Gives the id to another order, which takes the place of the first.
    pub fn hand_over(&mut self, entry: u32, order: OrderId) {
        self.entries[entry as usize].order = order;
    }

    /// The order of this entry has ended.
    #[inline]
    pub fn end(&mut self, entry: u32) {
        let Open { id, hash, .. } = self.entries[entry as usize];
        remove(&mut self.open, hash, entry);
        self.free.push(entry);
        self.insert_ended_hashed(id, hash);
    }

    /// Adds an id that ended at once, and is not there yet.
    pub fn insert_ended(&mut self, id: Id) {
        self.insert_ended_hashed(id, hash(&id));
    }

    #[inline]
    fn insert_ended_hashed(&mut self, id: Id, hash: u32) {
        let ended = Ended { id, hash };
        let at = if self.ring.len() < RECENT_IDS {
            self.ring.push(ended);
            self.ring.len() - 1
        } else {
            let at = self.oldest;
            self.oldest = if at + 1 == RECENT_IDS { 0 } else { at + 1 };
            remove(&mut self.ended, self.ring[at].hash, at as u32);
            self.ring[at] = ended;
            at
        };
        self.ended.insert_unique(spread(hash), at as u32, |at| {
            spread(self.ring[*at as usize].hash)
        });
    }

    /// Ended ids that are still refused, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = Id> + '_ {
        let (young, old) = self.ring.split_at(self.oldest);
        old.iter().chain(young).map(|ended| ended.id)
    }

    /// How many ids belong to open orders.
    pub fn open(&self) -> usize {
        self.entries.len() - self.free.len()
    }
}

#[inline]
fn remove(table: &mut HashTable<u32>, hash: u32, index: u32) {
    if let Ok(entry) = table.find_entry(spread(hash), |at| *at == index) {
        entry.remove();
    }
}

/// A stored hash as the tables want it: well mixed at both ends.
#[inline]
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::VecDeque;
    use alloc::string::ToString;
    use proptest::prelude::*;

    fn id(n: u32) -> Id {
        n.to_string().parse().unwrap()
    }

    fn order(n: u32) -> OrderId {
        OrderId {
            sequence: n.into(),
            ..OrderId::default()
        }
    }

    fn insert(ids: &mut Ids, n: u32) -> u32 {
        ids.insert(&id(n), hash(&id(n)), order(n))
    }

    #[test]
    fn the_oldest_ended_id_is_forgotten_when_the_ring_is_full() {
        let mut ids = Ids::default();
        let open = insert(&mut ids, 1_000_000);
        for n in 0..RECENT_IDS as u32 * 3 + 10 {
            ids.insert_ended(id(n));
        }
        let oldest = RECENT_IDS as u32 * 2 + 10;
        assert!(!ids.contains(&id(oldest - 1)));
        assert!((oldest..oldest + RECENT_IDS as u32).all(|n| ids.contains(&id(n))));
        assert_eq!(ids.open_order(&id(1_000_000)), Some(order(1_000_000)));
        assert_eq!(ids.recent().count(), RECENT_IDS);
        assert_eq!(ids.recent().next(), Some(id(oldest)));
        assert_eq!(ids.open(), 1);
        ids.end(open);
        assert_eq!(ids.open(), 0);
        assert_eq!(ids.open_order(&id(1_000_000)), None);
        assert_eq!(ids.recent().last(), Some(id(1_000_000)));
    }

    proptest! {
        #[test]
        fn ids_agree_with_a_plain_list(steps in proptest::collection::vec((0u32..200, any::<bool>()), 1..400)) {
            let mut ids = Ids::default();
            let (mut open, mut ended) = (Vec::new(), VecDeque::new());
            for (n, ends) in steps {
                match ids.find(&id(n), hash(&id(n))) {
                    None => {
                        prop_assert!(!open.contains(&n) && !ended.contains(&n));
                        insert(&mut ids, n);
                        open.push(n);
                    }
                    Some(Found::Open(entry)) => {
                        prop_assert!(open.contains(&n));
                        prop_assert_eq!(ids.order(entry), order(n));
                        if ends {
                            ids.end(entry);
                            open.retain(|other| *other != n);
                            ended.push_back(n);
                        }
                    }
                    Some(Found::Ended) => prop_assert!(ended.contains(&n)),
                }
                prop_assert_eq!(ids.open(), open.len());
            }
            prop_assert!(ids.recent().eq(ended.into_iter().map(id)));
        }
    }
}
