//! Tests of the key store on real files.

use std::os::unix::fs::PermissionsExt;

use super::*;

fn sealed_file(dir: &Path) -> PathBuf {
    dir.join("api-keys.json")
}

#[test]
fn a_key_works_until_revoked_and_another_process_sees_it_after_reload() {
    let dir = tempfile::tempdir().unwrap();
    let ours = KeyStore::open(dir.path()).unwrap();
    let theirs = KeyStore::open(dir.path()).unwrap();
    let new = ours
        .create(MemberId(7), "desk", Permissions::ALL, vec![])
        .unwrap();
    assert!(theirs.find(&new.key).is_none());
    assert!(theirs.reload().unwrap());
    assert!(!theirs.reload().unwrap(), "nothing changed since");
    let key = theirs.find(&new.key).unwrap();
    assert_eq!((key.member, key.label.as_str()), (MemberId(7), "desk"));
    assert_eq!(STANDARD.decode(&new.secret).unwrap(), key.secret.expose());
    assert_eq!(new.passphrase.as_bytes(), key.passphrase.expose());

    let second = theirs
        .create(MemberId(8), "", Permissions::ALL, vec![])
        .unwrap();
    assert_eq!(theirs.list().len(), 2);
    theirs.revoke(&new.key).unwrap();
    assert!(matches!(
        theirs.revoke(&new.key),
        Err(KeyStoreError::UnknownKey(_))
    ));
    ours.reload().unwrap();
    assert_eq!(ours.list().len(), 1);
    assert!(ours.find(&second.key).is_some());
}

#[test]
fn neither_the_file_nor_debug_shows_a_secret() {
    let dir = tempfile::tempdir().unwrap();
    let store = KeyStore::open(dir.path()).unwrap();
    let new = store
        .create(MemberId(1), "label-in-clear?", Permissions::ALL, vec![])
        .unwrap();
    let text = std::fs::read_to_string(sealed_file(dir.path())).unwrap();
    let shown = format!("{store:?} {new:?} {:?}", store.find(&new.key).unwrap());
    let secret_bytes = format!("{:?}", STANDARD.decode(&new.secret).unwrap());
    for hidden in [&new.secret, &new.passphrase, &secret_bytes] {
        assert!(!text.contains(hidden) && !shown.contains(hidden));
    }
    assert!(text.contains(&new.key) && !text.contains("label-in-clear"));
    for name in ["api-keys.json", "api-keys.master"] {
        let mode = std::fs::metadata(dir.path().join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
}

#[test]
fn damage_names_the_file_and_keeps_the_keys_that_were_read() {
    let dir = tempfile::tempdir().unwrap();
    let store = KeyStore::open(dir.path()).unwrap();
    let new = store
        .create(MemberId(1), "", Permissions::ALL, vec![])
        .unwrap();
    let path = sealed_file(dir.path());
    let good = std::fs::read_to_string(&path).unwrap();
    let sealed_at = good.find("\"sealed\": \"").unwrap() + 20;
    let mut flipped = good.clone().into_bytes();
    flipped[sealed_at] = if flipped[sealed_at] == b'A' {
        b'B'
    } else {
        b'A'
    };
    let other_id = good.replace(&new.key, &"0".repeat(32));
    let cases = [
        flipped,
        other_id.into_bytes(),
        good.as_bytes()[..good.len() / 2].to_vec(),
        good.replace("\"version\": 1", "\"version\": 9")
            .into_bytes(),
        Vec::new(),
    ];
    for case in cases {
        std::fs::write(&path, case).unwrap();
        let error = KeyStore::open(dir.path()).unwrap_err();
        assert!(matches!(error, KeyStoreError::Damaged { .. }), "{error:?}");
        assert!(error.to_string().contains("api-keys.json"), "{error}");
        assert!(store.reload().is_err());
        assert!(
            store
                .create(MemberId(2), "", Permissions::ALL, vec![])
                .is_err()
        );
        assert!(store.find(&new.key).is_some());
    }
}

#[test]
fn a_master_key_that_is_missing_exposed_or_short_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let store = KeyStore::open(dir.path()).unwrap();
    store
        .create(MemberId(1), "", Permissions::ALL, vec![])
        .unwrap();
    let master = dir.path().join("api-keys.master");
    let mode = |mode| {
        std::fs::set_permissions(&master, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o644);
    let error = KeyStore::open(dir.path()).unwrap_err();
    assert!(
        matches!(error, KeyStoreError::MasterExposed { .. }),
        "{error}"
    );
    mode(0o600);
    std::fs::write(&master, [1; 31]).unwrap();
    let error = KeyStore::open(dir.path()).unwrap_err();
    assert!(matches!(error, KeyStoreError::Damaged { .. }), "{error}");
    std::fs::remove_file(&master).unwrap();
    let error = KeyStore::open(dir.path()).unwrap_err();
    assert!(
        matches!(error, KeyStoreError::MasterMissing { .. }),
        "{error}"
    );
}
