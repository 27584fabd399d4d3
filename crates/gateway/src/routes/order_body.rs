//! An order as the API shows it.

use everopen_domain::{
    ClientOrderId, DoneReason, OrderId, OrderType, SelfTradePrevention, StopDirection, TimeInForce,
};
use everopen_views::uuid::{Uuid, profile_id};
use everopen_views::{OrderStatus, OrderView, Views};

use super::market::side;
use crate::feed::{cancel_reason, done_reason, ended};
use crate::schema::{Exact, Text, Time, object};

object! {
    /// An order.
    pub(super) struct OrderBody {
        /// The venue's id.
        id: Text<OrderId>,
        /// The client's id.
        client_oid: Option<Text<ClientOrderId>>,
        /// The product.
        product_id: String,
        /// The member's profile.
        profile_id: Text<Uuid>,
        /// `buy` or `sell`.
        side: &'static str,
        /// `limit` or `market`.
        r#type: &'static str,
        /// The limit.
        price: Option<Exact>,
        /// The size, as last amended; none for an order by funds alone.
        size: Option<Exact>,
        /// The funds of a market order.
        funds: Option<Exact>,
        /// Self-trade prevention: `dc`, `co`, `cn`, `cb` or `none`.
        stp: &'static str,
        /// `GTC`, `GTT`, `IOC` or `FOK`.
        time_in_force: &'static str,
        /// When a `GTT` order expires.
        expire_time: Option<Time>,
        /// Whether it refuses to take.
        post_only: bool,
        /// An iceberg's peak.
        max_floor: Option<Exact>,
        /// `loss` or `entry`.
        stop: Option<&'static str>,
        /// The price that triggers it.
        stop_price: Option<Exact>,
        /// When it was triggered.
        triggered_at: Option<Time>,
        /// When it was accepted.
        created_at: Time,
        /// When it ended.
        done_at: Option<Time>,
        /// `filled` or `canceled`.
        done_reason: Option<&'static str>,
        /// Why it was canceled.
        cancel_reason: Option<&'static str>,
        /// What it was charged, in units of the quote asset.
        fill_fees: Exact,
        /// How much of it traded.
        filled_size: Exact,
        /// How much of it is left.
        remaining_size: Exact,
        /// What it traded for, in units of the quote asset.
        executed_value: Exact,
        /// `pending`, `active`, `open` or `done`.
        status: &'static str,
        /// Whether it is over and its money has moved.
        settled: bool,
    }
}

/// The body of an order; none only for one in an instrument that the views do not know.
pub(super) fn body(views: &Views, order: &OrderView) -> Option<OrderBody> {
    let details = &order.details;
    let product = views.product(details.instrument)?;
    let reason = order.done.map(|done| ended(order, done.reason));
    let is_done = order.status == OrderStatus::Done;
    let size = |size: everopen_domain::Quantity| (size.0 != 0).then(|| Exact(product.size(size)));
    Some(OrderBody {
        id: Text(order.order),
        client_oid: (!details.client_order_id.is_empty()).then_some(Text(details.client_order_id)),
        product_id: product.symbol.clone(),
        profile_id: Text(profile_id(order.member)),
        side: side(details.side),
        r#type: match details.order_type {
            OrderType::Limit => "limit",
            OrderType::Market => "market",
        },
        price: order.limit().map(|price| Exact(product.price(price))),
        size: size(details.size),
        funds: details
            .funds
            .is_positive()
            .then(|| Exact(product.funds(details.funds))),
        stp: match details.self_trade_prevention {
            SelfTradePrevention::DecreaseAndCancel => "dc",
            SelfTradePrevention::CancelOldest => "co",
            SelfTradePrevention::CancelNewest => "cn",
            SelfTradePrevention::CancelBoth => "cb",
            SelfTradePrevention::Allow => "none",
        },
        time_in_force: match details.time_in_force {
            TimeInForce::GoodTillCanceled => "GTC",
            TimeInForce::GoodTillTime => "GTT",
            TimeInForce::ImmediateOrCancel => "IOC",
            TimeInForce::FillOrKill => "FOK",
        },
        expire_time: (details.expires_at.0 != 0).then_some(Time(details.expires_at)),
        post_only: details.post_only,
        max_floor: size(details.display_size),
        stop: details.stop.map(|stop| match stop.direction {
            StopDirection::Loss => "loss",
            StopDirection::Entry => "entry",
        }),
        stop_price: details.stop.map(|stop| Exact(product.price(stop.price))),
        triggered_at: order.triggered_at.map(Time),
        created_at: Time(order.created_at),
        done_at: order.done.map(|done| Time(done.at)),
        done_reason: reason.map(done_reason),
        cancel_reason: reason.and_then(|reason| match reason {
            DoneReason::Filled => None,
            DoneReason::Canceled(reason) => Some(cancel_reason(reason)),
        }),
        fill_fees: Exact(product.funds(order.fees)),
        filled_size: Exact(product.size(order.filled)),
        remaining_size: Exact(product.size(order.remaining)),
        executed_value: Exact(product.funds(order.executed_value)),
        status: match order.status {
            OrderStatus::Pending => "pending",
            OrderStatus::Active => "active",
            OrderStatus::Open => "open",
            OrderStatus::Done => "done",
        },
        settled: is_done,
    })
}
