//! Shadow traffic: the new version is asked what clients ask, before it answers any of them.

use everopen_edge::shadow::Shadowing;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// For a while, requests that the old version has answered are put to the new one as well, and the answers are
/// compared. Clients never see the new one's, and never wait for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shadow {
    /// Milliseconds for which that is done.
    pub for_ms: u64,
    /// Percent of requests that are put to it.
    #[serde(default = "hundred")]
    pub percent: u32,
    /// Only requests with these methods. Those that change something change it twice, unless the new version
    /// works on data of its own.
    #[serde(default = "reads")]
    pub methods: Vec<String>,
    /// Headers of answers that are compared, besides the status and the body.
    #[serde(default = "content_type")]
    pub headers: Vec<String>,
    /// Places in JSON bodies that may differ: RFC 6901 pointers, in which `*` is any name or number.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// Bytes of a body that are compared; a request with more is passed over.
    #[serde(default = "quarter_mebibyte")]
    pub body_max: usize,
    /// Percent of compared answers that may differ, or not come.
    #[serde(default)]
    pub different_percent: f64,
    /// Requests that must have been compared at its end; before, no percentage means anything.
    #[serde(default = "twenty")]
    pub requests_min: u64,
}

const fn hundred() -> u32 {
    100
}

fn reads() -> Vec<String> {
    vec!["GET".into(), "HEAD".into()]
}

fn content_type() -> Vec<String> {
    vec!["content-type".into()]
}

const fn quarter_mebibyte() -> usize {
    256 << 10
}

const fn twenty() -> u64 {
    20
}

impl Shadow {
    /// As the edge is told.
    pub(crate) fn shadowing(&self, group: &str) -> Shadowing {
        Shadowing {
            group: group.to_string(),
            percent: self.percent,
            methods: self.methods.clone(),
            headers: self.headers.clone(),
            ignore: self.ignore.clone(),
            body_max: self.body_max,
        }
    }

    pub(super) fn check(&self) -> Result<(), (String, String)> {
        let wrong = |field: &str, detail: String| Err((format!("strategy.shadow.{field}"), detail));
        if !(1..=super::WARM_MAX_MS).contains(&self.for_ms) {
            return wrong(
                "for_ms",
                format!("{} is not from 1 to 48 hours", self.for_ms),
            );
        }
        if !(0.0..=100.0).contains(&self.different_percent) {
            let detail = format!("{} is not from 0 to 100", self.different_percent);
            return wrong("different_percent", detail);
        }
        match self.shadowing("").check() {
            Ok(()) => Ok(()),
            Err((field, detail)) => wrong(field, detail),
        }
    }
}
