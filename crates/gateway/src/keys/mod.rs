//! API keys: who may do what. Kept sealed in one file of the data directory; the running gateway
//! takes up changes that another process made to it.

mod file;
mod range;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, RwLock};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use everopen_domain::{MemberId, Timestamp};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use range::{AddressRange, AddressRangeError};

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permissions {
    /// Read accounts, orders, fills and transfers.
    pub view: bool,
    /// Place, amend and cancel orders.
    pub trade: bool,
    /// Deposit and withdraw.
    pub transfer: bool,
}

impl Permissions {
    /// Everything.
    pub const ALL: Self = Self {
        view: true,
        trade: true,
        transfer: true,
    };

    /// Whether `permission` is among them.
    pub const fn allows(self, permission: Permission) -> bool {
        match permission {
            Permission::View => self.view,
            Permission::Trade => self.trade,
            Permission::Transfer => self.transfer,
        }
    }
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permission {
    /// To read.
    View,
    /// To trade.
    Trade,
    /// To move money.
    Transfer,
}

/// Bytes that must not be seen: their `Debug` hides them and their memory is cleared.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "Vec<u8>", into = "Vec<u8>")]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl From<Secret> for Vec<u8> {
    fn from(secret: Secret) -> Self {
        secret.0.to_vec()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A key as the gateway uses it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ApiKey {
    /// The key itself; not secret.
    pub id: String,
    /// Whose requests it signs.
    pub member: MemberId,
    /// What its owner calls it.
    pub label: String,
    /// What it may do.
    pub permissions: Permissions,
    /// From where it may be used; from anywhere when empty.
    pub allow: Vec<AddressRange>,
    /// When it was made.
    pub created_at: Timestamp,
    /// The key of the signatures.
    pub secret: Secret,
    /// What comes with each signed request.
    pub passphrase: Secret,
}

impl ApiKey {
    /// Whether it may be used from `address`.
    pub fn allows_address(&self, address: IpAddr) -> bool {
        self.allow.is_empty() || self.allow.iter().any(|range| range.contains(address))
    }
}

/// A key that was just made: the only time that its secret and passphrase are shown.
#[derive(Clone)]
pub struct NewKey {
    /// `CB-ACCESS-KEY`.
    pub key: String,
    /// The secret in base64, as clients want it.
    pub secret: String,
    /// `CB-ACCESS-PASSPHRASE`.
    pub passphrase: String,
}

impl fmt::Debug for NewKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewKey")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Why keys could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyStoreError {
    /// A file operation failed.
    #[error("{action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To which file.
        path: PathBuf,
        /// What went wrong.
        source: std::io::Error,
    },
    /// A file holds something else than it should.
    #[error("{} is damaged: {what}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The keys' file is there, the master key that opens it is not.
    #[error("{} is missing, without it {} can't be opened", master.display(), keys.display())]
    MasterMissing {
        /// The file that is missing.
        master: PathBuf,
        /// The file that it opens.
        keys: PathBuf,
    },
    /// The master key may be read by others.
    #[error("{} may be read by others (mode {mode:o}): set its mode to 600", path.display())]
    MasterExposed {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// There is no such key.
    #[error("there is no key {0}")]
    UnknownKey(String),
    /// The label is too long or not printable.
    #[error("a label is at most 64 printable characters")]
    BadLabel,
    /// The system gave no randomness.
    #[error("no randomness from the system: {0}")]
    Randomness(getrandom::Error),
}

type Keys = HashMap<String, Arc<ApiKey>>;

/// All keys of a data directory.
#[derive(Debug)]
pub struct KeyStore {
    file: file::KeyFile,
    keys: RwLock<Arc<Keys>>,
    /// What the file looked like when it was last read.
    mark: Mutex<Option<file::Mark>>,
}

impl KeyStore {
    /// Opens the keys of `dir`, and makes the master key when there are none yet.
    ///
    /// # Errors
    /// [`KeyStoreError`] names the file that is damaged, missing or exposed.
    pub fn open(dir: &Path) -> Result<Self, KeyStoreError> {
        let file = file::KeyFile::open(dir)?;
        let store = Self {
            file,
            keys: RwLock::default(),
            mark: Mutex::default(),
        };
        store.reload()?;
        Ok(store)
    }

    /// Reads the file again if it changed since it was last read; true if it did. After an error
    /// the keys stay as they were.
    ///
    /// # Errors
    /// [`KeyStoreError`] when the file can't be read.
    pub fn reload(&self) -> Result<bool, KeyStoreError> {
        let mut mark = self
            .mark
            .lock()
            .expect("invariant: no panic under this lock");
        let found = self.file.mark()?;
        if found.is_some() && *mark == found {
            return Ok(false);
        }
        let keys = self.file.read()?;
        self.publish(keys);
        *mark = found;
        Ok(true)
    }

    /// Makes a key.
    ///
    /// # Errors
    /// [`KeyStoreError`] when the file can't be read or written; then no key was made.
    pub fn create(
        &self,
        member: MemberId,
        label: &str,
        permissions: Permissions,
        allow: Vec<AddressRange>,
    ) -> Result<NewKey, KeyStoreError> {
        if label.chars().count() > 64 || label.chars().any(char::is_control) {
            return Err(KeyStoreError::BadLabel);
        }
        let id = hex(random::<16>()?.as_slice());
        let secret = random::<64>()?;
        let passphrase = hex(random::<12>()?.as_slice());
        let key = ApiKey {
            id: id.clone(),
            member,
            label: label.to_owned(),
            permissions,
            allow,
            created_at: now(),
            secret: secret.to_vec().into(),
            passphrase: passphrase.clone().into_bytes().into(),
        };
        self.change(|keys| {
            keys.push(key);
            Ok(())
        })?;
        Ok(NewKey {
            key: id,
            secret: STANDARD.encode(secret.as_slice()),
            passphrase,
        })
    }

    /// Takes a key away; the running gateway refuses it from its next look at the file on.
    ///
    /// # Errors
    /// [`KeyStoreError::UnknownKey`], or when the file can't be read or written.
    pub fn revoke(&self, id: &str) -> Result<(), KeyStoreError> {
        self.change(|keys| {
            let before = keys.len();
            keys.retain(|key| key.id != id);
            match keys.len() < before {
                true => Ok(()),
                false => Err(KeyStoreError::UnknownKey(id.to_owned())),
            }
        })
    }

    /// All keys, by id.
    pub fn list(&self) -> Vec<Arc<ApiKey>> {
        let mut keys: Vec<_> = self.current().values().cloned().collect();
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        keys
    }

    /// The key with this id.
    pub fn find(&self, id: &str) -> Option<Arc<ApiKey>> {
        self.current().get(id).cloned()
    }

    fn current(&self) -> Arc<Keys> {
        self.keys
            .read()
            .expect("invariant: no panic under this lock")
            .clone()
    }

    fn publish(&self, keys: Vec<ApiKey>) {
        let keys = keys
            .into_iter()
            .map(|key| (key.id.clone(), Arc::new(key)))
            .collect();
        *self
            .keys
            .write()
            .expect("invariant: no panic under this lock") = Arc::new(keys);
    }

    /// Reads, changes and writes the file while no other process can.
    fn change(
        &self,
        edit: impl FnOnce(&mut Vec<ApiKey>) -> Result<(), KeyStoreError>,
    ) -> Result<(), KeyStoreError> {
        let mut mark = self
            .mark
            .lock()
            .expect("invariant: no panic under this lock");
        let _lock = self.file.lock()?;
        let mut keys = self.file.read()?;
        edit(&mut keys)?;
        self.file.write(&keys)?;
        *mark = self.file.mark()?;
        self.publish(keys);
        Ok(())
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp(since.map_or(0, |d| u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)))
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, KeyStoreError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(KeyStoreError::Randomness)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
