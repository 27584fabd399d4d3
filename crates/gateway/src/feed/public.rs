//! The texts of public market data.

use axum::extract::ws::Utf8Bytes;
use everopen_domain::{
    CancelReason, DoneReason, Event, OrderId, OrderType, Price, Quantity, Side, StopDirection,
    Timestamp, TradingPhase,
};
use everopen_views::clock_text::Iso;
use everopen_views::{BookView, Decimal, OrderView, Product, Stats24h, Ticker, Views};

use super::json::{Escaped, put, side_name};

const NEW_TEXT_BYTES: usize = 384;

pub(super) fn new_text() -> String {
    String::with_capacity(NEW_TEXT_BYTES)
}

/// The beginning of a message about an order or a trade.
pub(super) fn head(
    text: &mut String,
    kind: &str,
    product: &Product,
    sequence: u64,
    time: Timestamp,
) {
    put!(
        text,
        r#"{{"type":"{kind}","product_id":"{}","time":"{}""#,
        Escaped(&product.symbol),
        Iso(time)
    );
    // An event that the market does not see has no sequence of its own.
    if sequence != 0 {
        put!(text, r#","sequence":{sequence}"#);
    }
}

/// Size or funds, and price, of an order as it was sent. `size` is what may be told.
pub(super) fn order_terms(text: &mut String, product: &Product, order: &OrderView, size: Quantity) {
    let details = &order.details;
    let kind = match details.order_type {
        OrderType::Limit => "limit",
        OrderType::Market => "market",
    };
    put!(
        text,
        r#","order_id":"{}","side":"{}","order_type":"{kind}""#,
        order.order,
        side_name(details.side)
    );
    if size != Quantity::ZERO {
        put!(text, r#","size":"{}""#, product.size(size));
    }
    if !details.funds.is_zero() {
        put!(text, r#","funds":"{}""#, product.funds(details.funds));
    }
    if let Some(price) = order.limit() {
        put!(text, r#","price":"{}""#, product.price(price));
    }
}

/// What the public may know of an order's size, or of what is left of it: of an iceberg only its
/// peak.
fn public_size(order: &OrderView, size: Quantity) -> Quantity {
    match order.details.display_size {
        Quantity::ZERO => size,
        peak => peak.min(size),
    }
}

/// How an order ended, for its member. One that was to spend so much, or to bring so much, has done
/// that when its funds are used, though the venue ends it with a rest of funds below one lot.
pub(crate) fn ended(order: &OrderView, reason: DoneReason) -> DoneReason {
    match reason {
        DoneReason::Canceled(CancelReason::FundsUsed)
            if order.details.funds.is_positive() && order.filled.0 > 0 =>
        {
            DoneReason::Filled
        }
        reason => reason,
    }
}

pub(crate) const fn done_reason(reason: DoneReason) -> &'static str {
    match reason {
        DoneReason::Filled => "filled",
        DoneReason::Canceled(_) => "canceled",
    }
}

/// More about a cancel, for the member.
pub(crate) const fn cancel_reason(reason: CancelReason) -> &'static str {
    match reason {
        CancelReason::Requested => "requested",
        CancelReason::Disconnected => "disconnected",
        CancelReason::Replaced => "replaced",
        CancelReason::Expired => "expired",
        CancelReason::Unfilled => "unfilled",
        CancelReason::PriceBand => "price_band",
        CancelReason::FundsUsed => "funds_used",
        CancelReason::SelfTrade => "self_trade",
        CancelReason::Killed => "killed",
        CancelReason::WouldTake => "would_take",
        CancelReason::FillOrKill => "fill_or_kill",
        CancelReason::NotAccepted => "not_accepted",
    }
}

pub(super) const fn stop_name(direction: StopDirection) -> &'static str {
    match direction {
        StopDirection::Loss => "loss",
        StopDirection::Entry => "entry",
    }
}

/// The `full` message of an event that carries a sequence. `unfilled_before` is what an order that
/// is amended had not filled.
pub(super) fn full(
    product: &Product,
    views: &Views,
    unfilled_before: Quantity,
    time: Timestamp,
    event: &Event,
) -> Option<Utf8Bytes> {
    let mut text = new_text();
    match event {
        Event::OrderAccepted {
            order,
            member,
            sequence,
            ..
        }
        | Event::OrderTriggered {
            order,
            member,
            sequence,
            ..
        } => {
            let view = views.order(*member, *order)?;
            head(&mut text, "received", product, *sequence, time);
            order_terms(
                &mut text,
                product,
                view,
                public_size(view, view.details.size),
            );
        }
        Event::OrderOpened {
            order,
            sequence,
            side,
            price,
            visible,
            ..
        } => {
            head(&mut text, "open", product, *sequence, time);
            put!(
                &mut text,
                r#","order_id":"{order}","side":"{}","price":"{}","remaining_size":"{}""#,
                side_name(*side),
                product.price(*price),
                product.size(*visible)
            );
        }
        Event::Traded {
            trade,
            sequence,
            maker_order,
            taker_order,
            maker_side,
            price,
            quantity,
            auction,
            ..
        } => {
            head(&mut text, "match", product, *sequence, time);
            put!(
                &mut text,
                concat!(
                    r#","trade_id":{},"maker_order_id":"{}","taker_order_id":"{}","#,
                    r#""side":"{}","size":"{}","price":"{}""#
                ),
                trade,
                maker_order,
                taker_order,
                side_name(*maker_side),
                product.size(*quantity),
                product.price(*price)
            );
            if *auction {
                text.push_str(r#","auction":true"#);
            }
        }
        Event::OrderAmended {
            order,
            member,
            sequence,
            side,
            old_price,
            price,
            old_visible,
            visible,
            remaining,
            kept_priority,
            self_trade,
            ..
        } => {
            let (old_size, new_size) = if *self_trade && !*kept_priority {
                // It is not in the book: its sizes go on from that of its `received`.
                let view = views.order(*member, *order)?;
                let of = |size| public_size(view, size);
                (of(unfilled_before), of(*remaining))
            } else {
                (*old_visible, *visible)
            };
            head(&mut text, "change", product, *sequence, time);
            put!(
                &mut text,
                concat!(
                    r#","reason":"{}","order_id":"{}","side":"{}","old_size":"{}","#,
                    r#""new_size":"{}""#
                ),
                if *self_trade { "STP" } else { "modify_order" },
                order,
                side_name(*side),
                product.size(old_size),
                product.size(new_size)
            );
            change_prices(&mut text, product, *old_price, *price);
        }
        Event::OrderDone {
            order,
            sequence,
            side,
            price,
            visible,
            reason,
            ..
        } => {
            head(&mut text, "done", product, *sequence, time);
            put!(
                &mut text,
                r#","order_id":"{order}","side":"{}","reason":"{}","remaining_size":"{}""#,
                side_name(*side),
                done_reason(*reason),
                product.size(*visible)
            );
            if *price != Price::ZERO {
                put!(&mut text, r#","price":"{}""#, product.price(*price));
            }
        }
        _ => return None,
    }
    text.push('}');
    Some(text.into())
}

/// The prices of a change: the usual `price` is the one before.
pub(super) fn change_prices(text: &mut String, product: &Product, old: Price, new: Price) {
    if old != Price::ZERO {
        put!(
            text,
            r#","price":"{0}","old_price":"{0}","new_price":"{1}""#,
            product.price(old),
            product.price(new)
        );
    }
}

/// The `snapshot` of `level2`.
pub(super) fn snapshot(product: &Product, book: &BookView, now: Timestamp) -> Utf8Bytes {
    let mut text = new_text();
    head(&mut text, "snapshot", product, 0, now);
    put!(&mut text, r#","sequence":{}"#, book.sequence());
    for (name, side) in [("bids", Side::Buy), ("asks", Side::Sell)] {
        put!(&mut text, r#","{name}":["#);
        for (at, level) in book.levels(side).enumerate() {
            put!(
                &mut text,
                r#"{}["{}","{}"]"#,
                if at == 0 { "" } else { "," },
                product.price(level.price),
                product.volume(level.visible)
            );
        }
        text.push(']');
    }
    text.push('}');
    text.into()
}

/// An `l2update` of these levels, with what each of them shows in `book`.
pub(super) fn level2_update(
    product: &Product,
    book: &BookView,
    time: Timestamp,
    levels: impl Iterator<Item = (Side, Price)>,
) -> Utf8Bytes {
    let mut text = new_text();
    head(&mut text, "l2update", product, 0, time);
    put!(&mut text, r#","sequence":{},"changes":["#, book.sequence());
    for (at, (side, price)) in levels.enumerate() {
        let comma = if at == 0 { "" } else { "," };
        put!(
            &mut text,
            r#"{comma}["{}","{}","#,
            side_name(side),
            product.price(price)
        );
        match book.visible_at(side, price) {
            // Clients compare with "0" to delete a level.
            0 => text.push_str(r#""0"]"#),
            visible => put!(&mut text, r#""{}"]"#, product.volume(visible)),
        }
    }
    text.push_str("]}");
    text.into()
}

/// The `ticker`; none before the first trade.
pub(super) fn ticker(product: &Product, ticker: &Ticker, stats: &Stats24h) -> Option<Utf8Bytes> {
    let trade = ticker.trade?;
    let mut text = new_text();
    head(&mut text, "ticker", product, ticker.sequence, trade.time);
    let best = |level: Option<everopen_views::LevelView>| match level {
        Some(level) => (product.price(level.price), product.volume(level.visible)),
        None => (
            product.price(Price::ZERO),
            Decimal::size(Quantity::ZERO, product.instrument.size_decimals),
        ),
    };
    let ((bid, bid_size), (ask, ask_size)) = (best(ticker.bid), best(ticker.ask));
    put!(
        &mut text,
        concat!(
            r#","trade_id":{},"price":"{}","last_size":"{}","side":"{}","#,
            r#""open_24h":"{}","high_24h":"{}","low_24h":"{}","volume_24h":"{}","#,
            r#""volume_30d":"{}","best_bid":"{}","best_bid_size":"{}","best_ask":"{}","#,
            r#""best_ask_size":"{}"}}"#
        ),
        trade.trade,
        product.price(trade.price),
        product.size(trade.size),
        // Of a ticker it is the taker's side.
        side_name(trade.maker_side.opposite()),
        product.price(stats.open),
        product.price(stats.high),
        product.price(stats.low),
        product.volume(stats.volume),
        product.volume(stats.volume_30d),
        bid,
        bid_size,
        ask,
        ask_size
    );
    Some(text.into())
}

/// The last trade, for a new subscriber of `matches`.
pub(super) fn last_match(product: &Product, views: &Views) -> Option<Utf8Bytes> {
    let trade = views.last_trade(product.id)?;
    let mut text = new_text();
    head(&mut text, "last_match", product, trade.sequence, trade.time);
    put!(
        &mut text,
        concat!(
            r#","trade_id":{},"maker_order_id":"{}","taker_order_id":"{}","#,
            r#""side":"{}","size":"{}","price":"{}"}}"#
        ),
        trade.trade,
        trade.maker_order,
        trade.taker_order,
        side_name(trade.maker_side),
        product.size(trade.size),
        product.price(trade.price)
    );
    Some(text.into())
}

/// The `heartbeat`.
pub(super) fn heartbeat(product: &Product, views: &Views, now: Timestamp) -> Utf8Bytes {
    let mut text = new_text();
    let sequence = views.book(product.id).map_or(0, BookView::sequence);
    let last_trade = views
        .last_trade(product.id)
        .map_or(0, |trade| trade.trade.0);
    head(&mut text, "heartbeat", product, 0, now);
    put!(
        &mut text,
        r#","sequence":{sequence},"last_trade_id":{last_trade}}}"#
    );
    text.into()
}

/// The state of an auction; none when there is nothing to say.
pub(super) fn auction(product: &Product, book: &BookView, now: Timestamp) -> Utf8Bytes {
    let mut text = new_text();
    head(&mut text, "auction", product, 0, now);
    put!(&mut text, r#","sequence":{}"#, book.sequence());
    let level = |side| {
        book.best(side)
            .map_or((Price::ZERO, 0), |l| (l.price, l.visible))
    };
    let ((bid, bid_size), (ask, ask_size)) = (level(Side::Buy), level(Side::Sell));
    put!(
        &mut text,
        concat!(
            r#","best_bid_price":"{}","best_bid_size":"{}","best_ask_price":"{}","#,
            r#""best_ask_size":"{}""#
        ),
        product.price(bid),
        product.volume(bid_size),
        product.price(ask),
        product.volume(ask_size)
    );
    let collecting = product.phase == TradingPhase::Auction;
    match book.indication() {
        Some(indication) if collecting => put!(
            &mut text,
            concat!(
                r#","auction_state":"collection","open_price":"{}","open_size":"{}","#,
                r#""can_open":"{}","surplus_side":"{}","surplus":"{}"}}"#
            ),
            product.price(indication.price),
            product.size(indication.volume),
            if indication.price == Price::ZERO {
                "no"
            } else {
                "yes"
            },
            side_name(indication.surplus_side),
            product.size(indication.surplus)
        ),
        _ if collecting => text.push_str(r#","auction_state":"collection","can_open":"no"}"#),
        _ => text.push_str(r#","auction_state":"complete"}"#),
    }
    text.into()
}

/// Where a message of a member's order gets its order from.
pub(super) fn order_of(event: &Event) -> Option<OrderId> {
    match event {
        Event::OrderAccepted { order, .. }
        | Event::OrderTriggered { order, .. }
        | Event::OrderOpened { order, .. }
        | Event::OrderAmended { order, .. }
        | Event::OrderDone { order, .. } => Some(*order),
        Event::Traded { maker_order, .. } => Some(*maker_order),
        _ => None,
    }
}

/// The market data sequence of an event; zero for one that the market does not see.
pub(super) fn sequence_of(event: &Event) -> u64 {
    match event {
        Event::OrderAccepted { sequence, .. }
        | Event::OrderTriggered { sequence, .. }
        | Event::OrderOpened { sequence, .. }
        | Event::OrderAmended { sequence, .. }
        | Event::OrderDone { sequence, .. }
        | Event::Traded { sequence, .. } => *sequence,
        _ => 0,
    }
}
