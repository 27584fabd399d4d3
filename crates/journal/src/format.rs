//! The bytes: segment header, frame header, record, trailer. Everything little-endian.
//!
//! ```text
//! segment   header block (4096) · frame · frame · … · mark · zeros
//! frame     header (64) · record · record · … · trailer (8) · zeros up to a multiple of 64
//! record    crc32c u32 · length u32 · index u64 · payload · zeros up to a multiple of 8
//! trailer   digest u32 · "END!" u32
//! ```
//! A frame header never crosses a 512-byte sector, and the first frame never shares a block with
//! the segment header, so neither can be torn by somebody else's write.

/// Bytes of the segment header's block.
pub(crate) const BLOCK_BYTES: u64 = 4096;
/// Smallest piece that a device writes as a whole.
pub(crate) const SECTOR_BYTES: usize = 512;
/// Bytes that every commit costs beside its records, at most (header, trailer, rounding up).
pub const FRAME_BYTES: u64 = 64 + 8 + 56;
pub(crate) const HEADER_BYTES: usize = 64;
pub(crate) const TRAILER_BYTES: usize = 8;
pub(crate) const RECORD_HEADER_BYTES: usize = 16;

const SEGMENT_MAGIC: u64 = u64::from_le_bytes(*b"EVOJRNL\x01");
const SEGMENT_VERSION: u32 = 1;
const FRAME_MAGIC: u32 = u32::from_le_bytes(*b"FRM!");
/// No byte of it is zero: a zero last byte says that the end of the frame never arrived.
const END_MAGIC: u32 = u32::from_le_bytes(*b"END!");

/// Bytes that a record with a payload of `payload` bytes takes in a segment.
#[must_use]
pub const fn record_bytes(payload: u32) -> u64 {
    (RECORD_HEADER_BYTES as u64 + payload as u64).next_multiple_of(8)
}

/// Smallest segment that holds one record of that size: header block, frame, mark.
pub(crate) const fn segment_needed(payload: u32) -> u64 {
    BLOCK_BYTES + frame_bytes(record_bytes(payload)) + HEADER_BYTES as u64
}

/// Bytes of a frame whose records take `body` bytes.
pub(crate) const fn frame_bytes(body: u64) -> u64 {
    (HEADER_BYTES as u64 + body + TRAILER_BYTES as u64).next_multiple_of(HEADER_BYTES as u64)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("invariant: four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(
        bytes[at..at + 8]
            .try_into()
            .expect("invariant: eight bytes"),
    )
}

/// First 64 bytes of a segment; the rest of its block is zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Index of the first record in it; also its file name.
    pub first_index: u64,
    /// Bytes of the file.
    pub segment_bytes: u64,
    /// Digest of the last frame of the segment before it: a segment of another journal does not fit.
    pub previous: u32,
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut out = [0; HEADER_BYTES];
        out[..8].copy_from_slice(&SEGMENT_MAGIC.to_le_bytes());
        out[12..16].copy_from_slice(&SEGMENT_VERSION.to_le_bytes());
        out[16..24].copy_from_slice(&self.first_index.to_le_bytes());
        out[24..32].copy_from_slice(&self.segment_bytes.to_le_bytes());
        out[32..36].copy_from_slice(&self.previous.to_le_bytes());
        let crc = crc32c::crc32c(&out[12..]);
        out[8..12].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header, or what is wrong with it. `bytes` may be of any length.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, &'static str> {
        let Some(bytes) = bytes.get(..HEADER_BYTES) else {
            return Err("the file is shorter than a segment header");
        };
        if u64_at(bytes, 0) != SEGMENT_MAGIC {
            return Err("not a journal segment");
        }
        if crc32c::crc32c(&bytes[12..]) != u32_at(bytes, 8) {
            return Err("segment header fails its checksum");
        }
        if u32_at(bytes, 12) != SEGMENT_VERSION {
            return Err("segment format version is not known to this program");
        }
        let header = Self {
            first_index: u64_at(bytes, 16),
            segment_bytes: u64_at(bytes, 24),
            previous: u32_at(bytes, 32),
        };
        if header.first_index == 0
            || header.segment_bytes < 2 * BLOCK_BYTES
            || !header.segment_bytes.is_multiple_of(BLOCK_BYTES)
        {
            return Err("segment header states impossible values");
        }
        Ok(header)
    }
}

/// What a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameKind {
    /// The records of one commit.
    Records,
    /// Written after each commit's sync, without a sync of its own, where the next frame will go:
    /// everything before it was acknowledged.
    Mark,
    /// As `Mark`, and the next segment exists.
    Sealed,
}

/// First 64 bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the frame is for.
    pub kind: FrameKind,
    /// Index of its first record, or of the next record if it has none.
    pub first_index: u64,
    /// Last index that was durable and acknowledged when this frame was written.
    pub acknowledged: u64,
    /// Bytes of its records.
    pub body_bytes: u32,
    /// Number of its records.
    pub count: u32,
    /// Digest of the frame before it.
    pub previous: u32,
}

impl FrameHeader {
    /// `segment` is the first index of the segment and `offset` the place in it: a header copied
    /// elsewhere (by a misdirected write, or inside of a payload) is not a header there.
    pub(crate) fn encode(&self, segment: u64, offset: u64) -> [u8; HEADER_BYTES] {
        let kind: u32 = match self.kind {
            FrameKind::Records => 1,
            FrameKind::Mark => 2,
            FrameKind::Sealed => 3,
        };
        let mut out = [0; HEADER_BYTES];
        out[..4].copy_from_slice(&FRAME_MAGIC.to_le_bytes());
        out[8..12].copy_from_slice(&kind.to_le_bytes());
        out[12..16].copy_from_slice(&self.previous.to_le_bytes());
        out[16..24].copy_from_slice(&self.first_index.to_le_bytes());
        out[24..32].copy_from_slice(&self.acknowledged.to_le_bytes());
        out[32..36].copy_from_slice(&self.body_bytes.to_le_bytes());
        out[36..40].copy_from_slice(&self.count.to_le_bytes());
        out[40..48].copy_from_slice(&segment.to_le_bytes());
        out[48..56].copy_from_slice(&offset.to_le_bytes());
        let crc = crc32c::crc32c(&out[8..]);
        out[4..8].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// The header that stands at `offset` of segment `segment`, if these bytes are one.
    pub(crate) fn decode(bytes: &[u8], segment: u64, offset: u64) -> Option<Self> {
        let bytes = bytes.get(..HEADER_BYTES)?;
        if u32_at(bytes, 0) != FRAME_MAGIC
            || u64_at(bytes, 40) != segment
            || u64_at(bytes, 48) != offset
            || crc32c::crc32c(&bytes[8..]) != u32_at(bytes, 4)
        {
            return None;
        }
        let kind = match u32_at(bytes, 8) {
            1 => FrameKind::Records,
            2 => FrameKind::Mark,
            3 => FrameKind::Sealed,
            _ => return None,
        };
        Some(Self {
            kind,
            previous: u32_at(bytes, 12),
            first_index: u64_at(bytes, 16),
            acknowledged: u64_at(bytes, 24),
            body_bytes: u32_at(bytes, 32),
            count: u32_at(bytes, 36),
        })
    }

    /// Whether it can follow a frame that ended with index `next - 1` and this digest. A header that
    /// is intact and cannot is not torn: it was written by somebody else.
    pub(crate) fn follows(&self, next: u64, digest: u32) -> bool {
        let filled = match self.kind {
            FrameKind::Records => {
                self.count > 0
                    && u64::from(self.body_bytes) >= u64::from(self.count) * record_bytes(0)
                    && self.acknowledged < next
            }
            _ => self.count == 0 && self.body_bytes == 0 && self.acknowledged == next - 1,
        };
        filled && self.first_index == next && self.previous == digest
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame_bytes(&self) -> u64 {
        frame_bytes(u64::from(self.body_bytes))
    }
}

/// Adds a record, whose payload lies in `parts`, to `out` and returns its checksum.
pub(crate) fn push_record(out: &mut Vec<u8>, index: u64, parts: &[&[u8]]) -> u32 {
    let at = out.len();
    let bytes: usize = parts.iter().map(|part| part.len()).sum();
    let mut header = [0; RECORD_HEADER_BYTES];
    header[4..8].copy_from_slice(&(bytes as u32).to_le_bytes());
    header[8..].copy_from_slice(&index.to_le_bytes());
    out.extend_from_slice(&header);
    for part in parts {
        out.extend_from_slice(part);
    }
    let crc = crc32c::crc32c(&out[at + 4..]);
    out[at..at + 4].copy_from_slice(&crc.to_le_bytes());
    let padding = bytes.wrapping_neg() & 7;
    out.extend_from_slice(&[0; 7][..padding]);
    crc
}

/// Checksum that a record header states.
pub(crate) fn record_crc(header: &[u8]) -> u32 {
    u32_at(header, 0)
}

/// Length of the payload that a record header states.
pub(crate) fn record_length(header: &[u8]) -> u32 {
    u32_at(header, 4)
}

/// Index that a record header states.
pub(crate) fn record_index(header: &[u8]) -> u64 {
    u64_at(header, 8)
}

/// Checksum of the record at the start of `bytes`, if it is all there and intact: the checksum
/// holds, the index is `index`, the padding is zero.
pub(crate) fn check_record(bytes: &[u8], index: u64) -> Option<u32> {
    let header = bytes.get(..RECORD_HEADER_BYTES)?;
    let length = record_length(header);
    let whole = bytes.get(..record_bytes(length) as usize)?;
    let end = RECORD_HEADER_BYTES + length as usize;
    let crc = u32_at(header, 0);
    (record_index(header) == index
        && crc32c::crc32c(&whole[4..end]) == crc
        && is_zero(&whole[end..]))
    .then_some(crc)
}

/// Digest of a frame, record by record: it covers the frame before it and every record's checksum.
pub(crate) fn digest(previous: u32, record_crc: u32) -> u32 {
    crc32c::crc32c_append(previous, &record_crc.to_le_bytes())
}

pub(crate) fn trailer(digest: u32) -> [u8; TRAILER_BYTES] {
    let mut out = [0; TRAILER_BYTES];
    out[..4].copy_from_slice(&digest.to_le_bytes());
    out[4..].copy_from_slice(&END_MAGIC.to_le_bytes());
    out
}

/// The digest in a trailer.
pub(crate) fn trailer_digest(trailer: &[u8]) -> u32 {
    u32_at(trailer, 0)
}

pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let mut chunks = bytes.chunks_exact(64);
    chunks
        .by_ref()
        .all(|chunk| chunk.iter().fold(0, |all, byte| all | byte) == 0)
        && chunks.remainder().iter().all(|byte| *byte == 0)
}

/// File name of the segment that starts at `first_index`.
pub(crate) fn segment_name(first_index: u64) -> String {
    format!("{first_index:020}.segment")
}

/// File name of the snapshot at `index`.
pub(crate) fn snapshot_name(index: u64) -> String {
    format!("{index:020}.snapshot")
}

/// The index in a file name with that extension, if it is exactly such a name.
pub(crate) fn index_of(name: &str, extension: &str) -> Option<u64> {
    let digits = name.strip_suffix(extension)?.strip_suffix('.')?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}
