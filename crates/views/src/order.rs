//! Orders as their member sees them.

use everopen_domain::{
    Amount, DoneReason, InstrumentId, MemberId, NewOrder, OrderId, Price, Quantity, Rate, Side,
    Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::member::Page;
use crate::reference::Product;

/// Where an order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OrderStatus {
    /// Accepted or triggered, and neither resting nor over yet. Lasts only within one command.
    Pending,
    /// A stop order that waits for its trigger.
    Active,
    /// Rests in the book.
    Open,
    /// Over.
    Done,
}

/// How and when an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderDoneView {
    /// How.
    pub reason: DoneReason,
    /// When.
    pub at: Timestamp,
}

/// An order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderView {
    /// Its id.
    pub order: OrderId,
    /// Whose.
    pub member: MemberId,
    /// The order as it was sent, with price and size as last amended: product, side, type, price,
    /// size, funds, time in force, expiry, post-only, display size, stop, self-trade prevention
    /// and client id.
    pub details: NewOrder,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its trigger was reached; none for an order that is no stop or still waits.
    pub triggered_at: Option<Timestamp>,
    /// How much of it has traded.
    pub filled: Quantity,
    /// What it has traded for: the sum of price × quantity, in quote atoms.
    pub executed_value: Amount,
    /// What it has been charged, in quote atoms; negative if rebates prevail.
    pub fees: Amount,
    /// All that is left, hidden part included; zero for an order by funds alone. Once it is over,
    /// what was not filled.
    pub remaining: Quantity,
    /// What is held for it: quote atoms for a buy, base atoms for a sell. Exact after every command;
    /// within one, an order on its way into the book may hold less.
    pub hold: Amount,
    /// Its exact fees so far, in millionths of a quote atom; [`OrderView::fees`] is that rounded up.
    pub(crate) fee_parts: i128,
    /// The maker rate that it is charged.
    pub maker_rate: Rate,
    /// The taker rate that it is charged.
    pub taker_rate: Rate,
    /// Where it stands.
    pub status: OrderStatus,
    /// How and when it ended; none while it has not.
    pub done: Option<OrderDoneView>,
}

impl OrderView {
    /// True for an order by funds alone, which has no size.
    pub fn is_by_funds(&self) -> bool {
        self.details.size == Quantity::ZERO
    }

    /// What it has not filled of its size; zero for an order by funds alone. While an order matches
    /// this may be more than [`OrderView::remaining`]: what self-trade prevention takes off it is
    /// told after its trades.
    pub fn unfilled(&self) -> Quantity {
        Quantity(self.details.size.0.saturating_sub(self.filled.0))
    }

    /// Its limit; none for a market order.
    pub fn limit(&self) -> Option<Price> {
        (self.details.price != Price::ZERO).then_some(self.details.price)
    }

    /// What a resting order holds: base atoms of a sell; notional and maker fee of a buy, less what
    /// earlier fees were rounded up by. A rebate is not counted on.
    pub(crate) fn resting_hold(&self, product: &Product) -> Amount {
        match self.details.side {
            Side::Sell => product.base_atoms(self.remaining),
            Side::Buy => {
                let notional = product.notional(self.details.price, self.remaining).0;
                let rate = i128::from(self.maker_rate.0.max(0));
                let parts = i128::from(Rate::ONE);
                let slack = match rate {
                    0 => 0,
                    _ => self.fees.0.saturating_mul(parts) - self.fee_parts,
                };
                // Rounded up; split so that nothing overflows.
                let rest = notional % parts * rate - slack;
                let fee = notional / parts * rate - (-rest).div_euclid(parts);
                Amount(notional + fee)
            }
        }
    }

    /// What is left of its funds, zero for an order without.
    pub fn remaining_funds(&self) -> Amount {
        // A buy's funds include its fee; a sell's are proceeds before fee.
        let used = match self.details.side {
            Side::Buy => self.executed_value.0.saturating_add(self.fees.0),
            Side::Sell => self.executed_value.0,
        };
        Amount(self.details.funds.0.saturating_sub(used).max(0))
    }
}

/// A set of [`OrderStatus`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusSet(u8);

impl StatusSet {
    /// None.
    pub const NONE: Self = Self(0);
    /// Pending, active and open: all that is not over.
    pub const LIVE: Self = Self::NONE
        .with(OrderStatus::Pending)
        .with(OrderStatus::Active)
        .with(OrderStatus::Open);
    /// All.
    pub const ALL: Self = Self::LIVE.with(OrderStatus::Done);

    /// This set and `status`.
    #[must_use]
    pub const fn with(self, status: OrderStatus) -> Self {
        Self(self.0 | (1 << status as u8))
    }

    /// Whether `status` is in it.
    pub const fn contains(self, status: OrderStatus) -> bool {
        self.0 & (1 << status as u8) != 0
    }
}

/// Which orders to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderFilter {
    /// Only of this instrument.
    pub product: Option<InstrumentId>,
    /// Only with one of these.
    pub statuses: StatusSet,
    /// Only accepted at or after this.
    pub start: Option<Timestamp>,
    /// Only accepted before this.
    pub end: Option<Timestamp>,
    /// Where in the list, by `OrderId::sequence`.
    pub page: Page,
}

impl Default for OrderFilter {
    fn default() -> Self {
        Self {
            product: None,
            statuses: StatusSet::LIVE,
            start: None,
            end: None,
            page: Page::default(),
        }
    }
}

impl OrderFilter {
    pub(crate) fn takes(&self, order: &OrderView) -> bool {
        self.statuses.contains(order.status)
            && self
                .product
                .is_none_or(|product| product == order.details.instrument)
            && self.start.is_none_or(|start| order.created_at >= start)
            && self.end.is_none_or(|end| order.created_at < end)
    }
}
