//! Followers of the log: a checkpoint if they need one, then every entry.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;
use everopen_domain::Timestamp;

use crate::state::AppliedEntry;

/// Bytes of recent entries kept for followers that come or come back.
const RING_BYTES: usize = 32 << 20;
/// What an entry costs beside its events.
const OVERHEAD: usize = 64;

/// An entry as followers get it.
#[derive(Clone, Debug)]
pub(super) struct Recent {
    pub index: u64,
    pub time: Timestamp,
    pub count: u32,
    pub encoded: Bytes,
}

impl Recent {
    pub fn of(entry: &AppliedEntry) -> Self {
        Self {
            index: entry.index,
            time: entry.time,
            count: entry.events.len() as u32,
            encoded: entry.encoded.clone(),
        }
    }
}

/// The newest entries.
#[derive(Debug, Default)]
pub(super) struct Ring {
    entries: VecDeque<Recent>,
    bytes: usize,
}

impl Ring {
    pub fn push(&mut self, entry: Recent) {
        self.bytes += entry.encoded.len() + OVERHEAD;
        self.entries.push_back(entry);
        while self.bytes > RING_BYTES {
            let Some(old) = self.entries.pop_front() else {
                break;
            };
            self.bytes -= old.encoded.len() + OVERHEAD;
        }
    }

    /// Entries were skipped: what is here does not continue any more.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// The first index that is here, or `next` if nothing is.
    pub fn first(&self, next: u64) -> u64 {
        self.entries.front().map_or(next, |entry| entry.index)
    }

    pub fn get(&self, index: u64) -> Option<&Recent> {
        let first = self.entries.front()?.index;
        self.entries.get(index.checked_sub(first)? as usize)
    }
}

/// One follower.
#[derive(Debug)]
pub(super) struct Follow {
    /// Its number, by which the publisher names it.
    pub number: u64,
    /// The next entry to send; none while it waits for a checkpoint.
    pub next: Option<u64>,
    /// A checkpoint on its way, and how much of it was sent.
    pub checkpoint: Option<Sending>,
    /// When it was last sent something.
    pub told: Instant,
}

/// A checkpoint on its way.
#[derive(Debug)]
pub(super) struct Sending {
    pub index: u64,
    pub time: Timestamp,
    pub bytes: Bytes,
    pub offset: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recent(index: u64, bytes: usize) -> Recent {
        Recent {
            index,
            time: Timestamp(index),
            count: 0,
            encoded: vec![0; bytes].into(),
        }
    }

    #[test]
    fn the_ring_keeps_the_newest_within_its_bytes() {
        let mut ring = Ring::default();
        assert_eq!(ring.first(5), 5);
        for index in 5..=10 {
            ring.push(recent(index, RING_BYTES / 4));
        }
        assert_eq!(ring.first(0), 8);
        assert!(ring.get(7).is_none() && ring.get(11).is_none());
        assert_eq!(ring.get(9).map(|entry| entry.index), Some(9));
        ring.clear();
        assert_eq!(ring.first(11), 11);
    }
}
