//! An edge before a cluster, and clients of its service.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use everopen_edge::Edge;
use everopen_edge::config::{Config, Group, Listener, Protocol, Service};
use everopen_kubernetes::Clusters;
use everopen_rollout::execute::{self, By, Ended, Fault, Site};
use everopen_rollout::file::File;
use everopen_rollout::plan::{Plan, plan};
use everopen_rollout::state::now_ms;
use everopen_testkit::free_address;

use crate::api::{Cluster, Shared, TOKEN};

pub struct Place {
    pub folder: tempfile::TempDir,
    pub runtime: tokio::runtime::Runtime,
    pub cluster: Shared,
    pub clusters: Clusters,
    pub public: SocketAddr,
    pub test: SocketAddr,
    /// It serves as long as this is there.
    #[allow(dead_code, reason = "it is only held")]
    pub edge: Edge,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .enable_all()
            .build()
            .expect("a runtime");
        let cluster = runtime.block_on(Cluster::start(&["greeter-blue", "greeter-green"]));
        let (public, test) = (free_address(), free_address());
        let listener = |name: &str, address, test| Listener {
            name: name.into(),
            address,
            protocol: Protocol::Http,
            service: "greeter".into(),
            test,
            group: None,
            group_header: false,
            http2: None,
            tls: None,
        };
        let service = Service {
            groups: BTreeMap::from([
                ("blue".to_string(), Group::default()),
                ("green".to_string(), Group::default()),
            ]),
            affinity: false,
            answer_ms: 5_000,
            connect_ms: 1_000,
            wait_ms: 0,
        };
        let config = Config {
            admin: folder.path().join("edge.sock"),
            listeners: vec![
                listener("public", public, false),
                listener("test", test, true),
            ],
            services: BTreeMap::from([("greeter".to_string(), service)]),
            stores: BTreeMap::new(),
            connection_log: None,
        };
        let edge = runtime
            .block_on(Edge::start(&config, false))
            .expect("the edge starts");
        let place = Self {
            folder,
            runtime,
            cluster,
            clusters: Clusters::default(),
            public,
            test,
            edge,
        };
        place.write_kubeconfig(TOKEN);
        place
    }

    pub fn write_kubeconfig(&self, token: &str) {
        let text = format!(
            r#"apiVersion: v1
kind: Config
current-context: none
clusters:
- name: here
  cluster: {{ server: "http://{}" }}
users:
- name: desk
  user: {{ token: {token} }}
contexts:
- name: test
  context: {{ cluster: here, user: desk }}
"#,
            self.cluster.api
        );
        std::fs::write(self.folder.path().join("kube.yaml"), text).expect("written");
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The file of a version; its image is `greeter:VERSION`.
    pub fn file(&self, version: &str, more: &str) -> File {
        let text = format!(
            r#"
service = "greeter"
version = "{version}"
edge = "edge.sock"

[start]
instances = 2
ready = "/health"
ready_ms = 5000

[start.kubernetes]
kubeconfig = "kube.yaml"
context = "test"
namespace = "shop"
deployment = "greeter-{{group}}"
service = "greeter-{{group}}"
container = "greeter"
image = "greeter:{{version}}"
port = {port}

[journey]
at = "{test}"

[[journey.step]]
name = "greet"
path = "/"
contains = "\"version\":\"{version}\""

[after]
drain_ms = 2000

{more}
"#,
            port = self.cluster.port,
            test = self.test
        );
        let path = self.path("rollout.toml");
        std::fs::write(&path, text).expect("written");
        File::read(&path).expect("a good file")
    }

    pub fn root(&self) -> PathBuf {
        self.path("rollouts")
    }

    fn plan(&self, file: &File) -> Plan {
        let inventory = execute::inventory(&self.root(), file).expect("an inventory");
        plan(file, &inventory, &format!("{}-{}", now_ms(), file.version))
    }

    fn site<'a>(&'a self, root: &'a Path, by: &'a By) -> Site<'a> {
        Site {
            root,
            by,
            cluster: Some(&self.clusters),
        }
    }

    pub fn apply(&self, file: &File) -> Result<Ended, Fault> {
        let (root, by, plan) = (self.root(), By::default(), self.plan(file));
        let site = self.site(&root, &by);
        self.runtime
            .block_on(async { execute::apply(&site, plan, &mut |_| {}).await })
    }

    /// Carries a rollout out until a step is begun; then the controller is gone, as a kill leaves it.
    pub fn cut_off_at(&self, file: &File, text: &str) {
        let (root, by, plan) = (self.root(), By::default(), self.plan(file));
        let site = self.site(&root, &by);
        let cut = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let mut tell = |line: &everopen_rollout::journal::Line| {
                let everopen_rollout::journal::Entry::Begun { text: step, .. } = &line.entry else {
                    return;
                };
                assert!(!step.contains(text), "the controller is killed");
            };
            self.runtime
                .block_on(async { execute::apply(&site, plan, &mut tell).await })
        }));
        assert!(cut.is_err(), "it was to be cut off");
    }

    pub fn resume(&self, back: bool) -> Ended {
        let (root, by) = (self.root(), By::default());
        let site = self.site(&root, &by);
        let done = self
            .runtime
            .block_on(async { execute::resume(&site, "greeter", back, &mut |_| {}).await });
        done.unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    pub fn roll_back(&self) -> Result<Ended, Fault> {
        let (root, by) = (self.root(), By::default());
        let site = self.site(&root, &by);
        self.runtime
            .block_on(async { execute::rollback(&site, "greeter", &mut |_| {}).await })
    }

    #[track_caller]
    pub fn only(&self, version: &str) {
        let found: Vec<String> = (0..10)
            .map(|_| ask(self.public).unwrap_or_else(|| "none".into()))
            .collect();
        assert_eq!(found, vec![version; 10]);
    }

    /// How many pods each group runs, and of which version.
    pub fn pods(&self, group: &str) -> Vec<String> {
        let pods = self.cluster.pods(&format!("greeter-{group}"));
        let version = |pod: &serde_json::Value| {
            pod["metadata"]["annotations"]["everopen.dev/version"]
                .as_str()
                .map(str::to_string)
        };
        pods.iter().filter_map(version).collect()
    }
}

/// The version that answers a request on a connection of its own.
pub fn ask(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: greeter\r\nconnection: close\r\n\r\n")
        .ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (_, version) = answer.split_once("\"version\":\"")?;
    let version = version.split_once('"')?.0.to_string();
    answer.starts_with("HTTP/1.1 200").then_some(version)
}

/// Between two requests of a client. Each has a connection of its own, whose port the system keeps for a
/// minute: without a pause, all tests of the machine would soon have none.
const PAUSE: Duration = Duration::from_millis(5);

/// A client that goes on and on.
pub struct Load {
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 2]>,
    thread: std::thread::JoinHandle<()>,
}

impl Load {
    pub fn start(address: SocketAddr) -> Self {
        let (stop, counts): (Arc<AtomicBool>, Arc<[AtomicU64; 2]>) = Default::default();
        let (ended, counted) = (Arc::clone(&stop), Arc::clone(&counts));
        let thread = std::thread::spawn(move || {
            while !ended.load(SeqCst) {
                counted[usize::from(ask(address).is_none())].fetch_add(1, SeqCst);
                std::thread::park_timeout(PAUSE);
            }
        });
        Self {
            stop,
            counts,
            thread,
        }
    }

    #[track_caller]
    pub fn end_without_failure(self) {
        self.stop.store(true, SeqCst);
        self.thread.join().expect("a client");
        let (served, failed) = (self.counts[0].load(SeqCst), self.counts[1].load(SeqCst));
        assert_eq!(failed, 0, "of {served}");
        assert!(served > 10, "{served}");
    }
}
