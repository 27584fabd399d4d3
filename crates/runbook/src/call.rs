//! One HTTP request to any server, with or without TLS.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use everopen_rollout::http::{Answer, Asked, ask_over};
use http::Uri;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Where a URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    is_secure: bool,
    /// The name, without brackets around an IPv6 address.
    host: String,
    /// As it stands in the `Host` header.
    authority: String,
    port: u16,
    path: String,
}

impl Target {
    pub(crate) fn read(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url:?}: {error}"))?;
        let is_secure = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return Err(format!("{url:?} begins with neither http:// nor https://")),
        };
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        if authority.contains('@') {
            return Err(format!("{url:?} has a user in it: put that into a header"));
        }
        let host = uri.host().unwrap_or_default();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Ok(Self {
            is_secure,
            host: host.trim_matches(['[', ']']).to_string(),
            authority,
            port: uri.port_u16().unwrap_or(if is_secure { 443 } else { 80 }),
            path: path.to_string(),
        })
    }
}

/// What is asked besides the URL.
#[derive(Debug)]
pub(crate) struct Call<'a> {
    pub method: &'a str,
    pub headers: &'a BTreeMap<String, String>,
    pub body: String,
    pub ca_file: Option<&'a Path>,
}

/// Asks, and reads the whole answer.
pub(crate) async fn call(
    target: &Target,
    call: Call<'_>,
    patience: Duration,
) -> io::Result<Answer> {
    let asked = Asked {
        at: &target.authority,
        method: call.method,
        path: &target.path,
        headers: call.headers,
        body: call.body,
    };
    let all = async {
        let stream = TcpStream::connect((target.host.as_str(), target.port)).await?;
        stream.set_nodelay(true)?;
        if !target.is_secure {
            return ask_over(stream, asked).await;
        }
        let name = ServerName::try_from(target.host.clone()).map_err(io::Error::other)?;
        let connector = TlsConnector::from(Arc::new(client(call.ca_file)?));
        ask_over(connector.connect(name, stream).await?, asked).await
    };
    tokio::time::timeout(patience, all)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn client(ca_file: Option<&Path>) -> io::Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    match ca_file {
        Some(path) => {
            let wrong = |error: &dyn std::fmt::Display| {
                io::Error::other(format!("caFile {}: {error}", path.display()))
            };
            let all = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
            for one in all {
                let one = one.map_err(|error| wrong(&error))?;
                roots.add(one).map_err(|error| wrong(&error))?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err(io::Error::other(
            "no certificates are trusted: install ca-certificates, or give a caFile",
        ));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let target = Target::read("https://[::1]/a?b=c").expect("a URL");
        assert!(target.is_secure && target.port == 443);
        assert_eq!(
            (target.host.as_str(), target.path.as_str()),
            ("::1", "/a?b=c")
        );
        let target = Target::read("http://desk.example:81").expect("a URL");
        assert_eq!((target.port, target.path.as_str()), (81, "/"));
        assert_eq!(target.authority, "desk.example:81");
        for wrong in ["desk/a", "ftp://desk/", "http://a:b@desk/", "http://"] {
            assert!(Target::read(wrong).is_err(), "{wrong}");
        }
    }
}
