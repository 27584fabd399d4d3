//! One instrument's market: its book, trades and candles.

use std::collections::VecDeque;

use everopen_domain::{MemberId, OrderId, Price, Quantity, Side, Timestamp, TradeId};
use serde::{Deserialize, Serialize};

use crate::book::{BookView, LevelView};
use crate::candle::Candles;
use crate::config::{Config, push_bounded};
use crate::reference::Product;

/// A trade as the market sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TradeView {
    /// The trade.
    pub trade: TradeId,
    /// Its market data sequence.
    pub sequence: u64,
    /// When.
    pub time: Timestamp,
    /// The price.
    pub price: Price,
    /// The size.
    pub size: Quantity,
    /// The maker's side.
    pub maker_side: Side,
    /// The order that rested.
    pub maker_order: OrderId,
    /// The order that came.
    pub taker_order: OrderId,
    /// The maker; not for the public.
    pub maker: MemberId,
    /// The taker; not for the public.
    pub taker: MemberId,
    /// True in an auction's uncross.
    pub auction: bool,
}

/// The last trade and the best prices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticker {
    /// The sequence that all of this holds at.
    pub sequence: u64,
    /// The last trade; none before the first.
    pub trade: Option<TradeView>,
    /// The best buy level.
    pub bid: Option<LevelView>,
    /// The best sell level.
    pub ask: Option<LevelView>,
}

/// The last 24 hours up to the last entry of the log, counted in whole minutes: the minute of that
/// entry and the 1,439 before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats24h {
    /// The first price of the 24 hours; the last price when nothing traded in them.
    pub open: Price,
    /// The highest price.
    pub high: Price,
    /// The lowest price.
    pub low: Price,
    /// The last trade's price, however old; zero before the first trade.
    pub last: Price,
    /// The sum of sizes.
    pub volume: u128,
    /// How many trades.
    pub trades: u64,
    /// The sum of sizes over the last 30 days, counted likewise.
    pub volume_30d: u128,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Market {
    pub product: Product,
    pub book: BookView,
    pub trades: VecDeque<TradeView>,
    pub candles: Candles,
}

impl Market {
    pub fn new(product: Product) -> Self {
        Self {
            product,
            book: BookView::default(),
            trades: VecDeque::new(),
            candles: Candles::default(),
        }
    }

    pub fn add_trade(&mut self, config: &Config, trade: TradeView) {
        self.candles
            .add(config, trade.time, trade.price, trade.size);
        push_bounded(&mut self.trades, trade, config.trades_per_instrument);
    }

    pub fn ticker(&self) -> Ticker {
        Ticker {
            sequence: self.book.sequence(),
            trade: self.trades.back().copied(),
            bid: self.book.best(Side::Buy),
            ask: self.book.best(Side::Sell),
        }
    }

    pub fn stats(&self) -> Stats24h {
        let last = self.trades.back().map_or(Price::ZERO, |trade| trade.price);
        let day = self.candles.day();
        let or_last = |price| if day.trades == 0 { last } else { price };
        Stats24h {
            open: or_last(day.open),
            high: or_last(day.high),
            low: or_last(day.low),
            last,
            volume: day.volume,
            trades: day.trades,
            volume_30d: self.candles.month_volume(),
        }
    }
}
