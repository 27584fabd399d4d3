//! One step.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Map, Value, json};

use super::{Findings, list, take, text};
use crate::document::{Kind, OnCancel, OnFailure, Step};

static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{\{\s*([^{}]*?)\s*\}\}").expect("invariant: it is a regular expression")
});

/// Inputs of an action that is one of ours, or why it is none.
type Translated = Result<(Kind, Value), String>;

/// Which action each step has: what its outputs are called depends on that.
pub(super) fn kinds(steps: &[Value]) -> BTreeMap<String, String> {
    let of = |step: &Value, key: &str| Some(step.get(key)?.as_str()?.to_string());
    let each = steps.iter();
    each.filter_map(|step| Some((of(step, "name")?, of(step, "action")?)))
        .collect()
}

/// A name with a step's output, as it is called here.
pub(super) fn rename(written: &str, kinds: &BTreeMap<String, String>) -> String {
    let written = written.trim();
    match written {
        "global:DATE" => return "run:date".into(),
        "global:DATE_TIME" => return "run:dateTime".into(),
        "automation:EXECUTION_ID" => return "run:id".into(),
        "global:REGION" => return "env:AWS_REGION".into(),
        "global:ACCOUNT_ID" => return "env:AWS_ACCOUNT_ID".into(),
        _ => {}
    }
    let mut parts: Vec<&str> = written.split('.').collect();
    let action = parts
        .first()
        .and_then(|step| kinds.get(*step))
        .map(String::as_str);
    if let (Some("aws:executeScript"), Some(&"Payload")) = (action, parts.get(1)) {
        parts[1] = "json";
    }
    parts.join(".")
}

fn rename_all(value: &mut Value, kinds: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            let renamed = NAMED.replace_all(text, |found: &Captures<'_>| {
                format!("{{{{ {} }}}}", rename(&found[1], kinds))
            });
            *text = renamed.into_owned();
        }
        Value::Array(list) => list.iter_mut().for_each(|one| rename_all(one, kinds)),
        Value::Object(map) => map.values_mut().for_each(|one| rename_all(one, kinds)),
        _ => {}
    }
}

fn yes_or_no(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn number<T: std::str::FromStr>(value: &Value) -> Option<T> {
    match value {
        Value::Number(number) => number.to_string().parse().ok(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// One of a few words; what is none of them stays to be named.
fn word<T: std::str::FromStr>(value: &Value) -> Option<T> {
    value.as_str()?.parse().ok()
}

pub(super) fn step(
    mut map: Map<String, Value>,
    at: usize,
    kinds: &BTreeMap<String, String>,
    findings: &mut Findings,
) -> Result<Step, String> {
    let name = take(&mut map, "name", text).ok_or(format!("mainSteps[{at}]: it has no name"))?;
    let action =
        take(&mut map, "action", text).ok_or(format!("step {name:?}: it has no action"))?;
    let place = format!("step {name}");
    let mut inputs = take(&mut map, "inputs", super::map).unwrap_or_default();
    let original = Value::Object(inputs.clone());
    let mut inner = Findings::default();
    let translated = translate(&action, &mut inputs, &place, kinds, &mut inner);
    let (kind, inputs) = match translated {
        Ok(translated) => {
            findings.0.append(&mut inner.0);
            findings.rest(&format!("{place}: inputs"), inputs);
            translated
        }
        Err(why) => {
            findings.missing(&place, format!("{action}: {why}"));
            let mut inputs = json!({ "was": action, "why": why, "inputs": original });
            rename_all(&mut inputs, kinds);
            (Kind::Untranslated, inputs)
        }
    };
    let step = Step {
        description: take(&mut map, "description", text).unwrap_or_default(),
        action: kind,
        inputs,
        on_failure: take(&mut map, "onFailure", word).unwrap_or(OnFailure::Abort),
        on_cancel: take(&mut map, "onCancel", word).unwrap_or(OnCancel::Abort),
        is_end: take(&mut map, "isEnd", yes_or_no).unwrap_or(false),
        is_critical: take(&mut map, "isCritical", yes_or_no),
        next_step: take(&mut map, "nextStep", text),
        timeout_seconds: take(&mut map, "timeoutSeconds", number),
        max_attempts: take(&mut map, "maxAttempts", number).unwrap_or(1),
        retry_seconds: 1,
        outputs: outputs(take(&mut map, "outputs", list), kind, &place, findings),
        is_repeatable: true,
        undo: None,
        name,
    };
    findings.rest(&place, map);
    Ok(step)
}

fn outputs(
    written: Option<Vec<Value>>,
    kind: Kind,
    place: &str,
    findings: &mut Findings,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for one in written.unwrap_or_default() {
        let of = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
        let (name, selector) = (of("Name"), of("Selector"));
        let pointer = pointer(selector).and_then(|pointer| match kind {
            Kind::Script => {
                let rest = pointer.strip_prefix("/Payload")?;
                Some(format!("/json{rest}"))
            }
            Kind::Untranslated => Some(pointer),
            _ => None,
        });
        match pointer {
            Some(pointer) => drop(found.insert(name.to_string(), pointer)),
            None => findings.missing(place, format!("output {name}: {selector}")),
        }
    }
    found
}

/// A JSONPath that names one place, as an RFC 6901 pointer.
fn pointer(path: &str) -> Option<String> {
    static PART: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"^(?:\.([A-Za-z_][A-Za-z0-9_-]*)|\[(\d+)\]|\[['"]([^'"]+)['"]\])"#)
            .expect("invariant: it is a regular expression")
    });
    let mut rest = path.strip_prefix('$')?;
    let mut pointer = String::new();
    while !rest.is_empty() {
        let found = PART.captures(rest)?;
        let part = found.iter().skip(1).flatten().next()?.as_str();
        pointer += "/";
        pointer += &part.replace('~', "~0").replace('/', "~1");
        rest = &rest[found[0].len()..];
    }
    Some(pointer)
}

fn translate(
    action: &str,
    inputs: &mut Map<String, Value>,
    place: &str,
    kinds: &BTreeMap<String, String>,
    findings: &mut Findings,
) -> Translated {
    let (kind, mut translated) = match action {
        "aws:sleep" => sleep(inputs)?,
        "aws:branch" => branch(inputs)?,
        "aws:approve" => approve(inputs, place, findings)?,
        "aws:pause" => {
            let message = inputs.remove("Message");
            let paused = || json!("it pauses here until it is approved");
            (
                Kind::Approve,
                json!({ "message": message.unwrap_or_else(paused) }),
            )
        }
        "aws:executeScript" => script(inputs, place, findings)?,
        "aws:runCommand" => {
            return Err("it runs on instances; a script step runs where the runbook is run, and can use ssh".into());
        }
        "aws:invokeWebhook" => {
            return Err(
                "where it calls is in an integration, not in the document: an http step names it"
                    .into(),
            );
        }
        "aws:executeAutomation" => {
            return Err(
                "it is another document: import that, and run it with a script step".into(),
            );
        }
        "aws:loop" => return Err("a branch back to an earlier step does that".into()),
        "aws:updateVariable" => {
            return Err("there are no variables: outputs of steps are used".into());
        }
        "aws:assertAwsResourceProperty"
        | "aws:waitForAwsResourceProperty"
        | "aws:executeAwsApi" => {
            return Err("it asks an AWS service: a script step can use the aws command".into());
        }
        _ => return Err("it acts on AWS: a script step can use the aws command".into()),
    };
    // A script's text stays as it is: nothing is replaced in it, here as there.
    let script = translated.get("script").cloned();
    rename_all(&mut translated, kinds);
    if let Some(script) = script {
        translated["script"] = script;
    }
    Ok((kind, translated))
}

fn sleep(inputs: &mut Map<String, Value>) -> Translated {
    if let Some(until) = inputs.remove("Timestamp") {
        return Ok((Kind::Sleep, json!({ "until": until })));
    }
    let duration = inputs.remove("Duration");
    let duration = duration.ok_or("it has neither Duration nor Timestamp")?;
    Ok((Kind::Sleep, json!({ "duration": duration })))
}

fn approve(inputs: &mut Map<String, Value>, place: &str, findings: &mut Findings) -> Translated {
    let mut approve = Map::new();
    if let Some(message) = inputs.remove("Message") {
        approve.insert("message".into(), message);
    }
    // Left out, an approval would be one that anybody can give: then the whole step is to be written.
    if let Some(approvers) = inputs.remove("Approvers") {
        let names = super::texts(&approvers);
        let names = names.ok_or(format!("Approvers {approvers}: a list of names is wanted"))?;
        let what = "Approvers: names of the system's users are wanted here, and these are not";
        findings.changed(place, what);
        approve.insert("approvers".into(), names.into());
    }
    if let Some(least) = inputs.remove("MinRequiredApprovals") {
        let number: Option<u64> = number(&least);
        let number = number.ok_or(format!("MinRequiredApprovals {least}: a number is wanted"))?;
        approve.insert("minRequiredApprovals".into(), number.into());
    }
    if let Some(topic) = inputs.remove("NotificationArn") {
        findings.missing(
            place,
            format!("NotificationArn {topic}: an http step before it can tell people"),
        );
    }
    Ok((Kind::Approve, Value::Object(approve)))
}

fn branch(inputs: &mut Map<String, Value>) -> Translated {
    let choices = take(inputs, "Choices", list).ok_or("it has no list of Choices")?;
    let mut translated = Vec::new();
    for choice in choices {
        let Value::Object(mut choice) = choice else {
            return Err("one of its choices is no mapping".into());
        };
        let next = take(&mut choice, "NextStep", text).ok_or("a choice has no NextStep")?;
        let when = condition(choice)?;
        translated.push(json!({ "when": when, "nextStep": next }));
    }
    let mut branch = json!({ "choices": translated });
    if let Some(default) = inputs.remove("Default") {
        branch["default"] = default;
    }
    Ok((Kind::Branch, branch))
}

fn condition(mut map: Map<String, Value>) -> Result<Value, String> {
    fn parts(value: Value) -> Result<Vec<Value>, String> {
        let Value::Array(all) = value else {
            return Err(format!("{value} is no list of conditions"));
        };
        let each = all.into_iter().map(|one| match one {
            Value::Object(map) => condition(map),
            other => Err(format!("{other} is no condition")),
        });
        each.collect()
    }
    let kinds = ["And", "Or", "Not", "Variable"];
    let count = kinds.iter().filter(|kind| map.contains_key(**kind)).count();
    let has_variable = map.contains_key("Variable");
    // A comparison besides would be lost.
    if count != 1 || map.len() != 1 + usize::from(has_variable) {
        let keys: Vec<&String> = map.keys().collect();
        return Err(format!("a condition of {keys:?} says not one thing"));
    }
    if let Some(all) = map.remove("And") {
        return Ok(json!({ "and": parts(all)? }));
    }
    if let Some(all) = map.remove("Or") {
        return Ok(json!({ "or": parts(all)? }));
    }
    if let Some(not) = map.remove("Not") {
        return match not {
            Value::Object(not) => Ok(json!({ "not": condition(not)? })),
            other => Err(format!("{other} is no condition")),
        };
    }
    let mut variable = map
        .remove("Variable")
        .ok_or("a condition has no Variable")?;
    // With or without braces.
    if let Value::String(text) = &mut variable
        && !text.contains("{{")
    {
        *text = format!("{{{{ {text} }}}}");
    }
    let (operator, with) = match map.into_iter().next() {
        Some(one) => one,
        None => return Err("a condition compares with nothing".into()),
    };
    let operator = match operator.as_str() {
        "StringEquals" | "NumericEquals" | "BooleanEquals" => "equals",
        "EqualsIgnoreCase" => "equalsIgnoreCase",
        "StartsWith" => "startsWith",
        "EndsWith" => "endsWith",
        "Contains" => "contains",
        "NumericGreater" => "greater",
        "NumericGreaterOrEquals" => "greaterOrEquals",
        "NumericLesser" => "less",
        "NumericLesserOrEquals" => "lessOrEquals",
        other => return Err(format!("the comparison {other}")),
    };
    Ok(json!({ "variable": variable, operator: with }))
}

fn script(inputs: &mut Map<String, Value>, place: &str, findings: &mut Findings) -> Translated {
    let runtime = take(inputs, "Runtime", text).ok_or("it has no Runtime")?;
    if !runtime.starts_with("python3") {
        return Err(format!(
            "the runtime {runtime}: only Python 3 is translated"
        ));
    }
    let script = take(inputs, "Script", text).ok_or("its script is in an attachment")?;
    let handler = take(inputs, "Handler", text).ok_or("it has no Handler")?;
    let payload = inputs.remove("InputPayload").unwrap_or_else(|| json!({}));
    findings.changed(
        place,
        format!("{runtime} is the python3 of where the runbook is run"),
    );
    if let Some(named) = NAMED.find(&script) {
        let what = format!(
            "its script has {} in it, which is not replaced here",
            named.as_str()
        );
        findings.missing(place, what);
    }
    if script.contains("boto3") {
        findings.changed(place, "its script wants boto3 and AWS credentials there");
    }
    // Its prints are not what it returns.
    let script = format!(
        "{}\n\nif __name__ == \"__main__\":\n    import json, sys\n    out, sys.stdout = sys.stdout, sys.stderr\n    json.dump({handler}(json.load(sys.stdin), None), out)\n",
        script.trim_end()
    );
    let inputs = json!({ "command": ["python3"], "script": script, "input": payload });
    Ok((Kind::Script, inputs))
}
