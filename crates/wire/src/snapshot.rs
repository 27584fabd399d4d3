//! The venue's state: `u16` version (1), `u16` flags (0), then the fields of
//! [`VenueSnapshot`], in the order of the lists in this file.

use alloc::vec::Vec;

use everopen_domain::snapshot::{
    AccountSnapshot, AssetSnapshot, InstrumentSnapshot, MemberSnapshot, OrderSnapshot,
    VenueSnapshot, VolumeSnapshot, WithdrawalSnapshot,
};

use crate::DecodeError;
use crate::codec::{Input, Sink, Wire, wire_struct};

wire_struct! {
    VenueSnapshot {
        time, last_order_sequence, last_transfer, killed, assets, fee_schedules, members,
        order_limits, accounts, withdrawals, instruments,
    }
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

/// The version that states are written in.
const VERSION: u16 = 1;

/// Appends a snapshot.
pub fn encode(snapshot: &VenueSnapshot, out: &mut Vec<u8>) {
    put(snapshot, out);
}

pub(crate) fn put<S: Sink>(snapshot: &VenueSnapshot, out: &mut S) {
    VERSION.put(out);
    0u16.put(out);
    snapshot.put(out);
}

/// The snapshot that `bytes` are. Whether a venue can have this state is for the venue to say.
///
/// # Errors
/// [`DecodeError`] when they are not exactly one snapshot of a known version.
pub fn decode(bytes: &[u8]) -> Result<VenueSnapshot, DecodeError> {
    let mut input = Input::new(bytes);
    let unknown = input.error("unknown version of a snapshot");
    if u16::get(&mut input)? != VERSION {
        return Err(unknown);
    }
    let unknown = input.error("unknown flags of a snapshot");
    if u16::get(&mut input)? != 0 {
        return Err(unknown);
    }
    let snapshot = VenueSnapshot::get(&mut input)?;
    input.finish()?;
    Ok(snapshot)
}
