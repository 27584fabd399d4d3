//! What can be wrong with files of certificates and keys.

use std::io;
use std::path::{Path, PathBuf};

use crate::name::NameError;

/// Why an identity or an authority cannot be used. Each names the file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The operating system refused.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others than the owner may read a private key.
    #[error(
        "{} may be read or written by others (mode {mode:03o}); it must be the owner's alone (600)",
        path.display()
    )]
    Exposed {
        /// The key's file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// The file does not hold what it should.
    #[error("{}: {what}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The certificate is not one that peers of this cluster would take.
    #[error("{}: no certificate of the authority in {} that is valid now", cert.display(), ca.display())]
    NotTrusted {
        /// The certificate's file.
        cert: PathBuf,
        /// The authority's file.
        ca: PathBuf,
        /// What the check said.
        source: rustls::Error,
    },
    /// The certificate names no process.
    #[error("{} has no use in a cluster", cert.display())]
    Nameless {
        /// The certificate's file.
        cert: PathBuf,
        /// What is missing.
        source: NameError,
    },
    /// The key is not the one that the certificate is for.
    #[error("{} is not the key of {}", key.display(), cert.display())]
    Mismatch {
        /// The key's file.
        key: PathBuf,
        /// The certificate's file.
        cert: PathBuf,
    },
    /// An authority is there already and is not replaced.
    #[error("there is an authority in {}", dir.display())]
    Exists {
        /// Its directory.
        dir: PathBuf,
    },
    /// No key or certificate could be made.
    #[error("make a certificate")]
    Make(#[from] rcgen::Error),
}

impl Error {
    pub(crate) fn io<'a>(
        action: &'static str,
        path: &'a Path,
    ) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    pub(crate) fn malformed(path: &Path, what: impl ToString) -> Self {
        Self::Malformed {
            path: path.to_owned(),
            what: what.to_string(),
        }
    }
}
