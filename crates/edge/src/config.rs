//! `edge.toml`: listeners and services.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The settings of an edge. Paths are taken from the folder of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The unix socket for operators; only the edge's own user may open it.
    #[serde(default = "admin")]
    pub admin: PathBuf,
    /// Where connections are taken.
    #[serde(rename = "listener")]
    pub listeners: Vec<Listener>,
    /// What they lead to.
    #[serde(rename = "service")]
    pub services: BTreeMap<String, Service>,
}

/// A place where connections are taken.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Its name, by which its socket is handed over.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// What is spoken there.
    #[serde(default)]
    pub protocol: Protocol,
    /// The service behind it.
    pub service: String,
    /// A test listener: it leads to the group that has the least weight, whichever that is now.
    #[serde(default)]
    pub test: bool,
    /// Always this group, whatever the weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Clients may choose a group by the header `everopen-group`.
    #[serde(default)]
    pub group_header: bool,
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1, and WebSocket by upgrade
    #[default]
    Http,
    /// Bytes, unseen
    Tcp,
}

/// A service and its groups of targets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Its groups, by name.
    #[serde(rename = "group")]
    pub groups: BTreeMap<String, Group>,
    /// A client stays with the group that it met first, by a cookie.
    #[serde(default)]
    pub affinity: bool,
    /// Milliseconds that a target may take for the head of its answer.
    #[serde(default = "thirty_seconds")]
    pub answer_ms: u64,
    /// Milliseconds for a connection to a target.
    #[serde(default = "one_second")]
    pub connect_ms: u64,
}

/// Targets that run the same version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Where they listen.
    #[serde(default)]
    pub targets: Vec<SocketAddr>,
    /// Its share of new requests, of the sum of all weights; with 0 it gets none.
    #[serde(default)]
    pub weight: u32,
}

fn admin() -> PathBuf {
    "edge.sock".into()
}

const fn thirty_seconds() -> u64 {
    30_000
}

const fn one_second() -> u64 {
    1_000
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It can't be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is no TOML, or has a key that is not known.
    #[error("in {}: {detail}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and what.
        detail: String,
    },
    /// It contradicts itself.
    #[error("in {}: {field}: {detail}", path.display())]
    Field {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// Reads a file and checks what it says; `check` names a field and what is wrong with it.
///
/// # Errors
/// Names the file, and the line or the field.
pub fn read<T: DeserializeOwned>(
    path: &Path,
    check: impl FnOnce(&T) -> Result<(), (String, String)>,
) -> Result<T, ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    let read: T = toml::from_str(&text).map_err(|error| ConfigError::Syntax {
        path: path.to_path_buf(),
        detail: error.to_string(),
    })?;
    check(&read).map_err(|(field, detail)| ConfigError::Field {
        path: path.to_path_buf(),
        field,
        detail,
    })?;
    Ok(read)
}

impl Config {
    /// Reads and checks a file. Relative paths in it become absolute.
    ///
    /// # Errors
    /// Names the file, and the line or the field.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let mut config: Self = read(path, Self::check)?;
        let base = path.parent().unwrap_or(Path::new("."));
        config.admin = base.join(&config.admin);
        Ok(config)
    }

    fn check(&self) -> Result<(), (String, String)> {
        if self.listeners.is_empty() {
            return Err(("listener".into(), "at least one".into()));
        }
        for (at, listener) in self.listeners.iter().enumerate() {
            let wrong = |field: &str, detail: String| {
                Err((format!("listener {:?}: {field}", listener.name), detail))
            };
            if self.listeners[..at].iter().any(|l| l.name == listener.name) {
                return wrong("name", "another listener has it, too".into());
            }
            let Some(service) = self.services.get(&listener.service) else {
                return wrong("service", format!("there is no {:?}", listener.service));
            };
            if let Some(group) = &listener.group
                && !service.groups.contains_key(group)
            {
                return wrong("group", format!("{:?} has no {group:?}", listener.service));
            }
            if listener.test && listener.group.is_some() {
                return wrong("test", "it can't be a fixed group's as well".into());
            }
            if listener.protocol == Protocol::Tcp && listener.group_header {
                return wrong("group_header", "bytes have no headers".into());
            }
        }
        for (name, service) in &self.services {
            if service.groups.is_empty() {
                return Err((format!("service.{name}.group"), "at least one".into()));
            }
            for (field, value) in [
                ("answer_ms", service.answer_ms),
                ("connect_ms", service.connect_ms),
            ] {
                if !(1..=600_000).contains(&value) {
                    let detail = format!("{value} is not from 1 to 600000");
                    return Err((format!("service.{name}.{field}"), detail));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
[[listener]]
name = "public"
address = "127.0.0.1:8080"
service = "api"

[[listener]]
name = "test"
address = "127.0.0.1:8081"
service = "api"
test = true

[service.api.group.blue]
targets = ["127.0.0.1:9001"]
weight = 100

[service.api.group.green]
"#;

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.toml");
        std::fs::write(&path, text).unwrap();
        let read = Config::read(&path);
        read.map_err(|error| {
            error
                .to_string()
                .replace(&folder.path().display().to_string(), "")
        })
    }

    #[test]
    fn a_good_file_is_read() {
        let config = read(GOOD).unwrap();
        assert!(config.admin.ends_with("edge.sock") && config.admin.is_absolute());
        assert!(config.listeners[1].test && !config.listeners[0].test);
        let api = &config.services["api"];
        assert_eq!(
            (api.groups["blue"].weight, api.groups["green"].weight),
            (100, 0)
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let mend = |from: &str, to: &str| read(&GOOD.replace(from, to)).unwrap_err();
        let unknown = mend("weight = 100", "wait = 100");
        assert!(
            unknown.contains("line 15") && unknown.contains("wait"),
            "{unknown}"
        );
        let service = mend("service = \"api\"\n\n", "service = \"app\"\n\n");
        assert!(
            service.contains("listener \"public\": service: there is no \"app\""),
            "{service}"
        );
        let group = mend("test = true", "group = \"red\"");
        assert!(group.contains("has no \"red\""), "{group}");
        let both = mend("test = true", "test = true\ngroup = \"green\"");
        assert!(both.contains("listener \"test\": test"), "{both}");
        let twice = mend("\"test\"", "\"public\"");
        assert!(twice.contains("another listener has it"), "{twice}");
        let none = read("listener = []\n[service]\n").unwrap_err();
        assert!(none.contains("at least one"), "{none}");
    }
}
