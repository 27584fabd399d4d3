//! Changing an open order in place.

use everopen_book::Slot;
use everopen_domain::{
    AmendOrder, Amount, Event, EventSink, MemberId, NewOrder, OrderId, OrderType, Price, Quantity,
    RejectReason, Side, TradingPhase,
};

use crate::arithmetic::cost;
use crate::floor::resting_rate;
use crate::market::{Market, State};
use crate::matching::{Budget, Entry};
use crate::place::{Rates, stop_hold};
use crate::rules::{check_notional, check_price, check_size};
use crate::venue::Venue;

/// An order before and after an amendment that passed its checks.
struct Change {
    id: OrderId,
    old: NewOrder,
    new: NewOrder,
    filled: Quantity,
}

impl Change {
    fn remaining(&self) -> Quantity {
        Quantity(self.new.size.0 - self.filled.0)
    }
}

impl Venue {
    pub(crate) fn amend<E: EventSink>(
        &mut self,
        member: MemberId,
        amendment: &AmendOrder,
        out: &mut E,
    ) -> Result<(), RejectReason> {
        let (now, venue_killed) = (self.time, self.killed);
        let state = self.member(member)?;
        if !state.allow_message(now) {
            return Err(RejectReason::RateLimited);
        }
        let member_killed = state.killed;
        let id = self.target(member, &amendment.target)?;
        if venue_killed {
            return Err(RejectReason::VenueKilled);
        }
        if member_killed {
            return Err(RejectReason::MemberKilled);
        }
        let market = &self.markets[id.instrument.0 as usize];
        match market.phase {
            TradingPhase::Halted => return Err(RejectReason::Halted),
            TradingPhase::CancelOnly => return Err(RejectReason::CancelOnly),
            _ => {}
        }
        let old = market.accepted[id.slot as usize].order;
        let waits = market.orders[id.slot as usize].state == State::Waiting;
        let filled = match self.books[id.instrument.0 as usize].get(id.slot, id.sequence) {
            Some(resting) => Quantity(old.size.0 - resting.remaining().0),
            None => Quantity::ZERO,
        };
        let mut new = old;
        if amendment.price != Price::ZERO {
            new.price = amendment.price;
        }
        if amendment.size != Quantity::ZERO {
            new.size = amendment.size;
        }
        let change = Change {
            id,
            old,
            new,
            filled,
        };
        check_change(market, &change)?;
        if waits {
            self.amend_stop(&change, out)
        } else if new.price == old.price && new.size < old.size {
            self.amend_in_place(&change, out);
            Ok(())
        } else {
            self.amend_and_enter(&change, out)
        }
    }

    /// A smaller size at the same price: the order keeps its place in the queue. An iceberg gives
    /// up its hidden part first.
    fn amend_in_place<E: EventSink>(&mut self, change: &Change, out: &mut E) {
        let slot = change.id.slot;
        let (book, mut floor) = self.floor(change.id.instrument, out);
        let resting = book
            .get(slot, change.id.sequence)
            .expect("invariant: an open order that does not wait rests");
        let remaining = change.remaining();
        let visible = resting.visible.min(remaining);
        let hidden = Quantity(remaining.0 - visible.0);
        book.reduce(slot, visible, hidden);
        let need = floor.resting_need(slot, change.new.price, remaining);
        floor.shrink_hold(slot, need);
        floor.market.accepted[slot as usize].order = change.new;
        floor.market.accepted[slot as usize].visible = visible;
        floor.market.indicate = true;
        let sequence = floor.market.next_sequence();
        let event = amended(
            floor.market,
            change,
            sequence,
            (resting.visible, visible),
            need,
            true,
        );
        floor.out.emit(event);
    }

    /// A new price or a larger size: the order leaves the book and enters anew, with its old
    /// rates.
    fn amend_and_enter<E: EventSink>(
        &mut self,
        change: &Change,
        out: &mut E,
    ) -> Result<(), RejectReason> {
        let (slot, new) = (change.id.slot, &change.new);
        let at = change.id.instrument.0 as usize;
        let (market, book) = (&self.markets[at], &self.books[at]);
        if market.phase == TradingPhase::PostOnly && !new.post_only {
            return Err(RejectReason::PostOnlyPhase);
        }
        if new.price != change.old.price && !market.in_band(new.side, new.price) {
            return Err(RejectReason::PriceOutOfBand);
        }
        if new.post_only && Market::would_take(book, new.side, new.price) {
            return Err(RejectReason::PostOnlyWouldTake);
        }
        let remaining = change.remaining();
        let open = market.orders[slot as usize];
        let rates = Rates {
            maker: open.maker_rate,
            taker: open.taker_rate,
        };
        let hold = match new.side {
            Side::Sell => market.scale.base(remaining),
            Side::Buy => {
                let notional = market
                    .scale
                    .notional(new.price, remaining)
                    .ok_or(RejectReason::Overflow)?;
                cost(notional, rates.held(market, new), open.fee_slack)
            }
        };
        self.change_hold(change.id, hold)?;

        let (book, mut floor) = self.floor(change.id.instrument, out);
        let old = book.take_out(slot);
        floor.market.orders[slot as usize].state = State::Entering;
        floor.market.accepted[slot as usize].order = *new;
        let sequence = floor.market.next_sequence();
        let visible = (old.visible, Quantity::ZERO);
        let event = amended(floor.market, change, sequence, visible, hold, false);
        floor.out.emit(event);
        let entry = Entry {
            limit: new.price,
            size: remaining,
            budget: Budget::Covered,
        };
        floor.enter(book, slot, &entry);
        floor.run_triggers(book);
        Ok(())
    }

    /// A stop order that waits keeps its trigger and its turn.
    fn amend_stop<E: EventSink>(
        &mut self,
        change: &Change,
        out: &mut E,
    ) -> Result<(), RejectReason> {
        let slot = change.id.slot;
        let market = &self.markets[change.id.instrument.0 as usize];
        let open = market.orders[slot as usize];
        let rates = Rates {
            maker: open.maker_rate,
            taker: open.taker_rate,
        };
        let hold = stop_hold(market, market.seat(slot), &change.new, rates, Amount::ZERO)?;
        self.change_hold(change.id, hold)?;
        let (_, floor) = self.floor(change.id.instrument, out);
        floor.market.accepted[slot as usize].order = change.new;
        let none = (Quantity::ZERO, Quantity::ZERO);
        floor
            .out
            .emit(amended(floor.market, change, 0, none, hold, true));
        Ok(())
    }

    /// Makes an order's hold larger, if that is available, or smaller.
    fn change_hold(&mut self, id: OrderId, hold: Amount) -> Result<(), RejectReason> {
        let market = &mut self.markets[id.instrument.0 as usize];
        let account = market
            .seat(id.slot)
            .hold_account(market.orders[id.slot as usize].side);
        let open = &mut market.orders[id.slot as usize];
        if hold >= open.hold {
            let more = Amount(hold.0 - open.hold.0);
            self.ledger
                .hold(account, more)
                .map_err(|_| RejectReason::InsufficientFunds)?;
        } else {
            self.ledger.release(account, Amount(open.hold.0 - hold.0));
        }
        open.hold = hold;
        Ok(())
    }
}

/// Checks the new price and size as those of a new order.
fn check_change(market: &Market, change: &Change) -> Result<(), RejectReason> {
    let Change { old, new, .. } = change;
    if new.price == old.price && new.size == old.size {
        return Err(RejectReason::AmendUnchanged);
    }
    let limits = &market.instrument.limits;
    let member = &market.seat(change.id.slot).limits;
    if new.order_type == OrderType::Market {
        if new.price != Price::ZERO {
            return Err(RejectReason::PriceNotAllowed);
        }
        if old.size == Quantity::ZERO {
            return Err(RejectReason::AmendNotAllowed);
        }
    } else if new.price != old.price {
        check_price(new.price, limits)?;
    }
    if new.size != old.size {
        check_size(new.size, limits, member)?;
        if new.size <= change.filled {
            return Err(RejectReason::AmendSizeFilled);
        }
    }
    if new.order_type == OrderType::Limit {
        let notional = market
            .scale
            .notional(new.price, new.size)
            .ok_or(RejectReason::Overflow)?;
        check_notional(notional, limits, member)?;
    }
    Ok(())
}

fn amended(
    market: &Market,
    change: &Change,
    sequence: u64,
    (old_visible, visible): (Quantity, Quantity),
    hold: Amount,
    kept_priority: bool,
) -> Event {
    Event::OrderAmended {
        order: change.id,
        member: market.seat(change.id.slot).member,
        sequence,
        side: change.new.side,
        old_price: change.old.price,
        price: change.new.price,
        size: change.new.size,
        old_visible,
        visible,
        remaining: change.remaining(),
        hold,
        kept_priority,
        self_trade: false,
    }
}

/// Used by the audit: what a resting order's hold must be.
pub(crate) fn exact_resting_hold(market: &Market, slot: Slot, remaining: Quantity) -> Amount {
    let open = &market.orders[slot as usize];
    match open.side {
        Side::Sell => market.scale.base(remaining),
        Side::Buy => {
            let price = market.accepted[slot as usize].order.price;
            let notional = market.scale.notional(price, remaining);
            let notional = notional.expect("invariant: an open order's hold is in range");
            cost(notional, resting_rate(open.maker_rate), open.fee_slack)
        }
    }
}
