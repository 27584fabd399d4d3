//! A part of a peer's state, kept beside the log while the rest is on its way: a process that is started
//! again asks for the rest only. Whether the whole is right is decided by its hash, as always.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use bytes::BytesMut;

use crate::snapshot::Descriptor;

/// Bytes before the state: how many it has in all, and their hash.
const HEAD: u64 = 8 + 16;

/// The file.
#[derive(Debug)]
pub(super) struct Part {
    path: PathBuf,
    file: File,
}

fn head(of: &Descriptor) -> Vec<u8> {
    let mut head = of.bytes.to_le_bytes().to_vec();
    head.extend_from_slice(&of.hash);
    head
}

impl Part {
    /// The file for this state, and what it holds of it already. What it held of another one is of no
    /// use any more. Without a file the state is kept in memory only.
    pub fn open(log: &Path, of: &Descriptor) -> (Option<Self>, BytesMut) {
        let path = log.with_extension("incoming");
        match Self::read(&path, of) {
            Ok((file, bytes)) => (Some(Self { path, file }), bytes),
            Err(error) => {
                tracing::info!(%error, "a peer's state is only kept in memory");
                (None, BytesMut::new())
            }
        }
    }

    fn read(path: &Path, of: &Descriptor) -> io::Result<(File, BytesMut)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.open(path)?;
        let head = head(of);
        let mut found = Vec::new();
        Read::by_ref(&mut file).take(HEAD).read_to_end(&mut found)?;
        let mut bytes = Vec::new();
        if found == head {
            Read::by_ref(&mut file)
                .take(of.bytes)
                .read_to_end(&mut bytes)?;
        }
        if found != head || bytes.len() as u64 == of.bytes {
            // Of another state; or whole, and not right, or it would not be here.
            bytes.clear();
            file.set_len(0)?;
            file.seek(SeekFrom::Start(0))?;
            file.write_all(&head)?;
        }
        Ok((file, BytesMut::from(bytes.as_slice())))
    }

    /// More of it has come.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn append(&mut self, chunk: &[u8]) -> io::Result<()> {
        let written = self.file.write_all(chunk);
        if written.is_err() {
            let _ = fs::remove_file(&self.path);
        }
        written
    }

    /// It is whole.
    pub fn remove(self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!(%error, path = %self.path.display(), "a file that is of no use is kept");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_come_is_there_after_a_restart_and_only_for_the_same_state() {
        let folder = tempfile::tempdir().expect("a folder");
        let log = folder.path().join("log");
        let state = b"the whole state of a peer".as_slice();
        let of = Descriptor::of(state, 7);
        let (part, bytes) = Part::open(&log, &of);
        assert!(bytes.is_empty());
        part.expect("a file").append(&state[..9]).expect("written");
        // Another peer's place, the same state.
        let (part, bytes) = Part::open(&log, &Descriptor { place: 9, ..of });
        assert_eq!(bytes, &state[..9]);
        part.expect("a file")
            .append(&state[9..12])
            .expect("written");
        let (_, bytes) = Part::open(&log, &of);
        assert_eq!(bytes, &state[..12]);
        let other = Descriptor::of(b"another state", 8);
        let (part, bytes) = Part::open(&log, &other);
        assert!(bytes.is_empty());
        // One that is whole and was not taken is not to be trusted.
        part.expect("a file")
            .append(b"another stat?")
            .expect("written");
        let (part, bytes) = Part::open(&log, &other);
        assert!(bytes.is_empty());
        part.expect("a file").remove();
        assert!(!log.with_extension("incoming").exists());
        // No place for it is no reason not to take the state.
        let (part, bytes) = Part::open(&folder.path().join("not/there/log"), &of);
        assert!(part.is_none() && bytes.is_empty());
    }
}
