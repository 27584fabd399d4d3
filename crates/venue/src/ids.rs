//! Ids that a member chose: those of its open orders, and the most recent ones that ended, so that
//! a message sent twice is refused the second time.
//!
//! Ended ids stand in a ring in the order of their ends, so that the one to forget is always the
//! next in memory; open ones in a slab. A small table with open addressing finds each. Tables are
//! never iterated in a way that reaches anybody. Each member has tables of its own: ids chosen to
//! collide slow down only the lookups of the member who chose them.

use alloc::vec::Vec;

use everopen_domain::{OrderId, Text};

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
    open: Table<u32>,
    entries: Vec<Open>,
    free: Vec<u32>,
    ended: Table<u16>,
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
        let ended = self.ended.find(hash, |at| self.ring[at].id == *id);
        ended.map(|_| Found::Ended)
    }

    /// True if the id is in use.
    pub fn contains(&self, id: &Id) -> bool {
        self.find(id, hash(id)).is_some()
    }

    #[inline]
    fn find_open(&self, id: &Id, hash: u32) -> Option<u32> {
        self.open
            .find(hash, |at| self.entries[at].id == *id)
            .map(|at| at as u32)
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
        self.open
            .insert(hash, at, self.entries.len() - self.free.len());
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
        self.open.remove(hash, entry as usize);
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
        if self.ring.len() < RECENT_IDS {
            self.ring.push(ended);
            self.ended
                .insert(hash, self.ring.len() - 1, self.ring.len());
            return;
        }
        let at = self.oldest;
        self.ended.remove(self.ring[at].hash, at);
        self.ring[at] = ended;
        self.ended.insert(hash, at, self.ring.len());
        self.oldest = if at + 1 == RECENT_IDS { 0 } else { at + 1 };
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

/// What a table's slots are made of: part of a hash, and an index.
trait Word: Copy + Eq {
    const EMPTY: Self;
    fn of_hash(hash: u32) -> Self;
    fn of_index(index: usize) -> Self;
    fn get(self) -> usize;
}

impl Word for u16 {
    const EMPTY: Self = u16::MAX;
    fn of_hash(hash: u32) -> Self {
        hash as u16
    }
    fn of_index(index: usize) -> Self {
        index as u16
    }
    fn get(self) -> usize {
        usize::from(self)
    }
}

impl Word for u32 {
    const EMPTY: Self = u32::MAX;
    fn of_hash(hash: u32) -> Self {
        hash
    }
    fn of_index(index: usize) -> Self {
        index as u32
    }
    fn get(self) -> usize {
        self as usize
    }
}

/// Open addressing: tag and index per slot, the tag's low bits being the slot's home. At most
/// three quarters full; tags have enough bits for every size that their indexes can fill.
#[derive(Clone, Debug)]
struct Table<W> {
    slots: Vec<(W, W)>,
}

impl<W> Default for Table<W> {
    fn default() -> Self {
        Self { slots: Vec::new() }
    }
}

impl<W: Word> Table<W> {
    #[inline]
    fn find(&self, hash: u32, is: impl Fn(usize) -> bool) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let wanted = W::of_hash(hash);
        let mut at = wanted.get() & mask;
        loop {
            let (tag, index) = self.slots[at];
            if index == W::EMPTY {
                return None;
            }
            if tag == wanted && is(index.get()) {
                return Some(index.get());
            }
            at = (at + 1) & mask;
        }
    }

    /// Adds an index; `used` is how many there are then.
    #[inline]
    fn insert(&mut self, hash: u32, index: usize, used: usize) {
        if used * 4 > self.slots.len() * 3 {
            self.grow();
        }
        self.place(W::of_hash(hash), W::of_index(index));
    }

    #[inline]
    fn place(&mut self, tag: W, index: W) {
        let mask = self.slots.len() - 1;
        let mut at = tag.get() & mask;
        while self.slots[at].1 != W::EMPTY {
            at = (at + 1) & mask;
        }
        self.slots[at] = (tag, index);
    }

    #[cold]
    fn grow(&mut self) {
        let len = (self.slots.len() * 2).max(64);
        let old = core::mem::replace(&mut self.slots, alloc::vec![(W::EMPTY, W::EMPTY); len]);
        for (tag, index) in old {
            if index != W::EMPTY {
                self.place(tag, index);
            }
        }
    }

    /// Takes an index out; what stands behind it in its run moves up, so that no gap parts a run.
    #[inline]
    fn remove(&mut self, hash: u32, index: usize) {
        let mask = self.slots.len() - 1;
        let index = W::of_index(index);
        let mut gap = W::of_hash(hash).get() & mask;
        while self.slots[gap].1 != index {
            gap = (gap + 1) & mask;
        }
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let (tag, moved) = self.slots[at];
            if moved == W::EMPTY {
                break;
            }
            // It may move up to the gap unless its home lies behind the gap.
            let home = tag.get() & mask;
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.slots[gap] = (tag, moved);
                gap = at;
            }
        }
        self.slots[gap] = (W::EMPTY, W::EMPTY);
    }
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
