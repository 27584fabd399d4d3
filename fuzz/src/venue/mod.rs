//! Arbitrary commands into the venue: each ends in events, none in a panic, and the books of money stay balanced.

mod commands;

use crate::tape::Tape;
use commands::any_command;
use everopen_domain::snapshot::{AccountOwner, VenueSnapshot};
use everopen_domain::{
    Amount, AssetId, Command, Event, FeeScheduleId, FeeTier, FeeTiers, Instrument, InstrumentId,
    InstrumentLimits, MemberId, NewOrder, OrderId, Price, Quantity, Rate, Side, Timestamp,
    TradingPhase, TransferId,
};
use everopen_venue::Venue;
use everopen_wire::{EventHasher, state_hash};
use std::collections::BTreeMap;

const START: Timestamp = Timestamp(1_700_000_000_000_000_000);
/// Enough to reach deep states; more only makes an input slow.
const COMMANDS_MAX: usize = 400;

/// Runs commands made from the bytes, checks after each, and again from a snapshot in the middle.
pub fn commands(data: &[u8]) {
    played(data);
}

/// How often each kind of event happened while the bytes were played.
pub fn reached(data: &[u8]) -> BTreeMap<String, u64> {
    played(data).kinds
}

fn played(data: &[u8]) -> Seen {
    let mut tape = Tape::new(data);
    let mut run = Run::new();
    let mut other: Option<Run> = None;
    for number in 0..COMMANDS_MAX {
        if tape.is_empty() {
            break;
        }
        let time = run.later(&mut tape);
        let command = any_command(&mut tape, &run);
        run.apply(time, &command);
        if let Some(other) = &mut other {
            other.apply(time, &command);
        } else if number == 20 {
            // From here on a restored machine goes along: it must do the same.
            other = Some(run.restored());
        }
    }
    if let Some(other) = other {
        assert_eq!(
            other.events.hash, run.events.hash,
            "a restored machine did something else"
        );
        assert_eq!(
            state_hash(&other.venue.snapshot()),
            state_hash(&run.venue.snapshot())
        );
    }
    run.events
}

/// A venue with two markets, three members with money and some resting orders.
pub fn used_venue() -> Venue {
    let mut run = Run::new();
    for (member, side, price) in [
        (1, Side::Buy, 990),
        (2, Side::Sell, 1010),
        (2, Side::Sell, 1020),
    ] {
        let order = NewOrder {
            instrument: run.instruments[0],
            side,
            price: Price(price),
            size: Quantity(50),
            ..NewOrder::default()
        };
        run.apply(
            START,
            &Command::PlaceOrder {
                member: run.members[member],
                order,
            },
        );
    }
    run.venue
}

#[derive(Default)]
struct Seen {
    hash: Option<everopen_wire::EventHash>,
    orders: Vec<OrderId>,
    transfers: Vec<TransferId>,
    kinds: BTreeMap<String, u64>,
}

struct Run {
    venue: Venue,
    time: Timestamp,
    buffer: Vec<Event>,
    hasher: EventHasher,
    events: Seen,
    assets: Vec<AssetId>,
    instruments: Vec<InstrumentId>,
    members: Vec<MemberId>,
}

impl Run {
    fn new() -> Self {
        let mut run = Run {
            venue: Venue::new(),
            time: START,
            buffer: Vec::new(),
            hasher: EventHasher::new(),
            events: Seen::default(),
            assets: Vec::new(),
            instruments: Vec::new(),
            members: Vec::new(),
        };
        for (code, decimals) in [("USD", 8), ("BTC", 8), ("WEI", 18)] {
            run.apply(
                START,
                &Command::AddAsset {
                    code: code.parse().expect("a code"),
                    decimals,
                },
            );
        }
        let schedule = FeeScheduleId(0);
        let mut tiers = FeeTiers {
            volume_asset: run.assets[0],
            len: 2,
            ..FeeTiers::default()
        };
        tiers.tiers[0] = FeeTier {
            min_volume: Amount::ZERO,
            maker: Rate(1_000),
            taker: Rate(2_500),
        };
        tiers.tiers[1] = FeeTier {
            min_volume: Amount(1 << 40),
            maker: Rate(-100),
            taker: Rate(500),
        };
        run.apply(START, &Command::SetFeeSchedule { schedule, tiers });
        for (base, band) in [(1, 100_000), (2, 0)] {
            let instrument = Instrument {
                base: run.assets[base],
                quote: run.assets[0],
                price_decimals: 2,
                size_decimals: 4,
                limits: InstrumentLimits {
                    tick: Price(5),
                    lot: Quantity(10),
                    min_size: Quantity(10),
                    max_size: Quantity(1 << 40),
                    min_notional: Amount(100),
                    max_notional: Amount(1 << 90),
                    price_band: Rate(band),
                    fee_schedule: schedule,
                    allow_self_trade: base == 2,
                },
            };
            run.apply(START, &Command::AddInstrument { instrument });
        }
        for &instrument in &run.instruments.clone() {
            run.apply(
                START,
                &Command::SetReferencePrice {
                    instrument,
                    price: Price(1000),
                },
            );
            run.apply(
                START,
                &Command::SetTradingPhase {
                    instrument,
                    phase: TradingPhase::Online,
                },
            );
        }
        for code in ["alice", "bob", "carol"] {
            run.apply(
                START,
                &Command::AddMember {
                    code: code.parse().expect("a code"),
                },
            );
        }
        for &member in &run.members.clone() {
            for &asset in &run.assets.clone() {
                let amount = Amount(10_i128.pow(15));
                let reference = everopen_domain::Reference::default();
                run.apply(
                    START,
                    &Command::Deposit {
                        member,
                        asset,
                        amount,
                        reference,
                    },
                );
            }
        }
        let state = run.venue.snapshot();
        assert_eq!(
            (state.instruments.len(), state.members.len()),
            (2, 3),
            "the prelude was refused"
        );
        run
    }

    /// A machine made from this one's state.
    fn restored(&self) -> Run {
        let state = self.venue.snapshot();
        let venue = Venue::restore(&state).expect("a venue takes its own snapshot");
        assert_eq!(venue.snapshot(), state, "restored as it was");
        Run {
            venue,
            time: self.time,
            buffer: Vec::new(),
            hasher: self.hasher.clone(),
            events: Seen {
                hash: self.events.hash,
                ..Seen::default()
            },
            assets: Vec::new(),
            instruments: Vec::new(),
            members: Vec::new(),
        }
    }

    /// The time of the next command: the leader's clock never goes back, and sometimes leaps.
    fn later(&self, tape: &mut Tape<'_>) -> Timestamp {
        let step = match tape.below(32) {
            0..=27 => u64::from(tape.byte()) * 1_000,
            28 | 29 => 1_000_000_000,
            30 => 60_000_000_000,
            _ => 86_400_000_000_000,
        };
        Timestamp(self.time.0 + step)
    }

    fn apply(&mut self, time: Timestamp, command: &Command) {
        self.time = time;
        self.buffer.clear();
        self.venue.apply(time, command, &mut self.buffer);
        assert!(
            !self.buffer.is_empty()
                || matches!(command, Command::Tick | Command::CancelOrders { .. }),
            "nothing was said about {command:?}"
        );
        for event in &self.buffer {
            self.hasher.push(event);
            let kind = format!("{event:?}");
            let kind = kind.split([' ', '(']).next().unwrap_or_default();
            *self.events.kinds.entry(kind.to_owned()).or_default() += 1;
            match *event {
                Event::AssetAdded { asset, .. } => self.assets.push(asset),
                Event::InstrumentAdded { id, .. } => self.instruments.push(id),
                Event::MemberAdded { member, .. } => self.members.push(member),
                Event::OrderAccepted { order, .. } => self.events.orders.push(order),
                Event::WithdrawalRequested { transfer, .. } => self.events.transfers.push(transfer),
                _ => {}
            }
        }
        self.events.hash = Some(self.hasher.hash());
        check(&self.venue.snapshot(), command);
    }
}

/// What must hold after every command, whatever it was.
fn check(state: &VenueSnapshot, command: &Command) {
    let mut sums: BTreeMap<AssetId, i128> = BTreeMap::new();
    let mut held: BTreeMap<(MemberId, AssetId), i128> = BTreeMap::new();
    for account in &state.accounts {
        *sums.entry(account.asset).or_default() += account.available.0 + account.held.0;
        assert!(
            account.held.0 >= 0,
            "a negative hold after {command:?}: {account:?}"
        );
        if let AccountOwner::Member(member) = account.owner {
            assert!(
                account.available.0 >= 0,
                "a negative balance after {command:?}: {account:?}"
            );
            *held.entry((member, account.asset)).or_default() += account.held.0;
        }
    }
    assert!(
        sums.values().all(|sum| *sum == 0),
        "{sums:?} after {command:?}"
    );

    for withdrawal in &state.withdrawals {
        *held
            .entry((withdrawal.member, withdrawal.asset))
            .or_default() -= withdrawal.amount.0;
    }
    for market in &state.instruments {
        for order in market.bids.iter().chain(&market.asks).chain(&market.stops) {
            let asset = match order.details.side {
                Side::Buy => market.instrument.quote,
                Side::Sell => market.instrument.base,
            };
            *held.entry((order.member, asset)).or_default() -= order.hold.0;
            assert!(
                order.remaining.0 > 0 || order.details.funds.0 > 0,
                "an empty order rests: {order:?}"
            );
            assert!(order.visible <= order.remaining, "{order:?}");
        }
        let best = (market.bids.first(), market.asks.first());
        if let (Some(bid), Some(ask)) = best
            && matches!(
                market.phase,
                TradingPhase::Online | TradingPhase::PostOnly | TradingPhase::LimitOnly
            )
        {
            assert!(
                bid.details.price < ask.details.price,
                "crossed after {command:?}"
            );
        }
    }
    assert!(
        held.values().all(|rest| *rest == 0),
        "holds without a reason after {command:?}: {held:?}"
    );
}
