//! Snapshot files: chunks of at most 1 MiB, each with its checksum, written aside and renamed.
//!
//! ```text
//! header (64)  magic u64 · crc32c u32 · version u32 · index u64 · zeros
//! chunk        length u32 · crc32c u32 (of index, number of the chunk, bytes) · bytes
//! end          length 0   · crc32c u32 (of index, number of chunks, total) · total u64
//! ```
use crate::error::Error;
use crate::files::Dir;
use crate::format::HEADER_BYTES;
use crate::journal::Shared;
use crate::pace::Pace;
use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MAGIC: u64 = u64::from_le_bytes(*b"EVOSNAP\x01");
const VERSION: u32 = 1;
const CHUNK_BYTES: usize = 1 << 20;

/// A good snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotRef {
    /// The state after the record of this index.
    pub index: u64,
    /// Bytes of the state.
    pub bytes: u64,
    /// The file.
    pub path: PathBuf,
}

impl SnapshotRef {
    /// Reads the state piece by piece; see [`SnapshotReader`].
    ///
    /// # Errors
    /// [`Error::Io`], or [`Error::Corrupt`] if the header is damaged.
    pub fn open(&self) -> Result<SnapshotReader, Error> {
        SnapshotReader::open(&self.path, self.index)
    }

    /// The whole state.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Corrupt`].
    pub fn read(&self) -> Result<Vec<u8>, Error> {
        let mut reader = self.open()?;
        // The size is only a hint until the end has been checked.
        let mut state = Vec::with_capacity(usize::try_from(self.bytes).unwrap_or(0));
        while reader.next_chunk()? {
            state.extend_from_slice(&reader.chunk);
        }
        Ok(state)
    }
}

/// A snapshot that was found damaged and passed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSnapshot {
    /// Index in its name.
    pub index: u64,
    /// The file; left where it is.
    pub file: PathBuf,
    /// Where the damaged chunk starts.
    pub offset: u64,
    /// What is wrong there.
    pub detail: &'static str,
}

/// Streams a snapshot and checks each chunk before any byte of it is handed out. A damaged one ends
/// in an error of kind `InvalidData`, never in a short read.
#[derive(Debug)]
pub struct SnapshotReader {
    file: BufReader<File>,
    path: PathBuf,
    index: u64,
    /// Offset of the next chunk.
    offset: u64,
    number: u64,
    total: u64,
    chunk: Vec<u8>,
    taken: usize,
    done: bool,
}

impl SnapshotReader {
    pub(crate) fn open(path: &Path, index: u64) -> Result<Self, Error> {
        let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
        let mut reader = Self {
            file: BufReader::new(file),
            path: path.to_owned(),
            index,
            offset: 0,
            number: 0,
            total: 0,
            chunk: Vec::new(),
            taken: 0,
            done: false,
        };
        let mut header = [0; HEADER_BYTES];
        reader.fill(&mut header)?;
        if header != encode_header(index) {
            return Err(Error::corrupt(path, 0, "snapshot header is wrong"));
        }
        reader.offset = HEADER_BYTES as u64;
        Ok(reader)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<(), Error> {
        self.file.read_exact(bytes).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => {
                Error::corrupt(&self.path, self.offset, "snapshot is cut short")
            }
            _ => Error::io("read", &self.path, e),
        })
    }

    /// Reads and checks the next chunk; false after the last.
    fn next_chunk(&mut self) -> Result<bool, Error> {
        self.chunk.clear();
        self.taken = 0;
        if self.done {
            return Ok(false);
        }
        let mut header = [0; 8];
        self.fill(&mut header)?;
        let length = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let crc = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        if length > CHUNK_BYTES {
            return Err(self.wrong("snapshot chunk states an impossible size"));
        }
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.resize(if length == 0 { 8 } else { length }, 0);
        self.fill(&mut chunk)?;
        if chunk_crc(self.index, self.number, &chunk) != crc {
            return Err(self.wrong("snapshot chunk fails its checksum"));
        }
        if length > 0 {
            self.total += length as u64;
            self.number += 1;
            self.offset += 8 + length as u64;
            self.chunk = chunk;
            return Ok(true);
        }
        if chunk != self.total.to_le_bytes() {
            return Err(self.wrong("snapshot states another size than it has"));
        }
        self.offset += 16;
        let mut more = [0];
        match self.file.read(&mut more) {
            Ok(0) => {}
            Ok(_) => return Err(self.wrong("snapshot goes on after its end")),
            Err(e) => return Err(Error::io("read", &self.path, e)),
        }
        self.done = true;
        Ok(false)
    }

    fn wrong(&self, detail: &'static str) -> Error {
        Error::corrupt(&self.path, self.offset, detail)
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.chunk.len() && !out.is_empty() {
            self.next_chunk().map_err(|error| match error {
                Error::Io { source, .. } => source,
                other => io::Error::new(io::ErrorKind::InvalidData, other),
            })?;
        }
        let length = out.len().min(self.chunk.len() - self.taken);
        out[..length].copy_from_slice(&self.chunk[self.taken..self.taken + length]);
        self.taken += length;
        Ok(length)
    }
}

fn encode_header(index: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC.to_le_bytes());
    header[12..16].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&index.to_le_bytes());
    let crc = crc32c::crc32c(&header[12..]);
    header[8..12].copy_from_slice(&crc.to_le_bytes());
    header
}

fn chunk_crc(index: u64, number: u64, bytes: &[u8]) -> u32 {
    let crc = crc32c::crc32c(&index.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c_append(crc, &number.to_le_bytes()), bytes)
}

/// Reads all of a snapshot and checks it.
pub(crate) fn verify(path: &Path, index: u64) -> Result<SnapshotRef, Error> {
    let mut reader = SnapshotReader::open(path, index)?;
    while reader.next_chunk()? {}
    Ok(SnapshotRef {
        index,
        bytes: reader.total,
        path: path.to_owned(),
    })
}

/// Cuts what is written into chunks.
struct ChunkWriter {
    file: File,
    index: u64,
    number: u64,
    total: u64,
    chunk: Vec<u8>,
    /// Held to a rate: with whether what was written is synced at each step.
    pace: Option<(Pace, bool)>,
}

impl ChunkWriter {
    fn put(&mut self, length: u32, body: &[u8]) -> io::Result<()> {
        let crc = chunk_crc(self.index, self.number, body);
        self.file.write_all(&length.to_le_bytes())?;
        self.file.write_all(&crc.to_le_bytes())?;
        self.file.write_all(body)
    }

    fn put_chunk(&mut self) -> io::Result<()> {
        let chunk = std::mem::take(&mut self.chunk);
        self.put(chunk.len() as u32, &chunk)?;
        if let Some((pace, syncs)) = &mut self.pace
            && pace.wrote(chunk.len() as u64)
        {
            if *syncs {
                self.file.sync_data()?;
            }
            pace.wait();
        }
        self.total += chunk.len() as u64;
        self.number += 1;
        self.chunk = chunk;
        self.chunk.clear();
        Ok(())
    }

    fn finish(mut self) -> io::Result<(File, u64)> {
        if !self.chunk.is_empty() {
            self.put_chunk()?;
        }
        self.put(0, &self.total.to_le_bytes())?;
        Ok((self.file, self.total))
    }
}

impl Write for ChunkWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(CHUNK_BYTES - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..length]);
        if self.chunk.len() == CHUNK_BYTES {
            self.put_chunk()?;
        }
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes snapshots, on any thread, while the journal goes on.
#[derive(Debug, Clone)]
pub struct Snapshots {
    pub(crate) dir: Dir,
    pub(crate) shared: Arc<Shared>,
    /// Bytes a second at most; none for as fast as it goes.
    pub(crate) pace: Option<u64>,
}

impl Snapshots {
    /// The same, writing at most so many bytes a second, in small steps: commits go on meanwhile.
    #[must_use]
    pub fn paced(mut self, bytes_per_second: u64) -> Self {
        self.pace = Some(bytes_per_second);
        self
    }

    /// Writes the state after record `index`; `state` gets a writer that cuts it into checked
    /// chunks. When this returns the snapshot is durable and will be found by the next start.
    ///
    /// # Errors
    /// [`Error::SnapshotAhead`] if record `index` is not durable yet; [`Error::Io`], also for what
    /// `state` returns. An unfinished file is removed.
    pub fn write_with(
        &self,
        index: u64,
        state: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<SnapshotRef, Error> {
        let durable = self.shared.durable();
        if index > durable {
            return Err(Error::SnapshotAhead { index, durable });
        }
        let path = self.dir.snapshot(index);
        let unfinished = path.with_extension("unfinished");
        let syncs = self.dir.durability == crate::Durability::Fsync;
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .open(&unfinished)?;
            file.write_all(&encode_header(index))?;
            let mut writer = ChunkWriter {
                file,
                index,
                number: 0,
                total: 0,
                chunk: Vec::new(),
                pace: self.pace.map(|rate| (Pace::new(rate), syncs)),
            };
            state(&mut writer)?;
            let (file, bytes) = writer.finish()?;
            if syncs {
                file.sync_all()?;
            }
            std::fs::rename(&unfinished, &path)?;
            Ok(bytes)
        };
        let bytes = write().map_err(|e| {
            // Gives the space back; the error that matters is the one above.
            let _ = std::fs::remove_file(&unfinished);
            Error::io("write snapshot", &path, e)
        })?;
        self.dir.sync()?;
        Ok(SnapshotRef { index, bytes, path })
    }

    /// As [`Self::write_with`], from bytes in memory.
    ///
    /// # Errors
    /// As [`Self::write_with`].
    pub fn write(&self, index: u64, state: &[u8]) -> Result<SnapshotRef, Error> {
        self.write_with(index, |out| out.write_all(state))
    }
}

/// The newest snapshot that is good, and the newer ones that are not.
pub(crate) fn newest_good(
    dir: &Dir,
    indexes: &[u64],
) -> Result<(Option<SnapshotRef>, Vec<BadSnapshot>), Error> {
    let mut bad = Vec::new();
    for &index in indexes.iter().rev() {
        match verify(&dir.snapshot(index), index) {
            Ok(good) => return Ok((Some(good), bad)),
            Err(Error::Corrupt {
                file,
                offset,
                detail,
            }) => {
                bad.push(BadSnapshot {
                    index,
                    file,
                    offset,
                    detail,
                });
            }
            Err(other) => return Err(other),
        }
    }
    Ok((None, bad))
}
