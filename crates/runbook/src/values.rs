//! `{{ name }}`: what stands for a value, and its value.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

use crate::document::action::Kind;
use crate::document::parameter::text;

static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\{\{\s*([^{}]*?)\s*\}\}").expect("invariant: it is a regular expression")
});

/// What `{{ name }}` may stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Parameter(String),
    /// Of a step, or of the probe: a result, and the way to a value within it.
    Result(String, String, Vec<String>),
    Environment(String),
    /// The run's own: `id`, `date`, `dateTime`.
    Run(String),
}

/// The step that a probe's results belong to.
pub(crate) const PROBE: &str = "probe";

impl Name {
    pub(crate) fn read(written: &str) -> Self {
        let written = written.trim();
        if let Some(name) = written.strip_prefix("env:") {
            return Self::Environment(name.to_string());
        }
        if let Some(name) = written.strip_prefix("run:") {
            return Self::Run(name.to_string());
        }
        let mut parts = written.split('.').map(str::to_string);
        match (parts.next(), parts.next()) {
            (Some(step), Some(result)) => Self::Result(step, result, parts.collect()),
            _ => Self::Parameter(written.to_string()),
        }
    }
}

/// All names in a value.
pub(crate) fn names(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            found.extend(NAMED.captures_iter(text).map(|c| c[1].to_string()));
        }
        Value::Array(list) => list.iter().for_each(|one| names(one, found)),
        Value::Object(map) => map.values().for_each(|one| names(one, found)),
        _ => {}
    }
}

/// Everything that has a value at a moment of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Values {
    pub parameters: BTreeMap<String, Value>,
    /// What came of each step that has ended.
    pub results: BTreeMap<String, Value>,
    pub run: BTreeMap<String, String>,
}

impl Values {
    /// What a name stands for.
    pub(crate) fn of(&self, written: &str) -> Result<Value, String> {
        let found = match Name::read(written) {
            Name::Parameter(name) => self.parameters.get(&name).cloned(),
            Name::Run(name) => self.run.get(&name).cloned().map(Value::String),
            Name::Environment(name) => std::env::var(&name).ok().map(Value::String),
            Name::Result(step, result, path) => {
                let mut found = self.results.get(&step).and_then(|all| all.get(&result));
                for part in &path {
                    found = found.and_then(|value| match value {
                        Value::Array(list) => list.get(part.parse::<usize>().ok()?),
                        other => other.get(part),
                    });
                }
                found.cloned()
            }
        };
        found.ok_or_else(|| format!("{{{{ {} }}}} has no value", written.trim()))
    }

    /// A value with everything in it replaced. A text that is one name and nothing else becomes the value
    /// with its type.
    pub(crate) fn fill(&self, value: &Value) -> Result<Value, String> {
        Ok(match value {
            Value::String(text) => self.fill_text(text)?,
            Value::Array(list) => Value::Array(
                list.iter()
                    .map(|one| self.fill(one))
                    .collect::<Result<_, _>>()?,
            ),
            Value::Object(map) => {
                let filled = map
                    .iter()
                    .map(|(key, one)| Ok((key.clone(), self.fill(one)?)));
                Value::Object(filled.collect::<Result<_, String>>()?)
            }
            other => other.clone(),
        })
    }

    fn fill_text(&self, written: &str) -> Result<Value, String> {
        if let Some(only) = NAMED.captures(written)
            && only[0].len() == written.trim().len()
        {
            return self.of(&only[1]);
        }
        let mut filled = String::new();
        let mut at = 0;
        for named in NAMED.captures_iter(written) {
            let place = named.get(0).expect("invariant: group 0 is the whole");
            filled.push_str(&written[at..place.start()]);
            filled.push_str(&text(&self.of(&named[1])?));
            at = place.end();
        }
        filled.push_str(&written[at..]);
        Ok(Value::String(filled))
    }

    /// The inputs of an action as they are when it is begun. What depends on a probe's results comes later,
    /// and the text of a script is left as it is.
    pub(crate) fn inputs(&self, kind: Kind, inputs: &Value) -> Result<Value, String> {
        let Value::Object(map) = inputs else {
            return Ok(inputs.clone());
        };
        let mut filled = serde_json::Map::new();
        for (key, value) in map {
            let value = match (kind, key.as_str()) {
                (Kind::Script, "script")
                | (Kind::Branch, _)
                | (Kind::WaitFor, "until")
                | (Kind::Assert, "that") => value.clone(),
                (Kind::WaitFor | Kind::Assert, "probe") => match value.get("script") {
                    Some(script) => {
                        let script = self.inputs(Kind::Script, script)?;
                        Value::Object([("script".to_string(), script)].into_iter().collect())
                    }
                    None => self.fill(value)?,
                },
                _ => self.fill(value)?,
            };
            filled.insert(key.clone(), value);
        }
        Ok(Value::Object(filled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn values() -> Values {
        Values {
            parameters: BTreeMap::from([
                ("count".to_string(), json!(3)),
                ("hosts".to_string(), json!(["a", "b"])),
            ]),
            results: BTreeMap::from([("look".to_string(), json!({ "json": { "ids": [7, 8] } }))]),
            run: BTreeMap::from([("id".to_string(), "1-x".to_string())]),
        }
    }

    #[test]
    fn a_name_alone_keeps_its_type_and_one_among_text_becomes_text() {
        let filled = values().fill(&json!({
            "alone": "{{ count }}", "among": "n={{count}}, {{ hosts }} of {{ run:id }}",
            "deep": ["{{ look.json.ids.1 }}"], "none": 1.5,
        }));
        let wanted = json!({
            "alone": 3, "among": "n=3, [\"a\",\"b\"] of 1-x", "deep": [8], "none": 1.5,
        });
        assert_eq!(filled.expect("all are known"), wanted);
        for unknown in [
            "{{ nobody }}",
            "{{ look.json.ids.2 }}",
            "{{ env:NOT_SET_HERE }}",
            "{{ }}",
        ] {
            let error = values().fill(&json!(unknown)).expect_err("unknown");
            assert!(error.contains("has no value"), "{error}");
        }
    }

    #[test]
    fn the_text_of_a_script_is_left_as_it_is() {
        let inputs = json!({ "script": "echo {{ count }}", "env": { "N": "{{ count }}" } });
        let filled = values().inputs(Kind::Script, &inputs).expect("known");
        assert_eq!(
            filled,
            json!({ "script": "echo {{ count }}", "env": { "N": 3 } })
        );
        let inputs =
            json!({ "probe": { "script": inputs }, "until": { "variable": "{{ probe.x }}" } });
        let filled = values().inputs(Kind::WaitFor, &inputs).expect("known");
        assert_eq!(filled["probe"]["script"]["script"], "echo {{ count }}");
        assert_eq!(filled["probe"]["script"]["env"]["N"], 3);
        assert_eq!(filled["until"], inputs["until"]);
    }
}
