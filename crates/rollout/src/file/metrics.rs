//! Alarms on what the new version itself counts.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A bound on a metric in the text format of Prometheus (exposition format 0.0.4), scraped twice a second
/// while traffic goes over. Series that are not there count as 0; a place that
/// can't be scraped, or that knows no such metric, breaches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetricAlarm {
    /// The metric's name, with `_bucket`, `_sum` or `_count` where it has that.
    pub metric: String,
    /// Labels that a series must have; the values of all that do are added.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The path at each instance of the new version.
    #[serde(default = "metrics")]
    pub path: String,
    /// Another place, as `host:port`, scraped instead of the instances: an exporter beside them, or a
    /// database.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// What it adds up to in a second, and not the value itself: for counters.
    #[serde(default)]
    pub per_second: bool,
    /// It is not to be above this. At several instances, the largest counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    /// It is not to be below this. At several instances, the smallest counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<f64>,
    /// It is not to be above so many times what it is at the old version, at the same time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times_old: Option<f64>,
    /// Milliseconds for which a bound must be broken without a pause.
    #[serde(default = "two_seconds")]
    pub for_ms: u64,
}

fn metrics() -> String {
    "/metrics".into()
}

const fn two_seconds() -> u64 {
    2_000
}
