//! Bounds: slow readers, silent and noisy clients, too many of them, and how connections end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use everopen_domain::MemberId;
use everopen_gateway::feed::FeedConfig;
use futures_util::SinkExt;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::harness::Server;
use crate::support::Flow;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_is_dropped_and_nobody_waits_for_it() {
    let config = FeedConfig {
        queue_frames_max: 2_000,
        close_grace: Duration::from_millis(100),
        ..FeedConfig::default()
    };
    let server = Server::start(config).await;
    let (mut flow, entries) = Flow::new(1);
    server.publish(&entries);
    let mut slow = server.client().await;
    let products = ["BTC-USD", "ETH-USD"];
    slow.subscribe(&["full", "level2", "ticker", "level3"], &products)
        .await;
    slow.next_of("subscriptions").await;
    let mut good = server.client().await;
    good.subscribe(&["full"], &["BTC-USD"]).await;
    good.next_of("subscriptions").await;
    // It reads nothing from here on: the sockets' buffers fill, then its queue.
    let dropped = &server.feed.metrics().slow_clients_dropped_total;
    let mut rounds = 0;
    while dropped.load(Ordering::Relaxed) == 0 {
        for _ in 0..100 {
            server.publish(&[flow.step()]);
        }
        // The other keeps up.
        good.drain().await;
        rounds += 1;
        assert!(rounds < 5_000, "never dropped");
    }
    server
        .until("the slow connection is gone", |server| {
            server.feed.metrics().connections.load(Ordering::Relaxed) == 1
        })
        .await;
    // The socket was blocked, so it may have got no more than what was in the buffers.
    let ended = slow.ended().await;
    assert!(!ended.messages.is_empty());
    server.publish(&[flow.step()]);
    good.drain().await;
}

/// Nothing is published at all: the client itself asks for more than it reads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_asks_and_does_not_read_is_dropped() {
    let config = FeedConfig {
        write_timeout: Duration::from_millis(100),
        close_grace: Duration::from_millis(50),
        inbound_burst: 1_000_000,
        ..FeedConfig::default()
    };
    let server = Server::start(config).await;
    let (mut flow, entries) = Flow::new(1);
    server.publish(&entries);
    for _ in 0..300 {
        server.publish(&[flow.step()]);
    }
    let mut client = server.client().await;
    let request = json!({"type": "subscribe", "product_ids": ["BTC-USD", "ETH-USD"],
        "channels": ["level2", "status"]})
    .to_string();
    let dropped = &server.feed.metrics().slow_clients_dropped_total;
    let flood = async {
        while dropped.load(Ordering::Relaxed) == 0 {
            // A server that does not read any more blocks this, or has hung up.
            let send = client.socket.send(Message::text(request.as_str()));
            let _ = tokio::time::timeout(Duration::from_millis(10), send).await;
        }
    };
    tokio::time::timeout(crate::harness::DEADLINE, flood)
        .await
        .unwrap();
    server
        .until("the client is gone", |server| {
            server.feed.metrics().connections.load(Ordering::Relaxed) == 0
        })
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_queue_overflows_is_told_why() {
    let config = FeedConfig {
        queue_frames_max: 3,
        ..FeedConfig::default()
    };
    let server = Server::start(config).await;
    let (mut flow, entries) = Flow::new(1);
    server.publish(&entries);
    let mut client = server.client().await;
    client.subscribe(&["full"], &["BTC-USD"]).await;
    client.next_of("subscriptions").await;
    // One publish at a time outruns any task: the queue holds three frames only.
    let mut entry = flow.step();
    for _ in 0..300 {
        entry.events.extend(flow.step().events);
    }
    server.publish(&[entry]);
    client
        .ended_by("Slow consumer", "too many messages wait", CloseCode::Policy)
        .await;
    let dropped = &server.feed.metrics().slow_clients_dropped_total;
    assert_eq!(dropped.load(Ordering::Relaxed), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_subscribes_to_nothing_is_dropped() {
    let config = FeedConfig {
        subscribe_deadline: Duration::from_millis(50),
        ..FeedConfig::default()
    };
    let server = Server::start(config).await;
    let mut client = server.client().await;
    client
        .ended_by("No subscription", "within 50 ms", CloseCode::Policy)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_too_much_or_too_large_is_dropped() {
    let config = FeedConfig {
        inbound_messages_per_second: 1,
        inbound_burst: 5,
        inbound_bytes_max: 1_000,
        ..FeedConfig::default()
    };
    let server = Server::start(config).await;
    let mut client = server.client().await;
    for _ in 0..6 {
        client
            .send(json!({"type": "subscribe", "channels": ["status"]}))
            .await;
    }
    client
        .ended_by(
            "Rate limit exceeded",
            "more than 1 messages",
            CloseCode::Policy,
        )
        .await;
    let mut client = server.client().await;
    client.send_text(&"x".repeat(2_000)).await;
    client
        .ended_by("Unreadable message", "", CloseCode::Policy)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_client_is_pinged_and_then_given_up() {
    let config = FeedConfig {
        ping_after: Duration::from_millis(100),
        idle_timeout: Duration::from_millis(1_500),
        ..FeedConfig::default()
    };
    let server = Server::start(config).await;
    let mut alive = server.client().await;
    alive.subscribe(&["status"], &[]).await;
    alive.next_of("status").await;
    let mut dead = server.client().await;
    dead.subscribe(&["status"], &[]).await;
    dead.next_of("status").await;
    // The library answers pings only while it reads: one reads, the other does not.
    let connections = || server.feed.metrics().connections.load(Ordering::Relaxed);
    let wait = async {
        while connections() != 1 {
            tokio::select! {
                frame = alive.frame() => assert!(frame.is_some(), "the living stays"),
                () = tokio::time::sleep(Duration::from_millis(5)) => {}
            }
        }
    };
    tokio::time::timeout(crate::harness::DEADLINE, wait)
        .await
        .unwrap();
    dead.ended_by("Connection idle", "pings", CloseCode::Policy)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_and_subscriptions_are_bounded() {
    let config = FeedConfig {
        connections_max: 3,
        connections_per_address_max: 2,
        subscriptions_max: 3,
        ..FeedConfig::default()
    };
    let server = Server::start(config).await;
    let (_, entries) = Flow::new(1);
    server.publish(&entries);
    let mut first = server.client().await;
    let products = ["BTC-USD", "ETH-USD"];
    first.subscribe(&["full", "level2"], &products).await;
    let error = first.next().await;
    assert_eq!(
        error["reason"],
        "more than 3 subscriptions on one connection"
    );
    first.subscribe(&["full"], &products).await;
    first.next_of("subscriptions").await;
    let mut second = server.client().await;
    second.subscribe(&["status"], &[]).await;
    second.next_of("subscriptions").await;
    let mut third = server.client().await;
    third
        .ended_by("Connection refused", "from this address", CloseCode::Again)
        .await;
    drop(first);
    server
        .until("a place is free", |server| {
            server.feed.metrics().connections.load(Ordering::Relaxed) == 1
        })
        .await;
    let mut fourth = server.client().await;
    fourth.subscribe(&["status"], &[]).await;
    fourth.next_of("subscriptions").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_canceled_when_a_connection_that_asked_for_it_ends() {
    let server = Server::start(FeedConfig::default()).await;
    let (_, entries) = Flow::new(1);
    server.publish(&entries);
    let request = |key: &str| {
        json!({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["user"], "key": key,
            "passphrase": "pass", "signature": "good", "timestamp": 1795451067_u64,
            "cancel_on_disconnect": true})
    };
    // Orderly, abruptly, and one that did not ask.
    let mut orderly = server.client().await;
    orderly.send(request("member-1")).await;
    orderly.next_of("subscriptions").await;
    let mut abrupt = server.client().await;
    abrupt.send(request("member-2")).await;
    abrupt.next_of("subscriptions").await;
    let mut unasked = server.client().await;
    unasked
        .subscribe_signed("member-3", &["user"], &["BTC-USD"])
        .await;
    unasked.next_of("subscriptions").await;
    orderly.socket.send(Message::Close(None)).await.unwrap();
    drop(abrupt);
    drop(unasked);
    server
        .until("all are gone", |server| {
            server.feed.metrics().connections.load(Ordering::Relaxed) == 0
        })
        .await;
    let mut told = server.disconnects.0.lock().unwrap().clone();
    told.sort();
    assert_eq!(told, [MemberId(1), MemberId(2)]);
    // Not without a signature, and not with a key that may not trade.
    let mut client = server.client().await;
    client
        .send(json!({"type": "subscribe", "channels": ["status"], "cancel_on_disconnect": true}))
        .await;
    assert_eq!(client.next().await["message"], "Authentication Failed");
    client.send(request("view-1")).await;
    assert_eq!(client.next().await["message"], "Authentication Failed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shutdown_says_goodbye() {
    let server = Server::start(FeedConfig::default()).await;
    let mut client = server.client().await;
    client.subscribe(&["status"], &[]).await;
    client.next_of("subscriptions").await;
    server.feed.shutdown();
    client
        .ended_by("Going away", "shutting down", CloseCode::Away)
        .await;
    let mut late = server.client().await;
    late.ended_by("Connection refused", "shutting down", CloseCode::Again)
        .await;
}
