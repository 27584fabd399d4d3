//! One instrument's market apart from its book: rules, phase, counters, and what the venue knows
//! about each order beyond what the book does.

use alloc::vec::Vec;

use everopen_book::{Indication, Slot};
use everopen_domain::{
    Amount, AssetId, Instrument, InstrumentId, MemberId, NewOrder, OrderId, OrderLimits, Price,
    Quantity, Rate, Side, Timestamp, TradingPhase,
};
use everopen_ledger::Account;

use crate::arithmetic::{Scale, band_bottom, band_top};
use crate::ids::NONE;

/// Where an order is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    /// Nowhere: the slot is free.
    #[default]
    Free,
    /// On its way through a command: accepted, triggered or amended, and in no queue.
    Entering,
    /// In the book.
    Resting,
    /// Waiting for its trigger.
    Waiting,
}

/// What the venue keeps about an open order where every trade needs it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct OpenOrder {
    /// Atoms held: quote for a buy, base for a sell.
    pub hold: Amount,
    pub sequence: u64,
    pub seat: u32,
    pub maker_rate: Rate,
    pub taker_rate: Rate,
    pub fee_slack: u32,
    /// Entry in the member's client order ids, or [`NONE`].
    pub client_entry: u32,
    /// Handle in the expiries, or [`NONE`].
    pub expiry: u32,
    /// Neighbors among the seat's orders, older and younger.
    pub older: u32,
    pub younger: u32,
    pub side: Side,
    pub state: State,
    pub iceberg: bool,
}

const _: () = assert!(size_of::<OpenOrder>() == 64);

/// What the venue keeps about an open order and seldom needs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Accepted {
    /// The order as sent, with price and size as last amended. Its size less what is left of it
    /// is what was filled.
    pub order: NewOrder,
    pub at: Timestamp,
    /// Of a resting iceberg: what the book shows.
    pub visible: Quantity,
}

/// A member's place in a market.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    pub member: MemberId,
    pub base: Account,
    pub quote: Account,
    /// Index of the member's volume in the quote asset.
    pub volume: u32,
    /// The member's open orders here, in the order of acceptance.
    pub oldest: u32,
    pub youngest: u32,
    pub open: u32,
    pub limits: OrderLimits,
}

impl Seat {
    /// The account that a hold of this side lies in.
    #[inline]
    pub fn hold_account(&self, side: Side) -> Account {
        match side {
            Side::Buy => self.quote,
            Side::Sell => self.base,
        }
    }
}

/// One instrument's market.
#[derive(Clone, Debug)]
pub(crate) struct Market {
    pub id: InstrumentId,
    pub instrument: Instrument,
    pub scale: Scale,
    pub phase: TradingPhase,
    /// The last market data sequence.
    pub sequence: u64,
    pub last_trade: u64,
    pub last_price: Price,
    pub reference_price: Price,
    /// By slot, as in the book.
    pub orders: Vec<OpenOrder>,
    /// By slot, as in the book.
    pub accepted: Vec<Accepted>,
    /// By member: 0 for none, else one more than the index of its seat.
    pub seat_of: Vec<u32>,
    pub seats: Vec<Seat>,
    /// How many stop orders wait.
    pub waiting: u32,
    /// Trade prices whose stops have not been looked for yet.
    pub trade_prices: Vec<Price>,
    /// Triggered stops that have not entered yet, with the price that triggered each.
    pub triggered: Vec<(Slot, Price)>,
    /// What was last said about the auction.
    pub indication: Indication,
    /// Whether the auction may have another indication than was last said.
    pub indicate: bool,
}

impl Market {
    pub fn new(id: InstrumentId, instrument: Instrument, scale: Scale) -> Self {
        Self {
            id,
            instrument,
            scale,
            phase: TradingPhase::CancelOnly,
            sequence: 0,
            last_trade: 0,
            last_price: Price::ZERO,
            reference_price: Price::ZERO,
            orders: Vec::new(),
            accepted: Vec::new(),
            seat_of: Vec::new(),
            seats: Vec::new(),
            waiting: 0,
            trade_prices: Vec::new(),
            triggered: Vec::new(),
            indication: Indication::default(),
            indicate: false,
        }
    }

    /// The next market data sequence.
    #[inline]
    pub fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// The asset that a hold of this side is in.
    pub fn hold_asset(&self, side: Side) -> AssetId {
        match side {
            Side::Buy => self.instrument.quote,
            Side::Sell => self.instrument.base,
        }
    }

    #[inline]
    pub fn order_id(&self, slot: Slot) -> OrderId {
        OrderId {
            sequence: self.orders[slot as usize].sequence,
            instrument: self.id,
            slot,
        }
    }

    #[inline]
    pub fn seat(&self, slot: Slot) -> &Seat {
        &self.seats[self.orders[slot as usize].seat as usize]
    }

    /// The slot of an open order of this member.
    #[inline]
    pub fn find(&self, member: MemberId, id: OrderId) -> Option<Slot> {
        let order = self.orders.get(id.slot as usize)?;
        let found = order.state != State::Free
            && order.sequence == id.sequence
            && self.seats[order.seat as usize].member == member;
        found.then_some(id.slot)
    }

    /// The index of a member's seat, if it has one.
    #[inline]
    pub fn seat_index(&self, member: MemberId) -> Option<u32> {
        self.seat_of.get(member.0 as usize)?.checked_sub(1)
    }

    /// Puts an order at the end of its seat's list.
    #[inline]
    pub fn link(&mut self, slot: Slot) {
        let seat = &mut self.seats[self.orders[slot as usize].seat as usize];
        let older = seat.youngest;
        seat.youngest = slot;
        seat.open += 1;
        if older == NONE {
            seat.oldest = slot;
        } else {
            self.orders[older as usize].younger = slot;
        }
        let order = &mut self.orders[slot as usize];
        (order.older, order.younger) = (older, NONE);
    }

    /// Takes an order out of its seat's list.
    #[inline]
    pub fn unlink(&mut self, slot: Slot) {
        let order = self.orders[slot as usize];
        let seat = &mut self.seats[order.seat as usize];
        seat.open -= 1;
        if order.older == NONE {
            seat.oldest = order.younger;
        } else {
            self.orders[order.older as usize].younger = order.younger;
        }
        if order.younger == NONE {
            seat.youngest = order.older;
        } else {
            self.orders[order.younger as usize].older = order.older;
        }
    }

    /// The band and the reference price that it is around, where there is a band.
    #[inline]
    fn band(&self) -> Option<(Price, Rate)> {
        let band = self.instrument.limits.price_band;
        let reference = self.reference_price;
        (band != Rate::ZERO && reference != Price::ZERO).then_some((reference, band))
    }

    /// Whether the band lets an order of this price in.
    #[inline]
    pub fn in_band(&self, side: Side, price: Price) -> bool {
        let Some((reference, band)) = self.band() else {
            return true;
        };
        match side {
            Side::Buy => price <= band_top(reference, band),
            Side::Sell => price >= band_bottom(reference, band),
        }
    }

    /// The worst price that a market order may trade at.
    pub fn market_limit(&self, side: Side) -> Price {
        match (self.band(), side) {
            (None, Side::Buy) => Price::MAX,
            (None, Side::Sell) => Price::ZERO,
            (Some((reference, band)), Side::Buy) => band_top(reference, band),
            (Some((reference, band)), Side::Sell) => band_bottom(reference, band),
        }
    }

    /// Whether orders trade as they come.
    #[inline]
    pub fn is_continuous(&self) -> bool {
        matches!(self.phase, TradingPhase::Online | TradingPhase::LimitOnly)
    }
}
