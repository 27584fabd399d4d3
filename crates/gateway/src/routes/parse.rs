//! Orders from request bodies: every field exact, every contradiction refused.

use everopen_domain::{
    Amount, ClientOrderId, NewOrder, OrderId, OrderTarget, OrderType, Price, Quantity,
    RejectReason, SelfTradePrevention, Side, Stop, StopDirection, TimeInForce, Timestamp,
};
use everopen_views::uuid::Uuid;
use everopen_views::{Product, clock_text};

use crate::body::Fields;
use crate::errors::ApiError;

/// The body of a new order, for the document.
pub(super) const ORDER_FIELDS: &[(&str, &str, &str)] = &[
    (
        "product_id!",
        "string",
        "the product, as `BTC-USD` or `BTC/USD`",
    ),
    ("side!", "string", "`buy` or `sell`"),
    ("type", "string", "`limit` (if not given) or `market`"),
    ("price", "decimal", "the limit; limit orders only"),
    ("size", "decimal", "the size in units of the base asset"),
    (
        "funds",
        "decimal",
        "market orders only: the most to spend, or the proceeds to stop at",
    ),
    (
        "client_oid",
        "string",
        "the client's own id, at most 36 printable characters",
    ),
    (
        "time_in_force",
        "string",
        "`GTC` (if not given), `GTT`, `IOC`, `FOK`, or `PO` for post-only",
    ),
    (
        "cancel_after",
        "string",
        "`min`, `hour` or `day`; with `GTT`",
    ),
    (
        "expire_time",
        "string",
        "an ISO 8601 time; with `GTT`, instead of `cancel_after`",
    ),
    (
        "post_only",
        "boolean",
        "refuse the order rather than let it take",
    ),
    (
        "stop",
        "string",
        "`loss` or `entry`; if not given, entry when the stop price is above the \
        last trade, loss when below, and by side (sell: loss, buy: entry) otherwise",
    ),
    ("stop_price", "decimal", "the price that triggers the order"),
    (
        "max_floor",
        "decimal",
        "an iceberg's peak: how much of it the book shows",
    ),
    (
        "stp",
        "string",
        "self-trade prevention: `dc` (if not given), `co`, `cn`, `cb` or `none`",
    ),
];

/// A price field; zero is refused, since the venue reads it as "not given".
pub(super) fn price(
    fields: &Fields,
    name: &str,
    product: &Product,
) -> Result<Option<Price>, ApiError> {
    let units = units(
        fields,
        name,
        product.instrument.price_decimals,
        RejectReason::PriceOffTick,
    )?;
    match units {
        Some(0) => Err(ApiError::bad(format!(
            "{name} too small: it must be positive"
        ))),
        Some(units) if units > Price::MAX.0 => Err(ApiError::because(
            RejectReason::PriceTooLarge,
            format!("{name} too large"),
        )),
        units => Ok(units.map(Price)),
    }
}

/// A size field; zero is refused, since the venue reads it as "not given".
pub(super) fn size(
    fields: &Fields,
    name: &str,
    product: &Product,
) -> Result<Option<Quantity>, ApiError> {
    let units = units(
        fields,
        name,
        product.instrument.size_decimals,
        RejectReason::SizeOffLot,
    )?;
    match units {
        Some(0) => Err(ApiError::because(
            RejectReason::SizeTooSmall,
            format!("{name} is too small: it must be positive"),
        )),
        Some(units) if units > Quantity::MAX.0 => Err(ApiError::because(
            RejectReason::SizeTooLarge,
            format!("{name} is too large"),
        )),
        units => Ok(units.map(Quantity)),
    }
}

fn units(
    fields: &Fields,
    name: &str,
    decimals: u8,
    too_precise: RejectReason,
) -> Result<Option<u64>, ApiError> {
    match fields.units(name, decimals) {
        Ok(units) => Ok(units.map(|units| u64::try_from(units).unwrap_or(u64::MAX))),
        Err(error) if error.message.contains("too precise") => Err(ApiError {
            reason: Some(too_precise),
            ..error
        }),
        Err(error) => Err(error),
    }
}

pub(super) fn client_order_id(text: &str) -> Result<ClientOrderId, ApiError> {
    ClientOrderId::new(text.as_bytes())
        .map_err(|_| ApiError::bad("client_oid must be at most 36 printable characters"))
}

/// The order that a path or body names: the venue's id, or `client:` and the client's.
pub(super) fn target(text: &str) -> Result<OrderTarget, ApiError> {
    if let Some(client) = text.strip_prefix("client:") {
        return match client_order_id(client)? {
            id if id.is_empty() => Err(RejectReason::CancelTargetMissing.into()),
            id => Ok(OrderTarget::Client(id)),
        };
    }
    match text.parse::<OrderId>() {
        Ok(order) => Ok(OrderTarget::Order(order)),
        // A UUID that we never gave out belongs to no order; anything else is no id.
        Err(_) if text.parse::<Uuid>().is_ok() => Err(RejectReason::OrderNotFound.into()),
        Err(_) => Err(ApiError::bad("Invalid order id")),
    }
}

/// A new order of `product`; `last` is its last trade's price and `now` the time.
pub(super) fn order(
    fields: &Fields,
    product: &Product,
    last: Option<Price>,
    now: Timestamp,
) -> Result<NewOrder, ApiError> {
    let side = match fields.required("side")? {
        "buy" => Side::Buy,
        "sell" => Side::Sell,
        _ => return Err(ApiError::bad("side must be buy or sell")),
    };
    let order_type = match fields.text("type")?.unwrap_or("limit") {
        "limit" => OrderType::Limit,
        "market" => OrderType::Market,
        _ => return Err(ApiError::bad("type must be limit or market")),
    };
    let funds = fields.units("funds", product.quote.decimals)?;
    if funds == Some(0) {
        return Err(RejectReason::FundsInvalid.into());
    }
    let (time_in_force, post_only) = time_in_force(fields, order_type)?;
    let price = price(fields, "price", product)?;
    let size = size(fields, "size", product)?;
    match order_type {
        OrderType::Limit if price.is_none() => return Err(RejectReason::PriceMissing.into()),
        OrderType::Limit if size.is_none() => return Err(RejectReason::SizeMissing.into()),
        OrderType::Market if price.is_some() => return Err(RejectReason::PriceNotAllowed.into()),
        OrderType::Market if size.is_none() && funds.is_none() => {
            return Err(ApiError::because(
                RejectReason::SizeMissing,
                "size or funds is required",
            ));
        }
        _ => {}
    }
    Ok(NewOrder {
        instrument: product.id,
        side,
        order_type,
        price: price.unwrap_or_default(),
        size: size.unwrap_or_default(),
        funds: Amount(funds.unwrap_or_default()),
        time_in_force,
        expires_at: expires_at(fields, time_in_force, now)?,
        post_only,
        display_size: self::size(fields, "max_floor", product)?.unwrap_or_default(),
        stop: stop(fields, product, side, last)?,
        self_trade_prevention: match fields.text("stp")?.unwrap_or("dc") {
            "dc" => SelfTradePrevention::DecreaseAndCancel,
            "co" => SelfTradePrevention::CancelOldest,
            "cn" => SelfTradePrevention::CancelNewest,
            "cb" => SelfTradePrevention::CancelBoth,
            "none" => SelfTradePrevention::Allow,
            _ => return Err(ApiError::bad("stp must be dc, co, cn, cb or none")),
        },
        client_order_id: client_order_id(fields.text("client_oid")?.unwrap_or(""))?,
    })
}

fn time_in_force(fields: &Fields, order_type: OrderType) -> Result<(TimeInForce, bool), ApiError> {
    let post_only = fields.flag("post_only")?;
    let given = fields.text("time_in_force")?;
    let time_in_force = match given {
        None | Some("GTC" | "PO") => TimeInForce::GoodTillCanceled,
        Some("GTT") => TimeInForce::GoodTillTime,
        Some("IOC") => TimeInForce::ImmediateOrCancel,
        Some("FOK") => TimeInForce::FillOrKill,
        Some(_) => {
            return Err(ApiError::bad(
                "time_in_force must be GTC, GTT, IOC, FOK or PO",
            ));
        }
    };
    if given == Some("PO") && post_only == Some(false) {
        return Err(ApiError::bad(
            "time_in_force PO contradicts post_only false",
        ));
    }
    // A market order is always immediate; what clients send by default means no more than that.
    let time_in_force = match (order_type, time_in_force) {
        (OrderType::Market, TimeInForce::GoodTillCanceled) => TimeInForce::ImmediateOrCancel,
        (_, time_in_force) => time_in_force,
    };
    Ok((time_in_force, post_only.unwrap_or(given == Some("PO"))))
}

fn expires_at(
    fields: &Fields,
    time_in_force: TimeInForce,
    now: Timestamp,
) -> Result<Timestamp, ApiError> {
    let after = match fields.text("cancel_after")? {
        None => None,
        Some("min") => Some(60),
        Some("hour") => Some(3_600),
        Some("day") => Some(86_400),
        Some(_) => return Err(ApiError::bad("cancel_after must be min, hour or day")),
    };
    let until = fields.text("expire_time")?;
    let wrong = |message| Err(ApiError::because(RejectReason::ExpiryInvalid, message));
    if time_in_force != TimeInForce::GoodTillTime {
        return match (after, until) {
            (None, None) => Ok(Timestamp::ZERO),
            _ => wrong("cancel_after and expire_time are only allowed with time_in_force GTT"),
        };
    }
    match (after, until) {
        (Some(seconds), None) => now
            .checked_add(seconds * Timestamp::NANOS_PER_SECOND)
            .ok_or_else(|| RejectReason::ExpiryInvalid.into()),
        (None, Some(text)) => match clock_text::parse(text) {
            Ok(time) => Ok(time),
            Err(_) => wrong("expire_time is not an ISO 8601 time"),
        },
        (Some(_), Some(_)) => wrong("cancel_after contradicts expire_time"),
        (None, None) => wrong("cancel_after or expire_time is required with time_in_force GTT"),
    }
}

/// The trigger. Without a direction it is inferred: a stop price that the market must rise to is
/// an entry, one that it must fall to a loss.
fn stop(
    fields: &Fields,
    product: &Product,
    side: Side,
    last: Option<Price>,
) -> Result<Option<Stop>, ApiError> {
    let direction = fields.text("stop")?;
    let Some(price) = price(fields, "stop_price", product)? else {
        return match direction {
            None => Ok(None),
            Some(_) => Err(ApiError::because(
                RejectReason::StopPriceInvalid,
                "stop_price is required with stop",
            )),
        };
    };
    let by_side = match side {
        Side::Buy => StopDirection::Entry,
        Side::Sell => StopDirection::Loss,
    };
    let direction = match (direction, last) {
        (Some("loss"), _) => StopDirection::Loss,
        (Some("entry"), _) => StopDirection::Entry,
        (Some(_), _) => return Err(ApiError::bad("stop must be loss or entry")),
        (None, Some(last)) if price > last => StopDirection::Entry,
        (None, Some(last)) if price < last => StopDirection::Loss,
        (None, _) => by_side,
    };
    Ok(Some(Stop { direction, price }))
}

#[cfg(test)]
mod tests;
