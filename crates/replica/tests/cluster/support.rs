//! A cluster of real nodes on loopback, and a client that speaks the protocol frame by frame.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use everopen_domain::{AssetCode, Command, MemberCode};
use everopen_identity::Name;
use everopen_journal as journal;
use everopen_replica::node::{Config, Node};
use everopen_rpc::{ConnId, Event, Hub, Limits, Security};
use everopen_testkit::free_address;
use everopen_wire::command;
use everopen_wire::message::{Message, PROTOCOL, RefusalCode, Role};
use serde_json::Value;

pub const PATIENCE: Duration = Duration::from_secs(20);
pub const CLUSTER: [u8; 16] = *b"cluster of tests";

/// Addresses and folders of a cluster, and the nodes that run.
pub struct Cluster {
    folder: tempfile::TempDir,
    pub addresses: BTreeMap<u64, SocketAddr>,
    pub voters: BTreeMap<u64, String>,
    pub nodes: BTreeMap<u64, Node>,
    pub snapshot_every_bytes: u64,
    pub keep_state_from: usize,
    pub election_ticks: Option<usize>,
    pub cluster: [u8; 16],
    pub durability: journal::Durability,
}

impl Cluster {
    pub fn new(size: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mut cluster = Self {
            folder,
            addresses: BTreeMap::new(),
            voters: BTreeMap::new(),
            nodes: BTreeMap::new(),
            snapshot_every_bytes: 64 << 20,
            keep_state_from: usize::MAX,
            election_ticks: None,
            cluster: CLUSTER,
            durability: journal::Durability::Fsync,
        };
        for node in 1..=size {
            let address = cluster.reserve(node);
            cluster.voters.insert(node, address.to_string());
        }
        cluster
    }

    pub fn started(size: u64) -> Self {
        let mut cluster = Self::new(size);
        for node in 1..=size {
            cluster.start(node);
        }
        cluster
    }

    /// An address that is free now and stays the node's.
    pub fn reserve(&mut self, node: u64) -> SocketAddr {
        let address = free_address();
        self.addresses.insert(node, address);
        address
    }

    pub fn dir(&self, node: u64) -> std::path::PathBuf {
        self.folder.path().join(format!("node-{node}"))
    }

    pub fn config(&self, node: u64, dir: &Path) -> Config {
        let mut log = journal::Config::new(dir);
        log.segment_bytes = 4 << 20;
        log.durability = self.durability;
        log.retain_log = journal::RetainLog::SinceOldestSnapshot;
        let mut config = Config::new(node, self.cluster, log, Security::Plain);
        config.advertise = self.addresses[&node].to_string();
        if self.voters.contains_key(&node) {
            config.voters.clone_from(&self.voters);
        }
        config.core.snapshot_every_bytes = self.snapshot_every_bytes;
        config.keep_state_from = self.keep_state_from;
        if let Some(ticks) = self.election_ticks {
            config.core.election_ticks = ticks;
        }
        config
    }

    pub fn start(&mut self, node: u64) {
        let config = self.config(node, &self.dir(node));
        let address = self.addresses[&node];
        let deadline = Instant::now() + PATIENCE;
        let listener = loop {
            match TcpListener::bind(address) {
                Ok(listener) => break listener,
                Err(error) if Instant::now() > deadline => panic!("{address}: {error}"),
                Err(_) => std::thread::park_timeout(Duration::from_millis(5)),
            }
        };
        let (node_running, _) =
            Node::start(config, listener, (), &mut |_| {}).expect("the node starts");
        self.nodes.insert(node, node_running);
    }

    pub fn kill(&mut self, node: u64) {
        self.nodes.remove(&node).expect("it runs").abandon();
    }

    pub fn stop(&mut self, node: u64) {
        self.nodes
            .remove(&node)
            .expect("it runs")
            .stop()
            .expect("it ends well");
    }

    /// Waits for a leader that all running nodes know.
    pub fn leader(&self) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let leaders: Vec<u64> = self
                .nodes
                .values()
                .filter_map(|node| node.status()["leader"].as_u64())
                .collect();
            if leaders.len() == self.nodes.len()
                && leaders.iter().all(|leader| *leader == leaders[0])
                && self.nodes.contains_key(&leaders[0])
            {
                return leaders[0];
            }
            assert!(
                Instant::now() < deadline,
                "no leader: {:?}",
                self.statuses()
            );
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    pub fn statuses(&self) -> Vec<Value> {
        self.nodes.values().map(Node::status).collect()
    }

    pub fn wait(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(
                Instant::now() < deadline,
                "not within {PATIENCE:?}: {what}: {:#?}",
                self.statuses()
            );
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// Waits until all running nodes have applied the same and agree on it.
    pub fn settled(&self) -> u64 {
        self.wait("all nodes are alike", |cluster| {
            let all = cluster.statuses();
            // What is shown is a moment old; it must be of now.
            let fresh = cluster.nodes.values().zip(&all);
            fresh
                .into_iter()
                .all(|(node, status)| status["applied"] == node.applied())
                && all.iter().all(|status| {
                    status["applied"] == all[0]["applied"]
                        && status["event_hash"] == all[0]["event_hash"]
                        && status["commit"] == status["applied"]
                })
        });
        self.statuses()[0]["applied"].as_u64().expect("a number")
    }
}

/// A client of one node.
pub struct Client {
    hub: Hub,
    conn: ConnId,
    pub session: u64,
    requests: u64,
}

/// What came back.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    Outcome {
        index: u64,
        count: u32,
        events: Vec<u8>,
    },
    Opened(u64),
    ReadAt(u64),
    Call(bool, Value),
    Refused(RefusalCode, u64),
    Closed,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let mut hub = Hub::new(Limits::within_a_cluster(), Security::Plain).expect("a hub");
        let conn = hub.dial(address, Name::Node(1));
        let mut client = Self {
            hub,
            conn,
            session: 0,
            requests: 0,
        };
        let mut hello = Vec::new();
        Message::Hello {
            protocol: PROTOCOL,
            role: Role::Client,
            node: 0,
            cluster: [0; 16],
            logic_min: 0,
            logic_max: 0,
            address: "",
            build: "",
        }
        .encode(&mut hello);
        let _ = client.hub.send(conn, &hello);
        client.hub.flush();
        client
    }

    pub fn send(&mut self, message: impl FnOnce(u64) -> Vec<u8>) -> u64 {
        self.requests += 1;
        let bytes = message(self.requests);
        let _ = self.hub.send(self.conn, &bytes);
        self.hub.flush();
        self.requests
    }

    pub fn receive(&mut self, wanted: u64) -> Reply {
        let deadline = Instant::now() + PATIENCE;
        let mut reply = None;
        while reply.is_none() {
            assert!(Instant::now() < deadline, "no answer");
            let turned = self
                .hub
                .turn(Some(Duration::from_millis(50)), &mut |event| match event {
                    Event::Closed { .. } => reply = Some(Reply::Closed),
                    Event::Frame { bytes, .. } => {
                        let message = Message::decode(bytes).expect("a message");
                        let (request, got) = match message {
                            Message::Outcome {
                                request,
                                index,
                                count,
                                events,
                                ..
                            } => (
                                request,
                                Reply::Outcome {
                                    index: index.0,
                                    count,
                                    events: events.to_vec(),
                                },
                            ),
                            Message::SessionOpened { request, client } => {
                                (request, Reply::Opened(client))
                            }
                            Message::ReadAt { request, index } => (request, Reply::ReadAt(index.0)),
                            Message::Refused {
                                request,
                                code,
                                leader,
                                ..
                            } => (request, Reply::Refused(code, leader)),
                            Message::CallAnswer {
                                request,
                                ok,
                                answer,
                            } => (
                                request,
                                Reply::Call(ok, serde_json::from_slice(answer).expect("JSON")),
                            ),
                            _ => return,
                        };
                        if request == wanted {
                            reply = Some(got);
                        }
                    }
                    Event::Opened { .. } => {}
                });
            turned.expect("the hub turns");
        }
        reply.expect("there is one")
    }

    pub fn open(&mut self, nonce: u64) -> Reply {
        let request = self.send(|request| encode(&Message::OpenSession { request, nonce }));
        let reply = self.receive(request);
        if let Reply::Opened(session) = reply {
            self.session = session;
        }
        reply
    }

    pub fn submit(&mut self, sequence: u64, commands: &[Command]) -> Reply {
        let request = self.submit_later(sequence, commands);
        self.receive(request)
    }

    pub fn submit_later(&mut self, sequence: u64, commands: &[Command]) -> u64 {
        let client = self.session;
        let mut bytes = Vec::new();
        for command in commands {
            command::encode(command, &mut bytes);
        }
        self.send(|request| {
            encode(&Message::Submit {
                request,
                client,
                sequence,
                behind: sequence.min(100) as u32,
                count: commands.len() as u16,
                commands: &bytes,
            })
        })
    }

    pub fn read_index(&mut self) -> Reply {
        let request = self.send(|request| encode(&Message::ReadIndex { request }));
        self.receive(request)
    }

    pub fn call(&mut self, question: &Value) -> Reply {
        let request = self.send_call(question);
        self.receive(request)
    }

    pub fn send_call(&mut self, question: &Value) -> u64 {
        let question = question.to_string();
        self.send(|request| {
            encode(&Message::Call {
                request,
                question: question.as_bytes(),
            })
        })
    }
}

pub fn encode(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

pub fn asset(number: u64) -> Command {
    Command::AddAsset {
        code: format!("A{number}").parse::<AssetCode>().expect("a code"),
        decimals: 2,
    }
}

pub fn member(number: u64) -> Command {
    Command::AddMember {
        code: format!("m{number}").parse::<MemberCode>().expect("a code"),
    }
}
