//! What is done, or waited for, between the steps of a rollout.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A moment of a rollout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Before anything is started.
    BeforeStart,
    /// The new version has passed its checks and its journey; no client has met it.
    BeforeTraffic,
    /// A share of requests has gone to the new version for a while, and more are to follow.
    AfterShare,
    /// All new requests have gone to it for a while; what the old version still does is not ended yet.
    BeforeDrain,
    /// The rollout is about to end well.
    AtEnd,
}

impl Phase {
    /// As it is written in a file.
    pub fn name(self) -> &'static str {
        match self {
            Self::BeforeStart => "before_start",
            Self::BeforeTraffic => "before_traffic",
            Self::AfterShare => "after_share",
            Self::BeforeDrain => "before_drain",
            Self::AtEnd => "at_end",
        }
    }
}

/// A program that is run at a moment. If it does not end with 0 the rollout comes back. In its arguments
/// `{version}`, `{group}` and `{percent}` are replaced. It may be run again by a controller that takes up a
/// rollout which was cut off.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hook {
    /// Its name.
    pub name: String,
    /// When.
    pub phase: Phase,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Milliseconds that it may take; then it is killed and has failed.
    #[serde(default = "one_minute")]
    pub within_ms: u64,
}

/// A moment at which somebody must say that it may go on. Alarms are looked at while it waits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    /// Its name, for `everopen rollout approve`.
    pub name: String,
    /// When.
    pub phase: Phase,
    /// With `after_share`: only at this share, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub percent: Option<u32>,
    /// Milliseconds after which nobody is waited for any longer, and the rollout comes back: 48 hours at
    /// most.
    #[serde(default = "one_day")]
    pub within_ms: u64,
}

/// What somebody said at a gate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Decision {
    /// Whether it may go on.
    pub approved: bool,
    /// Who said so.
    pub who: String,
    /// Why, in their words.
    pub why: String,
}

const fn one_minute() -> u64 {
    60_000
}

const fn one_day() -> u64 {
    24 * 3_600_000
}
