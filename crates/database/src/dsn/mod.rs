//! Connection strings, read as libpq reads them: the same ones are given to its programs and to servers.

mod parts;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::Host;

use parts::{PATIENCE, of_pairs, of_url, query, quoted};

/// How much of TLS there must be (PostgreSQL manual, 34.19.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Mode {
    /// None.
    Disable,
    /// None, unless the server insists.
    Allow,
    /// If the server can.
    Prefer,
    /// In any case; who the server is matters if a root is given.
    Require,
    /// And an authority that is trusted has signed for it.
    VerifyCa,
    /// And it has the name by which it was asked for.
    VerifyFull,
}

impl Mode {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "disable" => Self::Disable,
            "allow" => Self::Allow,
            "prefer" => Self::Prefer,
            "require" => Self::Require,
            "verify-ca" => Self::VerifyCa,
            "verify-full" => Self::VerifyFull,
            other => {
                return Err(format!(
                    "sslmode={other} is none of disable, allow, prefer, require, verify-ca and verify-full"
                ));
            }
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Allow => "allow",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyCa => "verify-ca",
            Self::VerifyFull => "verify-full",
        }
    }
}

/// Where authorities come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Root {
    /// A file.
    File(PathBuf),
    /// Whoever the system trusts.
    System,
}

/// A connection string.
#[derive(Clone, Debug)]
pub(crate) struct Dsn {
    /// All but TLS.
    pub config: Config,
    pub mode: Mode,
    pub root: Option<Root>,
    /// The client's certificate and its key.
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// Whether nothing before TLS 1.3 will do.
    pub is_new_only: bool,
    /// What of it is read here, as it was written.
    ours: Vec<(String, String)>,
}

impl Dsn {
    /// # Errors
    /// What of it makes no sense; never the string itself, which may have a password in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (rest, ours) = match text.split_once("://") {
            Some(("postgres" | "postgresql", rest)) => of_url(text, rest)?,
            _ => of_pairs(text)?,
        };
        let config: Config = rest.parse().map_err(|error: tokio_postgres::Error| {
            let source = std::error::Error::source(&error);
            source.map_or_else(|| error.to_string(), |source| format!("{error}: {source}"))
        })?;
        Self::of(config, ours)
    }

    fn of(mut config: Config, ours: Vec<(String, String)>) -> Result<Self, String> {
        let value = |key: &str| {
            let last = ours.iter().rev().find(|(name, _)| name == key);
            last.map(|(_, value)| value.as_str())
                .filter(|value| !value.is_empty())
        };
        let root = value("sslrootcert").map(|path| match path {
            "system" => Root::System,
            path => Root::File(path.into()),
        });
        let is_system = root == Some(Root::System);
        let mode = match value("sslmode") {
            Some(mode) => Mode::parse(mode)?,
            None if is_system => Mode::VerifyFull,
            None => Mode::Prefer,
        };
        if is_system && mode < Mode::VerifyFull {
            return Err(format!(
                "sslmode={} with sslrootcert=system: anybody can have a certificate of those; only verify-full goes with it",
                mode.name()
            ));
        }
        if value("gssencmode") == Some("require") {
            return Err("gssencmode=require: this program does not speak GSSAPI".into());
        }
        let is_new_only = match value("ssl_min_protocol_version") {
            None | Some("TLSv1" | "TLSv1.1" | "TLSv1.2") => false,
            Some("TLSv1.3") => true,
            Some(other) => return Err(format!("ssl_min_protocol_version={other} is no version")),
        };
        let number = |key: &str| match value(key).map(str::parse::<u32>) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(format!("{key} is no number")),
        };
        if let Some(count) = number("keepalives_count")?.filter(|count| *count > 0) {
            config.keepalives_retries(count);
        }
        if let Some(ms) = number("tcp_user_timeout")?.filter(|ms| *ms > 0) {
            config.tcp_user_timeout(Duration::from_millis(ms.into()));
        }
        // As libpq does, by whose rules the address is the name then.
        if config.get_hosts().is_empty() {
            for address in config.get_hostaddrs().to_vec() {
                config.host(address.to_string());
            }
        }
        let is_local = config
            .get_hosts()
            .iter()
            .all(|host| matches!(host, Host::Unix(_)));
        let (cert, key) = (value("sslcert"), value("sslkey"));
        Ok(Self {
            // There is no TLS on a socket of the host, and none is asked for.
            mode: if is_local { Mode::Disable } else { mode },
            root,
            cert: cert.map(Into::into),
            key: key.map(Into::into),
            is_new_only,
            config,
            ours,
        })
    }

    /// Where it leads, for people.
    pub fn address(&self) -> String {
        let ports = self.config.get_ports();
        let hosts = self
            .config
            .get_hosts()
            .iter()
            .enumerate()
            .map(|(at, host)| {
                let port = ports.get(at).or(ports.first()).unwrap_or(&5432);
                match host {
                    Host::Tcp(host) if host.contains(':') => format!("[{host}]:{port}"),
                    Host::Tcp(host) => format!("{host}:{port}"),
                    Host::Unix(path) => format!("{}:{port}", path.display()),
                }
            });
        hosts.collect::<Vec<_>>().join(", ")
    }

    /// Files that are named in it.
    pub fn files(&self) -> Vec<(&'static str, &Path)> {
        let root = match &self.root {
            Some(Root::File(path)) => Some(("sslrootcert", path.as_path())),
            _ => None,
        };
        let cert = self.cert.as_deref().map(|path| ("sslcert", path));
        let key = self.key.as_deref().map(|path| ("sslkey", path));
        root.into_iter().chain(cert).chain(key).collect()
    }

    /// What is wrong with a string for a server that another one is to reach by it, too.
    pub fn check(text: &str) -> Result<(), String> {
        let dsn = Self::parse(text)?;
        match dsn.files().into_iter().find(|(_, path)| path.is_relative()) {
            None => Ok(()),
            Some((key, path)) => Err(format!(
                "{key}={} is a relative path, which servers read from their own folders: write the whole",
                path.display()
            )),
        }
    }

    /// The same, for a server that is to leave one by itself that it does not hear for 20 s; what the string says of
    /// that itself stays.
    pub fn with_patience(text: &str) -> String {
        let said = |with: &str| {
            PATIENCE
                .map(|(key, value)| format!("{key}={value}"))
                .join(with)
        };
        let Some((scheme, rest)) = text.split_once("://") else {
            return format!("{} {text}", said(" "));
        };
        match query(text, rest) {
            None => format!("{scheme}://{rest}?{}", said("&")),
            Some(at) => format!("{}?{}&{}", &text[..at], said("&"), &text[at + 1..]),
        }
    }

    /// The same server, another database.
    pub fn within(&self, database: &str) -> String {
        let mut parts = Vec::new();
        let mut add = |key: &str, value: &str| parts.push(format!("{key}={}", quoted(value)));
        for host in self.config.get_hosts() {
            match host {
                Host::Tcp(host) => add("host", host),
                Host::Unix(path) => add("host", &path.display().to_string()),
            }
        }
        for port in self.config.get_ports() {
            add("port", &port.to_string());
        }
        if let Some(user) = self.config.get_user() {
            add("user", user);
        }
        if let Some(password) = self.config.get_password() {
            add("password", &String::from_utf8_lossy(password));
        }
        for (key, value) in &self.ours {
            add(key, value);
        }
        add("dbname", database);
        parts.join(" ")
    }
}
