//! What is said of files that are not right: each time, which.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use everopen_identity::{Error, Files, Identity, Name};

use crate::{authority, issue, issue_other, names};

fn refusal(files: &Files) -> Error {
    Identity::load(files).expect_err("they are not right")
}

fn assert_names(error: &Error, path: &Path) {
    let text = error.to_string();
    assert!(text.contains(path.to_str().expect("ASCII")), "{text}");
}

#[test]
fn a_missing_or_damaged_file_is_named() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = authority(dir.path());
    let files = issue(&authority, Name::Node(1), dir.path());
    for path in [&files.ca, &files.cert, &files.key] {
        let good = fs::read(path).expect("it is there");
        let damaged = "-----BEGIN CERTIFICATE-----\nnot base64!\n-----END CERTIFICATE-----\n";
        for bad in ["", "rubbish", damaged] {
            fs::write(path, bad).expect("room");
            let error = refusal(&files);
            assert!(matches!(error, Error::Malformed { .. }), "{error:?}");
            assert_names(&error, path);
        }
        fs::remove_file(path).expect("it is there");
        let error = refusal(&files);
        assert!(matches!(error, Error::Io { .. }), "{error:?}");
        assert_names(&error, path);
        fs::write(path, good).expect("room");
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("our file");
    }
    Identity::load(&files).expect("all as it was");
}

#[test]
fn a_file_without_end_is_not_read_to_its_end() {
    let dir = tempfile::tempdir().expect("a directory");
    let mut files = issue(&authority(dir.path()), Name::Node(1), dir.path());
    files.cert = "/dev/zero".into();
    assert_names(&refusal(&files), &files.cert);
}

#[test]
fn a_key_that_others_may_read_is_not_used() {
    let dir = tempfile::tempdir().expect("a directory");
    let files = issue(&authority(dir.path()), Name::Node(1), dir.path());
    for mode in [0o640, 0o604, 0o660, 0o602] {
        fs::set_permissions(&files.key, fs::Permissions::from_mode(mode)).expect("our file");
        let error = refusal(&files);
        assert!(matches!(error, Error::Exposed { mode: said, .. } if said == mode));
        assert_names(&error, &files.key);
    }
    fs::set_permissions(&files.key, fs::Permissions::from_mode(0o400)).expect("our file");
    Identity::load(&files).expect("the owner's alone");
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = authority(dir.path());
    let mut files = issue(&authority, Name::Node(1), dir.path());
    files.key = issue(&authority, Name::Node(2), dir.path()).key;
    let error = refusal(&files);
    assert!(matches!(error, Error::Mismatch { .. }), "{error:?}");
    assert_names(&error, &files.key);
}

#[test]
fn a_certificate_of_another_authority_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let other = tempfile::tempdir().expect("a directory");
    let mut files = issue(&authority(dir.path()), Name::Node(1), dir.path());
    files.ca = issue(&authority(other.path()), Name::Node(1), other.path()).ca;
    let error = refusal(&files);
    assert!(matches!(error, Error::NotTrusted { .. }), "{error:?}");
    assert_names(&error, &files.cert);
    assert_names(&error, &files.ca);
}

#[test]
fn a_certificate_is_refused_after_its_end_and_before_its_start() {
    let dir = tempfile::tempdir().expect("a directory");
    authority(dir.path());
    for (from, to) in [(2000, 2001), (3000, 3001)] {
        let files = issue_other(dir.path(), |params| {
            params.subject_alt_names =
                names("node-99.everopen.internal", &["spiffe://everopen/node-99"]);
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        });
        let error = refusal(&files);
        assert!(matches!(error, Error::NotTrusted { .. }), "{error:?}");
    }
}

#[test]
fn a_certificate_without_exactly_one_name_of_ours_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    authority(dir.path());
    let host = "node-1.everopen.internal";
    let id = "spiffe://everopen/node-1";
    for (host, ids) in [
        (host, &[][..]),
        (host, &["spiffe://elsewhere/node-1"]),
        (host, &["spiffe://everopen/node-01"]),
        (host, &["spiffe://everopen/node-1/admin"]),
        (host, &[id, "spiffe://everopen/operator"]),
        ("node-2.everopen.internal", &[id]),
        ("*.everopen.example", &[id]),
    ] {
        let files = issue_other(dir.path(), |params| {
            params.subject_alt_names = names(host, ids);
        });
        let error = refusal(&files);
        assert!(
            matches!(error, Error::Nameless { .. }),
            "{host} {ids:?}: {error:?}"
        );
        assert_names(&error, &files.cert);
    }
    let files = issue_other(dir.path(), |params| {
        params.subject_alt_names = names(host, &[id]);
    });
    let identity = Identity::load(&files).expect("as issued");
    assert_eq!(*identity.name(), Name::Node(1));
}
