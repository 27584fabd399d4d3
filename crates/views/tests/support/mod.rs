//! A small venue under random commands: the source of event sequences for tests. The same seed
//! gives the same sequence.

use everopen_domain::{
    AmendOrder, Amount, AssetId, CancelReason, ClientOrderId, Command, Event, FeeScheduleId,
    FeeTier, FeeTiers, Instrument, InstrumentId, InstrumentLimits, LogIndex, MemberId, NewOrder,
    OrderId, OrderTarget, OrderType, Price, Quantity, Rate, SelfTradePrevention, Side, Stop,
    StopDirection, TimeInForce, Timestamp, TradingPhase, TransferId,
};
use everopen_venue::Venue;

/// Members of the venue.
pub const MEMBERS: u32 = 4;
/// Instruments of the venue.
pub const INSTRUMENTS: u32 = 2;
/// Whole units of each asset that each member begins with.
const DEPOSIT: i128 = 1_000_000;

/// Splitmix64.
pub struct Rng(pub u64);

impl Rng {
    /// The next number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// One entry of the log: its place, its time and what it caused.
#[derive(Clone)]
pub struct Entry {
    /// Its place.
    pub index: LogIndex,
    /// Its time.
    pub time: Timestamp,
    /// What it caused.
    pub events: Vec<Event>,
}

/// A venue and the random commands that go into it.
pub struct Flow {
    /// The venue.
    pub venue: Venue,
    rng: Rng,
    index: u64,
    time: u64,
    open: Vec<(MemberId, OrderId)>,
    withdrawals: Vec<TransferId>,
    client_ids: u64,
    /// The longest time between two commands, in nanoseconds.
    pub step_max: u64,
}

const MID: [u64; 2] = [5_000_000, 300_000];

impl Flow {
    /// A venue with two assets against a third, members with money, and markets online; and the
    /// entries that made it so.
    pub fn new(seed: u64) -> (Self, Vec<Entry>) {
        let mut flow = Self {
            venue: Venue::new(),
            rng: Rng(seed),
            index: 0,
            time: 1_795_000_000 * Timestamp::NANOS_PER_SECOND,
            open: Vec::new(),
            withdrawals: Vec::new(),
            client_ids: 0,
            step_max: 20 * Timestamp::NANOS_PER_SECOND,
        };
        let mut commands = Vec::new();
        for (code, decimals) in [("USD", 9), ("BTC", 8), ("ETH", 10)] {
            let code = code.parse().unwrap();
            commands.push(Command::AddAsset { code, decimals });
        }
        let mut tiers = FeeTiers {
            volume_asset: AssetId(0),
            len: 2,
            ..FeeTiers::default()
        };
        tiers.tiers[0] = FeeTier {
            min_volume: Amount(0),
            maker: Rate(1_000),
            taker: Rate(2_500),
        };
        tiers.tiers[1] = FeeTier {
            min_volume: Amount(2_000 * 10_i128.pow(9)),
            maker: Rate(-100),
            taker: Rate(2_000),
        };
        let schedule = FeeScheduleId(0);
        commands.push(Command::SetFeeSchedule { schedule, tiers });
        for base in 1..=INSTRUMENTS {
            commands.push(Command::AddInstrument {
                instrument: Instrument {
                    base: AssetId(base),
                    quote: AssetId(0),
                    price_decimals: 2,
                    size_decimals: 6,
                    limits: InstrumentLimits {
                        tick: Price(1),
                        lot: Quantity(10),
                        min_size: Quantity(10),
                        max_size: Quantity(1_000_000_000),
                        price_band: Rate(100_000),
                        fee_schedule: schedule,
                        allow_self_trade: true,
                        ..InstrumentLimits::default()
                    },
                },
            });
        }
        for member in 0..MEMBERS {
            let code = format!("member-{member}").parse().unwrap();
            commands.push(Command::AddMember { code });
            for (asset, decimals) in [(0, 9), (1, 8), (2, 10)] {
                commands.push(Command::Deposit {
                    member: MemberId(member),
                    asset: AssetId(asset),
                    amount: Amount(DEPOSIT * 10_i128.pow(decimals)),
                    reference: Default::default(),
                });
            }
        }
        for instrument in 0..INSTRUMENTS {
            let id = InstrumentId(instrument);
            commands.push(Command::SetReferencePrice {
                instrument: id,
                price: Price(MID[instrument as usize]),
            });
            commands.push(Command::SetTradingPhase {
                instrument: id,
                phase: TradingPhase::Online,
            });
        }
        let entries = commands.iter().map(|c| flow.apply(c)).collect();
        (flow, entries)
    }

    /// Applies a command.
    pub fn apply(&mut self, command: &Command) -> Entry {
        self.index += 1;
        self.time += self.rng.below(self.step_max);
        let mut events = Vec::new();
        self.venue.apply(Timestamp(self.time), command, &mut events);
        for event in &events {
            match *event {
                Event::OrderAccepted { order, member, .. } => self.open.push((member, order)),
                Event::OrderDone { order, .. } => self.open.retain(|(_, known)| *known != order),
                Event::WithdrawalRequested { transfer, .. } => self.withdrawals.push(transfer),
                _ => {}
            }
        }
        Entry {
            index: LogIndex(self.index),
            time: Timestamp(self.time),
            events,
        }
    }

    /// Applies a random command.
    pub fn step(&mut self) -> Entry {
        let command = self.command();
        self.apply(&command)
    }

    fn command(&mut self) -> Command {
        let member = MemberId(self.rng.below(u64::from(MEMBERS)) as u32);
        let instrument = InstrumentId(self.rng.below(u64::from(INSTRUMENTS)) as u32);
        match self.rng.below(100) {
            0..=52 => Command::PlaceOrder {
                member,
                order: self.order(instrument),
            },
            53..=67 => {
                let (member, order) = self.some_order();
                Command::CancelOrder {
                    member,
                    target: OrderTarget::Order(order),
                }
            }
            68..=77 => {
                let (member, order) = self.some_order();
                let price = match self.rng.below(3) {
                    0 => self.price(order.instrument),
                    _ => Price::ZERO,
                };
                Command::AmendOrder {
                    member,
                    amendment: AmendOrder {
                        target: OrderTarget::Order(order),
                        price,
                        size: self.size(),
                    },
                }
            }
            78..=82 => {
                let (member, order) = self.some_order();
                Command::ReplaceOrder {
                    member,
                    target: OrderTarget::Order(order),
                    order: self.order(order.instrument),
                }
            }
            83..=88 => self.money(member),
            89..=93 => self.phase(instrument),
            94 => Command::CancelOrders {
                member,
                instrument: Some(instrument),
                reason: CancelReason::Disconnected,
            },
            95 => Command::EngageKillSwitch {
                member: Some(member),
            },
            _ => Command::ReleaseKillSwitch {
                member: Some(member),
            },
        }
    }

    /// Often leads back to continuous trading.
    fn phase(&mut self, instrument: InstrumentId) -> Command {
        let phases = [
            TradingPhase::Online,
            TradingPhase::Auction,
            TradingPhase::Auction,
            TradingPhase::Auction,
            TradingPhase::PostOnly,
            TradingPhase::LimitOnly,
            TradingPhase::CancelOnly,
        ];
        let phase = match self.venue.phase(instrument) {
            Some(TradingPhase::Online) | Some(TradingPhase::Auction) => {
                phases[self.rng.below(phases.len() as u64) as usize]
            }
            _ => TradingPhase::Online,
        };
        Command::SetTradingPhase { instrument, phase }
    }

    fn money(&mut self, member: MemberId) -> Command {
        let asset = AssetId(self.rng.below(3) as u32);
        let amount = Amount(1 + i128::from(self.rng.below(1_000_000_000)));
        let reference = Default::default();
        match self.rng.below(5) {
            0 => Command::Deposit {
                member,
                asset,
                amount,
                reference,
            },
            1 => Command::RequestWithdrawal {
                member,
                asset,
                amount,
                reference,
                destination: "somewhere".parse().unwrap(),
            },
            2 => Command::Transfer {
                from: member,
                to: MemberId((member.0 + 1) % MEMBERS),
                asset,
                amount,
                reference,
            },
            kind => {
                let count = self.withdrawals.len() as u64;
                let transfer = match count {
                    0 => TransferId(1),
                    _ => {
                        let at = self.rng.below(count) as usize;
                        self.withdrawals.swap_remove(at)
                    }
                };
                match kind {
                    3 => Command::CompleteWithdrawal { transfer },
                    _ => Command::CancelWithdrawal { transfer },
                }
            }
        }
    }

    fn some_order(&mut self) -> (MemberId, OrderId) {
        match self.open.len() as u64 {
            0 => (MemberId(0), OrderId::default()),
            count => self.open[self.rng.below(count) as usize],
        }
    }

    fn price(&mut self, instrument: InstrumentId) -> Price {
        let mid = MID[instrument.0 as usize];
        Price(mid - 20 + self.rng.below(41))
    }

    fn size(&mut self) -> Quantity {
        Quantity(10 * (1 + self.rng.below(200)))
    }

    fn order(&mut self, instrument: InstrumentId) -> NewOrder {
        let side = match self.rng.below(2) {
            0 => Side::Buy,
            _ => Side::Sell,
        };
        let mut order = NewOrder {
            instrument,
            side,
            size: self.size(),
            ..NewOrder::default()
        };
        if self.rng.one_in(3) {
            self.client_ids += 1;
            let id = format!("client-{}", self.client_ids);
            order.client_order_id = ClientOrderId::new(id.as_bytes()).unwrap();
        }
        // Mostly what clients get that name none.
        order.self_trade_prevention = [
            SelfTradePrevention::DecreaseAndCancel,
            SelfTradePrevention::DecreaseAndCancel,
            SelfTradePrevention::DecreaseAndCancel,
            SelfTradePrevention::CancelOldest,
            SelfTradePrevention::CancelNewest,
            SelfTradePrevention::CancelBoth,
            SelfTradePrevention::Allow,
        ][self.rng.below(7) as usize];
        if self.rng.one_in(8) {
            order.order_type = OrderType::Market;
            order.time_in_force = TimeInForce::ImmediateOrCancel;
            if self.rng.one_in(2) {
                order.size = Quantity::ZERO;
                order.funds = Amount(1_000_000_000 + i128::from(self.rng.below(100_000_000_000)));
            }
        } else {
            order.price = self.price(instrument);
            match self.rng.below(10) {
                0 => order.time_in_force = TimeInForce::ImmediateOrCancel,
                1 => order.time_in_force = TimeInForce::FillOrKill,
                2 => {
                    order.time_in_force = TimeInForce::GoodTillTime;
                    order.expires_at =
                        Timestamp(self.time + 1 + self.rng.below(self.step_max * 20));
                }
                3 => order.post_only = true,
                4 | 5 => {
                    order.size = Quantity(order.size.0 * 10);
                    order.display_size = Quantity(10 * (1 + self.rng.below(order.size.0 / 20)));
                }
                _ => {}
            }
        }
        if self.rng.one_in(8) {
            order.stop = Some(Stop {
                direction: match self.rng.below(2) {
                    0 => StopDirection::Loss,
                    _ => StopDirection::Entry,
                },
                price: self.price(instrument),
            });
        }
        order
    }
}
