//! The records of a replica's journal.
//!
//! A replica's journal is append-only; the *place* of a record in it is not its index in the
//! replicated log. A later record of a log index replaces an earlier one and all after it, as Raft
//! asks of a follower whose tail was never agreed on.
//!
//! | Bytes | Record |
//! |---|---|
//! | `u16` 1 … | an entry of version 0.1.0: its place is its log index, its term 1 |
//! | `u16` 2, `u8` 1, term, vote, commit (`u64` each) | the hard state, from here on |
//! | `u16` 2, `u8` 2, `u8` type, term, index (`u64` each), `u32` length, data, context | an entry |
//! | `u16` 2, `u8` 3, index, term (`u64` each) | a snapshot of that entry was taken over; it is stored at this place |

use bytes::Bytes;
use raft::eraftpb::{Entry, EntryType, HardState};

use crate::bytes::{Input, Malformed, Output};

const LEGACY: u16 = 1;
const VERSION: u16 = 2;

const HARD_STATE: u8 = 1;
const ENTRY: u8 = 2;
const INSTALLED: u8 = 3;

/// A record.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    HardState(HardState),
    Entry(Entry),
    /// The state of this index and term was taken over as a whole.
    Installed {
        index: u64,
        term: u64,
    },
}

/// Appends the hard state's record.
pub(crate) fn put_hard_state(state: &HardState, out: &mut Vec<u8>) {
    out.put_u16(VERSION);
    out.put_u8(HARD_STATE);
    out.put_u64(state.term);
    out.put_u64(state.vote);
    out.put_u64(state.commit);
}

/// Appends an entry's record.
pub(crate) fn put_entry(entry: &Entry, out: &mut Vec<u8>) {
    put_entry_head(entry, out);
    out.put(&entry.data);
    out.put(&entry.context);
}

/// Appends what stands in an entry's record before its data and its context.
pub(crate) fn put_entry_head(entry: &Entry, out: &mut Vec<u8>) {
    out.put_u16(VERSION);
    out.put_u8(ENTRY);
    out.put_u8(entry_type_number(entry.get_entry_type()));
    out.put_u64(entry.term);
    out.put_u64(entry.index);
    out.put_u32(entry.data.len() as u32);
}

/// Appends the record of a state taken over.
pub(crate) fn put_installed(index: u64, term: u64, out: &mut Vec<u8>) {
    out.put_u16(VERSION);
    out.put_u8(INSTALLED);
    out.put_u64(index);
    out.put_u64(term);
}

/// The record that `bytes` at `place` are.
pub(crate) fn decode(place: u64, bytes: &[u8]) -> Result<Record, Malformed> {
    let mut input = Input(bytes);
    match input.u16()? {
        LEGACY => {
            let mut entry = Entry::default();
            entry.term = 1;
            entry.index = place;
            entry.data = Bytes::copy_from_slice(bytes);
            return Ok(Record::Entry(entry));
        }
        VERSION => {}
        _ => return Err(Malformed("unknown version of a journal record")),
    }
    let record = match input.u8()? {
        HARD_STATE => {
            let mut state = HardState::default();
            state.term = input.u64()?;
            state.vote = input.u64()?;
            state.commit = input.u64()?;
            Record::HardState(state)
        }
        ENTRY => {
            let mut entry = Entry::default();
            entry.set_entry_type(entry_type(input.u8()?)?);
            entry.term = input.u64()?;
            entry.index = input.u64()?;
            entry.data = Bytes::copy_from_slice(input.slice()?);
            entry.context = Bytes::copy_from_slice(input.take(input.0.len())?);
            Record::Entry(entry)
        }
        INSTALLED => Record::Installed {
            index: input.u64()?,
            term: input.u64()?,
        },
        _ => return Err(Malformed("unknown kind of a journal record")),
    };
    input.finish()?;
    Ok(record)
}

/// Whether `bytes` are an entry of version 0.1.0.
pub(crate) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(&LEGACY.to_le_bytes())
}

pub(crate) fn entry_type_number(entry_type: EntryType) -> u8 {
    match entry_type {
        EntryType::EntryNormal => 0,
        EntryType::EntryConfChange => 1,
        EntryType::EntryConfChangeV2 => 2,
    }
}

pub(crate) fn entry_type(number: u8) -> Result<EntryType, Malformed> {
    match number {
        0 => Ok(EntryType::EntryNormal),
        1 => Ok(EntryType::EntryConfChange),
        2 => Ok(EntryType::EntryConfChangeV2),
        _ => Err(Malformed("unknown type of an entry")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, data: &'static [u8], context: &'static [u8]) -> Entry {
        let mut entry = Entry::default();
        entry.set_entry_type(EntryType::EntryConfChangeV2);
        entry.term = 7;
        entry.index = index;
        entry.data = Bytes::from_static(data);
        entry.context = Bytes::from_static(context);
        entry
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut out = Vec::new();
        let original = entry(9, b"data", b"context");
        put_entry(&original, &mut out);
        assert_eq!(decode(1, &out), Ok(Record::Entry(original)));

        let mut state = HardState::default();
        (state.term, state.vote, state.commit) = (3, 2, 1);
        let mut out = Vec::new();
        put_hard_state(&state, &mut out);
        assert_eq!(decode(1, &out), Ok(Record::HardState(state)));

        let mut out = Vec::new();
        put_installed(5, 4, &mut out);
        assert_eq!(decode(1, &out), Ok(Record::Installed { index: 5, term: 4 }));
    }

    #[test]
    fn an_entry_of_the_first_version_has_its_place_as_index() {
        let Ok(Record::Entry(entry)) = decode(12, &[1, 0, 0, 0]) else {
            panic!("not an entry");
        };
        assert_eq!((entry.index, entry.term), (12, 1));
        assert_eq!(&entry.data[..], [1, 0, 0, 0]);
    }

    #[test]
    fn what_is_cut_short_or_unknown_is_refused() {
        let mut out = Vec::new();
        put_entry(&entry(9, b"data", b""), &mut out);
        for length in 2..out.len() {
            assert!(decode(1, &out[..length]).is_err(), "{length} bytes");
        }
        assert!(decode(1, &[3, 0]).is_err());
        assert!(decode(1, &[2, 0, 9]).is_err());
    }
}
