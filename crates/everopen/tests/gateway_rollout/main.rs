//! The gateway of `up` is rolled out and back, and the edge replaces itself, while clients trade over REST
//! and listen over WebSocket: nobody is turned away, and nothing is lost or doubled.

mod cut_off;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use support::operator::{everopen, place, same_everywhere, until};
use support::{Client, Venue};
use tokio_tungstenite::tungstenite::Message;

/// What must come in all.
const REQUESTS: u64 = 100_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// What clients did and saw.
#[derive(Default)]
struct Seen {
    stop: AtomicBool,
    /// Connections that were to end after an answer.
    closes: AtomicU64,
    requests: AtomicU64,
    failed: Mutex<Vec<String>>,
    acknowledged: Mutex<Vec<String>>,
}

impl Seen {
    fn fail(&self, what: String) {
        self.failed.lock().unwrap().push(what);
    }

    fn orders(&self) -> usize {
        self.acknowledged.lock().unwrap().len()
    }

    /// Lets traders go on until there were enough requests, none of which may have failed. How many.
    #[track_caller]
    fn end_without_failure(&self, traders: Vec<std::thread::JoinHandle<()>>) -> u64 {
        let deadline = Instant::now() + 5 * PATIENCE;
        while self.requests.load(Relaxed) < REQUESTS
            && self.failed.lock().unwrap().is_empty()
            && Instant::now() < deadline
        {
            std::thread::park_timeout(Duration::from_millis(50));
        }
        self.stop.store(true, Relaxed);
        for trader in traders {
            trader.join().expect("a trader");
        }
        let failed = self.failed.lock().unwrap();
        let requests = self.requests.load(Relaxed);
        assert!(
            failed.is_empty(),
            "{} of {requests} failed: {:?}",
            failed.len(),
            &failed[..failed.len().min(5)]
        );
        assert!(requests >= REQUESTS, "only {requests} requests");
        requests
    }
}

/// Trades over one connection, or another when it is told to: places, sees, cancels, and looks at the market. A
/// failure is whatever is not the answer that it should be.
fn trade(venue: &Venue, name: &str, seen: &Seen) {
    let mut client = match Client::connect(venue) {
        Ok(client) => client,
        Err(error) => return seen.fail(format!("{name} connects: {error}")),
    };
    for number in 0u64.. {
        if seen.stop.load(Relaxed) {
            seen.closes.fetch_add(client.closes.into(), Relaxed);
            return;
        }
        let id = format!("{name}-{number}");
        let own = format!("/orders/client:{id}");
        let looks = [
            "/time",
            "/products",
            "/products/BTC-USD/ticker",
            "/accounts",
        ];
        let mut calls = vec![("POST", "/orders".to_string()), ("GET", own.clone())];
        calls.extend((0..20).map(|at| ("GET", looks[at % looks.len()].to_string())));
        calls.push(("DELETE", own));
        for (method, path) in calls {
            let answer = match method {
                "POST" => place(&mut client, &id),
                method => client.call(method, &path, ""),
            };
            seen.requests.fetch_add(1, Relaxed);
            match answer {
                Ok((200, order)) if method == "POST" => {
                    let order = order["id"].as_str().unwrap_or_default().to_string();
                    seen.acknowledged.lock().unwrap().push(order);
                }
                // Nobody has traded yet.
                Ok((200, _) | (404, _)) if path.ends_with("/ticker") => {}
                Ok((200, _)) => {}
                Ok((status, answer)) => seen.fail(format!("{method} {path}: {status} {answer}")),
                Err(error) => {
                    seen.fail(format!("{method} {path}: {error}"));
                    let Ok(again) = Client::connect(venue) else {
                        return seen.fail(format!("{name} can't connect again"));
                    };
                    client = again;
                }
            }
        }
    }
}

/// What a listener of the feed has seen.
#[derive(Default)]
struct Heard {
    /// How often each order was received.
    received: BTreeMap<String, u32>,
    last: Option<u64>,
    told_to_reconnect: u32,
    connections: u32,
    wrong: Vec<String>,
}

/// Listens to every message of a market and comes again when it is told to, with the next sequence.
async fn listen(at: String, heard: Arc<Mutex<Heard>>, seen: Arc<Seen>) {
    while !seen.stop.load(Relaxed) {
        let connected = tokio_tungstenite::connect_async(format!("ws://{at}")).await;
        let mut socket = match connected {
            Ok((socket, _)) => socket,
            Err(error) => {
                heard
                    .lock()
                    .unwrap()
                    .wrong
                    .push(format!("connect: {error}"));
                return;
            }
        };
        let from = {
            let mut heard = heard.lock().unwrap();
            heard.connections += 1;
            heard.last.map_or(1, |last| last + 1)
        };
        let subscribe = json!({"type": "subscribe", "channels": [
            {"name": "full", "product_ids": ["BTC-USD"], "from_sequence": from}]});
        if let Err(error) = socket.send(Message::text(subscribe.to_string())).await {
            heard
                .lock()
                .unwrap()
                .wrong
                .push(format!("subscribe: {error}"));
            return;
        }
        loop {
            let next = tokio::time::timeout(Duration::from_millis(200), socket.next()).await;
            let Ok(next) = next else {
                match seen.stop.load(Relaxed) {
                    true => return,
                    false => continue,
                }
            };
            let mut heard = heard.lock().unwrap();
            match next {
                Some(Ok(Message::Text(text))) => {
                    let message: Value = serde_json::from_str(&text).expect("JSON");
                    hear(&mut heard, &message);
                }
                Some(Ok(Message::Close(Some(frame)))) if u16::from(frame.code) == 1012 => {
                    heard.told_to_reconnect += 1;
                    break;
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                other => {
                    heard.wrong.push(format!("{other:?}"));
                    return;
                }
            }
        }
    }
}

fn hear(heard: &mut Heard, message: &Value) {
    let Some(sequence) = message["sequence"].as_u64() else {
        // What says why the connection ends comes as an error, just before.
        if message["type"] == "error" && message["message"] != "Reconnect" {
            heard.wrong.push(message.to_string());
        }
        return;
    };
    let wanted = heard.last.map_or(sequence, |last| last + 1);
    if sequence != wanted {
        let wrong = format!("sequence {sequence} where {wanted} is next");
        heard.wrong.push(wrong);
    }
    heard.last = Some(sequence);
    if message["type"] == "received"
        && let Some(id) = message["order_id"].as_str()
    {
        *heard.received.entry(id.to_string()).or_default() += 1;
    }
}

fn rollout(dir: &Path, args: &[&str]) -> String {
    let root = dir.join("rollouts");
    let root = root.to_str().expect("UTF-8");
    let args: Vec<&str> = ["rollout"]
        .iter()
        .chain(args)
        .chain(&["--root", root])
        .copied()
        .collect();
    let said = everopen(dir, &args).unwrap_or_else(|error| panic!("{args:?}: {error}"));
    println!("{said}");
    said
}

/// The next version of the gateway: another file of the program, as a release is.
fn next_version(dir: &Path, folder: &Path) -> PathBuf {
    let program = folder.join("everopen-next");
    fs::copy(env!("CARGO_BIN_EXE_everopen"), &program).expect("copy the program");
    let text = fs::read_to_string(dir.join("gateway/rollout.toml")).expect("the gateway's rollout");
    let mut file: toml::Table = text.parse().expect("TOML");
    file.insert("version".into(), "next".into());
    file["start"]["command"][0] = program.to_str().expect("UTF-8").into();
    let path = dir.join("gateway/next.toml");
    fs::write(&path, file.to_string()).expect("written");
    path
}

fn gateway(venue: &Venue, role: &str) -> Option<u32> {
    let found = venue.processes();
    found.iter().find(|p| p.role == role).map(|p| p.pid)
}

#[test]
fn the_gateway_goes_forth_and_back_and_forth_while_clients_trade() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("data");
    let venue = Venue::start(&dir, &["--public-rate", "1000000"]).expect("start");
    let venue = Arc::new(venue);
    let next = next_version(&dir, folder.path());
    let seen = Arc::new(Seen::default());
    let traders: Vec<_> = (0..4)
        .map(|at| {
            let (venue, seen) = (Arc::clone(&venue), Arc::clone(&seen));
            std::thread::spawn(move || trade(&venue, &format!("t{at}"), &seen))
        })
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let at = venue.text("websocket").replace("ws://", "");
    let heard: Vec<_> = (0..3).map(|_| Arc::<Mutex<Heard>>::default()).collect();
    // They stop after the traders, so that they hear of all that these did.
    let hearing = Arc::new(Seen::default());
    let listeners: Vec<_> = heard
        .iter()
        .map(|heard| runtime.spawn(listen(at.clone(), Arc::clone(heard), Arc::clone(&hearing))))
        .collect();

    let more = |count: usize| {
        let so_far = seen.orders();
        until("trading goes on", || {
            let is_wrong = !seen.failed.lock().unwrap().is_empty();
            (is_wrong || seen.orders() >= so_far + count).then_some(())
        });
    };
    more(50);
    let first = gateway(&venue, "gateway");
    rollout(&dir, &["apply", next.to_str().expect("UTF-8")]);
    more(50);
    let second = gateway(&venue, "gateway");
    assert_ne!(first, second, "another process serves");
    assert_eq!(gateway(&venue, "standby"), first, "the first is kept");
    rollout(&dir, &["rollback", "gateway"]);
    more(50);
    until("endpoints.json names the first as the gateway", || {
        (gateway(&venue, "gateway") == first).then_some(())
    });
    rollout(&dir, &["apply", next.to_str().expect("UTF-8")]);
    more(50);

    let requests = seen.end_without_failure(traders);
    assert_eq!(seen.closes.load(Relaxed), 0, "connections end at the edge");

    let orders = seen.acknowledged.lock().unwrap();
    let progress = || {
        let of = |heard: &Arc<Mutex<Heard>>| {
            let heard = heard.lock().unwrap();
            (heard.received.len(), heard.connections, heard.last)
        };
        heard.iter().map(of).collect::<Vec<_>>()
    };
    println!("{} orders; listeners: {:?}", orders.len(), progress());
    until("the listeners have heard of every order", || {
        let all = heard.iter().all(|heard| {
            let heard = heard.lock().unwrap();
            heard.received.len() >= orders.len() || !heard.wrong.is_empty()
        });
        all.then_some(())
    });
    hearing.stop.store(true, Relaxed);
    for listener in listeners {
        runtime.block_on(listener).expect("a listener");
    }
    for heard in &heard {
        let heard = heard.lock().unwrap();
        assert!(heard.wrong.is_empty(), "{:?}", heard.wrong);
        // Each of the three changes told those who were there.
        assert_eq!((heard.told_to_reconnect, heard.connections), (3, 4));
        let once = |id: &String| heard.received.get(id) == Some(&1);
        let wrong: Vec<_> = orders.iter().filter(|id| !once(id)).take(5).collect();
        assert!(wrong.is_empty(), "not received exactly once: {wrong:?}");
        // And of what the journeys placed: at the start, and before each of the two rollouts.
        assert_eq!(heard.received.len(), orders.len() + 3);
    }
    println!(
        "{requests} requests, 0 failed; {} orders, each received once",
        orders.len()
    );
    same_everywhere(&dir);
}

#[test]
fn a_release_replaces_replicas_gateway_and_edge_and_no_request_fails() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("data");
    let earlier = folder.path().join("everopen");
    fs::copy(env!("CARGO_BIN_EXE_everopen"), &earlier).expect("copy the program");
    let arguments = ["--public-rate", "1000000", "--replicas", "3"];
    let old = Venue::spawn(
        std::process::Command::new(&earlier),
        &dir,
        &arguments,
        &folder.path().join("earlier.txt"),
        |_| dir.clone(),
    )
    .expect("start the earlier release");
    let old = Arc::new(old);
    let before = old.processes();
    let edge = gateway(&old, "edge").expect("an edge");
    let seen = Arc::new(Seen::default());
    let traders: Vec<_> = (0..4)
        .map(|at| {
            let (venue, seen) = (Arc::clone(&old), Arc::clone(&seen));
            std::thread::spawn(move || trade(&venue, &format!("t{at}"), &seen))
        })
        .collect();
    let more = |count: usize| {
        let so_far = seen.orders();
        until("trading goes on", || {
            let is_wrong = !seen.failed.lock().unwrap().is_empty();
            (is_wrong || seen.orders() >= so_far + count).then_some(())
        });
    };
    more(50);
    let again = [&["--take-over"], &arguments[..]].concat();
    let venue = Venue::start_untied(&dir, &again).expect("take over");
    until("every process is another one", || {
        let is_new = |pid: u32| before.iter().all(|old| old.pid != pid);
        let mut now = venue.processes();
        now.retain(|process| process.role != "standby");
        let is_wrong = !seen.failed.lock().unwrap().is_empty();
        let all_new = now.len() == 6 && now.iter().all(|process| is_new(process.pid));
        (is_wrong || all_new).then_some(())
    });
    let requests = seen.end_without_failure(traders);
    assert_ne!(gateway(&venue, "edge"), Some(edge));
    assert!(
        seen.closes.load(Relaxed) > 0,
        "the old edge told its clients"
    );
    println!("{requests} requests, 0 failed");
    same_everywhere(&dir);
    let old = Arc::into_inner(old).expect("nobody else uses it");
    assert!(old.was_taken_over().expect("the earlier supervisor"));
    assert!(venue.stop().expect("stop"));
}

/// The settings that a gateway was started with.
fn settings(pid: u32) -> String {
    let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it runs");
    let mut words = line.split('\0').skip_while(|word| *word != "--config");
    let path = words.nth(1).expect("a file");
    fs::read_to_string(path).expect("its settings")
}

#[test]
fn a_rollback_brings_back_the_settings_of_before_as_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("data");
    let with = |rate| ["--take-over", "--replicas", "1", "--public-rate", rate];
    let old = Venue::start_untied(&dir, &with("1001")[1..]).expect("start");
    let first = gateway(&old, "gateway").expect("a gateway");
    let venue = Venue::start_untied(&dir, &with("1002")).expect("take over");
    let other = |role: &str, than: u32| {
        until("another one is there", || {
            gateway(&venue, role).filter(|pid| *pid != than)
        })
    };
    let second = other("gateway", first);
    assert!(settings(second).contains("public_rate = 1002"));
    // What is kept is started again: with its own settings, not with the last ones.
    assert_eq!(other("standby", 0), first);
    support::signal(first, "KILL");
    let again = other("standby", first);
    rollout(&dir, &["rollback", "gateway"]);
    assert_eq!(other("gateway", second), again);
    assert!(settings(again).contains("public_rate = 1001"));
    assert!(old.was_taken_over().expect("the earlier supervisor"));
    assert!(venue.stop().expect("stop"));
}
