//! Subscribing, what each channel begins with, and what refusals say.

use everopen_domain::{
    Command, InstrumentId, MemberId, NewOrder, Price, Quantity, Side, TradingPhase,
};
use everopen_gateway::feed::FeedConfig;
use serde_json::{Value, json};

use crate::harness::{Client, Server};
use crate::support::Flow;

async fn started() -> (Server, Flow, Client) {
    let server = Server::start(FeedConfig::default()).await;
    let (flow, entries) = Flow::new(3);
    server.publish(&entries);
    let client = server.client().await;
    (server, flow, client)
}

fn trade(server: &Server, flow: &mut Flow) {
    for (member, side) in [(0, Side::Sell), (1, Side::Buy)] {
        let order = NewOrder {
            instrument: InstrumentId(0),
            side,
            price: Price(5_000_000),
            size: Quantity(1_000),
            ..NewOrder::default()
        };
        let member = MemberId(member);
        server.publish(&[flow.apply(&Command::PlaceOrder { member, order })]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_come_as_names_and_objects_and_products_with_dash_and_slash() {
    let (_server, _flow, mut client) = started().await;
    client
        .send(json!({"type": "subscribe", "product_ids": ["BTC/USD"],
            "channels": ["level2", {"name": "heartbeat", "product_ids": ["ETH-USD"]}, "status"]}))
        .await;
    assert_eq!(
        client.next().await,
        json!({"type": "subscriptions", "channels": [
            {"name": "level2", "product_ids": ["BTC-USD"]},
            {"name": "heartbeat", "product_ids": ["ETH-USD"]},
            {"name": "status", "product_ids": []}]})
    );
    let snapshot = client.next().await;
    assert_eq!(snapshot["type"], "snapshot");
    assert_eq!(snapshot["product_id"], "BTC-USD");
    assert_eq!(
        (&snapshot["bids"], &snapshot["asks"]),
        (&json!([]), &json!([]))
    );
    assert_eq!(snapshot["sequence"], 0);
    let status = client.next_of("status").await;
    assert_eq!(status["products"][0]["id"], "BTC-USD");
    assert_eq!(status["products"][0]["quote_increment"], "0.01");
    assert_eq!(status["products"][0]["base_increment"], "0.00001");
    assert_eq!(status["currencies"][2]["id"], "ETH");
    // Taken away by product, and as a whole.
    client
        .send(json!({"type": "unsubscribe", "channels": [
            {"name": "level2", "product_ids": ["BTC-USD"]}, "heartbeat", "status"]}))
        .await;
    let list = client.next_of("subscriptions").await;
    assert_eq!(list["channels"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_comes_before_updates_after_every_subscribe() {
    let (server, mut flow, mut client) = started().await;
    for _ in 0..3 {
        client.subscribe(&["level2"], &["BTC-USD"]).await;
        client.next_of("subscriptions").await;
        assert_eq!(client.next().await["type"], "snapshot");
        trade(&server, &mut flow);
        let update = client.next().await;
        assert_eq!(update["type"], "l2update");
        assert_eq!(update["changes"], json!([["sell", "50000.00", "0.001000"]]));
        let update = client.next().await;
        assert_eq!(update["changes"], json!([["sell", "50000.00", "0"]]));
        client
            .send(
                json!({"type": "unsubscribe", "product_ids": ["BTC-USD"], "channels": ["level2"]}),
            )
            .await;
        client.next_of("subscriptions").await;
        trade(&server, &mut flow);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trades_tickers_and_heartbeats() {
    let (server, mut flow, mut client) = started().await;
    trade(&server, &mut flow);
    client
        .subscribe(
            &["matches", "ticker", "ticker_batch", "heartbeat"],
            &["BTC-USD"],
        )
        .await;
    client.next_of("subscriptions").await;
    let last = client.next().await;
    assert_eq!(last["type"], "last_match");
    assert_eq!(
        (&last["trade_id"], &last["side"]),
        (&json!(1), &json!("sell"))
    );
    let first = client.next_of("ticker").await;
    assert_eq!(first["price"], "50000.00");
    trade(&server, &mut flow);
    let matched = client.next_of("match").await;
    assert_eq!(matched["trade_id"], 2);
    assert_eq!(matched["size"], "0.001000");
    for field in [
        "sequence",
        "maker_order_id",
        "taker_order_id",
        "time",
        "price",
    ] {
        assert!(matched.get(field).is_some(), "{field}");
    }
    let ticker = client.next_of("ticker").await;
    assert_eq!(ticker["trade_id"], 2);
    assert_eq!(ticker["volume_24h"], "0.002000");
    for field in [
        "sequence",
        "open_24h",
        "low_24h",
        "high_24h",
        "volume_30d",
        "best_bid",
        "best_ask",
        "best_bid_size",
        "best_ask_size",
        "side",
        "time",
        "last_size",
    ] {
        assert!(ticker.get(field).is_some(), "{field}");
    }
    let heartbeat = client.next_of("heartbeat").await;
    assert_eq!(heartbeat["last_trade_id"], 2);
    let sequence = server.views().book(InstrumentId(0)).unwrap().sequence();
    assert_eq!(heartbeat["sequence"], sequence);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn status_and_auctions_follow_the_phase() {
    let (server, mut flow, mut client) = started().await;
    client
        .subscribe(&["status", "auctionfeed"], &["BTC-USD"])
        .await;
    let status = client.next_of("status").await;
    assert_eq!(status["products"][0]["auction_mode"], false);
    let instrument = InstrumentId(0);
    let phase = |phase| Command::SetTradingPhase { instrument, phase };
    server.publish(&[flow.apply(&phase(TradingPhase::Auction))]);
    let status = client.next_of("status").await;
    assert_eq!(status["products"][0]["auction_mode"], true);
    trade(&server, &mut flow);
    let mut auction = client.next_of("auction").await;
    while auction["open_size"] != "0.001000" {
        auction = client.next_of("auction").await;
    }
    assert_eq!(auction["open_price"], "50000.00");
    assert_eq!(auction["can_open"], "yes");
    assert_eq!(auction["auction_state"], "collection");
    server.publish(&[flow.apply(&phase(TradingPhase::Online))]);
    let complete = client.next_of("auction").await;
    assert_eq!(complete["auction_state"], "complete");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_past_is_replayed_by_sequence_or_the_oldest_is_named() {
    let config = FeedConfig {
        replay_messages: 5,
        ..FeedConfig::default()
    };
    let server = Server::start(config).await;
    let (mut flow, entries) = Flow::new(3);
    server.publish(&entries);
    for _ in 0..4 {
        trade(&server, &mut flow);
    }
    let last = server.views().book(InstrumentId(0)).unwrap().sequence();
    let mut client = server.client().await;
    let ask = |from: u64| {
        json!({"type": "subscribe", "channels": [
            {"name": "full", "product_ids": ["BTC-USD"], "from_sequence": from}]})
    };
    for (from, reason) in [
        (1, format!("the oldest available sequence is {}", last - 4)),
        (
            last - 5,
            format!("the oldest available sequence is {}", last - 4),
        ),
        (last + 2, format!("the next sequence is {}", last + 1)),
    ] {
        client.send(ask(from)).await;
        let error = client.next().await;
        assert_eq!(error["type"], "error");
        assert_eq!(error["reason"], reason);
    }
    for from in [last - 4, last - 1, last + 1] {
        let mut client = server.client().await;
        client.send(ask(from)).await;
        client.next_of("subscriptions").await;
        let before = server.views().book(InstrumentId(0)).unwrap().sequence();
        let seen: Vec<Value> = client.drain().await;
        let seen: Vec<u64> = seen
            .iter()
            .map(|m| m["sequence"].as_u64().unwrap())
            .collect();
        assert_eq!(seen, (from..=before).collect::<Vec<_>>());
    }
    // And what comes next follows on.
    let mut client = server.client().await;
    client.send(ask(last)).await;
    client.next_of("subscriptions").await;
    trade(&server, &mut flow);
    let seen = client.drain().await;
    for (at, message) in seen.iter().enumerate() {
        assert_eq!(message["sequence"], last + at as u64);
    }
    assert!(seen.len() > 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_has_a_reason_and_changes_nothing() {
    let (_server, _flow, mut client) = started().await;
    let signed = |key: &str, pass: &str, signature: &str, channel: &str| {
        json!({"type": "subscribe", "product_ids": ["BTC-USD"], "channels": [channel], "key": key,
            "passphrase": pass, "signature": signature, "timestamp": 1795451067_u64})
        .to_string()
    };
    let plain = |channel: &str, product: &str| {
        json!({"type": "subscribe", "product_ids": [product], "channels": [channel]}).to_string()
    };
    let cases = [
        ("not json".to_owned(), "Malformed JSON", ""),
        ("[1,2]".to_owned(), "Malformed JSON", "object"),
        (r#"{"type":"hello"}"#.to_owned(), "Unknown message type", ""),
        (
            plain("level2", "DOGE-USD"),
            "Failed to subscribe",
            "DOGE-USD is not a valid product",
        ),
        (
            plain("rfq", "BTC-USD"),
            "Failed to subscribe",
            "rfq is not a valid channel",
        ),
        (
            json!({"type": "subscribe", "channels": ["level2"]}).to_string(),
            "Failed to subscribe",
            "level2 needs product_ids",
        ),
        (plain("user", "BTC-USD"), "Authentication Failed", "signed"),
        (
            plain("balance", "BTC-USD"),
            "Authentication Failed",
            "signed",
        ),
        (
            signed("nobody", "pass", "good", "user"),
            "Authentication Failed",
            "Invalid API Key",
        ),
        (
            signed("member-1", "word", "good", "user"),
            "Authentication Failed",
            "Invalid Passphrase",
        ),
        (
            signed("member-1", "pass", "bad", "level2"),
            "Authentication Failed",
            "invalid signature",
        ),
        (
            signed("trade-1", "pass", "good", "user"),
            "Authentication Failed",
            "may view",
        ),
        (
            signed("member-2", "pass", "good", "user"),
            "Authentication Failed",
            "another member",
        ),
        (
            json!({"type": "subscribe", "channels": ["full"], "from_sequence": 1,
                "product_ids": ["BTC-USD", "ETH-USD"]})
            .to_string(),
            "Failed to subscribe",
            "exactly one product",
        ),
    ];
    for (text, message, reason) in cases {
        client.send_text(&text).await;
        let error = client.next().await;
        assert_eq!(error["type"], "error", "{text}");
        assert_eq!(error["message"], message, "{text}");
        let said = error["reason"].as_str().unwrap();
        assert!(!said.is_empty() && said.contains(reason), "{text}: {said}");
    }
    client.subscribe(&["status"], &[]).await;
    let list = client.next_of("subscriptions").await;
    assert_eq!(
        list["channels"],
        json!([{"name": "status", "product_ids": []}])
    );
}
