//! A scripted client: synthetic steps with assertions and captured values.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

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
    if step.capture.is_empty() {
        return Ok(());
    }
    let value: Value = serde_json::from_slice(&answer.body)
        .map_err(|error| format!("the body is no JSON ({error}): {excerpt}"))?;
    for (name, pointer) in &step.capture {
        let found = match value.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => return Err(format!("the body has no {pointer}: {excerpt}")),
        };
        captured.insert(name.clone(), found);
    }
    Ok(())
}
