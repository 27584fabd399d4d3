//! Who a server is, as far as `sslmode` asks for that.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::{certificates, of_home};
use crate::dsn::{Dsn, Mode, Root};

/// What a server is measured by.
pub(super) fn verifier(
    dsn: &Dsn,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let root = match &dsn.root {
        _ if dsn.mode < Mode::Require => None,
        None => of_home("root.crt").map(Root::File),
        named => named.clone(),
    };
    let roots = match root {
        None if dsn.mode > Mode::Require => {
            return Err(format!(
                "sslmode={} needs the certificate of an authority: name its file in sslrootcert",
                dsn.mode.name()
            ));
        }
        // Whoever it is.
        None => return Ok(Arc::new(Anybody(provider))),
        Some(Root::System) => rustls_native_certs::load_native_certs().certs,
        Some(Root::File(path)) => certificates("sslrootcert", &path)?,
    };
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(roots.iter().cloned());
    let inner =
        WebPkiServerVerifier::builder_with_provider(Arc::new(store), Arc::clone(&provider)).build();
    Ok(Arc::new(Known {
        inner: inner.map_err(|error| format!("sslrootcert: {error}"))?,
        roots,
        has_name: dsn.mode == Mode::VerifyFull,
    }))
}

/// Takes every server. What it signs is not looked at either: that would prove nothing.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

/// Takes servers for which somebody has signed who is trusted.
#[derive(Debug)]
struct Known {
    inner: Arc<WebPkiServerVerifier>,
    roots: Vec<CertificateDer<'static>>,
    /// Whether its name matters.
    has_name: bool,
}

impl Known {
    /// A server that has signed for itself, and whose very certificate is trusted: usual for PostgreSQL, and no
    /// chain, since such a certificate is mostly also that of an authority.
    fn is_pinned(&self, cert: &CertificateDer<'_>, now: UnixTime) -> Result<bool, Error> {
        if !self.roots.iter().any(|root| root == cert) {
            return Ok(false);
        }
        let bad = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
        let (_, parsed) = x509_parser::parse_x509_certificate(cert).map_err(bad)?;
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let validity = parsed.validity();
        if now > validity.not_after.timestamp() {
            return Err(Error::InvalidCertificate(CertificateError::Expired));
        }
        if now < validity.not_before.timestamp() {
            return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
        }
        Ok(true)
    }
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        cert: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.is_pinned(cert, now)? {
            if self.has_name {
                verify_server_name(&ParsedCertificate::try_from(cert)?, name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match self.inner.verify_server_cert(cert, others, name, ocsp, now) {
            // It is looked at when the chain is found to be good.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.has_name => Ok(ServerCertVerified::assertion()),
            told => told,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
