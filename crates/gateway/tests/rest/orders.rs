//! Orders from placing to their end.

use everopen_domain::{Command, TradingPhase};
use serde_json::{Value, json};

use crate::support::{Client, Harness, in_seconds};

/// A limit order's body.
pub fn limit(side: &str, price: &str, size: &str) -> Value {
    json!({ "type": "limit", "side": side, "product_id": "BTC-USD", "price": price, "size": size })
}

/// Adds fields to a body.
pub fn with(mut body: Value, more: Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

pub async fn place(client: &mut Client, body: Value) -> Value {
    client
        .signed("POST", "/orders", &body.to_string())
        .await
        .ok()
}

async fn order(client: &mut Client, id: &Value) -> Value {
    client
        .signed("GET", &format!("/orders/{}", id.as_str().unwrap()), "")
        .await
        .ok()
}

fn amount_of(accounts: &Value, currency: &str, field: &str) -> String {
    let accounts = accounts.as_array().unwrap();
    let account = accounts
        .iter()
        .find(|account| account["currency"] == currency)
        .unwrap();
    account[field].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_limit_order_rests_holds_and_is_canceled() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let body = with(
        limit("buy", "100", "0.5"),
        json!({ "client_oid": "c1", "post_only": true }),
    );
    let placed = place(&mut client, body).await;
    for (field, expected) in [
        ("status", json!("open")),
        ("client_oid", json!("c1")),
        ("product_id", json!("BTC-USD")),
        ("side", json!("buy")),
        ("type", json!("limit")),
        ("price", json!("100.00")),
        ("size", json!("0.50000000")),
        ("stp", json!("dc")),
        ("time_in_force", json!("GTC")),
        ("post_only", json!(true)),
        ("fill_fees", json!("0.0000000000")),
        ("filled_size", json!("0.00000000")),
        ("executed_value", json!("0.0000000000")),
        ("settled", json!(false)),
    ] {
        assert_eq!(placed[field], expected, "{field}");
    }
    assert_eq!(placed.get("done_reason"), None);

    // What was acknowledged is visible at once.
    let accounts = client.signed("GET", "/accounts", "").await.ok();
    let hold: f64 = amount_of(&accounts, "USD", "hold").parse().unwrap();
    assert!(hold >= 50.0, "{hold}");
    assert_eq!(amount_of(&accounts, "USD", "balance"), "1000000.0000000000");
    assert_eq!(order(&mut client, &placed["id"]).await, placed);
    let by_client = client.signed("GET", "/orders/client:c1", "").await.ok();
    assert_eq!(by_client, placed);
    let open = client
        .signed("GET", "/orders?product_id=BTC-USD&limit=10", "")
        .await
        .ok();
    assert_eq!(open, json!([placed]));
    let book = client.get("/products/BTC-USD/book?level=2").await.ok();
    assert_eq!(book["bids"], json!([["100.00", "0.50000000", 1]]));

    // The same client id again is refused; so is a cancel in another product's name.
    let again = client
        .signed(
            "POST",
            "/orders",
            &with(limit("buy", "99", "1"), json!({ "client_oid": "c1" })).to_string(),
        )
        .await;
    assert_eq!(again.refusal(), (400, "duplicate client order id"));
    assert_eq!(again.body["reason"], "DuplicateClientOrderId");
    assert_eq!(again.body["code"], 12);

    // ccxt writes the product with a slash, in the body of the DELETE.
    let target = format!("/orders/{}", placed["id"].as_str().unwrap());
    let canceled = client
        .signed("DELETE", &target, r#"{"product_id":"BTC/USD"}"#)
        .await
        .ok();
    assert_eq!(canceled, placed["id"]);
    let done = order(&mut client, &placed["id"]).await;
    assert_eq!(done["status"], "done");
    assert_eq!(done["done_reason"], "canceled");
    assert_eq!(done["cancel_reason"], "requested");
    let twice = client.signed("DELETE", &target, "").await;
    assert_eq!(twice.refusal(), (400, "Order already done"));
    let accounts = client.signed("GET", "/accounts", "").await.ok();
    assert_eq!(amount_of(&accounts, "USD", "hold"), "0.0000000000");
    harness.stop().await;
}

#[tokio::test]
async fn a_trade_reaches_both_members() {
    let harness = Harness::start().await;
    let mut maker = harness.client().await;
    let mut taker = harness.other("bob").await;
    let resting = place(&mut maker, limit("sell", "100", "1")).await;
    let taken = place(&mut taker, limit("buy", "101", "0.4")).await;
    assert_eq!(taken["status"], "done");
    assert_eq!(taken["done_reason"], "filled");
    assert_eq!(taken["executed_value"], "40.0000000000");
    assert_eq!(taken["fill_fees"], "0.0800000000");
    assert_eq!(taken["settled"], true);
    let rest = order(&mut maker, &resting["id"]).await;
    assert_eq!(
        (&rest["status"], &rest["filled_size"]),
        (&json!("open"), &json!("0.40000000"))
    );

    let fills = taker
        .signed("GET", "/fills?product_id=BTC-USD", "")
        .await
        .ok();
    let fill = &fills[0];
    for (field, expected) in [
        ("side", json!("buy")),
        ("liquidity", json!("T")),
        ("price", json!("100.00")),
        ("size", json!("0.40000000")),
        ("fee", json!("0.0800000000")),
        ("usd_value", json!("40.0000000000")),
        ("order_id", taken["id"].clone()),
    ] {
        assert_eq!(fill[field], expected, "{field}");
    }
    let target = format!("/fills?order_id={}", resting["id"].as_str().unwrap());
    let fills = maker.signed("GET", &target, "").await.ok();
    assert_eq!(
        (&fills[0]["liquidity"], &fills[0]["side"]),
        (&json!("M"), &json!("sell"))
    );
    assert_eq!(fills[0]["fee"], "0.0400000000");
    // One member does not see the other's.
    let foreign = format!("/orders/{}", resting["id"].as_str().unwrap());
    assert_eq!(
        taker.signed("GET", &foreign, "").await.refusal(),
        (404, "NotFound")
    );
    assert_eq!(
        taker.signed("DELETE", &foreign, "").await.refusal(),
        (404, "order not found")
    );

    let accounts = taker.signed("GET", "/accounts", "").await.ok();
    assert_eq!(amount_of(&accounts, "BTC", "balance"), "100.40000000");
    assert_eq!(amount_of(&accounts, "USD", "balance"), "999959.9200000000");
    let usd = accounts
        .as_array()
        .unwrap()
        .iter()
        .find(|a| a["currency"] == "USD")
        .unwrap();
    let target = format!("/accounts/{}/ledger", usd["id"].as_str().unwrap());
    let ledger = taker.signed("GET", &target, "").await.ok();
    let kinds: Vec<_> = ledger
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["type"].as_str().unwrap())
        .collect();
    assert_eq!(kinds, ["fee", "match", "transfer"]);
    assert_eq!(ledger[0]["balance"], "999959.9200000000");
    assert_eq!(ledger[1]["amount"], "-40.0000000000");
    assert_eq!(ledger[1]["details"]["order_id"], taken["id"]);
    let fees = taker.signed("GET", "/fees", "").await.ok();
    assert_eq!(
        (&fees["maker_fee_rate"], &fees["taker_fee_rate"]),
        (&json!("0.001"), &json!("0.002"))
    );
    assert_eq!(fees["usd_volume"], "40.0000000000");
    harness.stop().await;
}

#[tokio::test]
async fn every_kind_of_order_is_taken() {
    let harness = Harness::start().await;
    let mut maker = harness.client().await;
    let mut client = harness.other("bob").await;
    place(&mut maker, limit("sell", "100", "10")).await;
    place(&mut maker, limit("buy", "90", "10")).await;
    let market = |side, more| {
        with(
            json!({ "type": "market", "side": side, "product_id": "BTC-USD" }),
            more,
        )
    };
    let filled = place(&mut client, market("buy", json!({ "size": "0.01" }))).await;
    assert_eq!(
        (&filled["status"], &filled["executed_value"]),
        (&json!("done"), &json!("1.0000000000"))
    );
    let funds = place(&mut client, market("buy", json!({ "funds": "5" }))).await;
    assert_eq!(funds["funds"], "5.0000000000");
    assert!(funds.get("size").is_none() && funds.get("price").is_none());
    assert_ne!(funds["filled_size"], "0.00000000");
    assert_eq!(
        funds["done_reason"], "filled",
        "its funds are used: that is all it was to do"
    );

    let ioc = place(
        &mut client,
        with(limit("buy", "95", "1"), json!({ "time_in_force": "IOC" })),
    )
    .await;
    assert_eq!(
        (&ioc["status"], &ioc["done_reason"]),
        (&json!("done"), &json!("canceled"))
    );
    let body = with(
        limit("buy", "100", "1000"),
        json!({ "time_in_force": "FOK" }),
    )
    .to_string();
    let fok = client.signed("POST", "/orders", &body).await;
    assert_eq!(
        fok.refusal(),
        (400, "fill-or-kill order could not be filled in full")
    );
    let body = with(limit("buy", "100", "1"), json!({ "time_in_force": "PO" })).to_string();
    let post_only = client.signed("POST", "/orders", &body).await;
    assert_eq!(
        post_only.refusal(),
        (400, "post-only order would take liquidity")
    );
    let gtt = json!({ "time_in_force": "GTT", "cancel_after": "min" });
    let gtt = place(&mut client, with(limit("buy", "80", "1"), gtt)).await;
    assert_eq!(
        (&gtt["status"], &gtt["time_in_force"]),
        (&json!("open"), &json!("GTT"))
    );
    assert!(gtt["expire_time"].is_string());
    let iceberg = place(
        &mut client,
        with(limit("buy", "81", "1"), json!({ "max_floor": "0.1" })),
    )
    .await;
    assert_eq!(iceberg["max_floor"], "0.10000000");
    let book = client.get("/products/BTC-USD/book?level=3").await.ok();
    assert!(book["bids"].as_array().unwrap().contains(&json!([
        "81.00",
        "0.10000000",
        iceberg["id"]
    ])));

    // The last trade was at 100: below it a stop is a loss, above it an entry.
    let stop = place(
        &mut client,
        with(limit("sell", "90", "0.01"), json!({ "stop_price": "91" })),
    )
    .await;
    assert_eq!(
        (&stop["status"], &stop["stop"]),
        (&json!("active"), &json!("loss"))
    );
    let entry = place(
        &mut client,
        with(limit("buy", "106", "0.01"), json!({ "stop_price": "105" })),
    )
    .await;
    assert_eq!(
        (&entry["status"], &entry["stop"]),
        (&json!("active"), &json!("entry"))
    );
    place(&mut client, market("sell", json!({ "size": "0.01" }))).await;
    let triggered = order(&mut client, &stop["id"]).await;
    assert_eq!(
        (&triggered["status"], &triggered["done_reason"]),
        (&json!("done"), &json!("filled"))
    );
    harness.stop().await;
}

#[tokio::test]
async fn orders_are_amended_replaced_listed_and_canceled_together() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let first = place(&mut client, limit("buy", "90", "1")).await;
    let target = format!("/orders/{}", first["id"].as_str().unwrap());
    let amended = client
        .signed("PUT", &target, r#"{"size":"0.5","price":"91"}"#)
        .await
        .ok();
    assert_eq!(
        (&amended["size"], &amended["price"]),
        (&json!("0.50000000"), &json!("91.00"))
    );
    assert_eq!(amended["id"], first["id"]);
    let same = client.signed("PUT", &target, r#"{"size":"0.5"}"#).await;
    assert_eq!(same.refusal(), (400, "amendment changes nothing"));
    assert_eq!(
        client.signed("PUT", &target, "{}").await.refusal(),
        (400, "price or size is required")
    );

    let body = limit("buy", "92", "2").to_string();
    let replaced = client
        .signed("POST", &format!("{target}/replace"), &body)
        .await
        .ok();
    assert_ne!(replaced["id"], first["id"]);
    let old = order(&mut client, &first["id"]).await;
    assert_eq!(old["cancel_reason"], "replaced");
    let again = client
        .signed("POST", &format!("{target}/replace"), &body)
        .await;
    assert_eq!(again.refusal(), (400, "Order already done"));

    for price in ["93", "94"] {
        place(&mut client, limit("buy", price, "1")).await;
    }
    let page = client.signed("GET", "/orders?limit=2", "").await;
    let (newest, oldest) = (
        page.headers["cb-before"].clone(),
        page.headers["cb-after"].clone(),
    );
    assert!(newest.parse::<u64>().unwrap() > oldest.parse::<u64>().unwrap());
    assert_eq!(page.ok().as_array().unwrap().len(), 2);
    let rest = client
        .signed("GET", &format!("/orders?limit=2&after={oldest}"), "")
        .await
        .ok();
    assert_eq!(rest, json!([replaced]));
    let all = client.signed("GET", "/orders?status=all", "").await.ok();
    assert_eq!(all.as_array().unwrap().len(), 4);
    let none = client
        .signed(
            "GET",
            "/orders?status=done&end_date=2020-01-01T00:00:00Z",
            "",
        )
        .await
        .ok();
    assert_eq!(none, json!([]));

    let canceled = client
        .signed("DELETE", "/orders?product_id=BTC-USD", "")
        .await
        .ok();
    assert_eq!(canceled.as_array().unwrap().len(), 3);
    assert_eq!(client.signed("GET", "/orders", "").await.ok(), json!([]));
    // Again, and by the body, with the slash.
    let nothing = client
        .signed("DELETE", "/orders", r#"{"product_id":"BTC/USD"}"#)
        .await
        .ok();
    assert_eq!(nothing, json!([]));
    harness.stop().await;
}

#[tokio::test]
async fn a_size_that_self_trade_prevention_shrank_is_the_orders_size() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    place(&mut client, limit("buy", "100", "4")).await;
    let placed = place(&mut client, limit("sell", "100", "10")).await;
    let sizes = |order: &Value| {
        ["status", "size", "filled_size", "remaining_size"].map(|field| order[field].clone())
    };
    let expected = ["open", "6.00000000", "0.00000000", "6.00000000"].map(|text| json!(text));
    assert_eq!(sizes(&placed), expected);
    assert_eq!(order(&mut client, &placed["id"]).await, placed);
    let target = format!("/orders/{}", placed["id"].as_str().unwrap());
    let same = client.signed("PUT", &target, r#"{"size":"6"}"#).await;
    assert_eq!(same.refusal(), (400, "amendment changes nothing"));
    let amended = client.signed("PUT", &target, r#"{"size":"5"}"#).await.ok();
    let expected = ["open", "5.00000000", "0.00000000", "5.00000000"].map(|text| json!(text));
    assert_eq!(sizes(&amended), expected);
    harness.stop().await;
}

#[tokio::test]
async fn the_venues_refusals_have_the_texts_that_clients_know() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let mut refused = async |body: Value, expected: (u16, &str)| {
        let answer = client.signed("POST", "/orders", &body.to_string()).await;
        assert_eq!(answer.refusal(), expected);
    };
    refused(limit("buy", "100000000", "1"), (400, "Insufficient funds")).await;
    refused(
        limit("buy", "100", "0.00000001"),
        (400, "size is too small"),
    )
    .await;
    refused(limit("buy", "100", "1000000"), (400, "size is too large")).await;
    refused(
        with(limit("buy", "1", "1"), json!({ "product_id": "DOGE-USD" })),
        (404, "Product not found"),
    )
    .await;
    refused(
        json!({ "type": "market", "side": "buy", "product_id": "BTC-USD", "size": "1" }),
        (400, "no liquidity"),
    )
    .await;
    let phase = |phase| Command::SetTradingPhase {
        instrument: everopen_domain::InstrumentId(0),
        phase,
    };
    harness.operator(phase(TradingPhase::CancelOnly));
    refused(limit("buy", "100", "1"), (400, "Cancel only mode")).await;
    harness.operator(phase(TradingPhase::Halted));
    refused(
        limit("buy", "100", "1"),
        (400, "trading is halted: product is under maintenance"),
    )
    .await;
    let product = client.get("/products/BTC-USD").await.ok();
    assert_eq!(
        (&product["status"], &product["trading_disabled"]),
        (&json!("offline"), &json!(true))
    );
    harness.stop().await;
}

#[tokio::test]
async fn an_expired_order_is_not_among_the_canceled() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let kept = place(&mut client, limit("buy", "90", "1")).await;
    let soon = everopen_views::clock_text::Iso(in_seconds(2)).to_string();
    let gtt = json!({ "time_in_force": "GTT", "expire_time": soon });
    let dated = place(&mut client, with(limit("buy", "91", "1"), gtt)).await;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    loop {
        harness.operator(Command::Tick);
        if order(&mut client, &dated["id"]).await["cancel_reason"] == "expired" {
            break;
        }
        assert!(
            std::time::Instant::now() < deadline,
            "the order did not expire"
        );
    }
    let canceled = client.signed("DELETE", "/orders", "").await.ok();
    assert_eq!(canceled, json!([kept["id"]]));
    harness.stop().await;
}
