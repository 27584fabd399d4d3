//! The venue's state: `u16` version, `u16` flags (0), then the fields of [`VenueSnapshot`], in the
//! order of the lists in this file.
//!
//! Version 1 is of a venue that goes by version 1 of its rules, and does not say so. Version 2 has
//! the `u16` version of the rules at its end, which is any but 1.

use alloc::vec::Vec;

use everopen_domain::snapshot::{
    AccountSnapshot, AssetSnapshot, InstrumentSnapshot, MemberSnapshot, OrderSnapshot,
    VenueSnapshot, VolumeSnapshot, WithdrawalSnapshot,
};

use crate::DecodeError;
use crate::codec::{Input, Sink, Wire, wire_struct};

wire_struct! {
    AssetSnapshot { code, decimals }
    AccountSnapshot { owner, asset, available, held }
    MemberSnapshot {
        code, killed, limits, message_tokens, message_time, volumes, recent_client_order_ids,
        recent_references,
    }
    VolumeSnapshot { asset, day, days }
    WithdrawalSnapshot { transfer, member, asset, amount, destination }
    InstrumentSnapshot {
        instrument, phase, sequence, last_trade, last_price, reference_price, bids, asks, stops,
        free_slots,
    }
    OrderSnapshot {
        order, member, details, accepted_at, visible, remaining, hold, maker_rate, taker_rate,
        fee_slack,
    }
}

/// The version of the rules that version 1 of these bytes is of.
const FIRST_LOGIC: u16 = 1;

/// Appends a snapshot.
pub fn encode(snapshot: &VenueSnapshot, out: &mut Vec<u8>) {
    put(snapshot, out);
}

pub(crate) fn put<S: Sink>(snapshot: &VenueSnapshot, out: &mut S) {
    let VenueSnapshot {
        time,
        last_order_sequence,
        last_transfer,
        killed,
        assets,
        fee_schedules,
        members,
        order_limits,
        accounts,
        withdrawals,
        instruments,
        logic,
    } = snapshot;
    let version: u16 = if *logic == FIRST_LOGIC { 1 } else { 2 };
    version.put(out);
    0u16.put(out);
    time.put(out);
    last_order_sequence.put(out);
    last_transfer.put(out);
    killed.put(out);
    assets.put(out);
    fee_schedules.put(out);
    members.put(out);
    order_limits.put(out);
    accounts.put(out);
    withdrawals.put(out);
    instruments.put(out);
    if version == 2 {
        logic.put(out);
    }
}

/// The snapshot that `bytes` are. Whether a venue can have this state is for the venue to say.
///
/// # Errors
/// [`DecodeError`] when they are not exactly one snapshot of a known version.
pub fn decode(bytes: &[u8]) -> Result<VenueSnapshot, DecodeError> {
    let mut input = Input::new(bytes);
    let input = &mut input;
    let unknown = input.error("unknown version of a snapshot");
    let version = u16::get(input)?;
    if version != 1 && version != 2 {
        return Err(unknown);
    }
    let unknown = input.error("unknown flags of a snapshot");
    if u16::get(input)? != 0 {
        return Err(unknown);
    }
    let mut snapshot = VenueSnapshot {
        time: Wire::get(input)?,
        last_order_sequence: Wire::get(input)?,
        last_transfer: Wire::get(input)?,
        killed: Wire::get(input)?,
        assets: Wire::get(input)?,
        fee_schedules: Wire::get(input)?,
        members: Wire::get(input)?,
        order_limits: Wire::get(input)?,
        accounts: Wire::get(input)?,
        withdrawals: Wire::get(input)?,
        instruments: Wire::get(input)?,
        logic: FIRST_LOGIC,
    };
    if version == 2 {
        let other_form = input.error("rules of version 1 have snapshots of version 1");
        snapshot.logic = Wire::get(input)?;
        if snapshot.logic == FIRST_LOGIC {
            return Err(other_form);
        }
    }
    input.finish()?;
    Ok(snapshot)
}
