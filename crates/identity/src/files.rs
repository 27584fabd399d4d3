//! Reading and writing the files: small, whole or not at all, keys for the owner alone.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::Name;
use crate::error::Error;

/// No file of certificates or keys is longer.
const BYTES_MAX: u64 = 1 << 20;

/// Where a process finds who it is and whom it trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// Certificates of the authorities that are trusted, PEM.
    pub ca: PathBuf,
    /// The process's certificate, and those between it and the authority if any, PEM.
    pub cert: PathBuf,
    /// The certificate's private key, PEM.
    pub key: PathBuf,
}

impl Files {
    /// The files of that name in a directory, as [`crate::Authority::issue`] writes them.
    pub fn within(dir: &Path, name: Name) -> Self {
        Self {
            ca: dir.join("ca.crt"),
            cert: dir.join(format!("{name}.crt")),
            key: dir.join(format!("{name}.key")),
        }
    }
}

/// Makes the directory and those above it; a new one is the owner's alone.
pub(crate) fn create_dir(dir: &Path) -> Result<(), Error> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(Error::io("create", dir))
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    read_open(file, path)
}

/// Reads a file that only its owner may read.
pub(crate) fn read_private(path: &Path) -> Result<Vec<u8>, Error> {
    let file = File::open(path).map_err(Error::io("open", path))?;
    let mode = file.metadata().map_err(Error::io("look at", path))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    read_open(file, path)
}

fn read_open(file: File, path: &Path) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(Error::io("read", path))?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(Error::malformed(path, "it is too long"));
    }
    Ok(bytes)
}

/// Who may read a written file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Everyone,
    Owner,
}

/// Writes or replaces the file; whoever looks sees the old one or the new one, and the new one is
/// durable when this returns.
pub(crate) fn replace(path: &Path, bytes: &[u8], access: Access) -> Result<(), Error> {
    let temporary = write_beside(path, bytes, access)?;
    fs::rename(&temporary, path).map_err(Error::io("replace", path))?;
    sync_parent(path)
}

/// Writes the file if there is none, and says whether it did.
pub(crate) fn create(path: &Path, bytes: &[u8], access: Access) -> Result<bool, Error> {
    let temporary = write_beside(path, bytes, access)?;
    let linked = fs::hard_link(&temporary, path);
    fs::remove_file(&temporary).map_err(Error::io("remove", &temporary))?;
    match linked {
        Ok(()) => sync_parent(path).map(|()| true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::io("create", path)(error)),
    }
}

fn write_beside(path: &Path, bytes: &[u8], access: Access) -> Result<PathBuf, Error> {
    let mut name = path.as_os_str().to_owned();
    // The process's number: two that start at once do not write into each other's file.
    name.push(format!(".{}.new", std::process::id()));
    let temporary = PathBuf::from(name);
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(Error::io("remove", &temporary)(error));
        }
        _ => {}
    }
    let mut file = OpenOptions::new()
        .create_new(true)
        .write(true)
        .mode(match access {
            Access::Everyone => 0o644,
            Access::Owner => 0o600,
        })
        .open(&temporary)
        .map_err(Error::io("create", &temporary))?;
    file.write_all(bytes)
        .and_then(|()| file.sync_all())
        .map_err(Error::io("write", &temporary))?;
    Ok(temporary)
}

fn sync_parent(path: &Path) -> Result<(), Error> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::io("sync", dir))
}
