//! One command at a time: what a maker or a taker does in a market.

use everopen_domain::{
    AmendOrder, Command, NewOrder, OrderId, OrderTarget, OrderType, Price, Quantity, Side, Stop,
    StopDirection, TimeInForce, Timestamp, TradingPhase,
};

use super::{Open, Participants};

/// Price levels that a maker quotes on each side.
const LEVELS: u64 = 8;

impl Participants {
    pub(super) fn act(&mut self, market: usize, now: Timestamp) -> Option<Command> {
        let makers = self.members.len() / 2;
        match self.markets[market].phase {
            TradingPhase::Halted | TradingPhase::CancelOnly => None,
            TradingPhase::Auction => {
                let member = self.random.below(self.members.len() as u64) as usize;
                self.gather(member, market)
            }
            TradingPhase::PostOnly => {
                let member = self.random.below(makers as u64) as usize;
                self.make(member, market)
            }
            TradingPhase::Online | TradingPhase::LimitOnly => {
                if self.random.percent(78) {
                    let member = self.random.below(makers as u64) as usize;
                    self.make(member, market)
                } else {
                    let takers = (self.members.len() - makers) as u64;
                    let member = makers + self.random.below(takers) as usize;
                    self.take(member, market, now)
                }
            }
        }
    }

    fn new_order(&self, market: usize, side: Side, price: u64, size: u64) -> NewOrder {
        NewOrder {
            instrument: self.markets[market].id,
            side,
            price: Price(price),
            size: Quantity(size),
            ..NewOrder::default()
        }
    }

    fn place(&mut self, member: usize, market: usize, order: NewOrder) -> Option<Command> {
        let most = self.config.max_open as usize;
        let seat = self.seat(member, market);
        if seat.open.len() + seat.under_way as usize >= most {
            let (oldest, _) = seat.open.iter().find(|(_, open)| !open.busy)?;
            let oldest = *oldest;
            return self.cancel(member, market, oldest);
        }
        seat.under_way += 1;
        Some(Command::PlaceOrder {
            member: self.members[member],
            order,
        })
    }

    fn cancel(&mut self, member: usize, market: usize, order: OrderId) -> Option<Command> {
        self.seat(member, market).open.get_mut(&order)?.busy = true;
        let target = OrderTarget::Order(order);
        Some(Command::CancelOrder {
            member: self.members[member],
            target,
        })
    }

    fn amend(&mut self, member: usize, market: usize, amendment: AmendOrder) -> Option<Command> {
        if let OrderTarget::Order(order) = amendment.target {
            self.seat(member, market).open.get_mut(&order)?.busy = true;
        }
        Some(Command::AmendOrder {
            member: self.members[member],
            amendment,
        })
    }

    /// A price so many levels from the reference, on the side's grid.
    fn quote(&self, market: usize, side: Side, level: u64) -> u64 {
        let reference = &self.references[market];
        let price = reference.price();
        let tick = self.markets[market].instrument.limits.tick.0.max(1);
        let part = |ppm: u64| (u128::from(price) * u128::from(ppm) / 1_000_000) as u64;
        let half = part(reference.half_spread()).max(tick / 2);
        let step = part(80).max(tick);
        let distance = half.saturating_add(step.saturating_mul(level));
        match side {
            Side::Buy => (price.saturating_sub(distance) / tick * tick).max(tick),
            Side::Sell => price.saturating_add(distance).div_ceil(tick) * tick,
        }
    }

    fn size(&mut self, market: usize) -> u64 {
        let Quantity(typical) = self.markets[market].typical_size;
        let scale = self.scale[market];
        let typical = if scale >= 0 {
            typical << scale.min(20)
        } else {
            typical >> -scale
        };
        let limits = self.markets[market].instrument.limits;
        let lot = limits.lot.0.max(1);
        let share = 20 + self.random.below(17) * self.random.below(17);
        let size = (u128::from(typical) * u128::from(share) / 84) as u64 / lot * lot;
        let most = if limits.max_size.0 == 0 {
            u64::MAX
        } else {
            limits.max_size.0
        };
        let least = limits.min_size.0.max(lot).div_ceil(lot) * lot;
        size.clamp(least, (most / lot * lot).max(least))
    }

    /// The side that brings a member's inventory back, more often the more it has piled up.
    fn side(&mut self, member: usize, market: usize, lean: i64) -> Side {
        let inventory = self.seat(member, market).inventory;
        let usual = i128::from(self.markets[market].typical_size.0.max(1)) * 200;
        let against = (inventory * 30 / usual).clamp(-40, 40) as i64;
        let percent = (50 + lean - against).clamp(5, 95) as u64;
        if self.random.percent(percent) {
            Side::Buy
        } else {
            Side::Sell
        }
    }

    /// Keeps a ladder of quotes: moves what has gone stale, fills what is missing.
    fn make(&mut self, member: usize, market: usize) -> Option<Command> {
        let (top_bid, top_ask) = (
            self.quote(market, Side::Buy, 0),
            self.quote(market, Side::Sell, 0),
        );
        let (low_bid, high_ask) = (
            self.quote(market, Side::Buy, LEVELS + 4),
            self.quote(market, Side::Sell, LEVELS + 4),
        );
        let stale = |open: &Open| match open.side {
            Side::Buy => open.price > top_bid || open.price < low_bid,
            Side::Sell => open.price < top_ask || open.price > high_ask,
        };
        let seat = self.seat(member, market);
        let found = seat
            .open
            .iter()
            .find(|(_, open)| !open.busy && stale(open))
            .map(|(id, open)| (*id, *open));
        let mut counts = [0_u64; 2];
        seat.open
            .values()
            .for_each(|open| counts[open.side as usize] += 1);
        let bare = counts.contains(&0);
        if let Some((id, open)) = found.filter(|_| !bare) {
            // Most stale quotes move, the others go.
            if self.random.percent(25) {
                return self.cancel(member, market, id);
            }
            let level = self.random.below(LEVELS);
            let price = Price(self.quote(market, open.side, level));
            if price.0 == open.price {
                return self.cancel(member, market, id);
            }
            let target = OrderTarget::Order(id);
            let amendment = AmendOrder {
                target,
                price,
                size: Quantity::ZERO,
            };
            return self.amend(member, market, amendment);
        }
        if !bare && self.random.percent(6) {
            return self.tinker(member, market);
        }
        // A side that is bare, or thin, comes first.
        let thin = if bare { 1 } else { LEVELS / 2 };
        let side = match (counts[0] < thin, counts[1] < thin) {
            (true, false) => Side::Buy,
            (false, true) => Side::Sell,
            _ => self.side(member, market, 0),
        };
        let level = self.random.below(LEVELS) * self.random.below(LEVELS) / LEVELS;
        let price = self.quote(market, side, level);
        let size = self.size(market);
        let mut order = self.new_order(market, side, price, size);
        // With nothing on a side a maker wants to be there, even through the stale quotes of others.
        order.post_only = !bare || self.markets[market].phase == TradingPhase::PostOnly;
        if self.random.percent(6) {
            let limits = self.markets[market].instrument.limits;
            let lot = limits.lot.0.max(1);
            let shown = (size / 5 / lot * lot)
                .max(limits.min_size.0.div_ceil(lot) * lot)
                .max(lot);
            if shown < size {
                order.display_size = Quantity(shown);
            }
        }
        self.place(member, market, order)
    }

    /// Shrinks or cancels one of the member's own orders.
    fn tinker(&mut self, member: usize, market: usize) -> Option<Command> {
        let lot = self.markets[market].instrument.limits.lot.0.max(1);
        let count = self.seat(member, market).open.len() as u64;
        let at = self.random.below(count) as usize;
        let (id, open) = self
            .seat(member, market)
            .open
            .iter()
            .nth(at)
            .map(|(id, o)| (*id, *o))?;
        let lots = open.remaining / lot;
        if open.busy {
            return None;
        }
        if open.waiting || lots < 4 || self.random.percent(50) {
            return self.cancel(member, market, id);
        }
        let size = Quantity(open.size - (1 + self.random.below(lots / 2)) * lot);
        if size < self.markets[market].instrument.limits.min_size {
            return self.cancel(member, market, id);
        }
        let amendment = AmendOrder {
            target: OrderTarget::Order(id),
            price: Price::ZERO,
            size,
        };
        self.amend(member, market, amendment)
    }

    fn take(&mut self, member: usize, market: usize, now: Timestamp) -> Option<Command> {
        let lean = self.references[market].lean();
        let side = self.side(member, market, lean);
        let size = self.size(market);
        let online = self.markets[market].phase == TradingPhase::Online;
        match self.random.below(100) {
            // Market orders, where they are taken.
            0..30 if online => {
                let mut order = self.new_order(market, side, 0, size);
                order.order_type = OrderType::Market;
                order.price = Price::ZERO;
                self.place(member, market, order)
            }
            // Through the market, for what is there at once.
            0..65 => {
                let price = self.quote(market, side.opposite(), 2);
                let mut order = self.new_order(market, side, price, size);
                order.time_in_force = TimeInForce::ImmediateOrCancel;
                if self.random.percent(10) {
                    order.time_in_force = TimeInForce::FillOrKill;
                }
                self.place(member, market, order)
            }
            // Patient orders, some with an end.
            65..85 => {
                let level = self.random.below(4);
                let price = self.quote(market, side, level);
                let mut order = self.new_order(market, side, price, size);
                if self.random.percent(30) {
                    let wait = (5 + self.random.below(55)) * Timestamp::NANOS_PER_SECOND;
                    order.time_in_force = TimeInForce::GoodTillTime;
                    order.expires_at = now.checked_add(wait)?;
                }
                self.place(member, market, order)
            }
            85..93 => self.tinker(member, market),
            _ => self.stop(member, market, side, size),
        }
    }

    /// A stop-limit order a little way off: a stop loss to sell, an entry to buy.
    fn stop(&mut self, member: usize, market: usize, side: Side, size: u64) -> Option<Command> {
        let waiting = self
            .seat(member, market)
            .open
            .values()
            .filter(|open| open.waiting)
            .count();
        if waiting >= 4 {
            return self.tinker(member, market);
        }
        // A buy waits above the market, a sell below, with a limit a few levels behind.
        let trigger = self.quote(market, side.opposite(), 6);
        let limit = self.quote(market, side.opposite(), 12);
        let direction = if side == Side::Buy {
            StopDirection::Entry
        } else {
            StopDirection::Loss
        };
        let mut order = self.new_order(market, side, limit, size);
        order.stop = Some(Stop {
            direction,
            price: Price(trigger),
        });
        self.place(member, market, order)
    }

    /// An order for an auction: near the reference on either side of it, so that there is something
    /// to uncross.
    fn gather(&mut self, member: usize, market: usize) -> Option<Command> {
        let side = self.side(member, market, 0);
        let through = self.random.percent(30);
        let level = self.random.below(LEVELS);
        let price = self.quote(market, if through { side.opposite() } else { side }, level);
        let size = self.size(market);
        let order = self.new_order(market, side, price, size);
        self.place(member, market, order)
    }
}
