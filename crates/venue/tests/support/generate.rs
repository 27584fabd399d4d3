//! Commands that mostly make sense: ids that exist, prices that meet, numbers near their edges,
//! and now and then anything that can be decoded.

use everopen_domain::*;
use proptest::prelude::*;
use proptest::sample::select;

use super::{Desk, text};

pub const INSTRUMENTS: u32 = 3;
pub const MEMBERS: u32 = 4;

/// A command whose order target is a number to pick an open order by.
#[derive(Clone, Debug)]
pub struct Step {
    pub command: Command,
    pub pick: u64,
    pub elapsed: u64,
}

impl Step {
    /// The command with its target made that of an open order, where one is to be picked.
    pub fn command(&self, open: &[OrderId]) -> Command {
        let mut command = self.command;
        let fix = |target: &mut OrderTarget| {
            if let (OrderTarget::Order(id), false) = (&mut *target, open.is_empty())
                && id.sequence == 0
            {
                *id = open[self.pick as usize % open.len()];
            }
        };
        match &mut command {
            Command::AmendOrder { amendment, .. } => fix(&mut amendment.target),
            Command::ReplaceOrder { target, .. } | Command::CancelOrder { target, .. } => {
                fix(target);
            }
            _ => {}
        }
        command
    }
}

fn member() -> impl Strategy<Value = MemberId> {
    (0..MEMBERS).prop_map(MemberId)
}

fn instrument() -> impl Strategy<Value = InstrumentId> {
    prop_oneof![12 => Just(0), 4 => Just(1), 4 => Just(2), 1 => Just(INSTRUMENTS)]
        .prop_map(InstrumentId)
}

fn asset() -> impl Strategy<Value = AssetId> {
    (0u32..4).prop_map(AssetId)
}

fn price() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 90u64..=110, 3 => 1u64..=1_000, 1 => Just(Price::MAX.0), 1 => any::<u64>()]
}

fn size() -> impl Strategy<Value = u64> {
    prop_oneof![20 => 1u64..=30, 3 => 1u64..=1_000, 1 => Just(1u64 << 62), 1 => any::<u64>()]
}

fn client_id() -> impl Strategy<Value = ClientOrderId> {
    prop_oneof![
        2 => Just(Text::EMPTY),
        2 => (0u32..30).prop_map(|n| text(&format!("c{n}"))),
        3 => any::<u32>().prop_map(|n| text(&format!("r{n}"))),
    ]
}

fn target() -> impl Strategy<Value = OrderTarget> {
    prop_oneof![
        4 => Just(OrderTarget::Order(OrderId::default())),
        1 => client_id().prop_map(OrderTarget::Client),
    ]
}

prop_compose! {
    fn order()(
        (instrument, side, market) in (instrument(), any::<bool>(), prop::bool::weighted(0.2)),
        (price, size, funds) in (price(), size(), prop_oneof![
            4 => 1i128..5_000, 1 => Just(0i128), 1 => 1i128..100, 1 => any::<i128>(),
        ]),
        how in 0u8..3,
        tif in select(vec![0u8, 0, 0, 0, 1, 2, 3]),
        expires in 1u64..2_000,
        (post, peak, stops) in (
            prop::bool::weighted(0.15), prop_oneof![4 => Just(0), 1 => 1u64..8],
            prop::bool::weighted(0.2),
        ),
        (entry, stop_price) in (any::<bool>(), price()),
        stp in select(vec![0u8, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4]),
        client_order_id in client_id(),
    ) -> NewOrder {
        let sized = !market || how != 0;
        let funded = market && how != 1;
        NewOrder {
            instrument,
            side: if side { Side::Buy } else { Side::Sell },
            order_type: if market { OrderType::Market } else { OrderType::Limit },
            price: if market { Price::ZERO } else { Price(price) },
            size: if sized { Quantity(size) } else { Quantity::ZERO },
            funds: if funded { Amount(funds) } else { Amount::ZERO },
            time_in_force: match tif {
                0 => TimeInForce::GoodTillCanceled,
                1 if !market => TimeInForce::GoodTillTime,
                2 => TimeInForce::ImmediateOrCancel,
                3 => TimeInForce::FillOrKill,
                _ => TimeInForce::GoodTillCanceled,
            },
            expires_at: if tif == 1 && !market { Timestamp(1_000 + expires) } else { Timestamp::ZERO },
            post_only: post && !market && tif < 2,
            display_size: if market || tif >= 2 { Quantity::ZERO } else { Quantity(peak) },
            stop: stops.then_some(Stop {
                direction: if entry { StopDirection::Entry } else { StopDirection::Loss },
                price: Price(stop_price),
            }),
            self_trade_prevention: match stp {
                0 => SelfTradePrevention::DecreaseAndCancel,
                1 => SelfTradePrevention::CancelOldest,
                2 => SelfTradePrevention::CancelNewest,
                3 => SelfTradePrevention::CancelBoth,
                _ => SelfTradePrevention::Allow,
            },
            client_order_id,
        }
    }
}

/// An order with one field of another.
fn mangled() -> impl Strategy<Value = NewOrder> {
    (
        order(),
        everopen_wire::strategies::new_order(),
        0u8..9,
        any::<bool>(),
    )
        .prop_map(|(mut order, other, field, zero)| {
            let other = if zero { NewOrder::default() } else { other };
            match field {
                0 => order.price = other.price,
                1 => order.size = other.size,
                2 => order.funds = other.funds,
                3 => order.time_in_force = other.time_in_force,
                4 => order.expires_at = other.expires_at,
                5 => order.post_only = !order.post_only,
                6 => order.display_size = other.display_size,
                7 => order.stop = other.stop,
                _ => order.order_type = other.order_type,
            }
            order
        })
}

fn any_order() -> impl Strategy<Value = NewOrder> {
    prop_oneof![12 => order(), 1 => mangled()]
}

fn phase() -> impl Strategy<Value = TradingPhase> {
    select(vec![
        TradingPhase::Online,
        TradingPhase::Online,
        TradingPhase::Online,
        TradingPhase::Online,
        TradingPhase::Online,
        TradingPhase::Online,
        TradingPhase::LimitOnly,
        TradingPhase::Online,
        TradingPhase::Online,
        TradingPhase::PostOnly,
        TradingPhase::LimitOnly,
        TradingPhase::CancelOnly,
        TradingPhase::Auction,
        TradingPhase::Auction,
        TradingPhase::Halted,
    ])
}

fn amount() -> impl Strategy<Value = Amount> {
    prop_oneof![
        6 => 1i128..10_000, 1 => Just(1i128 << 119), 1 => any::<i128>(), 1 => Just(0i128),
    ]
    .prop_map(Amount)
}

fn reference() -> impl Strategy<Value = Reference> {
    prop_oneof![
        1 => Just(Text::EMPTY),
        1 => (0u32..5).prop_map(|n| text(&format!("t{n}"))),
        1 => any::<u32>().prop_map(|n| text(&format!("u{n}"))),
    ]
}

fn limits() -> impl Strategy<Value = InstrumentLimits> {
    (
        (
            select(vec![1u64, 1, 1, 2]),
            select(vec![1u64, 1, 1, 3]),
            0u64..5,
        ),
        (
            prop_oneof![Just(0i128), Just(200)],
            prop_oneof![Just(0i128), Just(1 << 60)],
        ),
        select(vec![0, 0, 50_000, 100_000, 1_500_000, 30_000]),
        any::<bool>(),
        0u8..3,
    )
        .prop_map(
            |((tick, lot, min), (low, high), band, allow, schedule)| InstrumentLimits {
                tick: Price(tick),
                lot: Quantity(lot),
                min_size: Quantity(min),
                max_size: Quantity::MAX,
                min_notional: Amount(low),
                max_notional: Amount(high),
                price_band: Rate(band),
                fee_schedule: FeeScheduleId(schedule),
                allow_self_trade: allow,
            },
        )
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        100 => (member(), any_order()).prop_map(|(member, order)| Command::PlaceOrder { member, order }),
        8 => (member(), target()).prop_map(|(member, target)| Command::CancelOrder { member, target }),
        10 => (member(), target(), prop_oneof![Just(0), price()], prop_oneof![Just(0), size()])
            .prop_map(|(member, target, price, size)| Command::AmendOrder {
                member,
                amendment: AmendOrder { target, price: Price(price), size: Quantity(size) },
            }),
        8 => (member(), target(), any_order())
            .prop_map(|(member, target, order)| Command::ReplaceOrder { member, target, order }),
        1 => (member(), prop::option::of(instrument()), any::<bool>()).prop_map(
            |(member, instrument, asked)| Command::CancelOrders {
                member,
                instrument,
                reason: if asked { CancelReason::Requested } else { CancelReason::Disconnected },
            },
        ),
        5 => (instrument(), phase())
            .prop_map(|(instrument, phase)| Command::SetTradingPhase { instrument, phase }),
        1 => (instrument(), price())
            .prop_map(|(i, p)| Command::SetReferencePrice { instrument: i, price: Price(p) }),
        2 => (instrument(), limits())
            .prop_map(|(instrument, limits)| Command::AmendInstrument { instrument, limits }),
        3 => (member(), asset(), amount(), reference()).prop_map(
            |(member, asset, amount, reference)| Command::Deposit { member, asset, amount, reference }
        ),
        2 => (member(), asset(), amount(), reference()).prop_map(
            |(member, asset, amount, reference)| Command::RequestWithdrawal {
                member, asset, amount, reference,
                destination: if amount.0 % 7 == 0 { Text::EMPTY } else { text("bank") },
            }
        ),
        3 => (17u64..26, any::<bool>()).prop_map(|(n, done)| if done {
            Command::CompleteWithdrawal { transfer: TransferId(n) }
        } else {
            Command::CancelWithdrawal { transfer: TransferId(n) }
        }),
        1 => (member(), member(), asset(), amount(), reference()).prop_map(
            |(from, to, asset, amount, reference)| Command::Transfer {
                from, to, asset, amount, reference,
            }
        ),
        1 => (member(), select(vec![0u32, 0, 2, 5]), select(vec![0u32, 0, 1, 2]), 0u32..6).prop_map(|(member, open, rate, burst)| {
            Command::SetMemberLimits {
                member,
                limits: MemberLimits {
                    max_open_orders: open,
                    message_rate: rate * 100_000_000,
                    message_burst: burst,
                },
            }
        }),
        1 => (member(), instrument(), prop_oneof![Just(0u64), 5u64..40], prop_oneof![Just(0), 500i128..9_000])
            .prop_map(|(member, instrument, size, notional)| Command::SetOrderLimits {
                member,
                instrument,
                limits: OrderLimits { max_size: Quantity(size), max_notional: Amount(notional) },
            }),
        1 => (prop::option::of(member()), prop::bool::weighted(0.15)).prop_map(|(member, engage)| {
            if engage {
                Command::EngageKillSwitch { member }
            } else {
                Command::ReleaseKillSwitch { member }
            }
        }),
        1 => select(vec![1u16, 2, 2, 3]).prop_map(|version| Command::ActivateLogic { version }),
        2 => Just(Command::Tick),
        2 => everopen_wire::strategies::command(),
    ]
}

prop_compose! {
    pub fn step()(
        command in command(), pick in any::<u64>(), elapsed in prop_oneof![Just(0u64), 1u64..40],
    ) -> Step {
        Step { command, pick, elapsed }
    }
}

/// A market of three instruments: plain; with fees and 18 decimals; with rebates and tiers.
pub fn setting() -> Desk {
    let mut desk = Desk::empty();
    for (code, decimals) in [("USD", 2), ("BTC", 8), ("WEI", 18), ("EUR", 0)] {
        desk.ok(Command::AddAsset {
            code: text(code),
            decimals,
        });
    }
    for (schedule, steps) in [
        &[(0i128, 0, 0)][..],
        &[(0, 1_500, 2_500), (5_000, 700, 1_300)],
        &[(0, -400_000, 500_000), (10_000, -400_001, 400_003)],
    ]
    .into_iter()
    .enumerate()
    {
        let tiers = super::tiers(steps);
        desk.ok(Command::SetFeeSchedule {
            schedule: FeeScheduleId(schedule as u8),
            tiers,
        });
    }
    for (base, quote, price_decimals, size_decimals, fee) in
        [(1, 0, 1, 1, 1), (1, 2, 0, 8, 2), (0, 3, 0, 0, 0)]
    {
        let limits = InstrumentLimits {
            fee_schedule: FeeScheduleId(fee),
            ..super::free_limits()
        };
        let limits = InstrumentLimits {
            max_size: Quantity::MAX,
            ..limits
        };
        let instrument = Instrument {
            base: AssetId(base),
            quote: AssetId(quote),
            price_decimals,
            size_decimals,
            limits,
        };
        desk.ok(Command::AddInstrument { instrument });
    }
    for instrument in 0..INSTRUMENTS {
        desk.ok(Command::SetTradingPhase {
            instrument: InstrumentId(instrument),
            phase: TradingPhase::Online,
        });
    }
    for member in 0..MEMBERS {
        desk.ok(Command::AddMember {
            code: text(&format!("m{member}")),
        });
        for (asset, amount) in [
            (0, 60_000),
            (1, 20_000_000_000),
            (2, 30_000 * 10i128.pow(18)),
            (3, 60_000),
        ] {
            desk.ok(Command::Deposit {
                member: MemberId(member),
                asset: AssetId(asset),
                amount: Amount(amount),
                reference: Text::EMPTY,
            });
        }
    }
    desk
}
