//! One large buffer over a reader, with the offset of everything in it.

use std::io::{self, Read};

use super::error::{Problem, shown};

/// Bytes read at a time. Large enough that refills do not show, small enough to stay in the cache.
const CHUNK: usize = 256 * 1024;

/// A problem and its place, before the file's name is put to it.
#[derive(Debug)]
pub(crate) struct Fault {
    pub offset: u64,
    pub line: Option<u64>,
    pub problem: Problem,
}

impl Fault {
    pub fn new(offset: u64, problem: Problem) -> Self {
        Self {
            offset,
            line: None,
            problem,
        }
    }

    #[cold]
    pub fn field(offset: u64, field: &'static str, expected: &'static str, found: &[u8]) -> Self {
        Self::new(
            offset,
            Problem::Field {
                field,
                expected,
                found: shown(found),
            },
        )
    }
}

/// Uncompressed bytes on their way to a decoder.
pub(crate) struct Source<R> {
    reader: R,
    /// Name of the compression that `reader` undoes, if any.
    compression: Option<&'static str>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Offset of `buffer[0]`.
    base: u64,
    ended: bool,
}

impl<R: Read> Source<R> {
    pub fn new(reader: R, compression: Option<&'static str>) -> Self {
        Self {
            reader,
            compression,
            buffer: vec![0; CHUNK],
            start: 0,
            end: 0,
            base: 0,
            ended: false,
        }
    }

    /// Offset of the next byte.
    #[inline]
    pub fn offset(&self) -> u64 {
        self.base + self.start as u64
    }

    /// The next bytes: at least `least` of them, or fewer if the file ends first.
    #[inline]
    pub fn peek(&mut self, least: usize) -> Result<&[u8], Fault> {
        if self.end - self.start < least && !self.ended {
            self.fill(least)?;
        }
        Ok(&self.buffer[self.start..self.end])
    }

    /// Steps over bytes that `peek` has shown.
    #[inline]
    pub fn consume(&mut self, bytes: usize) {
        self.start += bytes;
        debug_assert!(
            self.start <= self.end,
            "invariant: only shown bytes are consumed"
        );
    }

    #[cold]
    fn fill(&mut self, least: usize) -> Result<(), Fault> {
        debug_assert!(
            least <= CHUNK,
            "invariant: no item is larger than the buffer"
        );
        self.buffer.copy_within(self.start..self.end, 0);
        self.base += self.start as u64;
        self.end -= self.start;
        self.start = 0;
        while self.end < least {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.ended = true;
                    break;
                }
                Ok(bytes) => self.end += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let problem = match self.compression {
                        Some(format) => Problem::Decompress { format, source },
                        None => Problem::Read(source),
                    };
                    return Err(Fault::new(self.base + self.end as u64, problem));
                }
            }
        }
        Ok(())
    }
}
