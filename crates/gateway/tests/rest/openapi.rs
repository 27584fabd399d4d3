//! The served document against real answers: every operation is tried once.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::orders::{limit, place};
use crate::support::Harness;

#[tokio::test]
async fn every_operation_answers_as_described() {
    let config = everopen_gateway::Config {
        demo_withdrawals: false,
        ..everopen_gateway::Config::demo()
    };
    let harness = Harness::with(config).await;
    let mut client = harness.client().await;
    let mut other = harness.other("bob").await;
    place(&mut other, limit("sell", "100", "1")).await;
    let taken = place(&mut client, limit("buy", "100", "1")).await;
    let open = place(&mut client, limit("buy", "90", "1")).await;
    let to_amend = open["id"].as_str().unwrap().to_owned();
    let open = place(&mut client, limit("buy", "90", "1")).await;
    let to_replace = open["id"].as_str().unwrap().to_owned();
    let open = place(&mut client, limit("buy", "90", "1")).await;
    let to_cancel = open["id"].as_str().unwrap().to_owned();
    let order = limit("buy", "80", "1").to_string();
    let deposit = json!({ "currency": "USD", "amount": "1" }).to_string();
    let withdrawal = json!({ "currency": "USD", "amount": "1", "crypto_address": "x" }).to_string();
    let withdrawn = client
        .signed("POST", "/withdrawals/crypto", &withdrawal)
        .await
        .ok();
    let transfer = withdrawn["id"].as_str().unwrap();
    let accounts = client.signed("GET", "/accounts", "").await.ok();
    let account = accounts[1]["id"].as_str().unwrap();

    let document = client.get("/openapi.json").await.ok();
    assert_eq!(document["openapi"], "3.1.0");
    let mut tried = BTreeSet::new();
    let fill = |template: &str, method: &str| {
        let order = match (method, template) {
            ("PUT", _) => &to_amend,
            ("DELETE", _) => &to_cancel,
            (_, "/orders/{order_id}/replace") => &to_replace,
            _ => taken["id"].as_str().unwrap(),
        };
        template
            .replace("{product_id}", "BTC-USD")
            .replace("{currency_id}", "BTC")
            .replace("{account_id}", account)
            .replace("{transfer_id}", transfer)
            .replace("{order_id}", order)
    };
    // What takes everything away comes last.
    let mut operations: Vec<_> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            methods
                .as_object()
                .unwrap()
                .iter()
                .map(move |(m, o)| (path.clone(), m.to_uppercase(), o))
        })
        .collect();
    operations.sort_by_key(|(path, method, _)| (method == "DELETE", path == "/orders"));
    for (path, method, operation) in operations {
        let mut target = fill(&path, &method);
        if path == "/withdrawals/fee-estimate" {
            target.push_str("?currency=USD");
        }
        let body = match (method.as_str(), path.as_str()) {
            ("POST", "/orders" | "/orders/{order_id}/replace") => order.as_str(),
            ("PUT", _) => r#"{"size":"0.5"}"#,
            ("POST", path) if path.starts_with("/deposits") => &deposit,
            ("POST", "/withdrawals/crypto") => &withdrawal,
            _ => "",
        };
        let answer = match operation.get("security") {
            Some(_) => client.signed(&method, &target, body).await,
            None => client.plain(&method, &target, body).await,
        };
        let kind = answer.headers["content-type"].clone();
        let body = answer.ok();
        let content = &operation["responses"]["200"]["content"];
        let schema = content
            .get(&kind)
            .unwrap_or_else(|| panic!("{path}: {kind} in {content}"));
        check(&schema["schema"], &body, &format!("{method} {path}"));
        tried.insert((method, path));
    }
    assert!(tried.len() >= 40, "{}", tried.len());

    // Unsigned, what needs a signature refuses, in the described form.
    let error = &document["components"]["schemas"]["Error"];
    for (method, path) in &tried {
        let operation = &document["paths"][path][method.to_lowercase()];
        if operation.get("security").is_some() {
            let answer = client.plain(method, &fill(path, method), "").await;
            assert_eq!(answer.status, 401, "{method} {path}");
            check(error, &answer.body, "error");
        }
    }
    harness.stop().await;
}

/// Checks a value against the part of JSON Schema that the document uses; what an object's schema
/// does not name may not be there.
fn check(schema: &Value, value: &Value, at: &str) {
    let kinds = match &schema["type"] {
        Value::String(kind) => vec![kind.as_str()],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => panic!("{at}: a schema without a type: {schema}"),
    };
    let fits = kinds.iter().any(|kind| match *kind {
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{at}: type {other} is not used here"),
    });
    assert!(fits, "{at}: {value} is no {kinds:?}");
    match value {
        Value::Object(fields) => check_object(schema, fields, at),
        Value::Array(items) => {
            if let Some(places) = schema.get("prefixItems").and_then(Value::as_array) {
                assert_eq!(places.len(), items.len(), "{at}");
                for (place, item) in places.iter().zip(items) {
                    check(place, item, at);
                }
            } else {
                for item in items {
                    check(&schema["items"], item, &format!("{at}[]"));
                }
            }
        }
        Value::String(text) => {
            let plain = |text: &str| {
                text.bytes()
                    .all(|b| b.is_ascii_digit() || b"-.".contains(&b))
            };
            match schema.get("pattern") {
                Some(_) => assert!(!text.is_empty() && plain(text), "{at}: {text}"),
                None if schema.get("format").is_some() => {
                    assert!(
                        everopen_views::clock_text::parse(text).is_ok(),
                        "{at}: {text}"
                    );
                }
                None => {}
            }
        }
        _ => {}
    }
}

fn check_object(schema: &Value, fields: &serde_json::Map<String, Value>, at: &str) {
    if let Some(of_all) = schema.get("additionalProperties") {
        return fields.values().for_each(|field| check(of_all, field, at));
    }
    let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
        return;
    };
    for name in schema["required"].as_array().unwrap() {
        assert!(
            fields.contains_key(name.as_str().unwrap()),
            "{at}: {name} is missing"
        );
    }
    for (name, field) in fields {
        match properties.get(name) {
            Some(property) => check(property, field, &format!("{at}.{name}")),
            None => {
                let by_pattern = schema.get("patternProperties").is_some();
                assert!(
                    by_pattern && name.ends_with("_value"),
                    "{at}: {name} is not described"
                );
            }
        }
    }
}
