//! Where a command works on one market: what a trade does to the money of its two sides, and how
//! an order ends. The book is passed beside it, since the book calls back into it while it
//! matches.

use everopen_book::{BookOrder, Slot};
use everopen_domain::{
    Amount, CancelReason, DoneReason, Event, EventSink, Price, Quantity, Rate, Side, Timestamp,
    TradeId,
};
use everopen_ledger::Ledger;

use crate::arithmetic::{cost, fee};
use crate::expiry::Expiries;
use crate::ids::NONE;
use crate::market::{Market, State};
use crate::member::Member;

/// One market, and all that its orders touch.
pub(crate) struct Floor<'a, E> {
    pub now: Timestamp,
    pub market: &'a mut Market,
    pub members: &'a mut [Member],
    pub ledger: &'a mut Ledger,
    pub expiries: &'a mut Expiries,
    pub out: &'a mut E,
}

/// A trade as the book reports it.
pub(crate) struct Trade {
    pub maker: Slot,
    pub taker: Slot,
    pub price: Price,
    pub quantity: Quantity,
    pub maker_remaining: Quantity,
    pub maker_visible: Quantity,
    pub taker_remaining: Quantity,
    /// An auction charges both sides their maker rate.
    pub auction: bool,
}

/// What an order that ends leaves to be told.
pub(crate) struct Rest {
    pub price: Price,
    pub visible: Quantity,
    pub remaining: Quantity,
}

impl From<&BookOrder> for Rest {
    fn from(order: &BookOrder) -> Self {
        Self {
            price: order.price,
            visible: order.visible,
            remaining: order.remaining(),
        }
    }
}

/// The rate that a hold for an order that can only be a maker covers: a rebate is never counted on.
#[inline]
pub(crate) fn resting_rate(maker: Rate) -> Rate {
    maker.max(Rate::ZERO)
}

/// The rate that a hold for an order that may take covers.
#[inline]
pub(crate) fn entering_rate(maker: Rate, taker: Rate) -> Rate {
    taker.max(maker).max(Rate::ZERO)
}

impl<E: EventSink> Floor<'_, E> {
    /// Moves base, quote and fees of one trade, counts it and tells it. Both holds shrink by what
    /// they paid; what price improvement leaves in them is released by the caller.
    #[inline]
    pub fn trade(&mut self, trade: &Trade) {
        let market = &mut *self.market;
        let (maker, taker) = (trade.maker as usize, trade.taker as usize);
        let notional = market
            .scale
            .notional(trade.price, trade.quantity)
            .expect("invariant: a trade is within its buyer's hold");
        let base = market.scale.base(trade.quantity);
        let maker_side = market.orders[maker].side;
        let (buyer, seller) = match maker_side {
            Side::Buy => (maker, taker),
            Side::Sell => (taker, maker),
        };

        let mut charge = |at: usize| {
            let order = &mut market.orders[at];
            let takes = at == taker && !trade.auction;
            let rate = if takes {
                order.taker_rate
            } else {
                order.maker_rate
            };
            let (charged, slack) = fee(notional, rate, order.fee_slack);
            order.fee_slack = slack;
            charged
        };
        let (mut maker_fee, mut taker_fee) = (charge(maker), charge(taker));

        let buyer_seat = &market.seats[market.orders[buyer].seat as usize];
        let seller_seat = &market.seats[market.orders[seller].seat as usize];
        self.ledger
            .settle(buyer_seat.quote, seller_seat.quote, notional);
        self.ledger.settle(seller_seat.base, buyer_seat.base, base);
        let (buyer_fee, seller_fee) = match maker_side {
            Side::Buy => (&mut maker_fee, &mut taker_fee),
            Side::Sell => (&mut taker_fee, &mut maker_fee),
        };
        if buyer_fee.0 > 0 {
            self.ledger.charge_held(buyer_seat.quote, *buyer_fee);
        }
        if seller_fee.0 > 0 {
            self.ledger.charge_available(seller_seat.quote, *seller_fee);
        }
        // Rebates last, so that the taker's fee is there to pay the maker's rebate from.
        if buyer_fee.0 < 0 {
            buyer_fee.0 = -self.ledger.rebate(buyer_seat.quote, Amount(-buyer_fee.0)).0;
        }
        if seller_fee.0 < 0 {
            seller_fee.0 = -self
                .ledger
                .rebate(seller_seat.quote, Amount(-seller_fee.0))
                .0;
        }
        let paid = notional.0 + buyer_fee.0.max(0);
        let (buyer_member, seller_member) = (buyer_seat.member, seller_seat.member);
        // A member that trades with itself earns no lower fees by it.
        if buyer_member != seller_member {
            let today = self.now.day();
            for seat in [buyer_seat, seller_seat] {
                self.members[seat.member.0 as usize].volumes[seat.volume as usize]
                    .add(notional, today);
            }
        }
        market.orders[buyer].hold.0 -= paid;
        market.orders[seller].hold.0 -= base.0;

        if market.orders[maker].iceberg {
            market.accepted[maker].visible = trade.maker_visible;
        }
        market.last_trade += 1;
        market.last_price = trade.price;
        market.reference_price = trade.price;
        if market.waiting > 0 && market.trade_prices.last() != Some(&trade.price) {
            market.trade_prices.push(trade.price);
        }
        let (maker_member, taker_member) = match maker_side {
            Side::Buy => (buyer_member, seller_member),
            Side::Sell => (seller_member, buyer_member),
        };
        self.out.emit(Event::Traded {
            trade: TradeId(market.last_trade),
            sequence: market.next_sequence(),
            maker_order: market.order_id(trade.maker),
            taker_order: market.order_id(trade.taker),
            maker: maker_member,
            taker: taker_member,
            maker_side,
            price: trade.price,
            quantity: trade.quantity,
            notional,
            maker_fee,
            taker_fee,
            maker_remaining: trade.maker_remaining,
            maker_visible: trade.maker_visible,
            taker_remaining: trade.taker_remaining,
            auction: trade.auction,
        });
    }

    /// What a resting order of this size and price needs to be held.
    #[inline]
    pub fn resting_need(&self, slot: Slot, price: Price, remaining: Quantity) -> Amount {
        let order = &self.market.orders[slot as usize];
        self.need(
            order.side,
            price,
            remaining,
            resting_rate(order.maker_rate),
            order.fee_slack,
        )
        .expect("invariant: an open order's hold is in range")
    }

    /// What an order needs to be held: base atoms of a sell, notional and fee of a buy.
    #[inline]
    pub fn need(
        &self,
        side: Side,
        price: Price,
        remaining: Quantity,
        rate: Rate,
        slack: u32,
    ) -> Option<Amount> {
        match side {
            Side::Buy => {
                let notional = self.market.scale.notional(price, remaining)?;
                Some(cost(notional, rate, slack))
            }
            Side::Sell => Some(self.market.scale.base(remaining)),
        }
    }

    /// Shrinks the hold of an order to `need` and releases the difference.
    #[inline]
    pub fn shrink_hold(&mut self, slot: Slot, need: Amount) {
        let order = &mut self.market.orders[slot as usize];
        let spare = Amount(order.hold.0 - need.0);
        assert!(
            spare.0 >= 0,
            "invariant: a hold covers what its order needs"
        );
        if spare.is_zero() {
            return;
        }
        order.hold = need;
        let account = self.market.seats[order.seat as usize].hold_account(order.side);
        self.ledger.release(account, spare);
    }

    /// Ends an order: the rest of its hold is released and nothing refers to it any more. Its slot
    /// in the book is freed by the caller. A stop that never triggered has no market data sequence.
    pub fn close(&mut self, slot: Slot, rest: &Rest, reason: DoneReason) {
        self.shrink_hold(slot, Amount::ZERO);
        self.market.unlink(slot);
        let id = self.market.order_id(slot);
        let order = &mut self.market.orders[slot as usize];
        let seen = order.state != State::Waiting;
        order.state = State::Free;
        let (side, entry, expiry) = (order.side, order.client_entry, order.expiry);
        let member = self.market.seats[order.seat as usize].member;
        if entry != NONE {
            self.members[member.0 as usize].client_order_ids.end(entry);
        }
        if expiry != NONE {
            self.expiries.remove(expiry);
        }
        self.market.indicate = true;
        let sequence = if seen { self.market.next_sequence() } else { 0 };
        self.out.emit(Event::OrderDone {
            order: id,
            member,
            sequence,
            side,
            price: rest.price,
            visible: rest.visible,
            remaining: rest.remaining,
            reason,
        });
    }

    /// Self-trade prevention ended a resting order.
    pub fn close_self_trade(&mut self, slot: Slot, order: &BookOrder) {
        let reason = DoneReason::Canceled(CancelReason::SelfTrade);
        self.close(slot, &Rest::from(order), reason);
    }

    /// Self-trade prevention shrank a resting order, its hidden part first, to what `order` is now.
    pub fn shrink_self_trade(&mut self, slot: Slot, order: &BookOrder, by: Quantity) {
        let need = self.resting_need(slot, order.price, order.remaining());
        self.shrink_hold(slot, need);
        let market = &mut *self.market;
        let accepted = &mut market.accepted[slot as usize];
        accepted.order.size.0 -= by.0;
        let size = accepted.order.size;
        let old_visible = if market.orders[slot as usize].iceberg {
            core::mem::replace(&mut accepted.visible, order.visible)
        } else {
            Quantity(order.visible.0 + by.0)
        };
        market.indicate = true;
        self.out.emit(Event::OrderAmended {
            order: market.order_id(slot),
            member: market.seat(slot).member,
            sequence: market.next_sequence(),
            side: order.side,
            old_price: order.price,
            price: order.price,
            size,
            old_visible,
            visible: order.visible,
            remaining: order.remaining(),
            hold: need,
            kept_priority: true,
            self_trade: true,
        });
    }

    /// Self-trade prevention took `by` off the size of an order that has just matched and goes on
    /// with `remaining`: told once, after its trades and before it rests or ends.
    ///
    /// An order by funds alone never comes here: it has no size, its funds shrink as if it had
    /// traded, and its end follows at once.
    #[cold]
    #[inline(never)]
    pub fn shrink_taker(&mut self, slot: Slot, remaining: Quantity, by: Quantity, rests: bool) {
        let need = if rests {
            let price = self.market.accepted[slot as usize].order.price;
            self.resting_need(slot, price, remaining)
        } else {
            // Its end is next.
            Amount::ZERO
        };
        self.shrink_hold(slot, need);
        let market = &mut *self.market;
        let order = &mut market.accepted[slot as usize].order;
        order.size.0 -= by.0;
        let (side, price, size) = (order.side, order.price, order.size);
        self.out.emit(Event::OrderAmended {
            order: market.order_id(slot),
            member: market.seat(slot).member,
            sequence: market.next_sequence(),
            side,
            old_price: price,
            price,
            size,
            old_visible: Quantity::ZERO,
            visible: Quantity::ZERO,
            remaining,
            hold: need,
            kept_priority: false,
            self_trade: true,
        });
    }

    /// Tells that an order rests at the end of its price's queue, or shows its next peak there.
    #[inline]
    pub fn opened(&mut self, slot: Slot, order: &BookOrder) {
        let market = &mut *self.market;
        market.indicate = true;
        if market.orders[slot as usize].iceberg {
            market.accepted[slot as usize].visible = order.visible;
        }
        self.out.emit(Event::OrderOpened {
            order: market.order_id(slot),
            member: order.member,
            sequence: market.next_sequence(),
            side: order.side,
            price: order.price,
            visible: order.visible,
            remaining: order.remaining(),
        });
    }
}
