//! A replica's number in consensus.
//!
//! People know a replica by its **number**, which its certificate names. A replica that has lost what
//! it acknowledged (in memory mode, by a machine that stopped) must not go on under the identity that
//! acknowledged it: it could vote for another past. It comes back in its next **life**, and consensus
//! knows it by both: a new member, whom nobody has ever heard anything from.

use std::fmt;

/// The largest number that a replica can have.
pub const NUMBER_MAX: u64 = u32::MAX as u64;

/// What consensus calls the replica with this number in this life, the first of which is 0.
///
/// # Panics
/// When `number` is above [`NUMBER_MAX`].
pub fn id(number: u64, life: u32) -> u64 {
    assert!(
        number <= NUMBER_MAX,
        "invariant: numbers are checked where they are read"
    );
    u64::from(life) << 32 | number
}

/// The number of a replica that consensus calls `id`.
pub fn number(id: u64) -> u64 {
    id & NUMBER_MAX
}

/// Which of its lives that is.
pub fn life(id: u64) -> u32 {
    (id >> 32) as u32
}

/// Whether `id` is a later life of the replica that `other` is.
pub fn is_later(id: u64, other: u64) -> bool {
    number(id) == number(other) && life(id) > life(other)
}

/// A replica for people: `3`, or `3 (life 2)` for one that has lost its memory twice.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shown(pub u64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match life(self.0) {
            0 => write!(f, "{}", number(self.0)),
            life => write!(f, "{} (life {life})", number(self.0)),
        }
    }
}

impl fmt::Debug for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_part_of_the_id_and_not_of_the_number() {
        assert_eq!(id(3, 0), 3);
        let second = id(3, 1);
        assert_eq!((number(second), life(second)), (3, 1));
        assert!(is_later(second, 3) && !is_later(3, second));
        assert!(!is_later(id(4, 1), 3) && !is_later(3, 3));
        assert_eq!(Shown(3).to_string(), "3");
        assert_eq!(Shown(second).to_string(), "3 (life 1)");
    }
}
