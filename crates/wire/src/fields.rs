//! The types that commands, events and snapshots are made of.
//!
//! Numbers of enums, one byte each, never changed:
//!
//! | Enum | Numbers |
//! |---|---|
//! | `Side` | 0 `Buy`, 1 `Sell` |
//! | `OrderType` | 0 `Limit`, 1 `Market` |
//! | `TimeInForce` | 0 `GoodTillCanceled`, 1 `GoodTillTime`, 2 `ImmediateOrCancel`, 3 `FillOrKill` |
//! | `SelfTradePrevention` | 0 `DecreaseAndCancel`, 1 `CancelOldest`, 2 `CancelNewest`, 3 `CancelBoth`, 4 `Allow` |
//! | `StopDirection` | 0 `Loss`, 1 `Entry` |
//! | `TradingPhase` | 0 `Online`, 1 `PostOnly`, 2 `LimitOnly`, 3 `CancelOnly`, 4 `Auction`, 5 `Halted` |
//! | `CancelReason` | 0 `Requested`, 1 `Disconnected`, 2 `Replaced`, 3 `Expired`, 4 `Unfilled`, 5 `PriceBand`, 6 `FundsUsed`, 7 `SelfTrade`, 8 `Killed`, 9 `WouldTake`, 10 `FillOrKill`, 11 `NotAccepted` |
//! | `DoneReason` | 0 `Filled`, 1 `Canceled` (then its `CancelReason`) |
//! | `OrderTarget` | 0 `Order` (then its id), 1 `Client` (then its text) |
//! | `AccountOwner` | 0 `External`, 1 `Fees`, 2 `Member` (then its `u32`) |
//!
//! `RejectReason` is its stable code as a `u16`. `FeeTiers` always carries all ten steps.

use everopen_domain::snapshot::AccountOwner;
use everopen_domain::{
    Amount, AssetId, CancelReason, DoneReason, FeeScheduleId, FeeTier, FeeTiers, Instrument,
    InstrumentId, InstrumentLimits, LogIndex, MemberId, MemberLimits, OrderId, OrderLimits,
    OrderTarget, OrderType, Price, Quantity, Rate, RejectReason, SelfTradePrevention, Side, Stop,
    StopDirection, Text, TimeInForce, Timestamp, TradeId, TradingPhase, TransferId,
};

use crate::DecodeError;
use crate::codec::{Input, Sink, Wire, wire_enum, wire_newtype, wire_struct};

wire_newtype!(
    Amount,
    AssetId,
    FeeScheduleId,
    InstrumentId,
    LogIndex,
    MemberId,
    Price,
    Quantity,
    Rate,
    Timestamp,
    TradeId,
    TransferId,
);

wire_enum! {
    Side, "side" { Buy = 0, Sell = 1 }
    OrderType, "order type" { Limit = 0, Market = 1 }
    TimeInForce, "time in force" {
        GoodTillCanceled = 0, GoodTillTime = 1, ImmediateOrCancel = 2, FillOrKill = 3,
    }
    SelfTradePrevention, "self-trade prevention" {
        DecreaseAndCancel = 0, CancelOldest = 1, CancelNewest = 2, CancelBoth = 3, Allow = 4,
    }
    StopDirection, "stop direction" { Loss = 0, Entry = 1 }
    TradingPhase, "trading phase" {
        Online = 0, PostOnly = 1, LimitOnly = 2, CancelOnly = 3, Auction = 4, Halted = 5,
    }
    CancelReason, "cancel reason" {
        Requested = 0, Disconnected = 1, Replaced = 2, Expired = 3, Unfilled = 4, PriceBand = 5,
        FundsUsed = 6, SelfTrade = 7, Killed = 8, WouldTake = 9, FillOrKill = 10, NotAccepted = 11,
    }
}

wire_struct! {
    OrderId { sequence, instrument, slot }
    Stop { direction, price }
    Instrument { base, quote, price_decimals, size_decimals, limits }
    InstrumentLimits {
        tick, lot, min_size, max_size, min_notional, max_notional, price_band, fee_schedule,
        allow_self_trade,
    }
    MemberLimits { max_open_orders, message_rate, message_burst }
    OrderLimits { max_size, max_notional }
    FeeTier { min_volume, maker, taker }
    FeeTiers { volume_asset, len, tiers }
}

impl<const N: usize> Wire for [FeeTier; N] {
    fn put<S: Sink>(&self, out: &mut S) {
        for tier in self {
            tier.put(out);
        }
    }
    fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let mut tiers = [FeeTier::default(); N];
        for tier in &mut tiers {
            *tier = FeeTier::get(input)?;
        }
        Ok(tiers)
    }
}

impl<const N: usize> Wire for Text<N> {
    #[inline]
    fn put<S: Sink>(&self, out: &mut S) {
        let bytes = self.as_bytes();
        (bytes.len() as u8).put(out);
        out.write(bytes);
    }
    #[inline]
    fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let mut text = Self::EMPTY;
        text.read(input)?;
        Ok(text)
    }
    #[inline]
    fn read(&mut self, input: &mut Input<'_>) -> Result<(), DecodeError> {
        let error = input.error("text is too long or not printable ascii");
        let count = usize::from(u8::get(input)?);
        self.set(input.take(count)?).map_err(|_| error)
    }
}

impl Wire for RejectReason {
    fn put<S: Sink>(&self, out: &mut S) {
        self.code().put(out);
    }
    fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let error = input.error("unknown reject reason");
        Self::from_code(u16::get(input)?).ok_or(error)
    }
}

impl Wire for DoneReason {
    fn put<S: Sink>(&self, out: &mut S) {
        match self {
            Self::Filled => 0u8.put(out),
            Self::Canceled(reason) => {
                1u8.put(out);
                reason.put(out);
            }
        }
    }
    fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let error = input.error("unknown done reason");
        match u8::get(input)? {
            0 => Ok(Self::Filled),
            1 => Wire::get(input).map(Self::Canceled),
            _ => Err(error),
        }
    }
}

impl Wire for OrderTarget {
    fn put<S: Sink>(&self, out: &mut S) {
        match self {
            Self::Order(order) => {
                0u8.put(out);
                order.put(out);
            }
            Self::Client(id) => {
                1u8.put(out);
                id.put(out);
            }
        }
    }
    fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let error = input.error("unknown kind of order target");
        match u8::get(input)? {
            0 => Wire::get(input).map(Self::Order),
            1 => Wire::get(input).map(Self::Client),
            _ => Err(error),
        }
    }
}

impl Wire for AccountOwner {
    fn put<S: Sink>(&self, out: &mut S) {
        match self {
            Self::External => 0u8.put(out),
            Self::Fees => 1u8.put(out),
            Self::Member(member) => {
                2u8.put(out);
                member.put(out);
            }
        }
    }
    fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let error = input.error("unknown account owner");
        match u8::get(input)? {
            0 => Ok(Self::External),
            1 => Ok(Self::Fees),
            2 => Wire::get(input).map(Self::Member),
            _ => Err(error),
        }
    }
}
