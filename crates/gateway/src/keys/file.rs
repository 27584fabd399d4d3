//! The keys' file: a JSON list of records, each sealed with XChaCha20-Poly1305 under the master
//! key, with the key's id in clear and bound to the seal. Replaced as a whole, never edited.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{ApiKey, KeyStoreError, random};

const VERSION: u32 = 1;
/// What the seal is bound to besides the key's id, so that it opens nowhere else.
const PURPOSE: &[u8] = b"everopen api key 1:";
/// No keys' file is longer; about a hundred thousand keys.
const MAX_LEN: u64 = 64 << 20;

/// The files of a data directory that hold keys.
pub(super) struct KeyFile {
    path: PathBuf,
    lock_path: PathBuf,
    cipher: XChaCha20Poly1305,
}

impl std::fmt::Debug for KeyFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyFile")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What tells one version of the file from another: each is a new file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    inode: u64,
    len: u64,
    modified: Option<SystemTime>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    keys: Vec<Record>,
}

#[derive(Serialize, Deserialize)]
struct Record {
    id: String,
    nonce: String,
    sealed: String,
}

impl KeyFile {
    pub(super) fn open(dir: &Path) -> Result<Self, KeyStoreError> {
        let path = dir.join("api-keys.json");
        let master = dir.join("api-keys.master");
        fs::create_dir_all(dir).map_err(io("create", dir))?;
        let key = master_key(&master, &path)?;
        Ok(Self {
            path,
            lock_path: dir.join("api-keys.lock"),
            cipher: XChaCha20Poly1305::new(key.as_slice().into()),
        })
    }

    /// Waits until no other process changes the file; dropping the result lets others.
    pub(super) fn lock(&self) -> Result<File, KeyStoreError> {
        let file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&self.lock_path)
            .map_err(io("open", &self.lock_path))?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)
            .map_err(|error| io("lock", &self.lock_path)(error.into()))?;
        Ok(file)
    }

    /// The file's present version; none when there is no file.
    pub(super) fn mark(&self) -> Result<Option<Mark>, KeyStoreError> {
        match fs::metadata(&self.path) {
            Ok(meta) => Ok(Some(Mark {
                inode: meta.ino(),
                len: meta.len(),
                modified: meta.modified().ok(),
            })),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io("look at", &self.path)(error)),
        }
    }

    /// All keys; none when there is no file.
    pub(super) fn read(&self) -> Result<Vec<ApiKey>, KeyStoreError> {
        let mut text = Vec::new();
        match File::open(&self.path) {
            Ok(file) => file
                .take(MAX_LEN + 1)
                .read_to_end(&mut text)
                .map_err(io("read", &self.path))?,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io("open", &self.path)(error)),
        };
        if text.len() as u64 > MAX_LEN {
            return Err(self.damaged("it is too long".into()));
        }
        let document: Document =
            serde_json::from_slice(&text).map_err(|error| self.damaged(error.to_string()))?;
        if document.version != VERSION {
            return Err(self.damaged(format!("version {} is unknown", document.version)));
        }
        document
            .keys
            .iter()
            .map(|record| self.unseal(record))
            .collect()
    }

    /// Replaces the file: all or nothing, and durable when this returns.
    pub(super) fn write(&self, keys: &[ApiKey]) -> Result<(), KeyStoreError> {
        let keys = keys
            .iter()
            .map(|key| self.seal(key))
            .collect::<Result<_, _>>()?;
        let document = Document {
            version: VERSION,
            keys,
        };
        let text = serde_json::to_vec_pretty(&document).expect("invariant: strings serialize");
        let dir = self
            .path
            .parent()
            .expect("invariant: the path has a folder");
        let temporary = self.path.with_extension("json.new");
        let mut file = OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&temporary)
            .map_err(io("create", &temporary))?;
        file.write_all(&text)
            .and_then(|()| file.sync_all())
            .map_err(io("write", &temporary))?;
        fs::rename(&temporary, &self.path).map_err(io("replace", &self.path))?;
        sync_dir(dir)
    }

    fn seal(&self, key: &ApiKey) -> Result<Record, KeyStoreError> {
        let plain = Zeroizing::new(serde_json::to_vec(key).expect("invariant: a key serializes"));
        let nonce = random::<24>()?;
        let aad = [PURPOSE, key.id.as_bytes()].concat();
        let sealed = self
            .cipher
            .encrypt(
                XNonce::from_slice(nonce.as_slice()),
                Payload {
                    msg: &plain,
                    aad: &aad,
                },
            )
            .expect("invariant: a record is far shorter than the cipher's limit");
        Ok(Record {
            id: key.id.clone(),
            nonce: STANDARD.encode(nonce.as_slice()),
            sealed: STANDARD.encode(sealed),
        })
    }

    fn unseal(&self, record: &Record) -> Result<ApiKey, KeyStoreError> {
        let wrong = |what: &str| self.damaged(format!("key {}: {what}", record.id));
        let nonce = STANDARD
            .decode(&record.nonce)
            .map_err(|_| wrong("nonce is no base64"))?;
        let sealed = STANDARD
            .decode(&record.sealed)
            .map_err(|_| wrong("seal is no base64"))?;
        if nonce.len() != 24 {
            return Err(wrong("nonce is not 24 bytes"));
        }
        let aad = [PURPOSE, record.id.as_bytes()].concat();
        let plain = self
            .cipher
            .decrypt(
                XNonce::from_slice(&nonce),
                Payload {
                    msg: &sealed,
                    aad: &aad,
                },
            )
            .map_err(|_| wrong("the seal does not open with this master key"))?;
        let plain = Zeroizing::new(plain);
        serde_json::from_slice(&plain).map_err(|_| wrong("the sealed record is malformed"))
    }

    fn damaged(&self, what: String) -> KeyStoreError {
        KeyStoreError::Damaged {
            path: self.path.clone(),
            what,
        }
    }
}

fn io<'a>(
    action: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> KeyStoreError + 'a {
    move |source| KeyStoreError::Io {
        action,
        path: path.to_owned(),
        source,
    }
}

fn sync_dir(dir: &Path) -> Result<(), KeyStoreError> {
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(io("sync", dir))
}

/// Reads the master key, or makes it when there are no keys yet.
fn master_key(path: &Path, keys: &Path) -> Result<Zeroizing<[u8; 32]>, KeyStoreError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            if keys.exists() {
                return Err(KeyStoreError::MasterMissing {
                    master: path.into(),
                    keys: keys.into(),
                });
            }
            return make_master_key(path);
        }
        Err(error) => return Err(io("open", path)(error)),
    };
    let mode = file.metadata().map_err(io("look at", path))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyStoreError::MasterExposed {
            path: path.into(),
            mode,
        });
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(64));
    file.take(33)
        .read_to_end(&mut bytes)
        .map_err(io("read", path))?;
    let key: [u8; 32] = bytes
        .as_slice()
        .try_into()
        .map_err(|_| KeyStoreError::Damaged {
            path: path.into(),
            what: "it is not 32 bytes long".into(),
        })?;
    Ok(Zeroizing::new(key))
}

/// Makes the master key under another name first, so that it is never seen half-written; when
/// another process was faster, its key is the one.
fn make_master_key(path: &Path) -> Result<Zeroizing<[u8; 32]>, KeyStoreError> {
    let key = random::<32>()?;
    let suffix: String = random::<8>()?.iter().map(|b| format!("{b:02x}")).collect();
    let temporary = path.with_extension(suffix);
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(io("create", &temporary))?;
    file.write_all(key.as_slice())
        .and_then(|()| file.sync_all())
        .map_err(io("write", &temporary))?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary).map_err(io("remove", &temporary))?;
    match linked {
        Ok(()) => {
            sync_dir(path.parent().expect("invariant: the path has a folder"))?;
            Ok(key)
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists => master_key(path, Path::new("")),
        Err(error) => Err(io("create", path)(error)),
    }
}
