//! What a service needs, as a tree that is looked at before it gets traffic.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that the new version needs. Each part is asked once, a few at a time, and none whose own needs
/// are not met: looking may not become a load, least of all on what is already in trouble.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Milliseconds for all of it; what was not asked by then has failed.
    #[serde(default = "five_seconds")]
    pub within_ms: u64,
    /// What is needed.
    #[serde(rename = "dependency")]
    pub dependencies: Vec<Dependency>,
}

/// Something that is needed: a server that takes connections, or answers a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dependency {
    /// Its name.
    pub name: String,
    /// Where it is, as `host:port`.
    pub at: String,
    /// A path that answers 200 when it is well; without one, a connection is enough.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Other dependencies that it needs itself.
    #[serde(default)]
    pub needs: Vec<String>,
    /// Milliseconds that it may take.
    #[serde(default = "one_second")]
    pub within_ms: u64,
    /// Without it the version is not well. One that is not critical is only told of.
    #[serde(default = "yes")]
    pub critical: bool,
}

const fn five_seconds() -> u64 {
    5_000
}

const fn one_second() -> u64 {
    1_000
}

const fn yes() -> bool {
    true
}

impl Health {
    /// The dependencies in an order in which each comes after what it needs.
    ///
    /// # Errors
    /// A field, and what is wrong with it: a name twice, one that is not there, or a circle.
    pub fn ordered(&self) -> Result<Vec<&Dependency>, (String, String)> {
        let mut names = BTreeSet::new();
        for dependency in &self.dependencies {
            let field = |what: &str| format!("health.dependency {:?}: {what}", dependency.name);
            if !names.insert(dependency.name.as_str()) {
                return Err((field("name"), "another dependency has it, too".into()));
            }
            if dependency
                .path
                .as_ref()
                .is_some_and(|path| !path.starts_with('/'))
            {
                return Err((field("path"), format!("{:?} is no path", dependency.path)));
            }
        }
        let mut ordered: Vec<&Dependency> = Vec::new();
        while ordered.len() < self.dependencies.len() {
            let is_in = |name: &str| ordered.iter().any(|done| done.name == name);
            let left = self.dependencies.iter().filter(|one| !is_in(&one.name));
            let ready: Vec<&Dependency> = left
                .clone()
                .filter(|one| one.needs.iter().all(|need| is_in(need)))
                .collect();
            if ready.is_empty() {
                let stuck: Vec<&Dependency> = left.collect();
                let one = stuck[0];
                let unknown = one.needs.iter().find(|need| !names.contains(need.as_str()));
                let detail = match unknown {
                    Some(need) => format!("there is no {need:?}"),
                    None => "it needs itself, or needs something that does".into(),
                };
                return Err((format!("health.dependency {:?}: needs", one.name), detail));
            }
            ordered.extend(ready);
        }
        Ok(ordered)
    }
}
