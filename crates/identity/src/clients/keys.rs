//! A listener's own certificates and keys, and which of them a client is shown.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use webpki::EndEntityCert;

use crate::error::Error;
use crate::files;
use crate::load::certificates;

/// Where a certificate and its key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFiles {
    /// The certificate, and those between it and its authority, PEM.
    pub chain: PathBuf,
    /// Its private key, PEM, readable by its owner alone.
    pub key: PathBuf,
}

/// A listener's certificates, in the order of its configuration.
pub struct Keys(Vec<Arc<CertifiedKey>>);

impl Keys {
    /// Reads them and checks that each key belongs to its certificate.
    ///
    /// # Errors
    /// Names the file and what is wrong with it.
    pub fn load(all: &[KeyFiles]) -> Result<Arc<Self>, Error> {
        let provider = ring::default_provider();
        let load = |files: &KeyFiles| {
            let chain = certificates(&files.chain)?;
            let key = PrivateKeyDer::from_pem_slice(&files::read_private(&files.key)?)
                .map_err(|error| Error::malformed(&files.key, error))?;
            let made = CertifiedKey::from_der(chain, key, &provider);
            made.map(Arc::new).map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => Error::Mismatch {
                    key: files.key.clone(),
                    cert: files.chain.clone(),
                },
                error => Error::malformed(&files.key, error),
            })
        };
        Ok(Arc::new(Self(
            all.iter().map(load).collect::<Result<_, _>>()?,
        )))
    }

    fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
        let leaf = key.end_entity_cert().ok();
        let leaf = leaf.and_then(|leaf| EndEntityCert::try_from(leaf).ok());
        leaf.is_some_and(|leaf| leaf.verify_is_valid_for_subject_name(name).is_ok())
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl ResolvesServerCert for Keys {
    /// The first that is for the host that the client names (RFC 6066, 3), else the first.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| self.0.iter().find(|key| Self::is_for(key, &name)));
        named.or(self.0.first()).map(Arc::clone)
    }
}
