//! Trust stores before chains of every kind: right, wrong, old, deep, taken back.

use everopen_identity::clients::{Refusal, Rules, Source, TrustStore};
use everopen_testkit::pki::Pki;
use everopen_testkit::pki::rcgen::{
    CertificateParams, ExtendedKeyUsagePurpose, SerialNumber, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, UnixTime};

const RULES: Rules = Rules {
    depth: 4,
    refuse_stale: false,
    need_list: false,
};

/// 2026-06-01.
fn now() -> UnixTime {
    UnixTime::since_unix_epoch(std::time::Duration::from_secs(1_780_272_000))
}

fn client(
    above: &Pki,
    serial: u64,
    change: impl FnOnce(&mut CertificateParams),
) -> CertificateDer<'static> {
    above.client(serial, change).der.into()
}

fn list(by: &Pki, serials: &[u64], next: i32) -> Source {
    source("list.pem", by.list(serials.iter().copied(), next))
}

fn source(name: &str, text: String) -> Source {
    Source {
        name: name.into(),
        bytes: text.into_bytes(),
    }
}

fn der(authority: &Pki) -> CertificateDer<'static> {
    authority.der().into()
}

fn store(authorities: &[&Pki], lists: &[Source], rules: Rules) -> TrustStore {
    let pem: String = authorities
        .iter()
        .map(|authority| authority.pem())
        .collect();
    TrustStore::new(&[source("ca.pem", pem)], lists, rules).unwrap()
}

#[test]
fn a_chain_up_to_an_authority_of_the_store_is_believed_and_no_other() {
    let (ours, theirs) = (Pki::root("ours"), Pki::root("theirs"));
    let middle = ours.below("middle");
    let store = store(&[&ours], &[], RULES);
    let direct = client(&ours, 1, |_| {});
    assert_eq!(store.verify(std::slice::from_ref(&direct), now()), Ok(()));
    let deeper = client(&middle, 2, |_| {});
    assert_eq!(store.verify(&[deeper.clone(), der(&middle)], now()), Ok(()));
    assert_eq!(store.verify(&[deeper], now()), Err(Refusal::Untrusted));
    let foreign = client(&theirs, 1, |_| {});
    assert_eq!(
        store.verify(&[foreign, der(&theirs)], now()),
        Err(Refusal::Untrusted)
    );
    // One that only has the name of ours.
    let namesake = Pki::root("ours");
    let forged = client(&namesake, 1, |_| {});
    assert_eq!(
        store.verify(&[forged, der(&namesake)], now()),
        Err(Refusal::Untrusted)
    );
    assert_eq!(store.verify(&[], now()), Err(Refusal::Missing));
    let rubbish = CertificateDer::from(vec![0x30, 1, 2]);
    assert_eq!(store.verify(&[rubbish], now()), Err(Refusal::Invalid));
}

#[test]
fn validity_and_purpose_are_looked_at() {
    let ours = Pki::root("ours");
    let store = store(&[&ours], &[], RULES);
    let refused = |change: &dyn Fn(&mut CertificateParams)| {
        store
            .verify(&[client(&ours, 1, change)], now())
            .unwrap_err()
    };
    assert_eq!(
        refused(&|params| params.not_after = date_time_ymd(2026, 5, 1)),
        Refusal::Expired
    );
    assert_eq!(
        refused(&|params| params.not_before = date_time_ymd(2026, 7, 1)),
        Refusal::NotYetValid
    );
    assert_eq!(
        refused(&|params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        }),
        Refusal::Purpose
    );
    // No purpose named means any.
    let any = client(&ours, 1, |params| params.extended_key_usages.clear());
    assert_eq!(store.verify(&[any], now()), Ok(()));
}

#[test]
fn a_store_whose_own_authority_has_expired_believes_it_no_more() {
    let old = Pki::root_with("old", |params| params.not_after = date_time_ymd(2026, 3, 1));
    let store = store(&[&old], &[], RULES);
    let one = client(&old, 1, |_| {});
    assert_eq!(store.verify(&[one], now()), Err(Refusal::Expired));
}

#[test]
fn depth_counts_authorities_and_not_what_a_client_shows_besides() {
    let top = Pki::root("top");
    let second = top.below("second");
    let third = second.below("third");
    let leaf = client(&third, 1, |_| {});
    let chain = [leaf, der(&third), der(&second)];
    let with = |depth| store(&[&top], &[], Rules { depth, ..RULES });
    assert_eq!(with(3).verify(&chain, now()), Ok(()));
    assert_eq!(with(2).verify(&chain, now()), Err(Refusal::TooDeep));
    // What is shown and not needed does no harm.
    let direct = client(&top, 2, |_| {});
    let shown = [direct, der(&third), der(&second)];
    assert_eq!(with(1).verify(&shown, now()), Ok(()));
    let mut many = vec![client(&top, 3, |_| {})];
    many.extend((0..10).map(|_| der(&second)));
    assert_eq!(with(4).verify(&many, now()), Err(Refusal::TooLong));
}

#[test]
fn any_list_of_an_authority_takes_back_whichever_comes_first() {
    let ours = Pki::root("ours");
    let lists = [
        list(&ours, &[1], 2027),
        list(&ours, &[2], 2027),
        list(&ours, &[], 2027),
    ];
    let store = store(&[&ours], &lists, RULES);
    assert_eq!((store.lists(), store.revoked()), (3, 2));
    for (serial, expected) in [
        (1, Err(Refusal::Revoked)),
        (2, Err(Refusal::Revoked)),
        (3, Ok(())),
    ] {
        let one = client(&ours, serial, |_| {});
        assert_eq!(store.verify(&[one], now()), expected, "{serial}");
    }
}

#[test]
fn an_authority_between_can_be_taken_back_and_take_back() {
    let top = Pki::root("top");
    let middle = top.below_with("middle", |params| {
        params.serial_number = Some(SerialNumber::from(77u64));
    });
    let chain = [client(&middle, 5, |_| {}), der(&middle)];
    let of = |lists: &[Source]| store(&[&top], lists, RULES).verify(&chain, now());
    assert_eq!(of(&[]), Ok(()));
    assert_eq!(of(&[list(&top, &[77], 2027)]), Err(Refusal::Revoked));
    assert_eq!(of(&[list(&middle, &[5], 2027)]), Err(Refusal::Revoked));
    // A serial number counts for the authority that gave it.
    assert_eq!(
        of(&[list(&top, &[5], 2027), list(&middle, &[77], 2027)]),
        Ok(())
    );
}

#[test]
fn a_list_that_nobody_of_that_name_has_signed_stops_its_certificates() {
    let ours = Pki::root("ours");
    let namesake = Pki::root("ours");
    let store = store(&[&ours], &[list(&namesake, &[9], 2027)], RULES);
    let one = client(&ours, 1, |_| {});
    assert_eq!(store.verify(&[one], now()), Err(Refusal::ListUnusable));
}

#[test]
fn stale_and_missing_lists_are_refused_when_the_rules_say_so() {
    let ours = Pki::root("ours");
    let old = list(&ours, &[9], 2026);
    let one = [client(&ours, 1, |_| {})];
    let lenient = store(&[&ours], std::slice::from_ref(&old), RULES);
    // 2026-02-01 is past.
    assert_eq!(lenient.stale(now()), 1);
    assert_eq!(lenient.verify(&one, now()), Ok(()));
    let strict = Rules {
        refuse_stale: true,
        ..RULES
    };
    let strict = store(&[&ours], &[old], strict);
    assert_eq!(strict.verify(&one, now()), Err(Refusal::ListUnusable));
    let needs = Rules {
        need_list: true,
        ..RULES
    };
    let bare = store(&[&ours], &[], needs);
    assert_eq!(bare.verify(&one, now()), Err(Refusal::StatusUnknown));
    let listed = store(&[&ours], &[list(&ours, &[], 2027)], needs);
    assert_eq!(listed.verify(&one, now()), Ok(()));
}

#[test]
fn thirty_lists_of_ten_thousand_take_back_whom_they_name_and_nobody_else() {
    let authorities: Vec<_> = (0..30)
        .map(|at| Pki::root(&format!("authority {at}")))
        .collect();
    let lists: Vec<_> = authorities
        .iter()
        .map(|authority| {
            let serials: Vec<u64> = (1..=10_000).map(|serial| serial * 2).collect();
            list(authority, &serials, 2027)
        })
        .collect();
    let all: Vec<&Pki> = authorities.iter().collect();
    let store = store(&all, &lists, RULES);
    assert_eq!(store.revoked(), 300_000);
    for authority in &authorities {
        for (serial, expected) in [
            (2, Err(Refusal::Revoked)),
            (20_000, Err(Refusal::Revoked)),
            (3, Ok(())),
            (20_002, Ok(())),
        ] {
            let one = client(authority, serial, |_| {});
            assert_eq!(store.verify(&[one], now()), expected, "{serial}");
        }
    }
}

#[test]
fn what_is_wrong_with_a_store_is_named_with_its_place() {
    let ours = Pki::root("ours");
    let refused = |authorities: &[Source], lists: &[Source]| {
        TrustStore::new(authorities, lists, RULES)
            .unwrap_err()
            .to_string()
    };
    let good = source("ca.pem", ours.pem());
    let leaf = client(&ours, 1, |_| {});
    let leaf = Source {
        name: "leaf.der".into(),
        bytes: leaf.to_vec(),
    };
    let said = refused(&[good.clone(), leaf], &[]);
    assert!(
        said.starts_with("leaf.der: certificate 1: \"CN=client"),
        "{said}"
    );
    assert!(
        said.ends_with("is not the certificate of an authority"),
        "{said}"
    );
    let empty = source("empty.pem", "no certificate".into());
    assert_eq!(
        refused(std::slice::from_ref(&empty), &[]),
        "empty.pem: it holds no certificate"
    );
    assert_eq!(
        refused(std::slice::from_ref(&good), &[empty]),
        "empty.pem: it holds no revocation list"
    );
    let cut = Source {
        name: "cut.crl".into(),
        bytes: vec![0x30, 0x82, 1],
    };
    assert!(refused(&[good], &[cut]).starts_with("cut.crl: list 1: it is no revocation list"));
    assert!(refused(&[], &[]).contains("at least one is needed"));
}

#[test]
fn the_same_contents_have_the_same_digest_and_others_another() {
    let ours = Pki::root("ours");
    let list = list(&ours, &[1], 2027);
    let one = store(&[&ours], std::slice::from_ref(&list), RULES);
    let same = store(&[&ours], std::slice::from_ref(&list), RULES);
    let other = store(&[&ours], &[], RULES);
    assert_eq!(one.digest(), same.digest());
    assert_ne!(one.digest(), other.digest());
}
