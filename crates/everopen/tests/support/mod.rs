//! The real binary as a process, and a small client that signs its requests: for the tests and
//! the benchmark of this crate.
#![allow(
    dead_code,
    reason = "each user of this module needs another part of it"
)]

pub mod operator;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a venue may take to start, and an answer to come.
const PATIENCE: Duration = Duration::from_secs(60);

/// A venue of its own, killed when dropped.
pub struct Venue {
    process: Child,
    /// `endpoints.json`, as this process sees it.
    file: PathBuf,
    endpoints: Value,
}

/// A process that `endpoints.json` names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    pub role: String,
    pub id: u64,
    pub pid: u32,
    /// Where it listens; empty for the supervisor.
    pub address: String,
}

impl Venue {
    /// Starts one with three replicas on `dir`, unless `more` says otherwise, and waits until its
    /// `endpoints.json` names this very process. Its processes end with it.
    pub fn start(dir: &Path, more: &[&str]) -> io::Result<Self> {
        let tied: Vec<&str> = ["--tied"].iter().chain(more).copied().collect();
        Self::start_untied(dir, &tied)
    }

    /// As [`Venue::start`], but its processes outlive their supervisor.
    pub fn start_untied(dir: &Path, more: &[&str]) -> io::Result<Self> {
        std::fs::create_dir_all(dir)?;
        let errors = dir.join("stderr.txt");
        let command = Command::new(env!("CARGO_BIN_EXE_everopen"));
        Self::spawn(command, dir, more, &errors, |_| dir.to_path_buf())
    }

    /// Starts `command`, which becomes the venue under the same process id. `seen_at` is where
    /// this process finds the venue's data directory, given that id.
    pub fn spawn(
        mut command: Command,
        dir: &Path,
        more: &[&str],
        errors: &Path,
        seen_at: impl Fn(u32) -> PathBuf,
    ) -> io::Result<Self> {
        let process = command
            .args(["up", "--no-market", "--quiet", "--listen", "127.0.0.1:0"])
            .args(["--private-rate", "1000000"])
            .args(more)
            .arg("--dir")
            .arg(dir)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(errors)?)
            .spawn()?;
        let mut venue = Self {
            file: seen_at(process.id()).join("endpoints.json"),
            process,
            endpoints: Value::Null,
        };
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(endpoints) = venue.read()
                && endpoints["processes"][0]["pid"] == venue.process.id()
            {
                venue.endpoints = endpoints;
                return Ok(venue);
            }
            if Instant::now() > deadline || venue.process.try_wait()?.is_some() {
                let said = std::fs::read_to_string(errors).unwrap_or_default();
                return Err(io::Error::other(format!("the venue did not start: {said}")));
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    fn read(&self) -> Option<Value> {
        serde_json::from_str(&std::fs::read_to_string(&self.file).ok()?).ok()
    }

    /// The supervisor's process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// The processes that run now, the supervisor first.
    pub fn processes(&self) -> Vec<Process> {
        let endpoints = self.read().unwrap_or_else(|| self.endpoints.clone());
        let processes = endpoints["processes"].as_array().into_iter().flatten();
        processes
            .filter_map(|process| {
                Some(Process {
                    role: process["role"].as_str()?.to_string(),
                    id: process["id"].as_u64()?,
                    pid: u32::try_from(process["pid"].as_u64()?).ok()?,
                    address: process["address"].as_str().unwrap_or_default().to_string(),
                })
            })
            .collect()
    }

    /// Ends all of it as a power cut would: `kill -9` of every process, the supervisor first so
    /// that it starts none again.
    pub fn kill(mut self) -> io::Result<()> {
        self.end_all()
    }

    /// Ends only the supervisor, by `kill -9`; the others stay if they are not tied to it.
    pub fn kill_supervisor(mut self) -> io::Result<Vec<Process>> {
        let others = self.processes().split_off(1);
        self.process.kill()?;
        self.process.wait()?;
        // Nothing is left for the drop to end.
        self.file = PathBuf::new();
        self.endpoints = Value::Null;
        Ok(others)
    }

    /// Waits until the supervisor has ended by itself, because another took the venue over.
    pub fn was_taken_over(mut self) -> io::Result<bool> {
        let ended = self.process.wait()?;
        // Nothing is left for the drop to end.
        self.file = PathBuf::new();
        self.endpoints = Value::Null;
        Ok(ended.success())
    }

    /// Ends it as an operator would, by SIGTERM; whether it ended well.
    pub fn stop(mut self) -> io::Result<bool> {
        signal(self.process.id(), "TERM");
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status.success());
            }
            std::thread::park_timeout(Duration::from_millis(5));
        }
        Err(io::Error::other("the venue did not end"))
    }

    fn end_all(&mut self) -> io::Result<()> {
        let processes = self.processes();
        self.process.kill()?;
        self.process.wait()?;
        kill_all(processes.iter().skip(1))
    }

    /// A text in `endpoints.json`.
    pub fn text(&self, name: &str) -> String {
        self.endpoints[name]
            .as_str()
            .unwrap_or_default()
            .to_string()
    }
}

impl Drop for Venue {
    fn drop(&mut self) {
        let _ = self.end_all();
    }
}

/// Kills processes and waits until they are gone.
pub fn kill_all<'a>(processes: impl Iterator<Item = &'a Process>) -> io::Result<()> {
    let pids: Vec<u32> = processes.map(|process| process.pid).collect();
    for pid in &pids {
        signal(*pid, "KILL");
    }
    wait_until_gone(&pids)
}

/// Waits until none of these processes runs.
pub fn wait_until_gone(pids: &[u32]) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while pids.iter().any(|pid| is_running(*pid)) {
        if Instant::now() > deadline {
            return Err(io::Error::other(format!("some of {pids:?} do not end")));
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
    Ok(())
}

/// Sends a signal, `KILL` or `TERM` or another; to a process that has ended, none.
pub fn signal(pid: u32, name: &str) {
    let signal = match name {
        "KILL" => Signal::KILL,
        "TERM" => Signal::TERM,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        other => panic!("no test sends {other}"),
    };
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Whether a process is there and has not ended; one that nobody has reaped yet has.
pub fn is_running(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The state follows the name, which is in parentheses.
    let state = stat.rsplit(')').next().unwrap_or_default().trim_start();
    !state.is_empty() && !state.starts_with(['Z', 'X'])
}

/// One keep-alive connection that signs what it sends.
pub struct Client {
    stream: BufReader<TcpStream>,
    host: String,
    key: String,
    secret: Vec<u8>,
    passphrase: String,
    /// How often it was told that its connection ends, and made another.
    pub closes: u32,
    is_closed: bool,
}

impl Client {
    /// Connects with the demo member's key.
    pub fn connect(venue: &Venue) -> io::Result<Self> {
        let host = venue.text("rest").trim_start_matches("http://").to_string();
        let stream = TcpStream::connect(&host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
            host,
            key: venue.text("key"),
            secret: BASE64_STANDARD
                .decode(venue.text("secret"))
                .map_err(io::Error::other)?,
            passphrase: venue.text("passphrase"),
            closes: 0,
            is_closed: false,
        })
    }

    /// Leaves its connection for a new one.
    pub fn connect_again(&mut self) -> io::Result<()> {
        let stream = TcpStream::connect(&self.host)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        (self.stream, self.is_closed) = (BufReader::new(stream), false);
        Ok(())
    }

    /// A signed request; its status and its JSON.
    pub fn call(&mut self, method: &str, path: &str, body: &str) -> io::Result<(u16, Value)> {
        if self.is_closed {
            self.connect_again()?;
        }
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let time = format!("{}.{:06}", now.as_secs(), now.subsec_micros());
        let mut mac =
            Hmac::<sha2::Sha256>::new_from_slice(&self.secret).map_err(io::Error::other)?;
        mac.update(format!("{time}{method}{path}{body}").as_bytes());
        let sign = BASE64_STANDARD.encode(mac.finalize().into_bytes());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncb-access-key: {}\r\ncb-access-sign: {sign}\r\ncb-access-timestamp: {time}\r\ncb-access-passphrase: {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.host,
            self.key,
            self.passphrase,
            body.len()
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status in {line:?}")))?;
        let mut length = 0;
        loop {
            line.clear();
            self.stream.read_line(&mut line)?;
            let header = line.trim_end().to_ascii_lowercase();
            if header.is_empty() {
                break;
            }
            if header == "connection: close" {
                self.is_closed = true;
                self.closes += 1;
            }
            if let Some(value) = header.strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        let json = serde_json::from_slice(&bytes).map_err(io::Error::other)?;
        Ok((status, json))
    }

    /// A signed request that must succeed.
    pub fn good(&mut self, method: &str, path: &str, body: &str) -> io::Result<Value> {
        let (status, json) = self.call(method, path, body)?;
        if status == 200 {
            Ok(json)
        } else {
            Err(io::Error::other(format!(
                "{method} {path}: {status}: {json}"
            )))
        }
    }
}
