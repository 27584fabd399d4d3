//! Instruments and the phases that their markets go through.

use crate::{Amount, AssetId, FeeScheduleId, Price, Quantity, Rate};

/// What an instrument is: fixed when it is added.
///
/// Amounts follow from price and quantity without rounding, since the venue accepts an
/// instrument only if `decimals(quote) ≥ price_decimals + size_decimals` and
/// `decimals(base) ≥ size_decimals`:
/// notional in quote atoms = price × quantity × 10^(decimals(quote) − price_decimals −
/// size_decimals).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Instrument {
    /// The asset that is bought and sold.
    pub base: AssetId,
    /// The asset that it is paid with.
    pub quote: AssetId,
    /// Decimals of [`Price`] for this instrument, 0 to 18.
    pub price_decimals: u8,
    /// Decimals of [`Quantity`] for this instrument, 0 to 18.
    pub size_decimals: u8,
    /// What may change later, by `AmendInstrument`.
    pub limits: InstrumentLimits,
}

/// The rules of an instrument that an operator may change while it trades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct InstrumentLimits {
    /// Prices are multiples of this (the tick size, FIX `MinPriceIncrement`, tag 969); at least 1.
    pub tick: Price,
    /// Quantities are multiples of this (the lot size, FIX `RoundLot`, tag 561); at least 1.
    pub lot: Quantity,
    /// The smallest quantity of an order (FIX `MinTradeVol`, tag 562).
    pub min_size: Quantity,
    /// The largest quantity of an order (FIX `MaxTradeVol`, tag 1140).
    pub max_size: Quantity,
    /// The smallest notional of an order (also its smallest funds), in quote atoms; zero for none.
    pub min_notional: Amount,
    /// The largest notional of an order, in quote atoms; zero for none.
    pub max_notional: Amount,
    /// How far from the reference price an order may trade: a buy above reference × (1 + band)
    /// or a sell below reference × (1 − band) is refused, and no market order trades beyond. Zero
    /// for no band. The reference price is the last trade's, or the one an operator set.
    pub price_band: Rate,
    /// The fee schedule of trades in this instrument.
    pub fee_schedule: FeeScheduleId,
    /// True where members may let their own orders trade with each other
    /// ([`crate::SelfTradePrevention::Allow`]).
    pub allow_self_trade: bool,
}

/// What members may do in an instrument's market right now (the role of FIX `TradingSessionSubID`,
/// tag 625, and `SecurityTradingStatus`, tag 326). Changed only by `SetTradingPhase`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(u8)]
pub enum TradingPhase {
    /// Continuous trading.
    #[default]
    Online = 0,
    /// Only post-only limit orders are taken; nothing can trade.
    PostOnly = 1,
    /// Only limit orders are taken; they trade as usual. Market orders are refused.
    LimitOnly = 2,
    /// Orders can only be canceled.
    CancelOnly = 3,
    /// Call period: limit orders gather without trading and the book may cross; the change to any
    /// other phase but `CancelOnly` and `Halted` uncrosses it once at one price.
    Auction = 4,
    /// Nothing at all, not even cancels by members.
    Halted = 5,
}
