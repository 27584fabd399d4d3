//! What the clients want: money in, out and across, and orders of every kind.
//!
//! Each client has a member of its own whose money nobody else touches but by transfers; the members
//! that trade are everybody's.

use everopen_domain::{
    AmendOrder, Amount, AssetId, CancelReason, ClientOrderId, Command, Destination, Event,
    FeeScheduleId, FeeTier, FeeTiers, Instrument, InstrumentId, InstrumentLimits, MemberId,
    MemberLimits, NewOrder, OrderId, OrderTarget, OrderType, Price, Quantity, Rate, Reference,
    SelfTradePrevention, Side, Stop, StopDirection, Text, TimeInForce, Timestamp, TradingPhase,
    TransferId,
};

use crate::random::Random;

/// Members that trade; their ids follow those of the clients' own members.
const TRADERS: u64 = 4;
const ASSETS: u64 = 2;
const MARKET: InstrumentId = InstrumentId(0);
/// Ids that a client remembers.
const REMEMBERED: usize = 32;

/// What a client knows of what it did.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    orders: Vec<(MemberId, OrderId)>,
    withdrawals: Vec<TransferId>,
    made: u64,
}

fn text<const N: usize>(text: &str) -> Text<N> {
    text.parse().unwrap_or_default()
}

/// The commands that a new venue begins with, in groups.
pub(crate) fn genesis(clients: u64) -> Vec<Vec<Command>> {
    let mut assets: Vec<Command> = ["USD", "BTC"]
        .into_iter()
        .map(|code| Command::AddAsset {
            code: text(code),
            decimals: 4,
        })
        .collect();
    assets.push(Command::SetFeeSchedule {
        schedule: FeeScheduleId(0),
        tiers: fees(1_000, 2_500),
    });
    let limits = InstrumentLimits {
        tick: Price(1),
        lot: Quantity(1),
        min_size: Quantity(1),
        max_size: Quantity(100_000),
        price_band: Rate(200_000),
        ..InstrumentLimits::default()
    };
    let instrument = Instrument {
        base: AssetId(1),
        quote: AssetId(0),
        price_decimals: 2,
        size_decimals: 2,
        limits,
    };
    assets.push(Command::AddInstrument { instrument });
    assets.push(Command::SetTradingPhase {
        instrument: MARKET,
        phase: TradingPhase::Online,
    });
    let mut groups = vec![assets];
    for member in 0..clients + TRADERS {
        let mut group = vec![Command::AddMember {
            code: text(&format!("member-{member}")),
        }];
        for asset in (0..ASSETS).filter(|_| member >= clients) {
            group.push(Command::Deposit {
                member: MemberId(member as u32),
                asset: AssetId(asset as u32),
                amount: Amount(10_000_000_000),
                reference: Reference::EMPTY,
            });
        }
        groups.push(group);
    }
    groups
}

fn fees(maker: i32, taker: i32) -> FeeTiers {
    let mut tiers = FeeTiers {
        volume_asset: AssetId(0),
        len: 1,
        ..FeeTiers::default()
    };
    tiers.tiers[0] = FeeTier {
        min_volume: Amount::ZERO,
        maker: Rate(maker),
        taker: Rate(taker),
    };
    tiers
}

impl Memory {
    /// What a client does next. `now` is true time.
    pub fn next(&mut self, random: &mut Random, own: u64, clients: u64, now: u64) -> Vec<Command> {
        let count = if random.chance(200) {
            random.between(2, 4)
        } else {
            1
        };
        (0..count)
            .map(|_| match random.below(100) {
                0..40 => self.money(random, own, clients),
                40..97 => self.trade(random, clients, now),
                _ => administer(random, clients),
            })
            .collect()
    }

    /// The events of an answer.
    pub fn learn(&mut self, events: &[Event]) {
        for event in events {
            match event {
                Event::OrderAccepted { order, member, .. } => {
                    self.orders.push((*member, *order));
                    if self.orders.len() > REMEMBERED {
                        self.orders.remove(0);
                    }
                }
                Event::WithdrawalRequested { transfer, .. } => self.withdrawals.push(*transfer),
                _ => {}
            }
        }
    }

    fn money(&mut self, random: &mut Random, own: u64, clients: u64) -> Command {
        self.made += 1;
        let member = MemberId(own as u32);
        let asset = AssetId(random.below(ASSETS) as u32);
        let amount = Amount(i128::from(random.spread(1, 1_000_000)));
        let reference = match random.below(3) {
            0 => text(&format!("{own}-{}", self.made)),
            // Used before, perhaps.
            1 => text(&format!("{own}-{}", random.below(self.made + 1))),
            _ => Reference::EMPTY,
        };
        let settles = !self.withdrawals.is_empty() && random.chance(300);
        if settles {
            let at = random.below(self.withdrawals.len() as u64) as usize;
            let transfer = self.withdrawals.swap_remove(at);
            return if random.chance(500) {
                Command::CompleteWithdrawal { transfer }
            } else {
                Command::CancelWithdrawal { transfer }
            };
        }
        match random.below(10) {
            0..4 => Command::Deposit {
                member,
                asset,
                amount,
                reference,
            },
            4..6 => Command::RequestWithdrawal {
                member,
                asset,
                amount,
                reference,
                destination: text::<104>("somewhere") as Destination,
            },
            _ => Command::Transfer {
                from: member,
                to: MemberId(random.below(clients + 1) as u32),
                asset,
                amount,
                reference,
            },
        }
    }

    fn trade(&mut self, random: &mut Random, clients: u64, now: u64) -> Command {
        let trader = MemberId((clients + random.below(TRADERS)) as u32);
        let known = random.pick(&self.orders);
        let (member, target) = match known {
            Some((member, order)) => (member, OrderTarget::Order(order)),
            None => (trader, OrderTarget::Order(OrderId::default())),
        };
        match random.below(10) {
            0..6 => Command::PlaceOrder {
                member: trader,
                order: self.order(random, now),
            },
            6 => Command::AmendOrder {
                member,
                amendment: AmendOrder {
                    target,
                    price: Price(random.pick(&[0, 9_990, 10_010]).unwrap_or(0)),
                    size: Quantity(random.below(300)),
                },
            },
            7 => Command::ReplaceOrder {
                member,
                target,
                order: self.order(random, now),
            },
            8 => Command::CancelOrder { member, target },
            _ => Command::CancelOrders {
                member: trader,
                instrument: None,
                reason: CancelReason::Requested,
            },
        }
    }

    fn order(&mut self, random: &mut Random, now: u64) -> NewOrder {
        self.made += 1;
        let side = random.pick(&[Side::Buy, Side::Sell]).unwrap_or_default();
        let market = random.chance(150);
        let expires = !market && random.chance(200);
        let price = Price(random.between(9_900, 10_100));
        let stop = random.chance(80).then_some(Stop {
            direction: random
                .pick(&[StopDirection::Loss, StopDirection::Entry])
                .unwrap_or_default(),
            price,
        });
        let after = random.spread(10_000, 5_000_000);
        let size = Quantity(random.between(1, 500));
        NewOrder {
            instrument: MARKET,
            side,
            order_type: if market {
                OrderType::Market
            } else {
                OrderType::Limit
            },
            price: if market { Price::ZERO } else { price },
            size,
            time_in_force: match random.below(4) {
                _ if market => TimeInForce::ImmediateOrCancel,
                _ if expires => TimeInForce::GoodTillTime,
                0 => TimeInForce::ImmediateOrCancel,
                1 => TimeInForce::FillOrKill,
                _ => TimeInForce::GoodTillCanceled,
            },
            expires_at: if expires {
                crate::process::wall(now + after)
            } else {
                Timestamp::ZERO
            },
            display_size: if !market && random.chance(100) {
                Quantity(size.0.div_ceil(4))
            } else {
                Quantity::ZERO
            },
            stop,
            self_trade_prevention: random
                .pick(&[
                    SelfTradePrevention::DecreaseAndCancel,
                    SelfTradePrevention::CancelOldest,
                    SelfTradePrevention::CancelNewest,
                    SelfTradePrevention::CancelBoth,
                ])
                .unwrap_or_default(),
            client_order_id: if random.chance(300) {
                text(&format!("order-{}", self.made))
            } else {
                ClientOrderId::EMPTY
            },
            ..NewOrder::default()
        }
    }
}

fn administer(random: &mut Random, clients: u64) -> Command {
    let member = MemberId(random.below(clients + TRADERS) as u32);
    let whom = random.chance(800).then_some(member);
    match random.below(12) {
        0..2 => Command::SetTradingPhase {
            instrument: MARKET,
            phase: random
                .pick(&[
                    TradingPhase::Auction,
                    TradingPhase::PostOnly,
                    TradingPhase::LimitOnly,
                    TradingPhase::CancelOnly,
                    TradingPhase::Halted,
                ])
                .unwrap_or_default(),
        },
        2..6 => Command::SetTradingPhase {
            instrument: MARKET,
            phase: TradingPhase::Online,
        },
        6 => Command::EngageKillSwitch { member: whom },
        7..10 => Command::ReleaseKillSwitch { member: whom },
        10 => Command::SetMemberLimits {
            member,
            limits: MemberLimits {
                max_open_orders: random.between(5, 50) as u32,
                message_rate: random.between(0, 100) as u32,
                message_burst: 20,
            },
        },
        _ => Command::SetFeeSchedule {
            schedule: FeeScheduleId(0),
            tiers: fees(
                random.below(1_000) as i32 - 500,
                random.between(500, 3_000) as i32,
            ),
        },
    }
}
