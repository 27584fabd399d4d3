//! The one source of chance: splitmix64.

/// A stream of numbers that its seed fixes.
#[derive(Clone, Debug)]
pub(crate) struct Random {
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`; zero for a bound of zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(bound)) >> 64) as u64
    }

    /// Uniform in `from..=to`.
    pub fn between(&mut self, from: u64, to: u64) -> u64 {
        from + self.below(to - from + 1)
    }

    /// Between `from` and `to`, small values as likely as ones ten times as large.
    pub fn spread(&mut self, from: u64, to: u64) -> u64 {
        let (mut low, mut high) = (from.max(1), to.max(1));
        // Halve the range, on the scale of orders of magnitude, until it is narrow.
        while high > low.saturating_mul(2) {
            let middle = ((low as f64) * (high as f64)).sqrt() as u64;
            if self.below(2) == 0 {
                high = middle.max(low);
            } else {
                low = middle;
            }
        }
        self.between(low.min(high), high)
    }

    /// True in so many of a thousand cases.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }

    /// One of them; none of none.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> Option<T> {
        if of.is_empty() {
            return None;
        }
        Some(of[self.below(of.len() as u64) as usize])
    }
}
