//! The system calls: lock, zero-filled files, names that survive a power cut.
use crate::config::Durability;
use crate::error::Error;
use crate::format;
use rustix::fs::{FallocateFlags, FlockOperation, OFlags};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The next segment, on its way to being zero-filled. Never trusted: filled anew on each start.
pub(crate) const RESERVED: &str = "next.reserved";
const LOCK: &str = "lock";
const ZEROS: usize = 1 << 20;
/// Direct writes want place, length and memory to be multiples of the disk's block. Segments are.
pub(crate) const ALIGNMENT: usize = format::BLOCK_BYTES as usize;
/// Dirty bytes after which a zero fill syncs, so that a commit never waits for all of it at once.
const FILL_SYNC_BYTES: u64 = 8 << 20;

/// A journal's directory.
#[derive(Debug, Clone)]
pub(crate) struct Dir {
    pub path: PathBuf,
    pub durability: Durability,
}

/// What lies in the directory, in ascending order.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub segments: Vec<u64>,
    pub snapshots: Vec<u64>,
    pub unfinished: Vec<PathBuf>,
}

impl Dir {
    pub fn create(path: &Path, durability: Durability) -> Result<Self, Error> {
        let dir = Self {
            path: path.to_owned(),
            durability,
        };
        if path.is_dir() {
            return Ok(dir);
        }
        fs::create_dir_all(path).map_err(|e| Error::io("create directory", path, e))?;
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            Self {
                path: parent.to_owned(),
                durability,
            }
            .sync()?;
        }
        Ok(dir)
    }

    /// Takes the exclusive lock; it lasts as long as the file stays open.
    pub fn lock(&self) -> Result<File, Error> {
        let path = self.path.join(LOCK);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(|e| Error::io("open", &path, e))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(Error::Locked {
                dir: self.path.clone(),
            }),
            Err(e) => Err(Error::io("lock", &path, e.into())),
        }
    }

    pub fn list(&self) -> Result<Listing, Error> {
        let mut listing = Listing::default();
        let entries = fs::read_dir(&self.path).map_err(|e| Error::io("list", &self.path, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| Error::io("list", &self.path, e))?;
            let name = entry.file_name();
            let Some(name) = name.to_str() else { continue };
            if let Some(index) = format::index_of(name, "segment") {
                listing.segments.push(index);
            } else if let Some(index) = format::index_of(name, "snapshot") {
                listing.snapshots.push(index);
            } else if name.ends_with(".unfinished") {
                listing.unfinished.push(entry.path());
            }
        }
        listing.segments.sort_unstable();
        listing.snapshots.sort_unstable();
        Ok(listing)
    }

    pub fn segment(&self, first_index: u64) -> PathBuf {
        self.path.join(format::segment_name(first_index))
    }

    pub fn snapshot(&self, index: u64) -> PathBuf {
        self.path.join(format::snapshot_name(index))
    }

    /// Makes creations, renames and removals in the directory durable.
    pub fn sync(&self) -> Result<(), Error> {
        if self.durability == Durability::Memory {
            return Ok(());
        }
        File::open(&self.path)
            .and_then(|dir| dir.sync_all())
            .map_err(|e| Error::io("sync directory", &self.path, e))
    }

    /// Makes all segments, snapshots and their names durable, whatever the mode.
    pub fn sync_everything(&self) -> Result<(), Error> {
        let listing = self.list()?;
        let segments = listing.segments.iter().map(|first| self.segment(*first));
        let snapshots = listing.snapshots.iter().map(|index| self.snapshot(*index));
        for path in segments.chain(snapshots).chain([self.path.clone()]) {
            File::open(&path)
                .and_then(|file| file.sync_all())
                .map_err(|e| Error::io("sync", &path, e))?;
        }
        Ok(())
    }

    /// Makes the bytes of a file durable (`fdatasync`).
    pub fn sync_data(&self, file: &File) -> io::Result<()> {
        match self.durability {
            Durability::Fsync => file.sync_data(),
            Durability::Memory => Ok(()),
        }
    }

    pub fn remove(&self, path: &Path) -> Result<(), Error> {
        match fs::remove_file(path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(Error::io("remove", path, e)),
            _ => Ok(()),
        }
    }

    /// Makes `next.reserved` a file of exactly that many zeros, durable, with its space allocated
    /// and written: no later write into it can find the disk full or has metadata to flush.
    /// Gives the space back when it does not work out.
    pub fn reserve(&self, bytes: u64, stop: &AtomicBool) -> io::Result<File> {
        let path = self.path.join(RESERVED);
        let reserve = || {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&path)?;
            file.set_len(bytes)?;
            // Finds a full disk before anything is written. Not every file system has it.
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
                Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {}
                Err(e) => return Err(e.into()),
            }
            self.fill_reserved(&file, bytes, stop)?;
            if self.durability == Durability::Fsync {
                file.sync_all()?;
                File::open(&self.path)?.sync_all()?;
            }
            Ok(file)
        };
        reserve().inspect_err(|_| {
            // The error that matters is the one above.
            let _ = fs::remove_file(&path);
        })
    }

    /// Writes zeros over `from..to`.
    pub fn fill_zeros(&self, file: &File, from: u64, to: u64, stop: &AtomicBool) -> io::Result<()> {
        let wanted = to.saturating_sub(from).min(ZEROS as u64) as usize;
        let mut memory = Vec::new();
        let zeros = aligned(&mut memory, wanted);
        let zeros = &memory[zeros];
        let (mut at, mut dirty) = (from, 0);
        while at < to {
            if stop.load(Ordering::Relaxed) {
                return Err(io::Error::from(io::ErrorKind::Interrupted));
            }
            let length = (to - at).min(ZEROS as u64);
            file.write_all_at(&zeros[..length as usize], at)?;
            at += length;
            dirty += length;
            if dirty >= FILL_SYNC_BYTES {
                self.sync_data(file)?;
                dirty = 0;
            }
        }
        Ok(())
    }

    /// Fills the reserved file, past the page cache where the file system lets it: what is there only to
    /// be overwritten need not be copied into memory first, nor drive out of it what is read.
    fn fill_reserved(&self, file: &File, bytes: u64, stop: &AtomicBool) -> io::Result<()> {
        if self.durability == Durability::Fsync {
            let direct = OpenOptions::new()
                .write(true)
                .custom_flags(OFlags::DIRECT.bits() as i32)
                .open(self.path.join(RESERVED))
                .and_then(|direct| self.fill_zeros(&direct, 0, bytes, stop));
            match direct {
                // A file system without direct writes, or a disk with larger blocks.
                Err(e) if e.kind() == io::ErrorKind::InvalidInput => {}
                done => return done,
            }
        }
        self.fill_zeros(file, 0, bytes, stop)
    }
}

/// Where so many bytes lie in `memory`, which grows to them, as direct writes want them. What stands in them
/// is from before.
pub(crate) fn aligned(memory: &mut Vec<u8>, bytes: usize) -> Range<usize> {
    if memory.len() < bytes + ALIGNMENT {
        *memory = vec![0; bytes + ALIGNMENT];
    }
    let start = memory.as_ptr().align_offset(ALIGNMENT);
    start..start + bytes
}

/// Fills `buffer` with the whole file.
pub(crate) fn read_whole(file: &File, buffer: &mut Vec<u8>) -> io::Result<()> {
    let length = file.metadata()?.len();
    if length > crate::config::SEGMENT_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "no segment is that large",
        ));
    }
    buffer.clear();
    buffer.resize(length as usize, 0);
    file.read_exact_at(buffer, 0)
}
