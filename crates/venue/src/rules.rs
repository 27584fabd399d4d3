//! What an order must be like, before any look at the book or at money.

use everopen_domain::{
    Amount, InstrumentLimits, NewOrder, OrderLimits, OrderType, Price, Quantity, RejectReason,
    TimeInForce, Timestamp, TradingPhase,
};

use crate::arithmetic::{FUNDS_MAX, Scale};

type Checked = Result<(), RejectReason>;

/// Whether the phase lets an order in.
pub(crate) fn check_phase(phase: TradingPhase, order: &NewOrder) -> Checked {
    let market = order.order_type == OrderType::Market;
    let immediate = market || !can_rest(order.time_in_force);
    match phase {
        TradingPhase::Online => Ok(()),
        TradingPhase::PostOnly if order.post_only && !market => Ok(()),
        TradingPhase::PostOnly => Err(RejectReason::PostOnlyPhase),
        TradingPhase::LimitOnly if market => Err(RejectReason::LimitOnlyPhase),
        TradingPhase::LimitOnly => Ok(()),
        TradingPhase::CancelOnly => Err(RejectReason::CancelOnly),
        TradingPhase::Auction if immediate || order.post_only => Err(RejectReason::AuctionPhase),
        TradingPhase::Auction => Ok(()),
        TradingPhase::Halted => Err(RejectReason::Halted),
    }
}

/// Whether what is left of a limit order stays open.
pub(crate) fn can_rest(time_in_force: TimeInForce) -> bool {
    matches!(
        time_in_force,
        TimeInForce::GoodTillCanceled | TimeInForce::GoodTillTime
    )
}

/// Checks an order against itself, its instrument and its member's limits.
pub(crate) fn check_order(
    order: &NewOrder,
    limits: &InstrumentLimits,
    member: &OrderLimits,
    scale: Scale,
    now: Timestamp,
) -> Checked {
    match order.order_type {
        OrderType::Limit => check_limit_order(order, limits, member, scale)?,
        OrderType::Market => check_market_order(order, limits, member)?,
    }
    let has_expiry = order.expires_at != Timestamp::ZERO;
    let needs_expiry = order.time_in_force == TimeInForce::GoodTillTime;
    if has_expiry != needs_expiry || (needs_expiry && order.expires_at <= now) {
        return Err(RejectReason::ExpiryInvalid);
    }
    if let Some(stop) = order.stop {
        let valid = stop.price > Price::ZERO && stop.price <= Price::MAX;
        if !valid || off(stop.price.0, limits.tick.0) {
            return Err(RejectReason::StopPriceInvalid);
        }
    }
    let allows = order.self_trade_prevention == everopen_domain::SelfTradePrevention::Allow;
    if allows && !limits.allow_self_trade {
        return Err(RejectReason::SelfTradeNotAllowed);
    }
    Ok(())
}

#[inline]
fn check_limit_order(
    order: &NewOrder,
    limits: &InstrumentLimits,
    member: &OrderLimits,
    scale: Scale,
) -> Checked {
    check_price(order.price, limits)?;
    check_size(order.size, limits, member)?;
    if !order.funds.is_zero() {
        return Err(RejectReason::FundsNotAllowed);
    }
    let rests = can_rest(order.time_in_force);
    if order.post_only && !rests {
        return Err(RejectReason::PostOnlyInvalid);
    }
    let peak = order.display_size;
    if peak != Quantity::ZERO && (!rests || peak >= order.size || off(peak.0, limits.lot.0)) {
        return Err(RejectReason::DisplaySizeInvalid);
    }
    let notional = scale
        .notional(order.price, order.size)
        .ok_or(RejectReason::Overflow)?;
    check_notional(notional, limits, member)
}

fn check_market_order(
    order: &NewOrder,
    limits: &InstrumentLimits,
    member: &OrderLimits,
) -> Checked {
    if order.price != Price::ZERO {
        return Err(RejectReason::PriceNotAllowed);
    }
    if order.post_only {
        return Err(RejectReason::PostOnlyInvalid);
    }
    if order.display_size != Quantity::ZERO {
        return Err(RejectReason::DisplaySizeInvalid);
    }
    if order.funds < Amount::ZERO {
        return Err(RejectReason::FundsInvalid);
    }
    if order.size == Quantity::ZERO && order.funds.is_zero() {
        return Err(RejectReason::SizeMissing);
    }
    if order.size != Quantity::ZERO {
        check_size(order.size, limits, member)?;
    }
    match order.time_in_force {
        TimeInForce::GoodTillTime => return Err(RejectReason::OrderInvalid),
        // "All of it" has no meaning where funds set the size.
        TimeInForce::FillOrKill if !order.funds.is_zero() => {
            return Err(RejectReason::OrderInvalid);
        }
        _ => {}
    }
    if order.funds.is_positive() {
        if order.funds > FUNDS_MAX {
            return Err(RejectReason::Overflow);
        }
        check_notional(order.funds, limits, member)?;
    }
    Ok(())
}

/// Checks a limit price.
#[inline]
pub(crate) fn check_price(price: Price, limits: &InstrumentLimits) -> Checked {
    if price == Price::ZERO {
        return Err(RejectReason::PriceMissing);
    }
    if price > Price::MAX {
        return Err(RejectReason::PriceTooLarge);
    }
    if off(price.0, limits.tick.0) {
        return Err(RejectReason::PriceOffTick);
    }
    Ok(())
}

/// Checks a size.
#[inline]
pub(crate) fn check_size(
    size: Quantity,
    limits: &InstrumentLimits,
    member: &OrderLimits,
) -> Checked {
    if size == Quantity::ZERO {
        return Err(RejectReason::SizeMissing);
    }
    if size > limits.max_size || size > Quantity::MAX {
        return Err(RejectReason::SizeTooLarge);
    }
    if size < limits.min_size {
        return Err(RejectReason::SizeTooSmall);
    }
    if off(size.0, limits.lot.0) {
        return Err(RejectReason::SizeOffLot);
    }
    if member.max_size != Quantity::ZERO && size > member.max_size {
        return Err(RejectReason::MemberSizeLimit);
    }
    Ok(())
}

/// Checks a notional, or the funds of a market order.
#[inline]
pub(crate) fn check_notional(
    notional: Amount,
    limits: &InstrumentLimits,
    member: &OrderLimits,
) -> Checked {
    if notional < limits.min_notional {
        return Err(RejectReason::NotionalTooSmall);
    }
    check_largest_notional(notional, limits, member)
}

/// Checks the upper bounds of a notional.
#[inline]
pub(crate) fn check_largest_notional(
    notional: Amount,
    limits: &InstrumentLimits,
    member: &OrderLimits,
) -> Checked {
    if !limits.max_notional.is_zero() && notional > limits.max_notional {
        return Err(RejectReason::NotionalTooLarge);
    }
    if !member.max_notional.is_zero() && notional > member.max_notional {
        return Err(RejectReason::MemberNotionalLimit);
    }
    Ok(())
}

/// True when `value` is no multiple of `step`.
#[inline]
fn off(value: u64, step: u64) -> bool {
    step > 1 && !value.is_multiple_of(step)
}
