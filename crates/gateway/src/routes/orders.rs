//! Orders: place, amend, replace, cancel, look up.

use axum::http::Method;
use everopen_domain::{
    AmendOrder, CancelReason, Command, DoneReason, Event, OrderId, OrderTarget, RejectReason,
};
use everopen_views::{OrderFilter, OrderStatus, OrderView, StatusSet, Views};

use super::order_body::{OrderBody, body};
use super::page::{self, AFTER, BEFORE, END, LIMIT, START};
use super::parse::{self, ORDER_FIELDS};
use super::{Route, handler};
use crate::body::Fields;
use crate::dispatch::Reply;
use crate::errors::ApiError;
use crate::gateway::Call;
use crate::keys::Permission;
use crate::port::Outcome;
use crate::schema::Text;

const PRODUCT: (&str, &str) = ("product_id", "only of this product");

pub(super) fn routes() -> Vec<Route> {
    let view = |path, summary, handler| {
        Route::new(Method::GET, path, summary, handler).signed(Permission::View)
    };
    let trade = |method, path, summary, handler| {
        Route::new(method, path, summary, handler).signed(Permission::Trade)
    };
    let (post, put, delete) = (Method::POST, Method::PUT, Method::DELETE);
    vec![
        view("/orders", "Orders, newest first", handler!(list))
            .query(&[
                PRODUCT,
                (
                    "status",
                    "`open`, `pending`, `active`, `done` or `all`; more than one by commas \
                    or repetition; all that is not done if not given",
                ),
                START,
                END,
                LIMIT,
                BEFORE,
                AFTER,
            ])
            .gives::<Vec<OrderBody>>(),
        trade(post.clone(), "/orders", "Place an order", handler!(place))
            .body(ORDER_FIELDS)
            .gives::<OrderBody>(),
        trade(
            delete.clone(),
            "/orders",
            "Cancel all orders, or all of a product",
            handler!(cancel_all),
        )
        .query(&[PRODUCT])
        .body(&[("product_id", "string", "only of this product")])
        .gives::<Vec<Text<OrderId>>>(),
        view(
            "/orders/{order_id}",
            "An order, by id or `client:` and the client's id",
            handler!(find),
        )
        .gives::<OrderBody>(),
        trade(
            put,
            "/orders/{order_id}",
            "Amend an order in place",
            handler!(amend),
        )
        .body(&[
            ("price", "decimal", "the new price; loses priority"),
            (
                "size",
                "decimal",
                "the new size, filled part included; a smaller one keeps priority",
            ),
        ])
        .gives::<OrderBody>(),
        trade(
            delete,
            "/orders/{order_id}",
            "Cancel an order",
            handler!(cancel),
        )
        .query(&[PRODUCT])
        .body(&[("product_id", "string", "the order's product")])
        .gives::<Text<OrderId>>(),
        trade(
            post,
            "/orders/{order_id}/replace",
            "Cancel an order and place another in one step",
            handler!(replace),
        )
        .body(ORDER_FIELDS)
        .gives::<OrderBody>(),
    ]
}

async fn place(call: Call) -> Result<Reply, ApiError> {
    let order = new_order(&call)?;
    let outcome = call
        .submit(Command::PlaceOrder {
            member: call.member(),
            order,
        })
        .await?;
    accepted(&call, &outcome)
}

async fn replace(call: Call) -> Result<Reply, ApiError> {
    let target = parse::target(call.param("order_id"))?;
    let order = new_order(&call)?;
    let member = call.member();
    let outcome = call
        .submit(Command::ReplaceOrder {
            member,
            target,
            order,
        })
        .await?;
    accepted(&call, &outcome).map_err(|error| explain(&call, target, error))
}

fn new_order(call: &Call) -> Result<everopen_domain::NewOrder, ApiError> {
    let symbol = call.body.required("product_id")?;
    let views = call.gateway.views();
    let product = views
        .product_by_symbol(symbol)
        .ok_or(RejectReason::UnknownInstrument)?;
    let last = views.last_price(product.id).map(|(_, price)| price);
    parse::order(&call.body, product, last, call.now)
}

/// The answer to a command that was to bring a new order.
fn accepted(call: &Call, outcome: &Outcome) -> Result<Reply, ApiError> {
    let member = call.member();
    for event in &outcome.events {
        match event {
            Event::OrderAccepted {
                order,
                member: owner,
                ..
            } if *owner == member => {
                return show(call, *order);
            }
            Event::OrderRejected { reason, .. } => return Err((*reason).into()),
            _ => {}
        }
    }
    Err(refusal(outcome))
}

/// The reason in an outcome that has not what it should have.
fn refusal(outcome: &Outcome) -> ApiError {
    let reason = outcome.events.iter().find_map(|event| match event {
        Event::OrderRejected { reason, .. }
        | Event::AmendRejected { reason, .. }
        | Event::CancelRejected { reason, .. }
        | Event::CommandRejected { reason } => Some(*reason),
        _ => None,
    });
    match reason {
        Some(reason) => reason.into(),
        None => {
            tracing::error!(index = outcome.index.0, "an outcome without an answer");
            ApiError::internal()
        }
    }
}

/// Tells an order that is over from one that never was.
fn explain(call: &Call, target: OrderTarget, error: ApiError) -> ApiError {
    if error.reason != Some(RejectReason::OrderNotFound) {
        return error;
    }
    let views = call.gateway.views();
    match find_view(&views, call, target) {
        Some(order) if order.status == OrderStatus::Done => {
            let mut error = ApiError::bad("Order already done");
            error.reason = Some(RejectReason::OrderNotFound);
            error
        }
        _ => error,
    }
}

fn find_view<'a>(views: &'a Views, call: &Call, target: OrderTarget) -> Option<&'a OrderView> {
    match target {
        OrderTarget::Order(order) => views.order(call.member(), order),
        OrderTarget::Client(id) => views.order_by_client_id(call.member(), &id),
    }
}

fn show(call: &Call, order: OrderId) -> Result<Reply, ApiError> {
    let views = call.gateway.views();
    // The views may already have forgotten an order that ended long ago, never this one.
    let order = views
        .order(call.member(), order)
        .ok_or_else(ApiError::internal)?;
    Ok(Reply::json(
        &body(&views, order).ok_or_else(ApiError::internal)?,
    ))
}

async fn find(call: Call) -> Result<Reply, ApiError> {
    let target = parse::target(call.param("order_id")).map_err(|error| match error.reason {
        Some(RejectReason::OrderNotFound) => ApiError::not_found(),
        _ => error,
    })?;
    if find_view(&call.gateway.views(), &call, target).is_none() {
        // It may have been acknowledged by another gateway a moment ago: "not found" is only said of
        // what is not there in the whole venue.
        call.gateway.barrier().await?;
    }
    let views = call.gateway.views();
    let order = find_view(&views, &call, target).ok_or_else(ApiError::not_found)?;
    Ok(Reply::json(
        &body(&views, order).ok_or_else(ApiError::internal)?,
    ))
}

async fn list(call: Call) -> Result<Reply, ApiError> {
    let filter = OrderFilter {
        product: call.product_filter()?.map(|product| product.id),
        statuses: statuses(&call.query)?,
        start: page::time(&call.query, "start_date")?,
        end: page::time(&call.query, "end_date")?,
        page: page::page(&call.query, |text| {
            text.parse::<OrderId>().ok().map(|order| order.sequence)
        })?,
    };
    let views = call.gateway.views();
    let rows: Vec<_> = views
        .orders(call.member(), &filter)
        .filter_map(|order| Some((order.order.sequence, body(&views, order)?)))
        .collect();
    Ok(page::reply(&rows))
}

fn statuses(query: &Fields) -> Result<StatusSet, ApiError> {
    let given = match query.text("status")? {
        Some(text) => Some(text),
        None => query.text("status[]")?,
    };
    let Some(text) = given else {
        return Ok(StatusSet::LIVE);
    };
    let mut set = StatusSet::NONE;
    for status in text.split(',') {
        set = match status {
            "all" => StatusSet::ALL,
            "open" => set.with(OrderStatus::Open),
            "pending" | "received" => set.with(OrderStatus::Pending),
            "active" => set.with(OrderStatus::Active),
            "done" | "settled" => set.with(OrderStatus::Done),
            _ => {
                return Err(ApiError::bad(
                    "status must be open, pending, active, done or all",
                ));
            }
        };
    }
    Ok(set)
}

async fn amend(call: Call) -> Result<Reply, ApiError> {
    let target = parse::target(call.param("order_id"))?;
    let member = call.member();
    if find_view(&call.gateway.views(), &call, target).is_none() {
        call.gateway.barrier().await?;
    }
    let amendment = {
        let views = call.gateway.views();
        let order = find_view(&views, &call, target).ok_or(RejectReason::OrderNotFound)?;
        let product = views
            .product(order.details.instrument)
            .ok_or_else(ApiError::internal)?;
        AmendOrder {
            target: OrderTarget::Order(order.order),
            price: parse::price(&call.body, "price", product)?.unwrap_or_default(),
            size: parse::size(&call.body, "size", product)?.unwrap_or_default(),
        }
    };
    if !call.body.has("price") && !call.body.has("size") {
        return Err(ApiError::bad("price or size is required"));
    }
    let outcome = call
        .submit(Command::AmendOrder { member, amendment })
        .await?;
    let amended = outcome.events.iter().find_map(|event| match event {
        Event::OrderAmended {
            order,
            self_trade: false,
            ..
        } => Some(*order),
        _ => None,
    });
    match amended {
        Some(order) => show(&call, order),
        None => Err(explain(&call, target, refusal(&outcome))),
    }
}

async fn cancel(call: Call) -> Result<Reply, ApiError> {
    let target = parse::target(call.param("order_id"))?;
    let member = call.member();
    if let Some(product) = call.product_filter()? {
        let views = call.gateway.views();
        let other = |order: &OrderView| order.details.instrument != product.id;
        if find_view(&views, &call, target).is_some_and(other) {
            return Err(RejectReason::OrderNotFound.into());
        }
    }
    let outcome = call.submit(Command::CancelOrder { member, target }).await?;
    match canceled(&outcome).next() {
        Some(order) => Ok(Reply::json(&Text(order))),
        None => Err(explain(&call, target, refusal(&outcome))),
    }
}

async fn cancel_all(call: Call) -> Result<Reply, ApiError> {
    let instrument = call.product_filter()?.map(|product| product.id);
    let command = Command::CancelOrders {
        member: call.member(),
        instrument,
        reason: CancelReason::Requested,
    };
    let outcome = call.submit(command).await?;
    let orders: Vec<_> = canceled(&outcome).map(Text).collect();
    let refused = |event: &Event| {
        matches!(
            event,
            Event::CancelRejected { .. } | Event::CommandRejected { .. }
        )
    };
    if orders.is_empty() && outcome.events.iter().any(refused) {
        return Err(refusal(&outcome));
    }
    Ok(Reply::json(&orders))
}

/// The orders that an outcome's command canceled; what expired just before is not among them.
fn canceled(outcome: &Outcome) -> impl Iterator<Item = OrderId> + '_ {
    outcome.events.iter().filter_map(|event| match event {
        Event::OrderDone {
            order,
            reason: DoneReason::Canceled(CancelReason::Requested),
            ..
        } => Some(*order),
        _ => None,
    })
}
