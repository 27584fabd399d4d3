//! How much the feed takes on this machine: one publisher with the events of a random market, and
//! subscribers on loopback sockets that read and count. Prints one line; stops by itself.
//!
//! `cargo run --release -p everopen-gateway --example feed_load -- [subscribers] [entries]`

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{State, WebSocketUpgrade};
use axum::routing::get;
use everopen_domain::MemberId;
use everopen_gateway::feed::{
    AuthError, Authenticator, DisconnectPort, Feed, FeedConfig, Session, serve_socket,
};
use everopen_views::{Config, Views};
use futures_util::{SinkExt, StreamExt};
use support::{Entry, Flow};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

#[path = "../../views/tests/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests of the views")]
mod support;

struct Nobody;

impl Authenticator for Nobody {
    fn verify_ws(
        &self,
        _: &str,
        _: &str,
        _: &str,
        _: &str,
        _: std::net::IpAddr,
    ) -> Result<Session, AuthError> {
        Err(AuthError {
            message: "no keys here".to_owned(),
        })
    }

    fn holds(&self, _: &str, _: std::net::IpAddr) -> bool {
        false
    }
}

impl DisconnectPort for Nobody {
    fn disconnected(&self, _: MemberId) {}
}

async fn serve(
    State(feed): State<Arc<Feed>>,
    upgrade: WebSocketUpgrade,
) -> axum::response::Response {
    upgrade.on_upgrade(move |socket| serve_socket(socket, feed, [127, 0, 0, 1].into()))
}

/// Publishes at `rate` entries a second, or as fast as it goes with zero; the time it took and
/// the time spent in `publish` itself.
fn publish(feed: &Feed, entries: &[Entry], rate: u32) -> (Duration, Duration) {
    let start = Instant::now();
    let mut busy = Duration::ZERO;
    for (at, entry) in entries.iter().enumerate() {
        if let Some(wait) = Duration::from_secs(1)
            .checked_div(rate)
            .and_then(|period| (period * at as u32).checked_sub(start.elapsed()))
            && wait > Duration::from_millis(1)
        {
            std::thread::sleep(wait);
        }
        let begin = Instant::now();
        feed.publish(entry.index, entry.time, &entry.events);
        busy += begin.elapsed();
    }
    (start.elapsed(), busy)
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let mut numbers = std::env::args()
        .skip(1)
        .map(|text| text.parse().expect("a number"));
    let subscribers = numbers.next().unwrap_or(50);
    let count = numbers.next().unwrap_or(50_000);
    let rate = numbers.next().unwrap_or(10_000) as u32;

    let views = Arc::new(RwLock::new(Views::new(Config::default())));
    let feed = Arc::new(Feed::new(
        FeedConfig::default(),
        views,
        Arc::new(Nobody),
        Arc::new(Nobody),
    ));
    let (mut flow, entries) = Flow::new(1);
    for entry in &entries {
        feed.publish(entry.index, entry.time, &entry.events);
    }
    let entries: Vec<Entry> = (0..count).map(|_| flow.step()).collect();
    let events: usize = entries.iter().map(|entry| entry.events.len()).sum();

    let router = Router::new()
        .route("/", get(serve))
        .with_state(feed.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    tokio::spawn(async move { axum::serve(listener, router).await });
    let received = Arc::new(AtomicU64::new(0));
    for _ in 0..subscribers {
        let (mut socket, _) = connect_async(format!("ws://{address}/"))
            .await
            .expect("a socket");
        let request = r#"{"type":"subscribe","product_ids":["BTC-USD","ETH-USD"],
            "channels":["level2","matches","ticker"]}"#;
        socket
            .send(Message::text(request))
            .await
            .expect("a subscription");
        let received = received.clone();
        tokio::spawn(async move {
            while let Some(Ok(_)) = socket.next().await {
                received.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let metrics = feed.metrics().clone();
    while metrics.messages_received_total.load(Ordering::Relaxed) < subscribers as u64 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let publisher = feed.clone();
    let (elapsed, busy) = tokio::task::spawn_blocking(move || publish(&publisher, &entries, rate))
        .await
        .expect("the publisher ends");
    let mut sent = u64::MAX;
    while sent != received.load(Ordering::Relaxed) {
        sent = received.load(Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!(
        "{subscribers} subscribers, {count} entries with {events} events in {:.2} s ({:.0} events/s): \
         publisher busy {:.0} ns/event, {received} frames read, {} bytes sent, {} slow clients dropped",
        elapsed.as_secs_f64(),
        events as f64 / elapsed.as_secs_f64(),
        busy.as_nanos() as f64 / events as f64,
        metrics.bytes_sent_total.load(Ordering::Relaxed),
        metrics.slow_clients_dropped_total.load(Ordering::Relaxed),
        received = sent,
    );
}
