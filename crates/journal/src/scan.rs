//! Validates one segment's bytes: where the good records end, and whether what follows was torn by
//! a power cut (never acknowledged, may be cut) or damaged (must not be touched).
//!
//! Pure: any bytes in, a report out, no panic. `docs/decisions/0003-journal-format.md` has the
//! reasons for each rule.
use crate::format::{
    self, BLOCK_BYTES, FrameHeader, FrameKind, HEADER_BYTES, RECORD_HEADER_BYTES, SECTOR_BYTES,
    SegmentHeader, TRAILER_BYTES, is_zero,
};

/// How a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// Good frames, then zeros.
    Clean,
    /// The last write did not arrive whole; nothing from `offset` on was ever acknowledged.
    Torn {
        /// First byte that is cut.
        offset: u64,
        /// Bytes from there to the last byte that is not zero.
        bytes: u64,
    },
    /// Bytes that had been acknowledged, or that cannot come from a torn write, are wrong.
    Corrupt {
        /// Where the damaged header or record starts.
        offset: u64,
        /// What is wrong there.
        detail: &'static str,
    },
}

/// Good records at the start of a torn frame: worth keeping though never acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Salvage {
    /// Offset of the torn frame.
    pub frame: u64,
    /// Number of good records.
    pub count: u32,
    /// Offset just after the last of them.
    pub end: u64,
}

/// What [`scan`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScanReport {
    /// The segment's header; `None` if it is damaged (then `tail` says so).
    pub header: Option<SegmentHeader>,
    /// Index of the last record of the last good frame; the header's first index less one if none.
    pub last_index: u64,
    /// Number of good frames.
    pub frames: u64,
    /// Offset of the last good frame.
    pub last_frame: Option<u64>,
    /// Offset after the last good frame, where the next one goes.
    pub end: u64,
    /// Digest of the last good frame.
    pub digest: u32,
    /// A mark says that everything up to `last_index` had been acknowledged.
    pub marked: bool,
    /// The mark says also that there is a next segment.
    pub sealed: bool,
    /// How the segment ends.
    pub tail: Tail,
    /// Good records of a torn last frame.
    pub salvage: Option<Salvage>,
}

/// Validates the bytes of one segment. A file shorter than its header states counts as if zeros
/// followed.
#[must_use]
pub fn scan(bytes: &[u8]) -> ScanReport {
    let mut report = ScanReport {
        header: None,
        last_index: 0,
        frames: 0,
        last_frame: None,
        end: BLOCK_BYTES,
        digest: 0,
        marked: false,
        sealed: false,
        tail: Tail::Clean,
        salvage: None,
    };
    let header = match SegmentHeader::decode(bytes) {
        Ok(header) => header,
        Err(detail) => {
            report.tail = Tail::Corrupt { offset: 0, detail };
            return report;
        }
    };
    report.header = Some(header);
    report.last_index = header.first_index - 1;
    report.digest = header.previous;
    let Some(rest) = bytes.get(HEADER_BYTES..BLOCK_BYTES as usize) else {
        report.tail = Tail::Corrupt {
            offset: 0,
            detail: "the segment header's block is cut",
        };
        return report;
    };
    if !is_zero(rest) {
        report.tail = Tail::Corrupt {
            offset: HEADER_BYTES as u64,
            detail: "bytes that must be zero after the segment header are not",
        };
        return report;
    }
    // Bytes past the stated end are not part of the segment; only damage puts any there.
    let stated = usize::try_from(header.segment_bytes).unwrap_or(usize::MAX);
    if bytes.len() > stated && !is_zero(&bytes[stated..]) {
        report.tail = Tail::Corrupt {
            offset: header.segment_bytes,
            detail: "the file goes on after the end that its header states",
        };
        return report;
    }
    let bytes = &bytes[..bytes.len().min(stated)];
    Scanner {
        bytes,
        segment: header.first_index,
        stated: header.segment_bytes,
        report,
    }
    .run()
}

struct Scanner<'a> {
    bytes: &'a [u8],
    segment: u64,
    stated: u64,
    report: ScanReport,
}

/// The first wrong place of a frame's body.
struct Bad {
    offset: usize,
    good: u32,
    detail: &'static str,
}

impl Scanner<'_> {
    fn run(mut self) -> ScanReport {
        while self.frame() {}
        self.report
    }

    /// Takes the next frame; false at the end of the log.
    fn frame(&mut self) -> bool {
        let at = self.report.end as usize;
        if at >= self.bytes.len() {
            return false;
        }
        let next = self.report.last_index + 1;
        let Some(header) = self.header_at(at) else {
            self.report.tail = self.without_header(at, next);
            return false;
        };
        if !header.follows(next, self.report.digest) {
            self.corrupt(at, "an intact frame header does not continue the log");
            return false;
        }
        if header.kind != FrameKind::Records {
            self.report.marked = true;
            self.report.sealed = header.kind == FrameKind::Sealed;
            self.after_mark(at + HEADER_BYTES, next);
            return false;
        }
        if self.report.end + header.frame_bytes() + HEADER_BYTES as u64 > self.stated
            || next.checked_add(u64::from(header.count)).is_none()
        {
            self.corrupt(at, "an intact frame header states an impossible size");
            return false;
        }
        match self.body(at, &header) {
            Ok(digest) => {
                self.report.last_index += u64::from(header.count);
                self.report.frames += 1;
                self.report.last_frame = Some(self.report.end);
                self.report.end += header.frame_bytes();
                self.report.digest = digest;
                true
            }
            Err(bad) => {
                self.damaged_body(at, &header, &bad);
                false
            }
        }
    }

    fn header_at(&self, at: usize) -> Option<FrameHeader> {
        FrameHeader::decode(self.bytes.get(at..)?, self.segment, at as u64)
    }

    fn corrupt(&mut self, at: usize, detail: &'static str) {
        self.report.tail = Tail::Corrupt {
            offset: at as u64,
            detail,
        };
    }

    fn torn(&self, at: usize) -> Tail {
        let bytes = self.bytes[at..]
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        Tail::Torn {
            offset: at as u64,
            bytes: bytes as u64,
        }
    }

    /// No frame header at `at`: the end of the log, a torn frame, or a damaged one.
    fn without_header(&self, at: usize, next: u64) -> Tail {
        let rest = &self.bytes[at..];
        if is_zero(rest) {
            return Tail::Clean;
        }
        if self.acknowledged_later(at, next) {
            return Tail::Corrupt {
                offset: at as u64,
                detail: "frame header fails its checksum and a later frame was acknowledged",
            };
        }
        // The header's sector was never written: the frame is torn whatever of it arrived.
        let sector_end = (at + 1)
            .next_multiple_of(SECTOR_BYTES)
            .min(self.bytes.len());
        if !is_zero(&self.bytes[at..sector_end]) && self.has_record(at + HEADER_BYTES, next) {
            return Tail::Corrupt {
                offset: at as u64,
                detail: "frame header fails its checksum but its records are intact",
            };
        }
        self.torn(at)
    }

    /// The log ends with a mark; what follows can only be left over from a torn frame.
    fn after_mark(&mut self, at: usize, next: u64) {
        let Some(found) = self
            .bytes
            .get(at..)
            .and_then(|rest| rest.iter().position(|b| *b != 0))
        else {
            return;
        };
        if self.report.sealed || self.acknowledged_later(at - HEADER_BYTES, next) {
            self.corrupt(
                at + found,
                "bytes that must be zero after the last frame are not",
            );
        } else {
            self.report.tail = self.torn(at + found);
        }
    }

    /// Checks every record of a frame and its trailer; the frame's digest.
    fn body(&self, at: usize, header: &FrameHeader) -> Result<u32, Bad> {
        let mut offset = at + HEADER_BYTES;
        let body_end = offset + header.body_bytes as usize;
        let mut digest = header.previous;
        for good in 0..header.count {
            let bad = Bad {
                offset,
                good,
                detail: "record fails its checksum",
            };
            let Some(body) = self.bytes.get(offset..body_end.min(self.bytes.len())) else {
                return Err(bad);
            };
            let Some(crc) = format::check_record(body, header.first_index + u64::from(good)) else {
                return Err(bad);
            };
            digest = format::digest(digest, crc);
            offset += format::record_bytes(format::record_length(body)) as usize;
        }
        let good = header.count;
        if offset != body_end {
            return Err(Bad {
                offset,
                good,
                detail: "records do not fill their frame",
            });
        }
        let trailer = format::trailer(digest);
        if self.bytes.get(offset..offset + TRAILER_BYTES) != Some(&trailer) {
            return Err(Bad {
                offset,
                good,
                detail: "frame trailer is wrong",
            });
        }
        offset += TRAILER_BYTES;
        let end = (at + header.frame_bytes() as usize).min(self.bytes.len());
        if !is_zero(&self.bytes[offset..end]) {
            return Err(Bad {
                offset,
                good,
                detail: "bytes after a frame's trailer are not zero",
            });
        }
        Ok(digest)
    }

    /// A frame with a good header and something wrong in it.
    fn damaged_body(&mut self, at: usize, header: &FrameHeader, bad: &Bad) {
        let end = at + HEADER_BYTES + header.body_bytes as usize + TRAILER_BYTES;
        if self.acknowledged_later(at, header.first_index) || !self.misses_a_write(bad.offset, end)
        {
            self.corrupt(bad.offset, bad.detail);
            return;
        }
        self.report.tail = self.torn(bad.offset);
        if bad.good > 0 {
            self.report.salvage = Some(Salvage {
                frame: at as u64,
                count: bad.good,
                end: bad.offset as u64,
            });
        }
    }

    /// Whether part of a frame that ends at `end` never arrived: its last byte is still zero, or a
    /// whole sector from that of `from` on is. Space is zero before it is written, so a frame of
    /// which every sector arrived has been damaged, not torn.
    fn misses_a_write(&self, from: usize, end: usize) -> bool {
        if from >= end {
            return false;
        }
        if self.bytes.get(end - 1).is_none_or(|byte| *byte == 0) {
            return true;
        }
        // What stands before `from` in its sector is good, but may be zeros that were written.
        (from - from % SECTOR_BYTES..end)
            .step_by(SECTOR_BYTES)
            .any(|sector| is_zero(&self.bytes[sector..(sector + SECTOR_BYTES).min(end)]))
    }

    /// Whether an intact frame header after `at` states that index `index` had been acknowledged.
    fn acknowledged_later(&self, at: usize, index: u64) -> bool {
        (at + HEADER_BYTES..self.bytes.len())
            .step_by(HEADER_BYTES)
            .filter_map(|later| self.header_at(later))
            .any(|later| later.acknowledged >= index)
    }

    /// Whether an intact record of index `next` or later starts anywhere after `from`.
    fn has_record(&self, from: usize, next: u64) -> bool {
        // Bounds the work on hostile bytes; honest ones need one checksum.
        let mut budget = self.bytes.len().saturating_mul(4);
        let most = (self.bytes.len() / RECORD_HEADER_BYTES) as u64;
        for at in (from..self.bytes.len()).step_by(8) {
            let Some(header) = self.bytes.get(at..at + RECORD_HEADER_BYTES) else {
                return false;
            };
            let index = format::record_index(header);
            if index < next || index - next > most {
                continue;
            }
            let length = format::record_bytes(format::record_length(header)) as usize;
            if at.saturating_add(length) > self.bytes.len() {
                continue;
            }
            if format::check_record(&self.bytes[at..], index).is_some() {
                return true;
            }
            budget = budget.saturating_sub(length);
            if budget == 0 {
                return false;
            }
        }
        false
    }
}
