//! What the gateway counts, in Prometheus' text form. Labels are route templates and statuses,
//! never keys, accounts or orders.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::feed::FeedMetrics;

/// One kind of request.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    /// The method.
    pub method: &'static str,
    /// The route's template.
    pub route: &'static str,
    /// The status.
    pub status: u16,
}

/// One kind of limit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LimitLabels {
    /// `public`, `private` or `fills`.
    pub limit: &'static str,
}

/// The gateway's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// Requests by route and status.
    pub requests: Family<RouteLabels, Counter>,
    /// Time from a request's head to its response, in seconds.
    pub request_seconds: Histogram,
    /// Time from submitting a command to its outcome, in seconds.
    pub order_seconds: Histogram,
    /// Requests being worked on.
    pub requests_in_flight: Gauge,
    /// Open connections, before any upgrade.
    pub connections: Gauge,
    /// Connections refused because there were too many.
    pub connections_refused: Counter,
    /// Requests refused by a rate limit.
    pub rate_limited: Family<LimitLabels, Counter>,
    /// Requests refused because too many were in flight, here or behind the port.
    pub busy: Counter,
    /// Commands whose outcome is unknown.
    pub outcomes_unknown: Counter,
    /// Requests refused for their signature.
    pub unauthorized: Counter,
    /// Handlers that panicked.
    pub panics: Counter,

    /// The last log entry that the views show.
    pub last_index: Gauge<u64, AtomicU64>,
    /// The time of that entry, in seconds since 1970.
    pub last_time_seconds: Gauge<u64, AtomicU64>,
}

/// Latency steps from 50 µs to 10 s.
const LATENCY_SECONDS: [f64; 16] = [
    0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0,
    2.0, 10.0,
];

impl Metrics {
    /// All at zero; the feed counts for itself.
    pub fn new(feed: Arc<FeedMetrics>) -> Self {
        let mut registry = Registry::with_prefix("gateway");
        let seconds = || Histogram::new(LATENCY_SECONDS);
        let metrics = Self {
            requests: Family::default(),
            request_seconds: seconds(),
            order_seconds: seconds(),
            requests_in_flight: Gauge::default(),
            connections: Gauge::default(),
            connections_refused: Counter::default(),
            rate_limited: Family::default(),
            busy: Counter::default(),
            outcomes_unknown: Counter::default(),
            unauthorized: Counter::default(),
            panics: Counter::default(),

            last_index: Gauge::default(),
            last_time_seconds: Gauge::default(),
            registry: Registry::default(),
        };
        let r = &mut registry;
        r.register(
            "requests",
            "requests by route and status",
            metrics.requests.clone(),
        );
        r.register_with_unit(
            "request",
            "time from a request's head to its response",
            Unit::Seconds,
            metrics.request_seconds.clone(),
        );
        r.register_with_unit(
            "order_round_trip",
            "time from submitting a command to its outcome",
            Unit::Seconds,
            metrics.order_seconds.clone(),
        );
        r.register(
            "requests_in_flight",
            "requests being worked on",
            metrics.requests_in_flight.clone(),
        );
        r.register(
            "connections",
            "open connections",
            metrics.connections.clone(),
        );
        r.register(
            "connections_refused",
            "connections over the bound",
            metrics.connections_refused.clone(),
        );
        r.register(
            "rate_limited",
            "requests refused by a rate limit",
            metrics.rate_limited.clone(),
        );
        r.register(
            "busy",
            "requests refused because too many were in flight",
            metrics.busy.clone(),
        );
        r.register(
            "outcomes_unknown",
            "commands whose outcome is unknown",
            metrics.outcomes_unknown.clone(),
        );
        r.register(
            "unauthorized",
            "requests refused for their signature",
            metrics.unauthorized.clone(),
        );
        r.register("panics", "handlers that panicked", metrics.panics.clone());
        r.register(
            "last_index",
            "the last log entry that the views show",
            metrics.last_index.clone(),
        );
        r.register_with_unit(
            "last_time",
            "the time of that entry since 1970",
            Unit::Seconds,
            metrics.last_time_seconds.clone(),
        );

        registry.register_collector(Box::new(FeedCollector(feed)));
        Self {
            registry,
            ..metrics
        }
    }

    /// The text that `/metrics` serves.
    pub fn text(&self) -> String {
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("invariant: writing to a string succeeds");
        text
    }
}

/// Reads the feed's counters when asked.
#[derive(Debug)]
struct FeedCollector(Arc<FeedMetrics>);

impl Collector for FeedCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let feed = &self.0;
        let connections = ConstGauge::new(feed.connections.load(Ordering::Relaxed));
        let metric = encoder.encode_descriptor(
            "websocket_connections",
            "open WebSocket connections",
            None,
            connections.metric_type(),
        )?;
        connections.encode(metric)?;
        for (name, help, counter) in [
            ("opened", "WebSocket connections", &feed.connections_total),
            (
                "refused",
                "WebSocket connections over a bound",
                &feed.connections_refused_total,
            ),
            (
                "slow_drops",
                "WebSocket clients dropped for reading slowly",
                &feed.slow_clients_dropped_total,
            ),
            (
                "misbehaving_drops",
                "WebSocket clients dropped for what they sent or did not",
                &feed.misbehaving_clients_dropped_total,
            ),
            (
                "frames_sent",
                "frames given to sockets",
                &feed.frames_sent_total,
            ),
            (
                "sent_bytes",
                "bytes of these frames",
                &feed.bytes_sent_total,
            ),
            (
                "messages_received",
                "messages from clients",
                &feed.messages_received_total,
            ),
            (
                "requests_refused",
                "messages answered with an error",
                &feed.requests_refused_total,
            ),
            (
                "disconnect_cancels",
                "cancels on disconnect",
                &feed.disconnect_cancels_total,
            ),
        ] {
            let name = format!("websocket_{name}");
            let counter = ConstCounter::new(counter.load(Ordering::Relaxed));
            let metric = encoder.encode_descriptor(&name, help, None, counter.metric_type())?;
            counter.encode(metric)?;
        }
        Ok(())
    }
}

/// Counts one in a gauge for as long as it lives.
#[derive(Debug)]
pub struct Counted(Gauge);

impl Counted {
    /// Counts one more.
    pub fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.dec();
    }
}
