//! Rates, bounds, and what is said when they are reached.

use std::time::{Duration, Instant};

use everopen_gateway::limits::RateLimit;
use everopen_gateway::{Config, PortError};
use serde_json::json;

use crate::orders::limit;
use crate::support::{Client, Harness};

/// So slow that nothing refills during a test.
const TWO: RateLimit = RateLimit {
    per_second: 1,
    burst: 2,
};

#[tokio::test]
async fn rates_are_counted_and_said() {
    let rate = RateLimit {
        per_second: 1,
        burst: 4,
    };
    let config = Config {
        public_rate: rate,
        private_rate: TWO,
        fills_rate: TWO,
        ..Config::demo()
    };
    let harness = Harness::with(config).await;
    let mut client = harness.client().await;
    for left in ["3", "2", "1", "0"] {
        let answer = client.get("/products").await;
        assert_eq!(answer.headers["ratelimit-limit"], "4");
        assert_eq!(answer.headers["ratelimit-remaining"], left);
        answer.ok();
    }
    let refused = client.get("/products").await;
    assert_eq!(refused.refusal(), (429, "Public rate limit exceeded"));
    assert_eq!(refused.headers["retry-after"], "1");
    assert_eq!(refused.headers["ratelimit-remaining"], "0");
    // Health is always told.
    client.get("/health/live").await.ok();

    // An address that used up its allowance may not guess signatures either; wait for one more.
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.signed("GET", "/accounts", "").await.status == 429 {
        assert!(Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    let mut statuses = Vec::new();
    for _ in 0..2 {
        statuses.push(client.signed("GET", "/accounts", "").await.status);
    }
    assert!(statuses.contains(&429), "{statuses:?}");
    let refused = client.signed("GET", "/accounts", "").await;
    assert_eq!(refused.refusal(), (429, "Private rate limit exceeded"));
    client.signed("GET", "/fills", "").await.ok();
    let metrics = client.get("/metrics").await.body;
    let metrics = metrics.as_str().unwrap();
    assert!(
        metrics.contains("gateway_rate_limited_total{limit=\"private\"}"),
        "{metrics}"
    );
    harness.stop().await;
}

#[tokio::test]
async fn refused_signatures_use_up_an_addresss_allowance() {
    let config = Config {
        public_rate: TWO,
        ..Config::demo()
    };
    let harness = Harness::with(config).await;
    let mut client = harness.client().await;
    for status in [401, 401, 429] {
        assert_eq!(client.get("/accounts").await.status, status);
    }
    assert_eq!(client.signed("GET", "/accounts", "").await.status, 429);
    harness.stop().await;
}

#[tokio::test]
async fn a_port_in_trouble_has_its_own_statuses() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let body = limit("buy", "90", "1").to_string();
    let before = harness.port.index();
    for (trouble, status, retry) in [
        (
            PortError::Busy {
                retry_after_ms: 1_500,
            },
            503,
            Some("2"),
        ),
        (PortError::JournalFull, 503, Some("1")),
        (PortError::Unavailable, 503, Some("1")),
        (PortError::OutcomeUnknown, 504, None),
    ] {
        harness.port.answer_with(Some(trouble));
        let answer = client.signed("POST", "/orders", &body).await;
        assert_eq!(answer.refusal(), (status, trouble_text(trouble)));
        assert_eq!(answer.headers.get("retry-after").map(String::as_str), retry);
        client.get("/products").await.ok();
    }
    assert_eq!(harness.port.index(), before);
    let metrics = client.get("/metrics").await.body;
    assert!(
        metrics
            .as_str()
            .unwrap()
            .contains("gateway_outcomes_unknown_total 1"),
        "{metrics}"
    );
    harness.stop().await;
}

fn trouble_text(trouble: PortError) -> &'static str {
    match trouble {
        PortError::Busy { .. } => "the venue is busy, nothing was submitted",
        PortError::JournalFull => "the journal is full, nothing was submitted",
        PortError::Unavailable => "the venue is unavailable, nothing was submitted",
        PortError::OutcomeUnknown => "the command was submitted, its outcome is unknown",
    }
}

#[tokio::test]
async fn too_many_requests_at_once_are_refused_and_slow_ones_time_out() {
    let config = Config {
        requests_in_flight_max: 1,
        request_timeout_ms: 300,
        ..Config::demo()
    };
    let harness = Harness::with(config).await;
    let gate = harness.port.gate.lock().await;
    let mut slow = harness.client().await;
    let mut other = harness.client().await;
    let body = limit("buy", "90", "1").to_string();
    let (slow_answer, refused) = tokio::join!(slow.signed("POST", "/orders", &body), async {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let answer = other.get("/products").await;
            if answer.status == 503 {
                return answer;
            }
            assert!(Instant::now() < deadline);
            // A refusal closes the connection, a success does not.
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(
        slow_answer.refusal(),
        (504, "request timed out, its outcome is unknown")
    );
    assert_eq!(
        refused.refusal(),
        (503, "the venue is busy, nothing was submitted")
    );
    assert_eq!(refused.headers["retry-after"], "1");
    drop(gate);
    // The order that timed out was placed all the same, as its answer said it might be.
    let mut client = harness.client().await;
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let answer = client.signed("GET", "/orders", "").await;
        if answer.status == 200 && answer.body.as_array().unwrap().len() == 1 {
            break;
        }
        assert!(Instant::now() < deadline);
        client = harness.client().await;
    }
    harness.stop().await;
}

#[tokio::test]
async fn connections_over_the_bound_are_turned_away() {
    let config = Config {
        connections_max: 2,
        ..Config::demo()
    };
    let harness = Harness::with(config).await;
    let mut first = harness.client().await;
    let mut second = harness.client().await;
    first.get("/time").await.ok();
    second.get("/time").await.ok();
    let mut third = Client::connect(harness.address, None).await;
    assert_eq!(third.read().await.refusal(), (503, "too many connections"));
    drop(first);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut fourth = Client::connect(harness.address, None).await;
        fourth
            .write(b"GET /time HTTP/1.1\r\nHost: test\r\n\r\n")
            .await;
        let text = fourth.read_to_end_of_answer().await;
        if text.starts_with("HTTP/1.1 200") {
            break;
        }
        assert!(Instant::now() < deadline, "no room was made: {text}");
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_request_in_progress_ends_before_the_server_does() {
    let harness = Harness::start().await;
    let gate_owner = harness.port.clone();
    let gate = gate_owner.gate.lock().await;
    let mut client = harness.client().await;
    let mut idle = harness.client().await;
    idle.get("/time").await.ok();
    let body = limit("buy", "90", "1").to_string();
    let answer = tokio::spawn(async move { client.signed("POST", "/orders", &body).await });
    while harness.gateway.metrics().requests_in_flight.get() == 0 {
        tokio::task::yield_now().await;
    }
    let stopped = tokio::spawn(harness.stop());
    // Idle connections are closed at once, the busy one is not.
    assert_eq!(idle.read_to_end().await, b"");
    drop(gate);
    assert_eq!(answer.await.unwrap().ok()["status"], json!("open"));
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_panic_ends_one_request_and_is_counted() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let body = limit("buy", "90", "1").to_string();
    harness
        .port
        .panics
        .store(true, std::sync::atomic::Ordering::Relaxed);
    let answer = client.signed("POST", "/orders", &body).await;
    assert_eq!(answer.refusal(), (500, "internal server error"));
    assert!(answer.headers.contains_key("x-request-id"));
    harness
        .port
        .panics
        .store(false, std::sync::atomic::Ordering::Relaxed);
    client.signed("POST", "/orders", &body).await.ok();
    assert_eq!(harness.gateway.metrics().panics.get(), 1);
    assert_eq!(harness.gateway.metrics().requests_in_flight.get(), 0);
    harness.stop().await;
}
