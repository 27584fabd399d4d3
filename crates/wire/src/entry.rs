//! An entry of the log: some commands that came together and the time they are applied at.
//!
//! | Bytes | What |
//! |---|---|
//! | 0–1 | version, 1 |
//! | 2–3 | flags, 0 |
//! | 4–11 | time, nanoseconds since 1970 |
//! | 12–15 | number of commands |
//! | 16– | that many commands, see [`crate::command`] |
//!
//! Its place in the log and its checksum belong to the journal.

use alloc::vec::Vec;
use core::fmt;

use everopen_domain::{Command, Timestamp};

use crate::codec::{Input, Wire};
use crate::{DecodeError, VERSION, command};

/// Bytes before the first command.
pub const HEADER_BYTES: usize = 16;

/// The entry has no room for another command: write it, then begin the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryFull;

impl fmt::Display for EntryFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("log entry is full")
    }
}

impl core::error::Error for EntryFull {}

/// Writes entries, one after the other, into one buffer.
#[derive(Clone, Debug)]
pub struct EntryWriter {
    bytes: Vec<u8>,
    count: u32,
    bytes_max: usize,
}

impl EntryWriter {
    /// A writer of entries of at most `bytes_max` bytes, which begins one at time zero. Allocates
    /// all that it will ever need.
    ///
    /// # Panics
    /// When `bytes_max` has no room for the largest command.
    pub fn new(bytes_max: usize) -> Self {
        assert!(
            bytes_max >= HEADER_BYTES + command::BYTES_MAX,
            "invariant: an entry has room for any one command"
        );
        let mut writer = Self {
            bytes: Vec::with_capacity(bytes_max + command::BYTES_MAX),
            count: 0,
            bytes_max,
        };
        writer.begin(Timestamp::ZERO);
        writer
    }

    /// Begins a new entry, forgetting the last one.
    pub fn begin(&mut self, time: Timestamp) {
        self.bytes.clear();
        VERSION.put(&mut self.bytes);
        0u16.put(&mut self.bytes);
        time.put(&mut self.bytes);
        0u32.put(&mut self.bytes);
        self.count = 0;
    }

    /// Appends a command.
    ///
    /// # Errors
    /// [`EntryFull`] when it would exceed the limit; the entry then stays as it was. The first
    /// command of an entry always fits.
    #[inline]
    pub fn push(&mut self, command: &Command) -> Result<(), EntryFull> {
        let length = self.bytes.len();
        command::encode(command, &mut self.bytes);
        if self.bytes.len() > self.bytes_max || self.count == u32::MAX {
            self.bytes.truncate(length);
            return Err(EntryFull);
        }
        self.count += 1;
        Ok(())
    }

    /// How many commands the entry has.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// True when the entry has no commands.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The bytes of the entry as it is now.
    #[inline]
    pub fn finish(&mut self) -> &[u8] {
        self.bytes[12..HEADER_BYTES].copy_from_slice(&self.count.to_le_bytes());
        &self.bytes
    }
}

/// Reads an entry: an iterator over its commands, which ends after the first error.
#[derive(Clone, Debug)]
pub struct EntryReader<'a> {
    input: Input<'a>,
    time: Timestamp,
    count: u32,
    left: u32,
    ended: bool,
}

impl<'a> EntryReader<'a> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`DecodeError`] when it is not of this version or too short.
    pub fn new(bytes: &'a [u8]) -> Result<Self, DecodeError> {
        let mut input = Input::new(bytes);
        let unknown = input.error("unknown version of a log entry");
        if u16::get(&mut input)? != VERSION {
            return Err(unknown);
        }
        let unknown = input.error("unknown flags of a log entry");
        if u16::get(&mut input)? != 0 {
            return Err(unknown);
        }
        let time = Timestamp::get(&mut input)?;
        let short = input.error("more commands than the bytes that are left");
        let count = u32::get(&mut input)?;
        if u64::from(count) * 4 > input.remaining() as u64 {
            return Err(short);
        }
        Ok(Self {
            input,
            time,
            count,
            left: count,
            ended: false,
        })
    }

    /// The time at which the commands are applied.
    pub const fn time(&self) -> Timestamp {
        self.time
    }

    /// How many commands the entry says that it has.
    pub const fn command_count(&self) -> u32 {
        self.count
    }
}

impl Iterator for EntryReader<'_> {
    type Item = Result<Command, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.left == 0 {
            self.ended = true;
            return self.input.finish().err().map(Err);
        }
        self.left -= 1;
        let command = command::get(&mut self.input);
        self.ended = command.is_err();
        Some(command)
    }
}

impl core::iter::FusedIterator for EntryReader<'_> {}
