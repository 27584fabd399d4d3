//! Arbitrary snapshots, with lists of a few items.

use everopen_domain::snapshot::{
    AccountSnapshot, AssetSnapshot, InstrumentSnapshot, MemberSnapshot, OrderSnapshot,
    VenueSnapshot, VolumeSnapshot, WithdrawalSnapshot,
};
use proptest::prelude::*;

use super::{Any, any_fields, any_of, any_struct};

/// Any snapshot, most of them of no possible venue; half of them by the first version of the rules.
pub fn venue_snapshot() -> BoxedStrategy<VenueSnapshot> {
    (any_of::<VenueSnapshot>(), any_of::<bool>())
        .prop_map(|(mut snapshot, first)| {
            if first {
                snapshot.logic = 1;
            }
            snapshot
        })
        .boxed()
}

impl<T: Any> Any for Vec<T> {
    fn any() -> BoxedStrategy<Self> {
        proptest::collection::vec(any_of(), 0..4).boxed()
    }
}

impl<A: Any, B: Any> Any for (A, B) {
    fn any() -> BoxedStrategy<Self> {
        (any_of(), any_of()).boxed()
    }
}

impl<A: Any, B: Any, C: Any> Any for (A, B, C) {
    fn any() -> BoxedStrategy<Self> {
        (any_of(), any_of(), any_of()).boxed()
    }
}

any_struct! {
    VenueSnapshot {
        time, last_order_sequence, last_transfer, killed, assets, fee_schedules, members,
        order_limits, accounts, withdrawals, instruments, logic,
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
