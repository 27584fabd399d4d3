//! Whether files are others than they were, without reading them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config;

/// What tells one state of a set of files from another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps(Vec<(PathBuf, Option<Stamp>)>);

/// Length, inode and the times of the last changes of contents and of the rest, in nanoseconds.
type Stamp = (u64, u64, i128, i128);

fn nanos(seconds: i64, nanos: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanos)
}

impl Stamps {
    pub fn of<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Self {
        let stamp = |path: &Path| {
            let metadata = fs::metadata(path).ok()?;
            Some((
                metadata.len(),
                metadata.ino(),
                nanos(metadata.mtime(), metadata.mtime_nsec()),
                nanos(metadata.ctime(), metadata.ctime_nsec()),
            ))
        };
        let stamps = paths.into_iter();
        Self(
            stamps
                .map(|path| (path.to_path_buf(), stamp(path)))
                .collect(),
        )
    }

    pub fn of_keys(tls: &config::Tls) -> Self {
        let files = tls.certificates.iter();
        Self::of(files.flat_map(|files| [files.chain.as_path(), files.key.as_path()]))
    }
}

/// Files, and those in folders in the order of their names; what begins with a dot is nobody's.
pub(super) fn files(paths: &[PathBuf]) -> io::Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for path in paths {
        if !path.is_dir() {
            all.push(path.clone());
            continue;
        }
        let mut within = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let is_hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            if !is_hidden && entry.path().is_file() {
                within.push(entry.path());
            }
        }
        within.sort();
        all.extend(within);
    }
    Ok(all)
}
