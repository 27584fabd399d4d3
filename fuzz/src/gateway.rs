//! What members send over HTTP: bodies and queries, field by field, and the numbers in them.

use everopen_gateway::body::{Fields, percent_decode};

const NAMES: [&str; 8] = [
    "price",
    "size",
    "funds",
    "post_only",
    "time_in_force",
    "client_oid",
    "limit",
    "status",
];

/// A body, and the same bytes as a query.
pub fn json(data: &[u8]) {
    if let Ok(fields) = Fields::parse(data) {
        read(&fields);
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Some(decoded) = percent_decode(text) {
            assert!(decoded.len() <= text.len(), "decoding only shortens");
        }
        if let Ok(fields) = Fields::query(text) {
            read(&fields);
        }
    }
}

fn read(fields: &Fields) {
    for name in NAMES {
        let text = fields.text(name);
        if let Ok(Some(text)) = text {
            assert!(fields.has(name) && !text.is_empty());
        }
        let _ = fields.flag(name);
        if let Ok(Some(number)) = fields.integer(name) {
            assert_eq!(
                fields.units(name, 0).ok(),
                Some(Some(i128::from(number))),
                "two readings of {name}"
            );
        }
        for decimals in [0, 2, 8] {
            let Ok(Some(units)) = fields.units(name, decimals) else {
                continue;
            };
            assert!(units >= 0, "{name} is negative");
            // More decimals mean the same number in smaller units, or one that no longer fits.
            if let Ok(finer) = fields.units(name, decimals + 10) {
                assert_eq!(
                    finer,
                    Some(units * 10_i128.pow(10)),
                    "{name} with {decimals} decimals"
                );
            }
        }
    }
}

/// Orders as clients send them, and a query.
pub fn seeds() -> Vec<Vec<u8>> {
    [
        r#"{"type":"limit","side":"buy","product_id":"BTC-USD","client_oid":"c1","time_in_force":"GTC","post_only":true,"price":"100","size":"0.01"}"#,
        r#"{"type":"market","side":"sell","product_id":"BTC-USD","funds":5.25,"size":1e-8,"limit":17}"#,
        r#"{"price":"00012.3400","size":null,"funds":[],"status":"\u0041"}"#,
        "status=all&product_id=BTC%2DUSD&limit=100&price=1.50",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}
