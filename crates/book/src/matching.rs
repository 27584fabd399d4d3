//! Matching: a taker against the other side, in price-time priority.

use everopen_domain::{Quantity, SelfTradePrevention};

use crate::ladder::Ladder;
use crate::slab::{Slab, Use};
use crate::{Book, BookOrder, Ended, Fill, MatchSink, Matched, Reachable, Slot, Taker};

/// What self-trade prevention decides about a resting order of the taker's member.
enum OwnOrder {
    /// They trade.
    Trade,
    /// It is gone or smaller; the taker goes on.
    Next,
    /// The taker is done.
    End(Ended),
}

/// Takes `by` off an order, its hidden part first.
pub(crate) fn decrease(order: &mut BookOrder, by: Quantity) {
    let from_hidden = by.0.min(order.hidden.0);
    order.hidden.0 -= from_hidden;
    order.visible.0 -= by.0 - from_hidden;
}

/// Lets an iceberg that shows nothing show its next peak at the back of its queue.
pub(crate) fn show_next_peak(slab: &mut Slab, ladder: &mut Ladder, slot: Slot) -> BookOrder {
    let mut order = slab.order(slot);
    let peak = order.peak.min(order.hidden);
    assert!(
        peak > Quantity::ZERO,
        "invariant: only an order with a peak hides some (INV-BOOK-2)"
    );
    order.visible = peak;
    order.hidden.0 -= peak.0;
    slab.set_order(slot, &order);
    ladder.requeue(slab, slot);
    order
}

/// Takes a resting order out and frees its slot.
pub(crate) fn drop_order(slab: &mut Slab, ladder: &mut Ladder, slot: Slot) {
    slab.change(slot, Use::Resting, Use::Held);
    ladder.unlink(slab, slot);
    slab.free(slot);
}

impl Book {
    /// Trades a taker with the best orders of the other side, each at its own price, until one of
    /// [`Ended`]. A decrease by self-trade prevention takes from `remaining`, too.
    ///
    /// Of an iceberg only the peak trades; the next one then stands behind the other orders of its
    /// price. An order of the taker's own member is handled by the taker's instruction:
    /// `DecreaseAndCancel` shrinks both by the smaller remaining size, hidden part included, and
    /// cancels what is left with nothing; a resting order that it shrinks keeps its priority.
    #[inline]
    pub fn take(&mut self, taker: &Taker, sink: &mut impl MatchSink) -> Matched {
        if taker.size == Quantity::ZERO {
            return Matched {
                remaining: taker.size,
                ended: Ended::Filled,
            };
        }
        if !self.sides[taker.side.opposite() as usize].reaches(taker.limit.0) {
            return Matched {
                remaining: taker.size,
                ended: Ended::Exhausted,
            };
        }
        self.take_crossing(taker, sink)
    }

    fn take_crossing(&mut self, taker: &Taker, sink: &mut impl MatchSink) -> Matched {
        let slab = &mut self.slab;
        let ladder = &mut self.sides[taker.side.opposite() as usize];
        let mut remaining = taker.size;
        let ended = loop {
            if !ladder.reaches(taker.limit.0) {
                break Ended::Exhausted;
            }
            let slot = ladder.first();
            let mut order = slab.order(slot);
            if order.member == taker.member {
                match own_order(slab, ladder, slot, taker, &mut remaining, sink) {
                    OwnOrder::Trade => {}
                    OwnOrder::Next => continue,
                    OwnOrder::End(ended) => break ended,
                }
            }
            let wanted = remaining.min(order.visible);
            let quantity = sink.cap(order.price, wanted).min(wanted);
            if quantity == Quantity::ZERO {
                break Ended::Capped;
            }
            remaining.0 -= quantity.0;
            order.visible.0 -= quantity.0;
            slab.set_visible(slot, order.visible);
            let fill = Fill {
                slot,
                sequence: order.sequence,
                member: order.member,
                price: order.price,
                quantity,
                maker_visible: order.visible,
                maker_remaining: order.remaining(),
                taker_remaining: remaining,
            };
            sink.traded(&fill);
            if fill.maker_remaining == Quantity::ZERO {
                drop_order(slab, ladder, slot);
            } else if fill.maker_visible == Quantity::ZERO {
                let order = show_next_peak(slab, ladder, slot);
                sink.refreshed(slot, &order);
            }
            if remaining == Quantity::ZERO {
                break Ended::Filled;
            }
        };
        Matched { remaining, ended }
    }

    /// What [`Book::take`] would trade now if the sink capped nothing: hidden parts of icebergs and
    /// self-trade prevention included, at most the taker's size. Changes nothing.
    ///
    /// A market buy costs [`Reachable::notional_units`] before fees. A fill-or-kill order can be
    /// filled exactly if `quantity` is its size.
    pub fn reachable(&self, taker: &Taker) -> Reachable {
        let makers = &self.sides[taker.side.opposite() as usize];
        let mut sum = Reachable::default();
        // What is left of the taker, decreases by self-trade prevention taken off.
        let mut remaining = taker.size.0;
        if remaining == 0 || !makers.reaches(taker.limit.0) {
            return sum;
        }
        for head in makers.heads() {
            let price = self.slab.price(head);
            if !makers.within(price.0, taker.limit.0) {
                break;
            }
            let mut trade = |wanted: u64, remaining: &mut u64| {
                let quantity = wanted.min(*remaining);
                *remaining -= quantity;
                sum.quantity.0 += quantity;
                sum.notional_units += u128::from(price.0) * u128::from(quantity);
                *remaining == 0
            };
            // Every order's visible part trades before any iceberg's next peak, and a member's own
            // order never survives its turn, so two passes see the same as the match would.
            for (_, order) in self.slab.queue(head) {
                if order.member == taker.member {
                    match taker.self_trade_prevention {
                        SelfTradePrevention::Allow => {}
                        SelfTradePrevention::CancelOldest => continue,
                        SelfTradePrevention::CancelNewest | SelfTradePrevention::CancelBoth => {
                            return sum;
                        }
                        SelfTradePrevention::DecreaseAndCancel => {
                            remaining -= remaining.min(order.remaining().0);
                            if remaining == 0 {
                                return sum;
                            }
                            continue;
                        }
                    }
                }
                if trade(order.visible.0, &mut remaining) {
                    return sum;
                }
            }
            for (_, order) in self.slab.queue(head) {
                let trades = order.member != taker.member
                    || taker.self_trade_prevention == SelfTradePrevention::Allow;
                if trades && order.hidden.0 > 0 && trade(order.hidden.0, &mut remaining) {
                    return sum;
                }
            }
        }
        sum
    }
}

#[cold]
#[inline(never)]
fn own_order(
    slab: &mut Slab,
    ladder: &mut Ladder,
    slot: Slot,
    taker: &Taker,
    remaining: &mut Quantity,
    sink: &mut impl MatchSink,
) -> OwnOrder {
    let order = slab.order(slot);
    match taker.self_trade_prevention {
        SelfTradePrevention::Allow => OwnOrder::Trade,
        SelfTradePrevention::CancelOldest => {
            sink.maker_canceled(slot, &order);
            drop_order(slab, ladder, slot);
            OwnOrder::Next
        }
        SelfTradePrevention::CancelNewest => OwnOrder::End(Ended::SelfTrade),
        SelfTradePrevention::CancelBoth => {
            sink.maker_canceled(slot, &order);
            drop_order(slab, ladder, slot);
            OwnOrder::End(Ended::SelfTrade)
        }
        SelfTradePrevention::DecreaseAndCancel => {
            let wanted = (*remaining).min(order.remaining());
            let by = sink.cap_decrease(order.price, wanted).min(wanted);
            if by == Quantity::ZERO {
                return OwnOrder::End(Ended::Capped);
            }
            if by == order.remaining() {
                sink.maker_canceled(slot, &order);
                drop_order(slab, ladder, slot);
            } else {
                let mut order = order;
                decrease(&mut order, by);
                slab.set_order(slot, &order);
                sink.maker_reduced(slot, &order, by);
            }
            remaining.0 -= by.0;
            sink.taker_reduced(order.price, by);
            if *remaining == Quantity::ZERO {
                OwnOrder::End(Ended::SelfTrade)
            } else {
                OwnOrder::Next
            }
        }
    }
}
