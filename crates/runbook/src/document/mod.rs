//! The document: what it may say, and whether it makes sense.

pub mod action;
mod check;
pub mod parameter;
mod schema;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use action::Kind;
pub use parameter::{Parameter, Type};

/// The version of these documents.
pub const SCHEMA: &str = "everopen-1";
/// Bytes of a document at most.
const DOCUMENT_MAX: u64 = 1 << 20;

/// A runbook. Names and meanings are those of Systems Manager Automation, schema 0.3, wherever it has them;
/// `undo`, `retrySeconds` and `isRepeatable` are our own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    /// `everopen-1`.
    pub schema_version: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What is asked for when it is run; `{{ name }}` in inputs is replaced.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub parameters: BTreeMap<String, Parameter>,
    /// The steps, one after the other but where a step says otherwise.
    pub main_steps: Vec<Step>,
    /// What is shown at the end: `step.output`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Step {
    /// Its name, for other steps and for people.
    pub name: String,
    /// What it does, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it does.
    pub action: Kind,
    /// With what: each action has its own.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub inputs: Value,
    /// What becomes of the run when it fails, all its attempts included: `Abort`, `Continue` or `step:NAME`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_failure: OnFailure,
    /// What is done when the run is cancelled while this step is at work: `Abort` or `step:NAME`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_cancel: OnCancel,
    /// The run ends after it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub is_end: bool,
    /// Whether the run has failed when it fails; without it, unless `onFailure` is `Continue`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub is_critical: Option<bool>,
    /// The step after it, if that is not the next in the document.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_step: Option<String>,
    /// Seconds that one attempt may take. Without it an hour, and for `approve` seven days; `sleep` has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// How often it is tried.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub max_attempts: u32,
    /// Seconds between two attempts.
    #[serde(default = "one_second", skip_serializing_if = "is_one_second")]
    pub retry_seconds: u64,
    /// Names for values of what comes of it (RFC 6901 pointers), for later steps.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, String>,
    /// Whether it may be done again when it was cut off and nobody knows how far it came. If not, it has
    /// failed then.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub is_repeatable: bool,
    /// What takes it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
}

/// What takes a step back when the run fails or is cancelled. It must stand being done when the step did
/// nothing, or half of what it does, and being done twice.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Undo {
    /// What it does: `script`, `http`, `waitFor`, `assert`, `approve` or `sleep`.
    pub action: Kind,
    /// With what.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub inputs: Value,
    /// Seconds that one attempt may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u64>,
    /// How often it is tried.
    #[serde(default = "three", skip_serializing_if = "is_three")]
    pub max_attempts: u32,
    /// Seconds between two attempts.
    #[serde(default = "one_second", skip_serializing_if = "is_one_second")]
    pub retry_seconds: u64,
    /// Whether it is done for a step that itself failed, or only for one that had ended well.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub after_failure: bool,
}

/// What becomes of the run when a step fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// It ends, and is undone.
    #[default]
    Abort,
    /// It goes on.
    Continue,
    /// It goes on there.
    Step(String),
}

/// What is done when the run is cancelled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum OnCancel {
    /// It ends, and is undone.
    #[default]
    Abort,
    /// It goes on there, and is undone when that path ends.
    Step(String),
}

macro_rules! as_text {
    ($name:ident, $pattern:literal, $($word:literal => $value:ident),*) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$value => f.write_str($word),)*
                    Self::Step(name) => write!(f, "step:{name}"),
                }
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok(Self::$value),)*
                    other => match other.strip_prefix("step:") {
                        Some(name) => Ok(Self::Step(name.to_string())),
                        None => {
                            let words = [$($word, )* "step:NAME"].join(", ");
                            Err(format!("{other:?} is none of {words}"))
                        }
                    },
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern })
            }
        }
    };
}

as_text!(OnFailure, "^(Abort|Continue|step:.+)$", "Abort" => Abort, "Continue" => Continue);
as_text!(OnCancel, "^(Abort|step:.+)$", "Abort" => Abort);

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

const fn one() -> u32 {
    1
}

const fn is_one(value: &u32) -> bool {
    *value == 1
}

const fn three() -> u32 {
    3
}

const fn is_three(value: &u32) -> bool {
    *value == 3
}

const fn one_second() -> u64 {
    1
}

const fn is_one_second(value: &u64) -> bool {
    *value == 1
}

const fn yes() -> bool {
    true
}

const fn is_yes(value: &bool) -> bool {
    *value
}

/// Why a document is none.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    /// It can't be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is no YAML, or not of this form; the text names line and column.
    #[error("{path}: {detail}")]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        detail: String,
    },
    /// It makes no sense.
    #[error("{path}{line}: {place}: {detail}")]
    Sense {
        /// The file.
        path: PathBuf,
        /// `:` and the line, where it is known.
        line: String,
        /// The step and the field.
        place: String,
        /// What is wrong about it.
        detail: String,
    },
}

impl Document {
    /// Reads and checks one, in YAML or JSON.
    ///
    /// # Errors
    /// Names the file, the line, the step and the field.
    pub fn read(path: &Path) -> Result<Self, DocumentError> {
        let text = read_text(path)?;
        Self::parse(path, &text)
    }

    /// Checks a document's text. `path` is for what is said about it.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub fn parse(path: &Path, text: &str) -> Result<Self, DocumentError> {
        let document: Self = serde_saphyr::from_str(text).map_err(|error| DocumentError::Form {
            path: path.to_path_buf(),
            detail: error.to_string(),
        })?;
        match document.check() {
            Ok(()) => Ok(document),
            Err(wrong) => Err(DocumentError::Sense {
                path: path.to_path_buf(),
                line: line_of(text, &wrong).map_or_else(String::new, |line| format!(":{line}")),
                place: wrong.place(),
                detail: wrong.detail,
            }),
        }
    }

    /// A step by its name.
    pub fn step(&self, name: &str) -> Option<&Step> {
        self.main_steps.iter().find(|step| step.name == name)
    }

    /// The JSON Schema (2020-12) of such a document.
    pub fn schema() -> Value {
        schema::schema()
    }
}

/// Reads a file, if it is not too large to be a document.
pub(crate) fn read_text(path: &Path) -> Result<String, DocumentError> {
    let read = || {
        let size = std::fs::metadata(path)?.len();
        if size > DOCUMENT_MAX {
            let text = format!("it has {size} bytes, and may have {DOCUMENT_MAX}");
            return Err(io::Error::other(text));
        }
        std::fs::read_to_string(path)
    };
    read().map_err(|source| DocumentError::Read {
        path: path.to_path_buf(),
        source,
    })
}

/// The line of the step that is wrong: that which gives its name.
fn line_of(text: &str, wrong: &check::Wrong) -> Option<usize> {
    let step = wrong.step.as_ref()?;
    let mut seen = 0;
    for (at, line) in text.lines().enumerate() {
        let line = line.trim_start_matches([' ', '-', '{', '"', ',']);
        let Some(rest) = line.strip_prefix("name") else {
            continue;
        };
        let value = rest.trim_start_matches(['"', ' ', ':']);
        let value = value.trim_end().trim_end_matches([',', '}']);
        if value.trim_matches(['"', '\'', ' ']) == step.as_str() {
            if seen == wrong.nth {
                return Some(at + 1);
            }
            seen += 1;
        }
    }
    None
}

impl Step {
    /// Seconds that an attempt may take; none for as long as it takes.
    pub fn timeout(&self) -> Option<u64> {
        timeout(self.action, self.timeout_seconds)
    }

    /// Whether the run has failed when it fails.
    pub fn counts(&self) -> bool {
        let is_passed_over = self.on_failure == OnFailure::Continue;
        self.is_critical.unwrap_or(!is_passed_over)
    }
}

impl Undo {
    /// Seconds that an attempt may take; none for as long as it takes.
    pub fn timeout(&self) -> Option<u64> {
        timeout(self.action, self.timeout_seconds)
    }
}

fn timeout(action: Kind, given: Option<u64>) -> Option<u64> {
    given.or(match action {
        Kind::Sleep => None,
        Kind::Approve => Some(7 * 24 * 3_600),
        _ => Some(3_600),
    })
}
