//! How new an answer is, and asking for the newest.

use everopen_domain::{Command, TradingPhase};
use everopen_gateway::{Config, PortError};

use crate::orders::limit;
use crate::support::{Answer, BTC_USD, Harness, VenuePort};

const NEWEST: [(&str, &str); 1] = [("everopen-consistency", "linearizable")];

fn index(answer: &Answer) -> u64 {
    answer.headers["everopen-applied-index"].parse().unwrap()
}

#[tokio::test]
async fn answers_say_how_new_they_are() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let read = client.plain("GET", "/products", "").await;
    assert_eq!(read.status, 200);
    assert_eq!(index(&read), harness.port.index().0);
    let order = client
        .signed("POST", "/orders", &limit("buy", "100", "0.01").to_string())
        .await;
    assert_eq!(order.status, 200);
    assert_eq!(index(&order), harness.port.index().0, "its own entry, too");
    assert_eq!(index(&order), index(&read) + 1);
    let missing = client.plain("GET", "/products/NO-ONE", "").await;
    assert_eq!(missing.status, 404);
    assert_eq!(index(&missing), index(&order), "so is a refusal");
}

#[tokio::test]
async fn a_linearizable_read_shows_what_was_answered_elsewhere() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    halt(&harness.port);
    let usual = client.plain("GET", "/products/BTC-USD", "").await;
    let newest = client
        .with_headers("GET", "/products/BTC-USD", &NEWEST, "")
        .await;
    assert_eq!(index(&newest), index(&usual) + 1);
    assert_ne!(status(usual), status(newest));
}

fn halt(port: &VenuePort) {
    port.elsewhere
        .lock()
        .unwrap()
        .push(Command::SetTradingPhase {
            instrument: BTC_USD,
            phase: TradingPhase::CancelOnly,
        });
}

fn status(answer: Answer) -> String {
    answer.ok()["cancel_only"].to_string()
}

#[tokio::test]
async fn what_cannot_be_confirmed_is_not_answered() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    harness.port.answer_with(Some(PortError::Unavailable));
    let answer = client.with_headers("GET", "/products", &NEWEST, "").await;
    assert_eq!(answer.status, 503);
    assert_eq!(answer.headers["retry-after"], "1");
    let usual = client.plain("GET", "/products", "").await;
    assert_eq!(usual.status, 200, "who does not ask for it is answered");
}

#[tokio::test]
async fn another_consistency_is_refused() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let headers = [("everopen-consistency", "eventual")];
    let answer = client.with_headers("GET", "/products", &headers, "").await;
    assert_eq!(
        answer.refusal(),
        (400, "everopen-consistency can only be linearizable")
    );
}

#[tokio::test]
async fn a_member_that_comes_over_from_another_gateway_finds_what_it_was_answered_there() {
    let alone = Harness::start().await;
    let mut client = alone.client().await;
    halt(&alone.port);
    let before = index(&client.plain("GET", "/products", "").await);
    let read = client.signed("GET", "/orders", "").await;
    assert_eq!(index(&read), before, "alone it has nothing to wait for");

    let config = Config {
        proxies: vec!["192.0.2.1".parse().unwrap()],
        ..Config::demo()
    };
    let behind = Harness::with(config).await;
    let mut client = behind.client().await;
    halt(&behind.port);
    let before = index(&client.plain("GET", "/products", "").await);
    let read = client.signed("GET", "/orders", "").await;
    assert_eq!((read.status, index(&read)), (200, before + 1));
    // Where nobody leads, reads go on.
    behind.port.answer_with(Some(PortError::Unavailable));
    let read = client.signed("GET", "/orders", "").await;
    assert_eq!(read.status, 200);
}

#[tokio::test]
async fn an_order_that_is_not_here_is_asked_for_in_the_whole_venue() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    halt(&harness.port);
    let before = index(&client.plain("GET", "/products", "").await);
    let missing = client.signed("GET", "/orders/client:none", "").await;
    assert_eq!(missing.status, 404);
    let after = index(&client.plain("GET", "/products", "").await);
    assert_eq!(after, before + 1, "it was waited for");
}
