//! For operators: who is this, is it alive, is it ready, what does it count.

use axum::http::{Method, StatusCode};
use everopen_domain::Timestamp;
use everopen_views::Decimal;
use serde_json::{Value, json};

use super::{Rate, Route, handler};
use crate::dispatch::Reply;
use crate::errors::ApiError;
use crate::gateway::Call;
use crate::schema::{Number, Time, object};

object! {
    /// What answers here.
    struct Root {
        /// The software.
        name: &'static str,
        /// Its version.
        version: &'static str,
        /// Where the description of this API is.
        openapi: &'static str,
        /// Where the WebSocket feed is.
        websocket: &'static str,
    }
}

object! {
    /// The gateway's clock.
    struct Now {
        /// The time.
        iso: Time,
        /// The time in seconds since 1970.
        epoch: Number,
    }
}

object! {
    /// The process runs.
    struct Live {
        /// Always `live`.
        status: &'static str,
    }
}

object! {
    /// Whether requests can be served.
    struct Ready {
        /// `ready` or `not ready`.
        status: &'static str,
        /// The last log entry that reads show.
        index: u64,
        /// The time of that entry.
        time: Time,
        /// Products that can be asked about.
        products: u64,
        /// API keys that are known.
        keys: u64,
    }
}

pub(super) fn routes() -> Vec<Route> {
    let text = || json!({ "type": "string" });
    let get =
        |path, summary, handler| Route::new(Method::GET, path, summary, handler).rate(Rate::None);
    vec![
        get("/", "What answers here", handler!(root)).gives::<Root>(),
        Route::new(Method::GET, "/time", "The gateway's clock", handler!(time)).gives::<Now>(),
        get("/health/live", "Whether the process runs", handler!(live)).gives::<Live>(),
        get(
            "/health/ready",
            "Whether requests can be served",
            handler!(ready),
        )
        .gives::<Ready>(),
        Route {
            response: text,
            ..get("/metrics", "Prometheus metrics", handler!(metrics))
        },
        Route {
            response: || json!({ "type": "object" }),
            rate: Rate::Usual,
            ..get("/openapi.json", "This document", handler!(openapi))
        },
    ]
}

async fn root(_: Call) -> Result<Reply, ApiError> {
    Ok(Reply::json(&Root {
        name: "Everopen",
        version: env!("CARGO_PKG_VERSION"),
        openapi: "/openapi.json",
        websocket: "/",
    }))
}

async fn time(call: Call) -> Result<Reply, ApiError> {
    let millis = i128::from(call.now.0 / 1_000_000);
    Ok(Reply::json(&Now {
        iso: Time(call.now),
        epoch: Number(Decimal::new(millis, 3)),
    }))
}

async fn live(_: Call) -> Result<Reply, ApiError> {
    Ok(Reply::json(&Live { status: "live" }))
}

async fn ready(call: Call) -> Result<Reply, ApiError> {
    let is_ready = call.gateway.is_ready();
    let (index, time, products) = {
        let views = call.gateway.views();
        (views.index().0, views.time(), views.products().len() as u64)
    };
    let body = Ready {
        status: if is_ready { "ready" } else { "not ready" },
        index,
        time: Time(time),
        products,
        keys: call.gateway.keys.list().len() as u64,
    };
    let status = if is_ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok(Reply::json(&body).with_status(status))
}

async fn metrics(call: Call) -> Result<Reply, ApiError> {
    let (index, time) = {
        let views = call.gateway.views();
        (views.index().0, views.time())
    };
    call.gateway.metrics.last_index.set(index);
    call.gateway
        .metrics
        .last_time_seconds
        .set(time.0 / Timestamp::NANOS_PER_SECOND);
    let text = call.gateway.metrics.text().into_bytes();
    Ok(Reply::of(
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        text,
    ))
}

async fn openapi(call: Call) -> Result<Reply, ApiError> {
    Ok(Reply::of(
        "application/json",
        call.gateway.openapi.clone().into_bytes(),
    ))
}

/// The form of every refusal, for the document.
pub(crate) fn error_schema() -> Value {
    json!({
        "type": "object",
        "required": ["message"],
        "properties": {
            "message": { "type": "string", "description": "What is wrong, for people." },
            "code": { "type": "integer", "description": "The venue's stable number of the reason." },
            "reason": { "type": "string", "description": "The venue's stable name of the reason." }
        }
    })
}
