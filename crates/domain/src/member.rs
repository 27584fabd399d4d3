//! What the venue knows of members: limits and fees.

use crate::{Amount, AssetId, Quantity, Rate};

/// The limits of a member across all instruments. Zero in a field means "no limit".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct MemberLimits {
    /// Orders that may be open (resting or waiting for their trigger) at once in one instrument.
    pub max_open_orders: u32,
    /// Order messages (place, amend, replace, cancel) per second, refilled evenly; cancels are
    /// counted but never refused.
    pub message_rate: u32,
    /// How many messages may come at once before `message_rate` binds; at least 1 with a rate.
    pub message_burst: u32,
}

/// The limits of a member in one instrument, on top of the instrument's own. Zero means "none".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OrderLimits {
    /// The largest quantity of one order.
    pub max_size: Quantity,
    /// The largest notional of one order, in quote atoms.
    pub max_notional: Amount,
}

/// One step of a fee schedule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FeeTier {
    /// Holds for members whose volume over the last 30 days, today included, is at least this
    /// many atoms of the schedule's volume asset.
    pub min_volume: Amount,
    /// Charged to an order that was resting; may be negative (a rebate).
    pub maker: Rate,
    /// Charged to an order that took; never negative, and never below `-maker`, so that the venue
    /// never pays for a trade.
    pub taker: Rate,
}

/// The steps of a fee schedule: rising in `min_volume`, the first from zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FeeTiers {
    /// Trades in instruments that are quoted in this asset count towards the volume.
    pub volume_asset: AssetId,
    /// How many of `tiers` are in use, 1 to 10.
    pub len: u8,
    /// The steps; those past `len` are zero.
    pub tiers: [FeeTier; 10],
}

impl FeeTiers {
    /// The steps in use.
    pub fn as_slice(&self) -> &[FeeTier] {
        &self.tiers[..usize::from(self.len).min(self.tiers.len())]
    }
}
