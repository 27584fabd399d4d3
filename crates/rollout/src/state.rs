//! What a service's rollouts left: which version runs in which group, and until when one can go back.
//!
//! Everything about a service is in one folder: `state.json`, `lock`, and a folder per rollout with its
//! plan, its journal and the logs of the processes that it started.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::FlockOperation;
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What runs in a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// The rollout that started it.
    pub rollout: String,
    /// The version.
    pub version: String,
    /// Milliseconds that its processes have between SIGTERM and SIGKILL.
    pub stop_ms: u64,
}

/// A service's state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The rollout that is under way, or was cut off.
    pub under_way: Option<String>,
    /// What runs in each group.
    pub groups: BTreeMap<String, Running>,
    /// The group to go back to, and until when that is promised, in milliseconds since 1970.
    pub back: Option<(String, u64)>,
}

/// A folder may be held for a moment by somebody who only looks, or by a process that a controller which is gone
/// was just about to begin: until it is another program it has all that is open in the first.
const MOMENT: Duration = Duration::from_millis(500);
/// Between two tries.
const LOOK: Duration = Duration::from_millis(5);

/// A service's folder, held by one controller at a time.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

/// Milliseconds since 1970.
pub fn now_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Writes a file whole or not at all, and onto the disk.
///
/// # Errors
/// It can't be written.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

impl Folder {
    /// Opens a service's folder, if no other controller has it for more than a moment.
    ///
    /// # Errors
    /// It can't be made, or another controller is at work.
    pub fn open(root: &Path, service: &str) -> io::Result<Self> {
        let path = root.join(service);
        fs::create_dir_all(&path)?;
        let lock = File::create(path.join("lock"))?;
        let began = Instant::now();
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Self { path, _lock: lock }),
                Err(Errno::WOULDBLOCK) if began.elapsed() < MOMENT => std::thread::sleep(LOOK),
                Err(Errno::WOULDBLOCK) => {
                    let told = format!("another controller of {service} is at work");
                    return Err(io::Error::other(told));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether a controller is at work on a service, as far as one look can say. Changes nothing; who may not even
    /// look takes it for one.
    pub fn is_held(root: &Path, service: &str) -> bool {
        match File::open(root.join(service).join("lock")) {
            Ok(lock) => rustix::fs::flock(&lock, FlockOperation::NonBlockingLockShared).is_err(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        }
    }

    /// Where a rollout keeps its files.
    pub fn rollout(&self, id: &str) -> PathBuf {
        self.path.join(id)
    }

    /// Reads the state of a service without holding it.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn peek(root: &Path, service: &str) -> io::Result<State> {
        read(&root.join(service))
    }

    /// The service's state.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn state(&self) -> io::Result<State> {
        read(&self.path)
    }

    /// Writes the service's state.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn set_state(&self, state: &State) -> io::Result<()> {
        write(
            &self.path.join("state.json"),
            &serde_json::to_vec_pretty(state)?,
        )
    }

    /// Where a rollout's plan is.
    pub fn plan_of(root: &Path, service: &str, id: &str) -> PathBuf {
        root.join(service).join(id).join("plan.json")
    }

    /// The rollouts of a service, oldest first.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn rollouts(root: &Path, service: &str) -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for file in fs::read_dir(root.join(service))? {
            let path = file?.path();
            if path.join("plan.json").exists() {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }
}

fn read(folder: &Path) -> io::Result<State> {
    match fs::read(folder.join("state.json")) {
        Ok(bytes) => Ok(serde_json::from_slice(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(State::default()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_controller_has_a_folder_and_who_looks_is_in_nobodys_way() {
        let root = tempfile::tempdir().expect("a folder");
        let (root, service) = (root.path(), "greeter");
        assert!(!Folder::is_held(root, service), "nothing is known of it");
        assert!(!root.join(service).exists(), "a look leaves nothing");
        let held = Folder::open(root, service).expect("it is free");
        assert!(Folder::is_held(root, service));
        let refused = Folder::open(root, service).expect_err("it is held");
        assert!(
            refused.to_string().contains("another controller"),
            "{refused}"
        );
        drop(held);
        assert!(!Folder::is_held(root, service));
        Folder::open(root, service).expect("it is free again");
    }
}
