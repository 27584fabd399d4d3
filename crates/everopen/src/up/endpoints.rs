//! `endpoints.json`: how to reach a running venue, for scripts.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A process of the venue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Process {
    /// supervisor, replica, edge, gateway, or standby: a gateway kept to go back to.
    pub role: &'static str,
    /// Its number among those of its role.
    pub id: u64,
    pub pid: u32,
    /// Where it listens; the supervisor does not.
    pub address: Option<String>,
}

/// What the gateway knows of how it is reached, as it answers its supervisor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Access {
    pub version: String,
    /// Base URL of the REST API.
    pub rest: String,
    /// URL of the WebSocket feed.
    pub websocket: String,
    /// The demo member's API key.
    pub key: String,
    /// The demo member's secret, base64.
    pub secret: String,
    pub passphrase: String,
    /// What the demo member was given when the venue was new: currency to amount.
    pub funded: Map<String, Value>,
    pub products: Vec<String>,
    pub durability: String,
}

/// What the file holds.
#[derive(Debug, Serialize)]
pub struct Endpoints<'a> {
    #[serde(flatten)]
    pub access: &'a Access,
    /// The supervisor first, then replicas, edge and gateways, those that run now.
    pub processes: Vec<Process>,
}

/// The file's name in the data directory.
pub const FILE: &str = "endpoints.json";

impl Endpoints<'_> {
    /// Writes the file so that a reader sees it whole or not at all. Only its owner can read it,
    /// since it holds a secret.
    ///
    /// # Errors
    /// When the file can't be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join(FILE);
        let unfinished = dir.join(".endpoints.json.unfinished");
        let _ = fs::remove_file(&unfinished);
        let write = || -> std::io::Result<()> {
            let mut file: File = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&unfinished)?;
            serde_json::to_writer_pretty(&file, self)?;
            file.write_all(b"\n")?;
            fs::rename(&unfinished, &path)
        };
        write().with_context(|| format!("write {}", path.display()))
    }
}

/// Takes the file away: whoever finds it may rely on a venue being there.
pub fn remove(dir: &Path) {
    let _ = fs::remove_file(dir.join(FILE));
}

/// The address in the file that an earlier run left behind, if there is one.
pub fn last_address(dir: &Path) -> Option<SocketAddr> {
    let text = fs::read_to_string(dir.join(FILE)).ok()?;
    let file: Value = serde_json::from_str(&text).ok()?;
    file.get("rest")?
        .as_str()?
        .strip_prefix("http://")?
        .parse()
        .ok()
}
