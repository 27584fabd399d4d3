//! A service in another language behind a real edge, and clients of it.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use everopen_edge::Edge;
use everopen_edge::config::{Config, Group, Listener, Protocol, Service};
use everopen_rollout::execute::{self, By, Ended, Fault, Site};
use everopen_rollout::file::File;
use everopen_rollout::journal::{self, Entry, Outcome};
use everopen_rollout::plan::{Plan, plan};
use everopen_rollout::state::Folder;
use everopen_testkit::free_address;

pub const SERVICE: &str = "greeter";

/// An edge, and a folder for its service's rollouts.
pub struct Place {
    pub folder: tempfile::TempDir,
    pub runtime: tokio::runtime::Runtime,
    pub public: SocketAddr,
    pub test: SocketAddr,
    pub edge: Option<Edge>,
    pub config: Config,
}

impl Place {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (public, test) = (free_address(), free_address());
        let listener = |name: &str, address, test| Listener {
            name: name.into(),
            address,
            protocol: Protocol::Http,
            service: SERVICE.into(),
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
            services: BTreeMap::from([(SERVICE.to_string(), service)]),
            stores: BTreeMap::new(),
            connection_log: None,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(3)
            .enable_all()
            .build()
            .expect("a runtime");
        let edge = runtime
            .block_on(Edge::start(&config, false))
            .expect("the edge starts");
        Self {
            folder,
            runtime,
            public,
            test,
            edge: Some(edge),
            config,
        }
    }

    pub fn root(&self) -> PathBuf {
        self.folder.path().join("rollouts")
    }

    /// The file of a version that behaves in this manner, with these lines at its end.
    pub fn file(&self, version: &str, manner: &str, more: &str) -> File {
        let server = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../examples/greeter/server.py"
        );
        let text = format!(
            r#"
service = "{SERVICE}"
version = "{version}"
edge = "edge.sock"

[start]
command = ["python3", "{server}", "{{port}}", "{{version}}", "{manner}"]
instances = 2
ready = "/health"
ready_ms = 15000

[journey]
at = "{test}"

[[journey.step]]
name = "greet"
path = "/"
contains = "hello from version {version}"
capture = {{ found = "/version" }}

[[journey.step]]
name = "again"
path = "/?version={{found}}"
contains = "\"version\": \"{{found}}\""

[after]
drain_ms = 2000

{more}
"#,
            test = self.test
        );
        let path = self.folder.path().join("rollout.toml");
        std::fs::write(&path, text).expect("written");
        File::read(&path).expect("a good file")
    }

    pub fn plan(&self, file: &File) -> Plan {
        let inventory = execute::inventory(&self.root(), file).expect("an inventory");
        // Unique on this machine: processes are found by it.
        let folder = self
            .folder
            .path()
            .file_name()
            .expect("a name")
            .to_string_lossy();
        let id = format!(
            "{}-{}-{folder}",
            everopen_rollout::state::now_ms(),
            file.version
        );
        plan(file, &inventory, &id)
    }

    pub fn try_apply(&self, plan: Plan) -> Result<Ended, Fault> {
        let root = self.root();
        self.runtime.block_on(async {
            execute::apply(&site(&root, &By::default()), plan, &mut |_| {}).await
        })
    }

    pub fn apply(&self, file: &File) -> Ended {
        let applied = self.try_apply(self.plan(file));
        applied.unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    /// Brings a version into service that has nothing wrong with it.
    pub fn bring(&self, version: &str) {
        let ended = self.apply(&self.file(version, "", ""));
        assert_eq!(ended.outcome, Outcome::New, "{ended:?}");
        self.only(version);
    }

    pub fn resume(&self, back: bool) -> Result<Ended, Fault> {
        let root = self.root();
        self.runtime.block_on(async {
            execute::resume(&site(&root, &By::default()), SERVICE, back, &mut |_| {}).await
        })
    }

    pub fn roll_back(&self) -> Ended {
        let root = self.root();
        let back = self.runtime.block_on(async {
            execute::rollback(&site(&root, &By::default()), SERVICE, &mut |_| {}).await
        });
        back.unwrap_or_else(|fault| panic!("{fault:?}"))
    }

    /// Which versions answer to so many requests.
    pub fn versions(&self, requests: usize) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for _ in 0..requests {
            *found
                .entry(ask(self.public).unwrap_or_else(|| "none".into()))
                .or_default() += 1;
        }
        found
    }

    /// Waits until somebody answers.
    pub fn until_answered(&self) {
        let deadline = std::time::Instant::now() + Duration::from_secs(20);
        let mut in_a_row = 0;
        // Both instances, one after the other.
        while in_a_row < 4 {
            let answered = ask(self.public).is_some_and(|version| version.parse::<u32>().is_ok());
            in_a_row = if answered { in_a_row + 1 } else { 0 };
            assert!(std::time::Instant::now() < deadline, "nobody answers");
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    pub fn only(&self, version: &str) {
        assert_eq!(
            self.versions(20),
            BTreeMap::from([(version.to_string(), 20)])
        );
    }

    /// How many processes of this test's rollouts run, of that version if one is named.
    pub fn running(&self, version: Option<&str>) -> usize {
        let folder = self
            .folder
            .path()
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let wanted = match version {
            Some(version) => format!("-{version}-{folder}/"),
            None => format!("-{folder}/"),
        };
        let processes = std::fs::read_dir("/proc").expect("processes").flatten();
        let marks = processes.filter_map(|entry| std::fs::read(entry.path().join("environ")).ok());
        marks
            .filter(|environment| {
                let text = String::from_utf8_lossy(environment);
                text.split('\0')
                    .any(|pair| pair.starts_with("EVEROPEN_ROLLOUT=") && pair.contains(&wanted))
            })
            .count()
    }

    pub fn journal(&self) -> Vec<Entry> {
        let rollouts = Folder::rollouts(&self.root(), SERVICE).expect("rollouts");
        let last = rollouts.last().expect("one");
        let lines = journal::read(&last.join("journal.jsonl")).expect("a journal");
        lines.into_iter().map(|line| line.entry).collect()
    }
}

/// A site without a cluster.
pub fn site<'a>(root: &'a Path, by: &'a By) -> Site<'a> {
    Site {
        root,
        by,
        cluster: None,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // What a rollout keeps running outlives its controller; not this test.
        for path in Folder::rollouts(&self.root(), SERVICE).unwrap_or_default() {
            let id = path
                .file_name()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let _ = execute::end_processes(&id, Duration::from_secs(5));
        }
        if let Some(edge) = self.edge.take() {
            self.runtime.block_on(edge.stop(Duration::ZERO));
        }
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
    if !answer.starts_with("HTTP/1.1 200") {
        return None;
    }
    let (_, version) = answer.split_once("\"version\": \"")?;
    Some(version.split_once('"')?.0.to_string())
}

/// Clients without pause, until they are stopped: how many requests were served, how many not.
pub struct Load {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    pub fn start(address: SocketAddr) -> Self {
        let (stop, served, failed): (Arc<AtomicBool>, Arc<AtomicU64>, Arc<AtomicU64>) =
            Default::default();
        let threads = (0..2)
            .map(|_| {
                let (stop, served, failed) =
                    (Arc::clone(&stop), Arc::clone(&served), Arc::clone(&failed));
                std::thread::spawn(move || {
                    while !stop.load(SeqCst) {
                        let outcome = if ask(address).is_some() {
                            &served
                        } else {
                            &failed
                        };
                        outcome.fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        Self {
            stop,
            served,
            failed,
            threads,
        }
    }

    pub fn end(self) -> (u64, u64) {
        self.stop.store(true, SeqCst);
        for thread in self.threads {
            thread.join().expect("a client");
        }
        (self.served.load(SeqCst), self.failed.load(SeqCst))
    }
}

/// Runs a rollout until its journal has so many lines; then the controller is gone, as a kill leaves it.
/// False when it ended before.
pub fn is_cut_off_after(place: &Place, file: &File, lines: usize) -> bool {
    let plan = place.plan(file);
    let root = place.root();
    let mut seen = 0;
    let cut = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut tell = |_: &journal::Line| {
            seen += 1;
            assert!(seen < lines, "the controller is killed");
        };
        let by = By::default();
        place
            .runtime
            .block_on(async { execute::apply(&site(&root, &by), plan, &mut tell).await })
    }));
    cut.is_err()
}
