//! Append-only checksummed segments and snapshots: the only caller of `fsync`.
//!
//! The journal knows bytes, not meaning. One [`Journal`] per directory writes; any number of
//! [`Reader`]s and one [`Snapshots`] handle may work beside it on other threads.
//!
//! A record gets an index (1, 2, 3, …) from [`Journal::append`] and may be acknowledged to whoever
//! sent it once [`Journal::commit`] returned. What happens to the bytes, and how a write torn by a
//! power cut is told from a flipped bit, stands in `docs/decisions/0003-journal-format.md`.
// Allowed in `ring` alone.
#![deny(unsafe_code)]

mod config;
mod direct;
mod error;
mod files;
mod format;
mod journal;
mod pace;
pub mod probe;
mod reader;
mod recovery;
mod reserve;
mod ring;
mod scan;
mod segment;
mod snapshot;

pub use config::{Config, Durability, RetainLog};
pub use error::{AppendError, Error};
pub use format::{FRAME_BYTES, FrameHeader, FrameKind, SegmentHeader, record_bytes};
pub use journal::{Committed, Journal, Retired};
pub use reader::Reader;
pub use recovery::{Recovery, TornTail};
pub use scan::{Salvage, ScanReport, Tail, scan};
pub use snapshot::{BadSnapshot, SnapshotReader, SnapshotRef, Snapshots};
