//! A scripted client: synthetic steps with assertions and captured values.

use std::collections::BTreeMap;
use std::time::Duration;

use ::http::{HeaderName, HeaderValue};
use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::file::{Journey, JourneyStep};
use crate::http::{self, Asked};

/// Replaces `{name}` by its value.
pub(crate) fn fill(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut filled = text.to_string();
    for (name, value) in values {
        filled = filled.replace(&format!("{{{name}}}"), value);
    }
    filled
}

/// Goes through all steps; how many there were.
///
/// # Errors
/// A sentence with the step and what was wrong about it.
pub(crate) async fn run(journey: &Journey) -> Result<usize, String> {
    let mut captured = BTreeMap::new();
    for step in &journey.steps {
        let wrong = |what: String| format!("journey step {:?}: {what}", step.name);
        take(&journey.at, step, &mut captured)
            .await
            .map_err(wrong)?;
    }
    Ok(journey.steps.len())
}

async fn take(
    at: &str,
    step: &JourneyStep,
    captured: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    if let Some(send) = &step.websocket {
        let patience = Duration::from_millis(step.within_ms);
        let spoken = tokio::time::timeout(patience, converse(at, step, send, captured)).await;
        let late = |_| {
            format!(
                "WebSocket: not what is expected within {} ms",
                step.within_ms
            )
        };
        return spoken.map_err(late)?;
    }
    let headers = step.headers.iter();
    let headers = headers
        .map(|(name, value)| (name.clone(), fill(value, captured)))
        .collect();
    let path = fill(&step.path, captured);
    let asked = Asked {
        at,
        method: &step.method,
        path: &path,
        headers: &headers,
        body: fill(&step.body, captured),
    };
    let answer = http::ask(asked, Duration::from_millis(step.within_ms)).await;
    let answer = answer.map_err(|error| format!("{} {path}: {error}", step.method))?;
    let body = String::from_utf8_lossy(&answer.body);
    let excerpt: String = body.chars().take(200).collect();
    if answer.status != step.status {
        return Err(format!(
            "status {}, expected {}: {excerpt}",
            answer.status, step.status
        ));
    }
    if let Some(wanted) = &step.contains {
        let wanted = fill(wanted, captured);
        if !body.contains(&wanted) {
            return Err(format!("the body does not contain {wanted:?}: {excerpt}"));
        }
    }
    capture(step, &answer.body, captured)
}

/// Takes what later steps use out of what came.
fn capture(
    step: &JourneyStep,
    bytes: &[u8],
    captured: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    if step.capture.is_empty() {
        return Ok(());
    }
    let excerpt: String = String::from_utf8_lossy(bytes).chars().take(200).collect();
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| format!("what came is no JSON ({error}): {excerpt}"))?;
    for (name, pointer) in &step.capture {
        let found = match value.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => return Err(format!("what came has no {pointer}: {excerpt}")),
        };
        captured.insert(name.clone(), found);
    }
    Ok(())
}

/// Messages of a WebSocket that are looked at for the one that is expected.
const MESSAGES_MAX: usize = 10_000;

async fn converse(
    at: &str,
    step: &JourneyStep,
    send: &[String],
    captured: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let path = fill(&step.path, captured);
    let text = |error: &dyn std::fmt::Display| format!("WebSocket {path}: {error}");
    let mut request = format!("ws://{at}{path}")
        .into_client_request()
        .map_err(|error| text(&error))?;
    for (name, value) in &step.headers {
        let name = HeaderName::try_from(name.as_str()).map_err(|error| text(&error))?;
        let value = HeaderValue::try_from(fill(value, captured)).map_err(|error| text(&error))?;
        request.headers_mut().insert(name, value);
    }
    let (mut socket, _) = tokio_tungstenite::connect_async(request)
        .await
        .map_err(|error| text(&error))?;
    for message in send {
        let message = Message::text(fill(message, captured));
        socket.send(message).await.map_err(|error| text(&error))?;
    }
    let wanted = step.contains.as_ref().map(|wanted| fill(wanted, captured));
    let mut last = String::new();
    for _ in 0..MESSAGES_MAX {
        let message = match socket.next().await {
            Some(Ok(Message::Text(message))) => message,
            Some(Ok(Message::Close(_))) | None => {
                return Err(text(&format!(
                    "it was closed; the last message was: {last}"
                )));
            }
            Some(Ok(_)) => continue,
            Some(Err(error)) => return Err(text(&error)),
        };
        if wanted
            .as_ref()
            .is_none_or(|wanted| message.contains(wanted))
        {
            capture(step, message.as_bytes(), captured)?;
            let _ = socket.close(None).await;
            return Ok(());
        }
        last = message.chars().take(200).collect();
    }
    Err(text(&format!(
        "none of {MESSAGES_MAX} messages has what is expected; the last was: {last}"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    fn journey(at: &str, steps: &str) -> Journey {
        let text = format!("at = {at:?}\n{steps}");
        toml::from_str(&text).expect("a journey")
    }

    /// Greets, and then sends back what comes.
    async fn server() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut socket = tokio_tungstenite::accept_async(stream)
                    .await
                    .expect("a WebSocket");
                let hello = Message::text(r#"{"type":"hello","name":"it"}"#);
                socket.send(hello).await.expect("sent");
                while let Some(Ok(message)) = socket.next().await {
                    if message.is_text() && socket.send(message).await.is_err() {
                        break;
                    }
                }
            }
        });
        address
    }

    #[tokio::test]
    async fn messages_are_read_until_the_expected_one_comes_and_are_captured_from() {
        let at = server().await;
        let steps = r#"
[[step]]
name = "meet"
path = "/feed"
websocket = []
capture = { who = "/name" }

[[step]]
name = "talk"
path = "/feed?of={who}"
websocket = ['{"type":"one"}', '{"type":"two","of":"{who}"}']
contains = '"two"'
capture = { of = "/of" }
"#;
        assert_eq!(run(&journey(&at, steps)).await, Ok(2));
        let never = "[[step]]\nname = \"wait\"\npath = \"/\"\nwebsocket = []\ncontains = \"goodbye\"\nwithin_ms = 200\n";
        let error = run(&journey(&at, never)).await.expect_err("it never comes");
        assert!(
            error.contains("wait") && error.contains("200 ms"),
            "{error}"
        );
        let nobody = "[[step]]\nname = \"call\"\npath = \"/\"\nwebsocket = []\n";
        let error = run(&journey("127.0.0.1:1", nobody))
            .await
            .expect_err("nobody is there");
        assert!(error.contains("WebSocket /:"), "{error}");
    }
}
