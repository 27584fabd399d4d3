//! A lively market: simulated participants who quote, take, amend and cancel, and now and then get
//! news.
//!
//! A pure state machine, seeded and in integers only: the same seed, times and events give the same
//! commands. The first half of the members make markets (a ladder of post-only quotes around a
//! slowly moving reference price), the rest take (market, immediate and resting orders, stops).
//!
//! - **Bounded.** A step gives at most [`Config::max_per_step`] commands, and a member has at most
//!   [`Config::max_open`] orders in an instrument.
//! - **For days.** The reference is pulled back to where it started and kept inside the instrument's
//!   price band; members lean against what they have piled up; who runs out of money is given more.
//! - **Restart.** The first step cancels whatever the members still have open, so a new instance can
//!   take over a venue that another one left.

mod act;
mod observe;
mod reference;

use std::collections::BTreeMap;

use everopen_domain::{
    Amount, AssetId, CancelReason, Command, Instrument, InstrumentId, MemberId, OrderId, Price,
    Quantity, Reference, RejectReason, Side, Timestamp, TradingPhase,
};

use crate::random::Random;
use reference::ReferencePrice;

/// An instrument that the participants trade.
#[derive(Clone, Copy, Debug)]
pub struct Market {
    /// The venue's id.
    pub id: InstrumentId,
    /// What it is.
    pub instrument: Instrument,
    /// Decimals of its base asset.
    pub base_decimals: u8,
    /// Decimals of its quote asset.
    pub quote_decimals: u8,
    /// The phase that it is in now.
    pub phase: TradingPhase,
    /// Where its price starts: the last price, or what an operator thinks fair.
    pub start_price: Price,
    /// A usual order. It adapts if the instrument's limits on notional refuse it.
    pub typical_size: Quantity,
}

/// How busy the participants are.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Commands per second of venue time, all together. Zero makes them idle.
    pub commands_per_second: u32,
    /// Most commands in one step; what a late step misses is not made up for.
    pub max_per_step: u32,
    /// Most open orders of a member in one instrument.
    pub max_open: u32,
    /// Mean time between news on one instrument, in nanoseconds; zero for none.
    pub news_every: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            commands_per_second: 200,
            max_per_step: 256,
            max_open: 24,
            news_every: 180 * Timestamp::NANOS_PER_SECOND,
        }
    }
}

/// An open order of a participant.
#[derive(Clone, Copy, Debug)]
struct Open {
    side: Side,
    price: u64,
    size: u64,
    remaining: u64,
    /// True for a stop that waits.
    waiting: bool,
    /// True while a change or a cancel is under way.
    busy: bool,
}

/// A member in one instrument.
#[derive(Debug, Default)]
struct Seat {
    /// Ids rise with acceptance, so the first is the oldest.
    open: BTreeMap<OrderId, Open>,
    /// Orders sent whose fate is not known yet.
    under_way: u32,
    /// Bought less sold since the start.
    inventory: i128,
}

/// The participants. See the module.
pub struct Participants {
    random: Random,
    config: Config,
    members: Vec<MemberId>,
    markets: Vec<Market>,
    references: Vec<ReferencePrice>,
    /// Last trade of each market, whoever traded.
    last: Vec<Option<u64>>,
    /// Doublings of the typical size, learned from refusals.
    scale: Vec<i8>,
    /// `members` × `markets`.
    seats: Vec<Seat>,
    started: bool,
    previous: Timestamp,
    /// Commands due so far in billionths of a command.
    due: u64,
    /// When `under_way` was last forgotten.
    forgotten: Timestamp,
    /// Money to hand out with the next step: member and asset.
    top_ups: Vec<(MemberId, AssetId)>,
    topped_up: BTreeMap<(MemberId, AssetId), Timestamp>,
    news: u64,
    rejected: BTreeMap<RejectReason, u64>,
}

/// Whole units of money, and usual orders of a base asset, that a participant is given at a time.
const QUOTE_UNITS: i128 = 1_000_000_000;
const BASE_ORDERS: i128 = 1_000_000_000;
/// Time after which an answer is no longer expected.
const PATIENCE: u64 = 2 * Timestamp::NANOS_PER_SECOND;
/// Time between two gifts of the same asset to the same member.
const TOP_UP_EVERY: u64 = 10 * Timestamp::NANOS_PER_SECOND;

impl Participants {
    /// Participants who have done nothing yet.
    ///
    /// # Panics
    ///
    /// With fewer than two members: nobody would trade with anybody.
    pub fn new(seed: u64, markets: &[Market], members: &[MemberId], config: Config) -> Self {
        assert!(
            members.len() >= 2,
            "a market needs at least two participants"
        );
        let mut seats = Vec::new();
        seats.resize_with(members.len() * markets.len(), Seat::default);
        Self {
            random: Random::new(seed),
            config,
            members: members.to_vec(),
            markets: markets.to_vec(),
            references: markets
                .iter()
                .map(|m| ReferencePrice::new(m.start_price.0))
                .collect(),
            last: vec![None; markets.len()],
            scale: vec![0; markets.len()],
            seats,
            started: false,
            previous: Timestamp::ZERO,
            due: 0,
            forgotten: Timestamp::ZERO,
            top_ups: Vec::new(),
            topped_up: BTreeMap::new(),
            news: 0,
            rejected: BTreeMap::new(),
        }
    }

    /// The demo money of a new venue: for every member, of every asset that the markets use.
    pub fn funding(&self) -> Vec<Command> {
        let mut pairs = std::collections::BTreeSet::new();
        for market in &self.markets {
            for member in &self.members {
                pairs.insert((*member, market.instrument.quote));
                pairs.insert((*member, market.instrument.base));
            }
        }
        pairs
            .into_iter()
            .map(|(member, asset)| self.gift(member, asset))
            .collect()
    }

    /// News so far.
    pub fn news(&self) -> u64 {
        self.news
    }

    /// Refused commands of the participants so far, by reason.
    pub fn rejected(&self) -> &BTreeMap<RejectReason, u64> {
        &self.rejected
    }

    /// Open orders of the participants, as far as they know.
    pub fn open_orders(&self) -> usize {
        self.seats.iter().map(|seat| seat.open.len()).sum()
    }

    /// What the participants think that a market is worth.
    pub fn reference(&self, market: usize) -> Price {
        Price(self.references[market].price())
    }

    /// What the participants do now; the commands are appended to `out`. Call it as often as is
    /// handy: how much is due follows from the time since the last call.
    pub fn step(&mut self, now: Timestamp, out: &mut Vec<Command>) {
        if !std::mem::replace(&mut self.started, true) {
            for &member in &self.members {
                let reason = CancelReason::Requested;
                out.push(Command::CancelOrders {
                    member,
                    instrument: None,
                    reason,
                });
            }
            self.previous = now;
            return;
        }
        let elapsed = now.0.saturating_sub(self.previous.0);
        self.previous = self.previous.max(now);
        self.forget(now);
        for (member, asset) in std::mem::take(&mut self.top_ups) {
            out.push(self.gift(member, asset));
        }
        for market in 0..self.markets.len() {
            let reference = &mut self.references[market];
            let band = self.markets[market].instrument.limits.price_band;
            reference.advance(elapsed, &mut self.random);
            if reference.maybe_news(elapsed, self.config.news_every, &mut self.random) {
                self.news += 1;
            }
            reference.keep_near(self.last[market], band);
        }
        let rate = u64::from(self.config.commands_per_second);
        let most = u64::from(self.config.max_per_step) * Timestamp::NANOS_PER_SECOND;
        self.due = self
            .due
            .saturating_add(elapsed.saturating_mul(rate))
            .min(most);
        while self.due >= Timestamp::NANOS_PER_SECOND && !self.markets.is_empty() {
            self.due -= Timestamp::NANOS_PER_SECOND;
            let market = self.random.below(self.markets.len() as u64) as usize;
            if let Some(command) = self.act(market, now) {
                out.push(command);
            }
        }
    }

    /// An answer that has not come by now will not come: the command was turned away on its way.
    fn forget(&mut self, now: Timestamp) {
        if now.0.saturating_sub(self.forgotten.0) >= PATIENCE {
            self.forgotten = now;
            for seat in &mut self.seats {
                seat.under_way = 0;
                seat.open.values_mut().for_each(|open| open.busy = false);
            }
        }
    }

    fn seat(&mut self, member: usize, market: usize) -> &mut Seat {
        &mut self.seats[member * self.markets.len() + market]
    }

    /// A billion units of money, a billion usual orders of anything else; an asset that is both gets
    /// the larger.
    fn gift(&self, member: MemberId, asset: AssetId) -> Command {
        let ten_to = |power: u8| 10_i128.pow(u32::from(power.min(18)));
        let mut amount = 1;
        for market in &self.markets {
            let Instrument {
                base,
                quote,
                size_decimals,
                ..
            } = market.instrument;
            if quote == asset {
                amount = amount.max(QUOTE_UNITS * ten_to(market.quote_decimals));
            }
            if base == asset {
                let lot = ten_to(market.base_decimals.saturating_sub(size_decimals));
                let typical = i128::from(market.typical_size.0.clamp(1, 1 << 40));
                amount = amount.max(BASE_ORDERS * typical * lot);
            }
        }
        let reference = Reference::EMPTY;
        Command::Deposit {
            member,
            asset,
            amount: Amount(amount),
            reference,
        }
    }
}
