//! A trust store by name: every state that it was in has a number, and one can go back to it.
//!
//! The store follows its files. Each state is kept in a folder of its own, the last ten of them: `7/` has
//! the files of version 7 as they were. An operator can choose an earlier one, which then stays in force
//! whatever the files say, also after a restart, until the files are followed again.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use everopen_identity::clients::{Rules, Source, TrustStore};
use serde::{Deserialize, Serialize};
use tokio_rustls::rustls::pki_types::UnixTime;

use super::stamps::{Stamps, files};
use crate::config::Trust;

/// Versions that are kept.
const KEPT: usize = 10;
/// Bytes of a file at most.
const FILE_MAX: u64 = 50 << 20;
const PARTS: [&str; 2] = ["authorities", "lists"];

/// A state of a store.
#[derive(Debug)]
pub(super) struct Version {
    pub number: u64,
    pub store: Arc<TrustStore>,
}

#[derive(Debug)]
struct State {
    current: Arc<Version>,
    is_chosen: bool,
    stamps: Stamps,
}

/// A store that follows its files.
#[derive(Debug)]
pub(super) struct Store {
    trust: Trust,
    folder: PathBuf,
    state: Mutex<State>,
}

/// What operators are told of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// The version in force.
    pub version: u64,
    /// SHA-256 over its contents, hexadecimal.
    pub digest: String,
    /// An operator has chosen this version; the files are not followed.
    pub chosen: bool,
    /// Versions that one can go back to.
    pub kept: Vec<u64>,
    /// The names of its authorities (RFC 2253).
    pub authorities: Vec<String>,
    /// How many revocation lists it has.
    pub lists: usize,
    /// How many certificates they name.
    pub revoked: usize,
    /// How many lists are overdue.
    pub stale: usize,
}

/// What a store is made of: its authorities and its lists.
type Sources = [Vec<Source>; 2];

fn read(path: &Path) -> Result<Source, String> {
    let name = path.display().to_string();
    let told = |error: io::Error| format!("{name}: {error}");
    let file = fs::File::open(path).map_err(told)?;
    let mut bytes = Vec::new();
    file.take(FILE_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(told)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(format!("{name}: it has more than {FILE_MAX} bytes"));
    }
    Ok(Source { name, bytes })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

impl Store {
    /// Reads the files, or the version that was chosen.
    pub fn open(trust: Trust, folder: &Path) -> Result<Self, String> {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let stamps = stamps(&trust);
        let chosen = match fs::read_to_string(folder.join("chosen")) {
            Ok(text) => Some(
                text.trim()
                    .parse::<u64>()
                    .map_err(|_| format!("{}: not a number", folder.join("chosen").display()))?,
            ),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(format!("{}: {error}", folder.join("chosen").display())),
        };
        let current = match chosen {
            Some(number) => kept(folder, number, rules(&trust))?,
            None => follow(&trust, folder)?,
        };
        Ok(Self {
            trust,
            folder: folder.to_path_buf(),
            state: Mutex::new(State {
                current: Arc::new(current),
                is_chosen: chosen.is_some(),
                stamps,
            }),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn current(&self) -> Arc<Version> {
        Arc::clone(&self.state().current)
    }

    /// Reads the files if they have changed, or in any case. The new version's number, if it is one; the
    /// same number when something that was wrong has been put right without a change.
    pub fn reload(&self, all: bool) -> Result<Option<u64>, String> {
        let stamps = stamps(&self.trust);
        {
            let mut state = self.state();
            if state.is_chosen || (!all && state.stamps == stamps) {
                return Ok(None);
            }
            state.stamps = stamps;
        }
        // Not under the lock: this takes a while with long lists.
        let version = follow(&self.trust, &self.folder)?;
        let number = version.number;
        let mut state = self.state();
        if number != state.current.number {
            state.current = Arc::new(version);
        }
        Ok(Some(number))
    }

    /// Puts an earlier version in force, or follows the files again.
    pub fn choose(&self, version: Option<u64>) -> Result<u64, String> {
        let path = self.folder.join("chosen");
        let told = |error: io::Error| format!("{}: {error}", path.display());
        let current = match version {
            Some(number) => {
                let current = kept(&self.folder, number, rules(&self.trust))?;
                write(&path, number.to_string().as_bytes()).map_err(told)?;
                current
            }
            None => {
                let current = follow(&self.trust, &self.folder)?;
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        return Err(told(error));
                    }
                    _ => current,
                }
            }
        };
        let number = current.number;
        let mut state = self.state();
        state.current = Arc::new(current);
        state.is_chosen = version.is_some();
        Ok(number)
    }

    pub fn status(&self) -> StoreStatus {
        let state = self.state();
        let store = &state.current.store;
        StoreStatus {
            version: state.current.number,
            digest: hex(&store.digest()),
            chosen: state.is_chosen,
            kept: numbers(&self.folder),
            authorities: store.authorities().to_vec(),
            lists: store.lists(),
            revoked: store.revoked(),
            stale: store.stale(UnixTime::now()),
        }
    }
}

fn rules(trust: &Trust) -> Rules {
    Rules {
        depth: trust.depth,
        refuse_stale: trust.refuse_stale,
        need_list: trust.need_list,
    }
}

fn stamps(trust: &Trust) -> Stamps {
    // A folder that can't be listed is found out when it is read.
    let all = [&trust.authorities, &trust.revoked].map(|paths| files(paths).unwrap_or_default());
    Stamps::of(all.iter().flatten().map(PathBuf::as_path))
}

fn numbers(folder: &Path) -> Vec<u64> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut numbers: Vec<u64> = entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .collect();
    numbers.sort_unstable();
    numbers
}

/// The version of what the files hold now: the last one if nothing has changed, else a new one.
fn follow(trust: &Trust, folder: &Path) -> Result<Version, String> {
    let mut sources: Sources = [Vec::new(), Vec::new()];
    for (paths, into) in [&trust.authorities, &trust.revoked]
        .into_iter()
        .zip(&mut sources)
    {
        let all = files(paths).map_err(|error| format!("a folder can't be read: {error}"))?;
        for path in all {
            into.push(read(&path)?);
        }
    }
    let store = TrustStore::new(&sources[0], &sources[1], rules(trust));
    let store = Arc::new(store.map_err(|error| error.to_string())?);
    let digest = hex(&store.digest());
    let numbers = numbers(folder);
    let last = numbers.last().copied().unwrap_or(0);
    let known = fs::read_to_string(folder.join(last.to_string()).join("digest"));
    if known.is_ok_and(|known| known == digest) {
        return Ok(Version {
            number: last,
            store,
        });
    }
    let number = last + 1;
    keep(folder, number, &sources, &digest)
        .map_err(|error| format!("keep version {number} in {}: {error}", folder.display()))?;
    let surplus = (numbers.len() + 1).saturating_sub(KEPT);
    let chosen = fs::read_to_string(folder.join("chosen")).ok();
    for old in numbers.iter().take(surplus) {
        if chosen.as_deref() != Some(old.to_string().as_str()) {
            let _ = fs::remove_dir_all(folder.join(old.to_string()));
        }
    }
    Ok(Version { number, store })
}

/// Writes a version beside the others, whole or not at all.
fn keep(folder: &Path, number: u64, sources: &Sources, digest: &str) -> io::Result<()> {
    let fresh = folder.join(format!(".{number}.{}", std::process::id()));
    let _ = fs::remove_dir_all(&fresh);
    for (part, sources) in PARTS.iter().zip(sources) {
        fs::create_dir_all(fresh.join(part))?;
        for (at, source) in sources.iter().enumerate() {
            write(&fresh.join(part).join(format!("{at:04}")), &source.bytes)?;
        }
    }
    write(&fresh.join("digest"), digest.as_bytes())?;
    match fs::rename(&fresh, folder.join(number.to_string())) {
        // The edge that hands over, or the one that takes over, was first.
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
            fs::remove_dir_all(&fresh)
        }
        done => done,
    }
}

/// An earlier version.
fn kept(folder: &Path, number: u64, rules: Rules) -> Result<Version, String> {
    let path = folder.join(number.to_string());
    if !path.is_dir() {
        return Err(format!(
            "version {number} is not kept; there are {:?}",
            numbers(folder)
        ));
    }
    let mut sources: Sources = [Vec::new(), Vec::new()];
    for (part, into) in PARTS.iter().zip(&mut sources) {
        let all = files(&[path.join(part)]).map_err(|error| format!("{part}: {error}"))?;
        for path in all {
            into.push(read(&path)?);
        }
    }
    let store = TrustStore::new(&sources[0], &sources[1], rules);
    Ok(Version {
        number,
        store: Arc::new(store.map_err(|error| error.to_string())?),
    })
}
