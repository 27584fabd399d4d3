//! What happens to every request, in this order: bounds, rate, body, signature, permission,
//! fields, handler; then headers, metrics and one line of log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::{Body, to_bytes};
use axum::extract::{FromRequestParts as _, RawPathParams};
use axum::http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::Response;
use everopen_domain::LogIndex;
use serde::Serialize;
use tokio::time::timeout;

use crate::auth::{Credentials, Origin, Signed, permit};
use crate::body::Fields;
use crate::errors::ApiError;
use crate::gateway::{Call, Gateway};
use crate::keys::ApiKey;
use crate::limits::{Allowance, address_key};
use crate::metrics::{Counted, LimitLabels, RouteLabels};
use crate::routes::{Access, Rate, Route};

/// Says which entry of the log an answer is at least as new as.
const APPLIED: &str = "everopen-applied-index";
/// Asks for an answer of the newest state.
const CONSISTENCY: &str = "everopen-consistency";

/// A handler's answer.
pub(crate) struct Reply {
    body: Vec<u8>,
    content_type: &'static str,
    status: StatusCode,
    headers: Vec<(&'static str, String)>,
}

impl Reply {
    pub fn json(value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("invariant: response bodies serialize");
        Self::of("application/json", body)
    }

    pub fn of(content_type: &'static str, body: Vec<u8>) -> Self {
        Self {
            body,
            content_type,
            status: StatusCode::OK,
            headers: Vec::new(),
        }
    }

    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    pub fn with_header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }
}

/// Requests carry their connection's number and address.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Connection(pub Origin);

/// What is known about a request besides its answer, for headers and log.
#[derive(Default)]
struct Notes {
    allowance: Option<Allowance>,
    /// The entry that the answer is at least as new as.
    applied: Option<LogIndex>,
    key_prefix: Option<String>,
    close: bool,
}

pub(crate) async fn dispatch(
    gateway: Arc<Gateway>,
    route: &'static Route,
    request: Request<Body>,
) -> Response {
    let start = Instant::now();
    let mut notes = Notes::default();
    let result = answer(&gateway, route, request, &mut notes).await;
    finish(
        &gateway,
        route.method.as_str(),
        route.path,
        result,
        &notes,
        start,
    )
}

/// The answer to what no route serves.
pub(crate) fn refuse(gateway: &Gateway, error: ApiError) -> Response {
    finish(
        gateway,
        "other",
        "other",
        Err(error),
        &Notes::default(),
        Instant::now(),
    )
}

async fn answer(
    gateway: &Arc<Gateway>,
    route: &'static Route,
    request: Request<Body>,
    notes: &mut Notes,
) -> Result<Reply, ApiError> {
    let connection = request.extensions().get::<Connection>();
    let Connection(origin) = *connection.expect("invariant: the server names the connection");
    let counted = Counted::new(&gateway.metrics.requests_in_flight);
    let permit = match route.rate {
        Rate::None => None,
        _ => Some(gateway.in_flight.clone().try_acquire_owned().map_err(|_| {
            gateway.metrics.busy.inc();
            notes.close = true;
            ApiError::busy(1)
        })?),
    };
    limit_address(gateway, route, origin, notes)?;
    let (mut parts, body) = request.into_parts();
    let body = read_body(gateway, &parts.headers, body, notes).await?;
    let now = gateway.now();
    let key = authenticate(gateway, route, &parts, &body, origin, now, notes)?;
    let query = Fields::query(parts.uri.query().unwrap_or(""))?;
    let body = match parts.method {
        Method::GET => Fields::default(),
        _ => Fields::parse(&body)?,
    };
    let path = RawPathParams::from_request_parts(&mut parts, &()).await;
    let path = path.map_err(|_| ApiError::bad("path is not percent-encoded UTF-8"))?;
    let path = path
        .iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let call = Call {
        gateway: gateway.clone(),
        key,
        now,
        path,
        query,
        body,
    };
    if is_linearizable(&parts.headers)? {
        gateway.barrier().await?;
    } else if call.key.is_some() {
        gateway.welcome().await;
    }
    // Before the handler looks, so that its answer is no older than this says.
    notes.applied = Some(gateway.views().index());
    // A task of its own: it goes on when the client goes away, and its panic ends only itself.
    // It keeps its place among the requests in flight until it is over.
    let handled = (route.handler)(call);
    let task = tokio::spawn(async move {
        let _kept = (counted, permit);
        handled.await
    });
    let limit = Duration::from_millis(gateway.config.request_timeout_ms.into());
    match timeout(limit, task).await {
        Ok(Ok(result)) => {
            if parts.method != Method::GET {
                // The views show what was just done.
                notes.applied = Some(gateway.views().index());
            }
            result
        }
        Ok(Err(_)) => {
            gateway.metrics.panics.inc();
            tracing::error!(route = route.path, "a handler panicked");
            Err(ApiError::internal())
        }
        Err(_) => Err(ApiError::new(
            StatusCode::GATEWAY_TIMEOUT,
            "request timed out, its outcome is unknown",
        )),
    }
}

/// Whether the client asks for an answer that is as new as every answer given before it asked, by
/// this gateway or another. Else it gets what this gateway's views show.
fn is_linearizable(headers: &HeaderMap) -> Result<bool, ApiError> {
    match headers.get(CONSISTENCY) {
        None => Ok(false),
        Some(wanted) if wanted == "linearizable" => Ok(true),
        Some(_) => Err(ApiError::bad(
            "everopen-consistency can only be linearizable",
        )),
    }
}

/// Counts an unsigned request against its address, and lets no signed one in from an address that
/// has used up its allowance with refused signatures.
fn limit_address(
    gateway: &Gateway,
    route: &Route,
    origin: Origin,
    notes: &mut Notes,
) -> Result<(), ApiError> {
    let (key, now) = (address_key(origin.address), gateway.monotonic_ns());
    let allowance = match (route.rate, &route.access) {
        (Rate::None, _) => return Ok(()),
        (_, Access::Public) => gateway.public.take(key, now),
        (_, Access::Signed(_)) => gateway.public.peek(key, now),
    };
    let Some(allowance) = allowance else {
        return Ok(());
    };
    if matches!(route.access, Access::Public) || !allowance.allowed {
        notes.allowance = Some(allowance);
    }
    limited(gateway, allowance, "public", "Public rate limit exceeded")
}

/// Counts a WebSocket handshake as an unsigned request.
pub(crate) fn limit_upgrade(gateway: &Gateway, origin: Origin) -> Result<(), ApiError> {
    let allowance = gateway
        .public
        .take(address_key(origin.address), gateway.monotonic_ns());
    allowance.map_or(Ok(()), |allowance| {
        limited(gateway, allowance, "public", "Public rate limit exceeded")
    })
}

fn limited(
    gateway: &Gateway,
    allowance: Allowance,
    limit: &'static str,
    message: &'static str,
) -> Result<(), ApiError> {
    if allowance.allowed {
        return Ok(());
    }
    gateway
        .metrics
        .rate_limited
        .get_or_create(&LimitLabels { limit })
        .inc();
    Err(ApiError {
        retry_after_s: Some(allowance.reset_s.max(1).into()),
        ..ApiError::new(StatusCode::TOO_MANY_REQUESTS, message)
    })
}

/// The whole body, within its bounds of length and time. Where a body was not read to its end, the
/// connection can't be used again.
async fn read_body(
    gateway: &Gateway,
    headers: &HeaderMap,
    body: Body,
    notes: &mut Notes,
) -> Result<axum::body::Bytes, ApiError> {
    let max = gateway.config.body_bytes_max as usize;
    let too_long = || ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "request body is too long");
    let announced = headers
        .get(CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok());
    if announced.is_some_and(|length| length.parse().is_ok_and(|length: u64| length > max as u64)) {
        notes.close = true;
        return Err(too_long());
    }
    let limit = Duration::from_millis(gateway.config.body_timeout_ms.into());
    let result = timeout(limit, to_bytes(body, max)).await;
    if !matches!(result, Ok(Ok(_))) {
        notes.close = true;
    }
    match result {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(match std::error::Error::source(&error) {
            Some(source) if source.to_string().contains("length limit") => too_long(),
            _ => ApiError::bad("request body could not be read"),
        }),
        Err(_) => Err(ApiError::new(
            StatusCode::REQUEST_TIMEOUT,
            "request body took too long",
        )),
    }
}

/// Who sent a signed request; counts it against the key.
fn authenticate(
    gateway: &Gateway,
    route: &Route,
    parts: &Parts,
    body: &[u8],
    origin: Origin,
    now: everopen_domain::Timestamp,
    notes: &mut Notes,
) -> Result<Option<Arc<ApiKey>>, ApiError> {
    let Access::Signed(permission) = route.access else {
        return Ok(None);
    };
    let result = credentials(&parts.headers).and_then(|credentials| {
        let target = parts
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let signed = Signed {
            method: parts.method.as_str(),
            target,
            body,
        };
        match parts.method {
            // A cancel may always come again: it only takes risk away, and a client must never be
            // kept from it.
            Method::GET | Method::HEAD | Method::DELETE => {
                gateway.auth.check(credentials, signed, origin, now)
            }
            _ => gateway.auth.check_once(credentials, signed, origin, now),
        }
    });
    let key = match result {
        Ok(key) => key,
        Err(error) => {
            gateway.metrics.unauthorized.inc();
            gateway
                .public
                .take(address_key(origin.address), gateway.monotonic_ns());
            return Err(error);
        }
    };
    notes.key_prefix = Some(key.id.chars().take(8).collect());
    let (limiter, name, message) = match route.rate {
        Rate::Fills => (&gateway.fills, "fills", "Private rate limit exceeded"),
        _ => (&gateway.private, "private", "Private rate limit exceeded"),
    };
    if let Some(allowance) = limiter.take(key.id.clone(), gateway.monotonic_ns()) {
        notes.allowance = Some(allowance);
        limited(gateway, allowance, name, message)?;
    }
    permit(&key, permission)?;
    Ok(Some(key))
}

fn credentials(headers: &HeaderMap) -> Result<Credentials<'_>, ApiError> {
    let header = |name: &'static str, message: &'static str| {
        let value = headers.get(name).and_then(|value| value.to_str().ok());
        value
            .filter(|value| !value.is_empty())
            .ok_or(ApiError::unauthorized(message))
    };
    Ok(Credentials {
        key: header("cb-access-key", "CB-ACCESS-KEY header is required")?,
        signature: header("cb-access-sign", "CB-ACCESS-SIGN header is required")?,
        timestamp: header(
            "cb-access-timestamp",
            "CB-ACCESS-TIMESTAMP header is required",
        )?,
        passphrase: header(
            "cb-access-passphrase",
            "CB-ACCESS-PASSPHRASE header is required",
        )?,
    })
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

fn finish(
    gateway: &Gateway,
    method: &'static str,
    template: &'static str,
    result: Result<Reply, ApiError>,
    notes: &Notes,
    start: Instant,
) -> Response {
    static REQUESTS: AtomicU64 = AtomicU64::new(1);
    let request_id = REQUESTS.fetch_add(1, Ordering::Relaxed);
    let reply = result.unwrap_or_else(|error| {
        let body = ErrorBody {
            message: &error.message,
            code: error.reason.map(|reason| reason.code()),
            reason: error.reason.map(|reason| reason.name()),
        };
        let mut reply = Reply::json(&body).with_status(error.status);
        if let Some(seconds) = error.retry_after_s {
            reply = reply.with_header("retry-after", seconds);
        }
        reply
    });
    let status = reply.status;
    let elapsed = start.elapsed();
    let labels = RouteLabels {
        method,
        route: template,
        status: status.as_u16(),
    };
    gateway.metrics.requests.get_or_create(&labels).inc();
    gateway
        .metrics
        .request_seconds
        .observe(elapsed.as_secs_f64());
    tracing::debug!(
        request_id,
        method,
        route = template,
        status = status.as_u16(),
        micros = elapsed.as_micros() as u64,
        key = notes.key_prefix.as_deref().unwrap_or(""),
        "request"
    );
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(reply.content_type));
    headers.insert("x-request-id", HeaderValue::from(request_id));
    headers.insert("cache-control", HeaderValue::from_static("no-store"));
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if let Some(applied) = notes.applied {
        headers.insert(APPLIED, HeaderValue::from(applied.0));
    }
    if let Some(allowance) = notes.allowance {
        headers.insert("ratelimit-limit", HeaderValue::from(allowance.limit));
        headers.insert(
            "ratelimit-remaining",
            HeaderValue::from(allowance.remaining),
        );
        headers.insert("ratelimit-reset", HeaderValue::from(allowance.reset_s));
    }
    if notes.close {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
