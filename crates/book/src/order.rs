//! The book's vocabulary: orders as it knows them, what it tells while it matches, and what it
//! answers.

use core::fmt;

use everopen_domain::{
    MemberId, OrderId, Price, Quantity, SelfTradePrevention, Side, StopDirection,
};

/// An order's place in its book; part of its [`everopen_domain::OrderId`].
pub type Slot = u32;

/// A resting order as the book knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct BookOrder {
    /// The number of its acceptance: tells it from all others that had or will have its slot, and
    /// which of two orders is the younger.
    pub sequence: u64,
    /// Its limit.
    pub price: Price,
    /// What the book shows of it; positive.
    pub visible: Quantity,
    /// What it does not show; zero unless it is an iceberg.
    pub hidden: Quantity,
    /// An iceberg's peak: how much it shows when it shows anew. Zero for any other order.
    pub peak: Quantity,
    /// Whose it is.
    pub member: MemberId,
    /// Its side.
    pub side: Side,
    /// What to do about the member's own orders if this one is the younger in an auction.
    pub self_trade_prevention: SelfTradePrevention,
}

impl BookOrder {
    /// All that is left of it, hidden part included.
    #[inline]
    pub const fn remaining(&self) -> Quantity {
        Quantity(self.visible.0 + self.hidden.0)
    }

    /// True when it can rest on `side`: INV-BOOK-2 holds and its numbers are in range.
    pub(crate) fn is_sound(&self, side: Side) -> bool {
        self.side == side
            && self.sequence < OrderId::SEQUENCE_END
            && self.price <= Price::MAX
            && self.visible > Quantity::ZERO
            && self.visible <= Quantity::MAX
            && self.hidden <= Quantity::MAX
            && (self.hidden == Quantity::ZERO || self.peak > Quantity::ZERO)
    }
}

/// An order that comes to trade at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taker {
    /// The number of its acceptance.
    pub sequence: u64,
    /// Whose it is.
    pub member: MemberId,
    /// Its side: it trades with the other.
    pub side: Side,
    /// The worst price it may trade at: [`Price::MAX`] for an unbounded buy, [`Price::ZERO`] for an
    /// unbounded sell.
    pub limit: Price,
    /// How much it wants; positive.
    pub size: Quantity,
    /// What to do about the member's own resting orders.
    pub self_trade_prevention: SelfTradePrevention,
}

/// One trade of a taker with a resting order, at that order's price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fill {
    /// The maker's slot.
    pub slot: Slot,
    /// The maker's sequence.
    pub sequence: u64,
    /// The maker's member.
    pub member: MemberId,
    /// The price: the maker's.
    pub price: Price,
    /// How much traded.
    pub quantity: Quantity,
    /// What the book now shows of the maker. Zero before an iceberg shows its next peak.
    pub maker_visible: Quantity,
    /// What is left of the maker, hidden part included; zero when it is filled.
    pub maker_remaining: Quantity,
    /// What is left of the taker.
    pub taker_remaining: Quantity,
}

/// Hears what a match does, in the order in which it happens.
pub trait MatchSink {
    /// How much of `wanted` the taker can pay for at `price`. Less than `wanted` trades that much;
    /// zero ends the match as [`Ended::Capped`].
    #[inline]
    fn cap(&mut self, price: Price, wanted: Quantity) -> Quantity {
        let _ = price;
        wanted
    }

    /// The same for a decrease by self-trade prevention against the member's own order at `price`:
    /// how much of `wanted` both shrink by. Zero ends the match as [`Ended::Capped`].
    #[inline]
    fn cap_decrease(&mut self, price: Price, wanted: Quantity) -> Quantity {
        let _ = price;
        wanted
    }

    /// A trade. Called before a filled maker's slot is freed and before an iceberg shows its next
    /// peak.
    fn traded(&mut self, fill: &Fill);

    /// An iceberg shows its next peak at the back of its price's queue.
    fn refreshed(&mut self, slot: Slot, order: &BookOrder);

    /// Self-trade prevention canceled a resting order; `order` is as it was before. Its slot is
    /// freed after the call.
    fn maker_canceled(&mut self, slot: Slot, order: &BookOrder);

    /// Self-trade prevention shrank a resting order by `by`, its hidden part first; `order` is as
    /// it is now. It keeps its priority.
    fn maker_reduced(&mut self, slot: Slot, order: &BookOrder, by: Quantity);

    /// Self-trade prevention shrank the taker by `by` against the member's own order at `price`.
    /// Called after [`MatchSink::maker_canceled`] or [`MatchSink::maker_reduced`].
    #[inline]
    fn taker_reduced(&mut self, price: Price, by: Quantity) {
        let _ = (price, by);
    }
}

/// Why a match ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing is left of the taker; what was left last traded.
    Filled,
    /// No more orders within its limit.
    Exhausted,
    /// The sink's [`MatchSink::cap`] (or [`MatchSink::cap_decrease`]) was zero.
    Capped,
    /// Self-trade prevention canceled the taker, or shrank it to nothing.
    SelfTrade,
}

/// How a match ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Matched {
    /// What is left of the taker: its size without what traded and without what a decrease by
    /// self-trade prevention took.
    pub remaining: Quantity,
    /// Why it ended.
    pub ended: Ended,
}

/// What a taker would trade now, without doing it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reachable {
    /// How much would trade.
    pub quantity: Quantity,
    /// The sum of price × quantity over those trades.
    pub notional_units: u128,
}

/// All visible orders at one price.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The price.
    pub price: Price,
    /// The sum of what its orders show; stays at the largest number if it does not fit.
    pub visible: Quantity,
    /// How many orders.
    pub orders: u32,
}

/// A stop order that waits for its trigger. What it becomes then is its caller's business.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct StopOrder {
    /// Its slot.
    pub slot: Slot,
    /// The number of its acceptance.
    pub sequence: u64,
    /// Whose it is.
    pub member: MemberId,
    /// Which way it triggers.
    pub direction: StopDirection,
    /// The price that triggers it.
    pub price: Price,
}

impl StopOrder {
    /// True when its numbers are in range.
    pub(crate) fn is_sound(&self) -> bool {
        self.price <= Price::MAX && self.sequence < OrderId::SEQUENCE_END
    }
}

/// What an auction would do now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Indication {
    /// The price; [`Price::ZERO`] when nothing would trade.
    pub price: Price,
    /// How much would trade, self-trade prevention left aside; stays at the largest number if it
    /// does not fit.
    pub volume: Quantity,
    /// The side that has more at that price; [`Side::Buy`] when they are equal.
    pub surplus_side: Side,
    /// How much more; stays at the largest number if it does not fit.
    pub surplus: Quantity,
}

/// One trade of an uncross. The older order plays the maker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UncrossFill {
    /// The maker's slot.
    pub maker_slot: Slot,
    /// The maker as it is after the trade; `visible` is zero before it is filled or shows its
    /// next peak.
    pub maker: BookOrder,
    /// The taker's slot.
    pub taker_slot: Slot,
    /// The taker as it is after the trade, likewise.
    pub taker: BookOrder,
    /// The price.
    pub price: Price,
    /// How much traded.
    pub quantity: Quantity,
}

/// Hears what an uncross does, in the order in which it happens.
pub trait UncrossSink {
    /// A trade. Called before the slots of filled orders are freed and before an iceberg shows its
    /// next peak.
    fn traded(&mut self, fill: &UncrossFill);

    /// An iceberg shows its next peak at the back of its price's queue.
    fn refreshed(&mut self, slot: Slot, order: &BookOrder);

    /// Self-trade prevention canceled an order; `order` is as it was before. Its slot is freed
    /// after the call.
    fn canceled(&mut self, slot: Slot, order: &BookOrder);

    /// Self-trade prevention shrank an order by `by`, its hidden part first; `order` is as it is
    /// now. It keeps its priority.
    fn reduced(&mut self, slot: Slot, order: &BookOrder, by: Quantity);
}

/// Why lists are no book.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// A slot stands in no list, twice, or past the number of slots.
    Slots,
    /// An order is on the wrong side, has no visible quantity, hides some without a peak, or its
    /// price or quantity is out of range.
    Order,
    /// Orders do not stand in the order of their prices, or stops not in the order of acceptance.
    Priority,
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slots => "slots of the book are not each used once",
            Self::Order => "order of the book is out of range",
            Self::Priority => "orders of the book are not in priority order",
        })
    }
}

impl core::error::Error for RestoreError {}
