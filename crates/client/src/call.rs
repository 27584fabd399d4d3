//! One question to one replica.

use std::sync::Arc;
use std::time::{Duration, Instant};

use everopen_identity::Identity;
use everopen_rpc::{Event, Hub, Limits, Name, Security};
use everopen_wire::message::{Message, PROTOCOL};
use serde_json::Value;

use crate::NodeId;
use crate::link::{greet, resolve};

const REQUEST: u64 = 1;

/// Asks one replica an operator's question and waits for the answer. The questions stand in
/// `docs/operating/cluster.md`; each is a JSON object with a field `ask`.
///
/// # Errors
/// A sentence: not reachable, refused, or no answer within `patience`.
pub fn call(
    address: &str,
    node: NodeId,
    identity: &Arc<Identity>,
    question: &Value,
    patience: Duration,
) -> Result<Value, String> {
    let deadline = Instant::now() + patience;
    let security = Security::Mutual(Arc::clone(identity));
    let mut hub =
        Hub::new(Limits::within_a_cluster(), security).map_err(|error| error.to_string())?;
    let socket = resolve(address).map_err(|error| format!("node {node} at {address}: {error}"))?;
    let conn = hub.dial(socket, Name::Node(node));
    greet(&mut hub, conn);
    let question = question.to_string();
    let mut frame = Vec::new();
    Message::Call {
        request: REQUEST,
        question: question.as_bytes(),
    }
    .encode(&mut frame);
    let mut question = Some(frame);
    loop {
        let mut answer = None;
        let mut greeted = false;
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("node {node} at {address} does not answer"));
        }
        hub.turn(Some(left), &mut |event| match event {
            Event::Frame { bytes, .. } => match Message::decode(bytes) {
                Ok(Message::Hello { protocol, .. }) if protocol == PROTOCOL => greeted = true,
                Ok(message) => answer = answer.take().or(understand(node, &message)),
                Err(error) => answer = Some(Err(format!("node {node} says nonsense: {error}"))),
            },
            Event::Closed { reason, .. } => {
                let why = format!("node {node} at {address}: {reason}");
                answer.get_or_insert(Err(why));
            }
            Event::Opened { .. } => {}
        })
        .map_err(|error| error.to_string())?;
        if let Some(answer) = answer {
            return answer;
        }
        if greeted && let Some(frame) = question.take() {
            hub.send(conn, &frame).map_err(|error| error.to_string())?;
        }
        hub.flush();
    }
}

/// The answer that a message is, if it is one.
fn understand(node: NodeId, message: &Message<'_>) -> Option<Result<Value, String>> {
    match *message {
        Message::Hello { .. } => Some(Err(format!(
            "node {node} speaks another version of the protocol"
        ))),
        Message::CallAnswer {
            request: REQUEST,
            ok,
            answer,
        } => Some(match serde_json::from_slice(answer) {
            Ok(answer) if ok => Ok(answer),
            Ok(Value::String(why)) => Err(why),
            Ok(why) => Err(why.to_string()),
            Err(error) => Err(format!("node {node} answers with no JSON: {error}")),
        }),
        Message::Refused { code, .. } => Some(Err(format!("node {node} refuses: {code}"))),
        _ => None,
    }
}
