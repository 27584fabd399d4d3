//! Hashes by which two machines compare what they did and what they are.
//!
//! The hash is XXH3-128 (Yann Collet, xxHash 0.8; seed 0): its output is fixed by a published
//! specification and the same on every machine, and it costs a few nanoseconds for an event, so
//! that it can always be on. It finds machines that differ by a mistake. It is no proof against
//! someone who *wants* two states with one hash; a proof for outsiders needs a cryptographic hash
//! over the same bytes.

use alloc::vec::Vec;
use core::fmt;

use everopen_domain::Event;
use everopen_domain::snapshot::VenueSnapshot;
use twox_hash::xxhash3_128;

use crate::codec::Sink;
use crate::{event, snapshot};

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub [u8; 16]);

        impl fmt::Display for $name {
            /// 32 lower-case hexadecimal digits.
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:032x}", u128::from_be_bytes(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

hash_type! {
    /// The hash of a venue's state: of the bytes of its snapshot, header included.
    StateHash
}
hash_type! {
    /// The hash of all events so far: 16 zeros before the first.
    EventHash
}

/// The hash of a state. Builds no copy of its bytes.
pub fn state_hash(state: &VenueSnapshot) -> StateHash {
    let mut sink = HashSink {
        hasher: xxhash3_128::Hasher::new(),
        waiting: Vec::with_capacity(2 * HashSink::CHUNK),
    };
    snapshot::put(state, &mut sink);
    sink.hasher.write(&sink.waiting);
    StateHash(sink.hasher.finish_128().to_be_bytes())
}

/// Gathers small writes, which the hash takes slowly, into chunks.
struct HashSink {
    hasher: xxhash3_128::Hasher,
    waiting: Vec<u8>,
}

impl HashSink {
    const CHUNK: usize = 4096;
}

impl Sink for HashSink {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= Self::CHUNK {
            self.hasher.write(&self.waiting);
            self.waiting.clear();
        }
    }
}

/// The running hash of events: each step hashes the last hash and the bytes of the next event.
/// So the 16 bytes are all there is to keep in order to go on later, and two machines that are
/// asked after the same event answer the same.
#[derive(Clone, Debug, Default)]
pub struct EventHasher {
    hash: EventHash,
    waiting: Vec<u8>,
}

impl EventHasher {
    /// Before the first event.
    pub fn new() -> Self {
        Self::resume(EventHash::default())
    }

    /// Goes on after the events that `hash` is of.
    pub fn resume(hash: EventHash) -> Self {
        Self {
            hash,
            waiting: Vec::with_capacity(512),
        }
    }

    /// Takes the next event.
    #[inline]
    pub fn push(&mut self, event: &Event) {
        self.waiting.clear();
        self.waiting.extend_from_slice(&self.hash.0);
        event::encode(event, &mut self.waiting);
        let next = xxhash3_128::Hasher::oneshot(&self.waiting);
        self.hash = EventHash(next.to_be_bytes());
    }

    /// The hash of all events so far.
    pub const fn hash(&self) -> EventHash {
        self.hash
    }
}
