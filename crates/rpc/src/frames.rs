//! Frames in a stream of bytes: cut out of what comes, laid into what goes.

use crate::event::CloseReason;

/// Bytes of the length in front of a frame.
pub(crate) const HEADER: usize = 4;
/// Memory that an empty buffer keeps for the next frames; what is above goes back.
const KEPT_BYTES_MAX: usize = 1 << 20;

/// The frame that has come in part; whole ones never stay here.
#[derive(Debug, Default)]
pub(crate) struct Incoming {
    partial: Vec<u8>,
}

impl Incoming {
    /// Whether the stream stands between two frames.
    pub fn is_empty(&self) -> bool {
        self.partial.is_empty()
    }

    /// Cuts the next bytes of the stream into frames. A frame that lies in `bytes` whole is not
    /// copied; one that does not grows as its bytes come, whatever length it announces.
    pub fn take(
        &mut self,
        mut bytes: &[u8],
        frame_bytes_max: usize,
        mut on: impl FnMut(&[u8]),
    ) -> Result<(), CloseReason> {
        if !self.partial.is_empty() {
            self.fill(&mut bytes, HEADER);
            let Some(length) = announced(&self.partial, frame_bytes_max)? else {
                return Ok(());
            };
            self.fill(&mut bytes, HEADER + length);
            if self.partial.len() < HEADER + length {
                return Ok(());
            }
            on(&self.partial[HEADER..]);
            self.partial.clear();
            self.partial.shrink_to(KEPT_BYTES_MAX);
        }
        while let Some(length) = announced(bytes, frame_bytes_max)? {
            let Some(frame) = bytes.get(HEADER..HEADER + length) else {
                break;
            };
            on(frame);
            bytes = &bytes[HEADER + length..];
        }
        self.partial.extend_from_slice(bytes);
        Ok(())
    }

    /// Moves bytes over until there are `wanted`, or none left.
    fn fill(&mut self, bytes: &mut &[u8], wanted: usize) {
        let missing = wanted.saturating_sub(self.partial.len());
        let (taken, rest) = bytes.split_at(missing.min(bytes.len()));
        self.partial.extend_from_slice(taken);
        *bytes = rest;
    }
}

/// The length that a frame begins with, when all of it is there.
fn announced(bytes: &[u8], limit: usize) -> Result<Option<usize>, CloseReason> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Ok(None);
    };
    let bytes = u32::from_le_bytes(*header) as usize;
    if bytes > limit {
        return Err(CloseReason::FrameTooLarge { bytes, limit });
    }
    Ok(Some(bytes))
}

/// Frames that wait to be written.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    bytes: Vec<u8>,
    written: usize,
}

impl Outgoing {
    pub fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Adds a frame of `length` bytes that lie in `parts`.
    pub fn push(&mut self, length: usize, parts: &[&[u8]]) {
        // What was written makes room before the buffer grows; the rest is moved at most as often
        // as as much was written.
        if self.written > 0 && self.written >= self.len() {
            self.bytes.drain(..self.written);
            self.written = 0;
        }
        let header =
            u32::try_from(length).expect("invariant: the limit of a frame fits its length");
        self.bytes.extend_from_slice(&header.to_le_bytes());
        for part in parts {
            self.bytes.extend_from_slice(part);
        }
    }

    pub fn pending(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    pub fn advance(&mut self, bytes: usize) {
        self.written += bytes;
        if self.written == self.bytes.len() {
            self.bytes.clear();
            self.bytes.shrink_to(KEPT_BYTES_MAX);
            self.written = 0;
        }
    }
}
