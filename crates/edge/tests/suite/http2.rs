//! HTTP/2 on the client's side: by negotiation and by knowing, and over a change of the edge itself.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use everopen_edge::Edge;
use everopen_edge::config::ClientMode;

use super::certificates::Shop;
use super::support::{Place, Server, until};

#[test]
fn a_client_gets_http_2_if_it_wants_it_and_http_1_1_if_not() {
    let shop = Shop::new(ClientMode::Off);
    let _edge = shop.place.start();
    let url = shop.url();
    for (wants, gets) in [("--http2", "2"), ("--http1.1", "1.1")] {
        let told = [
            "-w",
            " %{http_version}",
            "-b",
            "a=1",
            "-H",
            "te: trailers",
            wants,
            &url,
        ];
        let (is_content, said) = shop.curl(None, &told);
        assert!(is_content, "{said}");
        assert_eq!(said, format!("served {gets}"));
        let host = format!("localhost:{}", shop.port());
        assert_eq!(shop.seen("host"), Some(host.clone()));
        assert_eq!(shop.seen("x-forwarded-host"), Some(host));
        assert_eq!(shop.seen("cookie").as_deref(), Some("a=1"));
    }
    let line = shop.logged("\"h2\"");
    assert_eq!(line["event"], "accepted");
    // Many at once over one connection, with bodies.
    let body = "x".repeat(100_000);
    let mut args = vec!["--parallel", "--http2", "--fail", "--data-binary", &body];
    args.extend(std::iter::repeat_n(url.as_str(), 50));
    let before = shop.server.seen();
    let (is_content, said) = shop.curl(None, &args);
    assert!(is_content, "{said}");
    assert_eq!(shop.server.seen() - before, 50);
    let refused = shop.curl(
        None,
        &["-X", "CONNECT", "--http1.1", "-w", " %{http_code}", &url],
    );
    assert!(refused.1.contains("405"), "{refused:?}");
}

#[test]
fn a_listener_without_http_2_does_not_offer_it() {
    let mut shop = Shop::new(ClientMode::Off);
    shop.place.config.listeners[0].http2 = Some(false);
    let _edge = shop.place.start();
    let (is_content, said) = shop.curl(None, &["-w", " %{http_version}", "--http2", &shop.url()]);
    assert!(is_content && said.ends_with("1.1"), "{said}");
}

#[test]
fn without_tls_it_is_for_clients_that_know() {
    let server = Server::start("served");
    let mut place = Place::new(&[server.address], &[], (1, 0));
    place.config.listeners[0].http2 = Some(true);
    let _edge = place.start();
    for (wants, gets) in [("--http2-prior-knowledge", "2"), ("--http1.1", "1.1")] {
        let output = Command::new("curl")
            .args(["--silent", "-w", " %{http_version}", wants])
            .arg(format!("http://{}/", place.public()))
            .output()
            .expect("curl is installed");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(said, format!("served {gets}"));
    }
}

#[test]
fn connections_of_http_2_lose_no_request_when_the_edge_replaces_itself() {
    let shop = Shop::new(ClientMode::Off);
    let mut edge = shop.place.start();
    let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    let (stop, rounds) = (Arc::new(stop), Arc::new(rounds));
    let url = shop.url();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..2)
            .map(|_| {
                let (shop, url) = (&shop, &url);
                let (stop, rounds) = (Arc::clone(&stop), Arc::clone(&rounds));
                scope.spawn(move || {
                    let mut said = Vec::new();
                    while !stop.load(SeqCst) {
                        let mut args = vec!["--http2", "--fail"];
                        args.extend(std::iter::repeat_n(url.as_str(), 40));
                        let (is_content, text) = shop.curl(None, &args);
                        if !is_content {
                            said.push(text);
                        }
                        rounds.fetch_add(1, SeqCst);
                    }
                    said
                })
            })
            .collect();
        for _ in 0..3 {
            let before = rounds.load(SeqCst);
            until("clients are served", || rounds.load(SeqCst) > before + 2);
            let next = shop
                .place
                .runtime
                .block_on(Edge::start(&shop.place.config, true));
            let next = next.expect("it takes over");
            shop.place.runtime.block_on(edge.handed_over());
            let stopping = edge.stop(Duration::from_secs(5));
            assert_eq!(shop.place.runtime.block_on(stopping), 0);
            edge = next;
        }
        stop.store(true, SeqCst);
        for client in clients {
            let said = client.join().expect("a client");
            assert!(said.is_empty(), "{said:?}");
        }
    });
}
