//! The file that describes a rollout.

mod health;
mod kubernetes;
mod metrics;
mod moments;
mod shadow;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use everopen_edge::config::{self, ConfigError};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use health::{Dependency, Health};
pub use kubernetes::Kubernetes;
pub use metrics::MetricAlarm;
pub use moments::{Decision, Gate, Hook, Phase};
pub use shadow::Shadow;

/// A version of a service, and how it comes into service. Paths are taken from the folder of the file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// The service's name at the edge.
    pub service: String,
    /// The version, for people and for the command.
    pub version: String,
    /// The edge's admin socket.
    pub edge: PathBuf,
    /// How a target of this version is started.
    pub start: Start,
    /// What the new version needs, looked at before it is started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// Looks at the new version before it gets traffic: deep health checks.
    #[serde(default, rename = "check")]
    pub checks: Vec<Check>,
    /// What a client would do, on the edge's test listener.
    #[serde(default)]
    pub journey: Option<Journey>,
    /// Programs that are run in between.
    #[serde(default, rename = "hook", skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<Hook>,
    /// Where somebody must say that it may go on.
    #[serde(default, rename = "gate", skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Gate>,
    /// How traffic goes over.
    #[serde(default)]
    pub strategy: Strategy,
    /// What makes it come back.
    #[serde(default)]
    pub alarms: Alarms,
    /// What clients may notice at most.
    #[serde(default)]
    pub budget: Option<Budget>,
    /// What comes after.
    #[serde(default)]
    pub after: After,
    /// The database that is rolled out with it in one plan, as in a file of its own, and `when`: `before` (if
    /// nothing is said) or `after` the service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<serde_json::Map<String, serde_json::Value>>,
}

/// How a target is started. In the command and the environment `{port}`, `{version}` and `{instance}`
/// are replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Start {
    /// The program and its arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub command: Vec<String>,
    /// Instead of a program: in Kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<Kubernetes>,
    /// Its working directory.
    #[serde(default = "here")]
    pub dir: PathBuf,
    /// Additions to its environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// How many: processes, or pods.
    #[serde(default = "one")]
    pub instances: u16,
    /// An HTTP path that answers 200 when it can serve.
    pub ready: String,
    /// Milliseconds until it must.
    #[serde(default = "thirty_seconds")]
    pub ready_ms: u64,
    /// Milliseconds between SIGTERM and SIGKILL.
    #[serde(default = "ten_seconds")]
    pub stop_ms: u64,
}

/// A program that looks at one target: it ends with 0 if all is well. In its arguments `{address}` and
/// `{port}` are replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Milliseconds that it may take; then it is killed and has failed.
    #[serde(default = "ten_seconds")]
    pub within_ms: u64,
}

/// A scripted client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Journey {
    /// The test listener, as `host:port`.
    pub at: String,
    /// What it does.
    #[serde(rename = "step")]
    pub steps: Vec<JourneyStep>,
}

/// A request and what is expected of its answer, or messages of a WebSocket. `{name}` is replaced by what an
/// earlier step captured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JourneyStep {
    /// Its name.
    pub name: String,
    /// The method.
    #[serde(default = "get")]
    pub method: String,
    /// The path and query.
    pub path: String,
    /// Headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The body.
    #[serde(default)]
    pub body: String,
    /// The status that it must have.
    #[serde(default = "ok")]
    pub status: u16,
    /// A WebSocket is opened at the path, these messages are sent, and messages are read until one has
    /// what is expected, which is then captured from. Method, body and status are not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub websocket: Option<Vec<String>>,
    /// Text that its body, or one of the messages, must contain.
    #[serde(default)]
    pub contains: Option<String>,
    /// Values of its JSON (RFC 6901 pointers) that later steps use by these names.
    #[serde(default)]
    pub capture: BTreeMap<String, String>,
    /// Milliseconds that it may take.
    #[serde(default = "ten_seconds")]
    pub within_ms: u64,
}

/// How traffic goes over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Strategy {
    /// Percent of new requests that the new version gets, step by step; the last step is all of them.
    /// None means all at once.
    #[serde(default)]
    pub percent: Vec<u32>,
    /// Milliseconds of each step, during which alarms are looked at.
    #[serde(default)]
    pub bake_ms: u64,
    /// Shadow traffic before any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shadow: Option<Shadow>,
}

/// What makes it come back while traffic goes over. The old version, in the same time, is the measure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Alarms {
    /// Percentage points of failed requests above the old version's.
    #[serde(default = "one_percent")]
    pub error_percent: f64,
    /// How many times the old version's 99th percentile of latency; none looks at no latency.
    #[serde(default)]
    pub p99_ratio: Option<f64>,
    /// Requests of the new version in a step before percentages mean anything.
    #[serde(default = "twenty")]
    pub requests_min: u64,
    /// A program that is run twice a second: when it does not end with 0, the rollout comes back.
    #[serde(default)]
    pub command: Option<Vec<String>>,
    /// Bounds on what the new version itself counts.
    #[serde(default, rename = "metric", skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricAlarm>,
}

impl Default for Alarms {
    fn default() -> Self {
        Self {
            error_percent: one_percent(),
            p99_ratio: None,
            requests_min: twenty(),
            command: None,
            metrics: Vec::new(),
        }
    }
}

/// What clients may notice at most, by probes from outside every 20 ms.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// Where clients come in, as `host:port`.
    pub at: String,
    /// The path that is asked for.
    pub path: String,
    /// Probes that may fail.
    #[serde(default)]
    pub failed: u64,
    /// Milliseconds between two answers that came at most.
    #[serde(default = "one_second")]
    pub gap_ms: u64,
}

/// What comes after.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct After {
    /// Milliseconds for which the old version is kept running, to go back to: 48 hours at most.
    #[serde(default = "one_hour")]
    pub warm_ms: u64,
    /// Milliseconds that requests and connections of the old version may take to end.
    #[serde(default = "thirty_seconds")]
    pub drain_ms: u64,
    /// A signal for the old version's processes when its drain begins, so that they can ask their clients
    /// to connect again: `USR1`, `USR2` or `HUP`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain_signal: Option<DrainSignal>,
}

/// What the old version's processes are told with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DrainSignal {
    /// SIGUSR1
    #[serde(rename = "USR1")]
    Usr1,
    /// SIGUSR2
    #[serde(rename = "USR2")]
    Usr2,
    /// SIGHUP
    #[serde(rename = "HUP")]
    Hup,
}

impl Default for After {
    fn default() -> Self {
        Self {
            warm_ms: one_hour(),
            drain_ms: thirty_seconds(),
            drain_signal: None,
        }
    }
}

fn here() -> PathBuf {
    ".".into()
}

fn get() -> String {
    "GET".into()
}

const fn ok() -> u16 {
    200
}

const fn one() -> u16 {
    1
}

const fn twenty() -> u64 {
    20
}

const fn one_percent() -> f64 {
    1.0
}

const fn one_second() -> u64 {
    1_000
}

const fn ten_seconds() -> u64 {
    10_000
}

const fn thirty_seconds() -> u64 {
    30_000
}

const fn one_hour() -> u64 {
    3_600_000
}

/// The longest rollback window.
pub const WARM_MAX_MS: u64 = 48 * 3_600_000;

impl File {
    /// Reads and checks a file. Relative paths in it become absolute.
    ///
    /// # Errors
    /// Names the file, and the line or the field.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut file: Self = config::read(path, Self::check)?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        let base = std::path::absolute(folder.unwrap_or(Path::new(".")));
        let base = base.map_err(|source| ConfigError::Read {
            path: path.to_path_buf(),
            source,
        })?;
        file.edge = base.join(&file.edge);
        file.start.dir = base.join(&file.start.dir);
        if let Some(kubernetes) = &mut file.start.kubernetes {
            kubernetes.kubeconfig = kubernetes.kubeconfig.take().map(|path| base.join(path));
        }
        Ok(file)
    }

    /// The JSON Schema (2020-12) of such a file, for editors that check and complete TOML by one.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Self).to_value()
    }

    fn check(&self) -> Result<(), (String, String)> {
        let wrong = |field: &str, detail: String| Err((field.to_string(), detail));
        let is_name = |text: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
            (1..=64).contains(&text.len()) && text.bytes().all(known) && !text.starts_with('.')
        };
        for (field, text) in [("service", &self.service), ("version", &self.version)] {
            if !is_name(text) {
                let detail = format!("{text:?} is not 1 to 64 letters, digits, `-`, `_` and `.`");
                return wrong(field, detail);
            }
        }
        self.check_kubernetes()?;
        if !(1..=64).contains(&self.start.instances) {
            let detail = format!("{} is not from 1 to 64", self.start.instances);
            return wrong("start.instances", detail);
        }
        if !self.start.ready.starts_with('/') {
            return wrong("start.ready", format!("{:?} is no path", self.start.ready));
        }
        if let Some(check) = self.checks.iter().find(|check| check.command.is_empty()) {
            return wrong(
                &format!("check {:?}: command", check.name),
                "it names no program".into(),
            );
        }
        if let Some(health) = &self.health {
            health.ordered()?;
        }
        self.check_moments()?;
        self.check_metrics()?;
        if let Some(shadow) = &self.strategy.shadow {
            shadow.check()?;
        }
        let mut before = 0;
        for percent in &self.strategy.percent {
            if *percent <= before || *percent > 100 {
                let detail = format!(
                    "{percent} after {before}: each is above the one before and at most 100"
                );
                return wrong("strategy.percent", detail);
            }
            before = *percent;
        }
        if !(0.0..=100.0).contains(&self.alarms.error_percent) {
            let detail = format!("{} is not from 0 to 100", self.alarms.error_percent);
            return wrong("alarms.error_percent", detail);
        }
        if self.after.warm_ms > WARM_MAX_MS {
            return wrong(
                "after.warm_ms",
                format!("{} is above {WARM_MAX_MS} (48 hours)", self.after.warm_ms),
            );
        }
        for (field, value, most) in [
            ("start.ready_ms", self.start.ready_ms, 3_600_000),
            ("start.stop_ms", self.start.stop_ms, 600_000),
            ("strategy.bake_ms", self.strategy.bake_ms, WARM_MAX_MS),
            ("after.drain_ms", self.after.drain_ms, 3_600_000),
        ] {
            if value > most {
                return wrong(field, format!("{value} is above {most}"));
            }
        }
        Ok(())
    }

    /// Hooks and gates.
    fn check_moments(&self) -> Result<(), (String, String)> {
        for (at, hook) in self.hooks.iter().enumerate() {
            let field = |what: &str| format!("hook {:?}: {what}", hook.name);
            if self.hooks[..at].iter().any(|other| other.name == hook.name) {
                return Err((field("name"), "another hook has it, too".into()));
            }
            if hook.command.is_empty() {
                return Err((field("command"), "it names no program".into()));
            }
        }
        for (at, gate) in self.gates.iter().enumerate() {
            let field = |what: &str| format!("gate {:?}: {what}", gate.name);
            if self.gates[..at].iter().any(|other| other.name == gate.name) {
                return Err((field("name"), "another gate has it, too".into()));
            }
            if gate.within_ms > WARM_MAX_MS {
                let detail = format!("{} is above {WARM_MAX_MS} (48 hours)", gate.within_ms);
                return Err((field("within_ms"), detail));
            }
            let Some(percent) = gate.percent else {
                continue;
            };
            if gate.phase != Phase::AfterShare || !self.strategy.percent.contains(&percent) {
                let detail = format!(
                    "{percent} is no share of strategy.percent, or the phase is not after_share"
                );
                return Err((field("percent"), detail));
            }
        }
        Ok(())
    }

    fn check_metrics(&self) -> Result<(), (String, String)> {
        for alarm in &self.alarms.metrics {
            let field = |what: &str| format!("alarms.metric {:?}: {what}", alarm.metric);
            let bounds = [alarm.above, alarm.below, alarm.times_old];
            if bounds.iter().all(Option::is_none) {
                let detail = "it has no bound: above, below or times_old";
                return Err((field("above"), detail.into()));
            }
            if !alarm.path.starts_with('/') {
                return Err((field("path"), format!("{:?} is no path", alarm.path)));
            }
            if alarm.at.is_some() && alarm.times_old.is_some() {
                let detail = "`at` is one place for both versions";
                return Err((field("times_old"), detail.into()));
            }
        }
        Ok(())
    }
}
