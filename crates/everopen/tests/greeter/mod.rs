//! The greeter of `examples/`, with ports of its own, and clients of it.
#![allow(dead_code, reason = "each test uses a part of it")]

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use everopen_testkit::free_address;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_everopen");
pub const PATIENCE: Duration = Duration::from_secs(60);

#[track_caller]
pub fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The example, with ports of its own.
pub struct Example {
    pub folder: tempfile::TempDir,
    pub public: SocketAddr,
}

impl Example {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (public, test) = (free_address(), free_address());
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/greeter");
        for file in std::fs::read_dir(example).expect("the example").flatten() {
            let text = std::fs::read_to_string(file.path()).expect("read");
            let text = text
                .replace("127.0.0.1:8080", &public.to_string())
                .replace("127.0.0.1:8081", &test.to_string());
            std::fs::write(folder.path().join(file.file_name()), text).expect("written");
        }
        Self { folder, public }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        command
    }

    pub fn edge(&self, more: &[&str]) -> Child {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("edge.log"));
        let child = self
            .command(&["edge", "--config", "edge.toml", "--drain", "4"])
            .args(more)
            .stderr(log.expect("a log"))
            .spawn()
            .expect("start the edge");
        until("the edge takes connections", || {
            TcpStream::connect(self.public).is_ok()
        });
        child
    }

    /// Runs `everopen rollout`: its output, and whether it succeeded.
    pub fn rollout(&self, arguments: &[&str]) -> (bool, String) {
        let output = self
            .command(&["rollout"])
            .args(arguments)
            .output()
            .expect("run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (
            output.status.success(),
            text + &String::from_utf8_lossy(&output.stderr),
        )
    }

    pub fn done(&self, arguments: &[&str]) -> String {
        let (success, text) = self.rollout(arguments);
        assert!(success, "{text}");
        text
    }

    pub fn ask(&self) -> Option<String> {
        let mut stream = TcpStream::connect(self.public).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: greeter\r\nconnection: close\r\n\r\n")
            .ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (_, version) = answer.split_once("\"version\": \"")?;
        answer
            .starts_with("HTTP/1.1 200")
            .then(|| version.split('"').next().map(str::to_string))?
    }

    pub fn versions(&self) -> BTreeSet<String> {
        (0..20)
            .map(|_| self.ask().unwrap_or_else(|| "none".into()))
            .collect()
    }

    #[track_caller]
    pub fn only(&self, version: &str) {
        assert_eq!(self.versions(), BTreeSet::from([version.to_string()]));
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // What the rollouts started belongs to nobody else.
        let folder = self.folder.path().display().to_string();
        for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
            let is_ours = std::fs::read_link(entry.path().join("cwd"))
                .is_ok_and(|cwd| cwd.display().to_string().starts_with(&folder));
            if is_ours {
                let pid = entry.file_name();
                let _ = Command::new("kill").arg("-KILL").arg(pid).status();
            }
        }
    }
}

/// Clients without pause.
pub struct Load {
    stop: Arc<AtomicBool>,
    counts: Arc<[AtomicU64; 2]>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    pub fn start(example: &Arc<Example>) -> Self {
        let (stop, counts): (Arc<AtomicBool>, Arc<[AtomicU64; 2]>) = Default::default();
        let threads = (0..2)
            .map(|_| {
                let (example, stop, counts) =
                    (Arc::clone(example), Arc::clone(&stop), Arc::clone(&counts));
                std::thread::spawn(move || {
                    while !stop.load(SeqCst) {
                        counts[usize::from(example.ask().is_none())].fetch_add(1, SeqCst);
                    }
                })
            })
            .collect();
        Self {
            stop,
            counts,
            threads,
        }
    }

    pub fn served(&self) -> u64 {
        self.counts[0].load(SeqCst)
    }

    #[track_caller]
    pub fn end_without_failure(mut self) {
        assert!(self.stop(), "a client panicked");
        let (served, failed) = (self.counts[0].load(SeqCst), self.counts[1].load(SeqCst));
        assert_eq!(failed, 0, "of {served}");
        assert!(served > 50, "{served}");
    }

    /// Whether all clients ended well.
    fn stop(&mut self) -> bool {
        self.stop.store(true, SeqCst);
        let ends: Vec<_> = self.threads.drain(..).map(JoinHandle::join).collect();
        ends.iter().all(Result::is_ok)
    }
}

/// Of a test that failed as well: while clients ask, the example and its processes would stay.
impl Drop for Load {
    fn drop(&mut self) {
        self.stop();
    }
}
