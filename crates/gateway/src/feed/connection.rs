//! One connection: reads requests, writes what its outbox holds, and ends in an orderly way when it
//! can and without one when it can't.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use futures_util::SinkExt;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::config::FeedConfig;
use super::hub::Client;
use super::json::error_frame;
use super::metrics::FeedMetrics;
use super::outbox::{Closing, ClosingKind, Taken};
use super::port::Session;
use super::{Feed, refusal_frame};

/// Bytes that are moved from the outbox to the socket at a time.
const WRITE_BATCH_BYTES: usize = 64 * 1024;

/// Serves a WebSocket until it ends. The caller bounds message sizes at the upgrade with
/// [`FeedConfig::inbound_bytes_max`].
pub async fn serve_socket(mut socket: WebSocket, feed: Arc<Feed>, address: IpAddr) {
    let client = match feed.open(address) {
        Ok(client) => client,
        Err(closing) => {
            FeedMetrics::add(&feed.metrics.connections_refused_total, 1);
            farewell(&mut socket, &feed.config, &closing).await;
            return;
        }
    };
    // From here on the connection is forgotten however this function ends.
    let mut connection = Connection {
        budget: Budget::new(&feed.config),
        client,
        session: None,
        subscribed: false,
        opened: Instant::now(),
        heard: Instant::now(),
        pinged: false,
        feed,
    };
    if let Some(closing) = connection.run(&mut socket).await {
        let metrics = &connection.feed.metrics;
        match closing.kind {
            ClosingKind::Slow => FeedMetrics::add(&metrics.slow_clients_dropped_total, 1),
            ClosingKind::Misbehaving => {
                FeedMetrics::add(&metrics.misbehaving_clients_dropped_total, 1);
            }
            ClosingKind::Refused | ClosingKind::Shutdown => {}
        }
        farewell(&mut socket, &connection.feed.config, &closing).await;
    }
}

/// Says why, closes, and waits a moment for the other side to do so, too. A socket that is blocked
/// is given up after the grace.
async fn farewell(socket: &mut WebSocket, config: &FeedConfig, closing: &Closing) {
    let bye = async {
        let frame = error_frame(closing.message, &closing.reason);
        socket.send(Message::Text(frame)).await?;
        let close = CloseFrame {
            code: closing.code,
            reason: Utf8Bytes::from(closing.message),
        };
        socket.send(Message::Close(Some(close))).await?;
        // Leaving with unread input would reset the connection and lose the frames on their way.
        while let Some(Ok(_)) = socket.recv().await {}
        Ok::<(), axum::Error>(())
    };
    let _ = timeout(config.close_grace, bye).await;
}

struct Connection {
    feed: Arc<Feed>,
    client: Arc<Client>,
    session: Option<Session>,
    budget: Budget,
    subscribed: bool,
    opened: Instant,
    /// When anything last came from the client.
    heard: Instant,
    /// Whether it was pinged since.
    pinged: bool,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.feed.close(&self.client, self.session.as_ref());
    }
}

/// How a connection ends.
enum End {
    /// It is gone; nothing is left to be said.
    Gone,
    /// It is to be closed, with a reason.
    Close(Closing),
}

impl Connection {
    async fn run(&mut self, socket: &mut WebSocket) -> Option<Closing> {
        match self.serve(socket).await {
            Err(End::Close(closing)) => Some(closing),
            Err(End::Gone) | Ok(()) => None,
        }
    }

    /// Serves until the end, which is always an `Err`.
    async fn serve(&mut self, socket: &mut WebSocket) -> Result<(), End> {
        let client = self.client.clone();
        let mut clock = interval(self.clock_period());
        clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut batch = Vec::new();
        let mut more = false;
        loop {
            tokio::select! {
                // Input first, so that a busy feed can't keep a client from unsubscribing.
                biased;
                message = socket.recv() => self.take(message)?,
                _ = clock.tick() => self.check_time(socket).await?,
                () = client.outbox.ready(), if !more => {}
                () = std::future::ready(()), if more => {}
            }
            let taken = client.outbox.take(&mut batch, WRITE_BATCH_BYTES);
            more = match taken {
                Taken::Closing(closing) => return Err(End::Close(closing)),
                Taken::Nothing => continue,
                Taken::All => false,
                Taken::Some => true,
            };
            self.write(socket, &mut batch).await?;
        }
    }

    /// Writes a batch. A client that blocks it is dropped when its queue overflows meanwhile, or
    /// when it takes too long.
    async fn write(&self, socket: &mut WebSocket, batch: &mut Vec<Utf8Bytes>) -> Result<(), End> {
        let frames = batch.len() as u64;
        let bytes: usize = batch.iter().map(|text| text.len()).sum();
        let write = async {
            for text in batch.drain(..) {
                socket.feed(Message::Text(text)).await?;
            }
            socket.flush().await
        };
        tokio::select! {
            biased;
            written = timeout(self.feed.config.write_timeout, write) => match written {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(End::Gone),
                Err(_) => return Err(End::Close(Closing::stalled())),
            },
            closing = self.client.outbox.closed() => return Err(End::Close(closing)),
        }
        let metrics = &self.feed.metrics;
        FeedMetrics::add(&metrics.frames_sent_total, frames);
        FeedMetrics::add(&metrics.bytes_sent_total, bytes as u64);
        Ok(())
    }

    /// Takes what came from the client.
    fn take(&mut self, message: Option<Result<Message, axum::Error>>) -> Result<(), End> {
        let message = match message {
            Some(Ok(message)) => message,
            // What is too large or no WebSocket at all can't be read on from.
            Some(Err(error)) => return Err(unreadable(&error)),
            None => return Err(End::Gone),
        };
        self.heard = Instant::now();
        self.pinged = false;
        FeedMetrics::add(&self.feed.metrics.messages_received_total, 1);
        if !self.budget.take(self.heard) {
            return Err(misbehaving(
                "Rate limit exceeded",
                format!(
                    "more than {} messages per second",
                    self.feed.config.inbound_messages_per_second
                ),
            ));
        }
        let text = match &message {
            Message::Text(text) => text.as_str(),
            Message::Binary(bytes) => core::str::from_utf8(bytes).unwrap_or_default(),
            Message::Close(_) => return Err(End::Gone),
            // Pings are answered by the library.
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
        };
        match self.feed.handle(&self.client, &mut self.session, text) {
            Ok(()) => self.subscribed = true,
            Err(refusal) => {
                FeedMetrics::add(&self.feed.metrics.requests_refused_total, 1);
                self.client.outbox.push(&refusal_frame(&refusal));
            }
        }
        Ok(())
    }

    /// Ends what has lost its key or has been silent for too long, and pings what has been silent for a while.
    async fn check_time(&mut self, socket: &mut WebSocket) -> Result<(), End> {
        let config = &self.feed.config;
        let now = Instant::now();
        if !self.subscribed && now - self.opened >= config.subscribe_deadline {
            return Err(misbehaving(
                "No subscription",
                format!(
                    "nothing was subscribed within {} ms of connecting",
                    config.subscribe_deadline.as_millis()
                ),
            ));
        }
        if !self.feed.holds(self.session.as_ref(), self.client.address) {
            return Err(misbehaving(
                "Authentication Failed",
                "the key of this connection was revoked".to_owned(),
            ));
        }
        let silent = now - self.heard;
        if silent >= config.idle_timeout {
            return Err(misbehaving(
                "Connection idle",
                "pings were not answered".to_owned(),
            ));
        }
        if silent >= config.ping_after && !self.pinged {
            self.pinged = true;
            let ping = socket.send(Message::Ping(Default::default()));
            return match timeout(config.write_timeout, ping).await {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) => Err(End::Gone),
                Err(_) => Err(End::Close(Closing::stalled())),
            };
        }
        Ok(())
    }

    /// Often enough for the shortest of the waits that it checks.
    fn clock_period(&self) -> Duration {
        let config = &self.feed.config;
        let shortest = config
            .subscribe_deadline
            .min(config.ping_after)
            .min(config.idle_timeout);
        (shortest / 4).clamp(Duration::from_millis(10), Duration::from_secs(1))
    }
}

fn misbehaving(message: &'static str, reason: String) -> End {
    End::Close(Closing {
        message,
        reason,
        code: close_code::POLICY,
        kind: ClosingKind::Misbehaving,
    })
}

/// Whether a failed read is the end of the socket or something that the client should be told.
fn unreadable(error: &axum::Error) -> End {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.is::<std::io::Error>() {
            return End::Gone;
        }
        cause = error.source();
    }
    End::Close(Closing {
        message: "Unreadable message",
        reason: error.to_string(),
        code: close_code::POLICY,
        kind: ClosingKind::Misbehaving,
    })
}

/// How many messages a client may still send: refilled evenly, full at the burst.
struct Budget {
    period: Duration,
    burst: Duration,
    /// When the budget will be full again.
    full_at: Instant,
}

impl Budget {
    fn new(config: &FeedConfig) -> Self {
        let period = Duration::from_secs(1) / config.inbound_messages_per_second.max(1);
        Self {
            period,
            burst: period * config.inbound_burst.max(1),
            full_at: Instant::now(),
        }
    }

    fn take(&mut self, now: Instant) -> bool {
        let full_at = self.full_at.max(now) + self.period;
        if full_at - now > self.burst {
            return false;
        }
        self.full_at = full_at;
        true
    }
}
