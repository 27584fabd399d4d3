//! The segment that is being written, and how one begins.
use crate::config::Durability;
use crate::direct::Blocks;
use crate::error::Error;
use crate::files::{Dir, RESERVED};
use crate::format::{FrameHeader, FrameKind, SegmentHeader};
use crate::ring::{Ended, Ring};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Segment {
    pub file: File,
    /// Its end, past the page cache, where that is possible.
    pub blocks: Option<Blocks>,
    pub first_index: u64,
    pub bytes: u64,
    /// Offset of the next frame.
    pub end: u64,
    /// Digest of the last frame.
    pub digest: u32,
}

impl Segment {
    pub fn header(&self, kind: FrameKind, first_index: u64, acknowledged: u64) -> FrameHeader {
        let previous = self.digest;
        FrameHeader {
            kind,
            first_index,
            acknowledged,
            body_bytes: 0,
            count: 0,
            previous,
        }
    }

    /// Says that everything before `next` was acknowledged, where the next frame will go. Not synced:
    /// it only has to get there before somebody doubts the last frame.
    pub fn mark(&mut self, kind: FrameKind, next: u64) -> io::Result<()> {
        let mark = self
            .header(kind, next, next - 1)
            .encode(self.first_index, self.end);
        self.write(&mark, 0)
    }

    /// Writes at the end; the first `kept` bytes stay, and the next write goes behind them.
    pub fn write(&mut self, bytes: &[u8], kept: u64) -> io::Result<()> {
        if let Some(blocks) = &mut self.blocks {
            match blocks.write(bytes, self.end, kept) {
                // A disk with larger blocks: nothing was written.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => self.blocks = None,
                done => {
                    done?;
                    self.end += kept;
                    return Ok(());
                }
            }
        }
        self.file.write_all_at(bytes, self.end)?;
        self.end += kept;
        Ok(())
    }

    /// As [`Self::write`], and makes it durable, but only begins to; [`Self::end`] is to be called with what
    /// came of it before anything else is written. False where nothing was begun.
    pub fn begin(&mut self, ring: &mut Option<Ring>, bytes: &[u8], kept: u64) -> bool {
        let at = self.end;
        let begun = self
            .blocks
            .as_mut()
            .is_some_and(|blocks| blocks.begin(ring, bytes, at, kept));
        if begun {
            self.end += kept;
        }
        begun
    }

    /// A write that was begun has ended.
    pub fn end(&mut self, ended: Ended) -> io::Result<()> {
        self.blocks
            .as_mut()
            .expect("invariant: nothing takes them away while they write")
            .end(ended)
    }

    /// Goes on past the page cache, if its bytes are to reach the disk at all and the file system has that.
    pub fn go_direct(&mut self, dir: &Dir) {
        if dir.durability == Durability::Fsync {
            let path = dir.segment(self.first_index);
            self.blocks = Blocks::open(&self.file, &path, self.end);
        }
    }
}

/// Makes a reserved file the segment that starts at `first_index`. The old name stays if it fails.
pub(crate) fn activate(
    dir: &Dir,
    file: &File,
    first_index: u64,
    previous: u32,
    segment_bytes: u64,
) -> Result<(), Error> {
    let path = dir.segment(first_index);
    let header = SegmentHeader {
        first_index,
        segment_bytes,
        previous,
    }
    .encode();
    file.write_all_at(&header, 0)
        .and_then(|()| dir.sync_data(file))
        .and_then(|()| std::fs::rename(dir.path.join(RESERVED), &path))
        .map_err(|e| Error::io("start segment", &path, e))?;
    dir.sync()
}
