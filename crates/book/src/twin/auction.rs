//! Auctions of the twin: every price is tried, and one pair of orders trades at a time.

use alloc::vec::Vec;

use everopen_domain::{Price, Quantity, SelfTradePrevention, Side};

use crate::twin::{TwinBook, better, decrease};
use crate::{Indication, Slot, UncrossFill, UncrossSink};

fn saturate(sum: u128) -> Quantity {
    Quantity(u64::try_from(sum).unwrap_or(u64::MAX))
}

impl TwinBook {
    /// See [`crate::Book::indicate`].
    pub fn indicate(&self, reference: Price) -> Indication {
        let sum = |side: Side, price: Price| -> u128 {
            self.side(side)
                .iter()
                .filter(|(_, order)| !better(side, price, order.price))
                .map(|(_, order)| u128::from(order.remaining().0))
                .sum()
        };
        // Volume and surplus change only at prices of orders, so the best price is one of those or
        // the reference between two of them.
        let mut prices: Vec<Price> = self
            .bids
            .iter()
            .chain(&self.asks)
            .map(|o| o.1.price)
            .collect();
        prices.push(reference);
        let volume = |p: Price| sum(Side::Buy, p).min(sum(Side::Sell, p));
        let surplus = |p: Price| sum(Side::Buy, p).abs_diff(sum(Side::Sell, p));
        let most = prices.iter().map(|p| volume(*p)).max().unwrap_or(0);
        if most == 0 {
            return Indication::default();
        }
        prices.retain(|p| volume(*p) == most);
        let least = prices.iter().map(|p| surplus(*p)).min().unwrap_or(0);
        prices.retain(|p| surplus(*p) == least);
        let all_buy = prices
            .iter()
            .all(|p| sum(Side::Buy, *p) > sum(Side::Sell, *p));
        let all_sell = prices
            .iter()
            .all(|p| sum(Side::Buy, *p) < sum(Side::Sell, *p));
        let price = if all_buy {
            prices.iter().max()
        } else if all_sell {
            prices.iter().min()
        } else {
            prices
                .iter()
                .min_by_key(|p| (p.0.abs_diff(reference.0), p.0))
        };
        let price = *price.expect("invariant: some price has the most volume");
        let (buy, sell) = (sum(Side::Buy, price), sum(Side::Sell, price));
        Indication {
            price,
            volume: saturate(most),
            surplus_side: if buy >= sell { Side::Buy } else { Side::Sell },
            surplus: saturate(buy.abs_diff(sell)),
        }
    }

    /// See [`crate::Book::uncross`].
    pub fn uncross(&mut self, price: Price, sink: &mut impl UncrossSink) -> Quantity {
        let mut volume = 0u128;
        while let (Some(&(bid_slot, bid)), Some(&(ask_slot, ask))) =
            (self.bids.first(), self.asks.first())
        {
            if bid.price < ask.price {
                break;
            }
            let price = price.max(ask.price).min(bid.price);
            let bid_is_younger = bid.sequence > ask.sequence;
            let ((old_slot, old), (new_slot, new)) = if bid_is_younger {
                ((ask_slot, ask), (bid_slot, bid))
            } else {
                ((bid_slot, bid), (ask_slot, ask))
            };
            if bid.member == ask.member {
                match new.self_trade_prevention {
                    SelfTradePrevention::Allow => {}
                    SelfTradePrevention::CancelOldest => {
                        self.cancel(old_slot, sink);
                        continue;
                    }
                    SelfTradePrevention::CancelNewest => {
                        self.cancel(new_slot, sink);
                        continue;
                    }
                    SelfTradePrevention::CancelBoth => {
                        self.cancel(old_slot, sink);
                        self.cancel(new_slot, sink);
                        continue;
                    }
                    SelfTradePrevention::DecreaseAndCancel => {
                        let by = old.remaining().min(new.remaining());
                        self.shrink(old_slot, by, sink);
                        self.shrink(new_slot, by, sink);
                        continue;
                    }
                }
            }
            let quantity = bid.visible.min(ask.visible);
            self.bids[0].1.visible.0 -= quantity.0;
            self.asks[0].1.visible.0 -= quantity.0;
            volume += u128::from(quantity.0);
            let (bid, ask) = (self.bids[0].1, self.asks[0].1);
            let (maker, taker) = if bid_is_younger {
                (ask, bid)
            } else {
                (bid, ask)
            };
            sink.traded(&UncrossFill {
                maker_slot: old_slot,
                maker,
                taker_slot: new_slot,
                taker,
                price,
                quantity,
            });
            for (slot, order) in [(old_slot, maker), (new_slot, taker)] {
                if order.remaining() == Quantity::ZERO {
                    self.remove(slot);
                } else if let Some(order) = self.show_next_peak(slot) {
                    sink.refreshed(slot, &order);
                }
            }
        }
        saturate(volume)
    }

    fn cancel(&mut self, slot: Slot, sink: &mut impl UncrossSink) {
        let order = self.take_out(slot);
        sink.canceled(slot, &order);
        self.free(slot);
    }

    fn shrink(&mut self, slot: Slot, by: Quantity, sink: &mut impl UncrossSink) {
        let (side, at) = self
            .find(slot)
            .expect("invariant: only a resting order shrinks (INV-BOOK-1)");
        if self.side(side)[at].1.remaining() == by {
            return self.cancel(slot, sink);
        }
        let order = &mut self.side_mut(side)[at].1;
        decrease(order, by);
        sink.reduced(slot, order, by);
    }
}
