//! The call auction: what it would do now, and the uncross that ends it.
//!
//! # The price
//! Candidates are the limit prices of resting orders and the reference price. Of these:
//! 1. those with the largest volume, hidden parts included;
//! 2. of those, the ones with the least surplus;
//! 3. if buyers have more at all of these, the highest; if sellers have, the lowest (the market's
//!    pressure);
//! 4. otherwise the one nearest to the reference price, and of two the lower.
//!
//! Examples, as (bids | asks) of `quantity @ price`, with reference 100:
//! - `10@102 | 10@98`: any price from 98 to 102 trades 10 with no surplus; 100 is nearest to the
//!   reference, so it trades there.
//! - `15@102 | 10@98`: 10 trade and buyers have 5 more at every price; the highest, 102.
//! - `10@102 | 15@98`: sellers have 5 more; the lowest, 98.
//! - `10@102, 10@101 | 15@98`: 15 trade up to 101, with 5 more bid; 101.
//! - `10@99 | 10@97`, reference 100: 97 and 99 trade 10, the reference lies outside; 99.
//! - `10@98 | 10@99`: nothing trades; the price is zero.

use alloc::vec::Vec;

use everopen_domain::{Price, Quantity, SelfTradePrevention, Side};

use crate::matching::{decrease, drop_order, show_next_peak};
use crate::{Book, BookOrder, Indication, Slot, UncrossFill, UncrossSink};

fn saturate(sum: u128) -> Quantity {
    Quantity(u64::try_from(sum).unwrap_or(u64::MAX))
}

/// The best of the candidates seen so far.
struct Choice {
    volume: u128,
    surplus: u128,
    /// Of the candidates with this volume and surplus.
    lowest: u64,
    highest: u64,
    nearest: u64,
    all_buy: bool,
    all_sell: bool,
    /// Which side has more at the lowest, at the highest and at the nearest.
    sides: [Side; 3],
}

impl Book {
    /// What an auction would do now. Costs a walk over the orders in the crossed part of the book.
    pub fn indicate(&self, reference: Price) -> Indication {
        let (Some(bid), Some(ask)) = (self.best(Side::Buy), self.best(Side::Sell)) else {
            return Indication::default();
        };
        if bid < ask {
            return Indication::default();
        }
        // Outside the crossed part, from the best ask to the best bid, nothing trades.
        let side = |side: Side| {
            self.sides[side as usize]
                .heads()
                .map(|head| {
                    let all = self.slab.queue(head).map(|(_, order)| order.remaining().0);
                    (self.slab.price(head), all.map(u128::from).sum())
                })
                .take_while(move |(price, _): &(Price, u128)| *price >= ask && *price <= bid)
        };
        let mut bids: Vec<(Price, u128)> = side(Side::Buy).collect();
        let mut asks = side(Side::Sell).peekable();
        let mut demand: u128 = bids.iter().map(|(_, all)| *all).sum();
        let mut supply = 0u128;
        let mut reference_left = (reference >= ask && reference <= bid).then_some(reference);
        let mut choice: Option<Choice> = None;
        // Upwards from the best ask: supply grows at a price, demand shrinks behind it.
        loop {
            let candidates = [
                bids.last().map(|(price, _)| *price),
                asks.peek().map(|(price, _)| *price),
                reference_left,
            ];
            let Some(price) = candidates.into_iter().flatten().min() else {
                break;
            };
            if let Some((_, all)) = asks.next_if(|(p, _)| *p == price) {
                supply += all;
            }
            weigh(&mut choice, price.0, demand, supply, reference.0);
            if let Some((_, all)) = bids.pop_if(|(p, _)| *p == price) {
                demand -= all;
            }
            reference_left = reference_left.filter(|p| *p != price);
        }
        let choice = choice.expect("invariant: a crossed book has a candidate");
        let (price, surplus_side) = if choice.all_buy {
            (choice.highest, choice.sides[1])
        } else if choice.all_sell {
            (choice.lowest, choice.sides[0])
        } else {
            (choice.nearest, choice.sides[2])
        };
        Indication {
            price: Price(price),
            volume: saturate(choice.volume),
            surplus_side,
            surplus: saturate(choice.surplus),
        }
    }

    /// Ends the auction: trades the best bid with the best ask at `price`, which is to be that of
    /// [`Book::indicate`], until the book is no longer crossed, and gives the volume. The younger
    /// of two orders plays the taker.
    ///
    /// Two orders of one member are handled by the younger's instruction; in an auction
    /// `CancelNewest` cancels the younger and goes on. Only such cancels can leave the book crossed
    /// at other prices than `price`; what trades then does so at the price nearest to it that both
    /// orders allow.
    pub fn uncross(&mut self, price: Price, sink: &mut impl UncrossSink) -> Quantity {
        let mut volume = 0u128;
        while let (Some(best_bid), Some(best_ask)) = (self.best(Side::Buy), self.best(Side::Sell)) {
            if best_bid < best_ask {
                break;
            }
            let price = price.max(best_ask).min(best_bid);
            let bid_slot = self.sides[Side::Buy as usize].first();
            let ask_slot = self.sides[Side::Sell as usize].first();
            let mut bid = self.slab.order(bid_slot);
            let mut ask = self.slab.order(ask_slot);
            let (old, new) = if bid.sequence > ask.sequence {
                (ask_slot, bid_slot)
            } else {
                (bid_slot, ask_slot)
            };
            if bid.member == ask.member && self.prevent_self_trade(old, new, sink) {
                continue;
            }
            let quantity = bid.visible.min(ask.visible);
            bid.visible.0 -= quantity.0;
            ask.visible.0 -= quantity.0;
            self.slab.set_visible(bid_slot, bid.visible);
            self.slab.set_visible(ask_slot, ask.visible);
            volume += u128::from(quantity.0);
            let fill = UncrossFill {
                maker_slot: old,
                maker: self.slab.order(old),
                taker_slot: new,
                taker: self.slab.order(new),
                price,
                quantity,
            };
            sink.traded(&fill);
            for (slot, order) in [(old, fill.maker), (new, fill.taker)] {
                let ladder = &mut self.sides[order.side as usize];
                if order.remaining() == Quantity::ZERO {
                    drop_order(&mut self.slab, ladder, slot);
                } else if order.visible == Quantity::ZERO {
                    let order = show_next_peak(&mut self.slab, ladder, slot);
                    sink.refreshed(slot, &order);
                }
            }
        }
        saturate(volume)
    }

    /// True when self-trade prevention did something, false when the orders are to trade.
    fn prevent_self_trade(&mut self, old: Slot, new: Slot, sink: &mut impl UncrossSink) -> bool {
        match self.slab.order(new).self_trade_prevention {
            SelfTradePrevention::Allow => return false,
            SelfTradePrevention::CancelOldest => self.cancel(old, sink),
            SelfTradePrevention::CancelNewest => self.cancel(new, sink),
            SelfTradePrevention::CancelBoth => {
                self.cancel(old, sink);
                self.cancel(new, sink);
            }
            SelfTradePrevention::DecreaseAndCancel => {
                let remaining = |slot: Slot| self.slab.order(slot).remaining();
                let by = remaining(old).min(remaining(new));
                self.shrink(old, by, sink);
                self.shrink(new, by, sink);
            }
        }
        true
    }

    fn cancel(&mut self, slot: Slot, sink: &mut impl UncrossSink) {
        let order: BookOrder = self.take_out(slot);
        sink.canceled(slot, &order);
        self.free(slot);
    }

    fn shrink(&mut self, slot: Slot, by: Quantity, sink: &mut impl UncrossSink) {
        let mut order = self.slab.order(slot);
        if order.remaining() == by {
            return self.cancel(slot, sink);
        }
        decrease(&mut order, by);
        self.slab.set_order(slot, &order);
        sink.reduced(slot, &order, by);
    }
}

/// Compares one more candidate, higher than those before, with the best so far.
fn weigh(choice: &mut Option<Choice>, price: u64, demand: u128, supply: u128, reference: u64) {
    let volume = demand.min(supply);
    let surplus = demand.abs_diff(supply);
    let side = if demand >= supply {
        Side::Buy
    } else {
        Side::Sell
    };
    let (buy, sell) = (demand > supply, demand < supply);
    match choice {
        Some(best) if best.volume > volume => {}
        Some(best) if best.volume == volume && best.surplus < surplus => {}
        Some(best) if best.volume == volume && best.surplus == surplus => {
            best.highest = price;
            best.sides[1] = side;
            best.all_buy &= buy;
            best.all_sell &= sell;
            if price.abs_diff(reference) < best.nearest.abs_diff(reference) {
                best.nearest = price;
                best.sides[2] = side;
            }
        }
        _ => {
            *choice = Some(Choice {
                volume,
                surplus,
                lowest: price,
                highest: price,
                nearest: price,
                all_buy: buy,
                all_sell: sell,
                sides: [side; 3],
            });
        }
    }
}
