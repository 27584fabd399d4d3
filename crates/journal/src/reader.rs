//! Streams durable records, from any thread, while the journal is written.
use crate::error::Error;
use crate::files::Dir;
use crate::format::{
    self, BLOCK_BYTES, FrameHeader, FrameKind, HEADER_BYTES, RECORD_HEADER_BYTES, SegmentHeader,
    TRAILER_BYTES,
};
use crate::journal::Shared;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

const READ_BYTES: usize = 256 << 10;

/// The frame that is being read.
#[derive(Debug)]
struct Frame {
    left: u32,
    body_end: u64,
    end: u64,
    digest: u32,
}

/// Hands out records in order. At the end of what is durable it says so and can be asked again: a
/// reader that follows the log is the same as one that replays it.
#[derive(Debug)]
pub struct Reader {
    dir: Dir,
    shared: Arc<Shared>,
    path: PathBuf,
    file: Option<File>,
    /// First index of the open segment.
    segment: u64,
    /// Offset of the next frame header or record.
    at: u64,
    frame: Option<Frame>,
    /// Digest of the frame before, if it was read.
    digest: Option<u32>,
    /// Index of the next record to hand out.
    next: u64,
    /// Index of the next record in the file; behind `next` while skipping.
    here: u64,
    /// Records up to this index were in the file when the buffer was filled.
    visible: u64,
    buffer: Vec<u8>,
    /// Offset of the buffer in the file.
    buffer_at: u64,
}

impl Reader {
    pub(crate) fn open(dir: Dir, shared: Arc<Shared>, after: u64) -> Result<Self, Error> {
        let visible = shared.durable();
        let first_index = shared.first_index();
        let out_of_range = |index| Error::OutOfRange {
            index,
            first_index,
            last_index: shared.durable(),
        };
        if after > visible {
            return Err(out_of_range(after.saturating_add(1)));
        }
        let next = after + 1;
        let segments = dir.list()?.segments;
        let segment = segments
            .get(
                segments
                    .partition_point(|first| *first <= next)
                    .wrapping_sub(1),
            )
            .copied()
            .filter(|_| next >= first_index)
            .ok_or_else(|| out_of_range(next))?;
        let mut reader = Self {
            path: dir.segment(segment),
            dir,
            shared,
            file: None,
            segment,
            at: BLOCK_BYTES,
            frame: None,
            digest: None,
            next,
            here: segment,
            visible,
            buffer: Vec::new(),
            buffer_at: 0,
        };
        reader.open_segment()?;
        Ok(reader)
    }

    /// Index of the record that [`Self::next_record`] hands out next.
    #[must_use]
    pub fn next_index(&self) -> u64 {
        self.next
    }

    /// The next record, or `None` at the end of what is durable now.
    ///
    /// # Errors
    /// [`Error::OutOfRange`] if retention deleted it meanwhile, [`Error::Corrupt`], [`Error::Io`].
    pub fn next_record(&mut self) -> Result<Option<(u64, &[u8])>, Error> {
        if self.next > self.visible {
            self.visible = self.shared.durable();
            if self.next > self.visible {
                return Ok(None);
            }
            // It was filled when the next frame was not there yet.
            self.buffer.clear();
        }
        loop {
            if self.frame.is_none() {
                self.open_frame()?;
                continue;
            }
            let start = self.record()?;
            if self.here > self.next {
                self.next = self.here;
                let length = format::record_length(&self.buffer[start..]) as usize;
                let payload = start + RECORD_HEADER_BYTES;
                return Ok(Some((
                    self.here - 1,
                    &self.buffer[payload..payload + length],
                )));
            }
        }
    }

    /// Checks the record at `at`, steps over it, and over the frame's end if it was the last.
    /// Where it starts in the buffer.
    fn record(&mut self) -> Result<usize, Error> {
        let mut frame = self.frame.take().expect("invariant: a frame is open");
        let limit = frame.body_end - self.at;
        let mut length = RECORD_HEADER_BYTES;
        if length as u64 <= limit {
            self.fetch(self.at, length)?;
            let stated = format::record_length(self.slice(self.at, length)?);
            length = format::record_bytes(stated) as usize;
        }
        if length as u64 > limit {
            return Err(self.corrupt("record does not fit its frame"));
        }
        // With the trailer, so that stepping over the end does not move the buffer.
        self.fetch(self.at, length + TRAILER_BYTES)?;
        let Some(crc) = format::check_record(self.slice(self.at, length)?, self.here) else {
            return Err(self.corrupt("record fails its checksum"));
        };
        let start = (self.at - self.buffer_at) as usize;
        frame.digest = format::digest(frame.digest, crc);
        frame.left -= 1;
        self.here += 1;
        self.at += length as u64;
        if frame.left > 0 {
            self.frame = Some(frame);
            return Ok(start);
        }
        let trailer = format::trailer(frame.digest);
        if self.at != frame.body_end || self.slice(self.at, TRAILER_BYTES)? != trailer {
            return Err(self.corrupt("frame trailer is wrong"));
        }
        self.digest = Some(frame.digest);
        self.at = frame.end;
        Ok(start)
    }

    /// Reads the frame header at `at`, or goes on in the next segment. Frames before the first record
    /// wanted are stepped over unread.
    fn open_frame(&mut self) -> Result<(), Error> {
        self.fetch(self.at, HEADER_BYTES)?;
        let header = self
            .slice(self.at, HEADER_BYTES)
            .ok()
            .and_then(|bytes| FrameHeader::decode(bytes, self.segment, self.at))
            .filter(|header| header.kind == FrameKind::Records);
        let Some(header) = header else {
            return self.next_segment();
        };
        if !header.follows(self.here, self.digest.unwrap_or(header.previous)) {
            return Err(self.corrupt("an intact frame header does not continue the log"));
        }
        let after = self.here + u64::from(header.count);
        let body_end = self.at + HEADER_BYTES as u64 + u64::from(header.body_bytes);
        let end = self.at + header.frame_bytes();
        if after <= self.next {
            self.fetch(body_end, TRAILER_BYTES)?;
            self.digest = Some(format::trailer_digest(self.slice(body_end, TRAILER_BYTES)?));
            self.here = after;
            self.at = end;
            return Ok(());
        }
        self.frame = Some(Frame {
            left: header.count,
            body_end,
            end,
            digest: header.previous,
        });
        self.at += HEADER_BYTES as u64;
        Ok(())
    }

    fn next_segment(&mut self) -> Result<(), Error> {
        let path = self.dir.segment(self.here);
        if self.here == self.segment || !path.exists() {
            if self.here < self.shared.first_index() {
                return Err(self.out_of_range());
            }
            return Err(self.corrupt("a durable record is missing"));
        }
        self.segment = self.here;
        self.path = path;
        self.open_segment()
    }

    fn open_segment(&mut self) -> Result<(), Error> {
        let file = match File::open(&self.path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(self.out_of_range()),
            other => other.map_err(|e| Error::io("open", &self.path, e))?,
        };
        self.file = Some(file);
        self.buffer.clear();
        self.at = 0;
        self.fetch(0, HEADER_BYTES)?;
        let header = SegmentHeader::decode(self.slice(0, HEADER_BYTES)?)
            .map_err(|detail| self.corrupt(detail))?;
        if header.first_index != self.segment {
            return Err(self.corrupt("segment header and file name disagree"));
        }
        if self.digest.is_some_and(|digest| digest != header.previous) {
            return Err(self.corrupt("segment does not continue the one before it"));
        }
        self.digest = Some(header.previous);
        self.at = BLOCK_BYTES;
        Ok(())
    }

    /// Has `length` bytes from `at` in the buffer, or as many as the file has.
    fn fetch(&mut self, at: u64, length: usize) -> Result<(), Error> {
        let end = self.buffer_at + self.buffer.len() as u64;
        if at >= self.buffer_at && at + length as u64 <= end {
            return Ok(());
        }
        let file = self
            .file
            .as_ref()
            .expect("invariant: a reader has an open segment");
        self.buffer.resize(length.max(READ_BYTES), 0);
        self.buffer_at = at;
        let mut filled = 0;
        while filled < self.buffer.len() {
            match file.read_at(&mut self.buffer[filled..], at + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Error::io("read", &self.path, e)),
            }
        }
        self.buffer.truncate(filled);
        Ok(())
    }

    fn slice(&self, at: u64, length: usize) -> Result<&[u8], Error> {
        let start = (at - self.buffer_at) as usize;
        self.buffer
            .get(start..start + length)
            .ok_or_else(|| Error::corrupt(&self.path, at, "segment is cut short"))
    }

    fn corrupt(&self, detail: &'static str) -> Error {
        Error::corrupt(&self.path, self.at, detail)
    }

    fn out_of_range(&self) -> Error {
        Error::OutOfRange {
            index: self.next,
            first_index: self.shared.first_index(),
            last_index: self.shared.durable(),
        }
    }
}
