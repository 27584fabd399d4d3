//! Writing past the page cache, in whole blocks: a commit then waits for its bytes and for nothing that the
//! system does with its pages.
use crate::files::{ALIGNMENT, aligned};
use crate::format::BLOCK_BYTES;
use crate::ring::{BYTES_MAX, Ended, Ring};
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// Memory that is kept for the next write; what a large one took beyond goes back.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// The end of a segment, written block by block.
#[derive(Debug)]
pub(crate) struct Blocks {
    file: File,
    /// What stands in the block in which the next write begins, before it begins.
    head: Vec<u8>,
    /// The same for the write after the one that is being begun.
    next_head: Vec<u8>,
    /// Where a write is put together.
    memory: Vec<u8>,
    /// Whether a write has succeeded: a disk of larger blocks refuses the first.
    is_proven: bool,
    /// Of the write that is under way: where it lies in its memory, and where it goes.
    begun: Option<(Range<usize>, u64)>,
}

impl Blocks {
    /// A second handle of `file`, which is at `path` and is written on from `end`. None where there
    /// are no such writes.
    pub fn open(file: &File, path: &Path, end: u64) -> Option<Self> {
        let direct = OpenOptions::new()
            .write(true)
            .custom_flags(OFlags::DIRECT.bits() as i32)
            .open(path)
            .ok()?;
        let within = end % BLOCK_BYTES;
        let mut head = vec![0; within as usize];
        file.read_exact_at(&mut head, end - within).ok()?;
        Some(Self {
            file: direct,
            head,
            next_head: Vec::new(),
            memory: Vec::new(),
            is_proven: false,
            begun: None,
        })
    }

    /// Writes `bytes` at `at`, the end so far, and zeros after them to the end of their block. The first
    /// `kept` of them stay; what follows is written over by the next call.
    pub fn write(&mut self, bytes: &[u8], at: u64, kept: u64) -> io::Result<()> {
        let (range, start) = self.put_together(bytes, at);
        self.file.write_all_at(&self.memory[range.clone()], start)?;
        self.is_proven = true;
        self.keep(&range, kept);
        if self.memory.len() > KEPT_BYTES_MAX {
            self.memory = Vec::new();
        }
        Ok(())
    }

    /// As [`Self::write`], and makes it durable, but only begins to: [`Self::end`] is to be called with what
    /// came of it, and nothing else before. False where nothing was begun.
    pub fn begin(&mut self, ring: &mut Option<Ring>, bytes: &[u8], at: u64, kept: u64) -> bool {
        let fits = self.head.len() + bytes.len() <= BYTES_MAX - ALIGNMENT;
        let Some(running) = ring.as_mut().filter(|_| self.is_proven && fits) else {
            return false;
        };
        let (range, start) = self.put_together(bytes, at);
        let memory = std::mem::take(&mut self.memory);
        let stays = self.kept_part(&range, kept);
        self.next_head.clear();
        self.next_head.extend_from_slice(&memory[stays]);
        match running.write(&self.file, memory, range.clone(), start) {
            Ok(()) => {
                std::mem::swap(&mut self.head, &mut self.next_head);
                self.begun = Some((range, start));
                true
            }
            Err((memory, _)) => {
                self.memory = memory;
                // What it did not take must never reach it.
                *ring = None;
                false
            }
        }
    }

    /// A write that was begun has ended. What was written in part only is written again, and made durable.
    pub fn end(&mut self, (memory, written): Ended) -> io::Result<()> {
        self.memory = memory;
        let (range, start) = self.begun.take().expect("invariant: it was begun");
        if written? < range.len() {
            self.file.write_all_at(&self.memory[range], start)?;
            self.file.sync_data()?;
        }
        Ok(())
    }

    /// Puts a write together in memory: where it lies there, and where it goes.
    fn put_together(&mut self, bytes: &[u8], at: u64) -> (Range<usize>, u64) {
        assert_eq!(
            at % BLOCK_BYTES,
            self.head.len() as u64,
            "invariant: segments are written at their end"
        );
        let used = self.head.len() + bytes.len();
        let range = aligned(&mut self.memory, used.next_multiple_of(ALIGNMENT));
        let blocks = &mut self.memory[range.clone()];
        let (head, rest) = blocks.split_at_mut(self.head.len());
        head.copy_from_slice(&self.head);
        rest[..bytes.len()].copy_from_slice(bytes);
        rest[bytes.len()..].fill(0);
        (range, at - self.head.len() as u64)
    }

    /// Where in memory the next write's first block begins, up to what stays of this one.
    fn kept_part(&self, range: &Range<usize>, kept: u64) -> Range<usize> {
        let end = self.head.len() + kept as usize;
        range.start + end - end % ALIGNMENT..range.start + end
    }

    fn keep(&mut self, range: &Range<usize>, kept: u64) {
        let kept = self.kept_part(range, kept);
        self.head.clear();
        self.head.extend_from_slice(&self.memory[kept]);
    }
}
