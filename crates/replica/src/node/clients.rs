//! What clients ask: sessions, submissions, reads, the log.

use std::time::{Duration, Instant};

use bytes::Bytes;
use everopen_domain::{LogIndex, Timestamp};
use everopen_rpc::{ConnId, Hub};
use everopen_wire::message::{Message, RefusalCode};

use super::event_loop::Inner;
use super::follow::{Follow, Sending};
use super::publisher::Publication;
use super::tickets::Asker;
use crate::core::{Answer, Refused, Submission};
use crate::member;

/// Requests that may be under way at once.
const TICKETS_MAX: usize = 262_144;
/// When to come again to a replica that waits for its first state.
const JOINING_RETRY_MS: u32 = 1_000;
/// Bytes on their way to one follower before it has to take some.
const FOLLOW_QUEUED_MAX: usize = 8 << 20;
/// Bytes of a checkpoint in one frame.
const CHUNK_BYTES: usize = 1 << 20;
/// A follower hears at least so often that the replica is there.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

impl Inner {
    pub(super) fn client_message(&mut self, conn: ConnId, message: &Message<'_>) {
        let (request, submission) = match *message {
            Message::OpenSession { request, nonce } => (request, Submission::OpenSession { nonce }),
            Message::Submit {
                request,
                client,
                sequence,
                behind,
                count,
                commands,
            } => (
                request,
                Submission::Session {
                    client,
                    sequence,
                    behind,
                    count,
                    commands,
                },
            ),
            Message::ReadIndex { request } => return self.read(conn, request),
            Message::Follow { after, checkpoint } => return self.follow(conn, after, checkpoint),
            _ => return,
        };
        if self.is_stopping() && !self.core.is_leader() {
            return self.refuse(conn, request, RefusalCode::NotLeader, 0);
        }
        if self.tickets.len() >= TICKETS_MAX {
            return self.refuse(conn, request, RefusalCode::Busy, 20);
        }
        let ticket = self.tickets.issue(Asker::Client { conn, request });
        if let Err(refused) = self.core.submit(ticket, &submission) {
            self.tickets.redeem(ticket);
            self.refuse(conn, request, refused.code, refused.retry_after_ms);
        }
    }

    fn read(&mut self, conn: ConnId, request: u64) {
        let ticket = self.tickets.issue(Asker::Client { conn, request });
        if let Err(refused) = self.core.read_index(ticket) {
            self.tickets.redeem(ticket);
            self.refuse(conn, request, refused.code, refused.retry_after_ms);
        }
    }

    pub(super) fn refuse(
        &mut self,
        conn: ConnId,
        request: u64,
        code: RefusalCode,
        retry_after_ms: u32,
    ) {
        // One that can't be reached from here leads no more, most likely.
        let reached = |leader: &u64| {
            *leader == self.config.node || self.peers.get(leader).is_some_and(|peer| peer.open)
        };
        let leader = self.core.leader().filter(reached).unwrap_or(0);
        let nodes = &self.core.state().nodes;
        let address = nodes.get(&leader).map_or("", String::as_str);
        self.outbox.push(
            conn,
            &Message::Refused {
                request,
                code,
                retry_after_ms,
                leader: member::number(leader),
                leader_address: address,
            },
        );
    }

    pub(super) fn answer(&mut self, ticket: u64, answer: Answer) {
        match self.tickets.redeem(ticket) {
            Some(Asker::Client { conn, request }) => self.answer_client(conn, request, answer),
            Some(Asker::Call { conn, request }) => self.answer_call(conn, request, &answer),
            None => {}
        }
    }

    fn answer_client(&mut self, conn: ConnId, request: u64, answer: Answer) {
        match answer {
            Answer::Done(stored) => self.outbox.push(
                conn,
                &Message::Outcome {
                    request,
                    index: LogIndex(stored.index),
                    time: stored.time,
                    count: stored.count,
                    events: &stored.events,
                },
            ),
            Answer::Opened(client) => {
                self.outbox
                    .push(conn, &Message::SessionOpened { request, client });
            }
            Answer::ReadAt(index) | Answer::Changed(index) => {
                let index = LogIndex(index);
                self.outbox.push(conn, &Message::ReadAt { request, index });
            }
            Answer::Refused(Refused {
                code,
                retry_after_ms,
            }) => self.refuse(conn, request, code, retry_after_ms),
        }
    }

    /// Whether it waits for its first state: what it could show is empty, and nobody's.
    fn is_joining(&self) -> bool {
        self.core.state().conf.voters.is_empty()
    }

    fn follow(&mut self, conn: ConnId, after: u64, checkpoint: bool) {
        if self.is_joining() {
            return self.refuse(conn, 0, RefusalCode::Busy, JOINING_RETRY_MS);
        }
        let applied = self.core.state().index;
        if !checkpoint && after + 1 < self.ring.first(applied + 1) {
            return self.refuse(conn, 0, RefusalCode::TooFarBehind, 0);
        }
        let Some(known) = self.conns.get_mut(&conn) else {
            return;
        };
        self.followers_made += 1;
        let number = self.followers_made;
        if let Some(before) = known.follow.replace(Follow {
            number,
            next: (!checkpoint).then_some(after + 1),
            checkpoint: None,
            told: Instant::now(),
        }) {
            self.followers.remove(&before.number);
        }
        self.followers.insert(number, conn);
        if checkpoint {
            self.publish_now(Publication::Checkpoint(number));
        }
    }

    pub(super) fn checkpoint_ready(
        &mut self,
        follower: u64,
        index: u64,
        time: Timestamp,
        bytes: Bytes,
    ) {
        let conn = self.followers.get(&follower);
        let follow = conn
            .and_then(|conn| self.conns.get_mut(conn))
            .and_then(|conn| conn.follow.as_mut());
        if let Some(follow) = follow.filter(|follow| follow.number == follower) {
            follow.checkpoint = Some(Sending {
                index,
                time,
                bytes,
                offset: 0,
            });
        }
    }

    /// Sends followers what they can take now.
    pub(super) fn feed_followers(&mut self, hub: &Hub) {
        let commit = LogIndex(self.core.commit_index());
        let applied = self.core.state().index;
        let mut cut = Vec::new();
        for conn in self.followers.values() {
            let Some(follow) = self
                .conns
                .get_mut(conn)
                .and_then(|known| known.follow.as_mut())
            else {
                continue;
            };
            let mut queued = hub.queued(*conn);
            while queued < FOLLOW_QUEUED_MAX
                && let Some(sending) = &mut follow.checkpoint
            {
                let end = (sending.offset + CHUNK_BYTES).min(sending.bytes.len());
                let last = end == sending.bytes.len();
                let chunk = &sending.bytes[sending.offset..end];
                queued += chunk.len();
                self.outbox.push(
                    *conn,
                    &Message::Checkpoint {
                        index: LogIndex(sending.index),
                        time: sending.time,
                        last,
                        chunk,
                    },
                );
                follow.told = Instant::now();
                sending.offset = end;
                if last {
                    follow.next = Some(sending.index + 1);
                    follow.checkpoint = None;
                }
            }
            while let Some(next) = follow.next.filter(|_| queued < FOLLOW_QUEUED_MAX) {
                if next > applied {
                    break;
                }
                let Some(entry) = self.ring.get(next) else {
                    cut.push(*conn);
                    break;
                };
                queued += entry.encoded.len() + 32;
                self.outbox.push(
                    *conn,
                    &Message::Entry {
                        index: LogIndex(entry.index),
                        time: entry.time,
                        count: entry.count,
                        events: &entry.encoded,
                    },
                );
                follow.next = Some(next + 1);
                follow.told = Instant::now();
            }
            if follow.told.elapsed() >= PROGRESS_EVERY {
                follow.told = Instant::now();
                let applied = LogIndex(applied);
                self.outbox
                    .push(*conn, &Message::Progress { commit, applied });
            }
        }
        for conn in cut {
            self.cut_follower(conn);
        }
    }

    /// Somebody reads the log itself from here on.
    pub(super) fn tail(&mut self, conn: ConnId, after: u64) {
        if self.is_joining() {
            return self.refuse(conn, 0, RefusalCode::Busy, JOINING_RETRY_MS);
        }
        if after < self.core.base_index() {
            return self.refuse(conn, 0, RefusalCode::TooFarBehind, 0);
        }
        if let Some(known) = self.conns.get_mut(&conn) {
            known.tail = Some(after + 1);
            self.tails.retain(|tail| *tail != conn);
            self.tails.push(conn);
        }
    }

    /// Sends those who read the log what they can take now.
    pub(super) fn feed_tails(&mut self, hub: &Hub) {
        let applied = self.core.state().index;
        for conn in self.tails.clone() {
            let Some(mut next) = self.conns.get(&conn).and_then(|known| known.tail) else {
                continue;
            };
            let mut queued = hub.queued(conn);
            while next <= applied && queued < FOLLOW_QUEUED_MAX {
                let Some((term, commands, data)) = self.core.log_entry(next) else {
                    self.tails.retain(|tail| *tail != conn);
                    self.refuse(conn, 0, RefusalCode::TooFarBehind, 0);
                    break;
                };
                queued += data.len() + 32;
                self.outbox.push(
                    conn,
                    &Message::LogEntry {
                        index: LogIndex(next),
                        term,
                        commands,
                        data: &data,
                    },
                );
                next += 1;
            }
            if let Some(known) = self.conns.get_mut(&conn) {
                known.tail = Some(next);
            }
        }
    }

    /// Entries were skipped here: who follows must begin anew, here or elsewhere.
    pub(super) fn cut_followers(&mut self) {
        let all: Vec<ConnId> = self.followers.values().copied().collect();
        for conn in all {
            self.cut_follower(conn);
        }
    }

    fn cut_follower(&mut self, conn: ConnId) {
        if let Some(follow) = self
            .conns
            .get_mut(&conn)
            .and_then(|known| known.follow.take())
        {
            self.followers.remove(&follow.number);
        }
        self.refuse(conn, 0, RefusalCode::TooFarBehind, 0);
    }
}
