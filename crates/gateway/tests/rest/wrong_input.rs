//! What is no request, or too much of one. After each of these the gateway still serves.

use everopen_gateway::Config;

use crate::orders::limit;
use crate::support::{Client, Harness, now_s, signature};

/// Asserts that a new connection is served.
async fn still_serves(harness: &Harness) {
    harness.client().await.get("/time").await.ok();
    assert_eq!(harness.gateway.metrics().panics.get(), 0);
}

#[tokio::test]
async fn bodies_that_are_no_object_are_refused() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    for body in [
        "{",
        "[]",
        "\"x\"",
        "{\"price\":NaN}",
        "{'side':'buy'}",
        "nonsense",
        "{}{}",
    ] {
        let answer = client.signed("POST", "/orders", body).await;
        let (status, message) = answer.refusal();
        assert_eq!(status, 400);
        assert!(
            message.starts_with("request body is not a JSON object"),
            "{message}"
        );
    }
    let twice = r#"{"side":"buy","side":"sell"}"#;
    let answer = client.signed("POST", "/orders", twice).await;
    assert_eq!(answer.refusal(), (400, "side is given twice"));
    let answer = client.signed("POST", "/orders", "").await;
    assert_eq!(answer.refusal(), (400, "product_id is required"));
    let deep = format!("{{\"x\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    assert_eq!(client.signed("POST", "/orders", &deep).await.status, 400);
    // The signature comes first: what is unsigned is not parsed.
    assert_eq!(client.plain("POST", "/orders", "{").await.status, 401);
    still_serves(&harness).await;
    harness.stop().await;
}

#[tokio::test]
async fn wrong_numbers_in_orders_are_refused_without_a_command() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let before = harness.port.index();
    for (price, size) in [
        ("NaN", "1"),
        ("-1", "1"),
        ("1e2", "1"),
        ("100.001", "1"),
        ("0", "1"),
        ("99999999999999999999999999999999999999999", "1"),
        ("100", "inf"),
        ("100", "-0.1"),
        ("100", "0.000000001"),
        ("100", "0"),
        ("100", ""),
        (" 100", "1"),
        ("100", "1,5"),
        ("0x10", "1"),
    ] {
        let body = limit("buy", price, size).to_string();
        let answer = client.signed("POST", "/orders", &body).await;
        assert_eq!(answer.refusal().0, 400, "{price} {size}");
    }
    assert_eq!(harness.port.index(), before);
    still_serves(&harness).await;
    harness.stop().await;
}

#[tokio::test]
async fn a_body_of_ten_megabytes_is_not_read() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let body = " ".repeat(10 << 20);
    let answer = client.signed("POST", "/orders", &body).await;
    assert_eq!(answer.refusal(), (413, "request body is too long"));
    assert_eq!(answer.headers["connection"], "close");

    // The same without an announced length.
    let mut client = harness.client().await;
    let head = "POST /orders HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.write(head.as_bytes()).await;
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    for _ in 0..4 {
        client.write(chunk.as_bytes()).await;
    }
    assert_eq!(
        client.read().await.refusal(),
        (413, "request body is too long")
    );
    still_serves(&harness).await;
    harness.stop().await;
}

#[tokio::test]
async fn half_a_request_does_not_hold_its_connection() {
    let config = Config {
        header_timeout_ms: 200,
        body_timeout_ms: 200,
        ..Config::demo()
    };
    let harness = Harness::with(config).await;
    let mut half_head = Client::connect(harness.address, None).await;
    half_head.write(b"GET /time HTTP/1.1\r\nHost: te").await;
    let mut nothing = Client::connect(harness.address, None).await;
    let mut half_body = Client::connect(harness.address, None).await;
    half_body
        .write(b"POST /orders HTTP/1.1\r\nHost: test\r\nContent-Length: 10\r\n\r\n{")
        .await;
    half_head.read_to_end().await;
    assert_eq!(nothing.read_to_end().await, b"");
    assert_eq!(
        half_body.read().await.refusal(),
        (408, "request body took too long")
    );
    half_body.read_to_end().await;
    still_serves(&harness).await;
    harness.stop().await;
}

#[tokio::test]
async fn bytes_that_are_no_http_end_their_connection_only() {
    let harness = Harness::start().await;
    let long_header = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let many_headers = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(500));
    let long_target = format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(1 << 20));
    for bytes in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"\0\0\0\0\r\n\r\n",
        b"HELO there\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST /orders HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        long_header.as_bytes(),
        many_headers.as_bytes(),
        long_target.as_bytes(),
    ] {
        let mut client = Client::connect(harness.address, None).await;
        client.write(bytes).await;
        let answer = client.read_to_end().await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
    }
    still_serves(&harness).await;
    harness.stop().await;
}

#[tokio::test]
async fn ids_of_any_shape_find_nothing() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    for (target, expected) in [
        ("/orders/d0c5340b", (400, "Invalid order id")),
        (
            "/orders/00000000-0000-4000-8000-000000000000",
            (404, "NotFound"),
        ),
        ("/orders/client:never", (404, "NotFound")),
        (
            "/orders/client:",
            (400, "order id or client order id is required"),
        ),
        ("/orders/%00", (400, "Invalid order id")),
        ("/accounts/1", (404, "NotFound")),
        (
            "/accounts/00000000-0000-4000-8000-000000000000",
            (404, "NotFound"),
        ),
        ("/transfers/99999999999999999999999", (404, "NotFound")),
        ("/transfers/7777", (404, "NotFound")),
        ("/fills?order_id=x", (400, "Invalid order id")),
        ("/fills?product_id=NO-PE", (404, "Product not found")),
        (
            "/orders?status=wrong",
            (400, "status must be open, pending, active, done or all"),
        ),
    ] {
        let answer = client.signed("GET", target, "").await;
        assert_eq!(answer.refusal(), expected, "{target}");
    }
    still_serves(&harness).await;
    harness.stop().await;
}

#[tokio::test]
async fn requests_in_one_go_are_answered_in_order() {
    let harness = Harness::start().await;
    let mut client = harness.client().await;
    let now = now_s().to_string();
    let key = &harness.key;
    let sign = signature(&key.secret, &now, "GET", "/fees", "");
    let signed = format!(
        "GET /fees HTTP/1.1\r\nHost: test\r\nCB-ACCESS-KEY: {}\r\nCB-ACCESS-SIGN: {sign}\r\n\
         CB-ACCESS-TIMESTAMP: {now}\r\nCB-ACCESS-PASSPHRASE: {}\r\n\r\n",
        key.key, key.passphrase
    );
    let text = format!("GET /time HTTP/1.1\r\nHost: test\r\n\r\n{signed}");
    client.write(text.as_bytes()).await;
    assert!(client.read().await.ok()["iso"].is_string());
    assert!(client.read().await.ok()["maker_fee_rate"].is_string());
    harness.stop().await;
}

#[tokio::test]
async fn a_client_that_never_reads_is_given_up() {
    let config = Config {
        send_timeout_ms: 300,
        ..Config::demo()
    };
    let harness = Harness::with(config).await;
    let client = Client::connect(harness.address, None).await;
    // Far more answers than the sockets' buffers hold.
    let requests = "GET /openapi.json HTTP/1.1\r\nHost: test\r\n\r\n".repeat(2_000);
    let writer = tokio::spawn(async move {
        let mut client = client;
        client.write(requests.as_bytes()).await;
        client
    });
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(15);
    let open = || harness.gateway.metrics().connections.get();
    while open() == 0 {
        assert!(std::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
    while open() > 0 {
        assert!(
            std::time::Instant::now() < deadline,
            "the connection is still open"
        );
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    drop(writer.await.unwrap());
    still_serves(&harness).await;
    harness.stop().await;
}
