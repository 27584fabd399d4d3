//! Who passes for whom, and what is said of files that are not right.

mod authority;
mod clients;
mod files;
mod handshake;

use std::path::Path;
use std::sync::Arc;

use everopen_identity::{Authority, Files, Identity, Name};

/// A new authority in a directory below `dir`.
fn authority(dir: &Path) -> Authority {
    Authority::create(&dir.join("authority")).expect("a new authority")
}

/// Files of `name`, in a directory of its own below `dir`.
fn issue(authority: &Authority, name: Name, dir: &Path) -> Files {
    authority
        .issue(&name, &dir.join(name.to_string()))
        .expect("files that can be written")
}

fn identity(authority: &Authority, name: Name, dir: &Path) -> Arc<Identity> {
    Identity::load(&issue(authority, name, dir)).expect("files as they were issued")
}

/// A certificate that the authority in `dir` signs, but that is not as [`Authority::issue`] makes
/// them.
fn issue_other(dir: &Path, change: impl FnOnce(&mut rcgen::CertificateParams)) -> Files {
    let key = std::fs::read_to_string(dir.join("authority/authority.key")).expect("its key");
    let key = rcgen::KeyPair::from_pem(&key).expect("a key");
    let mut ca = rcgen::CertificateParams::default();
    ca.distinguished_name = rcgen::DistinguishedName::new();
    ca.distinguished_name
        .push(rcgen::DnType::CommonName, "Everopen cluster authority");
    let issuer = rcgen::Issuer::new(ca, key);

    let mut params = rcgen::CertificateParams::default();
    change(&mut params);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, &issuer).expect("a certificate");

    let files = issue(
        &Authority::open(&dir.join("authority")).expect("there is one"),
        Name::Node(99),
        dir,
    );
    std::fs::write(&files.cert, certificate.pem()).expect("room on the disk");
    std::fs::write(&files.key, key.serialize_pem()).expect("room on the disk");
    files
}

/// The host name and the SPIFFE id of a certificate.
fn names(host: &str, ids: &[&str]) -> Vec<rcgen::SanType> {
    let host = rcgen::SanType::DnsName(host.try_into().expect("ASCII"));
    let ids = ids
        .iter()
        .map(|id| rcgen::SanType::URI((*id).try_into().expect("ASCII")));
    std::iter::once(host).chain(ids).collect()
}
