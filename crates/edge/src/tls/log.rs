//! The connection log: one line of JSON for each connection over TLS, and why one was refused or cut.
//!
//! A thread of its own writes it. When it can't keep up, lines are lost and counted, and no client waits.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{SystemTime, UNIX_EPOCH};

use everopen_identity::clients::ClientCertificate;
use serde::Serialize;

/// Lines that wait to be written.
const LINES_MAX: usize = 10_000;
/// A file that has grown to this becomes `.1`, in the place of the one before.
const FILE_MAX: u64 = 64 << 20;

/// What became of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Event {
    /// It was taken.
    Accepted,
    /// It was not.
    Refused,
    /// It had been taken, and its client's certificate does not hold any more.
    Cut,
}

/// One line.
#[derive(Debug, Serialize)]
pub(crate) struct Line<'a> {
    /// Milliseconds since 1970.
    pub time_ms: u64,
    pub listener: &'a str,
    pub client: SocketAddr,
    pub event: Event,
    /// `Success`, or `Failed:` with a code.
    pub verify: String,
    /// What else there is to say of a failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cipher: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<&'a str>,
    pub resumed: bool,
    pub handshake_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store_version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate: Option<Told>,
}

/// A certificate in a line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Told {
    subject: String,
    issuer: String,
    serial: String,
    not_before: String,
    not_after: String,
    sha256: String,
}

impl From<&ClientCertificate> for Told {
    fn from(certificate: &ClientCertificate) -> Self {
        Self {
            subject: certificate.subject.clone(),
            issuer: certificate.issuer.clone(),
            serial: certificate.serial.clone(),
            not_before: certificate.not_before.clone(),
            not_after: certificate.not_after.clone(),
            sha256: certificate.fingerprint.clone(),
        }
    }
}

/// Milliseconds since 1970.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// Where lines go; nowhere if there is no file.
#[derive(Debug)]
pub(crate) struct ConnectionLog {
    lines: Option<SyncSender<Vec<u8>>>,
    lost: Arc<AtomicU64>,
}

impl ConnectionLog {
    pub fn open(path: Option<&Path>) -> io::Result<Self> {
        let lost = Arc::<AtomicU64>::default();
        let Some(path) = path else {
            return Ok(Self { lines: None, lost });
        };
        let file = Growing::open(path)?;
        let (lines, written) = sync_channel(LINES_MAX);
        let counted = Arc::clone(&lost);
        std::thread::Builder::new()
            .name("connection-log".into())
            .spawn(move || write(file, &written, &counted))?;
        Ok(Self {
            lines: Some(lines),
            lost,
        })
    }

    pub fn write(&self, line: &Line<'_>) {
        let Some(lines) = &self.lines else { return };
        let Ok(mut text) = serde_json::to_vec(line) else {
            return;
        };
        text.push(b'\n');
        if lines.try_send(text).is_err() {
            self.lost.fetch_add(1, Relaxed);
        }
    }

    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

struct Growing {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Growing {
    fn open(path: &Path) -> io::Result<Self> {
        let open = OpenOptions::new().create(true).append(true).open(path);
        let told =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let file = open.map_err(told)?;
        Ok(Self {
            path: path.to_path_buf(),
            length: file.metadata()?.len(),
            file,
        })
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        if self.length >= FILE_MAX {
            let mut old = self.path.as_os_str().to_owned();
            old.push(".1");
            fs::rename(&self.path, old)?;
            *self = Self::open(&self.path)?;
        }
        self.file.write_all(line)?;
        self.length += line.len() as u64;
        Ok(())
    }
}

fn write(mut file: Growing, lines: &Receiver<Vec<u8>>, lost: &AtomicU64) {
    let mut has_failed = false;
    while let Ok(line) = lines.recv() {
        let written = file.append(&line);
        if let Err(error) = &written {
            lost.fetch_add(1, Relaxed);
            if !has_failed {
                tracing::error!(path = %file.path.display(), %error, "the connection log can't be written");
            }
        }
        has_failed = written.is_err();
    }
}
