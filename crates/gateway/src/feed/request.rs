//! What clients send: subscribe and unsubscribe.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::channel::Channel;

/// Entries in one message's list of channels. Each may stand for as many products as the message
/// names, so a short text could otherwise ask for a lot of work.
const CHANNELS_MAX: usize = 64;

/// One channel that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChannelRequest {
    pub channel: Channel,
    /// As the client wrote them; none where it named no products at all.
    pub products: Option<Arc<[String]>>,
    /// Only these accounts of `balance`.
    pub accounts: Option<Vec<String>>,
    /// The first `full` message wanted from the past.
    pub from_sequence: Option<u64>,
}

/// The signature of a request.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Signed {
    pub key: String,
    pub passphrase: String,
    pub timestamp: String,
    pub signature: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    Subscribe,
    Unsubscribe,
}

/// A request that is well-formed; products and rights are not yet checked.
pub(super) struct Request {
    pub action: Action,
    pub channels: Vec<ChannelRequest>,
    pub signed: Option<Signed>,
    pub cancel_on_disconnect: bool,
}

/// A refusal: what goes into an error frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub message: &'static str,
    pub reason: String,
}

impl Refusal {
    pub fn new(message: &'static str, reason: impl Into<String>) -> Self {
        Self {
            message,
            reason: reason.into(),
        }
    }

    pub fn subscribe(reason: impl Into<String>) -> Self {
        Self::new("Failed to subscribe", reason)
    }

    pub fn malformed(reason: impl Into<String>) -> Self {
        Self::new("Malformed JSON", reason)
    }

    pub fn authentication(reason: impl Into<String>) -> Self {
        Self::new("Authentication Failed", reason)
    }
}

pub(super) fn parse(text: &str) -> Result<Request, Refusal> {
    let value: Value =
        serde_json::from_str(text).map_err(|error| Refusal::malformed(error.to_string()))?;
    let Value::Object(fields) = value else {
        return Err(Refusal::malformed("a message must be an object"));
    };
    let action = match fields.get("type").and_then(Value::as_str) {
        Some("subscribe") => Action::Subscribe,
        Some("unsubscribe") => Action::Unsubscribe,
        _ => {
            return Err(Refusal::new(
                "Unknown message type",
                "type must be subscribe or unsubscribe",
            ));
        }
    };
    let products: Option<Arc<[String]>> = strings(&fields, "product_ids")?.map(Arc::from);
    let from_sequence = sequence(&fields)?;
    let listed = match fields.get("channels") {
        Some(Value::Array(listed)) if !listed.is_empty() => listed,
        _ => return Err(Refusal::subscribe("channels must be a list and not empty")),
    };
    if listed.len() > CHANNELS_MAX {
        return Err(Refusal::subscribe(format!(
            "more than {CHANNELS_MAX} channels in one message"
        )));
    }
    let mut channels = Vec::with_capacity(listed.len());
    for entry in listed {
        let request = match entry {
            Value::String(name) => ChannelRequest {
                channel: channel(name)?,
                products: products.clone(),
                accounts: strings(&fields, "account_ids")?,
                from_sequence,
            },
            Value::Object(entry) => {
                let name = entry.get("name").and_then(Value::as_str);
                let name = name.ok_or_else(|| Refusal::subscribe("a channel needs a name"))?;
                ChannelRequest {
                    channel: channel(name)?,
                    products: strings(entry, "product_ids")?
                        .map(Arc::from)
                        .or_else(|| products.clone()),
                    accounts: strings(entry, "account_ids")?,
                    from_sequence: sequence(entry)?.or(from_sequence),
                }
            }
            _ => {
                return Err(Refusal::subscribe("a channel is a name or an object"));
            }
        };
        channels.push(request);
    }
    Ok(Request {
        action,
        channels,
        signed: signed(&fields)?,
        cancel_on_disconnect: match fields.get("cancel_on_disconnect") {
            None | Some(Value::Null) => false,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                return Err(Refusal::subscribe(
                    "cancel_on_disconnect must be true or false",
                ));
            }
        },
    })
}

fn channel(name: &str) -> Result<Channel, Refusal> {
    Channel::from_name(name).ok_or_else(|| {
        // Quoted back in part only: a client's text is no place for surprises.
        let shown: String = name.chars().take(32).collect();
        Refusal::subscribe(format!("{shown} is not a valid channel"))
    })
}

fn strings(fields: &Map<String, Value>, name: &str) -> Result<Option<Vec<String>>, Refusal> {
    let refusal = || Refusal::subscribe(format!("{name} must be a list of texts"));
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(values)) => values
            .iter()
            .map(|value| value.as_str().map(str::to_owned).ok_or_else(refusal))
            .collect::<Result<_, _>>()
            .map(Some),
        Some(_) => Err(refusal()),
    }
}

fn sequence(fields: &Map<String, Value>) -> Result<Option<u64>, Refusal> {
    match fields.get("from_sequence") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_u64()
            .map(Some)
            .ok_or_else(|| Refusal::subscribe("from_sequence must be a whole number")),
    }
}

fn signed(fields: &Map<String, Value>) -> Result<Option<Signed>, Refusal> {
    let text = |name: &str| match fields.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        Some(Value::Number(number)) if name == "timestamp" => Ok(number.to_string()),
        _ => Err(Refusal::authentication(format!("{name} is missing"))),
    };
    if !["key", "signature", "passphrase"]
        .iter()
        .any(|name| fields.contains_key(*name))
    {
        return Ok(None);
    }
    Ok(Some(Signed {
        key: text("key")?,
        passphrase: text("passphrase")?,
        timestamp: text("timestamp")?,
        signature: text("signature")?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_channels_as_names_and_as_objects() {
        let request = parse(
            r#"{"type":"subscribe","product_ids":["BTC-USD"],"channels":["level2",
            {"name":"full","product_ids":["ETH-USD"],"from_sequence":7},{"name":"status"}]}"#,
        )
        .ok()
        .unwrap();
        assert_eq!(request.action, Action::Subscribe);
        let products = |at: usize| request.channels[at].products.clone().unwrap().to_vec();
        assert_eq!(products(0), ["BTC-USD"]);
        assert_eq!(products(1), ["ETH-USD"]);
        assert_eq!(request.channels[1].from_sequence, Some(7));
        assert_eq!(request.channels[2].channel, Channel::Status);
        assert!(request.signed.is_none());
    }

    #[test]
    fn takes_the_signature_with_a_number_or_a_text_as_time() {
        for timestamp in ["1795451067", "\"1795451067\""] {
            let text = format!(
                r#"{{"type":"subscribe","product_ids":["BTC-USD"],"channels":["user"],
                "timestamp":{timestamp},"key":"k","signature":"s","passphrase":"p"}}"#
            );
            let signed = parse(&text).ok().unwrap().signed.unwrap();
            assert_eq!(signed.timestamp, "1795451067");
        }
    }

    #[test]
    fn every_wrong_message_has_a_reason() {
        for text in [
            "",
            "{",
            "[]",
            "1",
            "{}",
            r#"{"type":"subscribe"}"#,
            r#"{"type":"subscribe","channels":[]}"#,
            r#"{"type":"subscribe","channels":["nonsense"]}"#,
            r#"{"type":"subscribe","channels":[7]}"#,
            r#"{"type":"subscribe","channels":[{}]}"#,
            r#"{"type":"subscribe","channels":["full"],"product_ids":"BTC-USD"}"#,
            r#"{"type":"subscribe","channels":["full"],"product_ids":[1]}"#,
            r#"{"type":"subscribe","channels":["full"],"from_sequence":-1}"#,
            r#"{"type":"subscribe","channels":["user"],"key":"k"}"#,
            r#"{"type":"subscribe","channels":["user"],"cancel_on_disconnect":"yes"}"#,
            r#"{"type":"order","channels":["full"]}"#,
        ] {
            let refusal = parse(text).err().unwrap();
            assert!(!refusal.reason.is_empty() && !refusal.message.is_empty());
        }
    }
}
