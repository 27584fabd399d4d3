//! Who may ask, and only once.

use everopen_domain::Command;
use everopen_gateway::{Config, KeyStore, Permissions};
use serde_json::json;

use crate::orders::limit;
use crate::support::{Harness, now_s, signature};

#[tokio::test]
async fn requests_without_a_good_signature_are_refused_by_name() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let now = now_s().to_string();
    let key = harness.key.clone();
    let good = signature(&key.secret, &now, "GET", "/accounts", "");
    let headers = |key: &str, sign: &str, timestamp: &str, passphrase: &str| {
        [
            ("CB-ACCESS-KEY", key.to_owned()),
            ("CB-ACCESS-SIGN", sign.to_owned()),
            ("CB-ACCESS-TIMESTAMP", timestamp.to_owned()),
            ("CB-ACCESS-PASSPHRASE", passphrase.to_owned()),
        ]
    };
    let old = (now_s() - 31).to_string();
    let old_sign = signature(&key.secret, &old, "GET", "/accounts", "");
    for (given, message) in [
        (
            headers("nobody", &good, &now, &key.passphrase),
            "Invalid API Key",
        ),
        (
            headers(&key.key, "bm9uc2Vuc2U=", &now, &key.passphrase),
            "invalid signature",
        ),
        (
            headers(&key.key, &good, &now, "guess"),
            "Invalid Passphrase",
        ),
        (
            headers(&key.key, &old_sign, &old, &key.passphrase),
            "request timestamp expired",
        ),
        (
            headers(&key.key, "", &now, &key.passphrase),
            "CB-ACCESS-SIGN header is required",
        ),
    ] {
        let given: Vec<_> = given
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let answer = client.with_headers("GET", "/accounts", &given, "").await;
        assert_eq!(answer.refusal(), (401, message));
    }
    assert_eq!(
        client.get("/accounts").await.refusal(),
        (401, "CB-ACCESS-KEY header is required")
    );
    client.signed("GET", "/accounts", "").await.ok();
    let fractional = format!("{now}.25");
    client
        .signed_at(&fractional, "GET", "/accounts", "")
        .await
        .ok();
    harness.stop().await;
}

#[tokio::test]
async fn the_query_is_signed_as_it_was_sent() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    for target in [
        "/orders?product_id=BTC%2DUSD&status=all",
        "/orders?product_id=BTC/USD",
        "/orders?product_id=BTC%2fUSD",
        "/orders?status=open&status=pending",
        "/orders?",
    ] {
        client.signed("GET", target, "").await.ok();
    }
    harness.stop().await;
}

#[tokio::test]
async fn a_captured_request_does_not_work_from_another_connection() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let mut thief = harness.client().await;
    let body = limit("buy", "90", "1").to_string();
    let now = now_s().to_string();
    client.signed_at(&now, "POST", "/orders", &body).await.ok();
    let replayed = thief.signed_at(&now, "POST", "/orders", &body).await;
    assert_eq!(replayed.refusal(), (401, everopen_gateway::auth::REPLAYED));
    // Two like orders within a second sign alike; from the one who sent the first they are two.
    client.signed_at(&now, "POST", "/orders", &body).await.ok();
    let open = client.signed("GET", "/orders", "").await.ok();
    assert_eq!(open.as_array().unwrap().len(), 2);
    // Reading twice does no harm.
    client.signed_at(&now, "GET", "/orders", "").await.ok();
    thief.signed_at(&now, "GET", "/orders", "").await.ok();
    harness.stop().await;
}

#[tokio::test]
async fn a_key_does_only_what_it_may() {
    let harness = Harness::start().await;
    let key = |view, trade, transfer| {
        let permissions = Permissions {
            view,
            trade,
            transfer,
        };
        harness
            .keys
            .create(harness.member, "", permissions, vec![])
            .unwrap()
    };
    let order = limit("buy", "90", "1").to_string();
    let deposit = json!({ "currency": "USD", "amount": "1" }).to_string();
    let requests = [
        ("GET", "/accounts", ""),
        ("POST", "/orders", order.as_str()),
        ("POST", "/deposits/payment-method", deposit.as_str()),
    ];
    for may in 0..3 {
        let mut client = harness.client_of(&key(may == 0, may == 1, may == 2)).await;
        for (at, (method, target, body)) in requests.into_iter().enumerate() {
            let answer = client.signed(method, target, body).await;
            if at == may {
                answer.ok();
            } else {
                let (status, message) = answer.refusal();
                assert_eq!(status, 403);
                assert!(
                    message.starts_with("Forbidden: this key lacks"),
                    "{message}"
                );
            }
        }
    }
    let elsewhere = vec!["192.0.2.0/24".parse().unwrap()];
    let fenced = harness
        .keys
        .create(harness.member, "", Permissions::ALL, elsewhere)
        .unwrap();
    let mut client = harness.client_of(&fenced).await;
    assert_eq!(client.signed("GET", "/accounts", "").await.refusal().0, 403);
    harness.stop().await;
}

#[tokio::test]
async fn keys_come_and_go_while_the_gateway_runs() {
    let config = Config {
        keys_reload_ms: 10,
        ..Config::demo()
    };
    let harness = Harness::with(config).await;
    // Another process on the same directory, as `member add` is.
    let theirs = KeyStore::open(harness.key_dir()).unwrap();
    let new = theirs
        .create(harness.member, "later", Permissions::ALL, vec![])
        .unwrap();
    let mut client = harness.client_of(&new).await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let mut until = async |status: u16| {
        while client.signed("GET", "/accounts", "").await.status != status {
            assert!(std::time::Instant::now() < deadline, "never {status}");
            tokio::task::yield_now().await;
        }
    };
    until(200).await;
    theirs.revoke(&new.key).unwrap();
    until(401).await;
    harness.stop().await;
}

#[tokio::test]
async fn a_killed_member_can_not_trade() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    harness.operator(Command::EngageKillSwitch {
        member: Some(harness.member),
    });
    let answer = client
        .signed("POST", "/orders", &limit("buy", "90", "1").to_string())
        .await;
    assert_eq!(
        answer.refusal(),
        (400, "trading is stopped by the member's kill switch")
    );
    let accounts = client.signed("GET", "/accounts", "").await.ok();
    assert_eq!(accounts[0]["trading_enabled"], false);
    harness.stop().await;
}
