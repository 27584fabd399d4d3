//! The feed behind the same address: found at the root path, signed like requests, drained with
//! the rest.

use std::time::{Duration, Instant};

use everopen_gateway::{Config, Permissions};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::orders::{limit, place};
use crate::support::{Harness, now_s, signature};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

const DEADLINE: Duration = Duration::from_secs(10);

async fn connect(harness: &Harness, path: &str) -> Socket {
    connect_async(format!("ws://{}{path}", harness.address))
        .await
        .unwrap()
        .0
}

async fn send(socket: &mut Socket, message: Value) {
    socket
        .send(Message::text(message.to_string()))
        .await
        .unwrap();
}

/// The next message of a type; others before it are passed over.
async fn next(socket: &mut Socket, kind: &str) -> Value {
    let find = async {
        loop {
            let message = socket.next().await.expect("an open socket").unwrap();
            let Message::Text(text) = message else {
                continue;
            };
            let value: Value = serde_json::from_str(&text).unwrap();
            if value["type"] == kind {
                return value;
            }
        }
    };
    timeout(DEADLINE, find)
        .await
        .unwrap_or_else(|_| panic!("no {kind}"))
}

fn signed(key: &everopen_gateway::NewKey, more: Value) -> Value {
    let now = now_s();
    let sign = signature(
        &key.secret,
        &now.to_string(),
        "GET",
        "/users/self/verify",
        "",
    );
    let mut message = json!({
        "type": "subscribe",
        "product_ids": ["BTC-USD"],
        "channels": ["user"],
        "timestamp": now,
        "key": key.key,
        "signature": sign,
        "passphrase": key.passphrase,
    });
    for (name, value) in more.as_object().unwrap() {
        message[name] = value.clone();
    }
    message
}

#[tokio::test]
async fn the_feed_is_at_the_root_and_shows_what_rest_did() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let mut other = harness.other("bob").await;
    for path in ["/", "/?"] {
        let mut socket = connect(&harness, path).await;
        send(&mut socket, signed(&harness.key, json!({}))).await;
        next(&mut socket, "subscriptions").await;
        let order = place(&mut client, limit("buy", "90", "1")).await;
        let received = next(&mut socket, "received").await;
        assert_eq!(received["order_id"], order["id"]);
        place(&mut other, limit("sell", "90", "1")).await;
        let fill = next(&mut socket, "match").await;
        assert_eq!(fill["maker_order_id"], order["id"]);
        assert_eq!(next(&mut socket, "done").await["reason"], "filled");
    }
    let metrics = client.get("/metrics").await.body;
    let text = metrics.as_str().unwrap();
    assert!(text.contains("gateway_websocket_opened_total 2"), "{text}");
    harness.stop().await;
}

#[tokio::test]
async fn a_signed_subscribe_is_checked_like_a_request() {
    let harness = Harness::start().await;
    let elsewhere = vec!["192.0.2.0/24".parse().unwrap()];
    let fenced = harness
        .keys
        .create(harness.member, "", Permissions::ALL, elsewhere)
        .unwrap();
    let blind = Permissions {
        view: false,
        ..Permissions::ALL
    };
    let blind = harness
        .keys
        .create(harness.member, "", blind, vec![])
        .unwrap();
    for message in [
        signed(&harness.key, json!({ "signature": "AAAA" })),
        signed(&harness.key, json!({ "passphrase": "guess" })),
        signed(&harness.key, json!({ "key": "nobody" })),
        signed(&harness.key, json!({ "timestamp": now_s() - 60 })),
        signed(&fenced, json!({})),
        signed(&blind, json!({})),
    ] {
        let mut socket = connect(&harness, "/").await;
        send(&mut socket, message).await;
        let error = next(&mut socket, "error").await;
        assert_eq!(error["message"], "Authentication Failed");
        assert!(error["reason"].is_string());
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_revoked_key_ends_its_connection_and_no_other() {
    let config = Config {
        keys_reload_ms: 10,
        ..Config::demo()
    };
    let harness = Harness::with(config).await;
    let lost = harness
        .keys
        .create(harness.member, "", Permissions::ALL, vec![])
        .unwrap();
    let mut theirs = connect(&harness, "/").await;
    let mut ours = connect(&harness, "/").await;
    for (socket, key) in [(&mut theirs, &lost), (&mut ours, &harness.key)] {
        send(socket, signed(key, json!({}))).await;
        next(socket, "subscriptions").await;
    }
    harness.keys.revoke(&lost.key).unwrap();
    let error = next(&mut theirs, "error").await;
    assert_eq!(error["message"], "Authentication Failed");
    assert_eq!(error["reason"], "the key of this connection was revoked");
    let closed = async { while let Some(Ok(_)) = theirs.next().await {} };
    timeout(DEADLINE, closed).await.unwrap();
    let mut client = harness.client().await;
    let order = place(&mut client, limit("buy", "90", "1")).await;
    assert_eq!(next(&mut ours, "received").await["order_id"], order["id"]);
    harness.stop().await;
}

#[tokio::test]
async fn orders_are_canceled_when_their_connection_ends() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let mut socket = connect(&harness, "/").await;
    send(
        &mut socket,
        signed(&harness.key, json!({ "cancel_on_disconnect": true })),
    )
    .await;
    next(&mut socket, "subscriptions").await;
    let order = place(&mut client, limit("buy", "90", "1")).await;
    drop(socket);
    let target = format!("/orders/{}", order["id"].as_str().unwrap());
    let deadline = Instant::now() + DEADLINE;
    loop {
        let order = client.signed("GET", &target, "").await.ok();
        if order["status"] == "done" {
            assert_eq!(order["cancel_reason"], "disconnected");
            break;
        }
        assert!(Instant::now() < deadline, "the order is still there");
        tokio::task::yield_now().await;
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_stop_closes_sockets_with_a_reason() {
    let harness = Harness::start().await;
    let mut socket = connect(&harness, "/").await;
    send(
        &mut socket,
        json!({
            "type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["matches"],
        }),
    )
    .await;
    next(&mut socket, "subscriptions").await;
    let stopped = tokio::spawn(harness.stop());
    assert_eq!(
        next(&mut socket, "error").await["reason"],
        "the gateway is shutting down"
    );
    let closed = timeout(DEADLINE, async {
        while let Some(Ok(_)) = socket.next().await {}
    });
    closed.await.unwrap();
    stopped.await.unwrap();
}
