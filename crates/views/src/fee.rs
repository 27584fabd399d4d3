//! Fee schedules and the volume that decides a member's step.

use std::collections::BTreeMap;

use everopen_domain::{Amount, AssetId, FeeTier, FeeTiers, Rate, Timestamp};
use serde::{Deserialize, Serialize};

/// What a member would be charged for an order accepted now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeesView {
    /// Charged to an order that rested.
    pub maker: Rate,
    /// Charged to an order that takes.
    pub taker: Rate,
    /// The member's volume over the last 30 days, today included, in atoms of `volume_asset`.
    pub volume: Amount,
    /// What the volume is counted in.
    pub volume_asset: AssetId,
}

const DAYS: u32 = 30;

/// Traded notional per day over the last 30 days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Volume {
    /// The day of the last addition.
    day: u32,
    /// By day modulo 30.
    days: [Amount; DAYS as usize],
}

impl Volume {
    pub fn add(&mut self, day: u32, notional: Amount) {
        // Days passed without a trade are empty; they stood for days 30 and more ago.
        for skipped in self.day.saturating_add(1).max(day.saturating_sub(DAYS - 1))..=day {
            self.days[(skipped % DAYS) as usize] = Amount::ZERO;
        }
        self.day = self.day.max(day);
        let today = &mut self.days[(day % DAYS) as usize];
        today.0 = today.0.saturating_add(notional.0);
    }

    pub fn total(&self, today: u32) -> Amount {
        let oldest = today
            .saturating_sub(DAYS - 1)
            .max(self.day.saturating_sub(DAYS - 1));
        let sum = (oldest..=self.day)
            .map(|day| self.days[(day % DAYS) as usize].0)
            .fold(0, i128::saturating_add);
        Amount(sum)
    }
}

/// All fee schedules by number.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FeeSchedules(BTreeMap<u8, FeeTiers>);

impl FeeSchedules {
    pub fn set(&mut self, schedule: u8, asset: AssetId, level: u8, levels: u8, tier: FeeTier) {
        let tiers = self.0.entry(schedule).or_default();
        if level == 0 {
            *tiers = FeeTiers::default();
        }
        tiers.volume_asset = asset;
        tiers.len = levels;
        if let Some(place) = tiers.tiers.get_mut(usize::from(level)) {
            *place = tier;
        }
    }

    pub fn get(&self, schedule: u8) -> Option<&FeeTiers> {
        self.0.get(&schedule)
    }

    pub fn fees(
        &self,
        schedule: u8,
        volumes: &BTreeMap<AssetId, Volume>,
        now: Timestamp,
    ) -> Option<FeesView> {
        let tiers = self.get(schedule)?;
        let volume = volumes
            .get(&tiers.volume_asset)
            .map_or(Amount::ZERO, |volume| volume.total(now.day()));
        let tier = tiers
            .as_slice()
            .iter()
            .rev()
            .find(|tier| volume >= tier.min_volume)?;
        Some(FeesView {
            maker: tier.maker,
            taker: tier.taker,
            volume,
            volume_asset: tiers.volume_asset,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn volume_counts_thirty_days_and_no_more(
            steps in proptest::collection::vec((0u32..40, 0i128..1_000), 1..40),
            idle in 0u32..60,
        ) {
            let mut volume = Volume::default();
            let mut day = 20_000;
            let mut naive: Vec<(u32, i128)> = Vec::new();
            for (gap, notional) in steps {
                day += gap;
                volume.add(day, Amount(notional));
                naive.push((day, notional));
            }
            let today = day + idle;
            let expected: i128 = naive.iter().filter(|(d, _)| d + 30 > today).map(|(_, n)| n).sum();
            prop_assert_eq!(volume.total(today), Amount(expected));
        }
    }
}
