//! The configuration files of the venue's processes: read strictly, written whole or not at all.

mod address;
pub mod cluster;
pub mod gateway;
pub mod known;
pub mod node;
pub mod recovery;

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use everopen_identity::{Files, Identity, Name};
use everopen_replica::member::NUMBER_MAX;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use address::Address;

/// A cluster's number, drawn once: processes of another cluster are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClusterId(pub [u8; 16]);

impl ClusterId {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn draw() -> Result<Self> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|e| anyhow!("draw a cluster id: {e}"))?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for ClusterId {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || anyhow!("a cluster id is 32 hexadecimal digits, not {text:?}");
        if text.len() != 32 || !text.is_ascii() {
            return Err(wrong());
        }
        let mut bytes = [0; 16];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for ClusterId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|e: anyhow::Error| e.to_string())
    }
}

impl From<ClusterId> for String {
    fn from(id: ClusterId) -> Self {
        id.to_string()
    }
}

/// What an acknowledgment means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Durability {
    /// Acknowledged means on the disks of a majority of the replicas
    #[default]
    Fsync,
    /// Acknowledged means in the memory of a majority: survives a minority that is lost, not a
    /// power cut of all
    Memory,
}

impl Durability {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Memory => "memory",
        }
    }
}

/// When a replica keeps its machine's processors from sleeping.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum KeepAwake {
    /// While commands come
    #[default]
    Traffic,
    /// As long as it runs
    Always,
    /// Not at all
    Never,
}

impl KeepAwake {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl From<KeepAwake> for everopen_replica::node::KeepAwake {
    fn from(when: KeepAwake) -> Self {
        match when {
            KeepAwake::Traffic => Self::Traffic,
            KeepAwake::Always => Self::Always,
            KeepAwake::Never => Self::Never,
        }
    }
}

/// A replica and where the others reach it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its number, from 1.
    pub id: u64,
    /// Its address.
    pub address: Address,
}

/// Where a process's certificate is, and the authority that it trusts: PEM files. Paths are taken
/// from the folder of the file that names them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The authority's certificate.
    pub ca: PathBuf,
    /// The process's own.
    pub cert: PathBuf,
    /// Its key.
    pub key: PathBuf,
}

impl Tls {
    /// The files of `name` in a folder, as the authority issues them.
    pub fn within(dir: &Path, name: Name) -> Self {
        let Files { ca, cert, key } = Files::within(dir, name);
        Self { ca, cert, key }
    }

    /// Reads the files.
    ///
    /// # Errors
    /// When one can't be read or does not fit the others.
    pub fn load(&self, base: &Path) -> Result<Arc<Identity>> {
        let files = Files {
            ca: base.join(&self.ca),
            cert: base.join(&self.cert),
            key: base.join(&self.key),
        };
        Identity::load(&files).context("read this process's certificate")
    }
}

/// Checks a list of replicas: numbers from 1, none twice.
fn check_peers(peers: &[Peer]) -> Result<()> {
    for (at, peer) in peers.iter().enumerate() {
        if !(1..=NUMBER_MAX).contains(&peer.id) {
            bail!("node id {} is not from 1 to {NUMBER_MAX}", peer.id);
        }
        if peers[..at].iter().any(|other| other.id == peer.id) {
            bail!("node {} stands there twice", peer.id);
        }
        if peers[..at]
            .iter()
            .any(|other| other.address == peer.address)
        {
            bail!("address {} stands there twice", peer.address);
        }
    }
    Ok(())
}

/// Reads a file; a key that is not known is refused with its line.
///
/// # Errors
/// Names the file, the line and the reason.
fn read<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
    toml::from_str(&text).map_err(|e| anyhow!("{}: {}", path.display(), e.to_string().trim_end()))
}

/// Writes a file so that a reader sees it whole or not at all, also after a power cut. Returns
/// whether that changed it.
///
/// # Errors
/// Names the file.
fn write<T: Serialize>(path: &Path, head: &str, value: &T) -> Result<bool> {
    let body = toml::to_string(value).with_context(|| format!("write {}", path.display()))?;
    let text = format!("{head}\n{body}");
    if fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(false);
    }
    let unfinished = path.with_extension("unfinished");
    let replace = || -> std::io::Result<()> {
        let _ = fs::remove_file(&unfinished);
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&unfinished)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)
    };
    replace().with_context(|| format!("write {}", path.display()))?;
    Ok(true)
}

/// The folder that relative paths in `file` are taken from.
fn base(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => PathBuf::from("."),
    }
}
