//! Revocation lists (RFC 5280, 5): which serial numbers an authority takes back.
//!
//! All lists of an authority count together, be they parts of one or an older and a newer one: what any
//! of them names is revoked. Signatures are checked once for each list and key, not at each handshake,
//! where hashing a long list would cost more than the handshake.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use sha2::{Digest, Sha256};
use x509_parser::prelude::{
    CertificateRevocationList, FromDer, ParsedExtension, X509Certificate, X509Extension,
};

use super::refusal::Refusal;

/// Lists of one store.
pub(super) const LISTS_MAX: usize = 100;
/// Revoked certificates of one store.
pub(super) const ENTRIES_MAX: usize = 1_000_000;
/// Octets of a serial number at most (RFC 5280, 4.1.2.2).
const SERIAL_MAX: usize = 20;
/// Signatures whose check is remembered.
const CHECKED_MAX: usize = 4_096;

/// A serial number without leading zeros, and its length at the end.
type Serial = [u8; SERIAL_MAX + 1];

fn serial(bytes: &[u8]) -> Option<Serial> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let bytes = &bytes[zeros..];
    let mut padded = [0; SERIAL_MAX + 1];
    if bytes.len() > SERIAL_MAX {
        return None;
    }
    padded[..bytes.len()].copy_from_slice(bytes);
    padded[SERIAL_MAX] = bytes.len() as u8;
    Some(padded)
}

/// The contents of a DER value: what follows its tag and length.
pub(super) fn contents(der: &[u8]) -> Option<&[u8]> {
    let first = usize::from(*der.get(1)?);
    let header = match first {
        0..=0x7f => 2,
        0x81..=0x84 => 2 + (first - 0x80),
        _ => return None,
    };
    der.get(header..)
}

/// One list.
#[derive(Debug)]
struct List {
    /// The whole of it, for its signature.
    der: Vec<u8>,
    /// When the next one is due; seconds since 1970.
    next: Option<i64>,
    revoked: Vec<Serial>,
}

/// All lists of a store.
#[derive(Debug, Default)]
pub(super) struct Lists {
    all: Vec<List>,
    /// By the issuer's name, as it is encoded.
    by_issuer: HashMap<Vec<u8>, Vec<usize>>,
    entries: usize,
    /// Whether a list is signed by a certificate, by the list and the certificate's hash.
    checked: Mutex<HashMap<(usize, [u8; 32]), bool>>,
}

/// A critical extension changes what a list means: one that is not understood can't be left out of
/// account (RFC 5280, 5.2).
fn refused_extension(extension: &X509Extension<'_>) -> Option<String> {
    match extension.parsed_extension() {
        ParsedExtension::IssuingDistributionPoint(point) => {
            if point.indirect_crl {
                return Some("it is an indirect list".into());
            }
            if point.only_some_reasons.is_some() {
                return Some("it is for some reasons only".into());
            }
            point
                .only_contains_attribute_certs
                .then(|| "it is for attribute certificates".into())
        }
        ParsedExtension::CRLNumber(_)
        | ParsedExtension::AuthorityKeyIdentifier(_)
        | ParsedExtension::ReasonCode(_)
        | ParsedExtension::InvalidityDate(_) => None,
        _ if extension.critical => Some(format!(
            "its critical extension {} is not understood",
            extension.oid
        )),
        _ => None,
    }
}

impl Lists {
    pub fn len(&self) -> usize {
        self.all.len()
    }

    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Lists whose successor is overdue.
    pub fn stale(&self, now: i64) -> usize {
        let is_stale = |list: &&List| list.next.is_some_and(|next| next < now);
        self.all.iter().filter(is_stale).count()
    }

    /// Takes a list in.
    pub fn add(&mut self, der: &[u8]) -> Result<(), String> {
        if self.all.len() >= LISTS_MAX {
            return Err(format!("there are more than {LISTS_MAX} lists"));
        }
        let (rest, list) = CertificateRevocationList::from_der(der)
            .map_err(|error| format!("it is no revocation list: {error}"))?;
        if !rest.is_empty() {
            return Err("something follows the revocation list".into());
        }
        for extension in list.extensions() {
            if let Some(reason) = refused_extension(extension) {
                return Err(reason);
            }
        }
        let mut revoked = Vec::new();
        for entry in list.iter_revoked_certificates() {
            for extension in entry.extensions() {
                if let Some(reason) = refused_extension(extension) {
                    return Err(format!("of {}: {reason}", entry.raw_serial_as_string()));
                }
            }
            let serial = serial(entry.raw_serial());
            revoked.push(serial.ok_or("a serial number has more than 20 octets")?);
        }
        revoked.sort_unstable();
        self.entries += revoked.len();
        if self.entries > ENTRIES_MAX {
            return Err(format!(
                "the store's lists have more than {ENTRIES_MAX} entries"
            ));
        }
        let issuer = contents(list.issuer().as_raw()).ok_or("its issuer has no name")?;
        let at = self.all.len();
        self.by_issuer.entry(issuer.to_vec()).or_default().push(at);
        self.all.push(List {
            der: der.to_vec(),
            next: list.next_update().map(|next| next.timestamp()),
            revoked,
        });
        Ok(())
    }

    /// Whether a certificate is revoked: by its serial number, its issuer's name and its issuer's own
    /// certificate. `true` when a list speaks for that issuer.
    pub fn check(
        &self,
        number: &[u8],
        issuer: &[u8],
        signer: &[u8],
        now: i64,
        refuse_stale: bool,
    ) -> Result<bool, Refusal> {
        let Some(lists) = self.by_issuer.get(issuer) else {
            return Ok(false);
        };
        let number = serial(number).ok_or(Refusal::Invalid)?;
        let mut speaks = false;
        for at in lists {
            // Another authority may have the same name.
            if !self.is_signed_by(*at, signer) {
                continue;
            }
            speaks = true;
            let list = &self.all[*at];
            if list.revoked.binary_search(&number).is_ok() {
                return Err(Refusal::Revoked);
            }
            if refuse_stale && list.next.is_some_and(|next| next < now) {
                return Err(Refusal::ListUnusable);
            }
        }
        // A list that carries the name and nobody's signature is not to be passed over in silence.
        if speaks {
            Ok(true)
        } else {
            Err(Refusal::ListUnusable)
        }
    }

    fn is_signed_by(&self, at: usize, signer: &[u8]) -> bool {
        let key = (at, Sha256::digest(signer).into());
        let checked = || self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = checked().get(&key) {
            return *known;
        }
        let is_signed = signature_holds(&self.all[at].der, signer);
        let mut checked = checked();
        if checked.len() >= CHECKED_MAX {
            checked.clear();
        }
        checked.insert(key, is_signed);
        is_signed
    }
}

/// Whether that certificate's key made the list's signature, and may.
fn signature_holds(list: &[u8], signer: &[u8]) -> bool {
    let Ok((_, list)) = CertificateRevocationList::from_der(list) else {
        return false;
    };
    let Ok((_, signer)) = X509Certificate::from_der(signer) else {
        return false;
    };
    // RFC 5280, 4.2.1.3: if the extension is there, the bit must be.
    let may_sign = match signer.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.crl_sign()),
        Err(_) => false,
    };
    may_sign && list.verify_signature(signer.public_key()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_numbers_are_the_same_with_and_without_leading_zeros() {
        assert_eq!(serial(&[0, 0, 7]), serial(&[7]));
        assert_ne!(serial(&[7, 0]), serial(&[7]));
        assert_ne!(serial(&[0]), serial(&[7]));
        assert!(serial(&[1; 20]).is_some() && serial(&[1; 21]).is_none());
    }

    #[test]
    fn the_contents_of_a_value_follow_its_length() {
        assert_eq!(contents(&[0x30, 2, 5, 6]), Some(&[5, 6][..]));
        assert_eq!(contents(&[0x30, 0x81, 1, 5]), Some(&[5][..]));
        assert_eq!(contents(&[0x30, 0x82, 0, 1, 5]), Some(&[5][..]));
        assert_eq!(contents(&[0x30]), None);
        assert_eq!(contents(&[0x30, 0x80, 1]), None);
    }
}
