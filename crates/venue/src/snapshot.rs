//! From the state to its plain form.

use alloc::vec::Vec;

use everopen_book::{Book, Slot};
use everopen_domain::snapshot::{InstrumentSnapshot, OrderSnapshot, VenueSnapshot};
use everopen_domain::{
    FeeScheduleId, FeeTiers, InstrumentId, MemberId, OrderLimits, OrderType, Quantity, Side,
    TradeId, TransferId,
};

use crate::market::Market;
use crate::member::Member;
use crate::venue::Venue;

impl Venue {
    /// The whole state as plain data. One state has one form.
    pub fn snapshot(&self) -> VenueSnapshot {
        let instruments = self.markets.iter().zip(&self.books);
        VenueSnapshot {
            time: self.time,
            last_order_sequence: self.last_order_sequence,
            last_transfer: TransferId(self.last_transfer),
            killed: self.killed,
            assets: self.assets.clone(),
            fee_schedules: self.schedules().collect(),
            members: self.members.iter().map(Member::snapshot).collect(),
            order_limits: self.order_limits(),
            accounts: self.ledger.accounts_sorted(),
            withdrawals: self.withdrawals.values().copied().collect(),
            instruments: instruments
                .map(|(market, book)| market.snapshot(book))
                .collect(),
            logic: self.logic(),
        }
    }

    fn schedules(&self) -> impl Iterator<Item = (FeeScheduleId, FeeTiers)> + '_ {
        let schedules = self.fee_schedules.iter().enumerate();
        schedules.filter_map(|(at, tiers)| Some((FeeScheduleId(at as u8), (*tiers)?)))
    }

    fn order_limits(&self) -> Vec<(MemberId, InstrumentId, OrderLimits)> {
        let seats = self
            .markets
            .iter()
            .flat_map(|m| m.seats.iter().map(move |s| (m.id, s)));
        let mut limits: Vec<_> = seats
            .filter(|(_, seat)| seat.limits != OrderLimits::default())
            .map(|(instrument, seat)| (seat.member, instrument, seat.limits))
            .collect();
        limits.sort_unstable_by_key(|(member, instrument, _)| (*member, *instrument));
        limits
    }
}

impl Market {
    fn snapshot(&self, book: &Book) -> InstrumentSnapshot {
        let resting = |side: Side| {
            book.orders(side)
                .map(|(slot, order)| self.order_snapshot(slot, order.visible, order.remaining()))
                .collect()
        };
        InstrumentSnapshot {
            instrument: self.instrument,
            phase: self.phase,
            sequence: self.sequence,
            last_trade: TradeId(self.last_trade),
            last_price: self.last_price,
            reference_price: self.reference_price,
            bids: resting(Side::Buy),
            asks: resting(Side::Sell),
            stops: book
                .stops()
                .map(|stop| {
                    let size = self.accepted[stop.slot as usize].order.size;
                    self.order_snapshot(stop.slot, Quantity::ZERO, size)
                })
                .collect(),
            free_slots: book.free_slots().collect(),
        }
    }

    fn order_snapshot(&self, slot: Slot, visible: Quantity, remaining: Quantity) -> OrderSnapshot {
        let (open, accepted) = (&self.orders[slot as usize], &self.accepted[slot as usize]);
        OrderSnapshot {
            order: self.order_id(slot),
            member: self.seat(slot).member,
            details: accepted.order,
            accepted_at: accepted.at,
            visible,
            remaining,
            hold: open.hold,
            maker_rate: open.maker_rate,
            taker_rate: open.taker_rate,
            fee_slack: open.fee_slack,
        }
    }
}

/// True where an order has no size to lose: a market order by funds alone.
pub(crate) fn by_funds_alone(order: &everopen_domain::NewOrder) -> bool {
    order.order_type == OrderType::Market && order.size == Quantity::ZERO
}
