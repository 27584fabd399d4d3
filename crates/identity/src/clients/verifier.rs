//! What happens to a client's certificate in the handshake.

use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::refusal::Refusal;
use super::store::{TrustStore, is_short};

/// What one connection's client showed, and what was said to it: also of one that was refused.
#[derive(Debug, Default)]
pub(super) struct Shown {
    pub chain: Vec<CertificateDer<'static>>,
    pub refusal: Option<Refusal>,
}

/// One connection's check.
#[derive(Debug)]
pub(super) struct Verifier {
    /// None lets any chain pass whose key the client has.
    pub store: Option<Arc<TrustStore>>,
    pub is_needed: bool,
    pub hints: Arc<[DistinguishedName]>,
    pub algorithms: WebPkiSupportedAlgorithms,
    pub shown: Arc<Mutex<Shown>>,
}

impl Verifier {
    fn refuse(&self, refusal: Refusal) -> Error {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.refusal = Some(refusal);
        refusal.alert()
    }

    fn signature(
        &self,
        checked: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        checked.map_err(|error| match error {
            Error::InvalidCertificate(_) => self.refuse(Refusal::Key),
            other => other,
        })
    }
}

impl ClientCertVerifier for Verifier {
    fn client_auth_mandatory(&self) -> bool {
        self.is_needed
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.hints
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain: Vec<_> = std::iter::once(leaf)
            .chain(between)
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        let verified = match &self.store {
            Some(store) => store.verify(&chain, now),
            None => is_short(&chain),
        };
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.chain = chain;
        drop(shown);
        match verified {
            Ok(()) => Ok(ClientCertVerified::assertion()),
            Err(refusal) => Err(self.refuse(refusal)),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(verify_tls12_signature(
            message,
            certificate,
            signed,
            &self.algorithms,
        ))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(verify_tls13_signature(
            message,
            certificate,
            signed,
            &self.algorithms,
        ))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
