//! What the test venue refuses, and the shapes of its answers.

use everopen_domain::{
    ClientOrderId, DoneReason, Event, MemberId, NewOrder, OrderTarget, OrderType, Price, Quantity,
    RejectReason, Side, TimeInForce, TradingPhase,
};

use super::venue::{Market, Resting, Venue};

impl Market {
    fn is_out_of_band(&self, order: &NewOrder) -> bool {
        let band = i128::from(self.instrument.limits.price_band.0);
        let (Some(last), 1..) = (self.last, band) else {
            return false;
        };
        let (last, price) = (i128::from(last), i128::from(order.price.0));
        match order.side {
            Side::Buy => price * 1_000_000 > last * (1_000_000 + band),
            Side::Sell => price * 1_000_000 < last * (1_000_000 - band),
        }
    }
}

impl Venue {
    pub fn refusal(&self, order: &NewOrder) -> Option<RejectReason> {
        let Some(market) = self.markets.get(order.instrument.0 as usize) else {
            return Some(RejectReason::UnknownInstrument);
        };
        let limits = market.instrument.limits;
        let immediate = matches!(
            order.time_in_force,
            TimeInForce::ImmediateOrCancel | TimeInForce::FillOrKill
        );
        let limit = order.order_type == OrderType::Limit;
        let opposite = self.best(order.instrument, order.side.opposite());
        let crosses = opposite.is_some_and(|best| match order.side {
            Side::Buy => best <= order.price.0,
            Side::Sell => best >= order.price.0,
        });
        if market.phase == TradingPhase::CancelOnly {
            Some(RejectReason::CancelOnly)
        } else if market.phase == TradingPhase::Auction && (immediate || !limit) {
            Some(RejectReason::AuctionPhase)
        } else if limit && order.price.0 == 0 {
            Some(RejectReason::PriceMissing)
        } else if !order.price.0.is_multiple_of(limits.tick.0) {
            Some(RejectReason::PriceOffTick)
        } else if order.size.0 < limits.min_size.0 {
            Some(RejectReason::SizeTooSmall)
        } else if order.size.0 > limits.max_size.0 {
            Some(RejectReason::SizeTooLarge)
        } else if !order.size.0.is_multiple_of(limits.lot.0)
            || !order.display_size.0.is_multiple_of(limits.lot.0)
        {
            Some(RejectReason::SizeOffLot)
        } else if order.display_size.0 >= order.size.0 {
            Some(RejectReason::DisplaySizeInvalid)
        } else if order.post_only && crosses {
            Some(RejectReason::PostOnlyWouldTake)
        } else if !limit && opposite.is_none() {
            Some(RejectReason::NoLiquidity)
        } else if order.time_in_force == TimeInForce::FillOrKill
            && self.within(order) < order.size.0
        {
            Some(RejectReason::FillOrKillUnfilled)
        } else if limit && market.is_out_of_band(order) {
            Some(RejectReason::PriceOutOfBand)
        } else {
            None
        }
    }

    /// What an order could trade at once.
    fn within(&self, order: &NewOrder) -> u64 {
        let resting = self.markets[order.instrument.0 as usize].resting.iter();
        let reached = resting.filter(|maker| {
            maker.order.side != order.side
                && match order.side {
                    Side::Buy => maker.order.price <= order.price,
                    Side::Sell => maker.order.price >= order.price,
                }
        });
        reached.map(|maker| maker.remaining).sum()
    }
}

pub fn means(held: &Resting, member: MemberId, target: OrderTarget) -> bool {
    held.member == member
        && match target {
            OrderTarget::Order(id) => held.id == id,
            OrderTarget::Client(id) => {
                id != ClientOrderId::EMPTY && held.order.client_order_id == id
            }
        }
}

pub fn rejected(member: MemberId, order: &NewOrder, reason: RejectReason) -> Event {
    Event::OrderRejected {
        member,
        instrument: order.instrument,
        client_order_id: order.client_order_id,
        reason,
    }
}

pub fn done(held: &Resting, reason: DoneReason) -> Event {
    Event::OrderDone {
        order: held.id,
        member: held.member,
        sequence: 1,
        side: held.order.side,
        price: Price(held.order.price.0),
        visible: Quantity(held.remaining),
        remaining: Quantity(held.remaining),
        reason,
    }
}
