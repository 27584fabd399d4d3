//! Systems Manager Automation documents, schema 0.3, in YAML or JSON: what can be translated is, and what
//! can't is named, one by one. Nothing is left out silently.

mod step;

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value};

use crate::document::parameter::whole;
use crate::document::{Document, DocumentError, Parameter, SCHEMA, Type, read_text};

/// Something that a reader of the translation must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where in the document it is.
    pub place: String,
    /// What it is.
    pub what: String,
    /// Whether it is missing in the translation; else it is there and means something a little different.
    pub is_missing: bool,
}

/// A document that was translated.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The translation. Steps that could not be translated are in their places, as `untranslated`.
    pub document: Document,
    /// What must be known of it.
    pub findings: Vec<Finding>,
}

/// What was found so far.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, place: &str, what: impl Into<String>, is_missing: bool) {
        self.0.push(Finding {
            place: place.to_string(),
            what: what.into(),
            is_missing,
        });
    }

    fn missing(&mut self, place: &str, what: impl Into<String>) {
        self.add(place, what, true);
    }

    fn changed(&mut self, place: &str, what: impl Into<String>) {
        self.add(place, what, false);
    }

    /// Everything that nobody took out of a map.
    fn rest(&mut self, place: &str, map: Map<String, Value>) {
        for (key, value) in map {
            let value: String = value.to_string().chars().take(100).collect();
            self.missing(place, format!("{key}: {value}"));
        }
    }
}

/// Takes a value that has the expected form out of a map. One of another form stays there, so that it is
/// named with all else that nobody took.
fn take<T>(
    map: &mut Map<String, Value>,
    key: &str,
    read: impl FnOnce(&Value) -> Option<T>,
) -> Option<T> {
    let taken = read(map.get(key)?)?;
    map.remove(key);
    Some(taken)
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_string)
}

fn map(value: &Value) -> Option<Map<String, Value>> {
    value.as_object().cloned()
}

fn list(value: &Value) -> Option<Vec<Value>> {
    value.as_array().cloned()
}

fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(text).collect()
}

/// Translates a document in a file.
///
/// # Errors
/// It can't be read, is no YAML, or no document of schema 0.3.
pub fn read(path: &Path) -> Result<Imported, DocumentError> {
    let text = read_text(path)?;
    let form = |detail: String| DocumentError::Form {
        path: path.to_path_buf(),
        detail,
    };
    let value: Value = serde_saphyr::from_str(&text).map_err(|error| form(error.to_string()))?;
    import(value).map_err(form)
}

/// The translation as YAML.
///
/// # Errors
/// It can't be written as such.
pub fn to_yaml(document: &Document) -> Result<String, String> {
    serde_saphyr::to_string(document).map_err(|error| error.to_string())
}

fn import(value: Value) -> Result<Imported, String> {
    let Value::Object(mut top) = value else {
        return Err("it is no mapping with schemaVersion and mainSteps".into());
    };
    let mut findings = Findings::default();
    match top.remove("schemaVersion").as_ref().and_then(Value::as_str) {
        Some("0.3") => {}
        Some(other) => {
            return Err(format!(
                "schemaVersion {other:?}: only \"0.3\" (Automation) is translated"
            ));
        }
        None => return Err("schemaVersion is missing, or no text".into()),
    }
    let steps = take(&mut top, "mainSteps", list).ok_or("mainSteps is missing, or no list")?;
    let description = take(&mut top, "description", text).unwrap_or_default();
    let parameters = take(&mut top, "parameters", map).unwrap_or_default();
    let parameters = self::parameters(parameters, &mut findings);
    if let Some(role) = top.remove("assumeRole") {
        let what = format!("{role}: the run has the rights of who runs it");
        findings.missing("assumeRole", what);
    }
    let outputs = take(&mut top, "outputs", texts).unwrap_or_default();
    findings.rest("document", top);
    let kinds = step::kinds(&steps);
    let mut main_steps = Vec::new();
    for (at, one) in steps.into_iter().enumerate() {
        match one {
            Value::Object(map) => main_steps.push(step::step(map, at, &kinds, &mut findings)?),
            other => return Err(format!("mainSteps[{at}]: {other} is no step")),
        }
    }
    let document = Document {
        schema_version: SCHEMA.to_string(),
        description,
        parameters,
        main_steps,
        outputs: outputs
            .into_iter()
            .map(|output: String| step::rename(&output, &kinds))
            .collect(),
    };
    Ok(Imported {
        document,
        findings: findings.0,
    })
}

fn parameters(all: Map<String, Value>, findings: &mut Findings) -> BTreeMap<String, Parameter> {
    let mut found = BTreeMap::new();
    for (name, value) in all {
        let place = format!("parameters.{name}");
        let Value::Object(mut map) = value else {
            findings.missing(&place, "it is no mapping");
            continue;
        };
        let written = take(&mut map, "type", text);
        let written = written.as_deref().unwrap_or("String");
        let kind = match written {
            "String" => Type::String,
            "Integer" => Type::Integer,
            "Boolean" => Type::Boolean,
            "StringList" => Type::StringList,
            "StringMap" => Type::StringMap,
            other => {
                let (kind, as_what) = match other.starts_with("List<") {
                    true => (Type::StringList, "a list of texts"),
                    false => (Type::String, "text"),
                };
                match other.contains("AWS::") {
                    true => findings.changed(&place, format!("type {other} is {as_what} here")),
                    false => {
                        findings.missing(&place, format!("type {other}; it is {as_what} here"))
                    }
                }
                kind
            }
        };
        let mut parameter = Parameter {
            kind,
            description: take(&mut map, "description", text).unwrap_or_default(),
            default: map.remove("default"),
            allowed_values: take(&mut map, "allowedValues", list).unwrap_or_default(),
            allowed_pattern: take(&mut map, "allowedPattern", text),
        };
        if let Some(pattern) = &parameter.allowed_pattern
            && let Err(why) = whole(pattern)
        {
            let why = why.lines().last().unwrap_or_default().trim().to_string();
            findings.missing(&place, format!("allowedPattern {pattern}: {why}"));
            parameter.allowed_pattern = None;
        }
        if let Some(default) = &parameter.default
            && let Err(why) = parameter.check(default)
        {
            findings.missing(&place, format!("default: {why}"));
            parameter.default = None;
        }
        findings.rest(&place, map);
        found.insert(name, parameter);
    }
    found
}
