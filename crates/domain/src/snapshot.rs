//! The state of the machine as plain data: what a snapshot holds and what the state hash is of.
//!
//! The form is canonical: one state has exactly one `VenueSnapshot`. Lists are in the order of
//! their ids unless said otherwise.

use alloc::vec::Vec;

use crate::{
    Amount, AssetCode, AssetId, ClientOrderId, Destination, FeeScheduleId, FeeTiers, Instrument,
    InstrumentId, MemberCode, MemberId, MemberLimits, NewOrder, OrderId, OrderLimits, Price,
    Quantity, Rate, Reference, Timestamp, TradeId, TradingPhase, TransferId,
};

/// The whole state of a venue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VenueSnapshot {
    /// The time of the last command.
    pub time: Timestamp,
    /// The sequence of the last accepted order.
    pub last_order_sequence: u64,
    /// The last transfer's id.
    pub last_transfer: TransferId,
    /// Whether the venue's kill switch is engaged.
    pub killed: bool,
    /// Assets by id.
    pub assets: Vec<AssetSnapshot>,
    /// Fee schedules in the order of their numbers.
    pub fee_schedules: Vec<(FeeScheduleId, FeeTiers)>,
    /// Members by id.
    pub members: Vec<MemberSnapshot>,
    /// Limits per member and instrument, in that order.
    pub order_limits: Vec<(MemberId, InstrumentId, OrderLimits)>,
    /// Accounts in the order of owner and asset.
    pub accounts: Vec<AccountSnapshot>,
    /// Withdrawals that are neither completed nor canceled, by id.
    pub withdrawals: Vec<WithdrawalSnapshot>,
    /// Instruments by id.
    pub instruments: Vec<InstrumentSnapshot>,
    /// The version of the venue's rules that is active, from 1.
    pub logic: u16,
}

/// The state before the first command.
impl Default for VenueSnapshot {
    fn default() -> Self {
        Self {
            time: Timestamp::ZERO,
            last_order_sequence: 0,
            last_transfer: TransferId::default(),
            killed: false,
            assets: Vec::new(),
            fee_schedules: Vec::new(),
            members: Vec::new(),
            order_limits: Vec::new(),
            accounts: Vec::new(),
            withdrawals: Vec::new(),
            instruments: Vec::new(),
            logic: 1,
        }
    }
}

/// An asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct AssetSnapshot {
    /// Its code.
    pub code: AssetCode,
    /// Its decimals.
    pub decimals: u8,
}

/// Whose an account is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum AccountOwner {
    /// The world outside: the counter account of deposits and withdrawals. At or below zero, but
    /// for what `Fees` is below zero.
    External,
    /// The venue's fee income; below zero when rebates exceed it.
    Fees,
    /// A member.
    Member(MemberId),
}

/// An account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AccountSnapshot {
    /// Whose.
    pub owner: AccountOwner,
    /// Of what.
    pub asset: AssetId,
    /// What can be used.
    pub available: Amount,
    /// What is held.
    pub held: Amount,
}

/// A member.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct MemberSnapshot {
    /// Its code.
    pub code: MemberCode,
    /// Whether its kill switch is engaged.
    pub killed: bool,
    /// Its limits.
    pub limits: MemberLimits,
    /// Message allowance in billionths of a message: full at `message_burst` × 10^9.
    pub message_tokens: u64,
    /// When the allowance was last refilled.
    pub message_time: Timestamp,
    /// Volume per volume asset, in the order of assets.
    pub volumes: Vec<VolumeSnapshot>,
    /// Client order ids of ended orders that are still refused, oldest first. Ids of open orders
    /// stand with the orders.
    pub recent_client_order_ids: Vec<ClientOrderId>,
    /// References of money movements that are still refused, oldest first.
    pub recent_references: Vec<Reference>,
}

/// Traded volume over 30 days in one asset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct VolumeSnapshot {
    /// The asset.
    pub asset: AssetId,
    /// The day (since 1970-01-01 UTC) of the last entry of `days`.
    pub day: u32,
    /// Volume per day, oldest first, 30 entries.
    pub days: Vec<Amount>,
}

/// A withdrawal on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WithdrawalSnapshot {
    /// Its id.
    pub transfer: TransferId,
    /// Whose.
    pub member: MemberId,
    /// Of what.
    pub asset: AssetId,
    /// How much.
    pub amount: Amount,
    /// Where to.
    pub destination: Destination,
}

/// An instrument and its market.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct InstrumentSnapshot {
    /// What it is.
    pub instrument: Instrument,
    /// The phase of its market.
    pub phase: TradingPhase,
    /// The last market data sequence.
    pub sequence: u64,
    /// The last trade's id.
    pub last_trade: TradeId,
    /// The last trade's price; zero before the first.
    pub last_price: Price,
    /// The reference price of the band; zero before there is one.
    pub reference_price: Price,
    /// Resting buy orders, best price first, then in queue order.
    pub bids: Vec<OrderSnapshot>,
    /// Resting sell orders, best price first, then in queue order.
    pub asks: Vec<OrderSnapshot>,
    /// Stop orders that wait, in the order of acceptance.
    pub stops: Vec<OrderSnapshot>,
    /// Free slots, the one used next last.
    pub free_slots: Vec<u32>,
}

/// An open order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrderSnapshot {
    /// Its id.
    pub order: OrderId,
    /// Whose.
    pub member: MemberId,
    /// The order as sent, with price and size as last amended.
    pub details: NewOrder,
    /// When it was accepted.
    pub accepted_at: Timestamp,
    /// What the book shows.
    pub visible: Quantity,
    /// All that is left, hidden part included.
    pub remaining: Quantity,
    /// What is held for it.
    pub hold: Amount,
    /// The maker rate that it is charged.
    pub maker_rate: Rate,
    /// The taker rate that it is charged.
    pub taker_rate: Rate,
    /// How much more than its exact fees it has been charged so far by rounding up, in millionths
    /// of a quote atom; counted against the next fee.
    pub fee_slack: u32,
}
