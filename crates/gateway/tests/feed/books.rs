//! A client's books, rebuilt from the feed, are the venue's at the same sequence.

use everopen_gateway::feed::FeedConfig;
use serde_json::{Value, json};

use crate::harness::Server;
use crate::reader::{Levels, Orders};
use crate::support::Flow;

const SYMBOLS: [&str; 2] = ["BTC-USD", "ETH-USD"];

fn product(message: &Value) -> usize {
    let id = match message {
        Value::Array(row) => &row[1],
        other => &other["product_id"],
    };
    SYMBOLS.iter().position(|symbol| id == symbol).unwrap()
}

/// Random flow with auctions, icebergs, stops and self-trade prevention; the client joins `full`
/// and `level2` in the middle and catches up on `full` from the first sequence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_rebuilt_by_a_client_are_the_venues() {
    for seed in 0..6 {
        let server = Server::start(FeedConfig::default()).await;
        let (mut flow, entries) = Flow::new(seed);
        server.publish(&entries);
        for _ in 0..400 {
            server.publish(&[flow.step()]);
        }
        let mut client = server.client().await;
        for symbol in SYMBOLS {
            client
                .send(json!({"type": "subscribe", "product_ids": [symbol],
                    "channels": [{"name": "full", "from_sequence": 1}, "level2"]}))
                .await;
        }
        let mut batch = server.client().await;
        batch.subscribe(&["level2_batch"], &SYMBOLS).await;

        let mut orders = [Orders::default(), Orders::default()];
        let mut levels = [Levels::default(), Levels::default()];
        let mut batched = [Levels::default(), Levels::default()];
        for round in 0..8 {
            for _ in 0..100 {
                server.publish(&[flow.step()]);
            }
            for message in client.drain().await {
                let at = product_or_skip(&message);
                let Some(at) = at else { continue };
                match message["type"].as_str().unwrap() {
                    "snapshot" | "l2update" => levels[at].take(&message),
                    _ => orders[at].take(&message),
                }
            }
            // The timer has sent all that changed once a batch holds the last sequence that
            // changed a level; a resubscribe does not wait for it.
            batch.subscribe(&["level2_batch"], &SYMBOLS).await;
            for message in batch.drain().await {
                if let Some(at) = product_or_skip(&message) {
                    batched[at].take(&message);
                }
            }
            let snapshot = flow.venue.snapshot();
            for at in 0..2 {
                let market = &snapshot.instruments[at];
                let (bids, asks) = (&market.bids, &market.asks);
                assert_eq!(orders[at].sequence, market.sequence);
                assert_eq!(
                    orders[at].sorted(),
                    Orders::of(bids, asks),
                    "{seed} {round}"
                );
                assert_eq!(orders[at].matches, market.last_trade.0);
                assert_eq!(levels[at].levels, Levels::of(bids, asks), "{seed} {round}");
                assert_eq!(batched[at].levels, Levels::of(bids, asks), "{seed} {round}");
                let book = server.views();
                let book = book.book(everopen_domain::InstrumentId(at as u32)).unwrap();
                assert_eq!(book.sequence(), market.sequence, "one sequence for all");
            }
        }
        let matches = [orders[0].matches, orders[1].matches];
        assert!(
            matches[0] + matches[1] > 40,
            "the flow is lively: {seed} {matches:?}"
        );
    }
}

fn product_or_skip(message: &Value) -> Option<usize> {
    (message["type"] != "subscriptions").then(|| product(message))
}

/// Batches alone, without a snapshot after the first, converge on the book.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batched_levels_converge_without_another_snapshot() {
    let server = Server::start(FeedConfig::default()).await;
    let (mut flow, entries) = Flow::new(11);
    server.publish(&entries);
    let mut client = server.client().await;
    client.subscribe(&["level2_50"], &["BTC-USD"]).await;
    client.next_of("snapshot").await;
    let mut levels = Levels::default();
    levels.take(&json!({"type": "snapshot", "sequence": 0, "bids": [], "asks": []}));
    for _ in 0..500 {
        server.publish(&[flow.step()]);
    }
    let market = &flow.venue.snapshot().instruments[0];
    let expected = Levels::of(&market.bids, &market.asks);
    while levels.levels != expected {
        levels.take(&client.next_of("l2update").await);
    }
}

/// The rows of `level3` tell the same as `full`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn level3_rows_rebuild_the_book() {
    let server = Server::start(FeedConfig::default()).await;
    let (mut flow, entries) = Flow::new(5);
    server.publish(&entries);
    let mut client = server.client().await;
    client.subscribe(&["level3"], &["BTC-USD"]).await;
    let schema = client.next_of("level3").await;
    assert_eq!(schema["schema"]["open"][3], "order_id");
    for _ in 0..500 {
        server.publish(&[flow.step()]);
    }
    let mut orders = Orders::default();
    for row in client.drain().await {
        orders.take_row(row.as_array().unwrap());
    }
    let view = server.views();
    let book = view.book(everopen_domain::InstrumentId(0)).unwrap();
    assert_eq!(orders.sequence, book.sequence());
    for (at, side) in [everopen_domain::Side::Buy, everopen_domain::Side::Sell]
        .into_iter()
        .enumerate()
    {
        let expected: Vec<_> = book
            .orders(side)
            .map(|o| (o.order.to_string(), o.price.0, o.visible.0))
            .collect();
        let seen: Vec<_> = orders.sorted()[at]
            .iter()
            .map(|o| (o.id.clone(), o.price, o.size))
            .collect();
        assert_eq!(seen, expected);
    }
    assert!(orders.matches > 20, "the flow is lively");
}
