//! The WebSocket feed: market data for everyone, and every member's own messages.
//!
//! The protocol is that of the Coinbase Exchange feed. [`Feed::publish`] is called by one thread
//! with the events of each log entry; it lets the views take them one by one and sends, after each,
//! what subscribers are to know of it. A text is built once and shared by all who get it. Nothing
//! here waits for a client: each connection has a bounded queue, and a client that lets its queue
//! overflow is dropped with a reason.
//!
//! # Channels
//!
//! | Channel | First | Then |
//! |---|---|---|
//! | `level2` | `snapshot` | `l2update` for each event that changes a level |
//! | `level2_batch`, `level2_50` | `snapshot` | `l2update` of all levels that changed, every 50 ms |
//! | `matches` | `last_match` | `match` |
//! | `ticker` | `ticker` | `ticker` for each trade |
//! | `ticker_batch` | `ticker` | `ticker` every 5 s if anything traded |
//! | `full` | – | one message for each event that carries a sequence, see below |
//! | `level3` | its schema | the same as rows |
//! | `user` (signed) | – | the member's orders and trades, with what is private about them |
//! | `balance` (signed) | all accounts | each account that changes |
//! | `heartbeat` | – | every second: sequence and last trade id |
//! | `auctionfeed` | the state, in an auction | its beginning, each change of the indication, its end |
//! | `status` | all products and currencies | the same on each change, and every 30 s |
//!
//! # From events to `full` messages, and back to a book
//!
//! Every event with a market data sequence makes exactly one message with that sequence, so the
//! sequences on `full` rise by one. `snapshot`, `l2update`, `heartbeat` and the REST book carry the
//! sequence of the last event that they hold: they can be laid beside `full`.
//!
//! | Event | `full` | `level3` | A reader that keeps a book by order |
//! |---|---|---|---|
//! | `OrderAccepted` | `received` | `noop` | nothing |
//! | `OrderTriggered` | `received` | `noop` | nothing: a stop order enters the market |
//! | `OrderOpened` | `open` | `open` | puts the order at the end of its price's queue with `remaining_size`, taking it from wherever it was (an iceberg shows its next peak) |
//! | `Traded` | `match` | `match` | takes `size` from both orders, as far as they are in the book (outside an auction only the maker's is); an order with nothing left leaves |
//! | `OrderAmended` | `change` | `change` | gives the order `new_size` where it stands; with zero it leaves (`open` brings it back if it rests again). An order that is not in the book stays out, whatever its `new_size`: with reason `STP` that is an order that came and was shrunk by self-trade prevention, told after its matches with what it had not filled before and has left now (in a row of `level3`: zero); its `open` or `done` is next |
//! | `OrderDone` | `done` | `done` | takes the order out, if it is in |
//!
//! Sizes in public messages are what the book shows; an iceberg's hidden part is told only to its
//! member. Stop orders that wait are told only to their member (`activate`).
//!
//! # Beyond the usual
//!
//! - `"from_sequence": N` in a subscribe to `full` sends the messages from `N` on first, as long as
//!   they are still kept; otherwise an error names the oldest.
//! - `"cancel_on_disconnect": true` in a signed subscribe cancels all of the member's orders when
//!   that connection ends, for whatever reason.
//! - `user` matches name the member's own order in `order_id`; orders older than the subscription
//!   are introduced by a `received` before their first message.

mod channel;
mod config;
mod connection;
mod hub;
mod json;
mod metrics;
mod outbox;
mod port;
mod private;
mod public;
mod request;
mod rows;
mod status;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::ws::{Utf8Bytes, close_code};
use everopen_domain::{Event, InstrumentId, LogIndex, Timestamp};
use everopen_views::Views;

use channel::Channel;
use hub::subscriptions::{Wish, Wishes};
use hub::{Client, Hub};
use outbox::{Closing, ClosingKind, Outbox};
use request::{Action, ChannelRequest, Refusal, Request, Signed};

pub use config::FeedConfig;
pub use connection::serve_socket;
pub use metrics::FeedMetrics;
pub use port::{AuthError, Authenticator, DisconnectPort, Session};
pub(crate) use public::{cancel_reason, done_reason, ended};

/// The feed of one gateway process.
pub struct Feed {
    config: FeedConfig,
    /// Always locked before the views.
    hub: Mutex<Hub>,
    views: Arc<RwLock<Views>>,
    authenticator: Arc<dyn Authenticator>,
    disconnects: Arc<dyn DisconnectPort>,
    metrics: Arc<FeedMetrics>,
    next_client: AtomicU64,
    closed: AtomicBool,
}

impl Feed {
    /// A feed of these views, which from now on only [`Feed::publish`] may change.
    pub fn new(
        config: FeedConfig,
        views: Arc<RwLock<Views>>,
        authenticator: Arc<dyn Authenticator>,
        disconnects: Arc<dyn DisconnectPort>,
    ) -> Self {
        let hub = Hub::new(&read(&views));
        Self {
            config,
            hub: Mutex::new(hub),
            views,
            authenticator,
            disconnects,
            metrics: Arc::default(),
            next_client: AtomicU64::new(1),
            closed: AtomicBool::new(false),
        }
    }

    /// The limits.
    pub fn config(&self) -> &FeedConfig {
        &self.config
    }

    /// The counters.
    pub fn metrics(&self) -> &Arc<FeedMetrics> {
        &self.metrics
    }

    /// The views that the feed keeps up to date.
    pub fn views(&self) -> &Arc<RwLock<Views>> {
        &self.views
    }

    /// Lets the views take the events of the log entry `index`, and tells subscribers. To be called
    /// by one thread, in the order of the log, also for entries without events. Never waits for a
    /// client.
    pub fn publish(&self, index: LogIndex, time: Timestamp, events: &[Event]) {
        let mut hub = self.hub();
        let mut views = self
            .views
            .write()
            .expect("invariant: no reader or writer of the views panics");
        views.advance(index, time);
        for event in events {
            let before = hub.before(&views, event);
            views.apply(index, time, event);
            hub.deliver(&self.config, &views, time, event, &before);
        }
    }

    /// Sends what goes by the clock: batches, heartbeats, status. Runs until [`Feed::shutdown`].
    pub async fn run_timers(self: Arc<Self>) {
        let every = |period| {
            let mut interval =
                tokio::time::interval_at(tokio::time::Instant::now() + period, period);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            interval
        };
        let mut levels = every(self.config.level2_batch_interval);
        let mut tickers = every(self.config.ticker_batch_interval);
        let mut heartbeats = every(self.config.heartbeat_interval);
        let mut status = every(self.config.status_interval);
        while !self.closed.load(Ordering::Acquire) {
            tokio::select! {
                _ = levels.tick() => self.hub().tick_levels(&read(&self.views), now()),
                _ = tickers.tick() => self.hub().tick_tickers(&read(&self.views)),
                _ = heartbeats.tick() => self.hub().tick_heartbeats(&read(&self.views), now()),
                _ = status.tick() => self.hub().tick_status(&read(&self.views)),
            }
        }
    }

    /// Ends all connections with a reason and takes no more. Their cancels on disconnect are sent,
    /// as for any other end.
    pub fn shutdown(&self) {
        self.closed.store(true, Ordering::Release);
        for client in self.hub().clients.values() {
            client.outbox.close(Closing {
                message: "Going away",
                reason: "the gateway is shutting down".to_owned(),
                code: close_code::AWAY,
                kind: ClosingKind::Shutdown,
            });
        }
    }

    /// Ends all connections that there are and says that they are to come again, at once and with the
    /// sequence that they have; those that come are served. For a gateway in whose place another has come,
    /// and which may be asked to serve again.
    pub fn move_on(&self) -> usize {
        let hub = self.hub();
        for client in hub.clients.values() {
            client.outbox.close(Closing {
                message: "Reconnect",
                reason: "another gateway serves now; subscribe again, on `full` with from_sequence"
                    .to_owned(),
                code: close_code::RESTART,
                kind: ClosingKind::Shutdown,
            });
        }
        hub.clients.len()
    }

    fn hub(&self) -> MutexGuard<'_, Hub> {
        // A client's thread that panicked left at most a subscription half made.
        self.hub.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a new connection, or says why not.
    fn open(&self, address: IpAddr) -> Result<Arc<Client>, Closing> {
        let refused = |reason: &str| Closing {
            message: "Connection refused",
            reason: reason.to_owned(),
            code: close_code::AGAIN,
            kind: ClosingKind::Refused,
        };
        let mut hub = self.hub();
        // Under the lock, so that no connection slips past a shutdown.
        if self.closed.load(Ordering::Acquire) {
            return Err(refused("the gateway is shutting down"));
        }
        if hub.clients.len() >= self.config.connections_max as usize {
            return Err(refused("too many connections"));
        }
        let here = hub.addresses.entry(address).or_default();
        if *here >= self.config.connections_per_address_max {
            return Err(refused("too many connections from this address"));
        }
        *here += 1;
        let client = Arc::new(Client {
            id: self.next_client.fetch_add(1, Ordering::Relaxed),
            address,
            outbox: Outbox::new(&self.config),
            cancel_on_disconnect: AtomicBool::new(false),
        });
        hub.clients.insert(client.id, client.clone());
        FeedMetrics::add(&self.metrics.connections, 1);
        FeedMetrics::add(&self.metrics.connections_total, 1);
        Ok(client)
    }

    /// Forgets a connection that has ended.
    fn close(&self, client: &Client, session: Option<&Session>) {
        self.hub().forget(client);
        self.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        if client.cancel_on_disconnect.load(Ordering::Acquire)
            && let Some(session) = session
        {
            FeedMetrics::add(&self.metrics.disconnect_cancels_total, 1);
            self.disconnects.disconnected(session.member);
        }
    }

    /// Whether the key that a connection showed is still good; a connection that showed none has
    /// nothing to lose.
    fn holds(&self, session: Option<&Session>, address: IpAddr) -> bool {
        session.is_none_or(|session| self.authenticator.holds(&session.key, address))
    }

    /// Answers a client's message. `session` is set by the first signed subscribe.
    fn handle(
        &self,
        client: &Arc<Client>,
        session: &mut Option<Session>,
        text: &str,
    ) -> Result<(), Refusal> {
        let request = request::parse(text)?;
        if let Some(signed) = &request.signed {
            self.authenticate(session, signed, client.address)?;
        }
        match request.action {
            Action::Subscribe => self.subscribe(client, session.as_ref(), request),
            Action::Unsubscribe => self.unsubscribe(client, &request),
        }
    }

    fn authenticate(
        &self,
        session: &mut Option<Session>,
        signed: &Signed,
        address: IpAddr,
    ) -> Result<(), Refusal> {
        let verified = self
            .authenticator
            .verify_ws(
                &signed.key,
                &signed.passphrase,
                &signed.timestamp,
                &signed.signature,
                address,
            )
            .map_err(|error| Refusal::authentication(error.message))?;
        match session {
            Some(known) if known.member != verified.member => Err(Refusal::authentication(
                "the connection belongs to another member",
            )),
            _ => {
                *session = Some(verified);
                Ok(())
            }
        }
    }

    fn subscribe(
        &self,
        client: &Arc<Client>,
        session: Option<&Session>,
        request: Request,
    ) -> Result<(), Refusal> {
        if request.cancel_on_disconnect && !session.is_some_and(|s| s.can_trade) {
            return Err(Refusal::authentication(
                "cancel_on_disconnect needs a signed subscribe with a key that may trade",
            ));
        }
        let named: usize = request
            .channels
            .iter()
            .filter_map(|wanted| wanted.products.as_ref())
            .map(|products| products.len())
            .sum();
        if named > self.config.subscriptions_max as usize {
            return Err(self.too_many_subscriptions());
        }
        let mut hub = self.hub();
        let views = read(&self.views);
        let wishes = wishes(&views, session, &request)?;
        if hub.check(client, &wishes)? > self.config.subscriptions_max {
            return Err(self.too_many_subscriptions());
        }
        let member = session.map(|session| session.member);
        hub.subscribe(&views, now(), client, member, wishes);
        if request.cancel_on_disconnect {
            client.cancel_on_disconnect.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn too_many_subscriptions(&self) -> Refusal {
        Refusal::subscribe(format!(
            "more than {} subscriptions on one connection",
            self.config.subscriptions_max
        ))
    }

    fn unsubscribe(&self, client: &Arc<Client>, request: &Request) -> Result<(), Refusal> {
        let mut hub = self.hub();
        let views = read(&self.views);
        let mut what = Vec::new();
        for wanted in &request.channels {
            match &wanted.products {
                Some(symbols) if wanted.channel.is_per_product() => {
                    for symbol in symbols.iter() {
                        what.push((wanted.channel, Some(product(&views, symbol)?)));
                    }
                }
                _ => what.push((wanted.channel, None)),
            }
        }
        hub.unsubscribe(&views, client, &what);
        Ok(())
    }
}

/// What a subscribe asks for, checked against the products and the rights of its key.
fn wishes(views: &Views, session: Option<&Session>, request: &Request) -> Result<Wishes, Refusal> {
    let mut wishes = Wishes::default();
    for wanted in &request.channels {
        let ChannelRequest {
            channel,
            from_sequence,
            ..
        } = *wanted;
        if channel.is_private() {
            private_right(channel, session)?;
        }
        match channel {
            Channel::Status => wishes.status = true,
            Channel::Balance => {
                let only = match (&wanted.accounts, session) {
                    (Some(ids), Some(session)) => Some(
                        private::accounts_of(views, session.member, ids)
                            .map_err(Refusal::subscribe)?,
                    ),
                    _ => None,
                };
                wishes.balance = Some(only);
            }
            _ => {
                let products = products(views, wanted)?;
                let from_sequence = from_sequence.filter(|_| channel == Channel::Full);
                if from_sequence.is_some() && products.len() != 1 {
                    return Err(Refusal::subscribe(
                        "from_sequence needs exactly one product",
                    ));
                }
                wishes
                    .per_product
                    .extend(products.into_iter().map(|product| Wish {
                        product,
                        channel,
                        from_sequence,
                    }));
            }
        }
    }
    Ok(wishes)
}

fn private_right(channel: Channel, session: Option<&Session>) -> Result<(), Refusal> {
    let name = channel.name();
    match session {
        None => Err(Refusal::authentication(format!(
            "{name} needs a signed subscribe"
        ))),
        Some(session) if !session.can_view => Err(Refusal::authentication(format!(
            "{name} needs a key that may view"
        ))),
        Some(_) => Ok(()),
    }
}

fn products(views: &Views, wanted: &ChannelRequest) -> Result<Vec<InstrumentId>, Refusal> {
    match &wanted.products {
        Some(symbols) if !symbols.is_empty() => symbols
            .iter()
            .map(|symbol| product(views, symbol))
            .collect(),
        // A member's own messages of all products; those listed later are not among them.
        None if wanted.channel == Channel::User => Ok(views.products().map(|p| p.id).collect()),
        _ => Err(Refusal::subscribe(format!(
            "{} needs product_ids",
            wanted.channel.name()
        ))),
    }
}

fn product(views: &Views, symbol: &str) -> Result<InstrumentId, Refusal> {
    views
        .product_by_symbol(symbol)
        .map(|product| product.id)
        .ok_or_else(|| {
            let shown: String = symbol.chars().take(32).collect();
            Refusal::subscribe(format!("{shown} is not a valid product"))
        })
}

fn read(views: &RwLock<Views>) -> RwLockReadGuard<'_, Views> {
    views
        .read()
        .expect("invariant: no reader or writer of the views panics")
}

/// The time of day, for what goes by the clock and not by the log.
fn now() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

fn refusal_frame(refusal: &Refusal) -> Utf8Bytes {
    json::error_frame(refusal.message, &refusal.reason)
}
