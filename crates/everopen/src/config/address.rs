//! Where a process is reached: a host's name or IP, and a port.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use anyhow::{Error, Result, bail};
use serde::{Deserialize, Serialize};

/// `host:port`. A name is looked up each time a connection is made, so that a host may get another IP.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address(String);

impl Address {
    /// The host and the port, as they are written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host's IP, if it is written as one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.0.parse::<SocketAddr>().ok().map(|at| at.ip())
    }

    /// Whether it can only be reached from its own machine.
    pub fn is_loopback(&self) -> bool {
        self.ip().is_some_and(|ip| ip.is_loopback()) || self.0.starts_with("localhost:")
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if text.parse::<SocketAddr>().is_ok() {
            return Ok(Self(text.to_string()));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            bail!(
                "an address is a host and a port (`10.0.0.7:7001`, `one.example:7001`), not {text:?}"
            );
        };
        if port.parse::<u16>().is_err() {
            bail!("{port:?} in {text:?} is no port");
        }
        // RFC 1123: letters, digits and hyphens, 63 of them between two dots, 253 in all.
        let is_label = |label: &str| {
            let known = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
            (1..=63).contains(&label.len())
                && label.bytes().all(known)
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        let host = host.strip_suffix('.').unwrap_or(host);
        let mut labels = host.split('.');
        let is_number = host
            .bytes()
            .all(|byte| byte.is_ascii_digit() || byte == b'.');
        if host.len() > 253 || is_number || !labels.all(is_label) {
            bail!("{host:?} in {text:?} is neither an IP nor a host's name");
        }
        Ok(Self(text.to_string()))
    }
}

impl TryFrom<String> for Address {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|error: Error| error.to_string())
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_ips_are_addresses_and_nothing_else_is() {
        for good in [
            "127.0.0.1:7001",
            "[::1]:7001",
            "localhost:7001",
            "replica-1.market.example:7001",
            "everopen-node-0.everopen:65535",
        ] {
            let address: Address = good.parse().unwrap();
            assert_eq!(address.to_string(), good);
        }
        for bad in [
            "",
            "host",
            "host:",
            "host:70000",
            ":7001",
            "a b:7001",
            "-a:7001",
            "a..b:7001",
            "10.0.0:7001",
            "300.0.0.1:7001",
            "::1:7001",
            "http://host:7001",
        ] {
            assert!(bad.parse::<Address>().is_err(), "{bad}");
        }
        let local = |text: &str| text.parse::<Address>().unwrap().is_loopback();
        assert!(local("127.0.0.9:1") && local("[::1]:1") && local("localhost:1"));
        assert!(!local("10.0.0.1:1") && !local("localhost.example:1"));
    }
}
