//! Placing and replacing orders.

use everopen_book::{Book, Taker};
use everopen_domain::snapshot::AccountOwner;
use everopen_domain::{
    Amount, CancelReason, Event, EventSink, MemberId, NewOrder, OrderId, OrderTarget, OrderType,
    Price, Quantity, Rate, RejectReason, Side, TimeInForce, TradingPhase,
};

use crate::arithmetic::{band_top, cost, floor_to_lot};
use crate::floor::{entering_rate, resting_rate};
use crate::ids::{Found, NONE, hash};
use crate::market::{Accepted, Market, OpenOrder, Seat, State};
use crate::matching::{Budget, Entry, largest_size};
use crate::rules::{can_rest, check_largest_notional, check_order, check_phase};
use crate::venue::Venue;

/// The rates of an order.
#[derive(Clone, Copy)]
pub(crate) struct Rates {
    pub maker: Rate,
    pub taker: Rate,
}

impl Rates {
    /// The rate that the hold of an order covers when it enters: one that can't take needs to
    /// cover only what a maker pays.
    pub fn held(self, market: &Market, order: &NewOrder) -> Rate {
        let waits = order.stop.is_some();
        if order.post_only || (market.phase == TradingPhase::Auction && !waits) {
            resting_rate(self.maker)
        } else {
            entering_rate(self.maker, self.taker)
        }
    }
}

impl Venue {
    /// Places an order, or replaces the one that `replaces` names.
    pub(crate) fn place<E: EventSink>(
        &mut self,
        member: MemberId,
        order: &NewOrder,
        replaces: Option<&OrderTarget>,
        out: &mut E,
    ) -> Result<(), RejectReason> {
        let (now, venue_killed) = (self.time, self.killed);
        let state = self.member(member)?;
        if !state.allow_message(now) {
            return Err(RejectReason::RateLimited);
        }
        let member_killed = state.killed;
        let max_open = state.limits.max_open_orders;
        let at = order.instrument.0 as usize;
        if at >= self.markets.len() {
            return Err(RejectReason::UnknownInstrument);
        }
        if venue_killed {
            return Err(RejectReason::VenueKilled);
        }
        if member_killed {
            return Err(RejectReason::MemberKilled);
        }
        check_phase(self.markets[at].phase, order)?;
        let seat_index = self.seat(member, order.instrument);
        let market = &self.markets[at];
        let seat = &market.seats[seat_index as usize];
        check_order(
            order,
            &market.instrument.limits,
            &seat.limits,
            market.scale,
            now,
        )?;

        let replaced = match replaces {
            None => None,
            Some(target) => Some(self.replaced(member, order, target)?),
        };
        let state = &mut self.members[member.0 as usize];
        let ids = &state.client_order_ids;
        let named = !order.client_order_id.is_empty();
        let id_hash = if named {
            hash(&order.client_order_id)
        } else {
            0
        };
        let mut reused = None;
        if named {
            match ids.find(&order.client_order_id, id_hash) {
                None => {}
                Some(Found::Open(entry)) if Some(ids.order(entry)) == replaced => {
                    reused = Some(entry);
                }
                Some(_) => return Err(RejectReason::DuplicateClientOrderId),
            }
        }
        let stays = order.stop.is_some()
            || (order.order_type == OrderType::Limit && can_rest(order.time_in_force));
        let open = seat.open - u32::from(replaced.is_some());
        if stays && max_open != 0 && open >= max_open {
            return Err(RejectReason::TooManyOpenOrders);
        }
        let enters_now = order.stop.is_none();
        if order.order_type == OrderType::Limit
            && enters_now
            && !market.in_band(order.side, order.price)
        {
            return Err(RejectReason::PriceOutOfBand);
        }

        let rates = self.rates(member, order.instrument);
        let market = &self.markets[at];
        let seat = &market.seats[seat_index as usize];
        let released = replaced.map_or(Amount::ZERO, |old| market.orders[old.slot as usize].hold);
        let account = seat.hold_account(order.side);
        let available = Amount(self.ledger.balance(account).available.0 + released.0);
        let sequence = self.last_order_sequence + 1;
        if sequence >= OrderId::SEQUENCE_END {
            return Err(RejectReason::Overflow);
        }
        let book = &self.books[at];
        let (hold, entry) = if enters_now {
            plan(market, book, seat, order, rates, available, sequence)?
        } else {
            (stop_hold(market, seat, order, rates, available)?, None)
        };
        if hold > available {
            return Err(RejectReason::InsufficientFunds);
        }

        // Accepted: nothing below refuses.
        if let Some(old) = replaced {
            let (book, mut floor) = self.floor(order.instrument, out);
            if reused.is_some() {
                floor.market.orders[old.slot as usize].client_entry = NONE;
            }
            floor.cancel(book, old.slot, CancelReason::Replaced);
        }
        self.ledger
            .hold(account, hold)
            .expect("invariant: the hold was checked");
        self.last_order_sequence = sequence;
        let (book, mut floor) = self.floor(order.instrument, out);
        let slot = book.allocate();
        let market = &mut *floor.market;
        if slot as usize >= market.orders.len() {
            market
                .orders
                .resize(slot as usize + 1, OpenOrder::default());
            market
                .accepted
                .resize(slot as usize + 1, Accepted::default());
        }
        let id = OrderId {
            sequence,
            instrument: order.instrument,
            slot,
        };
        let client_entry = if !named {
            NONE
        } else {
            let ids = &mut floor.members[member.0 as usize].client_order_ids;
            match reused {
                Some(entry) => {
                    ids.hand_over(entry, id);
                    entry
                }
                None => ids.insert(&order.client_order_id, id_hash, id),
            }
        };
        let expiry = if order.time_in_force == TimeInForce::GoodTillTime {
            floor.expiries.insert(order.expires_at, id)
        } else {
            NONE
        };
        market.orders[slot as usize] = OpenOrder {
            hold,
            sequence,
            seat: seat_index,
            maker_rate: rates.maker,
            taker_rate: rates.taker,
            fee_slack: 0,
            client_entry,
            expiry,
            older: NONE,
            younger: NONE,
            side: order.side,
            state: State::Entering,
            iceberg: order.display_size != Quantity::ZERO,
        };
        market.accepted[slot as usize] = Accepted {
            order: *order,
            at: now,
            visible: Quantity::ZERO,
        };
        market.link(slot);
        let waits = order.stop;
        floor.out.emit(Event::OrderAccepted {
            order: id,
            member,
            sequence: if waits.is_some() {
                0
            } else {
                market.next_sequence()
            },
            details: *order,
            hold,
            maker_rate: rates.maker,
            taker_rate: rates.taker,
        });
        if let Some(entry) = entry {
            floor.enter(book, slot, &entry);
        } else if let Some(stop) = waits {
            market.orders[slot as usize].state = State::Waiting;
            market.waiting += 1;
            book.add_stop(slot, stop.direction, stop.price, sequence, member);
            if market.last_price != Price::ZERO && market.is_continuous() {
                market.trade_prices.push(market.last_price);
            }
        }
        floor.run_triggers(book);
        Ok(())
    }

    /// The order that a replace is to cancel.
    fn replaced(
        &self,
        member: MemberId,
        order: &NewOrder,
        target: &OrderTarget,
    ) -> Result<OrderId, RejectReason> {
        let old = self.target(member, target)?;
        let open = &self.markets[old.instrument.0 as usize].orders[old.slot as usize];
        // As in FIX, a replace changes neither instrument nor side.
        if old.instrument != order.instrument || open.side != order.side {
            return Err(RejectReason::OrderInvalid);
        }
        Ok(old)
    }

    /// The open order that a member means.
    pub(crate) fn target(
        &self,
        member: MemberId,
        target: &OrderTarget,
    ) -> Result<OrderId, RejectReason> {
        let id = match target {
            OrderTarget::Order(id) => *id,
            OrderTarget::Client(id) if id.is_empty() => {
                return Err(RejectReason::CancelTargetMissing);
            }
            OrderTarget::Client(id) => {
                let state = self.members.get(member.0 as usize);
                state
                    .and_then(|state| state.client_order_ids.open_order(id))
                    .ok_or(RejectReason::OrderNotFound)?
            }
        };
        let market = self.markets.get(id.instrument.0 as usize);
        let found = market.and_then(|market| market.find(member, id));
        found.map(|_| id).ok_or(RejectReason::OrderNotFound)
    }

    /// The index of a member's seat in a market; it takes one where it has none.
    pub(crate) fn seat(
        &mut self,
        member: MemberId,
        instrument: everopen_domain::InstrumentId,
    ) -> u32 {
        let market = &mut self.markets[instrument.0 as usize];
        if let Some(index) = market.seat_index(member) {
            return index;
        }
        let owner = AccountOwner::Member(member);
        let base = self.ledger.open(owner, market.instrument.base);
        let quote = self.ledger.open(owner, market.instrument.quote);
        let volume =
            self.members[member.0 as usize].volume_index(market.instrument.quote, self.time.day());
        if market.seat_of.len() <= member.0 as usize {
            market.seat_of.resize(member.0 as usize + 1, 0);
        }
        market.seats.push(Seat {
            member,
            base,
            quote,
            volume,
            oldest: NONE,
            youngest: NONE,
            open: 0,
            limits: everopen_domain::OrderLimits::default(),
        });
        market.seat_of[member.0 as usize] = market.seats.len() as u32;
        market.seats.len() as u32 - 1
    }

    /// The rates that an order of this member is accepted with now.
    pub(crate) fn rates(
        &mut self,
        member: MemberId,
        instrument: everopen_domain::InstrumentId,
    ) -> Rates {
        let market = &self.markets[instrument.0 as usize];
        let schedule = usize::from(market.instrument.limits.fee_schedule.0);
        let tiers = self.fee_schedules[schedule]
            .as_ref()
            .expect("invariant: an instrument's fee schedule exists");
        let steps = tiers.as_slice();
        let mut step = &steps[0];
        if steps.len() > 1 {
            let state = &mut self.members[member.0 as usize];
            let volume = state.volume(tiers.volume_asset, self.time.day());
            let reached = steps.iter().take_while(|step| step.min_volume <= volume);
            step = reached.last().unwrap_or(&steps[0]);
        }
        Rates {
            maker: step.maker,
            taker: step.taker,
        }
    }
}

/// What is held for an order that enters at once, and how it enters.
fn plan(
    market: &Market,
    book: &Book,
    seat: &Seat,
    order: &NewOrder,
    rates: Rates,
    available: Amount,
    sequence: u64,
) -> Result<(Amount, Option<Entry>), RejectReason> {
    let taker = |limit: Price, size: Quantity| Taker {
        sequence,
        member: seat.member,
        side: order.side,
        limit,
        size,
        self_trade_prevention: order.self_trade_prevention,
    };
    if order.order_type == OrderType::Limit {
        if order.post_only && Market::would_take(book, order.side, order.price) {
            return Err(RejectReason::PostOnlyWouldTake);
        }
        if order.time_in_force == TimeInForce::FillOrKill {
            let reachable = book.reachable(&taker(order.price, order.size));
            if reachable.quantity < order.size {
                return Err(RejectReason::FillOrKillUnfilled);
            }
        }
        let hold = limit_hold(market, order, order.size, rates)?;
        let entry = Entry {
            limit: order.price,
            size: order.size,
            budget: Budget::Covered,
        };
        return Ok((hold, Some(entry)));
    }
    let limit = market.market_limit(order.side);
    if !Market::would_take(book, order.side, limit) {
        return Err(RejectReason::NoLiquidity);
    }
    let hold = if order.side == Side::Buy && order.funds.is_zero() {
        let reachable = book.reachable(&taker(limit, order.size));
        let notional = market
            .scale
            .notional_units(reachable.notional_units)
            .ok_or(RejectReason::Overflow)?;
        check_largest_notional(notional, &market.instrument.limits, &seat.limits)?;
        cost(notional, rates.taker, 0)
    } else {
        market_hold(market, seat, order, available)?
    };
    let entry = market.market_entry(order, hold, seat);
    if order.time_in_force == TimeInForce::FillOrKill {
        let reachable = book.reachable(&taker(entry.limit, entry.size));
        if reachable.quantity < entry.size {
            return Err(RejectReason::FillOrKillUnfilled);
        }
    }
    Ok((hold, Some(entry)))
}

/// What is held for a limit order that has `remaining` left.
pub(crate) fn limit_hold(
    market: &Market,
    order: &NewOrder,
    remaining: Quantity,
    rates: Rates,
) -> Result<Amount, RejectReason> {
    if order.side == Side::Sell {
        return Ok(market.scale.base(remaining));
    }
    let notional = market
        .scale
        .notional(order.price, remaining)
        .ok_or(RejectReason::Overflow)?;
    Ok(cost(notional, rates.held(market, order), 0))
}

/// What is held for a market order whose cost does not depend on the book.
fn market_hold(
    market: &Market,
    seat: &Seat,
    order: &NewOrder,
    available: Amount,
) -> Result<Amount, RejectReason> {
    match order.side {
        Side::Buy => Ok(order.funds),
        Side::Sell if order.size != Quantity::ZERO => Ok(market.scale.base(order.size)),
        Side::Sell => {
            let limits = &market.instrument.limits;
            let size = market
                .scale
                .size_within(available)
                .min(largest_size(limits, &seat.limits));
            let size = floor_to_lot(size, limits.lot);
            if size == Quantity::ZERO {
                return Err(RejectReason::InsufficientFunds);
            }
            Ok(market.scale.base(size))
        }
    }
}

/// What is held for a stop order while it waits.
pub(crate) fn stop_hold(
    market: &Market,
    seat: &Seat,
    order: &NewOrder,
    rates: Rates,
    available: Amount,
) -> Result<Amount, RejectReason> {
    if order.order_type == OrderType::Limit {
        return limit_hold(market, order, order.size, rates);
    }
    if order.side == Side::Sell || order.funds.is_positive() {
        return market_hold(market, seat, order, available);
    }
    let limits = &market.instrument.limits;
    let stop = order.stop.expect("invariant: a stop order has a stop");
    if limits.price_band == Rate::ZERO {
        return Err(RejectReason::StopFundsRequired);
    }
    let worst = band_top(stop.price, limits.price_band);
    let notional = market
        .scale
        .notional(worst, order.size)
        .ok_or(RejectReason::Overflow)?;
    check_largest_notional(notional, limits, &seat.limits)?;
    Ok(cost(notional, rates.held(market, order), 0))
}
