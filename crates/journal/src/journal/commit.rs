//! Commits: a frame into the segment, and one sync for all of it.
use super::{Committed, Journal};
use crate::error::Error;
use crate::format::{self, BLOCK_BYTES, FrameHeader, FrameKind, HEADER_BYTES};
use crate::ring::{Ended, Ring};
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering;

impl Journal {
    /// Writes everything appended and waits until it is durable. Cheap when there is nothing.
    ///
    /// # Errors
    /// [`Error::Io`] poisons the journal: whether the records arrived is unknown, the page cache may
    /// have dropped them, and nothing is tried again. Afterwards [`Error::Poisoned`].
    pub fn commit(&mut self) -> Result<Committed, Error> {
        let committed = self.commit_unmarked()?;
        self.mark()?;
        Ok(committed)
    }

    /// As [`Self::commit`], for a writer that has more to write soon: that the records may have been
    /// acknowledged is said by the next frame, or by [`Self::mark`]. Until then, damage of this frame
    /// on the disk is taken for a write that was torn, and what is in it for never acknowledged, as
    /// it is after a power cut in any case.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn commit_unmarked(&mut self) -> Result<Committed, Error> {
        self.finish_commit()?;
        self.check()?;
        if self.count == 0 {
            return Ok(Committed {
                last_index: self.last_index,
                bytes: 0,
            });
        }
        let bytes = self
            .write_frame()
            .map_err(|e| self.poisoned("commit to", e))?;
        Ok(Committed {
            last_index: self.last_index,
            bytes,
        })
    }

    /// As [`Self::commit_unmarked`], but where the system can go on alone (`io_uring`, a file system with
    /// writes past its cache) it does not wait: [`Self::poll_commit`] says when everything appended before
    /// is durable. What waits for the disk in any other way waits for this first.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn begin_commit(&mut self) -> Result<(), Error> {
        self.finish_commit()?;
        self.check()?;
        if self.count == 0 {
            return Ok(());
        }
        let bytes = self.frame();
        if self.current.begin(&mut self.ring, &self.buffer, bytes) {
            self.begun = Some(self.last_index);
            self.frame_written();
            return Ok(());
        }
        self.write_framed(bytes)
            .map_err(|e| self.poisoned("commit to", e))
    }

    /// Whether no commit is under way (any more): then everything up to [`Self::durable_index`] is durable.
    /// Never waits.
    ///
    /// # Errors
    /// As [`Self::commit`], of the commit that has ended.
    pub fn poll_commit(&mut self) -> Result<bool, Error> {
        if self.begun.is_some()
            && let Some(ended) = self.ring.as_mut().and_then(Ring::look)
        {
            self.commit_ended(ended)?;
        }
        Ok(self.begun.is_none())
    }

    /// A file that becomes readable when a commit that was begun has ended; none where all of them are
    /// waited for.
    #[must_use]
    pub fn commit_signal(&self) -> Option<RawFd> {
        self.ring.as_ref().map(Ring::signal)
    }

    pub(super) fn finish_commit(&mut self) -> Result<(), Error> {
        if self.begun.is_some()
            && let Some(ring) = &mut self.ring
        {
            let ended = ring.wait();
            self.commit_ended(ended)?;
        }
        Ok(())
    }

    fn commit_ended(&mut self, ended: Ended) -> Result<(), Error> {
        let last = self.begun.take().expect("invariant: it was begun");
        self.current
            .end(ended)
            .map_err(|e| self.poisoned("commit to", e))?;
        self.shared.durable.store(last, Ordering::Release);
        Ok(())
    }

    /// Says behind the last frame that it may have been acknowledged, if nothing says so yet.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub fn mark(&mut self) -> Result<(), Error> {
        self.finish_commit()?;
        self.check()?;
        if std::mem::take(&mut self.unmarked) {
            self.current
                .mark(FrameKind::Mark, self.shared.durable() + 1)
                .map_err(|e| self.poisoned("commit to", e))?;
        }
        Ok(())
    }

    fn write_frame(&mut self) -> io::Result<u64> {
        let bytes = self.frame();
        self.write_framed(bytes)?;
        Ok(bytes)
    }

    /// Makes a frame of what is in the buffer, and says how long it is. Zeros follow it there.
    fn frame(&mut self) -> u64 {
        let first_index = self.last_index + 1 - u64::from(self.count);
        let header = FrameHeader {
            body_bytes: (self.buffer.len() - HEADER_BYTES) as u32,
            count: self.count,
            ..self
                .current
                .header(FrameKind::Records, first_index, self.shared.durable())
        };
        let at = self.current.end;
        self.buffer[..HEADER_BYTES].copy_from_slice(&header.encode(self.current.first_index, at));
        self.buffer.extend_from_slice(&format::trailer(self.digest));
        let bytes = header.frame_bytes();
        // On to the end of the block that the mark after it lies in: the system need not read a block
        // that is written whole, nor one that it wrote before.
        let end = (at + bytes + HEADER_BYTES as u64).next_multiple_of(BLOCK_BYTES);
        let end = end.min(self.current.bytes);
        self.buffer.resize((end - at) as usize, 0);
        bytes
    }

    /// Writes the frame in the buffer and waits until it is durable.
    fn write_framed(&mut self, bytes: u64) -> io::Result<()> {
        self.current.write(&self.buffer, bytes)?;
        self.dir.sync_data(&self.current.file)?;
        self.frame_written();
        self.shared
            .durable
            .store(self.last_index, Ordering::Release);
        Ok(())
    }

    /// The next frame follows the one in the buffer.
    fn frame_written(&mut self) {
        self.current.digest = self.digest;
        self.buffer.truncate(HEADER_BYTES);
        self.count = 0;
        self.unmarked = true;
    }
}
