//! `recover.toml`: a recovery that is under way. It is there from the decision until all is written,
//! so that one that was cut off can be ended, and nothing starts in between.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::ClusterId;

/// What `everopen cluster recover --yes` has decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The replica that the new cluster begins with.
    pub node: u64,
    /// The cluster that has lost its majority.
    pub old: ClusterId,
    /// The new one.
    pub cluster: ClusterId,
    /// The log that it begins with.
    pub log: PathBuf,
}

const HEAD: &str = "\
# `everopen cluster recover` was not finished: run it again, with --yes.
";

impl Plan {
    /// Where it is in a data directory.
    pub fn path(dir: &Path) -> PathBuf {
        dir.join("recover.toml")
    }

    /// Reads it, if there is one.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        match path.try_exists() {
            Ok(true) => super::read(path).map(Some),
            Ok(false) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("look for {}", path.display())),
        }
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        super::write(path, HEAD, self).map(drop)
    }

    /// The recovery has ended.
    ///
    /// # Errors
    /// When the file can't be removed.
    pub fn remove(path: &Path) -> Result<()> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", path.display()))
            }
            _ => Ok(()),
        }
    }

    /// Refuses to start what a recovery was not finished with.
    ///
    /// # Errors
    /// When there is one.
    pub fn check_none(path: &Path) -> Result<()> {
        if Self::read(path)?.is_some() {
            bail!(
                "a recovery was not finished here ({}): run `everopen cluster recover` again, with --yes",
                path.display()
            );
        }
        Ok(())
    }
}
