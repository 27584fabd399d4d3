//! What the venue keeps about a member apart from its money and orders: message allowance, volume,
//! used ids.

use alloc::vec::Vec;

use everopen_domain::snapshot::{MemberSnapshot, VolumeSnapshot};
use everopen_domain::{Amount, AssetId, MemberCode, MemberLimits, Timestamp};

use crate::ids::Ids;

/// Days that count towards a fee tier, today included.
pub(crate) const VOLUME_DAYS: usize = 30;

/// The allowance that one message costs: tokens are counted in billionths of a message, so that
/// a rate per second refills a whole number of them per nanosecond.
const MESSAGE: u64 = 1_000_000_000;

/// A member.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub code: MemberCode,
    pub killed: bool,
    pub limits: MemberLimits,
    pub message_tokens: u64,
    pub message_time: Timestamp,
    pub volumes: Vec<Volume>,
    pub client_order_ids: Ids,
    pub references: Ids,
}

impl Member {
    pub fn new(code: MemberCode) -> Self {
        Self {
            code,
            killed: false,
            limits: MemberLimits::default(),
            message_tokens: 0,
            message_time: Timestamp::ZERO,
            volumes: Vec::new(),
            client_order_ids: Ids::default(),
            references: Ids::default(),
        }
    }

    /// Sets limits; the message allowance starts full.
    pub fn set_limits(&mut self, limits: MemberLimits, now: Timestamp) {
        self.limits = limits;
        self.message_tokens = self.allowance();
        self.message_time = if limits.message_rate == 0 {
            Timestamp::ZERO
        } else {
            now
        };
    }

    /// The full allowance.
    pub fn allowance(&self) -> u64 {
        if self.limits.message_rate == 0 {
            return 0;
        }
        u64::from(self.limits.message_burst) * MESSAGE
    }

    /// Counts a message if there is an allowance left for it; false if there is none.
    #[inline]
    pub fn allow_message(&mut self, now: Timestamp) -> bool {
        if self.limits.message_rate == 0 {
            return true;
        }
        self.refill(now);
        let allowed = self.message_tokens >= MESSAGE;
        if allowed {
            self.message_tokens -= MESSAGE;
        }
        allowed
    }

    /// Counts a cancel, which is never refused: it takes what allowance is left.
    #[inline]
    pub fn count_cancel(&mut self, now: Timestamp) {
        if self.limits.message_rate != 0 {
            self.refill(now);
            self.message_tokens = self.message_tokens.saturating_sub(MESSAGE);
        }
    }

    fn refill(&mut self, now: Timestamp) {
        let elapsed = now.0.saturating_sub(self.message_time.0);
        let refill = elapsed.saturating_mul(u64::from(self.limits.message_rate));
        self.message_tokens = self
            .message_tokens
            .saturating_add(refill)
            .min(self.allowance());
        self.message_time = now;
    }

    /// Where the volume in `asset` is counted.
    pub fn volume_index(&mut self, asset: AssetId, today: u32) -> u32 {
        let at = self.volumes.iter().position(|volume| volume.asset == asset);
        at.unwrap_or_else(|| {
            self.volumes.push(Volume::new(asset, today));
            self.volumes.len() - 1
        }) as u32
    }

    /// Volume of 30 days in `asset`.
    pub fn volume(&mut self, asset: AssetId, today: u32) -> Amount {
        match self.volumes.iter_mut().find(|volume| volume.asset == asset) {
            Some(volume) => volume.total(today),
            None => Amount::ZERO,
        }
    }

    pub fn snapshot(&self) -> MemberSnapshot {
        let mut volumes: Vec<VolumeSnapshot> = self
            .volumes
            .iter()
            .filter(|v| v.total != 0)
            .map(Volume::snapshot)
            .collect();
        volumes.sort_unstable_by_key(|volume| volume.asset);
        MemberSnapshot {
            code: self.code,
            killed: self.killed,
            limits: self.limits,
            message_tokens: self.message_tokens,
            message_time: self.message_time,
            volumes,
            recent_client_order_ids: self.client_order_ids.recent().collect(),
            recent_references: self.references.recent().collect(),
        }
    }
}

/// Volume per day over the last 30 days, in one asset. Sums stop at the largest number.
#[derive(Clone, Debug)]
pub(crate) struct Volume {
    pub asset: AssetId,
    day: u32,
    total: i128,
    /// By day modulo 30.
    days: [i128; VOLUME_DAYS],
}

impl Volume {
    fn new(asset: AssetId, today: u32) -> Self {
        Self {
            asset,
            day: today,
            total: 0,
            days: [0; VOLUME_DAYS],
        }
    }

    /// Counts a trade.
    #[inline]
    pub fn add(&mut self, notional: Amount, today: u32) {
        self.roll(today);
        let day = &mut self.days[today as usize % VOLUME_DAYS];
        *day = day.saturating_add(notional.0);
        self.total = self.total.saturating_add(notional.0);
    }

    fn total(&mut self, today: u32) -> Amount {
        self.roll(today);
        Amount(self.total)
    }

    #[inline]
    fn roll(&mut self, today: u32) {
        if self.day != today {
            self.forget_old_days(today);
        }
    }

    #[cold]
    fn forget_old_days(&mut self, today: u32) {
        let passed = today.saturating_sub(self.day).min(VOLUME_DAYS as u32);
        for day in 0..passed {
            self.days[(today - day) as usize % VOLUME_DAYS] = 0;
        }
        self.day = self.day.max(today);
        self.total = self
            .days
            .iter()
            .fold(0, |sum, day| i128::saturating_add(sum, *day));
    }

    /// The last day counted.
    pub fn day(&self) -> u32 {
        self.day
    }

    fn snapshot(&self) -> VolumeSnapshot {
        let first = self.day as usize % VOLUME_DAYS + 1;
        let days = (0..VOLUME_DAYS).map(|n| Amount(self.days[(first + n) % VOLUME_DAYS]));
        VolumeSnapshot {
            asset: self.asset,
            day: self.day,
            days: days.collect(),
        }
    }

    /// The volume of a snapshot, or `None` if it is none.
    pub fn restore(snapshot: &VolumeSnapshot) -> Option<Self> {
        if snapshot.days.len() != VOLUME_DAYS || snapshot.days.iter().any(|day| day.0 < 0) {
            return None;
        }
        let mut volume = Self::new(snapshot.asset, snapshot.day);
        let first = snapshot.day as usize % VOLUME_DAYS + 1;
        for (n, day) in snapshot.days.iter().enumerate() {
            volume.days[(first + n) % VOLUME_DAYS] = day.0;
        }
        volume.total = volume
            .days
            .iter()
            .fold(0, |sum, day| i128::saturating_add(sum, *day));
        (volume.total != 0).then_some(volume)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volume_of_the_thirtieth_day_back_no_longer_counts() {
        let mut volume = Volume::new(AssetId(0), 100);
        volume.add(Amount(5), 100);
        volume.add(Amount(7), 101);
        assert_eq!(volume.total(129), Amount(12));
        assert_eq!(volume.total(130), Amount(7));
        let restored = Volume::restore(&volume.snapshot()).unwrap();
        assert_eq!(restored.snapshot(), volume.snapshot());
        assert_eq!(volume.total(131), Amount(0));
        assert_eq!(volume.total(1_000), Amount(0));
    }

    #[test]
    fn the_message_allowance_refills_evenly_to_the_nanosecond() {
        let mut member = Member::new(MemberCode::EMPTY);
        let limits = MemberLimits {
            message_rate: 3,
            message_burst: 2,
            ..MemberLimits::default()
        };
        member.set_limits(limits, Timestamp(0));
        assert!(member.allow_message(Timestamp(0)));
        assert!(member.allow_message(Timestamp(0)));
        assert!(!member.allow_message(Timestamp(0)));
        assert!(!member.allow_message(Timestamp(333_333_333)));
        assert!(member.allow_message(Timestamp(333_333_334)));
        assert_eq!(member.message_tokens, 2);
        member.count_cancel(Timestamp(333_333_334));
        assert_eq!(member.message_tokens, 0);
    }
}
