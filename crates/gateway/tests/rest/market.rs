//! What everybody may read.

use everopen_domain::{Command, InstrumentId, TradingPhase};
use serde_json::json;

use crate::orders::{limit, place};
use crate::support::{Harness, now_s};

#[tokio::test]
async fn reference_data_has_what_clients_load() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let root = client.get("/").await.ok();
    assert_eq!(root["name"], "Everopen");
    let time = client.get("/time").await.ok();
    assert!((time["epoch"].as_f64().unwrap() - now_s() as f64).abs() < 5.0);
    assert!(time["iso"].as_str().unwrap().ends_with('Z'));
    let currencies = client.get("/currencies").await.ok();
    assert_eq!(currencies[0]["id"], "BTC");
    assert_eq!(currencies[0]["max_precision"], "0.00000001");
    assert_eq!(currencies[0]["details"]["type"], "crypto");
    assert_eq!(
        client.get("/currencies/USD").await.ok()["details"]["type"],
        "fiat"
    );
    assert_eq!(
        client.get("/currencies/XXX").await.refusal(),
        (404, "NotFound")
    );
    let products = client.get("/products").await.ok();
    let product = &products[0];
    for (field, expected) in [
        ("id", json!("BTC-USD")),
        ("base_increment", json!("0.00000001")),
        ("quote_increment", json!("0.01")),
        ("status", json!("online")),
        ("trading_disabled", json!(false)),
        ("auction_mode", json!(false)),
        ("base_min_size", json!("0.00001")),
    ] {
        assert_eq!(product[field], expected, "{field}");
    }
    assert_eq!(client.get("/products/BTC-USD").await.ok(), *product);
    assert_eq!(
        client.get("/products/X-Y").await.refusal(),
        (404, "NotFound")
    );
    let live = client.get("/health/live").await.ok();
    assert_eq!(live, json!({ "status": "live" }));
    let ready = client.get("/health/ready").await.ok();
    assert_eq!(
        (&ready["status"], &ready["products"]),
        (&json!("ready"), &json!(1))
    );
    assert_eq!(ready["index"], harness.port.index().0);
    harness.stop().await;
}

#[tokio::test]
async fn market_data_follows_trades() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let mut other = harness.other("bob").await;
    let ticker = client.get("/products/BTC-USD/ticker").await.ok();
    assert!(ticker.get("price").is_none(), "nothing traded yet");
    for price in ["100", "101", "102"] {
        place(&mut client, limit("sell", price, "1")).await;
    }
    place(&mut client, limit("buy", "90", "1")).await;
    place(&mut other, limit("buy", "101", "2")).await;
    let ticker = client.get("/products/BTC-USD/ticker").await.ok();
    assert_eq!(ticker["price"], "101.00");
    assert_eq!(
        (&ticker["bid"], &ticker["ask"]),
        (&json!("90.00"), &json!("102.00"))
    );
    assert_eq!(ticker["volume"], "2.00000000");
    let stats = client.get("/products/BTC-USD/stats").await.ok();
    assert_eq!(
        (&stats["open"], &stats["high"]),
        (&json!("100.00"), &json!("101.00"))
    );
    assert_eq!(
        (&stats["low"], &stats["last"]),
        (&json!("100.00"), &json!("101.00"))
    );

    let trades = client.get("/products/BTC-USD/trades?limit=1").await;
    assert_eq!(
        (&trades.headers["cb-before"], &trades.headers["cb-after"]),
        (&"2".into(), &"2".into())
    );
    let trades = trades.ok();
    assert_eq!(trades[0]["side"], "sell", "the maker's side");
    assert_eq!(trades[0]["trade_id"], 2);
    let older = client.get("/products/BTC-USD/trades?after=2").await.ok();
    assert_eq!(older[0]["trade_id"], 1);
    assert_eq!(
        client.get("/products/BTC-USD/trades?before=2").await.ok(),
        json!([])
    );

    let candles = client
        .get("/products/BTC-USD/candles?granularity=60")
        .await
        .ok();
    let rows = candles.as_array().unwrap();
    let volume: f64 = rows.iter().map(|row| row[5].as_f64().unwrap()).sum();
    assert_eq!(volume, 2.0);
    assert_eq!(rows[0][4], json!(101));
    let sparks = client.get("/products/spark-lines").await.ok();
    assert_eq!(sparks["BTC-USD"][0][4], json!(101));

    let book = client.get("/products/BTC-USD/book").await.ok();
    assert_eq!(book["asks"], json!([["102.00", "1.00000000", 1]]));
    let full = client.get("/products/BTC-USD/book?level=3").await.ok();
    assert_eq!(full["sequence"], book["sequence"]);
    assert!(full["asks"][0][2].is_string());
    harness.stop().await;
}

#[tokio::test]
async fn wrong_questions_are_refused() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    for (target, status, message) in [
        (
            "/products/BTC-USD/book?level=4",
            400,
            "level must be 1, 2 or 3",
        ),
        (
            "/products/BTC-USD/candles?granularity=61",
            400,
            "Unsupported granularity",
        ),
        (
            "/products/BTC-USD/candles?granularity=60&start=2026-01-01&end=2026-01-02",
            400,
            "granularity too small for the requested time range: at most 300 candles",
        ),
        (
            "/products/BTC-USD/candles?start=yesterday",
            400,
            "start is not an ISO 8601 time",
        ),
        (
            "/products/BTC-USD/trades?limit=0",
            400,
            "limit must be at least 1",
        ),
        (
            "/products/BTC-USD/trades?limit=-1",
            400,
            "limit must be a whole number",
        ),
        (
            "/products/BTC-USD/trades?after=x",
            400,
            "after is not a cursor",
        ),
        (
            "/products/BTC-USD/trades?limit=1&limit=2",
            400,
            "limit is given twice",
        ),
        ("/products/NO-PE/trades", 404, "NotFound"),
        ("/nowhere", 404, "Route not found"),
        ("/products/%ff", 400, "path is not percent-encoded UTF-8"),
    ] {
        assert_eq!(
            client.get(target).await.refusal(),
            (status, message),
            "{target}"
        );
    }
    let wrong = client.plain("PATCH", "/products", "").await;
    assert_eq!(wrong.refusal(), (405, "Method not allowed"));
    harness.stop().await;
}

#[tokio::test]
async fn an_auction_is_shown() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let mut other = harness.other("bob").await;
    let instrument = InstrumentId(0);
    harness.operator(Command::SetTradingPhase {
        instrument,
        phase: TradingPhase::Auction,
    });
    place(&mut client, limit("buy", "101", "2")).await;
    place(&mut other, limit("sell", "100", "1")).await;
    let product = client.get("/products/BTC-USD").await.ok();
    assert_eq!(product["auction_mode"], true);
    let book = client.get("/products/BTC-USD/book?level=2").await.ok();
    assert_eq!(book["auction"]["open_size"], "1.00000000");
    assert_eq!(book["auction"]["surplus_side"], "buy");
    harness.stop().await;
}
