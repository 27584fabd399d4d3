//! An order enters the market: it takes what it may, then rests or ends.

use everopen_book::{Book, BookOrder, Ended, Fill, MatchSink, Matched, Slot, Taker};
use everopen_domain::{
    Amount, CancelReason, DoneReason, Event, EventSink, InstrumentLimits, NewOrder, OrderLimits,
    OrderType, Price, Quantity, Rate, Side, Stop, TimeInForce, TradingPhase,
};

use crate::arithmetic::{FUNDS_MAX, band_top, cost, floor_to_lot};
use crate::floor::{Floor, Rest, Trade};
use crate::market::{Market, Seat, State};
use crate::rules::can_rest;

/// What bounds a taker beside its size and its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Budget {
    /// Its hold covers all of its size.
    Covered,
    /// A buy by funds: what is left of its hold pays for notional and fee.
    Spend,
    /// A sell by funds: it stops before its proceeds pass this.
    Proceeds(Amount),
}

/// How an order enters: what its size, worst price and budget are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub limit: Price,
    pub size: Quantity,
    pub budget: Budget,
}

/// A match under way.
struct Taking<'f, 'a, E> {
    floor: &'f mut Floor<'a, E>,
    slot: Slot,
    budget: Budget,
    /// True where the order has no size of its own to report.
    by_funds_alone: bool,
    /// What self-trade prevention took off its size; always zero for an order by funds alone.
    reduced: Quantity,
}

impl<E: EventSink> Taking<'_, '_, E> {
    /// How much of `wanted` the budget allows at this price, in lots.
    fn within_budget(&self, price: Price, wanted: Quantity) -> Quantity {
        let market = &*self.floor.market;
        let order = &market.orders[self.slot as usize];
        let most = match self.budget {
            Budget::Covered => return wanted,
            Budget::Spend => {
                let budget = order.hold.min(FUNDS_MAX);
                market
                    .scale
                    .affordable(budget, price, order.taker_rate, order.fee_slack)
            }
            Budget::Proceeds(left) => market.scale.within(left, price),
        };
        if wanted <= most {
            wanted
        } else {
            floor_to_lot(most, market.instrument.limits.lot)
        }
    }

    fn spend_proceeds(&mut self, price: Price, quantity: Quantity) {
        if let Budget::Proceeds(left) = &mut self.budget {
            let notional = self.floor.market.scale.notional(price, quantity);
            left.0 -= notional
                .expect("invariant: proceeds are within the budget")
                .0;
        }
    }
}

impl<E: EventSink> MatchSink for Taking<'_, '_, E> {
    #[inline]
    fn cap(&mut self, price: Price, wanted: Quantity) -> Quantity {
        if self.budget == Budget::Covered {
            wanted
        } else {
            self.within_budget(price, wanted)
        }
    }

    #[inline]
    fn cap_decrease(&mut self, price: Price, wanted: Quantity) -> Quantity {
        self.cap(price, wanted)
    }

    #[inline]
    fn traded(&mut self, fill: &Fill) {
        self.floor.trade(&Trade {
            maker: fill.slot,
            taker: self.slot,
            price: fill.price,
            quantity: fill.quantity,
            maker_remaining: fill.maker_remaining,
            maker_visible: fill.maker_visible,
            taker_remaining: if self.by_funds_alone {
                Quantity::ZERO
            } else {
                fill.taker_remaining
            },
            auction: false,
        });
        self.spend_proceeds(fill.price, fill.quantity);
        if fill.maker_remaining == Quantity::ZERO {
            let rest = Rest {
                price: fill.price,
                visible: Quantity::ZERO,
                remaining: Quantity::ZERO,
            };
            self.floor.close(fill.slot, &rest, DoneReason::Filled);
        } else {
            let need = self
                .floor
                .resting_need(fill.slot, fill.price, fill.maker_remaining);
            self.floor.shrink_hold(fill.slot, need);
        }
    }

    fn refreshed(&mut self, slot: Slot, order: &BookOrder) {
        self.floor.opened(slot, order);
    }

    fn maker_canceled(&mut self, slot: Slot, order: &BookOrder) {
        self.floor.close_self_trade(slot, order);
    }

    fn maker_reduced(&mut self, slot: Slot, order: &BookOrder, by: Quantity) {
        self.floor.shrink_self_trade(slot, order, by);
    }

    /// The taker shrinks as if it had traded: a size by the quantity, funds by what it would have
    /// cost (of which the fee's rounding stays the order's own).
    fn taker_reduced(&mut self, price: Price, by: Quantity) {
        if !self.by_funds_alone {
            self.reduced.0 += by.0;
            return;
        }
        if self.budget == Budget::Spend {
            let order = self.floor.market.orders[self.slot as usize];
            let notional = self.floor.market.scale.notional(price, by);
            let notional = notional.expect("invariant: a decrease is within the budget");
            let spent = cost(notional, order.taker_rate, order.fee_slack);
            self.floor
                .shrink_hold(self.slot, Amount(order.hold.0 - spent.0));
        }
        self.spend_proceeds(price, by);
    }
}

impl<E: EventSink> Floor<'_, E> {
    /// Lets an order into the market whose checks are passed and whose hold is taken.
    pub fn enter(&mut self, book: &mut Book, slot: Slot, entry: &Entry) {
        let order = &self.market.accepted[slot as usize].order;
        let by_funds_alone = order.order_type == OrderType::Market && order.size == Quantity::ZERO;
        let (matched, reduced) = if self.market.is_continuous() && !order.post_only {
            let taker = self.taker(slot, entry);
            let mut taking = Taking {
                floor: self,
                slot,
                budget: entry.budget,
                by_funds_alone,
                reduced: Quantity::ZERO,
            };
            let matched = book.take(&taker, &mut taking);
            (matched, taking.reduced)
        } else {
            (
                Matched {
                    remaining: entry.size,
                    ended: Ended::Exhausted,
                },
                Quantity::ZERO,
            )
        };

        let order = &self.market.accepted[slot as usize].order;
        let limit_order = order.order_type == OrderType::Limit;
        let rests = limit_order
            && can_rest(order.time_in_force)
            && matched.ended == Ended::Exhausted
            && matched.remaining > Quantity::ZERO;
        // A decrease that leaves nothing is told by the order's end.
        let ends_decreased = matched.ended == Ended::SelfTrade;
        if reduced != Quantity::ZERO && !ends_decreased {
            self.shrink_taker(slot, matched.remaining, reduced, rests);
        }
        let order = &self.market.accepted[slot as usize].order;
        if rests {
            self.rest(book, slot, matched.remaining);
            return;
        }
        let reason = match matched.ended {
            Ended::Filled if by_funds_alone => {
                // A sell that ran out of balance; a buy that ran into the largest size.
                match entry.budget {
                    Budget::Spend => DoneReason::Canceled(CancelReason::Unfilled),
                    _ => DoneReason::Canceled(CancelReason::FundsUsed),
                }
            }
            Ended::Filled => DoneReason::Filled,
            Ended::Capped => DoneReason::Canceled(CancelReason::FundsUsed),
            Ended::SelfTrade => DoneReason::Canceled(CancelReason::SelfTrade),
            Ended::Exhausted => {
                let beyond = book.best(order.side.opposite()).is_some();
                DoneReason::Canceled(if !limit_order && beyond {
                    CancelReason::PriceBand
                } else {
                    CancelReason::Unfilled
                })
            }
        };
        let remaining = match reason {
            _ if by_funds_alone => Quantity::ZERO,
            DoneReason::Filled => Quantity::ZERO,
            // What a decrease to nothing took was not filled either.
            DoneReason::Canceled(_) if ends_decreased => Quantity(matched.remaining.0 + reduced.0),
            DoneReason::Canceled(_) => matched.remaining,
        };
        let rest = Rest {
            price: order.price,
            visible: Quantity::ZERO,
            remaining,
        };
        self.close(slot, &rest, reason);
        book.free(slot);
    }

    /// Puts an order into the book. From here on it can only be a maker, so its hold shrinks to
    /// what a maker needs.
    #[inline]
    fn rest(&mut self, book: &mut Book, slot: Slot, remaining: Quantity) {
        let order = &self.market.accepted[slot as usize].order;
        let peak = order.display_size;
        let visible = if peak == Quantity::ZERO {
            remaining
        } else {
            peak.min(remaining)
        };
        let resting = BookOrder {
            sequence: self.market.orders[slot as usize].sequence,
            price: order.price,
            visible,
            hidden: Quantity(remaining.0 - visible.0),
            peak,
            member: self.market.seat(slot).member,
            side: order.side,
            self_trade_prevention: order.self_trade_prevention,
        };
        let need = self.resting_need(slot, resting.price, remaining);
        self.shrink_hold(slot, need);
        self.market.orders[slot as usize].state = State::Resting;
        book.rest(slot, resting);
        self.opened(slot, &resting);
    }

    /// Takes an open order out of the market.
    pub fn cancel(&mut self, book: &mut Book, slot: Slot, reason: CancelReason) {
        let reason = DoneReason::Canceled(reason);
        if self.market.orders[slot as usize].state == State::Waiting {
            book.remove_stop(slot);
            self.market.waiting -= 1;
            let order = &self.market.accepted[slot as usize].order;
            let rest = Rest {
                price: order.price,
                visible: Quantity::ZERO,
                remaining: order.size,
            };
            self.close(slot, &rest, reason);
        } else {
            let order = book.remove(slot);
            self.close(slot, &Rest::from(&order), reason);
        }
    }

    /// Whether all of an order would trade at once.
    fn fills_in_full(&self, book: &Book, slot: Slot, entry: &Entry) -> bool {
        book.reachable(&self.taker(slot, entry)).quantity >= entry.size
    }

    fn taker(&self, slot: Slot, entry: &Entry) -> Taker {
        let order = &self.market.accepted[slot as usize].order;
        Taker {
            sequence: self.market.orders[slot as usize].sequence,
            member: self.market.seat(slot).member,
            side: order.side,
            limit: entry.limit,
            size: entry.size,
            self_trade_prevention: order.self_trade_prevention,
        }
    }

    // Stops.

    /// Lets triggered stop orders enter until no trade triggers another. Each stop triggers once,
    /// so this ends. Stops are looked for in the order of the trades that reach them.
    #[inline]
    pub fn run_triggers(&mut self, book: &mut Book) {
        if !self.market.trade_prices.is_empty() {
            self.run_triggers_now(book);
        }
    }

    fn run_triggers_now(&mut self, book: &mut Book) {
        let mut next = 0;
        loop {
            self.collect_triggered(book);
            let Some(&(slot, price)) = self.market.triggered.get(next) else {
                break;
            };
            next += 1;
            self.trigger(book, slot, price);
        }
        self.market.triggered.clear();
    }

    fn collect_triggered(&mut self, book: &mut Book) {
        for at in 0..self.market.trade_prices.len() {
            let price = self.market.trade_prices[at];
            while self.market.waiting > 0 {
                let Some(slot) = book.pop_triggered(price) else {
                    break;
                };
                self.market.waiting -= 1;
                self.market.orders[slot as usize].state = State::Entering;
                self.market.triggered.push((slot, price));
            }
        }
        self.market.trade_prices.clear();
    }

    fn trigger(&mut self, book: &mut Book, slot: Slot, trigger_price: Price) {
        let market = &mut *self.market;
        self.out.emit(Event::OrderTriggered {
            order: market.order_id(slot),
            member: market.seat(slot).member,
            sequence: market.next_sequence(),
            trigger_price,
        });
        let refused = match self.stop_entry(slot) {
            Err(reason) => Some(reason),
            Ok(entry) => {
                let order = &self.market.accepted[slot as usize].order;
                if order.post_only && Market::would_take(book, order.side, order.price) {
                    Some(CancelReason::WouldTake)
                } else if order.time_in_force == TimeInForce::FillOrKill
                    && !self.fills_in_full(book, slot, &entry)
                {
                    Some(CancelReason::FillOrKill)
                } else {
                    self.enter(book, slot, &entry);
                    None
                }
            }
        };
        if let Some(reason) = refused {
            let order = &self.market.accepted[slot as usize].order;
            let rest = Rest {
                price: order.price,
                visible: Quantity::ZERO,
                remaining: order.size,
            };
            self.close(slot, &rest, DoneReason::Canceled(reason));
            book.free(slot);
        }
    }

    /// How a triggered stop order enters, or why it does not.
    fn stop_entry(&self, slot: Slot) -> Result<Entry, CancelReason> {
        let market = &*self.market;
        let order = &market.accepted[slot as usize].order;
        if order.order_type == OrderType::Limit {
            if !market.in_band(order.side, order.price) {
                return Err(CancelReason::NotAccepted);
            }
            return Ok(Entry {
                limit: order.price,
                size: order.size,
                budget: Budget::Covered,
            });
        }
        if market.phase == TradingPhase::LimitOnly {
            return Err(CancelReason::NotAccepted);
        }
        let mut entry =
            market.market_entry(order, market.orders[slot as usize].hold, market.seat(slot));
        if entry.budget == Budget::Covered && order.side == Side::Buy {
            entry.limit = entry.limit.min(market.stop_limit(order.stop));
            // The band may have grown since the hold was taken.
            entry.budget = Budget::Spend;
        }
        Ok(entry)
    }
}

impl Market {
    /// How a market order enters, given what is held for it.
    pub fn market_entry(&self, order: &NewOrder, hold: Amount, seat: &Seat) -> Entry {
        let limits = &self.instrument.limits;
        let size = match (order.size, order.side) {
            (Quantity::ZERO, Side::Buy) => largest_size(limits, &seat.limits),
            (Quantity::ZERO, Side::Sell) => self.scale.size_within(hold),
            (size, _) => size,
        };
        let budget = match (order.funds.is_positive(), order.side) {
            (false, _) => Budget::Covered,
            (true, Side::Buy) => Budget::Spend,
            (true, Side::Sell) => Budget::Proceeds(order.funds),
        };
        Entry {
            limit: self.market_limit(order.side),
            size,
            budget,
        }
    }

    /// The worst price of a stop-market buy by size: the top of the band around its stop price.
    /// Only where there is a band.
    pub fn stop_limit(&self, stop: Option<Stop>) -> Price {
        let band = self.instrument.limits.price_band;
        match stop {
            Some(stop) if band != Rate::ZERO => band_top(stop.price, band),
            _ => Price::MAX,
        }
    }

    /// Whether an order at this price would trade with what rests now.
    pub fn would_take(book: &Book, side: Side, price: Price) -> bool {
        match (book.best(side.opposite()), side) {
            (None, _) => false,
            (Some(best), Side::Buy) => best <= price,
            (Some(best), Side::Sell) => best >= price,
        }
    }
}

/// The largest size that an order without a size of its own may have.
pub(crate) fn largest_size(limits: &InstrumentLimits, member: &OrderLimits) -> Quantity {
    let mut size = limits.max_size.min(Quantity::MAX);
    if member.max_size != Quantity::ZERO {
        size = size.min(member.max_size);
    }
    floor_to_lot(size, limits.lot)
}
