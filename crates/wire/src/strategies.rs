//! Arbitrary values for property tests: every variant, every field, extremes more often than
//! chance would have them. They respect types, not the venue's rules.

use everopen_domain::snapshot::AccountOwner;
use everopen_domain::{
    AmendOrder, Amount, AssetId, CancelReason, Command, DoneReason, Event, FeeScheduleId, FeeTier,
    FeeTiers, Instrument, InstrumentId, InstrumentLimits, MemberId, MemberLimits, NewOrder,
    OrderId, OrderLimits, OrderTarget, OrderType, Price, Quantity, Rate, RejectReason,
    SelfTradePrevention, Side, Stop, StopDirection, Text, TimeInForce, Timestamp, TradeId,
    TradingPhase, TransferId,
};
use proptest::prelude::*;
use proptest::sample::select;

mod snapshot;
pub use snapshot::venue_snapshot;

/// A type that has one obvious strategy, so that structs can be put together field by field.
pub trait Any: core::fmt::Debug + Sized + 'static {
    /// Its values.
    fn any() -> BoxedStrategy<Self>;
}

/// Shorthand for [`Any::any`].
pub fn any_of<T: Any>() -> BoxedStrategy<T> {
    T::any()
}

/// Any command.
pub fn command() -> BoxedStrategy<Command> {
    any_of()
}

/// Any event.
pub fn event() -> BoxedStrategy<Event> {
    any_of()
}

/// Any new order.
pub fn new_order() -> BoxedStrategy<NewOrder> {
    any_of()
}

macro_rules! any_int {
    ($($int:ty),+) => {$(
        impl Any for $int {
            fn any() -> BoxedStrategy<Self> {
                prop_oneof![
                    4 => proptest::prelude::any::<$int>(),
                    1 => select(vec![0, 1, <$int>::MAX, <$int>::MAX - 1, <$int>::MIN]),
                    1 => (0 as $int)..100,
                ]
                .boxed()
            }
        }
    )+};
}
any_int!(u8, u16, u32, u64, i32, i128);

impl Any for bool {
    fn any() -> BoxedStrategy<Self> {
        proptest::bool::ANY.boxed()
    }
}

impl<T: Any> Any for Option<T> {
    fn any() -> BoxedStrategy<Self> {
        proptest::option::of(T::any()).boxed()
    }
}

impl<const N: usize> Any for Text<N> {
    fn any() -> BoxedStrategy<Self> {
        let byte = prop_oneof![8 => 0x21..=0x7eu8, 1 => Just(b' ')];
        let length = prop_oneof![1 => Just(0), 1 => Just(N), 4 => 0..=N];
        (proptest::collection::vec(byte, N), length)
            .prop_map(|(mut bytes, length)| {
                bytes.truncate(length);
                for end in [0, length.saturating_sub(1)] {
                    if let Some(byte) = bytes.get_mut(end) {
                        *byte = (*byte).max(b'!');
                    }
                }
                Text::new(&bytes).expect("invariant: made to fit")
            })
            .boxed()
    }
}

macro_rules! any_newtype {
    ($($name:ident),+ $(,)?) => {$(
        impl Any for $name {
            fn any() -> BoxedStrategy<Self> {
                any_of().prop_map($name).boxed()
            }
        }
    )+};
}
any_newtype!(
    Amount,
    AssetId,
    FeeScheduleId,
    InstrumentId,
    MemberId,
    Price,
    Quantity,
    Rate,
    Timestamp,
    TradeId,
    TransferId,
);

macro_rules! any_enum {
    ($($name:ident { $($variant:ident),+ $(,)? })+) => {$(
        impl Any for $name {
            fn any() -> BoxedStrategy<Self> {
                select(vec![$($name::$variant),+]).boxed()
            }
        }
    )+};
}
any_enum! {
    Side { Buy, Sell }
    OrderType { Limit, Market }
    TimeInForce { GoodTillCanceled, GoodTillTime, ImmediateOrCancel, FillOrKill }
    SelfTradePrevention { DecreaseAndCancel, CancelOldest, CancelNewest, CancelBoth, Allow }
    StopDirection { Loss, Entry }
    TradingPhase { Online, PostOnly, LimitOnly, CancelOnly, Auction, Halted }
    CancelReason {
        Requested, Disconnected, Replaced, Expired, Unfilled, PriceBand, FundsUsed, SelfTrade,
        Killed, WouldTake, FillOrKill, NotAccepted,
    }
}

impl Any for RejectReason {
    fn any() -> BoxedStrategy<Self> {
        select(RejectReason::ALL).boxed()
    }
}

impl Any for DoneReason {
    fn any() -> BoxedStrategy<Self> {
        prop_oneof![Just(Self::Filled), any_of().prop_map(Self::Canceled)].boxed()
    }
}

impl Any for OrderTarget {
    fn any() -> BoxedStrategy<Self> {
        prop_oneof![
            any_of().prop_map(Self::Order),
            any_of().prop_map(Self::Client)
        ]
        .boxed()
    }
}

impl Any for AccountOwner {
    fn any() -> BoxedStrategy<Self> {
        prop_oneof![
            Just(Self::External),
            Just(Self::Fees),
            any_of().prop_map(Self::Member)
        ]
        .boxed()
    }
}

impl<const N: usize> Any for [FeeTier; N] {
    fn any() -> BoxedStrategy<Self> {
        proptest::collection::vec(any_of::<FeeTier>(), N)
            .prop_map(|tiers| tiers.try_into().expect("invariant: N tiers"))
            .boxed()
    }
}

/// A strategy of a struct or variant from its fields. Tuples nest to the right, since proptest
/// knows tuples of up to twelve only.
macro_rules! any_fields {
    ($($path:ident)::+ {}) => { Just($($path)::+ {}).boxed() };
    ($($path:ident)::+ { $($field:ident),+ $(,)? }) => {
        any_fields!(@strategy $($field),+)
            .prop_map(|any_fields!(@pattern $($field),+)| $($path)::+ { $($field),+ })
            .boxed()
    };
    (@strategy $first:ident $(, $rest:ident)*) => {
        (any_of(), any_fields!(@strategy $($rest),*))
    };
    (@strategy) => { Just(()) };
    (@pattern $first:ident $(, $rest:ident)*) => { ($first, any_fields!(@pattern $($rest),*)) };
    (@pattern) => { () };
}
pub(crate) use any_fields;

macro_rules! any_struct {
    ($($name:ident { $($field:ident),+ $(,)? })+) => {$(
        impl Any for $name {
            fn any() -> BoxedStrategy<Self> {
                any_fields!($name { $($field),+ })
            }
        }
    )+};
}
pub(crate) use any_struct;

any_struct! {
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
    AmendOrder { target, price, size }
    NewOrder {
        instrument, side, order_type, price, size, funds, time_in_force, expires_at, post_only,
        display_size, stop, self_trade_prevention, client_order_id,
    }
}

macro_rules! any_variants {
    ($($name:ident { $($variant:ident { $($field:ident),* $(,)? })+ })+) => {$(
        impl Any for $name {
            fn any() -> BoxedStrategy<Self> {
                proptest::strategy::Union::new(vec![
                    $(any_fields!($name::$variant { $($field),* })),+
                ])
                .boxed()
            }
        }
    )+};
}

any_variants! {
    Command {
        Tick {}
        AddAsset { code, decimals }
        AddInstrument { instrument }
        AmendInstrument { instrument, limits }
        SetTradingPhase { instrument, phase }
        SetReferencePrice { instrument, price }
        SetFeeSchedule { schedule, tiers }
        AddMember { code }
        SetMemberLimits { member, limits }
        SetOrderLimits { member, instrument, limits }
        EngageKillSwitch { member }
        ReleaseKillSwitch { member }
        ActivateLogic { version }
        PlaceOrder { member, order }
        AmendOrder { member, amendment }
        ReplaceOrder { member, target, order }
        CancelOrder { member, target }
        CancelOrders { member, instrument, reason }
        Deposit { member, asset, amount, reference }
        RequestWithdrawal { member, asset, amount, reference, destination }
        CompleteWithdrawal { transfer }
        CancelWithdrawal { transfer }
        Transfer { from, to, asset, amount, reference }
    }
    Event {
        CommandRejected { reason }
        AssetAdded { asset, code, decimals }
        InstrumentAdded { id, instrument }
        InstrumentAmended { instrument, limits }
        TradingPhaseChanged { instrument, phase }
        ReferencePriceSet { instrument, price }
        FeeTierSet { schedule, volume_asset, level, levels, tier }
        MemberAdded { member, code }
        MemberLimitsSet { member, limits }
        OrderLimitsSet { member, instrument, limits }
        KillSwitchEngaged { member }
        KillSwitchReleased { member }
        LogicActivated { version }
        OrderAccepted { order, member, sequence, details, hold, maker_rate, taker_rate }
        OrderRejected { member, instrument, client_order_id, reason }
        OrderTriggered { order, member, sequence, trigger_price }
        OrderOpened { order, member, sequence, side, price, visible, remaining }
        OrderAmended {
            order, member, sequence, side, old_price, price, size, old_visible, visible,
            remaining, hold, kept_priority, self_trade,
        }
        AmendRejected { member, target, reason }
        CancelRejected { member, target, reason }
        Traded {
            trade, sequence, maker_order, taker_order, maker, taker, maker_side, price, quantity,
            notional, maker_fee, taker_fee, maker_remaining, maker_visible, taker_remaining,
            auction,
        }
        OrderDone { order, member, sequence, side, price, visible, remaining, reason }
        AuctionIndicated { instrument, price, volume, surplus_side, surplus }
        AuctionUncrossed { instrument, price, volume }
        Deposited { transfer, member, asset, amount, reference }
        WithdrawalRequested { transfer, member, asset, amount, reference, destination }
        WithdrawalCompleted { transfer, member, asset, amount }
        WithdrawalCanceled { transfer, member, asset, amount }
        Transferred { transfer, from, to, asset, amount, reference }
        BalanceChanged { member, asset, available, held }
    }
}
