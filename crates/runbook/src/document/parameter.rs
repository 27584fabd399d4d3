//! What is asked for when a runbook is run.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Document;

/// A parameter. It is kept in the run's folder as it was given: secrets are better taken from the
/// environment, `{{ env:NAME }}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameter {
    /// Its type.
    #[serde(rename = "type")]
    pub kind: Type,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its value where none is given; without it, one must be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The only values that it may have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_values: Vec<Value>,
    /// A regular expression that all of its text must match; for a list, each of its members.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_pattern: Option<String>,
}

/// What a parameter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Type {
    /// Text.
    String,
    /// A whole number.
    Integer,
    /// True or false.
    Boolean,
    /// Several texts; on the command line, JSON or with commas in between.
    StringList,
    /// Names and values; on the command line, JSON.
    StringMap,
}

impl Parameter {
    /// Whether it may have this value.
    pub(crate) fn check(&self, value: &Value) -> Result<(), String> {
        let is_of_type = match self.kind {
            Type::String => value.is_string(),
            Type::Integer => value.is_i64() || value.is_u64(),
            Type::Boolean => value.is_boolean(),
            Type::StringList => value
                .as_array()
                .is_some_and(|list| list.iter().all(Value::is_string)),
            Type::StringMap => value.is_object(),
        };
        if !is_of_type {
            return Err(format!("{value} is no {:?}", self.kind));
        }
        if !self.allowed_values.is_empty() && !self.allowed_values.contains(value) {
            let allowed: Vec<String> = self.allowed_values.iter().map(Value::to_string).collect();
            return Err(format!("{value} is none of {}", allowed.join(", ")));
        }
        if let Some(pattern) = &self.allowed_pattern {
            let whole = whole(pattern)?;
            let texts = match value {
                Value::Array(list) => list.iter().map(text).collect(),
                one => vec![text(one)],
            };
            if let Some(wrong) = texts.iter().find(|text| !whole.is_match(text)) {
                return Err(format!("{wrong:?} does not match {pattern}"));
            }
        }
        Ok(())
    }

    /// What was written on the command line.
    fn read(&self, written: &str) -> Result<Value, String> {
        let json = |what: &str| {
            serde_json::from_str(written).map_err(|_| format!("{written:?} is no {what}"))
        };
        match self.kind {
            Type::String => Ok(Value::String(written.to_string())),
            Type::Integer => json("whole number"),
            Type::Boolean => json("true or false"),
            Type::StringMap => json("JSON object"),
            Type::StringList if written.trim_start().starts_with('[') => json("JSON array"),
            Type::StringList => Ok(written.split(',').map(str::trim).collect()),
        }
    }
}

/// A pattern that all of a text must match.
pub(crate) fn whole(pattern: &str) -> Result<regex::Regex, String> {
    regex::Regex::new(&format!("^(?:{pattern})$")).map_err(|error| error.to_string())
}

/// A value as it stands in text.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The values of a run: what was given on the command line, and defaults.
///
/// # Errors
/// Names the parameter, and what is wrong about it.
pub fn values(
    document: &Document,
    given: &[(String, String)],
) -> Result<BTreeMap<String, Value>, String> {
    let mut values = BTreeMap::new();
    for (name, written) in given {
        let Some(parameter) = document.parameters.get(name) else {
            let known: Vec<&str> = document.parameters.keys().map(String::as_str).collect();
            return Err(match known.as_slice() {
                [] => format!("parameter {name:?}: the document has none"),
                known => format!("parameter {name:?}: the document has {}", known.join(", ")),
            });
        };
        let value = parameter.read(written);
        let value = value.map_err(|detail| format!("parameter {name:?}: {detail}"))?;
        if values.insert(name.clone(), value).is_some() {
            return Err(format!("parameter {name:?}: it is given twice"));
        }
    }
    for (name, parameter) in &document.parameters {
        if let (false, Some(default)) = (values.contains_key(name), &parameter.default) {
            values.insert(name.clone(), default.clone());
        }
        let value = values
            .get(name)
            .ok_or_else(|| format!("parameter {name:?} is needed ({})", parameter.description))?;
        parameter
            .check(value)
            .map_err(|detail| format!("parameter {name:?}: {detail}"))?;
    }
    Ok(values)
}
