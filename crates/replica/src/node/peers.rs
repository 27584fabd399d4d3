//! The other replicas: connections to them, and what is said over these.

use std::collections::{BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use everopen_domain::LogIndex;
use everopen_identity::Name;
use everopen_rpc::{ConnId, Hub};
use everopen_wire::message::{DigestKind, Message, Role};
use raft::eraftpb::MessageType;

use super::clock;
use super::event_loop::Inner;
use crate::boot::Note;
use crate::core::Trust;
use crate::state::Digest;
use crate::{member, message};

/// Between two attempts to reach a peer, at first and at most.
const RETRY_LEAST: Duration = Duration::from_millis(20);
const RETRY_MOST: Duration = Duration::from_millis(500);
/// The number of a ping whose sender is followed by somebody.
const FOLLOWED: u64 = 1;
/// Round trips that are remembered of each peer.
const SAMPLES: usize = 256;

/// Another replica.
#[derive(Debug, Default)]
pub(super) struct Peer {
    pub address: String,
    /// The connection that this replica dialed.
    pub conn: Option<ConnId>,
    pub open: bool,
    retry_at: Option<Instant>,
    retry_after: Duration,
    pub build: String,
    pub logic_max: u16,
    /// Whether somebody follows the log there, and so waits for what is committed.
    pub is_followed: bool,
    /// Microseconds of recent round trips, and how far its clock was ahead of ours.
    pub samples: VecDeque<(u32, i64)>,
}

impl Inner {
    /// Dials every member that is not connected, when its time has come.
    pub(super) fn dial_peers(&mut self, now: Instant) {
        let state = self.core.state();
        let mut wanted: Vec<(u64, String)> = Vec::new();
        for node in self.core.members() {
            let address = state.nodes.get(&node).cloned();
            wanted.push((node, address.unwrap_or_default()));
        }
        if state.conf.voters.is_empty() {
            // It joins: whoever greets it is a member of the cluster that it is to be part of.
            let greeted = self.peers.iter();
            wanted.extend(greeted.map(|(node, peer)| (*node, peer.address.clone())));
        }
        // Where a later life of a member is, its earlier one is not any more.
        let known: Vec<u64> = wanted.iter().map(|(node, _)| *node).collect();
        wanted.retain(|(node, _)| {
            let is_gone = known.iter().any(|other| member::is_later(*other, *node));
            *node != self.config.node && !is_gone
        });
        for (node, address) in &wanted {
            let peer = self.peers.entry(*node).or_default();
            if !address.is_empty() && peer.address != *address {
                peer.address.clone_from(address);
            }
            let due = peer.retry_at.is_none_or(|at| at <= now);
            if peer.conn.is_none() && due && !peer.address.is_empty() {
                self.dials.push(*node);
                peer.retry_at = None;
            }
        }
        // Peers that were removed are left alone.
        let gone: Vec<u64> = self
            .peers
            .iter()
            .filter(|(node, peer)| {
                peer.conn.is_some() && !wanted.iter().any(|(known, _)| known == *node)
            })
            .map(|(node, _)| *node)
            .collect();
        if !self.core.state().conf.voters.is_empty() {
            for node in gone {
                if let Some(conn) = self.peers.get(&node).and_then(|peer| peer.conn) {
                    self.drop_conn(conn);
                }
                self.peers.remove(&node);
            }
        }
    }

    pub(super) fn dial(&mut self, node: u64, hub: &mut Hub) {
        let Some(peer) = self.peers.get_mut(&node) else {
            return;
        };
        match super::resolve(&peer.address) {
            Ok(address) => peer.conn = Some(hub.dial(address, Name::Node(member::number(node)))),
            Err(error) => {
                tracing::warn!(node, address = peer.address, %error, "no such address");
                peer.retry_at = Some(Instant::now() + RETRY_MOST);
            }
        }
    }

    /// Once the others have let this life vote, what earlier ones left is of no use any more.
    pub(super) fn forget_lost_logs(&mut self) {
        let own = self.config.node;
        if self.forgot || !self.core.state().conf.voters.contains(&own) {
            return;
        }
        self.forgot = true;
        let note = Note::beside(&self.config.journal);
        if member::life(own) == 0 || note.kept().is_empty() {
            return;
        }
        let forget = move || match note.forget() {
            Ok(()) => tracing::info!("the logs of earlier lives are deleted"),
            Err(fault) => tracing::warn!(fault = super::chain(&fault), "an old log is kept"),
        };
        // If there is no thread to be had, the next start tries again.
        let _ = super::thread("everopen-forget", forget);
    }

    /// Notes what has become known of a new log, before anything that comes of it is written. Once in its
    /// life: when the first leader is heard.
    pub(super) fn note_trust(&mut self) -> Result<(), crate::Fault> {
        let now = self.core.trust();
        // That it is whole is seen in the log.
        if now == Trust::Whole || now == self.config.core.trust {
            return Ok(());
        }
        self.config.core.trust = now;
        Note::beside(&self.config.journal).log_is(self.config.cluster, now)
    }

    fn peer_of(&mut self, conn: ConnId) -> Option<(u64, &mut Peer)> {
        self.peers
            .iter_mut()
            .find(|(_, peer)| peer.conn == Some(conn))
            .map(|(node, peer)| (*node, peer))
    }

    /// Whoever is at the other end has said who it is. False if another was dialed: a later life of
    /// it, most likely.
    pub(super) fn is_whom_dialed(&mut self, conn: ConnId, node: u64) -> bool {
        let Some((dialed, peer)) = self.peer_of(conn) else {
            return true;
        };
        if dialed == node {
            peer.open = true;
            peer.retry_after = Duration::ZERO;
        } else {
            peer.retry_after = RETRY_MOST;
        }
        dialed == node
    }

    /// Takes in who has come back without its memory. To be called now and then.
    pub(super) fn welcome_back(&mut self) {
        let there = self.conns.values().filter(|conn| {
            conn.role == Some(Role::Replica)
                && member::life(conn.node) > 0
                && conn.node != self.config.node
        });
        let there: BTreeSet<u64> = there.map(|conn| conn.node).collect();
        for node in there {
            let address = self.peers.get(&node).map(|peer| peer.address.clone());
            self.core.welcome(node, &address.unwrap_or_default());
        }
    }

    pub(super) fn peer_closed(&mut self, conn: ConnId) {
        let Some((node, peer)) = self.peer_of(conn) else {
            return;
        };
        let was_open = peer.open;
        (peer.conn, peer.open) = (None, false);
        peer.retry_after = (peer.retry_after * 2).clamp(RETRY_LEAST, RETRY_MOST);
        peer.retry_at = Some(Instant::now() + peer.retry_after);
        if was_open {
            self.core.report_unreachable(node);
            self.core.lost_contact(node);
            // What was on its way to it as a snapshot will not be acknowledged.
            self.core.report_snapshot(node, false);
        }
    }

    pub(super) fn send_raft(&mut self, message: raft::eraftpb::Message) {
        let to = message.to;
        let Some(conn) = self
            .peers
            .get(&to)
            .filter(|peer| peer.open)
            .and_then(|peer| peer.conn)
        else {
            self.core.report_unreachable(to);
            if message.get_msg_type() == MessageType::MsgSnapshot {
                self.core.report_snapshot(to, false);
            }
            return;
        };
        if message.get_msg_type() == MessageType::MsgSnapshot {
            self.bulk.offered(to);
        }
        self.outbox.push_raft(conn, &message);
    }

    pub(super) fn peer_message(&mut self, conn: ConnId, node: u64, message: &Message<'_>) {
        match *message {
            Message::Raft { bytes } => match message::decode(bytes) {
                Ok(message) if message.from != node || message.to != self.config.node => {
                    tracing::warn!(node, "a peer speaks for another");
                    self.drop_conn(conn);
                }
                Ok(message) if message.get_msg_type() == MessageType::MsgSnapshot => {
                    self.fetch_snapshot(node, message);
                }
                Ok(message) => self.core.receive(message),
                Err(error) => {
                    tracing::warn!(node, %error, "a peer's message can't be read");
                    self.drop_conn(conn);
                }
            },
            Message::Digest { index, hash, kind } => match kind {
                DigestKind::Events => self.core.hear_digest(node, index.0, hash),
                DigestKind::State => self.core.hear_state_hash(node, index.0, hash),
            },
            Message::Ping { nonce, sent_ns } => {
                self.peers.entry(node).or_default().is_followed = nonce == FOLLOWED;
                let clock_ns = clock().0;
                self.outbox.push(
                    conn,
                    &Message::Pong {
                        nonce,
                        sent_ns,
                        clock_ns,
                    },
                );
            }
            Message::Pong {
                sent_ns, clock_ns, ..
            } => self.pong(node, sent_ns, clock_ns),
            Message::SnapshotAsk { id, offset } => self.snapshot_asked(conn, node, id, offset),
            Message::SnapshotPart {
                id,
                offset,
                last,
                chunk,
            } => self.snapshot_part(conn, id, offset, last, chunk),
            _ => {}
        }
    }

    /// Tells every peer what the state is after the last entry.
    pub(super) fn tell_digest(&mut self) {
        if let Some((index, hash)) = self.core.digest_to_tell() {
            self.tell_peers(&Message::Digest {
                index: LogIndex(index),
                hash,
                kind: DigestKind::Events,
            });
        }
    }

    pub(super) fn tell_state_hash(&mut self, index: u64, hash: Digest) {
        self.tell_peers(&Message::Digest {
            index: LogIndex(index),
            hash,
            kind: DigestKind::State,
        });
    }

    fn tell_peers(&mut self, message: &Message<'_>) {
        for conn in self
            .peers
            .values()
            .filter(|peer| peer.open)
            .filter_map(|peer| peer.conn)
        {
            self.outbox.push(conn, message);
        }
    }

    pub(super) fn ping_peers(&mut self) {
        let sent_ns = self.started.elapsed().as_nanos() as u64;
        let nonce = match self.followers.is_empty() {
            true => 0,
            false => FOLLOWED,
        };
        self.tell_peers(&Message::Ping { nonce, sent_ns });
    }

    fn pong(&mut self, node: u64, sent_ns: u64, clock_ns: u64) {
        let now = self.started.elapsed().as_nanos() as u64;
        let round_trip = now.saturating_sub(sent_ns);
        let wall = clock().0 as i128 - i128::from(round_trip / 2);
        let ahead = (i128::from(clock_ns) - wall) / 1_000;
        let peer = self.peers.entry(node).or_default();
        let micros = u32::try_from(round_trip / 1_000).unwrap_or(u32::MAX);
        peer.samples
            .push_back((micros, i64::try_from(ahead).unwrap_or(i64::MAX)));
        if peer.samples.len() > SAMPLES {
            peer.samples.pop_front();
        }
    }
}
