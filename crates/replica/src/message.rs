//! Consensus messages as bytes.
//!
//! The consensus library describes its messages as protocol buffers, but what comes from the
//! network is never given to that parser: this form has fixed widths, no nesting and every length
//! checked before anything is allocated for it.

use bytes::Bytes;
use raft::eraftpb::{
    ConfChangeSingle, ConfChangeTransition, ConfChangeType, ConfChangeV2, ConfState, Entry,
    Message, MessageType, Snapshot,
};

use crate::bytes::{Input, Malformed, Output};
use crate::record::{entry_type, entry_type_number};

const TYPES: [MessageType; 19] = [
    MessageType::MsgHup,
    MessageType::MsgBeat,
    MessageType::MsgPropose,
    MessageType::MsgAppend,
    MessageType::MsgAppendResponse,
    MessageType::MsgRequestVote,
    MessageType::MsgRequestVoteResponse,
    MessageType::MsgSnapshot,
    MessageType::MsgHeartbeat,
    MessageType::MsgHeartbeatResponse,
    MessageType::MsgUnreachable,
    MessageType::MsgSnapStatus,
    MessageType::MsgCheckQuorum,
    MessageType::MsgTransferLeader,
    MessageType::MsgTimeoutNow,
    MessageType::MsgReadIndex,
    MessageType::MsgReadIndexResp,
    MessageType::MsgRequestPreVote,
    MessageType::MsgRequestPreVoteResponse,
];

/// Appends a message.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    let number = TYPES
        .iter()
        .position(|known| *known == message.get_msg_type())
        .expect("invariant: every type is in the table");
    out.put_u8(number as u8);
    for value in [
        message.to,
        message.from,
        message.term,
        message.log_term,
        message.index,
        message.commit,
        message.commit_term,
        message.request_snapshot,
        message.reject_hint,
        message.priority as u64,
    ] {
        out.put_u64(value);
    }
    out.put_flag(message.reject);
    out.put_slice(&message.context);
    out.put_u32(message.entries.len() as u32);
    for entry in message.entries.iter() {
        out.put_u8(entry_type_number(entry.get_entry_type()));
        out.put_u64(entry.term);
        out.put_u64(entry.index);
        out.put_slice(&entry.data);
        out.put_slice(&entry.context);
    }
    let has_snapshot = message.has_snapshot();
    out.put_flag(has_snapshot);
    if has_snapshot {
        let meta = message.get_snapshot().get_metadata();
        out.put_u64(meta.index);
        out.put_u64(meta.term);
        put_conf_state(meta.get_conf_state(), out);
        out.put_slice(&message.get_snapshot().data);
    }
}

/// The message that `bytes` are.
///
/// # Errors
/// [`Malformed`] says what is wrong with them.
pub fn decode(bytes: &[u8]) -> Result<Message, Malformed> {
    let mut input = Input(bytes);
    let mut message = Message::default();
    let number = usize::from(input.u8()?);
    let kind = TYPES
        .get(number)
        .ok_or(Malformed("unknown type of a consensus message"))?;
    message.set_msg_type(*kind);
    message.to = input.u64()?;
    message.from = input.u64()?;
    message.term = input.u64()?;
    message.log_term = input.u64()?;
    message.index = input.u64()?;
    message.commit = input.u64()?;
    message.commit_term = input.u64()?;
    message.request_snapshot = input.u64()?;
    message.reject_hint = input.u64()?;
    message.priority = input.u64()? as i64;
    message.reject = input.flag()?;
    message.context = Bytes::copy_from_slice(input.slice()?);
    let count = input.count(25)?;
    let mut entries = Vec::with_capacity(count);
    for _ in 0..count {
        let mut entry = Entry::default();
        entry.set_entry_type(entry_type(input.u8()?)?);
        entry.term = input.u64()?;
        entry.index = input.u64()?;
        entry.data = Bytes::copy_from_slice(input.slice()?);
        entry.context = Bytes::copy_from_slice(input.slice()?);
        entries.push(entry);
    }
    message.set_entries(entries.into());
    if input.flag()? {
        let mut snapshot = Snapshot::default();
        let meta = snapshot.mut_metadata();
        meta.index = input.u64()?;
        meta.term = input.u64()?;
        meta.set_conf_state(conf_state(&mut input)?);
        snapshot.data = Bytes::copy_from_slice(input.slice()?);
        message.set_snapshot(snapshot);
    }
    input.finish()?;
    Ok(message)
}

pub(crate) fn put_conf_state(state: &ConfState, out: &mut Vec<u8>) {
    out.put_numbers(&state.voters);
    out.put_numbers(&state.learners);
    out.put_numbers(&state.voters_outgoing);
    out.put_numbers(&state.learners_next);
    out.put_flag(state.auto_leave);
}

pub(crate) fn conf_state(input: &mut Input<'_>) -> Result<ConfState, Malformed> {
    let mut state = ConfState::default();
    state.voters = input.numbers()?;
    state.learners = input.numbers()?;
    state.voters_outgoing = input.numbers()?;
    state.learners_next = input.numbers()?;
    state.auto_leave = input.flag()?;
    Ok(state)
}

/// The change of membership in an entry of the log, as the library wrote it there: by its own
/// encoder, in an entry that a majority agreed on and whose checksum holds.
///
/// # Errors
/// [`Malformed`] when it is none.
pub(crate) fn membership_change(entry: &Entry) -> Result<ConfChangeV2, Malformed> {
    // Ten bytes a change and the context: nothing in it nests, so the parser cannot recurse.
    let mut change = ConfChangeV2::default();
    let mut input = protobuf_fields(&entry.data);
    while let Some((field, value)) = input.next()? {
        match (field, value) {
            (1, Field::Number(number)) => change.set_transition(match number {
                0 => ConfChangeTransition::Auto,
                1 => ConfChangeTransition::Implicit,
                2 => ConfChangeTransition::Explicit,
                _ => return Err(Malformed("unknown transition of a membership change")),
            }),
            (2, Field::Bytes(bytes)) => {
                let mut single = ConfChangeSingle::default();
                let mut fields = protobuf_fields(bytes);
                while let Some((field, value)) = fields.next()? {
                    match (field, value) {
                        (1, Field::Number(number)) => single.set_change_type(match number {
                            0 => ConfChangeType::AddNode,
                            1 => ConfChangeType::RemoveNode,
                            2 => ConfChangeType::AddLearnerNode,
                            _ => return Err(Malformed("unknown membership change")),
                        }),
                        (2, Field::Number(number)) => single.node_id = number,
                        _ => return Err(Malformed("unknown field of a membership change")),
                    }
                }
                change.mut_changes().push(single);
            }
            (3, Field::Bytes(bytes)) => change.context = Bytes::copy_from_slice(bytes),
            _ => return Err(Malformed("unknown field of a membership change")),
        }
    }
    Ok(change)
}

enum Field<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// Walks the flat fields of an encoded protocol buffer.
struct Fields<'a>(Input<'a>);

fn protobuf_fields(bytes: &[u8]) -> Fields<'_> {
    Fields(Input(bytes))
}

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, Malformed> {
        if self.0.0.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Field::Number(self.varint()?),
            2 => {
                let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
                Field::Bytes(self.0.take(length)?)
            }
            _ => return Err(Malformed("unknown form of a field")),
        };
        Ok(Some((key >> 3, value)))
    }

    fn varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.0.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("a number has too many bytes"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use raft::eraftpb::EntryType;

    fn sample() -> Message {
        let mut message = Message::default();
        message.set_msg_type(MessageType::MsgAppend);
        (message.to, message.from, message.term) = (2, 1, 9);
        (message.log_term, message.index, message.commit) = (8, 41, 40);
        message.priority = -3;
        message.reject = true;
        message.context = Bytes::from_static(b"context");
        let mut entry = Entry::default();
        entry.set_entry_type(EntryType::EntryNormal);
        (entry.term, entry.index) = (9, 42);
        entry.data = Bytes::from_static(b"commands");
        message.set_entries(vec![entry].into());
        let mut snapshot = Snapshot::default();
        snapshot.data = Bytes::from_static(b"descriptor");
        snapshot.mut_metadata().index = 30;
        snapshot.mut_metadata().mut_conf_state().voters = vec![1, 2, 3];
        message.set_snapshot(snapshot);
        message
    }

    #[test]
    fn a_message_comes_back_as_it_was_sent() {
        let message = sample();
        let mut bytes = Vec::new();
        encode(&message, &mut bytes);
        assert_eq!(decode(&bytes), Ok(message));
    }

    #[test]
    fn no_part_of_a_message_passes_for_one() {
        let mut bytes = Vec::new();
        encode(&sample(), &mut bytes);
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        bytes.push(0);
        assert!(decode(&bytes).is_err());
    }

    #[test]
    fn a_membership_change_is_read_as_the_library_writes_it() {
        use raft::eraftpb::ConfChangeTransition;
        let mut change = ConfChangeV2::default();
        change.set_transition(ConfChangeTransition::Implicit);
        for (node, kind) in [
            (4, ConfChangeType::AddNode),
            (1, ConfChangeType::RemoveNode),
            (300, ConfChangeType::AddLearnerNode),
        ] {
            let mut single = ConfChangeSingle::default();
            single.node_id = node;
            single.set_change_type(kind);
            change.mut_changes().push(single);
        }
        change.context = Bytes::from_static(b"4 127.0.0.1:1");
        let mut entry = Entry::default();
        entry.data = protobuf::Message::write_to_bytes(&change)
            .expect("in memory")
            .into();
        assert_eq!(membership_change(&entry), Ok(change));
    }
}
