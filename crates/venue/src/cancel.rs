//! Canceling orders: one, a member's, all.

use everopen_domain::{
    CancelReason, EventSink, InstrumentId, MemberId, OrderTarget, RejectReason, TradingPhase,
};

use crate::ids::NONE;
use crate::market::State;
use crate::venue::Venue;

impl Venue {
    pub(crate) fn cancel_order(
        &mut self,
        member: MemberId,
        target: &OrderTarget,
        out: &mut impl EventSink,
    ) -> Result<(), RejectReason> {
        let now = self.time;
        self.member(member)?.count_cancel(now);
        let id = self.target(member, target)?;
        if self.markets[id.instrument.0 as usize].phase == TradingPhase::Halted {
            return Err(RejectReason::Halted);
        }
        let (book, mut floor) = self.floor(id.instrument, out);
        floor.cancel(book, id.slot, CancelReason::Requested);
        Ok(())
    }

    /// Cancels a member's orders, instrument by instrument and there oldest first. Halted markets
    /// keep theirs.
    pub(crate) fn cancel_orders(
        &mut self,
        member: MemberId,
        instrument: Option<InstrumentId>,
        reason: CancelReason,
        out: &mut impl EventSink,
    ) -> Result<(), RejectReason> {
        let now = self.time;
        let state = self.member(member)?;
        match reason {
            CancelReason::Requested => state.count_cancel(now),
            CancelReason::Disconnected => {}
            _ => return Err(RejectReason::OrderInvalid),
        }
        if let Some(instrument) = instrument {
            let phase = self
                .phase(instrument)
                .ok_or(RejectReason::UnknownInstrument)?;
            if phase == TradingPhase::Halted {
                return Err(RejectReason::Halted);
            }
            self.cancel_seat(member, instrument, reason, out);
            return Ok(());
        }
        for at in 0..self.markets.len() {
            if self.markets[at].phase != TradingPhase::Halted {
                self.cancel_seat(member, InstrumentId(at as u32), reason, out);
            }
        }
        Ok(())
    }

    /// Cancels all orders of a member in one market, oldest first.
    pub(crate) fn cancel_seat(
        &mut self,
        member: MemberId,
        instrument: InstrumentId,
        reason: CancelReason,
        out: &mut impl EventSink,
    ) {
        let (book, mut floor) = self.floor(instrument, out);
        let Some(seat) = floor.market.seat_index(member) else {
            return;
        };
        loop {
            let oldest = floor.market.seats[seat as usize].oldest;
            if oldest == NONE {
                return;
            }
            floor.cancel(book, oldest, reason);
        }
    }

    /// Cancels all orders of the venue, instrument by instrument and there oldest first.
    pub(crate) fn cancel_all(&mut self, reason: CancelReason, out: &mut impl EventSink) {
        let mut gathered = core::mem::take(&mut self.gathered);
        for at in 0..self.markets.len() {
            gathered.clear();
            for (slot, order) in self.markets[at].orders.iter().enumerate() {
                if order.state != State::Free {
                    gathered.push((order.sequence, slot as u32));
                }
            }
            gathered.sort_unstable();
            let (book, mut floor) = self.floor(InstrumentId(at as u32), out);
            for (_, slot) in &gathered {
                floor.cancel(book, *slot, reason);
            }
        }
        self.gathered = gathered;
    }
}
