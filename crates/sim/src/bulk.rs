//! Whole states on their way between replicas, piece by piece, as `everopen_replica::node` does it
//! over real connections.

use bytes::{Bytes, BytesMut};
use everopen_replica::raft::eraftpb::Message;
use everopen_replica::snapshot::Descriptor;

use crate::packet::Packet;
use crate::process::Process;
use crate::world::World;

/// Bytes in one piece.
const PIECE: usize = 4 << 10;
/// Microseconds without an answer after which a piece is asked for again.
const RETRY: u64 = 50_000;
/// Microseconds without a piece after which an offer is given up, here and there.
const PATIENCE: u64 = 10_000_000;

/// States that come and go.
#[derive(Default)]
pub(crate) struct Bulk {
    fetch: Option<Fetch>,
    serving: Option<(u64, Bytes)>,
    /// Peers that were offered a state, and when they last asked for a piece.
    offers: Vec<(u64, u64)>,
}

struct Fetch {
    from: u64,
    message: Message,
    descriptor: Descriptor,
    bytes: BytesMut,
    asked_at: u64,
    moved_at: u64,
}

impl Bulk {
    pub fn offered(&mut self, to: u64, now: u64) {
        self.offers.retain(|(peer, _)| *peer != to);
        self.offers.push((to, now));
    }
}

impl World<'_> {
    /// A peer offers its state.
    pub fn fetch_snapshot(&mut self, node: u64, p: &mut Process, from: u64, message: Message) {
        let Ok(descriptor) = Descriptor::decode(&message.get_snapshot().data) else {
            return;
        };
        if let Some(fetch) = &mut p.bulk.fetch
            && fetch.descriptor == descriptor
            && fetch.from == from
        {
            fetch.message = message;
            return;
        }
        p.bulk.fetch = Some(Fetch {
            from,
            message,
            descriptor,
            bytes: BytesMut::new(),
            asked_at: self.now,
            moved_at: self.now,
        });
        self.count("snapshots offered");
        self.ask_piece(node, p);
    }

    fn ask_piece(&mut self, node: u64, p: &mut Process) {
        let Some(fetch) = &mut p.bulk.fetch else {
            return;
        };
        fetch.asked_at = self.now;
        let ask = Packet::Ask {
            place: fetch.descriptor.place,
            offset: fetch.bytes.len() as u64,
        };
        let from = fetch.from;
        self.send(node, from, ask);
    }

    /// A peer asks for a piece.
    pub fn snapshot_asked(&mut self, node: u64, p: &mut Process, from: u64, place: u64, at: u64) {
        for offer in &mut p.bulk.offers {
            if offer.0 == from {
                offer.1 = self.now;
            }
        }
        if p.bulk
            .serving
            .as_ref()
            .is_none_or(|(held, _)| *held != place)
        {
            p.bulk.serving = p.portable(place).map(|bytes| (place, bytes));
        }
        let chunk = match &p.bulk.serving {
            Some((_, bytes)) => {
                let start = (at as usize).min(bytes.len());
                bytes.slice(start..(start + PIECE).min(bytes.len()))
            }
            // It is not to be had any more.
            None => Bytes::new(),
        };
        let offset = at;
        self.send(
            node,
            from,
            Packet::Part {
                place,
                offset,
                chunk,
            },
        );
    }

    /// A piece has come.
    pub fn snapshot_part(
        &mut self,
        node: u64,
        p: &mut Process,
        from: u64,
        (place, offset, chunk): (u64, u64, Bytes),
    ) {
        let Some(fetch) = &mut p.bulk.fetch else {
            return;
        };
        if fetch.from != from || fetch.descriptor.place != place {
            return;
        }
        if chunk.is_empty() {
            p.bulk.fetch = None;
            self.count("snapshots withdrawn");
            return;
        }
        let room = fetch.descriptor.bytes - fetch.bytes.len() as u64;
        if offset != fetch.bytes.len() as u64 || chunk.len() as u64 > room {
            return;
        }
        fetch.bytes.extend_from_slice(&chunk);
        fetch.moved_at = self.now;
        if (fetch.bytes.len() as u64) < fetch.descriptor.bytes {
            return self.ask_piece(node, p);
        }
        let Some(fetch) = p.bulk.fetch.take() else {
            return;
        };
        let bytes = fetch.bytes.freeze();
        if Descriptor::of(&bytes, place).hash != fetch.descriptor.hash {
            // Pieces of two states that were stored at one place.
            self.count("snapshots garbled");
            return;
        }
        let taken = p.core.receive_snapshot(fetch.message, bytes);
        self.count(if taken {
            "snapshots received"
        } else {
            "snapshots refused"
        });
    }

    pub fn tick_bulk(&mut self, node: u64, p: &mut Process) {
        let now = self.now;
        if let Some(fetch) = &p.bulk.fetch {
            if now - fetch.moved_at > PATIENCE {
                p.bulk.fetch = None;
            } else if now - fetch.asked_at > RETRY {
                self.ask_piece(node, p);
            }
        }
        let core = &mut p.core;
        p.bulk.offers.retain(|(peer, asked)| {
            let waits = now - asked <= PATIENCE;
            if !waits {
                core.report_snapshot(*peer, false);
            }
            waits
        });
    }
}
