//! Two sessions, back to back.

use std::sync::Arc;

use everopen_identity::{Name, Session, SessionError};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::{authority, identity, issue};

/// How a handshake ended at its two ends.
struct Shaken {
    dialer: Result<Name, SessionError>,
    acceptor: Result<Name, SessionError>,
}

/// Carries bytes between both until neither has any, or one gives up.
fn shake(mut dialer: Session, mut acceptor: Session) -> Shaken {
    let (mut dialer_fault, mut acceptor_fault) = (None, None);
    for _ in 0..16 {
        carry(&mut dialer, &mut acceptor, &mut acceptor_fault);
        carry(&mut acceptor, &mut dialer, &mut dialer_fault);
    }
    Shaken {
        dialer: dialer_fault.map_or_else(|| dialer.peer(), Err),
        acceptor: acceptor_fault.map_or_else(|| acceptor.peer(), Err),
    }
}

fn carry(from: &mut Session, to: &mut Session, fault: &mut Option<SessionError>) {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_to(&mut bytes).expect("memory takes everything");
    }
    let mut bytes = &bytes[..];
    while !bytes.is_empty() && fault.is_none() {
        match to.feed(&mut bytes) {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => *fault = Some(error),
        }
    }
}

#[test]
fn both_ends_learn_the_other_ones_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = authority(dir.path());
    let gateway = identity(&authority, Name::Gateway(1), dir.path());
    let node = identity(&authority, Name::Node(1), dir.path());
    let shaken = shake(
        Session::dial(&gateway, Name::Node(1)),
        Session::accept(&node),
    );
    assert_eq!(shaken.dialer.expect("trusted"), Name::Node(1));
    assert_eq!(shaken.acceptor.expect("trusted"), Name::Gateway(1));
}

#[test]
fn what_is_sealed_comes_out_at_the_other_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = authority(dir.path());
    let operator = identity(&authority, Name::Operator, dir.path());
    let node = identity(&authority, Name::Node(3), dir.path());
    let mut dialer = Session::dial(&operator, Name::Node(3));
    let mut acceptor = Session::accept(&node);
    let mut fault = None;
    while dialer.is_handshaking() || acceptor.is_handshaking() {
        carry(&mut dialer, &mut acceptor, &mut fault);
        carry(&mut acceptor, &mut dialer, &mut fault);
        assert!(fault.is_none(), "{fault:?}");
    }
    assert_eq!(dialer.seal(b"place an order"), 14);
    carry(&mut dialer, &mut acceptor, &mut fault);
    assert_eq!(acceptor.plaintext(), b"place an order");
    acceptor.consume(6);
    assert_eq!(acceptor.plaintext(), b"an order");
    acceptor.consume(8);
    assert_eq!(acceptor.plaintext(), b"");

    dialer.seal_goodbye();
    let mut bytes = Vec::new();
    dialer.write_to(&mut bytes).expect("memory");
    assert!(!acceptor.feed(&mut &bytes[..]).expect("a goodbye"));
}

#[test]
fn a_process_of_another_authority_is_refused_at_both_ends() {
    let dir = tempfile::tempdir().expect("a directory");
    let other_dir = tempfile::tempdir().expect("a directory");
    let node = identity(&authority(dir.path()), Name::Node(1), dir.path());
    let stranger = identity(
        &authority(other_dir.path()),
        Name::Node(1),
        other_dir.path(),
    );
    let shaken = shake(
        Session::dial(&node, Name::Node(1)),
        Session::accept(&stranger),
    );
    let refusal = shaken.dialer.expect_err("not of its authority").to_string();
    assert!(refusal.contains("certificate"), "{refusal}");
    assert!(shaken.acceptor.is_err());

    // Who accepts does not rely on the dialer's judgment: this one trusts the authority of the node
    // that it dials, but has a certificate of another.
    let mut files =
        everopen_identity::Files::within(&other_dir.path().join("node-1"), Name::Node(1));
    files.ca = dir.path().join("node-1/ca.crt");
    let chain = rustls_pem(&files.cert);
    let roots = roots(&files.ca);
    let key = rustls::pki_types::pem::PemObject::from_pem_file(&files.key).expect("a key");
    let config = client_config(roots)
        .with_client_auth_cert(chain, key)
        .expect("a certificate and its key");
    let refusal = refusal_of(config, &node);
    assert!(refusal.contains("certificate"), "{refusal}");
}

#[test]
fn who_shows_no_certificate_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = authority(dir.path());
    let files = issue(&authority, Name::Node(1), dir.path());
    let node = identity(&authority, Name::Node(1), dir.path());
    let config = client_config(roots(&files.ca)).with_no_client_auth();
    let refusal = refusal_of(config, &node);
    assert!(refusal.contains("no certificates"), "{refusal}");
}

#[test]
fn another_nodes_certificate_does_not_pass_for_the_dialed_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = authority(dir.path());
    let first = identity(&authority, Name::Node(1), dir.path());
    let second = identity(&authority, Name::Node(2), dir.path());
    let shaken = shake(
        Session::dial(&first, Name::Node(1)),
        Session::accept(&second),
    );
    let refusal = shaken.dialer.expect_err("another node").to_string();
    assert!(refusal.contains("node-1.everopen.internal"), "{refusal}");
    assert!(shaken.acceptor.is_err(), "the dialer showed no certificate");
}

#[test]
fn a_peer_that_talks_no_tls_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let node = identity(&authority(dir.path()), Name::Node(1), dir.path());
    let mut session = Session::accept(&node);
    let mut bytes: &[u8] = b"GET / HTTP/1.1\r\n\r\n";
    assert!(session.feed(&mut bytes).is_err());
}

type ClientBuilder = rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>;

fn client_config(roots: RootCertStore) -> ClientBuilder {
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider knows it")
        .with_root_certificates(roots)
}

fn rustls_pem(path: &std::path::Path) -> Vec<rustls::pki_types::CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject;
    rustls::pki_types::CertificateDer::pem_file_iter(path)
        .expect("a file")
        .collect::<Result<_, _>>()
        .expect("certificates")
}

fn roots(path: &std::path::Path) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    for root in rustls_pem(path) {
        roots.add(root).expect("an authority");
    }
    roots
}

/// Dials `node` with a configuration that is not ours, and says what the node said.
fn refusal_of(config: ClientConfig, node: &everopen_identity::Identity) -> String {
    let host = Name::Node(1).host().try_into().expect("a host name");
    let mut dialer = ClientConnection::new(Arc::new(config), host).expect("a configuration");
    let mut acceptor = Session::accept(node);
    for _ in 0..16 {
        let mut bytes = Vec::new();
        while dialer.wants_write() {
            dialer.write_tls(&mut bytes).expect("memory");
        }
        let mut bytes = &bytes[..];
        while !bytes.is_empty() {
            if let Err(error) = acceptor.feed(&mut bytes) {
                assert!(acceptor.is_handshaking());
                assert!(acceptor.peer().is_err());
                return error.to_string();
            }
        }
        let mut bytes = Vec::new();
        while acceptor.wants_write() {
            acceptor.write_to(&mut bytes).expect("memory");
        }
        let mut bytes = &bytes[..];
        while !bytes.is_empty() {
            dialer.read_tls(&mut bytes).expect("memory");
            dialer.process_new_packets().expect("a node that it trusts");
        }
    }
    panic!("the node took it for {:?}", acceptor.peer());
}
