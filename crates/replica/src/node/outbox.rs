//! What leaves at the end of a turn, and when a peer does not take it.

use std::ops::Range;

use everopen_rpc::{ConnId, Hub, SendError};
use everopen_wire::message::{Message, Role};

use super::event_loop::Inner;

/// Frames to be sent at the end of the turn.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    frames: Vec<(ConnId, Range<usize>)>,
    pub closes: Vec<ConnId>,
}

impl Outbox {
    pub fn push(&mut self, conn: ConnId, message: &Message<'_>) {
        let start = self.bytes.len();
        message.encode(&mut self.bytes);
        self.frames.push((conn, start..self.bytes.len()));
    }

    /// A message of consensus; it may be large, so it is encoded where it leaves from.
    pub fn push_raft(&mut self, conn: ConnId, message: &raft::eraftpb::Message) {
        let start = self.bytes.len();
        Message::Raft { bytes: &[] }.encode(&mut self.bytes);
        crate::message::encode(message, &mut self.bytes);
        self.frames.push((conn, start..self.bytes.len()));
    }
}

impl Inner {
    pub(super) fn send(&mut self, hub: &mut Hub) {
        for node in std::mem::take(&mut self.dials) {
            self.dial(node, hub);
        }
        self.bulk_dial(hub);
        let outbox = std::mem::take(&mut self.outbox);
        let mut lost = Vec::new();
        for (conn, span) in &outbox.frames {
            match hub.send(*conn, &outbox.bytes[span.clone()]) {
                Ok(()) | Err(SendError::Gone) => {}
                Err(SendError::Full | SendError::TooLarge) => lost.push(*conn),
            }
        }
        for conn in outbox.closes {
            hub.close(conn);
        }
        for conn in lost {
            self.send_failed(conn, hub);
        }
        let Outbox {
            mut bytes,
            mut frames,
            ..
        } = Outbox {
            closes: Vec::new(),
            ..outbox
        };
        bytes.clear();
        frames.clear();
        // Buffers are kept, unless a burst made them large.
        if self.outbox.frames.is_empty() && bytes.capacity() < 16 << 20 {
            self.outbox.bytes = bytes;
            self.outbox.frames = frames;
        }
    }

    /// A frame did not fit. Consensus repeats what it needs; a client would wait for ever.
    fn send_failed(&mut self, conn: ConnId, hub: &mut Hub) {
        let Some(known) = self.conns.get(&conn) else {
            return;
        };
        if known.role == Some(Role::Replica) {
            let node = known.node;
            self.core.report_unreachable(node);
        } else {
            tracing::warn!(%conn, "a client does not read what it is sent; it is cut off");
            hub.close(conn);
            self.closed(conn);
        }
    }
}
