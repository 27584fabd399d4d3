//! What the participants learn from events.

use everopen_domain::{
    Event, InstrumentId, MemberId, OrderId, OrderTarget, Quantity, RejectReason, Side, TimeInForce,
    Timestamp,
};

use super::{Open, Participants, Seat, TOP_UP_EVERY};

/// Largest number of doublings or halvings of the typical size.
const SCALE_LIMIT: i8 = 12;

impl Participants {
    /// Events of the venue, in order. Those of other members are welcome: trades tell the price.
    pub fn observe(&mut self, events: &[Event]) {
        for event in events {
            self.learn(event);
        }
    }

    fn market_of(&self, instrument: InstrumentId) -> Option<usize> {
        self.markets
            .iter()
            .position(|market| market.id == instrument)
    }

    fn seat_of(&mut self, member: MemberId, instrument: InstrumentId) -> Option<&mut Seat> {
        let market = self.market_of(instrument)?;
        let member = self.members.iter().position(|own| *own == member)?;
        Some(self.seat(member, market))
    }

    fn open_of(&mut self, member: MemberId, order: OrderId) -> Option<&mut Open> {
        self.seat_of(member, order.instrument)?.open.get_mut(&order)
    }

    fn learn(&mut self, event: &Event) {
        match *event {
            Event::OrderAccepted {
                order,
                member,
                details,
                ..
            } => {
                let Some(seat) = self.seat_of(member, order.instrument) else {
                    return;
                };
                seat.under_way = seat.under_way.saturating_sub(1);
                let rests = matches!(
                    details.time_in_force,
                    TimeInForce::GoodTillCanceled | TimeInForce::GoodTillTime
                );
                // What ends at once is removed by its `OrderDone`; what can't rest is not kept.
                if rests {
                    let open = Open {
                        side: details.side,
                        price: details.price.0,
                        size: details.size.0,
                        remaining: details.size.0,
                        waiting: details.stop.is_some(),
                        busy: false,
                    };
                    seat.open.insert(order, open);
                }
            }
            Event::OrderTriggered { order, member, .. } => {
                if let Some(open) = self.open_of(member, order) {
                    open.waiting = false;
                }
            }
            Event::OrderOpened {
                order,
                member,
                price,
                remaining,
                ..
            } => {
                if let Some(open) = self.open_of(member, order) {
                    (open.price, open.remaining, open.waiting) = (price.0, remaining.0, false);
                }
            }
            Event::OrderAmended {
                order,
                member,
                price,
                size,
                remaining,
                ..
            } => {
                if let Some(open) = self.open_of(member, order) {
                    (open.price, open.size, open.remaining) = (price.0, size.0, remaining.0);
                    open.busy = false;
                }
            }
            Event::Traded {
                maker_order,
                taker_order,
                maker,
                taker,
                maker_side,
                price,
                quantity,
                maker_remaining,
                taker_remaining,
                ..
            } => {
                if let Some(market) = self.market_of(maker_order.instrument) {
                    self.last[market] = Some(price.0);
                }
                self.traded(maker, maker_order, maker_side, quantity, maker_remaining);
                self.traded(
                    taker,
                    taker_order,
                    maker_side.opposite(),
                    quantity,
                    taker_remaining,
                );
            }
            Event::OrderDone { order, member, .. } => {
                if let Some(seat) = self.seat_of(member, order.instrument) {
                    seat.open.remove(&order);
                }
            }
            Event::OrderRejected {
                member,
                instrument,
                reason,
                ..
            } => {
                if let Some(seat) = self.seat_of(member, instrument) {
                    seat.under_way = seat.under_way.saturating_sub(1);
                    self.refused(member, Some(instrument), reason);
                }
            }
            Event::AmendRejected {
                member,
                target,
                reason,
            }
            | Event::CancelRejected {
                member,
                target,
                reason,
            } => {
                let OrderTarget::Order(order) = target else {
                    return;
                };
                let Some(seat) = self.seat_of(member, order.instrument) else {
                    return;
                };
                if reason == RejectReason::OrderNotFound {
                    seat.open.remove(&order);
                } else if let Some(open) = seat.open.get_mut(&order) {
                    open.busy = false;
                }
                self.refused(member, Some(order.instrument), reason);
            }
            Event::TradingPhaseChanged { instrument, phase } => {
                if let Some(market) = self.market_of(instrument) {
                    self.markets[market].phase = phase;
                }
            }
            Event::InstrumentAmended { instrument, limits } => {
                if let Some(market) = self.market_of(instrument) {
                    self.markets[market].instrument.limits = limits;
                }
            }
            Event::ReferencePriceSet { instrument, price } => {
                if let Some(market) = self.market_of(instrument) {
                    self.last[market] = Some(price.0);
                }
            }
            _ => {}
        }
    }

    fn traded(
        &mut self,
        member: MemberId,
        order: OrderId,
        side: Side,
        quantity: Quantity,
        remaining: Quantity,
    ) {
        let Some(seat) = self.seat_of(member, order.instrument) else {
            return;
        };
        let moved = i128::from(quantity.0);
        seat.inventory += if side == Side::Buy { moved } else { -moved };
        if let Some(open) = seat.open.get_mut(&order) {
            open.remaining = remaining.0;
        }
    }

    fn refused(
        &mut self,
        member: MemberId,
        instrument: Option<InstrumentId>,
        reason: RejectReason,
    ) {
        *self.rejected.entry(reason).or_insert(0) += 1;
        let Some(market) = instrument.and_then(|id| self.market_of(id)) else {
            return;
        };
        let scale = &mut self.scale[market];
        match reason {
            RejectReason::NotionalTooSmall => *scale = (*scale + 1).min(SCALE_LIMIT),
            RejectReason::NotionalTooLarge
            | RejectReason::MemberNotionalLimit
            | RejectReason::MemberSizeLimit => *scale = (*scale - 1).max(-SCALE_LIMIT),
            RejectReason::InsufficientFunds => {
                // The event does not say which of the two ran out, so both are given.
                let instrument = self.markets[market].instrument;
                for asset in [instrument.base, instrument.quote] {
                    let now = self.previous;
                    let last = self.topped_up.get(&(member, asset)).copied();
                    let due = last.is_none_or(|Timestamp(last)| now.0 - last >= TOP_UP_EVERY);
                    if due {
                        self.topped_up.insert((member, asset), now);
                        self.top_ups.push((member, asset));
                    }
                }
            }
            _ => {}
        }
    }
}
