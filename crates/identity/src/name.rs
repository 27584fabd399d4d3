//! Names of processes, as text, as a host name and as certificates carry them.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::{CertificateDer, ServerName};
use webpki::EndEntityCert;

/// Below this domain every process has a host name; it is resolved nowhere.
const DOMAIN: &str = "everopen.internal";
const SPIFFE: &str = "spiffe://everopen/";

/// Who a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// A replica, by its number in the cluster.
    Node(u64),
    /// A gateway.
    Gateway(u32),
    /// A person who operates the cluster.
    Operator,
}

impl Name {
    /// The host name that its certificate is for.
    pub fn host(self) -> String {
        format!("{self}.{DOMAIN}")
    }

    /// The SPIFFE id that its certificate carries.
    pub fn spiffe_id(self) -> String {
        format!("{SPIFFE}{self}")
    }

    pub(crate) fn server_name(self) -> ServerName<'static> {
        ServerName::try_from(self.host()).expect("invariant: a name is a label and some digits")
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(number) => write!(f, "node-{number}"),
            Self::Gateway(number) => write!(f, "gateway-{number}"),
            Self::Operator => f.write_str("operator"),
        }
    }
}

/// A text or a certificate that names no process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The text is not like `node-1`, `gateway-1` or `operator`.
    #[error("{0:?} is not the name of a process, like node-1, gateway-1 or operator")]
    Unknown(String),
    /// The certificate carries no name of ours, or several.
    #[error("the certificate names no process of a cluster")]
    Certificate,
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = match text.split_once('-') {
            Some(("node", number)) => number.parse().ok().map(Self::Node),
            Some(("gateway", number)) => number.parse().ok().map(Self::Gateway),
            _ => (text == "operator").then_some(Self::Operator),
        };
        // One process, one spelling: no sign and no leading zero.
        name.filter(|name| name.to_string() == text)
            .ok_or_else(|| NameError::Unknown(text.chars().take(64).collect()))
    }
}

/// The name in the peer's certificate, which is the first of `certificates` and was verified by
/// whoever got them.
///
/// # Errors
/// When the certificate does not carry exactly one name, as a SPIFFE id and as a host name.
pub fn peer_name(certificates: &[CertificateDer<'_>]) -> Result<Name, NameError> {
    let certificate = certificates.first().ok_or(NameError::Certificate)?;
    let certificate = EndEntityCert::try_from(certificate).map_err(|_| NameError::Certificate)?;
    let mut ids = certificate.valid_uri_names();
    let (Some(id), None) = (ids.next(), ids.next()) else {
        return Err(NameError::Certificate);
    };
    let name: Name = id
        .strip_prefix(SPIFFE)
        .ok_or(NameError::Certificate)?
        .parse()?;
    certificate
        .verify_is_valid_for_subject_name(&name.server_name())
        .map_err(|_| NameError::Certificate)?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back_what_they_show() {
        for (name, text) in [
            (Name::Node(1), "node-1"),
            (Name::Node(u64::MAX), "node-18446744073709551615"),
            (Name::Gateway(12), "gateway-12"),
            (Name::Operator, "operator"),
        ] {
            assert_eq!(name.to_string(), text);
            assert_eq!(text.parse(), Ok(name));
            // Panics if it were no host name.
            name.server_name();
        }
    }

    #[test]
    fn other_spellings_are_no_names() {
        for text in [
            "",
            "node",
            "node-",
            "node-x",
            "node-01",
            "node-+1",
            "node--1",
            "Node-1",
            "operator-1",
            "gateway-4294967296",
            " node-1",
            "node-1.everopen.internal",
        ] {
            assert_eq!(
                text.parse::<Name>(),
                Err(NameError::Unknown(text.into())),
                "{text:?}"
            );
        }
    }
}
