//! Writes entries of the current version.

use alloc::vec::Vec;

use everopen_domain::Timestamp;

use super::{
    EntryFull, HEADER_BYTES, INTERNAL, OPEN_SESSION, Origin, REQUEST_BYTES_MAX, Request, SESSION,
    VERSION,
};
use crate::codec::Wire;
use crate::command;

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
    /// When `bytes_max` has no room for a request with the largest command.
    pub fn new(bytes_max: usize) -> Self {
        assert!(
            bytes_max >= HEADER_BYTES + REQUEST_BYTES_MAX + command::BYTES_MAX,
            "invariant: an entry has room for any one command"
        );
        let mut writer = Self {
            // A request is written until it exceeds the limit, so by one command at most.
            bytes: Vec::with_capacity(bytes_max + REQUEST_BYTES_MAX + command::BYTES_MAX),
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

    /// Changes the time of the entry, which its first requests may have waited for.
    pub fn set_time(&mut self, time: Timestamp) {
        self.bytes[4..12].copy_from_slice(&time.0.to_le_bytes());
    }

    /// Appends a request.
    ///
    /// # Errors
    /// [`EntryFull`] when it would exceed the limit; the entry then stays as it was. The first
    /// request of an entry always fits if it has one command. One of more than
    /// [`super::REQUEST_COMMANDS_MAX`] commands never does.
    #[inline]
    pub fn push(&mut self, request: &Request<'_>) -> Result<(), EntryFull> {
        let length = self.bytes.len();
        let commands = request.commands();
        let count = u16::try_from(commands.len()).map_err(|_| EntryFull)?;
        self.put_head(request.origin(), count);
        for command in commands {
            command::encode(command, &mut self.bytes);
            if self.bytes.len() > self.bytes_max {
                break;
            }
        }
        self.close(length)
    }

    /// Appends a request whose commands are bytes already, as they came from a client. They must
    /// have been read once with [`command::decode_all`]: the writer copies them unseen.
    ///
    /// # Errors
    /// As [`EntryWriter::push`].
    ///
    /// # Panics
    /// When a request that opens a session has commands.
    #[inline]
    pub fn push_encoded(
        &mut self,
        origin: Origin,
        count: u16,
        commands: &[u8],
    ) -> Result<(), EntryFull> {
        assert!(
            !matches!(origin, Origin::OpenSession { .. }) || (count == 0 && commands.is_empty()),
            "invariant: a session is opened without commands"
        );
        let length = self.bytes.len();
        if length + REQUEST_BYTES_MAX + commands.len() > self.bytes.capacity() {
            return Err(EntryFull);
        }
        self.put_head(origin, count);
        self.bytes.extend_from_slice(commands);
        self.close(length)
    }

    #[inline]
    fn put_head(&mut self, origin: Origin, count: u16) {
        let out = &mut self.bytes;
        match origin {
            Origin::Internal => INTERNAL.put(out),
            Origin::OpenSession { nonce } => {
                OPEN_SESSION.put(out);
                nonce.put(out);
                return;
            }
            Origin::Session {
                client,
                sequence,
                behind,
            } => {
                SESSION.put(out);
                client.put(out);
                sequence.put(out);
                behind.put(out);
            }
        }
        count.put(out);
    }

    /// Counts the request that was written from `length` on, or takes it back.
    #[inline]
    fn close(&mut self, length: usize) -> Result<(), EntryFull> {
        if self.bytes.len() > self.bytes_max || self.count == u32::MAX {
            self.bytes.truncate(length);
            return Err(EntryFull);
        }
        self.count += 1;
        Ok(())
    }

    /// How many requests the entry has.
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// True when the entry has no requests.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How many bytes the entry has so far.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The bytes of the entry as it is now.
    #[inline]
    pub fn finish(&mut self) -> &[u8] {
        self.bytes[12..HEADER_BYTES].copy_from_slice(&self.count.to_le_bytes());
        &self.bytes
    }
}
