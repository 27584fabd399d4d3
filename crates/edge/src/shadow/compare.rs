//! Whether two answers say the same.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::Value;

use super::Shadowing;

/// An answer: status, headers and body.
type Said<'a> = (u16, &'a HeaderMap, &'a Bytes);

/// What differs, in words; none if nothing does that counts.
pub(super) fn answers(shadowing: &Shadowing, old: Said<'_>, new: Said<'_>) -> Option<String> {
    if old.0 != new.0 {
        return Some(format!(
            "status {}, and {} before: {}",
            new.0,
            old.0,
            excerpt(new.2)
        ));
    }
    for name in &shadowing.headers {
        let (was, is) = (all(old.1, name), all(new.1, name));
        if was != is {
            return Some(format!("{name}: {is:?}, and {was:?} before"));
        }
    }
    if old.2 == new.2 {
        return None;
    }
    // Members of a JSON object have no order, and a number may be written in several ways.
    match (serde_json::from_slice(old.2), serde_json::from_slice(new.2)) {
        (Ok(was), Ok(is)) => {
            let ignored: Vec<Vec<&str>> = shadowing
                .ignore
                .iter()
                .map(|place| place.split('/').skip(1).collect())
                .collect();
            values(&ignored, &mut Vec::new(), &was, &is)
        }
        _ => {
            let at = old
                .2
                .iter()
                .zip(new.2.iter())
                .take_while(|(a, b)| a == b)
                .count();
            let from = |bytes: &Bytes| excerpt(&bytes.slice(at.min(bytes.len())..));
            Some(format!(
                "from byte {at} the body is {}, and {} before",
                from(new.2),
                from(old.2)
            ))
        }
    }
}

fn all<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a str> {
    let all = headers.get_all(name).into_iter();
    all.filter_map(|value| value.to_str().ok()).collect()
}

fn excerpt(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned();
    format!("{text:?}")
}

fn is_ignored(ignored: &[Vec<&str>], path: &[String]) -> bool {
    ignored.iter().any(|place| {
        let fits = |(wanted, part): (&&str, &String)| {
            *wanted == "*" || wanted.replace("~1", "/").replace("~0", "~") == *part
        };
        place.len() == path.len() && place.iter().zip(path).all(fits)
    })
}

/// The first difference of two JSON values.
fn values(
    ignored: &[Vec<&str>],
    path: &mut Vec<String>,
    was: &Value,
    is: &Value,
) -> Option<String> {
    if is_ignored(ignored, path) {
        return None;
    }
    let differ = |path: &[String]| {
        let short = |value: &Value| value.to_string().chars().take(80).collect::<String>();
        let place: String = path.iter().map(|part| format!("/{part}")).collect();
        Some(format!(
            "{place} is {}, and {} before",
            short(is),
            short(was)
        ))
    };
    match (was, is) {
        (Value::Object(old), Value::Object(new)) => {
            let names = old
                .keys()
                .chain(new.keys().filter(|name| !old.contains_key(*name)));
            for name in names {
                path.push(name.clone());
                let (was, is) = (old.get(name), new.get(name));
                let found = match (was, is) {
                    (Some(was), Some(is)) => values(ignored, path, was, is),
                    _ if is_ignored(ignored, path) => None,
                    (None, _) => Some(format!("/{} is new", path.join("/"))),
                    (_, None) => Some(format!("/{} is missing", path.join("/"))),
                };
                path.pop();
                if found.is_some() {
                    return found;
                }
            }
            None
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (at, (was, is)) in old.iter().zip(new).enumerate() {
                path.push(at.to_string());
                let found = values(ignored, path, was, is);
                path.pop();
                if found.is_some() {
                    return found;
                }
            }
            None
        }
        (Value::Number(old), Value::Number(new)) if old.as_f64() == new.as_f64() => {
            // Whole numbers beyond the 53 bits of a float are compared as such.
            match (old.as_i128(), new.as_i128()) {
                (Some(old), Some(new)) if old != new => differ(path),
                _ => None,
            }
        }
        _ if was == is => None,
        _ => differ(path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shadowing(ignore: &[&str]) -> Shadowing {
        let ignore = serde_json::json!({ "group": "green", "ignore": ignore });
        serde_json::from_value(ignore).expect("a shadowing")
    }

    fn compare(ignore: &[&str], old: &str, new: &str) -> Option<String> {
        let headers = HeaderMap::new();
        let (old, new) = (Bytes::from(old.to_string()), Bytes::from(new.to_string()));
        answers(
            &shadowing(ignore),
            (200, &headers, &old),
            (200, &headers, &new),
        )
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        for (old, new) in [
            ("", ""),
            ("text", "text"),
            (r#"{"a":1,"b":[1,2]}"#, r#"{ "b": [1, 2.0], "a": 1e0 }"#),
        ] {
            assert_eq!(compare(&[], old, new), None, "{old} {new}");
        }
        for (old, new, what) in [
            ("text", "texts", "from byte 4"),
            ("", "x", "from byte 0"),
            (r#"{"a":1}"#, r#"{"a":2}"#, "/a is 2, and 1 before"),
            (r#"{"a":1}"#, r#"{"a":"1"}"#, "/a is \"1\", and 1 before"),
            (r#"{"a":1}"#, r#"{}"#, "/a is missing"),
            (r#"{"a":{}}"#, r#"{"a":{"b":null}}"#, "/a/b is new"),
            (r#"[1,2]"#, r#"[2,1]"#, "/0 is 2"),
            (r#"[1]"#, r#"[1,2]"#, "[1,2], and [1] before"),
            (
                "9007199254740993",
                "9007199254740992",
                "9007199254740992, and",
            ),
        ] {
            let said = compare(&[], old, new).expect("they differ");
            assert!(said.contains(what), "{said}");
        }
    }

    #[test]
    fn places_that_may_differ_do_not_count() {
        let (old, new) = (
            r#"{"time":1,"orders":[{"id":1,"p":5},{"id":2,"p":6}],"a/b":1}"#,
            r#"{"time":2,"orders":[{"id":3,"p":5},{"id":4,"p":6}],"a/b":2,"host":"x"}"#,
        );
        let all = ["/time", "/orders/*/id", "/a~1b", "/host"];
        assert_eq!(compare(&all, old, new), None);
        for (at, place) in ["/time", "/orders/0/id", "/a/b", "/host"]
            .iter()
            .enumerate()
        {
            let mut others = all.to_vec();
            others.remove(at);
            let said = compare(&others, old, new).expect("they differ");
            assert!(said.starts_with(place), "{said}");
        }
    }

    #[test]
    fn status_and_headers_count() {
        let text = |kind: &'static str| {
            HeaderMap::from_iter([(http::header::CONTENT_TYPE, kind.parse().expect("a value"))])
        };
        let (json, html, body) = (text("application/json"), text("text/html"), Bytes::new());
        let of = |old, new| answers(&shadowing(&[]), old, new);
        let said = of((200, &json, &body), (404, &json, &body)).expect("they differ");
        assert!(said.contains("status 404, and 200 before"), "{said}");
        let said = of((200, &json, &body), (200, &html, &body)).expect("they differ");
        assert!(said.contains("content-type"), "{said}");
        assert_eq!(of((200, &html, &body), (200, &html, &body)), None);
    }
}
