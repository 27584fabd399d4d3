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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_the_same_however_the_stream_is_cut() {
        let sizes = [0, 1, 3, 4, 5, 0, 100, 2, 64];
        let mut stream = Outgoing::default();
        let mut frames = Vec::new();
        for (number, size) in sizes.into_iter().enumerate() {
            frames.push(vec![number as u8; size]);
            stream.push(size, &[&frames[number]]);
        }
        for piece in 1..=stream.len() {
            let mut incoming = Incoming::default();
            let mut seen = Vec::new();
            for bytes in stream.pending().chunks(piece) {
                incoming
                    .take(bytes, 100, |frame| seen.push(frame.to_vec()))
                    .expect("no frame is above the limit");
            }
            assert_eq!(seen, frames, "in pieces of {piece}");
            assert!(incoming.is_empty());
        }
    }

    #[test]
    fn an_announced_length_takes_no_memory_before_its_bytes_come() {
        let limit = 1 << 30;
        let mut incoming = Incoming::default();
        let header = (limit as u32).to_le_bytes();
        incoming
            .take(&header, limit, |_| panic!("no frame is whole"))
            .expect("as large as any may be");
        assert!(incoming.partial.capacity() < 1_000);
        let above = (limit as u32 + 1).to_le_bytes();
        for split in 0..=3 {
            let mut incoming = Incoming::default();
            let none = |_: &[u8]| panic!("no frame is whole");
            incoming
                .take(&above[..split], limit, none)
                .expect("no length yet");
            let refused = incoming.take(&above[split..], limit, none);
            assert!(matches!(refused, Err(CloseReason::FrameTooLarge { .. })));
        }
    }

    #[test]
    fn what_was_written_makes_room() {
        let mut outgoing = Outgoing::default();
        for number in 0..10_000_u32 {
            outgoing.push(4, &[&number.to_le_bytes()]);
            if number >= 10 {
                let front = &outgoing.pending()[HEADER..2 * HEADER];
                assert_eq!(front, (number - 10).to_le_bytes());
                outgoing.advance(2 * HEADER);
            }
        }
        assert_eq!(outgoing.len(), 10 * 2 * HEADER);
        assert!(outgoing.bytes.capacity() < 1_000);
        outgoing.advance(outgoing.len());
        assert_eq!(outgoing.bytes.len(), 0);
    }
}
