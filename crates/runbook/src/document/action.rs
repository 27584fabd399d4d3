//! What steps do, and with what.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::parameter::text;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Kind {
    /// Runs a program.
    Script,
    /// Makes an HTTP request.
    Http,
    /// Waits.
    Sleep,
    /// Waits until people have said yes.
    Approve,
    /// Goes on at one of several steps.
    Branch,
    /// Asks again and again, until the answer is what it is to be.
    WaitFor,
    /// Fails if something is not as it is to be.
    Assert,
    /// What an importer could not translate: nothing runs a document that has it.
    Untranslated,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// The inputs of `script`. What comes of it: `exitCode`, `stdout`, `stderr`, and `json` where the standard
/// output is JSON. It has failed unless it ends with 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Script {
    /// The program and its arguments; or, with `script`, the interpreter, `sh` if it is left out.
    #[serde(
        default,
        deserialize_with = "texts",
        skip_serializing_if = "Vec::is_empty"
    )]
    pub command: Vec<String>,
    /// A script that the interpreter gets in a file, as its last argument. `{{ name }}` is not replaced in
    /// it: what a value says would become code. Values go through `env` or `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// Additions to its environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, Value>,
    /// What it reads: text, or a value as JSON.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub input: Value,
    /// Its working directory; a relative one is taken from the document's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dir: Option<PathBuf>,
}

/// The inputs of `http`. What comes of it: `status`, `headers`, `body`, and `json` where the body is JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Http {
    /// `http://` or `https://`, host, perhaps a port, path and query.
    pub url: String,
    /// The method.
    #[serde(default = "get", skip_serializing_if = "is_get")]
    pub method: String,
    /// Headers.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, Value>,
    /// The body: text, or a value as JSON.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
    /// The statuses that are no failure; without them, 200 to 299.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub status: Vec<u16>,
    /// A file with the certificates that a server's is traced to, instead of the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
}

/// The inputs of `sleep`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sleep {
    /// How long. A run that is taken up again sleeps what is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<Quantity>,
    /// Or how long, as an ISO 8601 duration: `PT10M`, `PT{{ minutes }}M`. Days have 24 hours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<String>,
    /// Or until when: an RFC 3339 time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

impl Sleep {
    /// Milliseconds of an ISO 8601 duration.
    ///
    /// # Errors
    /// It is none, or one of months or years, whose length is not known.
    pub fn milliseconds(duration: &str) -> Result<u64, String> {
        let wrong = |error: jiff::Error| format!("duration {duration:?}: {error}");
        let span: jiff::Span = duration.parse().map_err(wrong)?;
        let days = jiff::SpanRelativeTo::days_are_24_hours();
        let ms = span.total((jiff::Unit::Millisecond, days)).map_err(wrong)?;
        match ms >= 0.0 {
            true => Ok(ms as u64),
            false => Err(format!("duration {duration:?} is below zero")),
        }
    }
}

/// A number, or what stands for one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Quantity {
    /// A number.
    Number(f64),
    /// `{{ name }}`.
    Named(String),
}

/// The inputs of `approve`. What comes of it: `approvers`, who said yes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Approve {
    /// What is to be decided.
    #[serde(default, deserialize_with = "as_text")]
    pub message: String,
    /// Who may decide: names of the system's users. Without them, everyone who can write into the run's
    /// folder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvers: Vec<String>,
    /// How many of them must say yes; one no is enough to end it.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub min_required_approvals: usize,
}

/// The inputs of `branch`: the first choice that holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Branch {
    /// The choices, in order.
    pub choices: Vec<Choice>,
    /// Where it goes on if none holds; without it the next step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
}

/// A choice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Choice {
    /// When it holds.
    pub when: Condition,
    /// Where it goes on then.
    pub next_step: String,
}

/// The inputs of `waitFor`. What comes of it is what came of the last probe.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WaitFor {
    /// What is asked. One that fails is asked again, too.
    pub probe: Probe,
    /// What must hold of what comes, which is `{{ probe.… }}` here; without it, that the probe does not fail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Condition>,
    /// Seconds from one to the next.
    #[serde(default = "two", skip_serializing_if = "is_two")]
    pub every_seconds: f64,
}

/// The inputs of `assert`. What comes of it is what came of the probe, if there is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Assert {
    /// What is asked first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// What must hold; what came of the probe is `{{ probe.… }}` here.
    pub that: Condition,
    /// What it means if it does not hold.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// A question.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Probe {
    /// Put to a program.
    Script(Script),
    /// Put to a server.
    Http(Http),
}

/// Something that holds or does not: a variable and one comparison, or several of these together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Condition {
    /// What is compared, as a rule `{{ step.output }}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variable: Option<Value>,
    /// It is this: numbers by their value, everything else as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<Value>,
    /// It is not this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_equals: Option<Value>,
    /// It is this text but for upper and lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals_ignore_case: Option<Value>,
    /// It begins with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_with: Option<Value>,
    /// It ends with this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_with: Option<Value>,
    /// It has this in it: a text in a text, or a member in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<Value>,
    /// It is a number above this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greater: Option<Value>,
    /// It is a number, this one or above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub greater_or_equals: Option<Value>,
    /// It is a number below this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub less: Option<Value>,
    /// It is a number, this one or below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub less_or_equals: Option<Value>,
    /// All of these hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub and: Vec<Condition>,
    /// One of these holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub or: Vec<Condition>,
    /// This does not hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not: Option<Box<Condition>>,
}

/// The inputs of `untranslated`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Untranslated {
    /// The action that it was.
    pub was: String,
    /// Why it could not be translated.
    pub why: String,
    /// The inputs that it had.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub inputs: Value,
}

/// An action with its inputs.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each is the type of the same name, above")]
pub enum Action {
    Script(Script),
    Http(Http),
    Sleep(Sleep),
    Approve(Approve),
    Branch(Branch),
    WaitFor(WaitFor),
    Assert(Assert),
    Untranslated(Untranslated),
}

impl Action {
    /// Reads the inputs of an action.
    ///
    /// # Errors
    /// Says which input is missing, unknown or of another type.
    pub fn read(kind: Kind, inputs: &Value) -> Result<Self, String> {
        fn of<T: DeserializeOwned>(inputs: &Value) -> Result<T, String> {
            let inputs = match inputs {
                Value::Null => Value::Object(serde_json::Map::new()),
                inputs => inputs.clone(),
            };
            serde_json::from_value(inputs).map_err(|error| error.to_string())
        }
        Ok(match kind {
            Kind::Script => Self::Script(of(inputs)?),
            Kind::Http => Self::Http(of(inputs)?),
            Kind::Sleep => Self::Sleep(of(inputs)?),
            Kind::Approve => Self::Approve(of(inputs)?),
            Kind::Branch => Self::Branch(of(inputs)?),
            Kind::WaitFor => Self::WaitFor(of(inputs)?),
            Kind::Assert => Self::Assert(of(inputs)?),
            Kind::Untranslated => Self::Untranslated(of(inputs)?),
        })
    }

    /// Names of what comes of it, whatever the step calls its own outputs.
    pub fn results(&self) -> &'static [&'static str] {
        const SCRIPT: &[&str] = &["exitCode", "stdout", "stderr", "json"];
        const HTTP: &[&str] = &["status", "headers", "body", "json"];
        let of = |probe: &Probe| match probe {
            Probe::Script(_) => SCRIPT,
            Probe::Http(_) => HTTP,
        };
        match self {
            Self::Script(_) => SCRIPT,
            Self::Http(_) => HTTP,
            Self::WaitFor(wait) => of(&wait.probe),
            Self::Assert(assert) => assert.probe.as_ref().map_or(&[], of),
            Self::Approve(_) => &["approvers"],
            Self::Sleep(_) | Self::Branch(_) | Self::Untranslated(_) => &[],
        }
    }
}

/// A text, or what stands for one: `{{ count }}` is a number when it is filled in.
fn as_text<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    match Value::deserialize(from)? {
        value @ (Value::String(_) | Value::Number(_) | Value::Bool(_)) => Ok(text(&value)),
        other => Err(D::Error::custom(format!("{other} is no text"))),
    }
}

fn texts<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    struct Text(#[serde(deserialize_with = "as_text")] String);
    let all = Vec::<Text>::deserialize(from)?;
    Ok(all.into_iter().map(|Text(text)| text).collect())
}

fn get() -> String {
    "GET".into()
}

fn is_get(method: &String) -> bool {
    method == "GET"
}

const fn one() -> usize {
    1
}

const fn is_one(value: &usize) -> bool {
    *value == 1
}

const fn two() -> f64 {
    2.0
}

fn is_two(value: &f64) -> bool {
    *value == 2.0
}
