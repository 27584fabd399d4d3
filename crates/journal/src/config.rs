//! What a journal is told before it opens.
use crate::error::Error;
use crate::format::{self, BLOCK_BYTES};
use std::path::PathBuf;

/// Largest segment: one segment is read into memory while it is validated on start.
pub(crate) const SEGMENT_BYTES_MAX: u64 = 1 << 30;

/// What a commit waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// `fdatasync` returned: survives a power cut, as far as the device tells the truth.
    Fsync,
    /// The kernel has the bytes: survives the end of the process, not of the machine. For tests and
    /// for measuring; must be printed beside every number it produced.
    Memory,
}

impl Durability {
    /// The word that stands beside every measured number.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fsync => "fsync",
            Self::Memory => "memory",
        }
    }
}

/// Which part of the log [`crate::Journal::retire`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetainLog {
    /// Everything since index 1.
    All,
    /// What the oldest kept snapshot needs; whole segments before it go.
    SinceOldestSnapshot,
}

/// Where a journal lives and what it may use.
#[derive(Debug, Clone)]
pub struct Config {
    /// Directory of the journal; made when it is not there. Nothing else may live in it.
    pub dir: PathBuf,
    /// Bytes of each new segment, a multiple of 4096, at most 1 GiB. Two segments of disk space are
    /// held from the first moment on: the current one and the next.
    pub segment_bytes: u64,
    /// Largest payload of one record in bytes.
    pub max_record_bytes: u32,
    /// What a commit waits for.
    pub durability: Durability,
    /// How many of the newest snapshots [`crate::Journal::retire`] keeps, at least 1.
    pub retain_snapshots: u32,
    /// Which part of the log [`crate::Journal::retire`] keeps.
    pub retain_log: RetainLog,
}

impl Config {
    /// The defaults: 64 MiB segments, 1 MiB records, `fdatasync`, two snapshots, all of the log.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            segment_bytes: 64 << 20,
            max_record_bytes: 1 << 20,
            durability: Durability::Fsync,
            retain_snapshots: 2,
            retain_log: RetainLog::All,
        }
    }

    /// Whether the numbers fit together.
    ///
    /// # Errors
    /// [`Error::Config`] names the first rule that does not hold.
    pub fn validate(&self) -> Result<(), Error> {
        if !self.segment_bytes.is_multiple_of(BLOCK_BYTES) {
            return Err(Error::Config("segment_bytes is not a multiple of 4096"));
        }
        if self.segment_bytes > SEGMENT_BYTES_MAX {
            return Err(Error::Config("segment_bytes is above 1 GiB"));
        }
        if format::segment_needed(self.max_record_bytes) > self.segment_bytes {
            return Err(Error::Config(
                "a record of max_record_bytes does not fit a segment",
            ));
        }
        if self.retain_snapshots == 0 {
            return Err(Error::Config("retain_snapshots is zero"));
        }
        Ok(())
    }
}
