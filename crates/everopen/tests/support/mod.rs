//! The real binary as a process, and a small client that signs its requests: for the tests and
//! the benchmark of this crate.
#![allow(
    dead_code,
    reason = "each user of this module needs another part of it"
)]

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, Mac};
use serde_json::Value;

/// How long a venue may take to start, and an answer to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// A venue of its own, stopped when dropped.
pub struct Venue {
    process: Child,
    endpoints: Value,
}

impl Venue {
    /// Starts it on `dir` and waits until its `endpoints.json` names this very process.
    pub fn start(dir: &Path, more: &[&str]) -> io::Result<Self> {
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
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(errors)?)
            .spawn()?;
        let mut venue = Self {
            process,
            endpoints: Value::Null,
        };
        let file = seen_at(venue.process.id()).join("endpoints.json");
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = std::fs::read_to_string(&file);
            let endpoints = text
                .ok()
                .and_then(|text| serde_json::from_str::<Value>(&text).ok());
            if let Some(endpoints) = endpoints
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

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Ends it as a crash of the process would: `kill -9`.
    pub fn kill(mut self) -> io::Result<()> {
        self.process.kill()?;
        self.process.wait().map(drop)
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
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// One keep-alive connection that signs what it sends.
pub struct Client {
    stream: BufReader<TcpStream>,
    host: String,
    key: String,
    secret: Vec<u8>,
    passphrase: String,
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
        })
    }

    /// A signed request; its status and its JSON.
    pub fn call(&mut self, method: &str, path: &str, body: &str) -> io::Result<(u16, Value)> {
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
