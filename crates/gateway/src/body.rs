//! Request bodies and queries, field by field. Numbers stay text until their unit is known, so that
//! nothing is rounded on the way.

use std::collections::HashMap;

use everopen_views::decimal;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::errors::ApiError;

/// A field's value.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    Null,
    Bool(bool),
    /// As it was sent.
    Number(String),
    Text(String),
    /// A list or an object.
    Nested,
}

/// The fields of a JSON object, or of a query.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    values: HashMap<String, Value>,
}

/// A request with more fields is refused.
const MAX_FIELDS: usize = 64;

impl Fields {
    /// The fields of a body; none when it is empty.
    ///
    /// # Errors
    /// 400 when the body is no JSON object or names a field twice.
    pub fn parse(body: &[u8]) -> Result<Self, ApiError> {
        if body.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(body).map_err(|error| {
            let text = error.to_string();
            if text.starts_with(REFUSED) {
                let end = text.rfind(" at line").unwrap_or(text.len());
                return ApiError::bad(text[REFUSED.len()..end].to_owned());
            }
            let (line, column) = (error.line(), error.column());
            ApiError::bad(format!(
                "request body is not a JSON object (line {line}, column {column})"
            ))
        })
    }

    /// The fields of a query string, as sent.
    ///
    /// # Errors
    /// 400 when it is not percent-encoded UTF-8 or names a field twice.
    pub fn query(query: &str) -> Result<Self, ApiError> {
        let mut fields = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (Some(name), Some(value)) = (percent_decode(name), percent_decode(value)) else {
                return Err(ApiError::bad("query is not percent-encoded UTF-8"));
            };
            // Coinbase takes a repeated `status` as a list.
            if let Some(Value::Text(known)) = fields.values.get_mut(&name) {
                if name.trim_end_matches("[]") != "status" {
                    return Err(ApiError::bad(format!("{name} is given twice")));
                }
                known.push(',');
                known.push_str(&value);
                continue;
            }
            if fields.values.len() == MAX_FIELDS {
                return Err(ApiError::bad("too many fields"));
            }
            fields.values.insert(name, Value::Text(value));
        }
        Ok(fields)
    }

    /// Whether the field is there and not null.
    pub fn has(&self, name: &str) -> bool {
        !matches!(self.values.get(name), None | Some(Value::Null))
    }

    /// The text of a field; numbers count as text. None when it is absent, null or empty.
    ///
    /// # Errors
    /// 400 when it is something else.
    pub fn text(&self, name: &str) -> Result<Option<&str>, ApiError> {
        match self.values.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Text(text)) if text.is_empty() => Ok(None),
            Some(Value::Text(text) | Value::Number(text)) => Ok(Some(text)),
            Some(_) => Err(ApiError::bad(format!("{name} must be a string"))),
        }
    }

    /// The text of a field that must be there.
    ///
    /// # Errors
    /// 400 when it is absent or no text.
    pub fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.text(name)?
            .ok_or_else(|| ApiError::bad(format!("{name} is required")))
    }

    /// A field that is true or false, as JSON or as text.
    ///
    /// # Errors
    /// 400 when it is something else.
    pub fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        match self.values.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::Text(text)) if text == "true" => Ok(Some(true)),
            Some(Value::Text(text)) if text == "false" => Ok(Some(false)),
            Some(_) => Err(ApiError::bad(format!("{name} must be true or false"))),
        }
    }

    /// A decimal number in units of 10^-`decimals`, at or above zero.
    ///
    /// JSON numbers may have an exponent, since serializers write small ones so; text may not.
    ///
    /// # Errors
    /// 400 with the field's name when it is no number, negative, too precise or too large.
    pub fn units(&self, name: &str, decimals: u8) -> Result<Option<i128>, ApiError> {
        let text = match self.values.get(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(text)) => text,
            Some(Value::Text(text)) => {
                let plain = |b: u8| b.is_ascii_digit() || b == b'.' || b == b'-';
                if text.is_empty() || !text.bytes().all(plain) {
                    return Err(not_a_number(name));
                }
                text
            }
            Some(_) => return Err(not_a_number(name)),
        };
        match decimal::parse_amount(text, decimals) {
            Ok(units) if units < 0 || text.starts_with('-') => {
                Err(ApiError::bad(format!("{name} must not be negative")))
            }
            Ok(units) => Ok(Some(units)),
            Err(decimal::ParseError::TooPrecise) => Err(ApiError::bad(format!(
                "{name} too precise: at most {decimals} decimals"
            ))),
            Err(decimal::ParseError::TooLarge) => {
                Err(ApiError::bad(format!("{name} is too large")))
            }
            Err(_) => Err(not_a_number(name)),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// 400 with the field's name.
    pub fn integer(&self, name: &str) -> Result<Option<u64>, ApiError> {
        match self.text(name)? {
            None => Ok(None),
            Some(text) => match text.parse() {
                Ok(number) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(Some(number)),
                _ => Err(ApiError::bad(format!("{name} must be a whole number"))),
            },
        }
    }
}

fn not_a_number(name: &str) -> ApiError {
    ApiError::bad(format!("{name} must be a plain decimal number"))
}

/// Decodes `%41` and, as forms do, `+` for a space.
pub fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Marks errors of our own among those of the JSON reader.
const REFUSED: &str = "refused: ";

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        use serde::de::Error as _;
        let mut fields = Fields::default();
        while let Some((name, raw)) = map.next_entry::<String, &RawValue>()? {
            let raw = raw.get();
            let value = match raw.as_bytes().first() {
                Some(b'"') => Value::Text(serde_json::from_str(raw).map_err(A::Error::custom)?),
                Some(b't') => Value::Bool(true),
                Some(b'f') => Value::Bool(false),
                Some(b'n') => Value::Null,
                Some(b'[' | b'{') => Value::Nested,
                _ => Value::Number(raw.to_owned()),
            };
            if fields.values.len() == MAX_FIELDS {
                return Err(A::Error::custom(format!("{REFUSED}too many fields")));
            }
            if fields.values.contains_key(&name) {
                let shown: String = name.chars().take(40).collect();
                return Err(A::Error::custom(format!("{REFUSED}{shown} is given twice")));
            }
            fields.values.insert(name, value);
        }
        Ok(fields)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message<T: std::fmt::Debug>(result: Result<T, ApiError>) -> String {
        result.unwrap_err().message.into_owned()
    }

    #[test]
    fn numbers_are_exact_whether_text_or_not() {
        let body = br#"{"a":"0.1","b":0.1,"c":1e-8,"d":100000000.00000001,"n":null}"#;
        let fields = Fields::parse(body).unwrap();
        assert_eq!(fields.units("a", 8).unwrap(), Some(10_000_000));
        assert_eq!(fields.units("b", 8).unwrap(), Some(10_000_000));
        assert_eq!(fields.units("c", 8).unwrap(), Some(1));
        assert_eq!(fields.units("d", 8).unwrap(), Some(10_000_000_000_000_001));
        assert_eq!(fields.units("n", 8).unwrap(), None);
        assert_eq!(fields.units("absent", 8).unwrap(), None);
        assert!(!fields.has("n") && fields.has("a"));
    }

    #[test]
    fn what_is_no_number_says_so() {
        let body = br#"{"neg":"-1","zero":"-0","nan":"NaN","exp":"1e3","fine":"1.001","big":1e40,
            "bool":true,"list":[1],"empty":""}"#;
        let fields = Fields::parse(body).unwrap();
        for (name, part) in [
            ("neg", "neg must not be negative"),
            ("zero", "zero must not be negative"),
            ("nan", "nan must be a plain decimal number"),
            ("exp", "exp must be a plain decimal number"),
            ("fine", "fine too precise: at most 2 decimals"),
            ("big", "big is too large"),
            ("bool", "bool must be a plain decimal number"),
            ("list", "list must be a plain decimal number"),
            ("empty", "empty must be a plain decimal number"),
        ] {
            assert_eq!(message(fields.units(name, 2)), part);
        }
        assert_eq!(message(fields.required("absent")), "absent is required");
        assert_eq!(message(fields.text("list")), "list must be a string");
        assert_eq!(message(fields.flag("neg")), "neg must be true or false");
        assert_eq!(message(fields.integer("exp")), "exp must be a whole number");
    }

    #[test]
    fn a_body_is_one_object_and_names_each_field_once() {
        for bad in [
            "{",
            "[]",
            "1",
            "\"x\"",
            "{\"a\":NaN}",
            "{\"a\":1}}",
            "\u{feff}{}",
            "{'a':1}",
        ] {
            assert!(
                message(Fields::parse(bad.as_bytes())).starts_with("request body is not"),
                "{bad}"
            );
        }
        assert!(Fields::parse(b"{\"a\":\"\xff\"}").is_err());
        assert_eq!(
            message(Fields::parse(br#"{"a":1,"a":2}"#)),
            "a is given twice"
        );
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
        assert!(Fields::parse(deep.as_bytes()).unwrap().text("a").is_err());
        assert!(!Fields::parse(b"").unwrap().has("a"));
    }

    #[test]
    fn queries_are_decoded() {
        let fields =
            Fields::query("product_id=BTC%2FUSD&limit=10&status=open&status=done&x").unwrap();
        assert_eq!(fields.text("product_id").unwrap(), Some("BTC/USD"));
        assert_eq!(fields.integer("limit").unwrap(), Some(10));
        assert_eq!(fields.text("status").unwrap(), Some("open,done"));
        assert_eq!(fields.text("x").unwrap(), None);
        assert!(Fields::query("limit=1&limit=2").is_err());
        assert!(Fields::query("a=%zz").is_err());
        assert!(Fields::query("a=%ff").is_err());
    }
}
