//! Ids that a member chose: those of its open orders, and the most recent ones that ended, so that
//! a message sent twice is refused the second time.
//!
//! A table with open addressing points into a slab of entries; ended entries form a queue through
//! the slab, whose oldest leaves when it is full. The table is never iterated, so the hash seed
//! reaches nobody. Each member has tables of its own: ids chosen to collide slow down only the
//! lookups of the member who chose them.

use alloc::vec::Vec;

use everopen_domain::{OrderId, Text};

/// How many ended ids of a member are still refused.
pub(crate) const RECENT_IDS: usize = 4096;

/// "No entry".
pub(crate) const NONE: u32 = u32::MAX;

type Id = Text<36>;

#[derive(Clone, Debug)]
struct Entry {
    id: Id,
    hash: u32,
    /// The next younger ended entry.
    younger: u32,
    /// The open order; the default, which no order has, if it has ended.
    order: OrderId,
}

const _: () = assert!(size_of::<Entry>() == 64);

/// The ids of one member.
#[derive(Clone, Debug)]
pub(crate) struct Ids {
    /// Hash and entry, [`NONE`] where empty; a power of two, at most three quarters full.
    table: Vec<(u32, u32)>,
    entries: Vec<Entry>,
    free: Vec<u32>,
    oldest: u32,
    youngest: u32,
    ended: usize,
}

impl Default for Ids {
    fn default() -> Self {
        Self {
            table: Vec::new(),
            entries: Vec::new(),
            free: Vec::new(),
            oldest: NONE,
            youngest: NONE,
            ended: 0,
        }
    }
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
    /// The entry with this id.
    #[inline]
    pub fn find(&self, id: &Id) -> Option<u32> {
        self.find_hashed(id, hash(id))
    }

    /// The entry with this id, given its [`hash`].
    #[inline]
    pub fn find_hashed(&self, id: &Id, hash: u32) -> Option<u32> {
        if self.table.is_empty() {
            return None;
        }
        let mask = self.table.len() - 1;
        let mut at = hash as usize & mask;
        loop {
            let (tag, entry) = self.table[at];
            if entry == NONE {
                return None;
            }
            if tag == hash && self.entries[entry as usize].id == *id {
                return Some(entry);
            }
            at = (at + 1) & mask;
        }
    }

    /// The open order of an entry, or none if it has ended.
    #[inline]
    pub fn order(&self, entry: u32) -> Option<OrderId> {
        let order = self.entries[entry as usize].order;
        (order.sequence != 0).then_some(order)
    }

    /// The open order with this id.
    #[inline]
    pub fn open_order(&self, id: &Id) -> Option<OrderId> {
        self.find(id).and_then(|entry| self.order(entry))
    }

    /// Adds an id of an open order that is not there yet, given its [`hash`].
    #[inline]
    pub fn insert(&mut self, id: &Id, hash: u32, order: OrderId) -> u32 {
        self.add(id, hash, order)
    }

    /// Adds an id that ended at once, and is not there yet.
    pub fn insert_ended(&mut self, id: Id) {
        let entry = self.add(&id, hash(&id), OrderId::default());
        self.queue(entry);
    }

    /// Gives the id to another order, which takes the place of the first.
    pub fn hand_over(&mut self, entry: u32, order: OrderId) {
        self.entries[entry as usize].order = order;
    }

    /// The order of this entry has ended.
    #[inline]
    pub fn end(&mut self, entry: u32) {
        self.entries[entry as usize].order = OrderId::default();
        self.queue(entry);
    }

    /// Ended ids that are still refused, oldest first.
    pub fn recent(&self) -> impl Iterator<Item = Id> + '_ {
        let mut at = self.oldest;
        core::iter::from_fn(move || {
            let entry = self.entries.get(at as usize)?;
            at = entry.younger;
            Some(entry.id)
        })
    }

    /// How many ids belong to open orders.
    pub fn open(&self) -> usize {
        self.entries.len() - self.free.len() - self.ended
    }

    fn queue(&mut self, entry: u32) {
        self.entries[entry as usize].younger = NONE;
        match self.entries.get_mut(self.youngest as usize) {
            Some(youngest) => youngest.younger = entry,
            None => self.oldest = entry,
        }
        self.youngest = entry;
        self.ended += 1;
        if self.ended > RECENT_IDS {
            let oldest = self.oldest;
            self.oldest = self.entries[oldest as usize].younger;
            self.ended -= 1;
            self.forget(oldest);
        }
    }

    fn add(&mut self, id: &Id, hash: u32, order: OrderId) -> u32 {
        let used = self.entries.len() - self.free.len();
        if (used + 1) * 4 > self.table.len() * 3 {
            self.grow();
        }
        let entry = Entry {
            hash,
            id: *id,
            younger: NONE,
            order,
        };
        let tag = hash;
        let at = match self.free.pop() {
            Some(at) => {
                self.entries[at as usize] = entry;
                at
            }
            None => {
                self.entries.push(entry);
                // So that freeing never allocates.
                if self.free.capacity() < self.entries.len() {
                    self.free.reserve(self.entries.capacity());
                }
                (self.entries.len() - 1) as u32
            }
        };
        place(&mut self.table, tag, at);
        at
    }

    fn grow(&mut self) {
        let len = (self.table.len() * 2).max(64);
        let mut table = alloc::vec![(0, NONE); len];
        for (tag, entry) in &self.table {
            if *entry != NONE {
                place(&mut table, *tag, *entry);
            }
        }
        self.table = table;
    }

    /// Takes an entry out; what stands behind it in its run moves up, so that no gap parts a run.
    fn forget(&mut self, entry: u32) {
        let mask = self.table.len() - 1;
        let mut gap = self.entries[entry as usize].hash as usize & mask;
        while self.table[gap].1 != entry {
            gap = (gap + 1) & mask;
        }
        let mut at = gap;
        loop {
            at = (at + 1) & mask;
            let (tag, moved) = self.table[at];
            if moved == NONE {
                break;
            }
            // It may move up to the gap unless its home lies behind the gap.
            let home = tag as usize & mask;
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(gap) & mask) {
                self.table[gap] = (tag, moved);
                gap = at;
            }
        }
        self.table[gap] = (0, NONE);
        self.free.push(entry);
    }
}

fn place(table: &mut [(u32, u32)], tag: u32, entry: u32) {
    let mask = table.len() - 1;
    let mut at = tag as usize & mask;
    while table[at].1 != NONE {
        at = (at + 1) & mask;
    }
    table[at] = (tag, entry);
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

    #[test]
    fn the_oldest_ended_id_is_forgotten_when_the_queue_is_full() {
        let mut ids = Ids::default();
        let order = OrderId {
            sequence: 7,
            ..OrderId::default()
        };
        let open = ids.insert(&id(1_000_000), hash(&id(1_000_000)), order);
        for n in 0..RECENT_IDS as u32 + 10 {
            ids.insert_ended(id(n));
        }
        assert!(ids.find(&id(9)).is_none());
        assert!(ids.find(&id(10)).is_some());
        assert_eq!(ids.open_order(&id(1_000_000)), Some(order));
        assert_eq!(ids.recent().count(), RECENT_IDS);
        assert_eq!(ids.recent().next(), Some(id(10)));
        assert_eq!(ids.open(), 1);
        ids.end(open);
        assert_eq!(ids.open(), 0);
        assert_eq!(ids.recent().last(), Some(id(1_000_000)));
    }

    proptest! {
        #[test]
        fn ids_agree_with_a_plain_list(steps in proptest::collection::vec((0u32..200, any::<bool>()), 1..400)) {
            let mut ids = Ids::default();
            let (mut open, mut ended) = (Vec::new(), VecDeque::new());
            for (n, ends) in steps {
                match (ids.find(&id(n)), ends) {
                    (None, _) => {
                        prop_assert!(!open.contains(&n) && !ended.contains(&n));
                        ids.insert(&id(n), hash(&id(n)), OrderId { sequence: u64::from(n) + 1, ..OrderId::default() });
                        open.push(n);
                    }
                    (Some(entry), true) if ids.order(entry).is_some() => {
                        ids.end(entry);
                        open.retain(|other| *other != n);
                        ended.push_back(n);
                    }
                    (Some(entry), _) => {
                        let expected = open.contains(&n).then_some(u64::from(n) + 1);
                        prop_assert_eq!(ids.order(entry).map(|o| o.sequence), expected);
                    }
                }
            }
            prop_assert!(ids.recent().eq(ended.into_iter().map(id)));
        }
    }
}
