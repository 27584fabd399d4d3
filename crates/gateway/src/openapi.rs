//! The OpenAPI 3.1 document, made from the table of routes and the self-describing bodies.

use serde_json::{Map, Value, json};

use crate::routes::{self, Access, Route};

/// The document.
pub fn document() -> Value {
    let mut paths = Map::new();
    for route in routes::all() {
        let path = paths.entry(route.path).or_insert_with(|| json!({}));
        path[route.method.as_str().to_ascii_lowercase()] = operation(route);
    }
    let header = |name: &str| json!({ "type": "apiKey", "in": "header", "name": name });
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Everopen gateway",
            "version": env!("CARGO_PKG_VERSION"),
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
            "description": "Order entry and market data. CB-ACCESS-SIGN is the base64 HMAC-SHA256, \
                keyed with the base64-decoded secret, of timestamp, method, request target and body \
                in a row. Decimal numbers are strings, times are ISO 8601 in UTC. A WebSocket feed \
                is served at the root path.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": {
                "key": header("CB-ACCESS-KEY"),
                "signature": header("CB-ACCESS-SIGN"),
                "timestamp": header("CB-ACCESS-TIMESTAMP"),
                "passphrase": header("CB-ACCESS-PASSPHRASE"),
            },
            "schemas": { "Error": routes::error_schema() },
        },
    })
}

fn operation(route: &Route) -> Value {
    let in_path = route.path.split('/').filter_map(|part| {
        let name = part.strip_prefix('{')?.strip_suffix('}')?;
        let schema = json!({ "type": "string" });
        Some(json!({ "name": name, "in": "path", "required": true, "schema": schema }))
    });
    let in_query = route.query.iter().map(|(name, description)| {
        let schema = json!({ "type": "string" });
        json!({ "name": name, "in": "query", "description": description, "schema": schema })
    });
    let parameters: Vec<Value> = in_path.chain(in_query).collect();
    let media = match route.path {
        "/metrics" => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        _ => "application/json",
    };
    let mut operation = json!({
        "operationId": operation_id(route),
        "summary": route.summary,
        "parameters": parameters,
        "responses": {
            "200": {
                "description": "Done.",
                "content": { media: { "schema": (route.response)() } },
            },
            "default": {
                "description": "Refused; clients read the message at 400 and 404.",
                "content": {
                    "application/json": { "schema": { "$ref": "#/components/schemas/Error" } },
                },
            },
        },
    });
    if let Access::Signed(permission) = route.access {
        operation["security"] =
            json!([{ "key": [], "signature": [], "timestamp": [], "passphrase": [] }]);
        let permission = format!("{permission:?}").to_ascii_lowercase();
        operation["x-permission"] = permission.into();
    }
    if !route.body.is_empty() {
        operation["requestBody"] = request_body(route);
    }
    operation
}

fn request_body(route: &Route) -> Value {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, kind, description) in route.body {
        let plain = name.trim_end_matches('!');
        if plain != *name {
            required.push(plain);
        }
        let schema = match *kind {
            "decimal" => json!({ "type": ["string", "number"], "description": description }),
            kind => json!({ "type": kind, "description": description }),
        };
        properties.insert(plain.to_owned(), schema);
    }
    let schema = json!({ "type": "object", "required": required, "properties": properties });
    json!({
        "required": !required.is_empty(),
        "content": { "application/json": { "schema": schema } },
    })
}

/// For instance `get_products_id_book`.
fn operation_id(route: &Route) -> String {
    let mut id = route.method.as_str().to_ascii_lowercase();
    for part in route
        .path
        .split(['/', '-', '.'])
        .filter(|part| !part.is_empty())
    {
        id.push('_');
        id.push_str(part.trim_matches(['{', '}']));
    }
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn every_route_is_described_once() {
        let document = document();
        let mut ids = HashSet::new();
        for route in routes::all() {
            let method = route.method.as_str().to_ascii_lowercase();
            let operation = &document["paths"][route.path][&method];
            assert!(operation["summary"].is_string(), "{method} {}", route.path);
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()));
            let schema = &operation["responses"]["200"]["content"];
            assert!(schema.as_object().is_some_and(|content| content.len() == 1));
        }
        let count: usize = document["paths"]
            .as_object()
            .unwrap()
            .values()
            .map(|p| p.as_object().unwrap().len())
            .sum();
        assert_eq!(count, ids.len());
    }
}
