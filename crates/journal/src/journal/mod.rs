//! The writer: records into a frame in memory, a frame into the segment, one sync for all of it.
use crate::config::{Config, Durability, RetainLog};
use crate::error::{AppendError, Error, is_no_space};
use crate::files::{Dir, RESERVED};
use crate::format::{self, BLOCK_BYTES, FrameKind, HEADER_BYTES};
use crate::reader::Reader;
use crate::recovery::{self, Recovery};
use crate::reserve::{Refusal, Reserve};
use crate::ring::Ring;
use crate::segment::{Segment, activate};
use crate::snapshot::Snapshots;
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

mod commit;

/// What readers and the snapshot handle see of the writer.
#[derive(Debug)]
pub(crate) struct Shared {
    first_index: AtomicU64,
    durable: AtomicU64,
}

impl Shared {
    /// First index in the log.
    pub fn first_index(&self) -> u64 {
        self.first_index.load(Ordering::Acquire)
    }

    /// Last index that may be acknowledged.
    pub fn durable(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }
}

/// What a commit made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Everything up to this index is durable.
    pub last_index: u64,
    /// Bytes that this call wrote; 0 if there was nothing to do.
    pub bytes: u64,
}

/// What retention deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retired {
    /// Number of snapshots.
    pub snapshots: u32,
    /// Number of segments.
    pub segments: u32,
}

/// The single writer of a directory. Dropping it drops what was appended and not committed.
#[derive(Debug)]
pub struct Journal {
    config: Config,
    dir: Dir,
    shared: Arc<Shared>,
    segments: Vec<u64>,
    current: Segment,
    /// Room for a frame header, then the records since the last commit.
    buffer: Vec<u8>,
    count: u32,
    /// Digest over `current.digest` and the records in the buffer.
    digest: u32,
    last_index: u64,
    /// The last record of the commit that is under way.
    begun: Option<u64>,
    ring: Option<Ring>,
    /// Nothing says yet that the last frame may have been acknowledged.
    unmarked: bool,
    reserve: Reserve,
    bad_snapshots: Vec<u64>,
    poison: Option<String>,
    /// Held, not used: the lock ends with it. Last, so that the helper thread has ended by then.
    _lock: File,
}

impl Journal {
    /// Opens or makes the journal in `config.dir`: newest good snapshot, then every record after it
    /// is validated, a torn tail is cut and reported.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Config`], [`Error::Io`]; [`Error::Corrupt`] and
    /// [`Error::LogMissing`] leave the directory as it was.
    pub fn open(config: Config) -> Result<(Self, Recovery), Error> {
        config.validate()?;
        let dir = Dir::create(&config.dir, config.durability)?;
        let lock = dir.lock()?;
        let mut recovered = recovery::recover(&dir, &config)?;
        recovered.current.go_direct(&dir);
        let recovery = recovered.recovery;
        let shared = Arc::new(Shared {
            first_index: AtomicU64::new(recovery.first_index),
            durable: AtomicU64::new(recovery.last_index),
        });
        let reserve = Reserve::start(dir.clone(), config.segment_bytes)
            .map_err(|e| Error::io("start reserve thread for", &dir.path, e))?;
        let journal = Self {
            dir,
            _lock: lock,
            shared,
            segments: recovered.segments,
            buffer: vec![0; HEADER_BYTES],
            count: 0,
            digest: recovered.current.digest,
            last_index: recovery.last_index,
            begun: None,
            ring: match config.durability {
                Durability::Fsync => Ring::new(),
                Durability::Memory => None,
            },
            unmarked: false,
            current: recovered.current,
            reserve,
            bad_snapshots: recovery.bad_snapshots.iter().map(|bad| bad.index).collect(),
            poison: None,
            config,
        };
        Ok((journal, recovery))
    }

    /// Takes a record into memory and gives it the next index. It is not durable, and must not be
    /// acknowledged, before [`Self::commit`] returned. At the end of a segment this writes and syncs
    /// what was appended before.
    ///
    /// # Errors
    /// [`AppendError::TooLarge`] and [`AppendError::Full`] change nothing; after
    /// [`AppendError::Failed`] with [`Error::Poisoned`] or [`Error::Io`] open the journal again.
    pub fn append(&mut self, payload: &[u8]) -> Result<u64, AppendError> {
        self.append_parts(&[payload])
    }

    /// As [`Self::append`], with a payload that lies in several parts.
    ///
    /// # Errors
    /// As [`Self::append`].
    pub fn append_parts(&mut self, parts: &[&[u8]]) -> Result<u64, AppendError> {
        self.check()?;
        let limit = self.config.max_record_bytes;
        let bytes = parts.iter().map(|part| part.len()).sum();
        if bytes > limit as usize {
            return Err(AppendError::TooLarge { bytes, limit });
        }
        let bytes = format::record_bytes(bytes as u32);
        if !self.fits(bytes) {
            self.start_segment()?;
            assert!(
                self.fits(bytes),
                "invariant: an empty segment holds the largest record"
            );
        }
        let index = self
            .last_index
            .checked_add(1)
            .expect("invariant: 2^64 records never happen");
        let crc = format::push_record(&mut self.buffer, index, parts);
        self.digest = format::digest(self.digest, crc);
        self.count += 1;
        self.last_index = index;
        Ok(index)
    }

    /// Whether a record of that many bytes fits the current segment, with the trailer and the mark.
    fn fits(&self, record: u64) -> bool {
        let body = (self.buffer.len() - HEADER_BYTES) as u64 + record;
        self.current.end + format::frame_bytes(body) + HEADER_BYTES as u64 <= self.current.bytes
    }

    /// Goes on in the reserved segment, after committing what belongs to the current one.
    fn start_segment(&mut self) -> Result<(), AppendError> {
        let file = match self.reserve.take() {
            Ok(file) => file,
            Err(Refusal::NoSpace) => return Err(AppendError::Full),
            Err(Refusal::Fault(e)) => {
                let path = self.dir.path.join(RESERVED);
                return Err(Error::io("reserve", &path, e).into());
            }
        };
        self.commit_unmarked()?;
        let first_index = self.last_index + 1;
        let bytes = self.config.segment_bytes;
        match activate(&self.dir, &file, first_index, self.current.digest, bytes) {
            Ok(()) => {}
            // A directory can need a block for the new name.
            Err(Error::Io { source, .. })
                if is_no_space(&source) && self.dir.path.join(RESERVED).exists() =>
            {
                self.reserve.put_back(file);
                return Err(AppendError::Full);
            }
            Err(error) => {
                self.poison = Some(error.to_string());
                return Err(error.into());
            }
        }
        let sealed = self
            .current
            .mark(FrameKind::Sealed, first_index)
            .and_then(|()| self.dir.sync_data(&self.current.file));
        sealed.map_err(|e| self.poisoned("seal", e))?;
        self.unmarked = false;
        let digest = self.current.digest;
        self.current = Segment {
            file,
            blocks: None,
            first_index,
            bytes,
            end: BLOCK_BYTES,
            digest,
        };
        self.current.go_direct(&self.dir);
        // An empty segment (made with a smaller size) is replaced by one of the same name.
        if self.segments.last() != Some(&first_index) {
            self.segments.push(first_index);
        }
        self.reserve.request();
        Ok(())
    }

    fn poisoned(&mut self, action: &'static str, source: io::Error) -> Error {
        let path = self.dir.segment(self.current.first_index);
        self.poison = Some(format!("{action} {}: {source}", path.display()));
        Error::io(action, &path, source)
    }

    fn check(&self) -> Result<(), Error> {
        match &self.poison {
            Some(cause) => Err(Error::Poisoned {
                cause: cause.clone(),
            }),
            None => Ok(()),
        }
    }

    /// Bytes that can be appended for sure: any appends whose [`record_bytes`](crate::record_bytes)
    /// plus [`FRAME_BYTES`](crate::FRAME_BYTES) for each commit among them stay within it succeed.
    #[must_use]
    pub fn room(&self) -> u64 {
        if self.poison.is_some() {
            return 0;
        }
        let mark = HEADER_BYTES as u64;
        let body = (self.buffer.len() - HEADER_BYTES) as u64;
        let used = self.current.end + format::frame_bytes(body) + mark;
        let here = self.current.bytes.saturating_sub(used);
        if !self.reserve.is_ready() {
            return here;
        }
        // The end of the current segment may be too short for the record that comes there.
        let largest = format::record_bytes(self.config.max_record_bytes);
        let next = self.config.segment_bytes - BLOCK_BYTES - format::frame_bytes(0) - mark;
        here.max(next + here.saturating_sub(largest))
    }

    /// After [`AppendError::Full`]: tries again to make the next segment and waits for the answer,
    /// which comes fast while the disk is full. Does nothing when there is nothing to retry.
    ///
    /// # Errors
    /// [`AppendError::Full`] if there is still no space, else [`AppendError::Failed`].
    pub fn try_reserve(&mut self) -> Result<(), AppendError> {
        self.check()?;
        self.reserve.retry().map_err(|refusal| match refusal {
            Refusal::NoSpace => AppendError::Full,
            Refusal::Fault(e) => Error::io("reserve", &self.dir.path.join(RESERVED), e).into(),
        })
    }

    /// Brings every file of the journal to the disk, also in [`crate::Durability::Memory`]: for an
    /// orderly end, and for a log that is to be durable from now on.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Poisoned`].
    pub fn sync_all(&mut self) -> Result<(), Error> {
        self.finish_commit()?;
        self.check()?;
        self.dir.sync_everything()
    }

    /// Whether the next segment could not be made: once the current one is full, appends will be
    /// [`AppendError::Full`].
    #[must_use]
    pub fn is_short(&self) -> bool {
        self.reserve.has_failed()
    }

    /// Reads the durable records after index `after` (0 for all of them), in order.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if `after + 1` is before the log or more than one past its end.
    pub fn replay(&self, after: u64) -> Result<Reader, Error> {
        Reader::open(self.dir.clone(), Arc::clone(&self.shared), after)
    }

    /// A handle that writes snapshots from any thread.
    #[must_use]
    pub fn snapshots(&self) -> Snapshots {
        Snapshots {
            dir: self.dir.clone(),
            shared: Arc::clone(&self.shared),
            pace: None,
        }
    }

    /// First index in the log; one more than [`Self::last_index`] if the log is empty.
    #[must_use]
    pub fn first_index(&self) -> u64 {
        self.shared.first_index()
    }

    /// Index of the last record appended, durable or not.
    #[must_use]
    pub fn last_index(&self) -> u64 {
        self.last_index
    }

    /// Last index that is durable.
    #[must_use]
    pub fn durable_index(&self) -> u64 {
        self.shared.durable()
    }

    /// Deletes the snapshots beyond the newest `retain_snapshots` and, if so configured, the segments
    /// that end before the oldest kept one. Damaged snapshots found on start do not count as kept.
    ///
    /// # Errors
    /// [`Error::Io`]; calling again goes on where it stopped.
    pub fn retire(&mut self) -> Result<Retired, Error> {
        self.check()?;
        let mut retired = Retired::default();
        let mut snapshots = self.dir.list()?.snapshots;
        snapshots.retain(|index| !self.bad_snapshots.contains(index));
        let kept_from = snapshots
            .len()
            .saturating_sub(self.config.retain_snapshots as usize);
        let Some(&oldest) = snapshots.get(kept_from) else {
            return Ok(retired);
        };
        if self.config.retain_log == RetainLog::SinceOldestSnapshot {
            while self.segments.get(1).is_some_and(|next| *next <= oldest + 1) {
                // Said before it is done: a reader that looks at the old value finds no file and
                // then sees the new one.
                self.shared
                    .first_index
                    .store(self.segments[1], Ordering::Release);
                self.dir.remove(&self.dir.segment(self.segments[0]))?;
                // One at a time and in order: a power cut never leaves a hole.
                self.dir.sync()?;
                self.segments.remove(0);
                retired.segments += 1;
            }
        }
        for &index in &snapshots[..kept_from] {
            self.dir.remove(&self.dir.snapshot(index))?;
            retired.snapshots += 1;
        }
        self.bad_snapshots.retain(|&index| {
            let keep = index >= oldest;
            keep || self.dir.remove(&self.dir.snapshot(index)).is_err()
        });
        self.dir.sync()?;
        Ok(retired)
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        if self.mark().is_ok() {
            // The mark of the last commit: after a clean stop no power cut can put it in doubt.
            let _ = self.dir.sync_data(&self.current.file);
        }
    }
}

/// A journal and its handles may move between threads.
const _: () = {
    const fn is_send<T: Send>() {}
    is_send::<Journal>();
    is_send::<Snapshots>();
    is_send::<Reader>();
};
