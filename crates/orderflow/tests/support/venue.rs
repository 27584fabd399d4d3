//! A slow, obvious venue for tests: enough of the rules to answer every command that this room
//! sends with the events that the real venue would give. It knows no holds and no fees.

use std::collections::BTreeMap;

use everopen_domain::{
    Amount, AssetId, CancelReason, Command, DoneReason, Event, Instrument, InstrumentId, MemberId,
    NewOrder, OrderId, OrderTarget, OrderType, Price, Quantity, Rate, RejectReason, Side,
    StopDirection, TimeInForce, Timestamp, TradeId, TradingPhase, TransferId,
};

use super::rules::{done, means, rejected};

pub struct Resting {
    pub id: OrderId,
    pub member: MemberId,
    pub order: NewOrder,
    pub remaining: u64,
}

pub struct Market {
    pub instrument: Instrument,
    pub phase: TradingPhase,
    /// In the order of arrival; priority is found by looking at all of them.
    pub resting: Vec<Resting>,
    pub waiting: Vec<Resting>,
    pub last: Option<u64>,
}

#[derive(Default)]
pub struct Venue {
    pub assets: u32,
    pub members: u32,
    pub markets: Vec<Market>,
    pub balances: BTreeMap<(MemberId, AssetId), i128>,
    sequence: u64,
    trades: u64,
}

impl Venue {
    pub fn apply(&mut self, command: &Command) -> Vec<Event> {
        let mut out = Vec::new();
        match *command {
            Command::AddAsset { code, decimals } => {
                out.push(Event::AssetAdded {
                    asset: AssetId(self.assets),
                    code,
                    decimals,
                });
                self.assets += 1;
            }
            Command::AddMember { code } => {
                out.push(Event::MemberAdded {
                    member: MemberId(self.members),
                    code,
                });
                self.members += 1;
            }
            Command::AddInstrument { instrument } => {
                let id = InstrumentId(self.markets.len() as u32);
                self.markets.push(Market {
                    instrument,
                    phase: TradingPhase::CancelOnly,
                    resting: Vec::new(),
                    waiting: Vec::new(),
                    last: None,
                });
                out.push(Event::InstrumentAdded { id, instrument });
            }
            Command::SetTradingPhase { instrument, phase } => {
                let market = &mut self.markets[instrument.0 as usize];
                if market.phase == phase {
                    let reason = RejectReason::Unchanged;
                    out.push(Event::CommandRejected { reason });
                } else {
                    market.phase = phase;
                    out.push(Event::TradingPhaseChanged { instrument, phase });
                }
            }
            Command::SetFeeSchedule { .. } => {}
            Command::Deposit {
                member,
                asset,
                amount,
                reference,
            } => {
                *self.balances.entry((member, asset)).or_default() += amount.0;
                let transfer = TransferId(1);
                out.push(Event::Deposited {
                    transfer,
                    member,
                    asset,
                    amount,
                    reference,
                });
            }
            Command::PlaceOrder { member, order } => self.place(member, order, &mut out),
            Command::ReplaceOrder {
                member,
                target,
                order,
            } => {
                let refusal = self.refusal(&order);
                let reason = match self.find(order.instrument, member, target) {
                    None => Some(RejectReason::OrderNotFound),
                    Some(_) => refusal,
                };
                match reason {
                    Some(reason) => out.push(rejected(member, &order, reason)),
                    None => {
                        self.cancel(member, target, CancelReason::Replaced, &mut out);
                        self.place(member, order, &mut out);
                    }
                }
            }
            Command::AmendOrder { member, amendment } => {
                let target = amendment.target;
                let mut found = None;
                for instrument in 0..self.markets.len() {
                    let id = InstrumentId(instrument as u32);
                    if let Some(at) = self.find(id, member, target) {
                        found = Some((id, at));
                    }
                }
                let Some((instrument, at)) = found else {
                    let reason = RejectReason::OrderNotFound;
                    out.push(Event::AmendRejected {
                        member,
                        target,
                        reason,
                    });
                    return out;
                };
                let market = &mut self.markets[instrument.0 as usize];
                let kept = &mut market.resting[at];
                let old = kept.order;
                let filled = old.size.0 - kept.remaining;
                let size = if amendment.size.0 == 0 {
                    old.size.0
                } else {
                    amendment.size.0
                };
                let price = if amendment.price.0 == 0 {
                    old.price
                } else {
                    amendment.price
                };
                let reason = if size <= filled {
                    Some(RejectReason::AmendSizeFilled)
                } else if size == old.size.0 && price == old.price {
                    Some(RejectReason::AmendUnchanged)
                } else {
                    None
                };
                if let Some(reason) = reason {
                    out.push(Event::AmendRejected {
                        member,
                        target,
                        reason,
                    });
                    return out;
                }
                let old_visible = Quantity(kept.remaining);
                kept.remaining = size - filled;
                (kept.order.size, kept.order.price) = (Quantity(size), price);
                let kept_priority = price == old.price && size < old.size.0;
                out.push(Event::OrderAmended {
                    order: kept.id,
                    member,
                    sequence: 1,
                    side: old.side,
                    old_price: old.price,
                    price,
                    size: Quantity(size),
                    old_visible,
                    visible: Quantity(kept.remaining),
                    remaining: Quantity(kept.remaining),
                    hold: Amount::ZERO,
                    kept_priority,
                    self_trade: false,
                });
                if !kept_priority {
                    let moved = market.resting.remove(at);
                    self.enter(instrument, moved, &mut out);
                    self.trigger(instrument, &mut out);
                }
            }
            Command::CancelOrder { member, target } => {
                if !self.cancel(member, target, CancelReason::Requested, &mut out) {
                    let reason = RejectReason::OrderNotFound;
                    out.push(Event::CancelRejected {
                        member,
                        target,
                        reason,
                    });
                }
            }
            Command::CancelOrders { member, reason, .. } => {
                for market in &mut self.markets {
                    let all = std::mem::take(&mut market.resting);
                    let (gone, kept) = all.into_iter().partition(|held| held.member == member);
                    market.resting = kept;
                    let gone: Vec<Resting> = gone;
                    out.extend(
                        gone.iter()
                            .map(|held| done(held, DoneReason::Canceled(reason))),
                    );
                    let all = std::mem::take(&mut market.waiting);
                    let (gone, kept) = all.into_iter().partition(|held| held.member == member);
                    market.waiting = kept;
                    let gone: Vec<Resting> = gone;
                    out.extend(
                        gone.iter()
                            .map(|held| done(held, DoneReason::Canceled(reason))),
                    );
                }
            }
            ref other => panic!("the test venue does not know {other:?}"),
        }
        out
    }

    /// Best price of a side.
    pub fn best(&self, instrument: InstrumentId, side: Side) -> Option<u64> {
        let resting = self.markets[instrument.0 as usize].resting.iter();
        let prices = resting
            .filter(|held| held.order.side == side)
            .map(|held| held.order.price.0);
        if side == Side::Buy {
            prices.max()
        } else {
            prices.min()
        }
    }

    /// Time passes: what is due expires.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Event> {
        let mut out = Vec::new();
        for market in &mut self.markets {
            for list in [&mut market.resting, &mut market.waiting] {
                list.retain(|held| {
                    let due = held.order.time_in_force == TimeInForce::GoodTillTime
                        && held.order.expires_at <= now;
                    if due {
                        out.push(done(held, DoneReason::Canceled(CancelReason::Expired)));
                    }
                    !due
                });
            }
        }
        out
    }

    /// Lets stops into the market whose price the last trade has reached.
    fn trigger(&mut self, instrument: InstrumentId, out: &mut Vec<Event>) {
        loop {
            let market = &mut self.markets[instrument.0 as usize];
            let Some(last) = market.last else { return };
            let reached = market.waiting.iter().position(|held| {
                held.order.stop.is_some_and(|stop| match stop.direction {
                    StopDirection::Loss => last <= stop.price.0,
                    StopDirection::Entry => last >= stop.price.0,
                })
            });
            let Some(at) = reached else { return };
            let held = market.waiting.remove(at);
            out.push(Event::OrderTriggered {
                order: held.id,
                member: held.member,
                sequence: 1,
                trigger_price: Price(last),
            });
            self.enter(instrument, held, out);
        }
    }

    fn place(&mut self, member: MemberId, order: NewOrder, out: &mut Vec<Event>) {
        if let Some(reason) = self.refusal(&order) {
            out.push(rejected(member, &order, reason));
            return;
        }
        self.sequence += 1;
        let id = OrderId {
            sequence: self.sequence,
            instrument: order.instrument,
            slot: 0,
        };
        out.push(Event::OrderAccepted {
            order: id,
            member,
            sequence: 1,
            details: order,
            hold: Amount::ZERO,
            maker_rate: Rate::ZERO,
            taker_rate: Rate::ZERO,
        });
        let held = Resting {
            id,
            member,
            order,
            remaining: order.size.0,
        };
        if order.stop.is_some() {
            self.markets[order.instrument.0 as usize].waiting.push(held);
        } else {
            self.enter(order.instrument, held, out);
        }
        self.trigger(order.instrument, out);
    }

    fn enter(&mut self, instrument: InstrumentId, mut held: Resting, out: &mut Vec<Event>) {
        let market = &mut self.markets[instrument.0 as usize];
        let matching = market.phase == TradingPhase::Online;
        while matching && held.remaining > 0 {
            let crossing = market.resting.iter().enumerate().filter(|(_, maker)| {
                maker.order.side != held.order.side
                    && (held.order.order_type == OrderType::Market
                        || match held.order.side {
                            Side::Buy => maker.order.price <= held.order.price,
                            Side::Sell => maker.order.price >= held.order.price,
                        })
            });
            let best = match held.order.side {
                // The first of equals is the oldest: that is price-time priority.
                Side::Buy => crossing.min_by_key(|(at, maker)| (maker.order.price, *at)),
                Side::Sell => {
                    crossing.min_by_key(|(at, maker)| (std::cmp::Reverse(maker.order.price), *at))
                }
            };
            let Some((at, _)) = best else { break };
            let maker = &mut market.resting[at];
            let quantity = held.remaining.min(maker.remaining);
            held.remaining -= quantity;
            maker.remaining -= quantity;
            if maker.member == held.member {
                // Decrease and cancel.
                let reason = DoneReason::Canceled(CancelReason::SelfTrade);
                if maker.remaining == 0 {
                    out.push(done(&market.resting.remove(at), reason));
                }
                if held.remaining == 0 {
                    out.push(done(&held, reason));
                    return;
                }
                continue;
            }
            self.trades += 1;
            let price = maker.order.price;
            market.last = Some(price.0);
            let notional = i128::from(price.0) * i128::from(quantity);
            let (buyer, seller) = match held.order.side {
                Side::Buy => (held.member, maker.member),
                Side::Sell => (maker.member, held.member),
            };
            let Instrument { base, quote, .. } = market.instrument;
            *self.balances.entry((buyer, base)).or_default() += i128::from(quantity);
            *self.balances.entry((seller, base)).or_default() -= i128::from(quantity);
            *self.balances.entry((buyer, quote)).or_default() -= notional;
            *self.balances.entry((seller, quote)).or_default() += notional;
            out.push(Event::Traded {
                trade: TradeId(self.trades),
                sequence: 1,
                maker_order: maker.id,
                taker_order: held.id,
                maker: maker.member,
                taker: held.member,
                maker_side: maker.order.side,
                price,
                quantity: Quantity(quantity),
                notional: Amount(notional),
                maker_fee: Amount::ZERO,
                taker_fee: Amount::ZERO,
                maker_remaining: Quantity(maker.remaining),
                maker_visible: Quantity(maker.remaining),
                taker_remaining: Quantity(held.remaining),
                auction: false,
            });
            if maker.remaining == 0 {
                let maker = market.resting.remove(at);
                out.push(done(&maker, DoneReason::Filled));
            }
        }
        if held.remaining == 0 {
            out.push(done(&held, DoneReason::Filled));
        } else if held.order.time_in_force == TimeInForce::ImmediateOrCancel
            || held.order.order_type == OrderType::Market
        {
            out.push(done(&held, DoneReason::Canceled(CancelReason::Unfilled)));
        } else {
            out.push(Event::OrderOpened {
                order: held.id,
                member: held.member,
                sequence: 1,
                side: held.order.side,
                price: held.order.price,
                visible: Quantity(held.remaining),
                remaining: Quantity(held.remaining),
            });
            market.resting.push(held);
        }
    }

    fn find(&self, at: InstrumentId, member: MemberId, target: OrderTarget) -> Option<usize> {
        self.markets[at.0 as usize]
            .resting
            .iter()
            .position(|held| means(held, member, target))
    }

    fn cancel(
        &mut self,
        member: MemberId,
        target: OrderTarget,
        reason: CancelReason,
        out: &mut Vec<Event>,
    ) -> bool {
        for market in &mut self.markets {
            for list in [&mut market.resting, &mut market.waiting] {
                if let Some(at) = list.iter().position(|held| means(held, member, target)) {
                    let held = list.remove(at);
                    out.push(done(&held, DoneReason::Canceled(reason)));
                    return true;
                }
            }
        }
        false
    }
}
