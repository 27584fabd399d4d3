//! Making certificates, and making them only once.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use everopen_identity::{Authority, Error, Files, Identity, Name};

use crate::{authority, issue, issue_other, names};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("it is there").mode() & 0o777
}

fn contents(files: &Files) -> [Vec<u8>; 3] {
    [&files.ca, &files.cert, &files.key].map(|path| fs::read(path).expect("it is there"))
}

#[test]
fn keys_are_their_owners_alone() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = authority(dir.path());
    let files = issue(&authority, Name::Node(1), dir.path());
    assert_eq!(mode(&dir.path().join("authority")), 0o700);
    assert_eq!(mode(&dir.path().join("authority/authority.key")), 0o600);
    assert_eq!(mode(&dir.path().join("node-1")), 0o700);
    assert_eq!(mode(&files.key), 0o600);
    for dir in ["authority", "node-1"] {
        for entry in fs::read_dir(dir_of(&files).join("..").join(dir)).expect("a directory") {
            let name = entry.expect("an entry").file_name();
            assert!(
                !name.to_string_lossy().ends_with(".new"),
                "{name:?} is left"
            );
        }
    }
}

fn dir_of(files: &Files) -> &Path {
    files.ca.parent().expect("files lie in a directory")
}

#[test]
fn an_issued_certificate_carries_its_name() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = authority(dir.path());
    for name in [Name::Node(7), Name::Gateway(2), Name::Operator] {
        let files = issue(&authority, name, dir.path());
        assert_eq!(
            files,
            Files::within(&dir.path().join(name.to_string()), name)
        );
        let identity = Identity::load(&files).expect("good files");
        assert_eq!(*identity.name(), name);
        assert_eq!(
            format!("{identity:?}"),
            format!("Identity {{ name: {name:?}, .. }}")
        );
    }
}

#[test]
fn an_authority_is_never_replaced() {
    let dir = tempfile::tempdir().expect("a directory");
    authority(dir.path());
    let key = fs::read(dir.path().join("authority/authority.key")).expect("a key");
    let again = Authority::create(&dir.path().join("authority"));
    assert!(matches!(again, Err(Error::Exists { .. })), "{again:?}");
    Authority::open_or_create(&dir.path().join("authority")).expect("it is there");
    let after = fs::read(dir.path().join("authority/authority.key")).expect("a key");
    assert_eq!(after, key);
}

#[test]
fn an_authority_that_is_not_there_is_not_opened_but_can_be_made() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("deep/below");
    let error = Authority::open(&path)
        .expect_err("there is none")
        .to_string();
    assert!(error.contains("deep/below/authority.key"), "{error}");
    Authority::open_or_create(&path).expect("a new one");
    Authority::open(&path).expect("it is there now");
}

#[test]
fn an_authoritys_lost_certificate_is_made_again_and_old_ones_stay_good() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = authority(dir.path());
    let mut files = issue(&authority, Name::Node(1), dir.path());
    fs::remove_file(dir.path().join("authority/ca.crt")).expect("it was there");
    let authority = Authority::open(&dir.path().join("authority")).expect("its key is there");
    let later = issue(&authority, Name::Node(2), dir.path());
    Identity::load(&later).expect("of the new certificate's authority");
    files.ca = later.ca;
    Identity::load(&files).expect("the key is the same");
}

#[test]
fn good_files_are_left_as_they_are() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = authority(dir.path());
    let files = issue(&authority, Name::Node(1), dir.path());
    let before = contents(&files);
    issue(&authority, Name::Node(1), dir.path());
    assert_eq!(contents(&files), before);
    drop(authority);
    let authority = Authority::open(&dir.path().join("authority")).expect("it is there");
    issue(&authority, Name::Node(1), dir.path());
    assert_eq!(contents(&files), before);
}

#[test]
fn files_that_are_no_longer_good_are_made_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = authority(dir.path());
    let files = issue(&authority, Name::Node(1), dir.path());
    for path in [&files.ca, &files.cert, &files.key] {
        fs::write(path, "rubbish").expect("room");
        issue(&authority, Name::Node(1), dir.path());
        Identity::load(&files).expect("made anew");
        fs::remove_file(path).expect("it is there");
        issue(&authority, Name::Node(1), dir.path());
        Identity::load(&files).expect("made anew");
    }
    assert_eq!(mode(&files.key), 0o600);

    let other = tempfile::tempdir().expect("a directory");
    let other = crate::authority(other.path());
    let before = contents(&files);
    issue(&other, Name::Node(1), dir.path());
    let after = contents(&files);
    assert!(
        before
            .iter()
            .zip(&after)
            .all(|(before, after)| before != after)
    );
    Identity::load(&files).expect("of the other authority");
}

#[test]
fn a_certificate_that_ends_soon_is_made_anew() {
    let dir = tempfile::tempdir().expect("a directory");
    let authority = authority(dir.path());
    let week = std::time::Duration::from_secs(7 * 24 * 60 * 60);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("a clock after 1970");
    let files = issue_other(dir.path(), |params| {
        params.subject_alt_names =
            names("node-99.everopen.internal", &["spiffe://everopen/node-99"]);
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + now + week;
    });
    Identity::load(&files).expect("good for a week");
    let before = contents(&files);
    issue(&authority, Name::Node(99), dir.path());
    assert_ne!(contents(&files)[1], before[1]);
}
