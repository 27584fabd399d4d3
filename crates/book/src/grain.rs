//! The grain of a ladder: the largest number that divides all of its prices so far.
//!
//! A ladder counts prices in grains, so that a market with a tick of a million is as dense as one
//! with a tick of one. Nobody has to tell the book its tick: the first prices show it. Each change
//! divides the grain at least by two, so there are at most 62 in a book's life.

/// A divisor with its reciprocal: one multiplication instead of one division.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grain {
    divisor: u64,
    /// floor(2^(63 + shift) / divisor) + 1.
    magic: u64,
    /// The smallest number with 2^shift ≥ divisor.
    shift: u32,
}

/// Numbers to be divided are below this; with it the reciprocal is exact (Granlund and Montgomery,
/// "Division by invariant integers using multiplication", 1994, theorem 4.2).
pub(crate) const END: u64 = 1 << 63;

impl Grain {
    /// The grain before the first price.
    pub const NONE: Self = Self {
        divisor: 0,
        magic: 0,
        shift: 0,
    };

    fn new(divisor: u64) -> Self {
        let shift = u64::BITS - (divisor - 1).leading_zeros();
        let magic = (1u128 << (63 + shift)) / u128::from(divisor) + 1;
        Self {
            divisor,
            magic: magic as u64,
            shift,
        }
    }

    /// How many grains `price` is, or `None` if it is no multiple.
    #[inline(always)]
    pub fn count(&self, price: u64) -> Option<u64> {
        let count = ((u128::from(price) * u128::from(self.magic)) >> 63) as u64 >> self.shift;
        (count.wrapping_mul(self.divisor) == price && self.divisor != 0).then_some(count)
    }

    /// The grain of these prices and `price`.
    pub fn with(&self, price: u64) -> Self {
        let (mut a, mut b) = (self.divisor, price);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Self::new(a.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reciprocal_divides_exactly() {
        let mut divisors = vec![
            1,
            2,
            3,
            5,
            7,
            10,
            100,
            641,
            1_000_000,
            15_625,
            END - 1,
            1 << 62,
        ];
        divisors.extend((0..63).flat_map(|bit| [(1u64 << bit) | 1, (1 << bit) - (bit > 0) as u64]));
        for divisor in divisors.into_iter().filter(|d| *d > 0) {
            let grain = Grain::new(divisor);
            for times in [
                0,
                1,
                2,
                3,
                1000,
                (END - 1) / divisor,
                (END - 1) / divisor / 2,
            ] {
                let Some(price) = times.checked_mul(divisor).filter(|p| *p < END) else {
                    continue;
                };
                assert_eq!(grain.count(price), Some(times), "{price} / {divisor}");
                for off in [price.wrapping_sub(1), price + 1] {
                    let exact = off < END && off.is_multiple_of(divisor);
                    if off < END {
                        assert_eq!(grain.count(off).is_some(), exact, "{off} / {divisor}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_grain_is_the_common_divisor() {
        let mut grain = Grain::NONE;
        for (price, divisor) in [(300, 300), (450, 150), (600, 150), (1000, 50), (7, 1)] {
            grain = grain.with(price);
            assert_eq!(grain.divisor, divisor);
        }
    }
}
