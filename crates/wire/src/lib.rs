//! The bytes of every command, event, snapshot, log entry and message, by version.
//!
//! | What | Where | Used by |
//! |---|---|---|
//! | a command | [`command`] | log entries |
//! | an entry of the log: a time and some requests | [`entry`] | the journal's records |
//! | an event | [`event`] | the hash of all events, readers of the log |
//! | the venue's state | [`snapshot`] | snapshots, the state hash |
//! | what processes send each other | [`message`] | replicas, clients |
//! | hashes of events and state | [`hash`] | whoever compares two machines |
//!
//! ## Rules of the format
//! - Numbers are little-endian and of fixed width; signed ones are in two's complement.
//! - A text is one byte of length, then that many bytes. A flag is one byte, 0 or 1. An enum is one
//!   byte with the number in [`fields`]. An optional value is a byte 0, or a byte 1 and the value.
//!   A list is a `u32` count, then the items.
//! - **One value, one form**: whatever decodes, encodes to the same bytes again. Unused bits are
//!   zero, and a decoder refuses them otherwise.
//! - Numbers, tags and the order of fields never change once released. Another form is another
//!   version, with its own files in `golden/`; old ones stay readable.
//!
//! ## Invariants
//! - **INV-WIRE-1**: encoding never fails: every value of the domain's types has bytes, also one
//!   that the venue will refuse.
//! - **INV-WIRE-2**: decoding never panics and never allocates more than a small multiple of the
//!   bytes given, whatever they are; it answers with a value or a [`DecodeError`].
//! - **INV-WIRE-3**: a decoder takes all bytes given or fails.
//! - **INV-WIRE-4**: encoding and decoding commands, events, entries and messages allocates nothing, once
//!   the buffers of the caller have grown to their size.
#![cfg_attr(not(any(test, feature = "strategies")), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod codec;
pub mod command;
pub mod entry;
pub mod event;
pub mod fields;
pub mod hash;
pub mod message;
mod order;
pub mod snapshot;
#[cfg(feature = "strategies")]
pub mod strategies;

pub use codec::DecodeError;
pub use entry::{EncodedRequest, EntryFull, EntryReader, EntryWriter, Origin, Request};
pub use hash::{EventHash, EventHasher, StateHash, state_hash};
