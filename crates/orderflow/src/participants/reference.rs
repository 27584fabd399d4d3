//! What participants think an instrument is worth: a random walk that is pulled back to where it
//! started, with jumps when there is news.

use everopen_domain::{Rate, Timestamp};

use crate::random::Random;

/// Parts of a price unit that the walk counts in, so that small steps are not lost.
const FRACTION: i128 = 1 << 20;
/// The walk moves once in so many nanoseconds.
const INTERVAL: u64 = 50_000_000;
/// Largest move in one interval in calm times, in parts per million.
const CALM: i128 = 60;
/// The same right after news.
const EXCITED: i128 = 900;
/// One part in so many of the distance to the start is taken back in one interval: about a third of
/// it in a quarter of an hour.
const PULL: i128 = 40_000;
/// Excitement halves in about a quarter of a minute.
const DECAY: i128 = 400;

#[derive(Clone, Debug)]
pub(super) struct ReferencePrice {
    anchor: i128,
    value: i128,
    /// Largest move in one interval now, in parts per million.
    volatility: i128,
    /// Which way the last news went, while it lasts.
    mood: i128,
    elapsed: u64,
}

impl ReferencePrice {
    pub fn new(start: u64) -> Self {
        let anchor = i128::from(start.max(1)) * FRACTION;
        Self {
            anchor,
            value: anchor,
            volatility: CALM,
            mood: 0,
            elapsed: 0,
        }
    }

    pub fn price(&self) -> u64 {
        u64::try_from(self.value / FRACTION).unwrap_or(1).max(1)
    }

    /// How much more takers buy than sell, in percent of fifty: from -25 to 25.
    pub fn lean(&self) -> i64 {
        (self.mood * 25 * (self.volatility - CALM).max(0) / (EXCITED - CALM)) as i64
    }

    /// Half the distance between the best quotes, in parts per million of the price.
    pub fn half_spread(&self) -> u64 {
        (self.volatility * 2) as u64
    }

    /// Lets time pass. A long pause counts as a minute: nobody waited for the walk.
    pub fn advance(&mut self, elapsed: u64, random: &mut Random) {
        self.elapsed += elapsed.min(60 * Timestamp::NANOS_PER_SECOND);
        while self.elapsed >= INTERVAL {
            self.elapsed -= INTERVAL;
            let draw = i128::from(random.below(2_001)) - 1_000;
            self.value += self.value * self.volatility * draw / 1_000 / 1_000_000;
            self.value += (self.anchor - self.value) / PULL;
            let above = self.volatility - CALM;
            // Rounded up, so that it reaches calm.
            self.volatility -= (above + DECAY - 1) / DECAY;
            self.bound();
        }
    }

    /// A jump of half a percent to two percent, on average once in `every` nanoseconds.
    pub fn maybe_news(&mut self, elapsed: u64, every: u64, random: &mut Random) -> bool {
        if every == 0 || random.below(every) >= elapsed.min(every) {
            return false;
        }
        let jump = 5_000 + i128::from(random.below(15_001));
        self.mood = if random.percent(50) { 1 } else { -1 };
        self.value += self.mood * self.value * jump / 1_000_000;
        self.volatility = EXCITED;
        self.bound();
        true
    }

    /// Stays well inside the price band around the last trade; quotes beyond it would be refused.
    pub fn keep_near(&mut self, last: Option<u64>, band: Rate) {
        if let (Some(last), 1..) = (last, band.0) {
            let last = i128::from(last) * FRACTION;
            let room = last * i128::from(band.0) / 2 / i128::from(Rate::ONE);
            self.value = self.value.clamp(last - room, last + room).max(FRACTION);
        }
    }

    fn bound(&mut self) {
        self.value = self
            .value
            .clamp(self.anchor / 2, self.anchor * 2)
            .max(FRACTION);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_of_news_stays_within_bounds_and_calms_down() {
        let mut random = Random::new(1);
        let mut reference = ReferencePrice::new(6_400_000);
        let minute = 60 * Timestamp::NANOS_PER_SECOND;
        let mut news = 0;
        for _ in 0..30 * 24 * 60 {
            reference.advance(minute, &mut random);
            news += u32::from(reference.maybe_news(minute, 10 * minute, &mut random));
            assert!((3_200_000..=12_800_000).contains(&reference.price()));
        }
        assert!(
            (3_500..5_200).contains(&news),
            "{news} news in a month, every ten minutes"
        );
        for _ in 0..10 {
            reference.advance(minute, &mut random);
        }
        assert_eq!((reference.volatility, reference.lean()), (CALM, 0));
        reference.keep_near(Some(100), Rate(100_000));
        assert_eq!(reference.price(), 105);
    }
}
