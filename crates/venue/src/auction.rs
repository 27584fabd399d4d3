//! Phases, and the call auction between them.

use everopen_book::{Book, BookOrder, Indication, Slot, UncrossFill, UncrossSink};
use everopen_domain::{
    DoneReason, Event, EventSink, InstrumentId, Price, Quantity, RejectReason, Side, TradingPhase,
};

use crate::floor::{Floor, Rest, Trade};
use crate::venue::Venue;

/// An uncross under way.
struct Uncrossing<'f, 'a, E> {
    floor: &'f mut Floor<'a, E>,
}

impl<E: EventSink> UncrossSink for Uncrossing<'_, '_, E> {
    fn traded(&mut self, fill: &UncrossFill) {
        let market = &mut *self.floor.market;
        if market.orders[fill.taker_slot as usize].iceberg {
            market.accepted[fill.taker_slot as usize].visible = fill.taker.visible;
        }
        self.floor.trade(&Trade {
            maker: fill.maker_slot,
            taker: fill.taker_slot,
            price: fill.price,
            quantity: fill.quantity,
            maker_remaining: fill.maker.remaining(),
            maker_visible: fill.maker.visible,
            taker_remaining: fill.taker.remaining(),
            auction: true,
        });
        for (slot, order) in [
            (fill.maker_slot, &fill.maker),
            (fill.taker_slot, &fill.taker),
        ] {
            let remaining = order.remaining();
            if remaining == Quantity::ZERO {
                self.floor
                    .close(slot, &Rest::from(order), DoneReason::Filled);
            } else {
                let need = self.floor.resting_need(slot, order.price, remaining);
                self.floor.shrink_hold(slot, need);
            }
        }
    }

    fn refreshed(&mut self, slot: Slot, order: &BookOrder) {
        self.floor.opened(slot, order);
    }

    fn canceled(&mut self, slot: Slot, order: &BookOrder) {
        self.floor.close_self_trade(slot, order);
    }

    fn reduced(&mut self, slot: Slot, order: &BookOrder, by: Quantity) {
        self.floor.shrink_self_trade(slot, order, by);
    }
}

/// Whether buyers and sellers could trade.
pub(crate) fn is_crossed(book: &Book) -> bool {
    match (book.best(Side::Buy), book.best(Side::Sell)) {
        (Some(bid), Some(ask)) => bid >= ask,
        _ => false,
    }
}

impl<E: EventSink> Floor<'_, E> {
    fn uncross(&mut self, book: &mut Book) {
        let indication = book.indicate(self.market.reference_price);
        let mut volume = Quantity::ZERO;
        if indication.volume != Quantity::ZERO {
            volume = book.uncross(indication.price, &mut Uncrossing { floor: self });
        }
        let traded = volume != Quantity::ZERO;
        self.out.emit(Event::AuctionUncrossed {
            instrument: self.market.id,
            price: if traded {
                indication.price
            } else {
                Price::ZERO
            },
            volume,
        });
    }
}

impl Venue {
    pub(crate) fn set_phase<E: EventSink>(
        &mut self,
        instrument: InstrumentId,
        phase: TradingPhase,
        out: &mut E,
    ) -> Result<(), RejectReason> {
        let old = self
            .phase(instrument)
            .ok_or(RejectReason::UnknownInstrument)?;
        if old == phase {
            return Err(RejectReason::Unchanged);
        }
        match self.in_auction.binary_search(&instrument.0) {
            Ok(at) => {
                self.in_auction.remove(at);
            }
            Err(at) if phase == TradingPhase::Auction => self.in_auction.insert(at, instrument.0),
            Err(_) => {}
        }
        let (book, mut floor) = self.floor(instrument, out);
        floor.market.phase = phase;
        floor.market.indication = Indication::default();
        floor.market.indicate = true;
        floor
            .out
            .emit(Event::TradingPhaseChanged { instrument, phase });
        let opens = matches!(
            phase,
            TradingPhase::Online | TradingPhase::PostOnly | TradingPhase::LimitOnly
        );
        if opens && (old == TradingPhase::Auction || is_crossed(book)) {
            floor.uncross(book);
        }
        if floor.market.is_continuous() {
            // Stops that the last price reached while nothing could trigger.
            if floor.market.trade_prices.is_empty() && floor.market.last_price != Price::ZERO {
                let last = floor.market.last_price;
                floor.market.trade_prices.push(last);
            }
            floor.run_triggers(book);
        } else {
            floor.market.trade_prices.clear();
        }
        Ok(())
    }

    /// Says what the auctions of changed markets would do, where that is not what was said last.
    #[inline]
    pub(crate) fn indicate(&mut self, out: &mut impl EventSink) {
        for at in self.in_auction.iter() {
            let market = &mut self.markets[*at as usize];
            if !core::mem::take(&mut market.indicate) {
                continue;
            }
            let indication = self.books[*at as usize].indicate(market.reference_price);
            if indication == market.indication {
                continue;
            }
            market.indication = indication;
            out.emit(Event::AuctionIndicated {
                instrument: market.id,
                price: indication.price,
                volume: indication.volume,
                surplus_side: indication.surplus_side,
                surplus: indication.surplus,
            });
        }
    }
}
