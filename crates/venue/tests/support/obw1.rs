//! The whole venue behind OBW1: members, money, fees and limits around the workload's orders.
//!
//! The workload knows no members. Buyers and sellers are different ones here, so that every order
//! is checked for self-trades and none is one.

use everopen_domain::*;
use everopen_orderflow::obw1::{Kind, Record, Totals};
use everopen_venue::Venue;

/// A venue, and what maps the workload's orders to its own.
pub struct Driver {
    pub venue: Venue,
    /// The venue's order of each order of the workload.
    orders: Vec<OrderId>,
    pub events: Vec<Event>,
    totals: Totals,
    time: u64,
    members_per_side: u32,
}

fn text<const N: usize>(text: &str) -> Text<N> {
    text.parse().expect("a short printable text")
}

impl Driver {
    /// A venue of so many instruments with funded members, ready for the workload's orders.
    pub fn new(symbols: u32, orders: u64, members_per_side: u32) -> Self {
        let mut driver = Self {
            venue: Venue::new(),
            orders: vec![OrderId::default(); orders as usize + 1],
            events: Vec::with_capacity(4096),
            totals: Totals::default(),
            time: 1_700_000_000_000_000_000,
            members_per_side,
        };
        driver.administer(Command::AddAsset {
            code: text("USD"),
            decimals: 8,
        });
        let mut tiers = FeeTiers {
            len: 2,
            ..FeeTiers::default()
        };
        tiers.tiers[0] = FeeTier {
            min_volume: Amount::ZERO,
            maker: Rate(400),
            taker: Rate(600),
        };
        tiers.tiers[1] = FeeTier {
            min_volume: Amount(1 << 100),
            maker: Rate(300),
            taker: Rate(500),
        };
        driver.administer(Command::SetFeeSchedule {
            schedule: FeeScheduleId(0),
            tiers,
        });
        for symbol in 0..symbols {
            driver.administer(Command::AddAsset {
                code: text(&format!("A{symbol}")),
                decimals: 8,
            });
            let instrument = Instrument {
                base: AssetId(symbol + 1),
                quote: AssetId(0),
                price_decimals: 2,
                size_decimals: 4,
                limits: InstrumentLimits {
                    tick: Price(1),
                    lot: Quantity(1),
                    min_size: Quantity(1),
                    max_size: Quantity(1_000_000),
                    min_notional: Amount(1),
                    max_notional: Amount(1 << 90),
                    price_band: Rate(500_000),
                    fee_schedule: FeeScheduleId(0),
                    allow_self_trade: false,
                },
            };
            driver.administer(Command::AddInstrument { instrument });
            let instrument = InstrumentId(symbol);
            driver.administer(Command::SetReferencePrice {
                instrument,
                price: Price(100_000),
            });
            let phase = TradingPhase::Online;
            driver.administer(Command::SetTradingPhase { instrument, phase });
        }
        for number in 0..members_per_side * 2 {
            driver.administer(Command::AddMember {
                code: text(&format!("M{number}")),
            });
            let member = MemberId(number);
            let limits = MemberLimits {
                max_open_orders: 1_000_000,
                message_rate: 2_000_000_000,
                message_burst: 1_000_000,
            };
            driver.administer(Command::SetMemberLimits { member, limits });
            for asset in 0..=symbols {
                driver.administer(Command::Deposit {
                    member,
                    asset: AssetId(asset),
                    amount: Amount(1 << 100),
                    reference: Text::EMPTY,
                });
            }
        }
        driver.totals = Totals::default();
        driver
    }

    fn administer(&mut self, command: Command) {
        self.events.clear();
        self.venue
            .apply(Timestamp(self.time), &command, &mut self.events);
        let refused = self
            .events
            .iter()
            .any(|e| matches!(e, Event::CommandRejected { .. }));
        assert!(!refused, "{command:?}: {:?}", self.events);
    }

    /// The member of one of the workload's orders.
    fn member(&self, record: &Record) -> MemberId {
        MemberId((record.id as u32 % self.members_per_side) << 1 | record.side as u32)
    }

    fn command(&self, record: &Record) -> Command {
        let member = self.member(record);
        match record.kind {
            Kind::New | Kind::Marketable => Command::PlaceOrder {
                member,
                order: NewOrder {
                    instrument: InstrumentId(u32::from(record.symbol)),
                    side: record.side,
                    price: Price(record.price.into()),
                    size: Quantity(record.quantity.into()),
                    client_order_id: client_order_id(record.id),
                    ..NewOrder::default()
                },
            },
            Kind::Cancel => Command::CancelOrder {
                member,
                target: OrderTarget::Order(self.orders[record.id as usize]),
            },
            Kind::Replace => Command::AmendOrder {
                member,
                amendment: AmendOrder {
                    target: OrderTarget::Order(self.orders[record.id as usize]),
                    price: Price(record.price.into()),
                    size: Quantity::ZERO,
                },
            },
        }
    }

    #[inline]
    pub fn drive(&mut self, record: &Record) {
        self.events.clear();
        self.time += 1_000;
        let command = self.command(record);
        self.venue
            .apply(Timestamp(self.time), &command, &mut self.events);
        for event in &self.events {
            match event {
                Event::OrderAccepted { order, .. } => self.orders[record.id as usize] = *order,
                Event::Traded { quantity, .. } => {
                    self.totals.trades += 1;
                    self.totals.volume += quantity.0;
                }
                _ => {}
            }
        }
    }

    pub fn totals(&self) -> Totals {
        self.totals
    }
}

/// Sixteen hexadecimal digits.
fn client_order_id(id: u64) -> ClientOrderId {
    // Each of eight nibbles in a byte of its own, as in SWAR: then '0' to '9', 'a' to 'f'.
    let digits = |half: u32| {
        let mut x = u64::from(half);
        x = (x | (x << 16)) & 0x0000_ffff_0000_ffff;
        x = (x | (x << 8)) & 0x00ff_00ff_00ff_00ff;
        x = (x | (x << 4)) & 0x0f0f_0f0f_0f0f_0f0f;
        let letters = ((x + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
        (x + 0x3030_3030_3030_3030 + letters * 0x27).to_be_bytes()
    };
    let mut text = [0; 16];
    text[..8].copy_from_slice(&digits((id >> 32) as u32));
    text[8..].copy_from_slice(&digits(id as u32));
    Text::new(&text).expect("digits are printable")
}
