//! Writing past the page cache, in whole blocks: a commit then waits for its bytes and for nothing that the
//! system does with its pages.
use crate::files::{ALIGNMENT, aligned};
use crate::format::BLOCK_BYTES;
use rustix::fs::OFlags;
use std::fs::{File, OpenOptions};
use std::io;
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
    /// Where a write is put together.
    memory: Vec<u8>,
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
            memory: Vec::new(),
        })
    }

    /// Writes `bytes` at `at`, the end so far, and zeros after them to the end of their block. The first
    /// `kept` of them stay; what follows is written over by the next call.
    pub fn write(&mut self, bytes: &[u8], at: u64, kept: u64) -> io::Result<()> {
        assert_eq!(
            at % BLOCK_BYTES,
            self.head.len() as u64,
            "invariant: segments are written at their end"
        );
        let used = self.head.len() + bytes.len();
        let whole = used.next_multiple_of(ALIGNMENT);
        let start = at - self.head.len() as u64;
        let blocks = aligned(&mut self.memory, whole);
        let (head, rest) = blocks.split_at_mut(self.head.len());
        head.copy_from_slice(&self.head);
        rest[..bytes.len()].copy_from_slice(bytes);
        rest[bytes.len()..].fill(0);
        self.file.write_all_at(blocks, start)?;
        let end = self.head.len() + kept as usize;
        let from = end - end % ALIGNMENT;
        self.head.clear();
        self.head.extend_from_slice(&blocks[from..end]);
        if self.memory.len() > KEPT_BYTES_MAX {
            self.memory = Vec::new();
        }
        Ok(())
    }
}
