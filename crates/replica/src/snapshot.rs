//! Snapshot files of a replica: a header of its own, then the state and the reader's checkpoint,
//! which are the same bytes that a peer is sent.
//!
//! | Bytes | What |
//! |---|---|
//! | 8 | magic |
//! | `u32` | length of the header |
//! | | header: `u16` version 1, `u64` term, `u64` vote |
//! | | the state, see [`State`], then the reader's checkpoint |
//!
//! Version 0.1.0 wrote a `u64` length, the venue's state and the reader's checkpoint instead.

use bytes::Bytes;
use raft::eraftpb::{HardState, Snapshot};
use twox_hash::xxhash3_128;

use crate::bytes::{Input, Malformed, Output};
use crate::state::{Digest, State};

const MAGIC: [u8; 8] = *b"EVOREPL\x01";
const VERSION: u16 = 1;

/// Bytes of a file before the state.
pub(crate) const HEADER_BYTES: usize = 8 + 4 + 18;

/// What precedes the state in a file: the replica's own hard state.
pub(crate) fn header(hard_state: &HardState) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.put(&MAGIC);
    out.put_u32(18);
    out.put_u16(VERSION);
    out.put_u64(hard_state.term);
    out.put_u64(hard_state.vote);
    out
}

/// A snapshot file's content.
pub(crate) enum Content<'a> {
    /// Of this version.
    Current {
        hard_state: HardState,
        /// State and checkpoint.
        bytes: &'a [u8],
    },
    /// Of version 0.1.0.
    Legacy {
        venue: &'a [u8],
        checkpoint: &'a [u8],
    },
}

/// Reads a file's content.
pub(crate) fn split(bytes: &[u8]) -> Result<Content<'_>, Malformed> {
    let mut input = Input(bytes);
    if !bytes.starts_with(&MAGIC) {
        let length = usize::try_from(input.u64()?).map_err(|_| Malformed("too large"))?;
        let venue = input.take(length)?;
        return Ok(Content::Legacy {
            venue,
            checkpoint: input.0,
        });
    }
    input.take(MAGIC.len())?;
    let mut own = Input(input.slice()?);
    if own.u16()? != VERSION {
        return Err(Malformed("unknown version of a snapshot's header"));
    }
    let mut hard_state = HardState::default();
    hard_state.term = own.u64()?;
    hard_state.vote = own.u64()?;
    own.finish()?;
    Ok(Content::Current {
        hard_state,
        bytes: input.0,
    })
}

/// The part of a file's content that a peer is sent: state and checkpoint.
///
/// # Errors
/// [`Malformed`] when it is not a snapshot of this version.
pub fn portable(content: &Bytes) -> Result<Bytes, Malformed> {
    match split(content)? {
        Content::Current { bytes, .. } => Ok(content.slice_ref(bytes)),
        Content::Legacy { .. } => Err(Malformed("of an older version")),
    }
}

/// What a peer needs in order to ask for a snapshot, and its owner to find it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Bytes of state and checkpoint.
    pub bytes: u64,
    /// Their hash.
    pub hash: Digest,
    /// The place in the owner's journal at which the file is stored.
    pub place: u64,
}

impl Descriptor {
    /// Of these bytes, stored at this place.
    pub fn of(bytes: &[u8], place: u64) -> Self {
        Self {
            bytes: bytes.len() as u64,
            hash: xxhash3_128::Hasher::oneshot(bytes).to_be_bytes(),
            place,
        }
    }

    /// As the consensus library carries it.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(32);
        out.put_u64(self.bytes);
        out.put(&self.hash);
        out.put_u64(self.place);
        out.into()
    }

    /// What [`Descriptor::encode`] wrote.
    ///
    /// # Errors
    /// [`Malformed`] when it is something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut input = Input(bytes);
        let descriptor = Self {
            bytes: input.u64()?,
            hash: input.hash()?,
            place: input.u64()?,
        };
        input.finish()?;
        Ok(descriptor)
    }
}

/// A snapshot of `state` as the consensus library names it.
pub fn described(state: &State, descriptor: &Descriptor) -> Snapshot {
    let mut snapshot = Snapshot::default();
    let meta = snapshot.mut_metadata();
    meta.index = state.index;
    meta.term = state.term;
    meta.set_conf_state(state.conf.clone());
    snapshot.data = descriptor.encode();
    snapshot
}

/// The state in what [`encode`] gave, and the reader's checkpoint after it.
///
/// # Errors
/// A sentence that says what is wrong with the bytes.
pub fn decode(bytes: &[u8]) -> Result<(State, &[u8]), String> {
    State::decode(bytes)
}

/// The bytes that a peer is sent and a file holds.
pub fn encode(state: &State, checkpoint: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    state.encode(&mut out);
    out.put(checkpoint);
    out
}
