//! What each mode of mutual TLS lets in, and what targets and the log are told.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use everopen_edge::config::{Certificate, ClientMode};
use everopen_testkit::pki::Pki;
use everopen_testkit::pki::rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};

use super::certificates::{Pair, Shop, replace, write};
use super::support::{Client, until};

const SUBJECT: &str = "x-amzn-mtls-clientcert-subject";
const CHAIN: &str = "x-amzn-mtls-clientcert";
const FORWARDED: &str = "x-forwarded-client-cert";

/// Asks with both clients and both versions of TLS; whether all were served, or none.
fn is_served(shop: &Shop, pair: Option<&Pair>) -> bool {
    let mut served = Vec::new();
    for version in ["1.2", "1.3"] {
        served.push(shop.python(pair, version).asks("a") == "ok 200 served");
        let flag = if version == "1.2" {
            "-tls1_2"
        } else {
            "-tls1_3"
        };
        let said = shop.openssl(pair, &[flag]);
        served.push(said.contains("HTTP/1.1 200") && said.contains("served"));
    }
    assert!(
        served.iter().all(|one| *one == served[0]),
        "clients were treated differently: {served:?}"
    );
    served[0]
}

#[test]
fn without_mutual_tls_no_certificate_counts_and_no_header_passes() {
    let shop = Shop::new(ClientMode::Off);
    let _edge = shop.place.start();
    assert!(is_served(&shop, None));
    let mut client = shop.python(None, "1.3");
    assert_eq!(client.asks("a"), "ok 200 served");
    assert_eq!((shop.seen(SUBJECT), shop.seen(FORWARDED)), (None, None));
    assert_eq!(shop.seen("x-forwarded-proto").as_deref(), Some("https"));
    // A client that has one may come; it is not asked for it.
    let good = shop.pair("good", &shop.partners.client(1, |_| {}), &[]);
    assert!(is_served(&shop, Some(&good)));
    assert_eq!(shop.seen(SUBJECT), None);
    // The plain listener strips, too.
    let forged = "X-Amzn-Mtls-Clientcert-Subject: CN=forged\r\nX-Forwarded-Client-Cert: Hash=1\r\n";
    let mut plain = Client::connect(shop.place.test()).expect("connected");
    assert_eq!(plain.send("GET", forged, "").expect("an answer").0, 200);
    assert_eq!((shop.seen(SUBJECT), shop.seen(FORWARDED)), (None, None));
    assert_eq!(shop.seen("x-forwarded-proto").as_deref(), Some("http"));
}

#[test]
fn verify_lets_in_who_is_trusted_and_says_of_all_others_why_not() {
    let shop = Shop::new(ClientMode::Verify);
    let _edge = shop.place.start();
    let good = shop.partners.client(0x0abc, |_| {});
    let good = shop.pair("good", &good, &[]);
    assert!(is_served(&shop, Some(&good)));
    assert_eq!(shop.seen(SUBJECT).as_deref(), Some("CN=client"));
    assert_eq!(
        shop.seen("x-amzn-mtls-clientcert-issuer").as_deref(),
        Some("CN=partners")
    );
    assert_eq!(
        shop.seen("x-amzn-mtls-clientcert-serial-number").as_deref(),
        Some("0ABC")
    );
    assert_eq!(
        shop.seen("x-amzn-mtls-clientcert-validity").as_deref(),
        Some("NotBefore=2026-01-01T00:00:00Z;NotAfter=2050-01-01T00:00:00Z")
    );
    let leaf = shop.seen("x-amzn-mtls-clientcert-leaf").unwrap();
    assert!(
        leaf.starts_with("-----BEGIN%20CERTIFICATE-----%0AMII"),
        "{leaf}"
    );
    assert!(shop.seen(FORWARDED).unwrap().starts_with("Hash="));
    assert_eq!(shop.seen(CHAIN), None);
    let line = shop.logged("\"accepted\"");
    assert_eq!(line["verify"], "Success");
    assert_eq!(line["store"], "partners");
    assert_eq!(line["store_version"], 1);
    assert_eq!(line["certificate"]["serial"], "0ABC");

    let middle = shop.partners.below("middle");
    let lower = middle.below("lower");
    let through = shop.pair("through", &middle.client(1, |_| {}), &[&middle]);
    assert!(is_served(&shop, Some(&through)), "depth 2 has room for one");
    let stranger = Pki::root("stranger");
    let namesake = Pki::root("partners");
    let refused = [
        (
            "ClientCertUntrusted",
            "wrong",
            stranger.client(1, |_| {}),
            vec![],
        ),
        (
            "ClientCertUntrusted",
            "namesake",
            namesake.client(1, |_| {}),
            vec![],
        ),
        (
            "ClientCertExpired",
            "old",
            shop.partners.client(2, |params| {
                params.not_after = date_time_ymd(2026, 2, 1);
            }),
            vec![],
        ),
        (
            "ClientCertNotYetValid",
            "early",
            shop.partners.client(3, |params| {
                params.not_before = date_time_ymd(2049, 1, 1);
            }),
            vec![],
        ),
        (
            "ClientCertPurposeInvalid",
            "for-servers",
            shop.partners.client(4, |params| {
                params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
            vec![],
        ),
        (
            "ClientCertMaxChainDepthExceeded",
            "deep",
            lower.client(5, |_| {}),
            vec![&lower, &middle],
        ),
    ];
    let before = shop.server.seen();
    for (code, name, issued, between) in refused {
        let pair = shop.pair(name, &issued, &between);
        assert!(!is_served(&shop, Some(&pair)), "{name}");
        let line = shop.logged(&format!("Failed:{code}"));
        assert_eq!(line["event"], "refused", "{name}");
        assert_eq!(line["certificate"]["subject"], "CN=client", "{name}");
    }
    assert!(!is_served(&shop, None));
    assert_eq!(shop.logged("ClientCertMissing")["event"], "refused");
    assert_eq!(shop.server.seen(), before, "no target heard of them");
}

#[test]
fn optional_serves_who_shows_none_and_refuses_who_shows_a_wrong_one() {
    let shop = Shop::new(ClientMode::Optional);
    let _edge = shop.place.start();
    assert!(is_served(&shop, None));
    let mut client = shop.python(None, "1.3");
    assert_eq!(client.asks("a"), "ok 200 served");
    assert_eq!((shop.seen(SUBJECT), shop.seen(FORWARDED)), (None, None));
    let good = shop.pair("good", &shop.partners.client(1, |_| {}), &[]);
    assert!(is_served(&shop, Some(&good)));
    assert_eq!(shop.seen(SUBJECT).as_deref(), Some("CN=client"));
    let wrong = shop.pair("wrong", &Pki::root("stranger").client(1, |_| {}), &[]);
    assert!(!is_served(&shop, Some(&wrong)));
}

#[test]
fn passthrough_hands_on_what_nobody_has_checked_and_calls_it_so() {
    let shop = Shop::new(ClientMode::Passthrough);
    let _edge = shop.place.start();
    assert!(is_served(&shop, None));
    assert_eq!(shop.seen(CHAIN), None);
    let stranger = Pki::root("stranger");
    let between = stranger.below("between");
    let any = shop.pair("any", &between.client(1, |_| {}), &[&between]);
    assert!(is_served(&shop, Some(&any)));
    let chain = shop.seen(CHAIN).unwrap();
    assert_eq!(chain.matches("BEGIN%20CERTIFICATE").count(), 2);
    // Nothing that reads as verified.
    assert_eq!((shop.seen(SUBJECT), shop.seen(FORWARDED)), (None, None));
    // Who shows a certificate must have its key.
    let other = shop.pair("other", &between.client(2, |_| {}), &[]);
    let borrowed = any.with_key_of(&other);
    let (is_content, said) = shop.curl(Some(&borrowed), &[&shop.url()]);
    assert!(!is_content, "{said}");
}

#[test]
fn a_certificate_that_expires_ends_its_connections_and_its_sessions() {
    let shop = Shop::new(ClientMode::Verify);
    let _edge = shop.place.start();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let ends = date_time_ymd(1970, 1, 1) + Duration::from_secs(since.as_secs() + 3);
    let brief = shop.partners.client(1, |params| params.not_after = ends);
    let brief = shop.pair("brief", &brief, &[]);
    let mut client = shop.python(Some(&brief), "1.3");
    assert_eq!(client.asks("a"), "ok 200 served");
    assert_eq!(client.does("session a"), "ok kept");
    assert_eq!(client.does("ended a"), "ok ended");
    let line = shop.logged("\"cut\"");
    assert_eq!(line["verify"], "Failed:ClientCertExpired");
    let opened = client.does("open b a");
    let asked = client.does("get b");
    assert!(
        opened.starts_with("failed") || asked.starts_with("failed"),
        "{opened}; {asked}"
    );
}

#[test]
fn a_new_key_is_shown_to_new_connections_and_a_broken_one_is_not() {
    let shop = Shop::new(ClientMode::Off);
    let _edge = shop.place.start();
    let mut client = shop.python(None, "1.3");
    assert_eq!(client.asks("a"), "ok 200 served");
    let serial = |shop: &Shop| {
        let said = shop.openssl(None, &["-showcerts"]);
        let begin = said.find("-----BEGIN").expect("a certificate");
        said[begin..begin + 200].to_string()
    };
    let first = serial(&shop);
    let next = shop.ours.server(&["localhost"]);
    // The key of another: for a moment the two files do not belong together.
    replace(&shop.at("server.pem"), &next.pem);
    until("it is said", || {
        let status = shop.place.operator().status().expect("a status");
        let wrong = status.tls.wrong.values().next().cloned();
        wrong.is_some_and(|what| what.contains("is not the key of"))
    });
    assert_eq!(serial(&shop), first, "what was read before is in force");
    replace(&shop.at("server.key"), &next.key);
    until("the new one is shown", || serial(&shop) != first);
    let status = shop.place.operator().status().expect("a status");
    assert!(status.tls.wrong.is_empty(), "{:?}", status.tls.wrong);
    assert_eq!(
        client.does("get a"),
        "ok 200 served",
        "the old connection goes on"
    );
}

#[test]
fn a_client_is_shown_the_certificate_of_the_host_that_it_names() {
    let mut shop = Shop::new(ClientMode::Off);
    let other = shop.ours.server(&["other.example"]);
    let files = Certificate {
        chain: shop.at("other.pem"),
        key: shop.at("other.key"),
    };
    write(&files.chain, &other.pem);
    write(&files.key, &other.key);
    let tls = shop.place.config.listeners[0].tls.as_mut().unwrap();
    tls.certificates.push(files);
    let _edge = shop.place.start();
    let port = shop.port();
    for host in ["localhost", "other.example"] {
        let to = format!("{host}:{port}:127.0.0.1:{port}");
        let url = format!("https://{host}:{port}/");
        let (is_content, said) = shop.curl(None, &["--connect-to", &to, &url]);
        assert!(is_content, "{host}: {said}");
    }
}
