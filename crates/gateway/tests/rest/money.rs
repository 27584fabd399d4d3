//! Money that comes and goes.

use everopen_gateway::Config;
use serde_json::json;

use crate::support::Harness;

#[tokio::test]
async fn a_demonstration_credits_and_pays_out_by_request() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let body = json!({ "currency": "USD", "amount": "12.5", "reference": "r1" }).to_string();
    let deposit = client
        .signed("POST", "/deposits/payment-method", &body)
        .await
        .ok();
    assert_eq!(
        (&deposit["status"], &deposit["amount"]),
        (&json!("completed"), &json!("12.5000000000"))
    );
    let again = client
        .signed("POST", "/deposits/coinbase-account", &body)
        .await;
    assert_eq!(again.refusal(), (400, "duplicate reference"));

    // Amounts come as JSON numbers, small ones with an exponent.
    let body = r#"{"currency":"BTC","amount":1e-08,"crypto_address":"bc1q-somewhere"}"#;
    let paid = client
        .signed("POST", "/withdrawals/crypto", body)
        .await
        .ok();
    assert_eq!(
        (&paid["status"], &paid["amount"]),
        (&json!("completed"), &json!("0.00000001"))
    );
    let target = format!("/transfers/{}", paid["id"].as_str().unwrap());
    let transfer = client.signed("GET", &target, "").await.ok();
    assert_eq!(transfer["type"], "withdraw");
    assert_eq!(transfer["details"]["crypto_address"], "bc1q-somewhere");
    assert!(transfer["completed_at"].is_string() && transfer["processed_at"].is_string());

    let body = r#"{"currency":"BTC","amount":1000,"crypto_address":"x"}"#;
    let refused = client.signed("POST", "/withdrawals/crypto", body).await;
    assert_eq!(refused.refusal(), (400, "Insufficient funds"));
    let all = client.signed("GET", "/transfers", "").await.ok();
    let kinds: Vec<_> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["withdraw", "deposit", "deposit", "deposit"]);
    let deposits = client
        .signed("GET", "/transfers?type=deposit&limit=1", "")
        .await
        .ok();
    assert_eq!(deposits[0]["id"], deposit["id"]);
    let account = deposits[0]["account_id"].as_str().unwrap();
    let of_account = client
        .signed("GET", &format!("/accounts/{account}/transfers"), "")
        .await
        .ok();
    assert_eq!(of_account.as_array().unwrap().len(), 2);
    harness.stop().await;
}

#[tokio::test]
async fn otherwise_deposits_are_the_operators_and_withdrawals_wait() {
    let config = Config {
        demo_deposits: false,
        demo_withdrawals: false,
        ..Config::demo()
    };
    let harness = Harness::with(config).await;
    let mut client = harness.client().await;
    let body = json!({ "currency": "USD", "amount": "1" }).to_string();
    let refused = client
        .signed("POST", "/deposits/payment-method", &body)
        .await;
    assert_eq!(refused.status, 403);
    let body = r#"{"currency":"BTC","amount":"2","crypto_address":"x"}"#;
    let pending = client
        .signed("POST", "/withdrawals/crypto", body)
        .await
        .ok();
    assert_eq!(pending["status"], "pending");
    let id = pending["id"].as_str().unwrap().to_owned();
    let accounts = client.signed("GET", "/accounts", "").await.ok();
    assert_eq!(accounts[0]["hold"], "2.00000000");
    let account = accounts[0]["id"].as_str().unwrap();
    let holds = client
        .signed("GET", &format!("/accounts/{account}/holds"), "")
        .await
        .ok();
    assert_eq!(
        (&holds[0]["type"], &holds[0]["amount"]),
        (&json!("transfer"), &json!("2.00000000"))
    );

    // Only its member can cancel it, and once.
    let mut other = harness.other("bob").await;
    let target = format!("/withdrawals/{id}");
    assert_eq!(
        other.signed("DELETE", &target, "").await.refusal(),
        (404, "NotFound")
    );
    let foreign = format!("/accounts/{account}");
    assert_eq!(
        other.signed("GET", &foreign, "").await.refusal(),
        (404, "NotFound")
    );
    let canceled = client.signed("DELETE", &target, "").await.ok();
    assert_eq!(canceled["status"], "canceled");
    let twice = client.signed("DELETE", &target, "").await;
    assert!(matches!(twice.status, 400 | 404), "{}", twice.body);
    let accounts = client.signed("GET", "/accounts", "").await.ok();
    assert_eq!(accounts[0]["hold"], "0.00000000");
    harness.stop().await;
}

#[tokio::test]
async fn wrong_amounts_are_refused() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    for (currency, amount, message) in [
        ("USD", json!("0"), "amount must be positive"),
        ("USD", json!("-1"), "amount must not be negative"),
        (
            "USD",
            json!("1.00000000001"),
            "amount too precise: at most 10 decimals",
        ),
        ("USD", json!("NaN"), "amount must be a plain decimal number"),
        ("USD", json!(null), "amount is required"),
        ("XXX", json!("1"), "currency not found"),
    ] {
        let body = json!({ "currency": currency, "amount": amount }).to_string();
        let answer = client
            .signed("POST", "/deposits/payment-method", &body)
            .await;
        assert_eq!(answer.refusal().1, message);
    }
    let huge = r#"{"currency":"USD","amount":1e28}"#;
    let answer = client
        .signed("POST", "/deposits/payment-method", huge)
        .await;
    assert_eq!(answer.status, 400, "{}", answer.body);
    harness.stop().await;
}
