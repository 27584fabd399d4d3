//! The gateway itself: what every request shares.

use std::sync::{Arc, RwLock, RwLockReadGuard};
use std::time::{Duration, Instant, SystemTime};

use axum::http::StatusCode;
use everopen_domain::{Command, MemberId, RejectReason, Timestamp};
use everopen_views::Views;
use tokio::sync::Semaphore;

use crate::auth::{Authenticator, FeedAuthenticator};
use crate::body::Fields;
use crate::config::{Config, ConfigError};
use crate::disconnect::Disconnects;
use crate::errors::ApiError;
use crate::feed::Feed;
use crate::keys::{ApiKey, KeyStore};
use crate::limits::Limiter;
use crate::metrics::Metrics;
use crate::newcomer::Newcomer;
use crate::port::{CommandPort, Outcome, PortError};

/// Tells the time of day; a setting, so that tests can.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// What a gateway is made of.
pub struct Parts {
    /// Where commands go.
    pub port: Arc<dyn CommandPort>,
    /// What reads are answered from; an outcome is given only after the views show it.
    pub views: Arc<RwLock<Views>>,
    /// Who may ask.
    pub keys: Arc<KeyStore>,
    /// The time of day.
    pub clock: Clock,
}

impl Parts {
    /// Parts with the system's clock.
    pub fn new(port: Arc<dyn CommandPort>, views: Arc<RwLock<Views>>, keys: Arc<KeyStore>) -> Self {
        Self {
            port,
            views,
            keys,
            clock: Arc::new(system_time),
        }
    }
}

fn system_time() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp(since.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
}

/// A gateway.
pub struct Gateway {
    pub(crate) config: Config,
    pub(crate) keys: Arc<KeyStore>,
    pub(crate) auth: Authenticator,
    pub(crate) metrics: Metrics,
    pub(crate) public: Limiter<u64>,
    pub(crate) private: Limiter<String>,
    pub(crate) fills: Limiter<String>,
    pub(crate) in_flight: Arc<Semaphore>,
    pub(crate) openapi: String,
    port: Arc<dyn CommandPort>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) disconnects: Arc<Disconnects>,
    clock: Clock,
    started: Instant,
    newcomer: Newcomer,
}

/// How long a read may wait for the whole venue without having asked for it.
const WELCOME: Duration = Duration::from_millis(250);

/// Keys whose rate is counted at once; keys are made by the operator, so this is never near.
const KEYS_MAX: usize = 1 << 20;

impl Gateway {
    /// A gateway with these settings and parts.
    ///
    /// # Errors
    /// [`ConfigError`] when a setting is out of range.
    pub fn new(config: Config, parts: Parts) -> Result<Arc<Self>, ConfigError> {
        config.validate()?;
        let auth = Authenticator::new(
            parts.keys.clone(),
            config.timestamp_window_s,
            config.replay_signatures_max as usize,
        );
        let feed_auth = FeedAuthenticator::new(
            parts.keys.clone(),
            config.timestamp_window_s,
            parts.clock.clone(),
        );
        let disconnects = Arc::new(Disconnects::new(parts.port.clone()));
        let feed = Arc::new(Feed::new(
            config.feed.clone(),
            parts.views,
            Arc::new(feed_auth),
            disconnects.clone(),
        ));
        let started = Instant::now();
        Ok(Arc::new(Self {
            newcomer: Newcomer::new(started),
            metrics: Metrics::new(feed.metrics().clone()),
            feed,
            disconnects,
            auth,
            public: Limiter::new(config.public_rate, config.addresses_max as usize),
            private: Limiter::new(config.private_rate, KEYS_MAX),
            fills: Limiter::new(config.fills_rate, KEYS_MAX),
            in_flight: Arc::new(Semaphore::new(config.requests_in_flight_max as usize)),

            openapi: crate::openapi::document().to_string(),
            keys: parts.keys,
            port: parts.port,
            clock: parts.clock,
            started,
            config,
        }))
    }

    /// The settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// What is counted.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// What checks signatures.
    pub fn authenticator(&self) -> &Authenticator {
        &self.auth
    }

    /// The WebSocket feed. Whoever follows the log gives it the events of each entry by
    /// [`Feed::publish`], which also brings the views up to date, before the outcome is given.
    pub fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// A time that never jumps, in nanoseconds since the start.
    pub(crate) fn monotonic_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// The views, to read; not to be held across an await.
    pub fn views(&self) -> RwLockReadGuard<'_, Views> {
        // A reader can't leave the views half-written, and their only writer stops the process
        // when it fails.
        self.feed
            .views()
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether requests can be served: commands are taken, and there is something to trade.
    pub fn is_ready(&self) -> bool {
        self.port.is_ready() && self.views().products().len() > 0
    }

    /// Waits until reads are as new as every answer that was given before.
    ///
    /// # Errors
    /// 503 when nobody can say now what that is.
    pub async fn barrier(&self) -> Result<(), ApiError> {
        let read = self.port.barrier().await;
        read.map(drop).map_err(|error| ApiError {
            retry_after_s: Some(1),
            ..ApiError::new(
                StatusCode::SERVICE_UNAVAILABLE,
                match error {
                    PortError::Busy { .. } => "the venue is busy, try again",
                    _ => "no replica can confirm now that this would be the newest state",
                },
            )
        })
    }

    /// For a signed read: where members come over from another gateway, waits until what that one answered
    /// is visible here. Where nobody leads, reads go on with what is at hand, as they always do.
    pub(crate) async fn welcome(&self) {
        // Alone it has nobody to come over from.
        if !self.config.proxies.is_empty() && self.newcomer.takes_care(Instant::now()) {
            let _ = tokio::time::timeout(WELCOME, self.port.barrier()).await;
        }
    }

    /// Submits a command and counts what comes of it.
    ///
    /// # Errors
    /// 503 when nothing was submitted, 504 when the outcome is unknown.
    pub async fn submit(&self, command: Command) -> Result<Outcome, ApiError> {
        let start = Instant::now();
        let result = self.port.submit(command).await;
        self.metrics
            .order_seconds
            .observe(start.elapsed().as_secs_f64());
        match result {
            Ok(_) => {}
            Err(PortError::OutcomeUnknown) => {
                self.metrics.outcomes_unknown.inc();
            }
            Err(_) => {
                self.metrics.busy.inc();
            }
        }
        result.map_err(ApiError::from)
    }
}

/// One request, ready to be handled.
pub(crate) struct Call {
    pub gateway: Arc<Gateway>,
    pub key: Option<Arc<ApiKey>>,
    pub now: Timestamp,
    pub path: Vec<(String, String)>,
    pub query: Fields,
    pub body: Fields,
}

impl Call {
    /// Whose request this is.
    pub fn member(&self) -> MemberId {
        self.key
            .as_ref()
            .expect("invariant: the route is signed")
            .member
    }

    /// A part of the path.
    pub fn param(&self, name: &str) -> &str {
        let found = self.path.iter().find(|(known, _)| known == name);
        &found.expect("invariant: the route's template names it").1
    }

    /// Submits a command.
    pub async fn submit(&self, command: Command) -> Result<Outcome, ApiError> {
        self.gateway.submit(command).await
    }

    /// The product of a symbol, in any of the forms that clients send.
    pub fn product(&self, symbol: &str) -> Result<everopen_views::Product, ApiError> {
        let views = self.gateway.views();
        let product = views.product_by_symbol(symbol);
        product
            .cloned()
            .ok_or_else(|| RejectReason::UnknownInstrument.into())
    }

    /// The product named in the query or the body, if any.
    pub fn product_filter(&self) -> Result<Option<everopen_views::Product>, ApiError> {
        let symbol = match self.query.text("product_id")? {
            Some(symbol) => Some(symbol),
            None => self.body.text("product_id")?,
        };
        symbol.map(|symbol| self.product(symbol)).transpose()
    }
}
