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
    /// Whom listeners believe, by name.
    #[serde(default, rename = "trust")]
    pub stores: BTreeMap<String, Trust>,
    /// Where every connection over TLS is written down, and why one was refused; `connections.jsonl` if
    /// there is a listener with TLS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_log: Option<PathBuf>,
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
    /// HTTP/2: with TLS by negotiation, without it for clients that know. By default with TLS only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2: Option<bool>,
    /// TLS; none means plain bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// The server's side of TLS on a listener.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// Its certificates: the first that is for the host that a client names, else the first.
    #[serde(rename = "certificate")]
    pub certificates: Vec<Certificate>,
    /// Versions of TLS.
    #[serde(default = "both_versions")]
    pub versions: Vec<TlsVersion>,
    /// What is asked of clients.
    #[serde(default)]
    pub clients: Clients,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The certificate, and those between it and its authority, PEM.
    pub chain: PathBuf,
    /// Its private key, PEM, for the edge's own user alone.
    pub key: PathBuf,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TlsVersion {
    /// RFC 5246
    #[serde(rename = "1.2")]
    V12,
    /// RFC 8446
    #[serde(rename = "1.3")]
    V13,
}

/// What is asked of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clients {
    /// Whether certificates are asked for, and what they must be.
    #[serde(default)]
    pub mode: ClientMode,
    /// The trust store, by name, for `optional` and `verify`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// The names of its authorities are told to clients.
    #[serde(default = "yes")]
    pub advertise: bool,
}

impl Default for Clients {
    fn default() -> Self {
        Self {
            mode: ClientMode::Off,
            trust: None,
            advertise: true,
        }
    }
}

/// Whether clients' certificates are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientMode {
    /// They are not.
    #[default]
    Off,
    /// One may be shown; one that is shown must be trusted.
    Optional,
    /// A trusted one must be shown.
    Verify,
    /// Any may be shown; it is passed on, and nothing about it is checked.
    Passthrough,
}

/// Whom a listener believes. Files are read again when they change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trust {
    /// Certificates of authorities: PEM or DER files, or folders of them.
    pub authorities: Vec<PathBuf>,
    /// Revocation lists: PEM or DER files, or folders of them.
    #[serde(default)]
    pub revoked: Vec<PathBuf>,
    /// Authorities in a chain at most, the store's own included.
    #[serde(default = "four")]
    pub depth: usize,
    /// A list whose successor is overdue makes its authority's certificates refused.
    #[serde(default)]
    pub refuse_stale: bool,
    /// Every authority of a chain must have a revocation list.
    #[serde(default)]
    pub need_list: bool,
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1, HTTP/2, and WebSocket by upgrade
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
    /// Milliseconds that a request may wait for a target when none can be reached, and none has seen it:
    /// one that is started again just now is then waited for.
    #[serde(default)]
    pub wait_ms: u64,
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

fn both_versions() -> Vec<TlsVersion> {
    vec![TlsVersion::V12, TlsVersion::V13]
}

const fn yes() -> bool {
    true
}

const fn four() -> usize {
    4
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
        if config.connection_log.is_none() && config.listeners.iter().any(|l| l.tls.is_some()) {
            config.connection_log = Some("connections.jsonl".into());
        }
        if let Some(log) = &mut config.connection_log {
            *log = base.join(&log);
        }
        for certificate in config
            .listeners
            .iter_mut()
            .filter_map(|listener| listener.tls.as_mut())
            .flat_map(|tls| &mut tls.certificates)
        {
            certificate.chain = base.join(&certificate.chain);
            certificate.key = base.join(&certificate.key);
        }
        for store in config.stores.values_mut() {
            for path in store.authorities.iter_mut().chain(&mut store.revoked) {
                *path = base.join(&path);
            }
        }
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
            if listener.protocol == Protocol::Tcp && listener.http2 == Some(true) {
                return wrong("http2", "bytes are not HTTP".into());
            }
            if let Some(tls) = &listener.tls
                && let Err((field, detail)) = self.check_tls(tls)
            {
                return wrong(&format!("tls.{field}"), detail);
            }
        }
        for (name, store) in &self.stores {
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            if name.is_empty() || !name.bytes().all(is_name) {
                let detail = "a name has letters, digits, `-` and `_`".to_string();
                return Err((format!("trust.{name:?}"), detail));
            }
            if store.authorities.is_empty() {
                return Err((format!("trust.{name}.authorities"), "at least one".into()));
            }
            if !(1..=7).contains(&store.depth) {
                let detail = format!("{} is not from 1 to 7", store.depth);
                return Err((format!("trust.{name}.depth"), detail));
            }
        }
        for (name, service) in &self.services {
            if service.groups.is_empty() {
                return Err((format!("service.{name}.group"), "at least one".into()));
            }
            for (field, value) in [
                ("answer_ms", service.answer_ms),
                ("connect_ms", service.connect_ms),
                ("wait_ms", service.wait_ms.max(1)),
            ] {
                if !(1..=600_000).contains(&value) {
                    let detail = format!("{value} is not from 1 to 600000");
                    return Err((format!("service.{name}.{field}"), detail));
                }
            }
        }
        Ok(())
    }

    fn check_tls(&self, tls: &Tls) -> Result<(), (&'static str, String)> {
        if tls.certificates.is_empty() {
            return Err(("certificate", "at least one".into()));
        }
        if tls.versions.is_empty() {
            return Err(("versions", "at least one".into()));
        }
        let is_checked = matches!(tls.clients.mode, ClientMode::Optional | ClientMode::Verify);
        match &tls.clients.trust {
            None if is_checked => Err(("clients.trust", "the mode needs a trust store".into())),
            Some(_) if !is_checked => Err((
                "clients.trust",
                "the mode checks nothing against a trust store".into(),
            )),
            Some(name) if !self.stores.contains_key(name) => {
                Err(("clients.trust", format!("there is no {name:?}")))
            }
            _ => Ok(()),
        }
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
        let secure = |tls: &str| {
            let text = GOOD.replace("test = true", tls);
            read(&text).unwrap_err()
        };
        let store = secure(
            "tls.certificate = [{ chain = \"c\", key = \"k\" }]\ntls.clients.mode = \"verify\"",
        );
        assert!(
            store.contains("tls.clients.trust: the mode needs"),
            "{store}"
        );
        let unused = secure(
            "tls.certificate = [{ chain = \"c\", key = \"k\" }]\ntls.clients = { mode = \"passthrough\", trust = \"a\" }",
        );
        assert!(unused.contains("checks nothing"), "{unused}");
        let unknown = secure(
            "tls.certificate = [{ chain = \"c\", key = \"k\" }]\ntls.clients = { mode = \"verify\", trust = \"a\" }",
        );
        assert!(unknown.contains("there is no \"a\""), "{unknown}");
        let keyless = secure("tls.certificate = []");
        assert!(
            keyless.contains("tls.certificate: at least one"),
            "{keyless}"
        );
        let none = read("listener = []\n[service]\n").unwrap_err();
        assert!(none.contains("at least one"), "{none}");
    }
}
