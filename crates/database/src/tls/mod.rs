//! TLS to servers and poolers, with libpq's meaning of `sslmode`.

mod verify;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, Error, version};
use sha2::{Digest, Sha256, Sha384, Sha512};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::config::SslNegotiation;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;

use crate::dsn::{Dsn, Root};

/// Begins TLS on connections.
#[derive(Clone)]
pub(crate) struct Tls(Arc<ClientConfig>);

impl Tls {
    /// # Errors
    /// A file can't be read, or one is missing.
    pub fn new(dsn: &Dsn) -> Result<Self, String> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let versions: &[_] = match dsn.is_new_only {
            true => &[&version::TLS13],
            false => &[&version::TLS13, &version::TLS12],
        };
        let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(verify::verifier(dsn, provider)?);
        let mut config = match identity(dsn)? {
            None => config.with_no_client_auth(),
            Some((chain, key)) => config
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("sslcert and sslkey: {error}"))?,
        };
        if dsn.config.get_ssl_negotiation() == SslNegotiation::Direct {
            config.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(Self(Arc::new(config)))
    }
}

/// A file of libpq's own folder, if it is there.
fn of_home(name: &str) -> Option<PathBuf> {
    let home = std::env::var_os("HOME")?;
    let path = Path::new(&home).join(".postgresql").join(name);
    path.exists().then_some(path)
}

type Identity = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

fn identity(dsn: &Dsn) -> Result<Option<Identity>, String> {
    let Some(cert) = dsn.cert.clone().or_else(|| of_home("postgresql.crt")) else {
        return Ok(None);
    };
    let key = dsn.key.clone().or_else(|| of_home("postgresql.key"));
    let key = key.ok_or("sslcert is given, and no sslkey")?;
    let chain = certificates("sslcert", &cert)?;
    let key = PrivateKeyDer::from_pem_file(&key)
        .map_err(|error| format!("sslkey {}: {error}", key.display()))?;
    Ok(Some((chain, key)))
}

fn certificates(name: &str, path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let wrong = |error: &dyn fmt::Display| format!("{name} {}: {error}", path.display());
    let all = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
    let all: Result<Vec<_>, _> = all.collect();
    let all = all.map_err(|error| wrong(&error))?;
    match all.is_empty() {
        true => Err(wrong(&"there is no certificate in it")),
        false => Ok(all),
    }
}

/// What is wrong, if it is about TLS, and what to do about it.
pub(crate) fn explain(error: &tokio_postgres::Error, dsn: &Dsn) -> Option<String> {
    let root = match &dsn.root {
        Some(Root::File(path)) => path.display().to_string(),
        Some(Root::System) => "the system's".into(),
        None => "~/.postgresql/root.crt".into(),
    };
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(one) = source {
        let within = one.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let found = within.and_then(|within| within.downcast_ref::<Error>());
        if let Some(error) = found.or_else(|| one.downcast_ref::<Error>()) {
            let cure = match error {
                Error::InvalidCertificate(CertificateError::UnknownIssuer) => format!(
                    "nobody whose certificate is in {root} has signed for this server: let sslrootcert name its authority's"
                ),
                Error::InvalidCertificate(
                    CertificateError::NotValidForName
                    | CertificateError::NotValidForNameContext { .. },
                ) => "its certificate is for another name: connect by one that is in its subjectAltName, or use sslmode=verify-ca".into(),
                Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
                    "its certificate has expired: renew it".into()
                }
                Error::InvalidCertificate(wrong) if format!("{wrong:?}").contains("CaUsedAsEndEntity") => format!(
                    "nobody whose certificate is in {root} has signed for this server, whose certificate is an authority's own: let sslrootcert have that one"
                ),
                Error::InvalidCertificate(_) => "its certificate must be of X.509 version 3, with its names in subjectAltName".into(),
                Error::AlertReceived(_) => "the server refuses: does it ask for a client's certificate (sslcert, sslkey)?".into(),
                _ => return Some(format!("TLS: {error}")),
            };
            return Some(format!("TLS: {error}: {cure}"));
        }
        if one.to_string() == "server does not support TLS" {
            let mode = dsn.mode.name();
            return Some(format!(
                "it does not speak TLS, which sslmode={mode} asks for: switch it on there (ssl = on; client_tls_sslmode of a pooler)"
            ));
        }
        source = one.source();
    }
    None
}

impl MakeTlsConnect<Socket> for Tls {
    type Stream = Stream;
    type TlsConnect = Handshake;
    type Error = io::Error;

    fn make_tls_connect(&mut self, domain: &str) -> io::Result<Handshake> {
        Ok(Handshake {
            connector: TlsConnector::from(Arc::clone(&self.0)),
            // None on a socket of the host, where there is no handshake.
            name: ServerName::try_from(domain.to_string()).map_err(io::Error::other),
        })
    }
}

/// TLS on one connection, about to begin.
pub(crate) struct Handshake {
    connector: TlsConnector,
    name: io::Result<ServerName<'static>>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Stream;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Stream>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let stream = self.connector.connect(self.name?, socket).await?;
            Ok(Stream(stream))
        })
    }
}

/// A connection with TLS.
pub(crate) struct Stream(tokio_rustls::client::TlsStream<Socket>);

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        let (_, session) = self.0.get_ref();
        let cert = session.peer_certificates().and_then(|chain| chain.first());
        match cert.and_then(|cert| end_point(cert)) {
            Some(hash) => ChannelBinding::tls_server_end_point(hash),
            None => ChannelBinding::none(),
        }
    }
}

/// The hash of a certificate by which a password is bound to it (RFC 5929, 4.1): that of its signature, or
/// SHA-256 in place of those that are broken.
fn end_point(cert: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = x509_parser::parse_x509_certificate(cert).ok()?;
    match parsed.signature_algorithm.algorithm.to_id_string().as_str() {
        // MD5, SHA-1 and SHA-256 with RSA; SHA-1 and SHA-256 with ECDSA.
        "1.2.840.113549.1.1.4"
        | "1.2.840.113549.1.1.5"
        | "1.2.840.113549.1.1.11"
        | "1.2.840.10045.4.1"
        | "1.2.840.10045.4.3.2" => Some(Sha256::digest(cert).to_vec()),
        "1.2.840.113549.1.1.12" | "1.2.840.10045.4.3.3" => Some(Sha384::digest(cert).to_vec()),
        "1.2.840.113549.1.1.13" | "1.2.840.10045.4.3.4" => Some(Sha512::digest(cert).to_vec()),
        _ => None,
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
