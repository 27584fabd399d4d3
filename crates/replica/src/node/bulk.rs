//! Whole states on their way between replicas, over connections of their own so that consensus is
//! not held up. Who needs one asks for it piece by piece, at most so fast that trading does not suffer,
//! and goes on where it was when the connection breaks or its process is started again.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use everopen_identity::Name;
use everopen_journal::SnapshotRef;
use everopen_rpc::{ConnId, Hub};
use everopen_wire::message::Message;

use super::event_loop::Inner;
use super::part::Part;
use crate::member;
use crate::snapshot::{self, Descriptor};

/// Bytes in one piece.
const PIECE: usize = 256 << 10;
/// Pieces asked for at once.
const AHEAD: usize = 8;
/// A state larger than this is not taken.
const BYTES_MAX: u64 = 16 << 30;
/// How long nothing may come before the offer is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// Bytes a second that a replica sends of its states at most, to all who ask together.
const RATE: u64 = 128 << 20;
/// Bytes that may be sent at once after a silence.
const BURST: u64 = RATE / 20;
/// Pieces that may wait to be sent, of all who ask together.
const WAITING_MAX: usize = 4_096;
/// How long a state is kept in memory after the last piece was asked for.
const KEEP: Duration = Duration::from_secs(30);

/// States that come and go.
#[derive(Debug)]
pub(super) struct Bulk {
    /// The newest snapshot's file.
    file: Option<SnapshotRef>,
    /// A state that peers ask for, read from its file.
    serving: Option<Serving>,
    loading: Option<(u64, std::sync::mpsc::Receiver<Result<Bytes, String>>)>,
    /// Pieces asked for and not sent yet.
    waiting: VecDeque<(ConnId, u64, u64)>,
    /// Bytes that may be sent now, and as of when.
    allowance: (u64, Instant),
    /// Bytes of states that were sent to others and came from others.
    pub moved: (u64, u64),
    fetch: Option<Fetch>,
    /// Peers that were offered a state, and when they last asked for a piece.
    offers: Vec<(u64, Instant)>,
}

#[derive(Debug)]
struct Serving {
    place: u64,
    bytes: Bytes,
    used: Instant,
}

/// A state on its way here.
#[derive(Debug)]
struct Fetch {
    from: u64,
    message: raft::eraftpb::Message,
    descriptor: Descriptor,
    bytes: BytesMut,
    /// Where it is kept for the case that this process ends before it is whole.
    kept: Option<Part>,
    asked: u64,
    conn: Option<ConnId>,
    open: bool,
    retry_at: Instant,
    moved: Instant,
}

impl Bulk {
    pub fn new(file: Option<SnapshotRef>) -> Self {
        Self {
            file,
            serving: None,
            loading: None,
            waiting: VecDeque::new(),
            allowance: (BURST, Instant::now()),
            moved: (0, 0),
            fetch: None,
            offers: Vec::new(),
        }
    }

    /// There is a newer snapshot. One that was begun before a peer's state was taken over is none.
    pub fn set_file(&mut self, file: SnapshotRef) {
        if self.place().is_none_or(|place| place < file.index) {
            self.file = Some(file);
        }
    }

    /// By what the newest snapshot is asked for.
    pub fn place(&self) -> Option<u64> {
        self.file.as_ref().map(|file| file.index)
    }

    /// The bytes of its state.
    pub fn bytes(&self) -> Option<u64> {
        let file = self.file.as_ref()?;
        Some(file.bytes - snapshot::HEADER_BYTES as u64)
    }

    pub fn offered(&mut self, to: u64) {
        self.offers.retain(|(peer, _)| *peer != to);
        self.offers.push((to, Instant::now()));
    }
}

impl Inner {
    /// A peer offers its state.
    pub(super) fn fetch_snapshot(&mut self, from: u64, message: raft::eraftpb::Message) {
        let Ok(descriptor) = Descriptor::decode(&message.get_snapshot().data) else {
            tracing::warn!(from, "a peer's offer can't be read");
            return;
        };
        if descriptor.bytes > BYTES_MAX {
            tracing::error!(
                from,
                bytes = descriptor.bytes,
                "a peer's state is too large"
            );
            return;
        }
        let now = Instant::now();
        if let Some(fetch) = &mut self.bulk.fetch {
            if fetch.descriptor == descriptor && fetch.from == from {
                // The same offer again: go on with what there is, in the name of the newer term.
                fetch.message = message;
                return;
            }
            if let Some(conn) = fetch.conn {
                self.outbox.closes.push(conn);
            }
        }
        let index = message.get_snapshot().get_metadata().index;
        tracing::info!(
            from,
            index,
            bytes = descriptor.bytes,
            "a peer's state begins to come"
        );
        let (kept, bytes) = Part::open(&self.config.journal.dir, &descriptor);
        if !bytes.is_empty() {
            tracing::info!(
                bytes = bytes.len(),
                "it goes on after what an earlier process was sent"
            );
        }
        self.bulk.fetch = Some(Fetch {
            from,
            message,
            descriptor,
            bytes,
            kept,
            asked: 0,
            conn: None,
            open: false,
            retry_at: now,
            moved: now,
        });
    }

    pub(super) fn bulk_dial(&mut self, hub: &mut Hub) {
        let Some(fetch) = &mut self.bulk.fetch else {
            return;
        };
        if fetch.conn.is_some() || fetch.retry_at > Instant::now() {
            return;
        }
        let known = self.peers.get(&fetch.from);
        let address = known.map_or("", |peer| peer.address.as_str());
        match super::resolve(address) {
            Ok(address) => {
                fetch.conn = Some(hub.dial(address, Name::Node(member::number(fetch.from))))
            }
            Err(_) => fetch.retry_at = Instant::now() + Duration::from_millis(200),
        }
    }

    /// Asks for pieces once the connection is there.
    fn ask(&mut self) {
        let Some(fetch) = &mut self.bulk.fetch else {
            return;
        };
        let Some(conn) = fetch.conn.filter(|_| fetch.open) else {
            return;
        };
        let ahead = (AHEAD * PIECE) as u64;
        while fetch.asked < fetch.descriptor.bytes && fetch.asked < fetch.bytes.len() as u64 + ahead
        {
            self.outbox.push(
                conn,
                &Message::SnapshotAsk {
                    id: fetch.descriptor.place,
                    offset: fetch.asked,
                },
            );
            fetch.asked = (fetch.asked + PIECE as u64).min(fetch.descriptor.bytes);
        }
    }

    pub(super) fn snapshot_part(
        &mut self,
        conn: ConnId,
        id: u64,
        offset: u64,
        last: bool,
        chunk: &[u8],
    ) {
        let Some(fetch) = &mut self.bulk.fetch else {
            return;
        };
        if fetch.conn != Some(conn) || id != fetch.descriptor.place {
            return;
        }
        if chunk.is_empty() {
            // The sender has it no more; it will offer a newer one.
            tracing::info!("a peer withdrew the state that it had offered");
            self.outbox.closes.push(conn);
            self.bulk.fetch = None;
            return;
        }
        let room = fetch.descriptor.bytes - fetch.bytes.len() as u64;
        if offset != fetch.bytes.len() as u64 || chunk.len() as u64 > room {
            return;
        }
        fetch.bytes.extend_from_slice(chunk);
        self.bulk.moved.1 += chunk.len() as u64;
        if let Some(Err(error)) = fetch.kept.as_mut().map(|kept| kept.append(chunk)) {
            tracing::info!(%error, "a peer's state is only kept in memory");
            fetch.kept = None;
        }
        fetch.moved = Instant::now();
        let whole = fetch.bytes.len() as u64 == fetch.descriptor.bytes;
        if !whole {
            debug_assert!(!last);
            return self.ask();
        }
        self.outbox.closes.push(conn);
        let fetch = self.bulk.fetch.take().expect("invariant: it is there");
        if let Some(kept) = fetch.kept {
            kept.remove();
        }
        let bytes = fetch.bytes.freeze();
        if Descriptor::of(&bytes, fetch.descriptor.place).hash != fetch.descriptor.hash {
            tracing::error!("a peer's state does not have the hash that it was offered with");
            return;
        }
        if !self.core.receive_snapshot(fetch.message, bytes) {
            tracing::info!("a peer's state came too late to be of use");
        }
    }

    /// A peer asks for a piece of this replica's state.
    pub(super) fn snapshot_asked(&mut self, conn: ConnId, node: u64, place: u64, offset: u64) {
        let now = Instant::now();
        for offer in &mut self.bulk.offers {
            if offer.0 == node {
                offer.1 = now;
            }
        }
        if self.bulk.waiting.len() >= WAITING_MAX {
            tracing::warn!(%conn, "too much of a state is asked for at once");
            return self.drop_conn(conn);
        }
        self.bulk.waiting.push_back((conn, place, offset));
        self.serve(now);
    }

    /// Sends pieces that were asked for, as many as may be sent now.
    fn serve(&mut self, now: Instant) {
        let (left, since) = self.bulk.allowance;
        let earned = now.saturating_duration_since(since).as_micros() as u64 * RATE / 1_000_000;
        let mut left = (left + earned).min(BURST);
        while let Some((conn, place, offset)) = self.bulk.waiting.front().copied() {
            let Some(serving) = self.bulk.serving.as_mut().filter(|s| s.place == place) else {
                self.load(place);
                break;
            };
            if left < PIECE as u64 {
                break;
            }
            serving.used = now;
            let bytes = serving.bytes.clone();
            self.bulk.waiting.pop_front();
            let sent = self.send_piece(conn, place, offset, &bytes);
            left -= sent;
            self.bulk.moved.0 += sent;
        }
        self.bulk.allowance = (left, now);
    }

    fn send_piece(&mut self, conn: ConnId, id: u64, offset: u64, bytes: &Bytes) -> u64 {
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(bytes.len());
        let end = (start + PIECE).min(bytes.len());
        self.outbox.push(
            conn,
            &Message::SnapshotPart {
                id,
                offset,
                last: end == bytes.len(),
                chunk: &bytes[start..end],
            },
        );
        (end - start) as u64
    }

    fn load(&mut self, place: u64) {
        if self.bulk.loading.is_some() {
            return;
        }
        let Some(file) = self.bulk.file.clone().filter(|file| file.index == place) else {
            return self.withdraw(place);
        };
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let waker = self.waker.clone();
        let work = move || {
            let read = || -> Result<Bytes, String> {
                let content = Bytes::from(file.read().map_err(|e| super::chain(&e))?);
                snapshot::portable(&content).map_err(|e| e.to_string())
            };
            let _ = tell.send(read());
            waker.wake();
        };
        if super::thread("everopen-snapshot-read", work).is_ok() {
            self.bulk.loading = Some((place, told));
        }
    }

    /// Tells those who wait for a state that it is not to be had any more.
    fn withdraw(&mut self, place: u64) {
        let waiting = std::mem::take(&mut self.bulk.waiting);
        for (conn, wanted, offset) in waiting {
            if wanted == place {
                self.send_piece(conn, place, offset, &Bytes::new());
            } else {
                self.bulk.waiting.push_back((conn, wanted, offset));
            }
        }
    }

    pub(super) fn hear_bulk(&mut self) {
        let Some((place, told)) = &self.bulk.loading else {
            return;
        };
        let place = *place;
        let Ok(read) = told.try_recv() else { return };
        self.bulk.loading = None;
        match read {
            Ok(bytes) => {
                self.bulk.serving = Some(Serving {
                    place,
                    bytes,
                    used: Instant::now(),
                });
            }
            Err(error) => {
                tracing::warn!(error, "the newest snapshot can't be read");
                self.withdraw(place);
            }
        }
        self.serve(Instant::now());
    }

    pub(super) fn bulk_closed(&mut self, conn: ConnId) {
        self.bulk.waiting.retain(|(waiting, ..)| *waiting != conn);
        if let Some(fetch) = self.bulk.fetch.as_mut().filter(|f| f.conn == Some(conn)) {
            (fetch.conn, fetch.open) = (None, false);
            fetch.asked = fetch.bytes.len() as u64;
            fetch.retry_at = Instant::now() + Duration::from_millis(50);
        }
    }

    /// The connection for a state is there: says who asks, then asks.
    pub(super) fn bulk_opened(&mut self, conn: ConnId) -> bool {
        let Some(fetch) = self.bulk.fetch.as_mut().filter(|f| f.conn == Some(conn)) else {
            return false;
        };
        fetch.open = true;
        fetch.asked = fetch.bytes.len() as u64;
        self.ask();
        true
    }

    pub(super) fn bulk_tick(&mut self, now: Instant) {
        self.serve(now);
        if let Some(fetch) = &self.bulk.fetch
            && now.duration_since(fetch.moved) > PATIENCE
        {
            tracing::warn!(from = fetch.from, "a peer's state stopped coming");
            if let Some(conn) = fetch.conn {
                self.outbox.closes.push(conn);
            }
            self.bulk.fetch = None;
        }
        if self
            .bulk
            .serving
            .as_ref()
            .is_some_and(|serving| now.duration_since(serving.used) > KEEP)
        {
            self.bulk.serving = None;
        }
        let silent: Vec<u64> = self
            .bulk
            .offers
            .iter()
            .filter(|(_, asked)| now.duration_since(*asked) > PATIENCE)
            .map(|(peer, _)| *peer)
            .collect();
        self.bulk.offers.retain(|(peer, _)| !silent.contains(peer));
        for peer in silent {
            // Harmless for one that has it meanwhile: the library looks at what it waits for.
            self.core.report_snapshot(peer, false);
        }
    }
}
