//! The text of the `status` channel: all products and currencies.

use axum::extract::ws::Utf8Bytes;
use everopen_domain::TradingPhase;
use everopen_views::{Decimal, Product, Views};

use super::json::{Escaped, put};

pub(super) fn status(views: &Views) -> Utf8Bytes {
    let mut text = String::with_capacity(4_096);
    text.push_str(r#"{"type":"status","products":["#);
    for (at, product) in views.products().enumerate() {
        if at > 0 {
            text.push(',');
        }
        product_entry(&mut text, product, views.is_killed());
    }
    text.push_str(r#"],"currencies":["#);
    for (at, asset) in views.assets().iter().enumerate() {
        let smallest = Decimal::new(1, asset.decimals);
        put!(
            &mut text,
            concat!(
                r#"{}{{"id":"{code}","name":"{code}","display_name":"{code}","#,
                r#""status":"online","status_message":null,"min_size":"{smallest}","#,
                r#""max_precision":"{smallest}","convertible_to":[],"details":{{}},"#,
                r#""default_network":"","supported_networks":[]}}"#
            ),
            if at == 0 { "" } else { "," },
            code = Escaped(asset.code.as_str()),
            smallest = smallest
        );
    }
    text.push_str("]}");
    text.into()
}

fn product_entry(text: &mut String, product: &Product, killed: bool) {
    let limits = &product.instrument.limits;
    let phase = product.phase;
    let halted = killed || phase == TradingPhase::Halted;
    put!(
        text,
        concat!(
            r#"{{"id":"{id}","base_currency":"{base}","quote_currency":"{quote}","#,
            r#""display_name":"{id}","base_increment":"{lot:#}","quote_increment":"{tick:#}","#,
            r#""min_market_funds":"{funds:#}","status":"{status}","status_message":"","#,
            r#""post_only":{post_only},"limit_only":{limit_only},"cancel_only":{cancel_only},"#,
            r#""auction_mode":{auction},"trading_disabled":{halted},"margin_enabled":false,"#,
            r#""fx_stablecoin":false,"max_slippage_percentage":"{band}","type":"spot"}}"#
        ),
        id = Escaped(&product.symbol),
        base = Escaped(product.base.code.as_str()),
        quote = Escaped(product.quote.code.as_str()),
        lot = product.size(limits.lot),
        tick = product.price(limits.tick),
        funds = product.funds(limits.min_notional),
        status = if halted { "offline" } else { "online" },
        post_only = phase == TradingPhase::PostOnly,
        limit_only = phase == TradingPhase::LimitOnly,
        cancel_only = phase == TradingPhase::CancelOnly,
        auction = phase == TradingPhase::Auction,
        halted = halted,
        band = Decimal::new(i128::from(limits.price_band.0), 6),
    );
}
