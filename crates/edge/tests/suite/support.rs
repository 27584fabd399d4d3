//! Servers, clients, and an edge between them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use everopen_edge::config::{Config, Group, Listener, Protocol, Service};
use everopen_edge::{Edge, admin};
use everopen_testkit::free_address;
use serde_json::Value;

pub const PATIENCE: Duration = Duration::from_secs(20);

/// How a server treats requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Answers with its name.
    Answers,
    /// Reads the request and closes.
    BreaksOff,
    /// Answers 503.
    Fails,
    /// Answers when the gate is opened.
    Waits,
}

/// An HTTP server on loopback.
pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<AtomicUsize>,
    /// The head of the last request.
    pub head: Arc<Mutex<String>>,
    manner: Arc<Mutex<Manner>>,
    gate: Arc<(Mutex<bool>, Condvar)>,
    ended: Arc<AtomicBool>,
}

impl Server {
    pub fn start(name: &str) -> Self {
        Self::start_at(name, "127.0.0.1:0".parse().expect("an address"))
    }

    pub fn start_at(name: &str, address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("a port");
        let server = Self {
            address: listener.local_addr().expect("an address"),
            seen: Arc::default(),
            head: Arc::default(),
            manner: Arc::new(Mutex::new(Manner::Answers)),
            gate: Arc::default(),
            ended: Arc::default(),
        };
        let (seen, head, manner, gate, ended) = (
            Arc::clone(&server.seen),
            Arc::clone(&server.head),
            Arc::clone(&server.manner),
            Arc::clone(&server.gate),
            Arc::clone(&server.ended),
        );
        let name = name.to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if ended.load(SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { return };
                let (seen, head, manner, gate) = (
                    Arc::clone(&seen),
                    Arc::clone(&head),
                    Arc::clone(&manner),
                    Arc::clone(&gate),
                );
                let name = name.clone();
                std::thread::spawn(move || {
                    let mut reader = BufReader::new(stream);
                    while let Some((request, _)) = read_message(&mut reader) {
                        seen.fetch_add(1, SeqCst);
                        head.lock().unwrap().clone_from(&request);
                        let manner = *manner.lock().unwrap();
                        if manner == Manner::BreaksOff {
                            return;
                        }
                        if manner == Manner::Waits {
                            let open = gate.0.lock().unwrap();
                            drop(gate.1.wait_while(open, |open| !*open).unwrap());
                        }
                        let status = match manner {
                            Manner::Fails => "503 Service Unavailable",
                            _ => "200 OK",
                        };
                        let answer = format!(
                            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nkeep-alive: timeout=5\r\n\r\n{name}",
                            name.len()
                        );
                        if reader.get_mut().write_all(answer.as_bytes()).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        server
    }

    pub fn set(&self, manner: Manner) {
        *self.manner.lock().unwrap() = manner;
    }

    pub fn open_gate(&self) {
        *self.gate.0.lock().unwrap() = true;
        self.gate.1.notify_all();
    }

    pub fn seen(&self) -> usize {
        self.seen.load(SeqCst)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ended.store(true, SeqCst);
        self.open_gate();
        let _ = TcpStream::connect(self.address);
    }
}

/// A message's head and body; none when the connection has ended.
pub fn read_message(reader: &mut impl BufRead) -> Option<(String, Vec<u8>)> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_it = name.eq_ignore_ascii_case("content-length");
        is_it.then(|| value.trim().parse::<usize>().ok()).flatten()
    });
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some((head, body))
}

/// A client on one connection.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Status, head and body of the answer; none when there was none.
    pub fn send(
        &mut self,
        method: &str,
        headers: &str,
        body: &str,
    ) -> Option<(u16, String, String)> {
        let length = body.len();
        let head = format!(
            "{method} /path?x=1 HTTP/1.1\r\nhost: api\r\n{headers}content-length: {length}\r\n\r\n{body}"
        );
        self.0.get_mut().write_all(head.as_bytes()).ok()?;
        self.receive()
    }

    pub fn receive(&mut self) -> Option<(u16, String, String)> {
        let (head, body) = read_message(&mut self.0)?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some((status, head, String::from_utf8_lossy(&body).into_owned()))
    }

    pub fn stream(&mut self) -> &mut TcpStream {
        self.0.get_mut()
    }

    pub fn read_line(&mut self) -> String {
        let mut line = String::new();
        let _ = self.0.read_line(&mut line);
        line
    }
}

/// One request on a connection of its own: status and body.
pub fn get(address: SocketAddr) -> (u16, String) {
    let sent = Client::connect(address)
        .ok()
        .and_then(|mut client| client.send("GET", "", ""));
    sent.map_or((0, String::new()), |(status, _, body)| (status, body))
}

/// Who answers to so many requests.
pub fn count(address: SocketAddr, requests: usize) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let mut client = Client::connect(address).expect("connected");
    for _ in 0..requests {
        let (status, _, body) = client.send("GET", "", "").expect("an answer");
        assert_eq!(status, 200, "{body}");
        *counts.entry(body).or_default() += 1;
    }
    counts
}

/// A file and the runtime in which its edge runs.
pub struct Place {
    pub folder: tempfile::TempDir,
    pub runtime: tokio::runtime::Runtime,
    pub config: Config,
}

impl Place {
    /// A public listener by weights and a test listener, before these targets.
    pub fn new(blue: &[SocketAddr], green: &[SocketAddr], weights: (u32, u32)) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let listener = |name: &str, test: bool| Listener {
            name: name.into(),
            address: free_address(),
            protocol: Protocol::Http,
            service: "api".into(),
            test,
            group: None,
            group_header: false,
            http2: None,
            tls: None,
        };
        let group = |targets: &[SocketAddr], weight| Group {
            targets: targets.to_vec(),
            weight,
        };
        let service = Service {
            groups: BTreeMap::from([
                ("blue".to_string(), group(blue, weights.0)),
                ("green".to_string(), group(green, weights.1)),
            ]),
            affinity: false,
            answer_ms: 2_000,
            connect_ms: 1_000,
            wait_ms: 0,
        };
        let config = Config {
            admin: folder.path().join("edge.sock"),
            listeners: vec![listener("public", false), listener("test", true)],
            services: BTreeMap::from([("api".to_string(), service)]),
            stores: BTreeMap::new(),
            connection_log: None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            folder,
            runtime,
            config,
        }
    }

    pub fn start(&self) -> Edge {
        let started = self.runtime.block_on(Edge::start(&self.config, false));
        started.expect("the edge starts")
    }

    pub fn public(&self) -> SocketAddr {
        self.config.listeners[0].address
    }

    pub fn test(&self) -> SocketAddr {
        self.config.listeners[1].address
    }

    pub fn operator(&self) -> admin::Client {
        admin::Client::new(&self.config.admin)
    }

    pub fn order(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let done = self.operator().call(method, path, body, PATIENCE);
        done.map_err(|error| error.to_string())
    }
}

/// Waits for something to become true.
#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}
