//! A venue at a desk: short names for commands, the events of the last one, and the audit after
//! every one of them.
#![allow(dead_code, reason = "each test file uses some of it")]

use everopen_domain::snapshot::AccountOwner;
use everopen_domain::*;
use everopen_venue::Venue;

pub const USD: AssetId = AssetId(0);
pub const BTC: AssetId = AssetId(1);
pub const XBT: InstrumentId = InstrumentId(0);

pub const ANN: MemberId = MemberId(0);
pub const BOB: MemberId = MemberId(1);
pub const CAT: MemberId = MemberId(2);

/// A venue under audit: after each command its invariants and the auditor's balances are checked.
#[derive(Clone)]
pub struct Desk {
    pub venue: Venue,
    pub now: u64,
    pub events: Vec<Event>,
    pub log: Vec<(Timestamp, Command)>,
    pub auditor: super::support::audit::Auditor,
}

pub fn text<const N: usize>(text: &str) -> Text<N> {
    text.parse().expect("a short printable text")
}

/// Rules that bind nothing; fees none.
pub fn free_limits() -> InstrumentLimits {
    InstrumentLimits {
        tick: Price(1),
        lot: Quantity(1),
        min_size: Quantity(1),
        max_size: Quantity(1_000_000),
        ..InstrumentLimits::default()
    }
}

pub fn tiers(steps: &[(i128, i32, i32)]) -> FeeTiers {
    let mut tiers = FeeTiers {
        volume_asset: USD,
        len: steps.len() as u8,
        ..FeeTiers::default()
    };
    for (at, (min_volume, maker, taker)) in steps.iter().enumerate() {
        tiers.tiers[at] = FeeTier {
            min_volume: Amount(*min_volume),
            maker: Rate(*maker),
            taker: Rate(*taker),
        };
    }
    tiers
}

impl Desk {
    /// Three members with 1,000,000 of each asset, one instrument online. One unit of price × size
    /// is one quote atom, one unit of size one base atom.
    pub fn new(limits: InstrumentLimits, fees: &[(i128, i32, i32)]) -> Self {
        Self::with_decimals(limits, fees, 0)
    }

    /// The same with `decimals` for both assets, none for price and size.
    pub fn with_decimals(
        limits: InstrumentLimits,
        fees: &[(i128, i32, i32)],
        decimals: u8,
    ) -> Self {
        let mut desk = Self::empty();
        for code in ["USD", "BTC"] {
            desk.ok(Command::AddAsset {
                code: text(code),
                decimals,
            });
        }
        desk.ok(Command::SetFeeSchedule {
            schedule: FeeScheduleId(0),
            tiers: tiers(fees),
        });
        let instrument = Instrument {
            base: BTC,
            quote: USD,
            limits,
            ..Instrument::default()
        };
        desk.ok(Command::AddInstrument { instrument });
        desk.phase(TradingPhase::Online);
        for (member, code) in [(ANN, "ann"), (BOB, "bob"), (CAT, "cat")] {
            desk.ok(Command::AddMember { code: text(code) });
            for asset in [USD, BTC] {
                let amount = Amount(1_000_000 * 10i128.pow(decimals.into()));
                desk.ok(Command::Deposit {
                    member,
                    asset,
                    amount,
                    reference: Text::EMPTY,
                });
            }
        }
        desk
    }

    pub fn plain() -> Self {
        Self::new(free_limits(), &[(0, 0, 0)])
    }

    pub fn empty() -> Self {
        Self {
            venue: Venue::new(),
            now: 1_000,
            events: Vec::new(),
            log: Vec::new(),
            auditor: audit::Auditor::default(),
        }
    }

    /// Applies a command one nanosecond later, audits, and returns its events but for balances.
    pub fn run(&mut self, command: Command) -> Vec<Event> {
        self.now += 1;
        self.run_at(self.now, command)
    }

    pub fn run_at(&mut self, now: u64, command: Command) -> Vec<Event> {
        self.now = now;
        self.events.clear();
        self.venue.apply(Timestamp(now), &command, &mut self.events);
        self.log.push((Timestamp(now), command));
        self.venue.check();
        self.auditor.audit(&command, &self.events, &self.venue);
        self.events
            .iter()
            .filter(|event| !matches!(event, Event::BalanceChanged { .. }))
            .copied()
            .collect()
    }

    /// Applies a command that must not be refused.
    pub fn ok(&mut self, command: Command) -> Vec<Event> {
        let events = self.run(command);
        let refused = refusal(&events);
        assert_eq!(refused, None, "{command:?}");
        events
    }

    /// Applies a command that must be refused, and says why; it must change nothing but time.
    pub fn refused(&mut self, command: Command) -> RejectReason {
        let mut before = self.venue.snapshot();
        let events = self.run(command);
        let reason = refusal(&events).unwrap_or_else(|| panic!("not refused: {events:?}"));
        assert_eq!(
            self.events.len(),
            1,
            "a refusal is one event: {:?}",
            self.events
        );
        let mut after = self.venue.snapshot();
        before.time = after.time;
        for (before, after) in before.members.iter_mut().zip(&mut after.members) {
            before.message_time = after.message_time;
            before.message_tokens = after.message_tokens;
        }
        assert_eq!(before, after, "a refused command changed something");
        reason
    }

    pub fn phase(&mut self, phase: TradingPhase) -> Vec<Event> {
        self.ok(Command::SetTradingPhase {
            instrument: XBT,
            phase,
        })
    }

    /// Places an order that must be accepted, and returns its id and its story.
    pub fn place(&mut self, member: MemberId, order: NewOrder) -> (OrderId, Vec<String>) {
        let events = self.ok(Command::PlaceOrder { member, order });
        let id = events.iter().find_map(|event| match event {
            Event::OrderAccepted { order, .. } => Some(*order),
            _ => None,
        });
        (id.expect("an accepted order"), tell(&events))
    }

    /// Places an order and returns its id alone.
    pub fn id(&mut self, member: MemberId, order: NewOrder) -> OrderId {
        self.place(member, order).0
    }

    pub fn story(&mut self, command: Command) -> Vec<String> {
        tell(&self.run(command))
    }

    pub fn refuse_order(&mut self, member: MemberId, order: NewOrder) -> RejectReason {
        self.refused(Command::PlaceOrder { member, order })
    }

    pub fn cancel(&mut self, member: MemberId, order: OrderId) -> Vec<String> {
        self.story(Command::CancelOrder {
            member,
            target: OrderTarget::Order(order),
        })
    }

    pub fn amend(&mut self, member: MemberId, order: OrderId, price: u64, size: u64) -> Command {
        Command::AmendOrder {
            member,
            amendment: AmendOrder {
                target: OrderTarget::Order(order),
                price: Price(price),
                size: Quantity(size),
            },
        }
    }

    /// Available and held.
    pub fn money(&self, member: MemberId, asset: AssetId) -> (i128, i128) {
        let (available, held) = self.venue.balance(AccountOwner::Member(member), asset);
        (available.0, held.0)
    }

    pub fn fees(&self) -> i128 {
        self.venue.balance(AccountOwner::Fees, USD).0.0
    }

    pub fn hold(&self, order: OrderId) -> i128 {
        self.venue.hold(order).expect("an open order").0
    }
}

/// Why a command was refused, if it was.
pub fn refusal(events: &[Event]) -> Option<RejectReason> {
    events.iter().find_map(|event| match event {
        Event::CommandRejected { reason }
        | Event::OrderRejected { reason, .. }
        | Event::AmendRejected { reason, .. }
        | Event::CancelRejected { reason, .. } => Some(*reason),
        _ => None,
    })
}

pub fn buy(size: u64, price: u64) -> NewOrder {
    NewOrder {
        instrument: XBT,
        side: Side::Buy,
        price: Price(price),
        size: Quantity(size),
        ..NewOrder::default()
    }
}

pub fn sell(size: u64, price: u64) -> NewOrder {
    NewOrder {
        side: Side::Sell,
        ..buy(size, price)
    }
}

pub fn market(side: Side, size: u64, funds: i128) -> NewOrder {
    NewOrder {
        instrument: XBT,
        side,
        order_type: OrderType::Market,
        size: Quantity(size),
        funds: Amount(funds),
        ..NewOrder::default()
    }
}

/// Builder-like changes to an order.
pub trait With: Sized {
    fn tif(self, time_in_force: TimeInForce) -> Self;
    fn stop(self, direction: StopDirection, price: u64) -> Self;
    fn peak(self, size: u64) -> Self;
    fn stp(self, prevention: SelfTradePrevention) -> Self;
    fn post(self) -> Self;
    fn oid(self, id: &str) -> Self;
    fn until(self, time: u64) -> Self;
}

impl With for NewOrder {
    fn tif(self, time_in_force: TimeInForce) -> Self {
        Self {
            time_in_force,
            ..self
        }
    }
    fn stop(self, direction: StopDirection, price: u64) -> Self {
        Self {
            stop: Some(Stop {
                direction,
                price: Price(price),
            }),
            ..self
        }
    }
    fn peak(self, size: u64) -> Self {
        Self {
            display_size: Quantity(size),
            ..self
        }
    }
    fn stp(self, self_trade_prevention: SelfTradePrevention) -> Self {
        Self {
            self_trade_prevention,
            ..self
        }
    }
    fn post(self) -> Self {
        Self {
            post_only: true,
            ..self
        }
    }
    fn oid(self, id: &str) -> Self {
        Self {
            client_order_id: text(id),
            ..self
        }
    }
    fn until(self, time: u64) -> Self {
        Self {
            time_in_force: TimeInForce::GoodTillTime,
            expires_at: Timestamp(time),
            ..self
        }
    }
}

fn name(member: MemberId) -> &'static str {
    ["ann", "bob", "cat"]
        .get(member.0 as usize)
        .copied()
        .unwrap_or("?")
}

fn verb(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    }
}

/// Events as lines to read: orders by the number of their acceptance.
pub fn tell(events: &[Event]) -> Vec<String> {
    events.iter().filter_map(tell_one).collect()
}

fn tell_one(event: &Event) -> Option<String> {
    Some(match *event {
        Event::BalanceChanged { .. } => return None,
        Event::OrderAccepted {
            order,
            member,
            hold,
            ..
        } => {
            format!("#{} {} accepted, hold {hold}", order.sequence, name(member))
        }
        Event::OrderTriggered {
            order,
            trigger_price,
            ..
        } => {
            format!("#{} triggered at {trigger_price}", order.sequence)
        }
        Event::OrderOpened {
            order,
            side,
            price,
            visible,
            remaining,
            ..
        } => {
            let hidden = remaining.0 - visible.0;
            let hidden = if hidden > 0 {
                format!(" (+{hidden})")
            } else {
                String::new()
            };
            format!(
                "#{} rests: {} {visible}{hidden} @ {price}",
                order.sequence,
                verb(side)
            )
        }
        Event::OrderAmended {
            order,
            price,
            size,
            visible,
            remaining,
            hold,
            kept_priority,
            self_trade,
            ..
        } => {
            let how = match (self_trade, kept_priority) {
                (true, _) => " by self-trade",
                (false, true) => ", keeps its turn",
                (false, false) => ", leaves",
            };
            format!(
                "#{} amended: {size} @ {price}, shows {visible} of {remaining}, hold {hold}{how}",
                order.sequence
            )
        }
        Event::Traded {
            maker_order,
            taker_order,
            price,
            quantity,
            maker_fee,
            taker_fee,
            ..
        } => {
            let fees = if maker_fee.is_zero() && taker_fee.is_zero() {
                String::new()
            } else {
                format!(", fees {maker_fee} and {taker_fee}")
            };
            format!(
                "#{} takes {quantity} @ {price} from #{}{fees}",
                taker_order.sequence, maker_order.sequence
            )
        }
        Event::OrderDone {
            order,
            remaining,
            reason,
            ..
        } => match reason {
            DoneReason::Filled => format!("#{} filled", order.sequence),
            DoneReason::Canceled(reason) => {
                format!("#{} canceled: {reason:?}, {remaining} left", order.sequence)
            }
        },
        Event::AuctionIndicated {
            price,
            volume,
            surplus_side,
            surplus,
            ..
        } => {
            format!(
                "indicated: {volume} @ {price}, {surplus} more to {}",
                verb(surplus_side)
            )
        }
        Event::AuctionUncrossed { price, volume, .. } => format!("uncrossed: {volume} @ {price}"),
        Event::OrderRejected { reason, .. }
        | Event::AmendRejected { reason, .. }
        | Event::CancelRejected { reason, .. }
        | Event::CommandRejected { reason } => format!("refused: {reason:?}"),
        Event::TradingPhaseChanged { phase, .. } => format!("phase {phase:?}"),
        other => format!("{other:?}"),
    })
}

pub mod audit;
pub mod generate;
