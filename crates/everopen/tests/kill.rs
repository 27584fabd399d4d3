//! `kill -9` at random moments under load: no acknowledged command lost, none applied twice.
//!
//! `EVEROPEN_KILL_ROUNDS` sets the number of rounds (the long suite runs 200 or more),
//! `EVEROPEN_SEED` repeats a run's moments.

mod support;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use support::{Client, Venue};

const SMALL_SEGMENTS: [&str; 2] = ["--segment-mib", "2"];

const CLIENTS: u64 = 4;

/// What a client knows of an order that it sent.
#[derive(Clone, Debug, Default)]
struct Sent {
    /// The id from the acknowledgment, if there was one.
    order: Option<String>,
    cancel_sent: bool,
    cancel_acknowledged: bool,
}

#[derive(Debug, Default)]
struct Book {
    orders: BTreeMap<String, Sent>,
    deposits_sent: u64,
    deposits_acknowledged: u64,
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(default)
}

/// splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*state ^ (*state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Sends orders, cancels and deposits until the venue is gone.
fn trade(mut client: Client, name: &str, book: &Mutex<Book>, stop: &AtomicBool) {
    for number in 0u64.. {
        if stop.load(Relaxed) {
            return;
        }
        let id = format!("{name}-{number}");
        book.lock()
            .unwrap()
            .orders
            .insert(id.clone(), Sent::default());
        let body = format!(
            r#"{{"type":"limit","side":"buy","product_id":"BTC-USD","price":"100","size":"0.01","client_oid":"{id}"}}"#
        );
        let Ok(order) = client.good("POST", "/orders", &body) else {
            return;
        };
        let order = order["id"]
            .as_str()
            .expect("an order has an id")
            .to_string();
        book.lock().unwrap().orders.get_mut(&id).unwrap().order = Some(order.clone());
        if number % 4 != 0 {
            book.lock()
                .unwrap()
                .orders
                .get_mut(&id)
                .unwrap()
                .cancel_sent = true;
            let Ok(_) = client.good("DELETE", &format!("/orders/{order}"), "") else {
                return;
            };
            book.lock()
                .unwrap()
                .orders
                .get_mut(&id)
                .unwrap()
                .cancel_acknowledged = true;
        }
        if number % 8 == 0 {
            book.lock().unwrap().deposits_sent += 1;
            let body = r#"{"amount":"1","currency":"SOL"}"#;
            let Ok(_) = client.good("POST", "/deposits/coinbase-account", body) else {
                return;
            };
            book.lock().unwrap().deposits_acknowledged += 1;
        }
    }
}

/// Compares what clients know with what the venue says after its restart.
fn check(venue: &Venue, book: &mut Book, opening_sol: f64) {
    let mut client = Client::connect(venue).expect("connect");
    let mut open = 0u64;
    let mut forget = Vec::new();
    for (id, sent) in &mut book.orders {
        let (status, order) = client
            .call("GET", &format!("/orders/client:{id}"), "")
            .expect("ask for an order");
        if status == 404 {
            assert!(sent.order.is_none(), "acknowledged order {id} is lost");
            forget.push(id.clone());
            continue;
        }
        assert_eq!(status, 200, "{order}");
        if let Some(acknowledged) = &sent.order {
            assert_eq!(
                order["id"],
                acknowledged.as_str(),
                "order {id} exists twice"
            );
        }
        match order["status"].as_str() {
            Some("open") => {
                assert!(
                    !sent.cancel_acknowledged,
                    "acknowledged cancel of {id} is lost"
                );
                open += 1;
            }
            Some("done") => {
                assert!(
                    sent.cancel_sent,
                    "order {id} is gone though nobody canceled it"
                );
            }
            other => panic!("order {id} is {other:?}"),
        }
    }
    let accounts = client.good("GET", "/accounts", "").expect("accounts");
    let account = |currency: &str| {
        let accounts = accounts.as_array().expect("an array");
        accounts
            .iter()
            .find(|a| a["currency"] == currency)
            .expect("an account")
            .clone()
    };
    let number = |value: &serde_json::Value| value.as_str().unwrap().parse::<f64>().unwrap();
    // 100 × 0.01 and the highest fee of 0.6 %; each open order holds that or, at rest, less.
    let hold = number(&account("USD")["hold"]);
    assert!(
        hold <= open as f64 * 1.006 + 1e-6,
        "{hold} held for {open} orders"
    );
    assert!(hold >= open as f64 - 1e-6, "{hold} held for {open} orders");
    let deposits = (number(&account("SOL")["balance"]) - opening_sol).round() as u64;
    assert!(
        deposits >= book.deposits_acknowledged,
        "an acknowledged deposit is lost"
    );
    assert!(
        deposits <= book.deposits_sent,
        "a deposit was applied twice"
    );
    // What is settled needs no second look; a later round starts from here.
    book.deposits_sent = deposits;
    book.deposits_acknowledged = deposits;
    for id in forget {
        book.orders.remove(&id);
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_applied_twice_by_one_replica() {
    kill_in_rounds("1");
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_is_applied_twice_by_three_replicas() {
    kill_in_rounds("3");
}

fn kill_in_rounds(replicas: &str) {
    let rounds = number("EVEROPEN_KILL_ROUNDS", 4);
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos() as u64;
    let seed = number("EVEROPEN_SEED", clock);
    println!("{rounds} rounds, EVEROPEN_SEED={seed}");
    let mut state = seed;
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path();
    let start = || {
        let options: Vec<&str> = ["--replicas", replicas]
            .into_iter()
            .chain(SMALL_SEGMENTS)
            .collect();
        Venue::start(dir, &options).expect("start")
    };
    let book = Arc::new(Mutex::new(Book::default()));
    for round in 0..rounds {
        let venue = start();
        check(&venue, &mut book.lock().unwrap(), 10_000.0);
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                let connection = Client::connect(&venue).expect("connect");
                let (book, stop) = (Arc::clone(&book), Arc::clone(&stop));
                let name = format!("r{round}c{client}");
                std::thread::spawn(move || trade(connection, &name, &book, &stop))
            })
            .collect();
        // The moment is random on purpose; nothing is waited for.
        std::thread::park_timeout(Duration::from_micros(random(&mut state) % 400_000));
        venue.kill().expect("kill");
        stop.store(true, Relaxed);
        for client in clients {
            client.join().expect("a client");
        }
        let mut book = book.lock().unwrap();
        let acknowledged = book.orders.values().filter(|s| s.order.is_some()).count();
        println!("round {round}: {acknowledged} orders acknowledged so far in memory");
        // The views show the newest 10,000 ended orders; an older one could not be told from a lost one.
        if acknowledged > 5_000 {
            let venue = start();
            check(&venue, &mut book, 10_000.0);
            // Starts over with an empty book, so that a long run stays as quick as a short one.
            let mut client = Client::connect(&venue).expect("connect");
            client.good("DELETE", "/orders", "").expect("cancel all");
            book.orders.clear();
        }
    }
    let venue = start();
    check(&venue, &mut book.lock().unwrap(), 10_000.0);
}
