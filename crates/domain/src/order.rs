//! Orders as members send them.

use crate::{Amount, ClientOrderId, InstrumentId, Price, Quantity, Timestamp};

/// The side of an order (FIX `Side`, tag 54).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(u8)]
pub enum Side {
    /// Pays the quote asset for the base asset.
    #[default]
    Buy = 0,
    /// Gives the base asset for the quote asset.
    Sell = 1,
}

impl Side {
    /// The other side.
    pub const fn opposite(self) -> Self {
        match self {
            Self::Buy => Self::Sell,
            Self::Sell => Self::Buy,
        }
    }
}

/// How an order is priced (FIX `OrdType`, tag 40).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(u8)]
pub enum OrderType {
    /// At its price or better.
    #[default]
    Limit = 0,
    /// At the market's prices, bounded by the price band; what cannot trade is canceled.
    Market = 1,
}

/// How long an order stays (FIX `TimeInForce`, tag 59).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(u8)]
pub enum TimeInForce {
    /// Good till canceled.
    #[default]
    GoodTillCanceled = 0,
    /// Good till a time (FIX "good till date"), given in [`NewOrder::expires_at`].
    GoodTillTime = 1,
    /// Immediate or cancel: trades what it can at once, the rest is canceled.
    ImmediateOrCancel = 2,
    /// Fill or kill: trades all of its size at once or nothing.
    FillOrKill = 3,
}

/// What happens when two orders of one member would trade with each other (FIX
/// `SelfTradePrevention` instruction, tag 2362). The taker's instruction counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(u8)]
pub enum SelfTradePrevention {
    /// Both shrink by the smaller remaining size; what reaches zero is canceled.
    #[default]
    DecreaseAndCancel = 0,
    /// The resting order is canceled, the taker goes on.
    CancelOldest = 1,
    /// The taker is canceled, the resting order stays.
    CancelNewest = 2,
    /// Both are canceled.
    CancelBoth = 3,
    /// They trade. Only where the instrument allows it.
    Allow = 4,
}

/// Which way the last trade price must move to trigger a stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(u8)]
pub enum StopDirection {
    /// Triggers when a trade's price is at or below the stop price.
    #[default]
    Loss = 0,
    /// Triggers when a trade's price is at or above the stop price.
    Entry = 1,
}

/// The trigger of a stop order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Stop {
    /// Which way it triggers.
    pub direction: StopDirection,
    /// The price that triggers it (FIX `StopPx`, tag 99). A stop whose price the last trade has
    /// already reached is triggered at once.
    pub price: Price,
}

/// A new order (FIX `NewOrderSingle`, 35=D).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NewOrder {
    /// Where it trades.
    pub instrument: InstrumentId,
    /// Buy or sell.
    pub side: Side,
    /// Limit or market.
    pub order_type: OrderType,
    /// The limit; [`Price::ZERO`] for a market order.
    pub price: Price,
    /// The size; [`Quantity::ZERO`] for a market order by funds alone.
    pub size: Quantity,
    /// Market orders only: the most a buy may spend, fee included, or the proceeds before fee
    /// after which a sell stops, in quote atoms; [`Amount::ZERO`] for none. With both size and
    /// funds, whichever ends first ends the order.
    pub funds: Amount,
    /// How long it stays. Market orders are always immediate.
    pub time_in_force: TimeInForce,
    /// When a good-till-time order expires; [`Timestamp::ZERO`] otherwise.
    pub expires_at: Timestamp,
    /// True to refuse the order rather than let it take (FIX `ExecInst` 6, "participate don't
    /// initiate").
    pub post_only: bool,
    /// An iceberg's peak: how much of it the book shows at once (FIX `MaxFloor`, tag 111);
    /// [`Quantity::ZERO`] shows all.
    pub display_size: Quantity,
    /// The trigger, for a stop order.
    pub stop: Option<Stop>,
    /// What to do about the member's own orders on the other side.
    pub self_trade_prevention: SelfTradePrevention,
    /// The client's own id; empty for none. Refused while an open order of the member, or one of
    /// its recently used ids, is the same.
    pub client_order_id: ClientOrderId,
}
