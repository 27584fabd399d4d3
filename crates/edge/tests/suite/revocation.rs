//! Who is taken back loses what is open, and does not come back by an old session.

use std::io::{BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use everopen_edge::Edge;
use everopen_edge::config::{ClientMode, Protocol};
use everopen_testkit::pki::Pki;
use serde_json::json;

use super::certificates::{STORE, Shop, replace, write};
use super::support::{PATIENCE, read_message, until};

/// A change of files must be in force in this time.
const IN_FORCE: Duration = Duration::from_secs(5);

/// Accepts an upgrade and then says nothing.
fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            if read_message(&mut reader).is_none() {
                continue;
            }
            let answer = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n\
                          upgrade: websocket\r\n\r\n";
            let _ = reader.get_mut().write_all(answer.as_bytes());
            kept.push(reader);
        }
    });
    address
}

#[test]
fn a_revoked_client_loses_its_connections_within_five_seconds_and_others_keep_theirs() {
    let shop = Shop::new(ClientMode::Verify);
    let _edge = shop.place.start();
    let bad = shop.pair("bad", &shop.partners.client(7, |_| {}), &[]);
    let good = shop.pair("good", &shop.partners.client(8, |_| {}), &[]);
    let (mut bad12, mut bad13) = (
        shop.python(Some(&bad), "1.2"),
        shop.python(Some(&bad), "1.3"),
    );
    let mut good = shop.python(Some(&good), "1.3");
    for client in [&mut bad12, &mut bad13, &mut good] {
        assert_eq!(client.asks("a"), "ok 200 served");
    }
    let revoked = Instant::now();
    write(&shop.at("lists/1.pem"), &shop.partners.list([7], 2050));
    for client in [&mut bad12, &mut bad13] {
        assert_eq!(client.does("ended a"), "ok ended");
        assert!(revoked.elapsed() < IN_FORCE, "{:?}", revoked.elapsed());
        assert!(client.asks("b").starts_with("failed"));
    }
    assert_eq!(good.does("get a"), "ok 200 served");
    let line = shop.logged("\"cut\"");
    assert_eq!(line["verify"], "Failed:ClientCertCrlHit");
    assert_eq!(line["certificate"]["serial"], "07");
    assert_eq!(line["store_version"], 2);
    let said = shop.openssl(Some(&bad), &[]);
    assert!(!said.contains("HTTP/1.1 200"), "{said}");
}

#[test]
fn a_tunnel_of_a_revoked_client_is_cut() {
    for protocol in [Protocol::Http, Protocol::Tcp] {
        let mut shop = Shop::new(ClientMode::Verify);
        let group = shop.place.config.services.get_mut("api").unwrap();
        group.groups.get_mut("blue").unwrap().targets = vec![silent()];
        shop.place.config.listeners[0].protocol = protocol;
        let _edge = shop.place.start();
        let bad = shop.pair("bad", &shop.partners.client(7, |_| {}), &[]);
        let mut client = shop.python(Some(&bad), "1.3");
        assert!(client.does("open a").starts_with("ok"));
        assert_eq!(client.does("upgrade a"), "ok 101", "{protocol:?}");
        let revoked = Instant::now();
        write(&shop.at("lists/1.pem"), &shop.partners.list([7], 2050));
        assert_eq!(client.does("ended a"), "ok ended");
        assert!(revoked.elapsed() < IN_FORCE, "{:?}", revoked.elapsed());
    }
}

#[test]
fn a_session_from_before_the_revocation_is_not_resumed() {
    for version in ["1.2", "1.3"] {
        let shop = Shop::new(ClientMode::Verify);
        let _edge = shop.place.start();
        let bad = shop.pair("bad", &shop.partners.client(7, |_| {}), &[]);
        let mut client = shop.python(Some(&bad), version);
        assert_eq!(client.asks("a"), "ok 200 served");
        assert_eq!(client.does("session a"), "ok kept");
        // Sessions are resumed at all, and the certificate is told as before.
        let opened = client.does("open b a");
        assert!(opened.ends_with("resumed=True"), "{version}: {opened}");
        assert_eq!(client.does("get b"), "ok 200 served");
        let subject = shop.seen("x-amzn-mtls-clientcert-subject");
        assert_eq!(subject.as_deref(), Some("CN=client"));
        assert_eq!(shop.logged("\"resumed\":true")["verify"], "Success");
        let openssl = shop.at("openssl.session");
        let flag = if version == "1.2" {
            "-tls1_2"
        } else {
            "-tls1_3"
        };
        let file = openssl.to_str().unwrap();
        assert!(
            shop.openssl(Some(&bad), &[flag, "-sess_out", file])
                .contains("served")
        );
        let again = shop.openssl(Some(&bad), &[flag, "-sess_in", file]);
        assert!(
            again.contains("Reused") && again.contains("served"),
            "{again}"
        );

        write(&shop.at("lists/1.pem"), &shop.partners.list([7], 2050));
        assert_eq!(client.does("ended a"), "ok ended");
        let opened = client.does("open c a");
        let asked = client.does("get c");
        assert!(
            opened.starts_with("failed") || asked.starts_with("failed"),
            "{version}: {opened}; {asked}"
        );
        let again = shop.openssl(Some(&bad), &[flag, "-sess_in", file]);
        assert!(!again.contains("HTTP/1.1 200"), "{again}");
    }
}

#[test]
fn thirty_lists_of_ten_thousand_are_in_force_within_five_seconds() {
    let shop = Shop::new(ClientMode::Verify);
    let authorities: Vec<Pki> = (0..30)
        .map(|at| Pki::root(&format!("partner {at}")))
        .collect();
    let bundle: String = authorities
        .iter()
        .map(|authority| authority.pem())
        .collect();
    replace(&shop.at("partners.pem"), &bundle);
    for (at, authority) in authorities.iter().enumerate() {
        let list = authority.list((1..=10_000).map(|serial| serial * 2), 2050);
        write(&shop.at(&format!("lists/{at:02}.pem")), &list);
    }
    let _edge = shop.place.start();
    let status = shop.place.operator().status().expect("a status");
    let store = &status.tls.stores[STORE];
    assert_eq!((store.lists, store.revoked), (30, 300_000));
    let last = &authorities[29];
    let odd = shop.pair("odd", &last.client(19_999, |_| {}), &[]);
    let even = shop.pair("even", &last.client(20_000, |_| {}), &[]);
    let mut odd = shop.python(Some(&odd), "1.3");
    assert_eq!(odd.asks("a"), "ok 200 served");
    assert!(
        shop.python(Some(&even), "1.3")
            .asks("a")
            .starts_with("failed")
    );
    let revoked = Instant::now();
    let list = last.list((1..=10_001).map(|serial| serial * 2 - 1), 2050);
    replace(&shop.at("lists/29.pem"), &list);
    assert_eq!(odd.does("ended a"), "ok ended");
    assert!(revoked.elapsed() < IN_FORCE, "{:?}", revoked.elapsed());
}

#[test]
fn a_key_that_can_not_be_read_does_not_hold_a_revocation_up() {
    let shop = Shop::new(ClientMode::Verify);
    let _edge = shop.place.start();
    let bad = shop.pair("bad", &shop.partners.client(7, |_| {}), &[]);
    let mut client = shop.python(Some(&bad), "1.3");
    assert_eq!(client.asks("a"), "ok 200 served");
    // A rotation of keys that stopped half-way.
    replace(&shop.at("server.key"), "nothing");
    until("it is said", || {
        let status = shop.place.operator().status().expect("a status");
        !status.tls.wrong.is_empty()
    });
    let revoked = Instant::now();
    write(&shop.at("lists/1.pem"), &shop.partners.list([7], 2050));
    assert_eq!(client.does("ended a"), "ok ended");
    assert!(revoked.elapsed() < IN_FORCE, "{:?}", revoked.elapsed());
    assert!(client.asks("b").starts_with("failed"));
    let good = shop.pair("good", &shop.partners.client(8, |_| {}), &[]);
    assert_eq!(shop.python(Some(&good), "1.3").asks("a"), "ok 200 served");
    let status = shop.place.operator().status().expect("a status");
    assert!(!status.tls.wrong.is_empty(), "the key is still wrong");
}

#[test]
fn an_edge_that_was_taken_over_still_cuts_who_is_taken_back() {
    let mut shop = Shop::new(ClientMode::Verify);
    let group = shop.place.config.services.get_mut("api").unwrap();
    group.groups.get_mut("blue").unwrap().targets = vec![silent()];
    let mut edge = shop.place.start();
    let bad = shop.pair("bad", &shop.partners.client(7, |_| {}), &[]);
    let mut client = shop.python(Some(&bad), "1.3");
    assert!(client.does("open a").starts_with("ok"));
    assert_eq!(client.does("upgrade a"), "ok 101");
    let runtime = &shop.place.runtime;
    let next = runtime.block_on(Edge::start(&shop.place.config, true));
    let _next = next.expect("it takes over");
    runtime.block_on(edge.handed_over());
    // The tunnel stays with the first, which waits for it.
    let stopping = runtime.spawn(edge.stop(PATIENCE));
    let revoked = Instant::now();
    write(&shop.at("lists/1.pem"), &shop.partners.list([7], 2050));
    assert_eq!(client.does("ended a"), "ok ended");
    assert!(revoked.elapsed() < IN_FORCE, "{:?}", revoked.elapsed());
    drop(stopping);
}

#[test]
fn a_store_has_versions_and_one_can_go_back() {
    let shop = Shop::new(ClientMode::Verify);
    let edge = shop.place.start();
    let one = shop.pair("one", &shop.partners.client(7, |_| {}), &[]);
    let is_served = |shop: &Shop| shop.python(Some(&one), "1.3").asks("a") == "ok 200 served";
    assert!(is_served(&shop));
    write(&shop.at("lists/1.pem"), &shop.partners.list([7], 2050));
    let version = |shop: &Shop| {
        let status = shop.place.operator().status().expect("a status");
        let store = status.tls.stores[STORE].clone();
        (store.version, store.chosen)
    };
    until("the list is in force", || version(&shop) == (2, false));
    assert!(!is_served(&shop));
    let path = format!("/trust/{STORE}/version");
    let choose = |version: serde_json::Value| {
        shop.place
            .order("PUT", &path, &json!({ "version": version }))
    };
    assert_eq!(choose(json!(1)).expect("chosen")["version"], 1);
    assert!(is_served(&shop));
    // It stays so whatever the files say, and over a restart.
    write(&shop.at("lists/2.pem"), &shop.partners.list([9], 2050));
    shop.place
        .order("POST", "/tls/reload", &json!(null))
        .expect("read");
    assert_eq!(version(&shop), (1, true));
    shop.place.runtime.block_on(edge.stop(Duration::ZERO));
    let _edge = shop.place.start();
    assert_eq!(version(&shop), (1, true));
    assert!(is_served(&shop));
    assert_eq!(choose(json!(null)).expect("followed")["version"], 3);
    assert!(!is_served(&shop));
    let unknown = choose(json!(99)).unwrap_err();
    assert!(
        unknown.contains("version 99 is not kept; there are [1, 2, 3]"),
        "{unknown}"
    );
    let nobody = shop
        .place
        .order("PUT", "/trust/other/version", &json!({ "version": 1 }));
    assert!(nobody.unwrap_err().contains("no such trust store"));
}

#[test]
fn files_that_are_wrong_leave_in_force_what_was_read_before() {
    let shop = Shop::new(ClientMode::Verify);
    let _edge = shop.place.start();
    let one = shop.pair("one", &shop.partners.client(7, |_| {}), &[]);
    let mut client = shop.python(Some(&one), "1.3");
    assert_eq!(client.asks("a"), "ok 200 served");
    replace(
        &shop.at("partners.pem"),
        "-----BEGIN CERTIFICATE-----\nrubbish",
    );
    let said = shop
        .place
        .order("POST", "/tls/reload", &json!(null))
        .unwrap_err();
    assert!(
        said.contains("trust.partners: ") && said.contains("partners.pem"),
        "{said}"
    );
    assert_eq!(client.does("get a"), "ok 200 served");
    assert_eq!(client.asks("b"), "ok 200 served");
    replace(&shop.at("partners.pem"), &shop.partners.pem());
    shop.place
        .order("POST", "/tls/reload", &json!(null))
        .expect("all is well");
    let status = shop.place.operator().status().expect("a status");
    assert!(status.tls.wrong.is_empty());
    // An edge does not start on them.
    replace(&shop.at("server.key"), "nothing");
    let refused = shop
        .place
        .runtime
        .block_on(everopen_edge::Edge::start(&shop.place.config, false));
    let refused = refused.map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("listener \"public\": tls"), "{refused}");
    assert!(refused.contains("server.key"), "{refused}");
    assert!(PATIENCE > IN_FORCE);
}
