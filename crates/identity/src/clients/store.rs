//! A trust store: the authorities that a listener believes, and what they have taken back.

use std::cell::Cell;
use std::collections::HashMap;

use rustls::DistinguishedName;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use sha2::{Digest, Sha256};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert};
use x509_parser::prelude::{FromDer, X509Certificate, X509Version};

use super::certificate::distinguished_name;
use super::lists::Lists;
use super::refusal::Refusal;

/// Authorities of one store.
const AUTHORITIES_MAX: usize = 1_000;
/// Certificates that a client may show.
const CHAIN_MAX: usize = 10;
/// Bytes of them together.
const CHAIN_BYTES_MAX: usize = 64 << 10;

/// A file, or what stands for one: its name for messages, and its contents, PEM or DER.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Its name.
    pub name: String,
    /// Its contents.
    pub bytes: Vec<u8>,
}

/// How strict a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Authorities in a chain at most, the store's own included: 1 takes only certificates that an
    /// authority of the store has signed itself.
    pub depth: usize,
    /// A revocation list whose successor is overdue makes its authority's certificates refused.
    pub refuse_stale: bool,
    /// Every authority of a chain must have a revocation list.
    pub need_list: bool,
}

/// What is wrong with a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {what}")]
pub struct StoreError {
    /// The file, and which of its parts.
    pub place: String,
    /// What is wrong there.
    pub what: String,
}

#[derive(Debug)]
struct Authority {
    anchor: TrustAnchor<'static>,
    certificate: CertificateDer<'static>,
    /// Seconds since 1970.
    not_before: i64,
    not_after: i64,
}

/// Authorities and revocation lists in one state. It does not change; a change is another store.
#[derive(Debug)]
pub struct TrustStore {
    authorities: Vec<Authority>,
    /// The same, as the check of a chain wants them.
    anchors: Vec<TrustAnchor<'static>>,
    by_name: HashMap<Vec<u8>, Vec<usize>>,
    names: Vec<String>,
    lists: Lists,
    rules: Rules,
    digest: [u8; 32],
}

/// The parts of a file: PEM sections of a kind, or the one DER value that it is.
fn parts<T: PemObject + From<Vec<u8>>>(source: &Source, kind: &str) -> Result<Vec<T>, StoreError> {
    let wrong = |what: String| StoreError {
        place: source.name.clone(),
        what,
    };
    // A DER sequence starts with its tag, PEM with text.
    if source.bytes.first() == Some(&0x30) {
        return Ok(vec![T::from(source.bytes.clone())]);
    }
    let parts: Result<Vec<T>, _> = T::pem_slice_iter(&source.bytes).collect();
    let parts = parts.map_err(|error| wrong(format!("not PEM: {error}")))?;
    if parts.is_empty() {
        return Err(wrong(format!("it holds no {kind}")));
    }
    Ok(parts)
}

impl TrustStore {
    /// Makes a store of bundles of authorities and of revocation lists.
    ///
    /// # Errors
    /// Names the file, the part of it, and what is wrong: an authority that is no X.509 v3 certificate of
    /// an authority, a list that is malformed or of a kind that is not supported (delta, indirect, for
    /// some reasons only), or more of either than a store may have.
    pub fn new(authorities: &[Source], lists: &[Source], rules: Rules) -> Result<Self, StoreError> {
        let mut store = Self {
            authorities: Vec::new(),
            anchors: Vec::new(),
            by_name: HashMap::new(),
            names: Vec::new(),
            lists: Lists::default(),
            rules,
            digest: [0; 32],
        };
        let mut digest = Sha256::new();
        for source in authorities {
            for (at, der) in parts::<CertificateDer<'static>>(source, "certificate")?
                .into_iter()
                .enumerate()
            {
                digest.update(Sha256::digest(&der));
                store.trust(der).map_err(|what| StoreError {
                    place: format!("{}: certificate {}", source.name, at + 1),
                    what,
                })?;
            }
        }
        if store.authorities.is_empty() {
            return Err(StoreError {
                place: "authorities".into(),
                what: "at least one is needed".into(),
            });
        }
        digest.update(b"lists");
        for source in lists {
            for (at, der) in
                parts::<CertificateRevocationListDer<'static>>(source, "revocation list")?
                    .into_iter()
                    .enumerate()
            {
                digest.update(Sha256::digest(&der));
                store.lists.add(&der).map_err(|what| StoreError {
                    place: format!("{}: list {}", source.name, at + 1),
                    what,
                })?;
            }
        }
        store.digest = digest.finalize().into();
        Ok(store)
    }

    fn trust(&mut self, certificate: CertificateDer<'static>) -> Result<(), String> {
        if self.authorities.len() >= AUTHORITIES_MAX {
            return Err(format!("there are more than {AUTHORITIES_MAX} authorities"));
        }
        let (_, parsed) = X509Certificate::from_der(&certificate)
            .map_err(|error| format!("it is no certificate: {error}"))?;
        if parsed.version() != X509Version::V3 {
            return Err("it is not an X.509 version 3 certificate".into());
        }
        let name = distinguished_name(parsed.subject());
        if !parsed.is_ca() {
            return Err(format!("{name:?} is not the certificate of an authority"));
        }
        let validity = parsed.validity();
        let (not_before, not_after) = (
            validity.not_before.timestamp(),
            validity.not_after.timestamp(),
        );
        let anchor = anchor_from_trusted_cert(&certificate)
            .map_err(|error| format!("{name:?} can't be used: {error}"))?
            .to_owned();
        let at = self.authorities.len();
        let subject = anchor.subject.as_ref().to_vec();
        self.by_name.entry(subject).or_default().push(at);
        self.names.push(name);
        self.anchors.push(anchor.clone());
        self.authorities.push(Authority {
            anchor,
            certificate,
            not_before,
            not_after,
        });
        Ok(())
    }

    /// Whether a client that shows this chain, its own certificate first, is believed. The handshake
    /// itself shows that it has the key.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<(), Refusal> {
        let (leaf, between) = chain.split_first().ok_or(Refusal::Missing)?;
        is_short(chain)?;
        let leaf = EndEntityCert::try_from(leaf).map_err(|error| Refusal::of(&error))?;
        let refusal = Cell::new(None);
        let look = |path: &VerifiedPath<'_>| {
            self.look_at(path, now).map_err(|found| {
                refusal.set(Some(found));
                webpki::Error::UnknownIssuer
            })
        };
        let verified = leaf.verify_for_usage(
            ring::default_provider()
                .signature_verification_algorithms
                .all,
            &self.anchors,
            between,
            now,
            KeyUsage::client_auth(),
            None,
            Some(&look),
        );
        match verified {
            Ok(_) => Ok(()),
            Err(error) => Err(refusal.get().unwrap_or_else(|| Refusal::of(&error))),
        }
    }

    /// What the check of signatures and names does not look at: depth, the store's own authority's
    /// validity, and revocation.
    fn look_at(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), Refusal> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let anchor = path.anchor();
        let authority = self
            .by_name
            .get(anchor.subject.as_ref())
            .into_iter()
            .flatten()
            .map(|at| &self.authorities[*at])
            .find(|authority| authority.anchor == *anchor)
            .ok_or(Refusal::Untrusted)?;
        if authority.not_after < now {
            return Err(Refusal::Expired);
        }
        if authority.not_before > now {
            return Err(Refusal::NotYetValid);
        }
        let between: Vec<_> = path.intermediate_certificates().collect();
        if between.len() + 1 > self.rules.depth {
            return Err(Refusal::TooDeep);
        }
        let leaf = path.end_entity();
        let signers = between.iter().map(|signer| signer.der());
        let signers = signers.chain(std::iter::once(authority.certificate.clone()));
        let signed = std::iter::once((leaf.serial(), leaf.issuer()));
        let signed = signed.chain(between.iter().map(|c| (c.serial(), c.issuer())));
        for ((serial, issuer), signer) in signed.zip(signers) {
            let refuse_stale = self.rules.refuse_stale;
            let speaks = self
                .lists
                .check(serial, issuer, &signer, now, refuse_stale)?;
            if !speaks && self.rules.need_list {
                return Err(Refusal::StatusUnknown);
            }
        }
        Ok(())
    }

    /// The names of its authorities, for clients that choose among several certificates.
    pub fn hints(&self) -> Vec<DistinguishedName> {
        self.anchors
            .iter()
            .map(|anchor| DistinguishedName::in_sequence(&anchor.subject))
            .collect()
    }

    /// The names of its authorities (RFC 2253).
    pub fn authorities(&self) -> &[String] {
        &self.names
    }

    /// How many revocation lists it has.
    pub fn lists(&self) -> usize {
        self.lists.len()
    }

    /// How many certificates they name.
    pub fn revoked(&self) -> usize {
        self.lists.entries()
    }

    /// How many of them are overdue.
    pub fn stale(&self, now: UnixTime) -> usize {
        self.lists
            .stale(i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
    }

    /// The SHA-256 over its authorities and lists: the same for the same contents.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

/// Whether a chain is short enough to be looked at.
pub(super) fn is_short(chain: &[CertificateDer<'_>]) -> Result<(), Refusal> {
    let bytes: usize = chain.iter().map(|certificate| certificate.len()).sum();
    if chain.len() > CHAIN_MAX || bytes > CHAIN_BYTES_MAX {
        return Err(Refusal::TooLong);
    }
    Ok(())
}
