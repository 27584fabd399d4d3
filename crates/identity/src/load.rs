//! From files to configurations of TLS.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, version};

use crate::error::Error;
use crate::files::{self, Files};
use crate::name::{Name, peer_name};

/// A process's own certificate and key, and the authority that it trusts.
pub struct Identity {
    name: Name,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Identity {
    /// Reads the files and checks that they belong together and that peers would take them now.
    ///
    /// # Errors
    /// Every [`Error`] but those of making; each names the file.
    pub fn load(files: &Files) -> Result<Arc<Self>, Error> {
        Self::load_as_of(files, UnixTime::now())
    }

    pub(crate) fn load_as_of(files: &Files, now: UnixTime) -> Result<Arc<Self>, Error> {
        let provider = provider();
        let mut roots = RootCertStore::empty();
        for root in certificates(&files.ca)? {
            roots
                .add(root)
                .map_err(|error| Error::malformed(&files.ca, error))?;
        }
        let roots = Arc::new(roots);
        let chain = certificates(&files.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&files::read_private(&files.key)?)
            .map_err(|error| Error::malformed(&files.key, error))?;

        let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone())
            .build()
            .map_err(|error| Error::malformed(&files.ca, error))?;
        verifier
            .verify_client_cert(&chain[0], &chain[1..], now)
            .map_err(|source| Error::NotTrusted {
                cert: files.cert.clone(),
                ca: files.ca.clone(),
                source,
            })?;
        let name = peer_name(&chain).map_err(|source| Error::Nameless {
            cert: files.cert.clone(),
            source,
        })?;

        let wrong_key = |error| match error {
            rustls::Error::InconsistentKeys(_) => Error::Mismatch {
                key: files.key.clone(),
                cert: files.cert.clone(),
            },
            error => Error::malformed(&files.key, error),
        };
        let mut server = ServerConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[&version::TLS13])
            .expect("invariant: the provider knows TLS 1.3")
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(wrong_key)?;
        // Connections are few and long: a resumed one would save little, and every one shows its
        // certificate anew.
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&version::TLS13])
            .expect("invariant: the provider knows TLS 1.3")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .map_err(wrong_key)?;
        client.resumption = Resumption::disabled();
        Ok(Arc::new(Self {
            name,
            server: Arc::new(server),
            client: Arc::new(client),
        }))
    }

    /// The process's own name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// For accepting: requires a certificate of the authority from whoever dials.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.server.clone()
    }

    /// For dialing: shows the own certificate. The name to dial is [`Name::host`].
    pub fn client_config(&self) -> Arc<ClientConfig> {
        self.client.clone()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// `ring`, with the cheapest of the strong ciphers first: it is on the path of every order.
fn provider() -> Arc<CryptoProvider> {
    use ring::cipher_suite::{
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    let mut provider = ring::default_provider();
    provider.cipher_suites = vec![
        TLS13_AES_128_GCM_SHA256,
        TLS13_AES_256_GCM_SHA384,
        TLS13_CHACHA20_POLY1305_SHA256,
    ];
    Arc::new(provider)
}

pub(crate) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let bytes = files::read(path)?;
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<Result<_, _>>()
        .map_err(|error| Error::malformed(path, error))?;
    if certificates.is_empty() {
        return Err(Error::malformed(path, "it holds no certificate"));
    }
    Ok(certificates)
}
