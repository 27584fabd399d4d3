//! Writes entries of version 1. Nothing writes them anymore; tests do, so that logs that have them
//! stay readable.

use alloc::vec::Vec;

use everopen_domain::{Command, Timestamp};

use super::HEADER_BYTES;
use crate::codec::Wire;
use crate::command;

/// The version that this file is about.
pub(super) const VERSION: u16 = 1;

/// Writes an entry of version 1, of any size: a time and some commands.
#[derive(Clone, Debug)]
pub struct EntryWriterV1 {
    bytes: Vec<u8>,
    count: u32,
}

impl EntryWriterV1 {
    /// Begins an entry.
    pub fn new(time: Timestamp) -> Self {
        let mut bytes = Vec::new();
        VERSION.put(&mut bytes);
        0u16.put(&mut bytes);
        time.put(&mut bytes);
        0u32.put(&mut bytes);
        Self { bytes, count: 0 }
    }

    /// Appends a command.
    pub fn push(&mut self, command: &Command) {
        command::encode(command, &mut self.bytes);
        self.count += 1;
    }

    /// The bytes of the entry.
    pub fn finish(mut self) -> Vec<u8> {
        self.bytes[12..HEADER_BYTES].copy_from_slice(&self.count.to_le_bytes());
        self.bytes
    }
}
