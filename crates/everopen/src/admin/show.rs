//! What the live summary shows of a gateway's views.

use everopen_domain::Side;
use everopen_views::{Product, Views};
use serde_json::{Value, json};

use crate::gateway::counts::Counts;

/// Books, counts and latencies at this moment.
pub fn summary(views: &Views, counts: &Counts) -> Value {
    let latency = counts.take_latency();
    let products: Vec<Value> = views.products().map(|p| product(views, p)).collect();
    json!({
        "index": views.index().0,
        "commands": counts.commands(),
        "orders": counts.orders(),
        "trades": counts.trades(),
        "latency": (latency.count > 0).then(|| json!({
            "count": latency.count,
            "p50_us": latency.p50_us,
            "p99_us": latency.p99_us,
        })),
        "products": products,
    })
}

fn product(views: &Views, product: &Product) -> Value {
    let book = views.book(product.id);
    let best = |side| book.and_then(|b| b.best(side)).map(|level| level.price);
    let (bid, ask) = (best(Side::Buy), best(Side::Sell));
    let spread = match (bid, ask) {
        (Some(bid), Some(ask)) if ask > bid => Some(format!(
            "{:.1} bp",
            (ask.0 - bid.0) as f64 * 1e4 / ask.0 as f64
        )),
        _ => None,
    };
    let price = |p: Option<_>| p.map(|p| product.price(p).to_string());
    let last = views.ticker(product.id).and_then(|t| t.trade);
    let volume = views.stats_24h(product.id);
    json!({
        "id": product.symbol,
        "bid": price(bid),
        "ask": price(ask),
        "last": price(last.map(|trade| trade.price)),
        "spread": spread,
        "volume": volume.map(|s| product.volume(s.volume).to_string()),
        "phase": format!("{:?}", product.phase).to_lowercase(),
    })
}
