//! Market data of one product: book, ticker, statistics, trades, candles.

use axum::http::Method;
use everopen_domain::{OrderId, Side};
use everopen_views::{Candle, Granularity, Product, TradeView, Views};
use serde::Serialize;
use serde_json::{Map, json};

use super::page::{self, AFTER, BEFORE, LIMIT};
use super::{Route, handler};
use crate::dispatch::Reply;
use crate::errors::ApiError;
use crate::gateway::Call;
use crate::schema::{Described, Exact, Number, Time, object};

object! {
    /// A book at an instant.
    struct Book {
        /// The market data sequence that it holds at.
        sequence: u64,
        /// Buy side, best first: price, size, and number of orders (level 3: order id).
        bids: Vec<(Exact, Exact, Entry)>,
        /// Sell side, best first.
        asks: Vec<(Exact, Exact, Entry)>,
        /// Whether orders gather for an auction.
        auction_mode: bool,
        /// What the auction would do if it ended now.
        auction: Option<Auction>,
        /// The gateway's time.
        time: Time,
    }
}

object! {
    /// An auction's indication.
    struct Auction {
        /// The price; zero when nothing would trade.
        open_price: Exact,
        /// The volume that would trade.
        open_size: Exact,
        /// The side that has more.
        surplus_side: &'static str,
        /// How much more.
        surplus_size: Exact,
    }
}

/// The third place of a book's row.
enum Entry {
    Orders(u32),
    Order(OrderId),
}

impl Serialize for Entry {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Orders(count) => serializer.serialize_u32(*count),
            Self::Order(order) => serializer.collect_str(order),
        }
    }
}

impl Described for Entry {
    fn schema() -> serde_json::Value {
        json!({ "type": ["integer", "string"] })
    }
}

object! {
    /// The last trade and the best prices.
    struct TickerBody {
        /// The last trade.
        trade_id: Option<u64>,
        /// Its price.
        price: Option<Exact>,
        /// Its size.
        size: Option<Exact>,
        /// When it was.
        time: Option<Time>,
        /// The best buy price.
        bid: Option<Exact>,
        /// The best sell price.
        ask: Option<Exact>,
        /// The sum of sizes over 24 hours.
        volume: Exact,
    }
}

object! {
    /// The last 24 hours.
    struct Stats {
        /// The first price.
        open: Exact,
        /// The highest price.
        high: Exact,
        /// The lowest price.
        low: Exact,
        /// The last price.
        last: Exact,
        /// The sum of sizes.
        volume: Exact,
        /// The sum of sizes over 30 days.
        volume_30day: Exact,
    }
}

object! {
    /// A trade.
    struct Trade {
        /// Its number in this product.
        trade_id: u64,
        /// The maker's side.
        side: &'static str,
        /// The size.
        size: Exact,
        /// The price.
        price: Exact,
        /// When it was.
        time: Time,
    }
}

type CandleRow = (u64, Number, Number, Number, Number, Number);
type SparkRow = (u64, Number, Number, Number, Number);

/// Candles in one answer.
const CANDLES_MAX: u64 = 300;

pub(super) fn routes() -> Vec<Route> {
    let get = |path, summary, handler| Route::new(Method::GET, path, summary, handler);
    let sparks = || json!({ "type": "object", "additionalProperties": Vec::<SparkRow>::schema() });
    vec![
        Route {
            response: sparks,
            ..get(
                "/products/spark-lines",
                "The last 24 hours of all products: time, low, high, open, close by the hour",
                handler!(spark_lines),
            )
        },
        get(
            "/products/{product_id}/book",
            "A product's book",
            handler!(book),
        )
        .query(&[(
            "level",
            "1 best prices, 2 all prices, 3 all orders; 1 if not given",
        )])
        .gives::<Book>(),
        get(
            "/products/{product_id}/ticker",
            "The last trade and the best prices",
            handler!(ticker),
        )
        .gives::<TickerBody>(),
        get(
            "/products/{product_id}/stats",
            "The last 24 hours",
            handler!(stats),
        )
        .gives::<Stats>(),
        get(
            "/products/{product_id}/trades",
            "Recent trades, newest first",
            handler!(trades),
        )
        .query(&[LIMIT, BEFORE, AFTER])
        .gives::<Vec<Trade>>(),
        get(
            "/products/{product_id}/candles",
            "Time, low, high, open, close, volume; newest first, at most 300",
            handler!(candles),
        )
        .query(&[
            (
                "granularity",
                "60, 300, 900, 3600, 21600 or 86400 seconds; 60 if not given",
            ),
            ("start", "from this time on"),
            ("end", "up to this time"),
        ])
        .gives::<Vec<CandleRow>>(),
    ]
}

pub(super) fn side(side: Side) -> &'static str {
    match side {
        Side::Buy => "buy",
        Side::Sell => "sell",
    }
}

fn named<'a>(views: &'a Views, call: &Call) -> Result<&'a Product, ApiError> {
    views
        .product_by_symbol(call.param("product_id"))
        .ok_or_else(ApiError::not_found)
}

async fn book(call: Call) -> Result<Reply, ApiError> {
    let level = call.query.integer("level")?.unwrap_or(1);
    if !(1..=3).contains(&level) {
        return Err(ApiError::bad("level must be 1, 2 or 3"));
    }
    let views = call.gateway.views();
    let product = named(&views, &call)?;
    let book = views.book(product.id).ok_or_else(ApiError::not_found)?;
    let rows = |side| -> Vec<_> {
        let levels = book.levels(side).map(|level| {
            let size = Exact(product.volume(level.visible));
            (
                Exact(product.price(level.price)),
                size,
                Entry::Orders(level.orders),
            )
        });
        match level {
            1 => levels.take(1).collect(),
            2 => levels.collect(),
            _ => book
                .orders(side)
                .map(|order| {
                    let size = Exact(product.size(order.visible));
                    (
                        Exact(product.price(order.price)),
                        size,
                        Entry::Order(order.order),
                    )
                })
                .collect(),
        }
    };
    let auction = book.indication().map(|indication| Auction {
        open_price: Exact(product.price(indication.price)),
        open_size: Exact(product.size(indication.volume)),
        surplus_side: side(indication.surplus_side),
        surplus_size: Exact(product.size(indication.surplus)),
    });
    let body = Book {
        sequence: book.sequence(),
        bids: rows(Side::Buy),
        asks: rows(Side::Sell),
        auction_mode: product.phase == everopen_domain::TradingPhase::Auction,
        auction,
        time: Time(call.now),
    };
    drop(views);
    Ok(Reply::json(&body))
}

async fn ticker(call: Call) -> Result<Reply, ApiError> {
    let views = call.gateway.views();
    let product = named(&views, &call)?;
    let ticker = views.ticker(product.id).ok_or_else(ApiError::not_found)?;
    let stats = views
        .stats_24h(product.id)
        .ok_or_else(ApiError::not_found)?;
    Ok(Reply::json(&TickerBody {
        trade_id: ticker.trade.map(|trade| trade.trade.0),
        price: ticker.trade.map(|trade| Exact(product.price(trade.price))),
        size: ticker.trade.map(|trade| Exact(product.size(trade.size))),
        time: ticker.trade.map(|trade| Time(trade.time)),
        bid: ticker.bid.map(|level| Exact(product.price(level.price))),
        ask: ticker.ask.map(|level| Exact(product.price(level.price))),
        volume: Exact(product.volume(stats.volume)),
    }))
}

async fn stats(call: Call) -> Result<Reply, ApiError> {
    let views = call.gateway.views();
    let product = named(&views, &call)?;
    let stats = views
        .stats_24h(product.id)
        .ok_or_else(ApiError::not_found)?;
    Ok(Reply::json(&Stats {
        open: Exact(product.price(stats.open)),
        high: Exact(product.price(stats.high)),
        low: Exact(product.price(stats.low)),
        last: Exact(product.price(stats.last)),
        volume: Exact(product.volume(stats.volume)),
        volume_30day: Exact(product.volume(stats.volume_30d)),
    }))
}

async fn trades(call: Call) -> Result<Reply, ApiError> {
    let page = page::page(&call.query, |_| None)?;
    let views = call.gateway.views();
    let product = named(&views, &call)?;
    let row = |trade: &TradeView| {
        let body = Trade {
            trade_id: trade.trade.0,
            side: side(trade.maker_side),
            size: Exact(product.size(trade.size)),
            price: Exact(product.price(trade.price)),
            time: Time(trade.time),
        };
        (trade.trade.0, body)
    };
    let rows: Vec<_> = views.trades(product.id, page).map(row).collect();
    drop(views);
    Ok(page::reply(&rows))
}

async fn candles(call: Call) -> Result<Reply, ApiError> {
    let seconds = call.query.integer("granularity")?.unwrap_or(60);
    let granularity = Granularity::from_seconds(seconds)
        .ok_or_else(|| ApiError::bad("Unsupported granularity"))?;
    let now_s = call.now.0 / 1_000_000_000;
    let second = |name| page::time(&call.query, name).map(|time| time.map(|t| t.0 / 1_000_000_000));
    let (start, end) = (second("start")?, second("end")?);
    let span = seconds * CANDLES_MAX;
    let end = match (start, end) {
        (_, Some(end)) => end,
        (Some(start), None) => start.saturating_add(span).min(now_s),
        (None, None) => now_s,
    };
    let start = start.unwrap_or(end.saturating_sub(span));
    if end.saturating_sub(start) > span {
        return Err(ApiError::bad(
            "granularity too small for the requested time range: at most 300 candles",
        ));
    }
    let views = call.gateway.views();
    let product = named(&views, &call)?;
    let row = |candle: &Candle| -> CandleRow {
        let price = |price| Number(product.price(price));
        let (low, high) = (price(candle.low), price(candle.high));
        let (open, close) = (price(candle.open), price(candle.close));
        (
            candle.start,
            low,
            high,
            open,
            close,
            Number(product.volume(candle.volume)),
        )
    };
    let limit = CANDLES_MAX as u32;
    let rows: Vec<_> = views
        .candles(product.id, granularity, start, end, limit)
        .map(row)
        .collect();
    Ok(Reply::json(&rows))
}

async fn spark_lines(call: Call) -> Result<Reply, ApiError> {
    let now_s = call.now.0 / 1_000_000_000;
    let views = call.gateway.views();
    let mut lines = Map::new();
    for product in views.products() {
        let price = |price| Number(product.price(price));
        let rows: Vec<SparkRow> = views
            .candles(
                product.id,
                Granularity::Hour,
                now_s.saturating_sub(86_400),
                now_s,
                24,
            )
            .map(|c| {
                (
                    c.start,
                    price(c.low),
                    price(c.high),
                    price(c.open),
                    price(c.close),
                )
            })
            .collect();
        let rows = serde_json::to_value(&rows).map_err(|_| ApiError::internal())?;
        lines.insert(product.symbol.clone(), rows);
    }
    Ok(Reply::json(&lines))
}
