//! Commands made from bytes, about what the venue of the run has.

use super::{Run, START};
use crate::tape::Tape;
use everopen_domain::{
    AmendOrder, Amount, AssetId, CancelReason, Command, InstrumentId, MemberId, MemberLimits,
    NewOrder, OrderId, OrderLimits, OrderTarget, OrderType, Price, Quantity, SelfTradePrevention,
    Side, Stop, StopDirection, TimeInForce, Timestamp, TradingPhase, TransferId,
};
use everopen_wire::command;

/// The next command: mostly what a member would send, now and then anything.
pub(super) fn any_command(tape: &mut Tape<'_>, run: &Run) -> Command {
    let member = member(tape, run);
    let instrument = instrument(tape, run);
    match tape.below(128) {
        0..=71 => Command::PlaceOrder {
            member,
            order: order(tape, instrument),
        },
        72..=83 => Command::CancelOrder {
            member,
            target: target(tape, run),
        },
        84..=95 => Command::AmendOrder {
            member,
            amendment: AmendOrder {
                target: target(tape, run),
                price: price(tape),
                size: quantity(tape),
            },
        },
        96..=101 => Command::ReplaceOrder {
            member,
            target: target(tape, run),
            order: order(tape, instrument),
        },
        102 => Command::CancelOrders {
            member,
            instrument: tape.once_in(2).then_some(instrument),
            reason: tape.pick(&[CancelReason::Requested, CancelReason::Disconnected]),
        },
        103..=107 => Command::SetTradingPhase {
            instrument,
            phase: tape.pick(&[
                TradingPhase::Online,
                TradingPhase::Online,
                TradingPhase::Online,
                TradingPhase::Auction,
                TradingPhase::Auction,
                TradingPhase::PostOnly,
                TradingPhase::LimitOnly,
                TradingPhase::CancelOnly,
                TradingPhase::Halted,
            ]),
        },
        108..=110 => Command::Deposit {
            member,
            asset: asset(tape, run),
            amount: amount(tape),
            reference: text(tape).parse().unwrap_or_default(),
        },
        111..=113 => Command::RequestWithdrawal {
            member,
            asset: asset(tape, run),
            amount: amount(tape),
            reference: text(tape).parse().unwrap_or_default(),
            destination: text(tape).parse().unwrap_or_default(),
        },
        114 | 115 => Command::CompleteWithdrawal {
            transfer: transfer(tape, run),
        },
        116 | 117 => Command::CancelWithdrawal {
            transfer: transfer(tape, run),
        },
        118..=120 => Command::Transfer {
            from: member,
            to: self::member(tape, run),
            asset: asset(tape, run),
            amount: amount(tape),
            reference: text(tape).parse().unwrap_or_default(),
        },
        121 | 122 => match tape.below(9) {
            8 => Command::ActivateLogic {
                version: 1 + tape.below(3) as u16,
            },
            0 => Command::EngageKillSwitch {
                member: Some(member),
            },
            1..=3 => Command::ReleaseKillSwitch {
                member: Some(member),
            },
            4 => Command::EngageKillSwitch { member: None },
            _ => Command::ReleaseKillSwitch { member: None },
        },
        123 => Command::SetReferencePrice {
            instrument,
            price: price(tape),
        },
        124 => match tape.below(2) {
            0 => Command::SetMemberLimits {
                member,
                limits: MemberLimits {
                    max_open_orders: u32::from(tape.byte()),
                    message_rate: u32::from(tape.byte()),
                    message_burst: u32::from(tape.byte()),
                },
            },
            _ => Command::SetOrderLimits {
                member,
                instrument,
                limits: OrderLimits {
                    max_size: quantity(tape),
                    max_notional: amount(tape),
                },
            },
        },
        125 | 126 => Command::Tick,
        // Whatever wire can carry the venue must survive, administration and nonsense included.
        _ => {
            let bytes: Vec<u8> = (0..64).map(|_| tape.byte()).collect();
            (1..=bytes.len())
                .find_map(|end| command::decode(&bytes[..end]).ok())
                .unwrap_or(Command::Tick)
        }
    }
}

fn member(tape: &mut Tape<'_>, run: &Run) -> MemberId {
    if tape.once_in(40) {
        MemberId(tape.word() as _)
    } else {
        tape.pick(&run.members)
    }
}

fn instrument(tape: &mut Tape<'_>, run: &Run) -> InstrumentId {
    if tape.once_in(40) {
        InstrumentId(tape.word() as _)
    } else {
        tape.pick(&run.instruments)
    }
}

fn asset(tape: &mut Tape<'_>, run: &Run) -> AssetId {
    if tape.once_in(40) {
        AssetId(tape.word() as _)
    } else {
        tape.pick(&run.assets)
    }
}

fn transfer(tape: &mut Tape<'_>, run: &Run) -> TransferId {
    if run.events.transfers.is_empty() || tape.once_in(10) {
        TransferId(tape.word() as _)
    } else {
        tape.pick(&run.events.transfers)
    }
}

fn target(tape: &mut Tape<'_>, run: &Run) -> OrderTarget {
    if tape.once_in(4) {
        OrderTarget::Client(text(tape).parse().unwrap_or_default())
    } else if run.events.orders.is_empty() || tape.once_in(20) {
        let sequence = tape.word() % OrderId::SEQUENCE_END;
        OrderTarget::Order(OrderId {
            sequence,
            instrument: InstrumentId(0),
            slot: u32::from(tape.byte()),
        })
    } else {
        // The latest orders are those that are likely to be open.
        let last = run.events.orders.len().min(16);
        OrderTarget::Order(
            run.events.orders[run.events.orders.len() - 1 - usize::from(tape.byte()) % last],
        )
    }
}

/// A few texts only, so that they collide.
fn text(tape: &mut Tape<'_>) -> &'static str {
    tape.pick(&[
        "",
        "a",
        "b",
        "c",
        "d",
        "a longer text of thirty-six bytes...",
    ])
}

fn price(tape: &mut Tape<'_>) -> Price {
    Price(match tape.below(16) {
        0..=12 => 900 + u64::from(tape.below(40)) * 5,
        13 => 0,
        14 => u64::from(tape.byte()) * 7,
        _ => tape.word(),
    })
}

fn quantity(tape: &mut Tape<'_>) -> Quantity {
    Quantity(match tape.below(16) {
        0..=12 => u64::from(tape.below(20)) * 10,
        13 => u64::from(tape.byte()),
        14 => u64::from(tape.byte()) << 32,
        _ => tape.word(),
    })
}

fn amount(tape: &mut Tape<'_>) -> Amount {
    Amount(match tape.below(16) {
        0..=10 => i128::from(tape.word() % 1_000_000_000_000),
        11 => 0,
        12 => -1,
        13 => i128::MAX,
        14 => i128::MIN,
        _ => i128::from(tape.word()) << 64 | i128::from(tape.word()),
    })
}

/// An order that the rules of the prelude allow, most of the time; else one whose fields are unrelated.
fn order(tape: &mut Tape<'_>, instrument: InstrumentId) -> NewOrder {
    if tape.once_in(8) {
        return wild_order(tape, instrument);
    }
    let side = tape.pick(&[Side::Buy, Side::Sell]);
    // Around the reference of 1000, where buys and sells meet.
    let near = |tape: &mut Tape<'_>| Price(970 + u64::from(tape.below(13)) * 5);
    let size = Quantity(10 + u64::from(tape.below(30)) * 10);
    let mut order = NewOrder {
        instrument,
        side,
        price: near(tape),
        size,
        self_trade_prevention: self_trade_prevention(tape, 4),
        client_order_id: if tape.once_in(4) {
            text(tape).parse().unwrap_or_default()
        } else {
            Default::default()
        },
        ..NewOrder::default()
    };
    match tape.below(12) {
        0..=4 => {}
        5 => order.time_in_force = TimeInForce::ImmediateOrCancel,
        6 => order.time_in_force = TimeInForce::FillOrKill,
        7 => {
            order.time_in_force = TimeInForce::GoodTillTime;
            order.expires_at = Timestamp(u64::MAX / 2);
        }
        8 => order.post_only = true,
        9 => {
            order.display_size = Quantity(10);
            order.size = Quantity(size.0 + 50);
        }
        10 => {
            order.order_type = OrderType::Market;
            order.price = Price::ZERO;
            if tape.once_in(2) {
                order.funds = Amount(i128::from(tape.word() % (1 << 40)));
                order.size = Quantity::ZERO;
            }
        }
        _ => {
            let direction = tape.pick(&[StopDirection::Loss, StopDirection::Entry]);
            order.stop = Some(Stop {
                direction,
                price: near(tape),
            });
        }
    }
    order
}

fn self_trade_prevention(tape: &mut Tape<'_>, kinds: usize) -> SelfTradePrevention {
    tape.pick(
        &[
            SelfTradePrevention::DecreaseAndCancel,
            SelfTradePrevention::CancelOldest,
            SelfTradePrevention::CancelNewest,
            SelfTradePrevention::CancelBoth,
            SelfTradePrevention::Allow,
        ][..kinds],
    )
}

fn wild_order(tape: &mut Tape<'_>, instrument: InstrumentId) -> NewOrder {
    let side = tape.pick(&[Side::Buy, Side::Sell]);
    let market = tape.once_in(5);
    let by_funds = market && tape.once_in(2);
    NewOrder {
        instrument,
        side,
        order_type: if market {
            OrderType::Market
        } else {
            OrderType::Limit
        },
        price: if market && !tape.once_in(20) {
            Price::ZERO
        } else {
            price(tape)
        },
        size: if by_funds && !tape.once_in(3) {
            Quantity::ZERO
        } else {
            quantity(tape)
        },
        funds: if by_funds || tape.once_in(30) {
            amount(tape)
        } else {
            Amount::ZERO
        },
        time_in_force: tape.pick(&[
            TimeInForce::GoodTillCanceled,
            TimeInForce::GoodTillCanceled,
            TimeInForce::ImmediateOrCancel,
            TimeInForce::FillOrKill,
            TimeInForce::GoodTillTime,
        ]),
        expires_at: if tape.once_in(5) {
            Timestamp(START.0 + u64::from(tape.byte()) * 10_000_000_000)
        } else {
            Timestamp::ZERO
        },
        post_only: tape.once_in(8),
        display_size: if tape.once_in(6) {
            quantity(tape)
        } else {
            Quantity::ZERO
        },
        stop: tape.once_in(6).then(|| Stop {
            direction: tape.pick(&[StopDirection::Loss, StopDirection::Entry]),
            price: price(tape),
        }),
        self_trade_prevention: self_trade_prevention(tape, 5),
        client_order_id: text(tape).parse().unwrap_or_default(),
    }
}
