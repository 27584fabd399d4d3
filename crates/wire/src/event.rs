//! An event: `u16` tag, `u16` length of the body, body.
//!
//! | Tag | Event |
//! |---|---|
//! | 1 | `CommandRejected` |
//! | 10 | `AssetAdded` |
//! | 11 | `InstrumentAdded` |
//! | 12 | `InstrumentAmended` |
//! | 13 | `TradingPhaseChanged` |
//! | 14 | `ReferencePriceSet` |
//! | 15 | `FeeTierSet` |
//! | 16 | `MemberAdded` |
//! | 17 | `MemberLimitsSet` |
//! | 18 | `OrderLimitsSet` |
//! | 19 | `KillSwitchEngaged` |
//! | 20 | `KillSwitchReleased` |
//! | 21 | `LogicActivated` |
//! | 100 | `OrderAccepted` |
//! | 101 | `OrderRejected` |
//! | 102 | `OrderTriggered` |
//! | 103 | `OrderOpened` |
//! | 104 | `OrderAmended` |
//! | 105 | `AmendRejected` |
//! | 106 | `CancelRejected` |
//! | 107 | `Traded` |
//! | 108 | `OrderDone` |
//! | 109 | `AuctionIndicated` |
//! | 110 | `AuctionUncrossed` |
//! | 200 | `Deposited` |
//! | 201 | `WithdrawalRequested` |
//! | 202 | `WithdrawalCompleted` |
//! | 203 | `WithdrawalCanceled` |
//! | 204 | `Transferred` |
//! | 205 | `BalanceChanged` |
//!
//! The body is the event's fields in the order of the list in this file.

use alloc::vec::Vec;

use everopen_domain::Event;

use crate::DecodeError;
use crate::codec::{Input, wire_frames};

wire_frames! {
    Event, "event" {
        1 = CommandRejected { reason }
        10 = AssetAdded { asset, code, decimals }
        11 = InstrumentAdded { id, instrument }
        12 = InstrumentAmended { instrument, limits }
        13 = TradingPhaseChanged { instrument, phase }
        14 = ReferencePriceSet { instrument, price }
        15 = FeeTierSet { schedule, volume_asset, level, levels, tier }
        16 = MemberAdded { member, code }
        17 = MemberLimitsSet { member, limits }
        18 = OrderLimitsSet { member, instrument, limits }
        19 = KillSwitchEngaged { member }
        20 = KillSwitchReleased { member }
        21 = LogicActivated { version }
        100 = OrderAccepted {
            order, member, sequence, details, hold, maker_rate, taker_rate
        }
        101 = OrderRejected { member, instrument, client_order_id, reason }
        102 = OrderTriggered { order, member, sequence, trigger_price }
        103 = OrderOpened { order, member, sequence, side, price, visible, remaining }
        104 = OrderAmended {
            order, member, sequence, side, old_price, price, size, old_visible, visible,
            remaining, hold, kept_priority, self_trade
        }
        105 = AmendRejected { member, target, reason }
        106 = CancelRejected { member, target, reason }
        107 = Traded {
            trade, sequence, maker_order, taker_order, maker, taker, maker_side, price, quantity,
            notional, maker_fee, taker_fee, maker_remaining, maker_visible, taker_remaining,
            auction
        }
        108 = OrderDone { order, member, sequence, side, price, visible, remaining, reason }
        109 = AuctionIndicated { instrument, price, volume, surplus_side, surplus }
        110 = AuctionUncrossed { instrument, price, volume }
        200 = Deposited { transfer, member, asset, amount, reference }
        201 = WithdrawalRequested { transfer, member, asset, amount, reference, destination }
        202 = WithdrawalCompleted { transfer, member, asset, amount }
        203 = WithdrawalCanceled { transfer, member, asset, amount }
        204 = Transferred { transfer, from, to, asset, amount, reference }
        205 = BalanceChanged { member, asset, available, held }
    }
}

/// Appends an event.
pub fn encode(event: &Event, out: &mut Vec<u8>) {
    put_frame(event, out);
}

/// The event that `bytes` are.
///
/// # Errors
/// [`DecodeError`] when they are not exactly one event.
pub fn decode(bytes: &[u8]) -> Result<Event, DecodeError> {
    let mut input = Input::new(bytes);
    let event = get_frame(&mut input)?;
    input.finish()?;
    Ok(event)
}

/// The events that `bytes` are, one after the other; ends after the first error.
pub fn decode_all(bytes: &[u8]) -> impl Iterator<Item = Result<Event, DecodeError>> + '_ {
    let mut input = Input::new(bytes);
    let mut failed = false;
    core::iter::from_fn(move || {
        if failed || input.remaining() == 0 {
            return None;
        }
        let event = get_frame(&mut input);
        failed = event.is_err();
        Some(event)
    })
}
