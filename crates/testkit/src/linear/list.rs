//! A list that grows at its end: the sharpest thing to read back, since every read shows what
//! happened and in which order.

use super::Model;

/// An empty list of numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct List;

/// What is asked of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A number is put at its end.
    Append(u64),
    /// All of it is read.
    Read,
}

/// What a list says, and all that has to be remembered of one: how long it is and a hash of its
/// numbers in their order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Seen {
    /// How many numbers.
    pub length: u64,
    /// The hash.
    pub hash: u64,
}

impl Seen {
    /// With one more number at the end.
    #[must_use]
    pub fn and(self, number: u64) -> Self {
        // splitmix64 of both; collisions are not sought by anybody here.
        let mut z = self.hash ^ number.wrapping_add(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        Self {
            length: self.length + 1,
            hash: z ^ (z >> 31),
        }
    }
}

impl Model for List {
    type State = Seen;
    type Call = Entry;
    /// None answers an append.
    type Answer = Option<Seen>;

    fn first(&self) -> Seen {
        Seen::default()
    }

    fn step(&self, list: &Seen, call: &Entry, answer: Option<&Option<Seen>>) -> Option<Seen> {
        match (call, answer) {
            (Entry::Append(number), None | Some(None)) => Some(list.and(*number)),
            (Entry::Read, None) => Some(*list),
            (Entry::Read, Some(Some(seen))) => (seen == list).then_some(*list),
            _ => None,
        }
    }
}
