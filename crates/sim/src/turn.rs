//! A turn of a replica's loop: as `everopen_replica::node` runs it, without sockets and threads.

use everopen_domain::LogIndex;
use everopen_replica::core::{Answer, Effects, Step, Submission};
use everopen_replica::raft::eraftpb::MessageType;
use everopen_replica::{Applied, Reader, member, message};

use crate::canary::Canary;
use crate::packet::{About, CLIENTS, Packet, Reply, Wish};
use crate::process::{Asker, Process};
use crate::violation::Check;
use crate::world::{Event, World, chain};

/// Microseconds of a tick.
const TICK: u64 = 10_000;
/// Microseconds for which the others wait to be told what is committed when no entry tells them.
const COMMIT_TOLD_AFTER: u64 = 1_000;
/// Microseconds between two looks at what is to be told to the peers.
const CHORES: u64 = 100_000;

impl World<'_> {
    pub fn wake(&mut self, id: u64, number: u64) {
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        let epoch = node.epoch;
        let paused = node.paused_until;
        let full = node.full_until > now;
        let clock = node.clock(now);
        let Some(p) = &mut node.process else { return };
        if number != (epoch << 32 | p.wake_number) {
            return;
        }
        p.wake_at = u64::MAX;
        if paused > now {
            return self.wake_at(id, paused);
        }
        let Some(mut p) = node.process.take() else {
            return;
        };
        for (from, packet) in std::mem::take(&mut p.inbox) {
            self.hear(id, &mut p, from, packet);
        }
        for peer in std::mem::take(&mut p.broken) {
            p.core.lost_contact(peer);
        }
        p.core.persisted(p.durable);
        p.core.set_disk_full(full);
        self.pass_time(id, &mut p);
        match p.core.turn(clock) {
            Ok(effects) => {
                self.note_trust(id, &p);
                self.carry_out(id, &mut p, effects);
                let tick = p.last_tick + TICK;
                let next = match p.core.untold_commit() {
                    _ if p.core.has_work() => now + 5,
                    Some(_) => tick.min(now + COMMIT_TOLD_AFTER),
                    None => tick,
                };
                if self.wipe_the_vote(id) || std::mem::take(&mut p.doomed) {
                    drop(p);
                    return self.restart_later(id, 1_000, 1_000_000);
                }
                self.put_back(id, p);
                self.wake_at(id, next.max(now + 1));
            }
            Err(stop) => {
                drop(p);
                self.stopped(id, &stop);
            }
        }
    }

    /// Before anything that comes of it is written.
    fn note_trust(&mut self, id: u64, p: &Process) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.trust = p.core.trust();
        }
    }

    fn pass_time(&mut self, id: u64, p: &mut Process) {
        let since = self.now - p.last_tick;
        if since >= TICK {
            // At most one, however long the pause was.
            p.core.tick();
            p.last_tick = if since < TICK * 2 {
                p.last_tick + TICK
            } else {
                self.now
            };
            self.tick_bulk(id, p);
        }
        match p.core.untold_commit() {
            Some(told) if p.untold.is_none_or(|(before, _)| before != told) => {
                p.untold = Some((told, self.now));
            }
            Some(_) => {
                let since = p.untold.map_or(self.now, |(_, since)| since);
                if self.now - since >= COMMIT_TOLD_AFTER {
                    p.core.tell_commit();
                }
            }
            None => p.untold = None,
        }
        if self.now - p.last_chores >= CHORES {
            p.last_chores = self.now;
            if let Some((index, hash)) = p.core.digest_to_tell() {
                self.tell(id, p, &Packet::Digest { index, hash });
            }
            self.greet(id, p);
        }
    }

    /// Says to all peers which rules this replica knows.
    pub fn greet(&mut self, id: u64, p: &Process) {
        let mut logic_max = p.core.config().logic_max;
        if self.has(Canary::Braggart) {
            logic_max += 1;
        }
        let packet = Packet::Hello { logic_max };
        self.tell(id, p, &packet);
        if p.core.members().is_empty() {
            // It is reached before it knows anybody, and so can say who it is.
            let others: Vec<u64> = self.nodes.keys().copied().collect();
            for other in others.into_iter().filter(|other| *other != id) {
                self.send(id, other, packet.clone());
            }
        }
    }

    fn tell(&mut self, id: u64, p: &Process, packet: &Packet) {
        for peer in p.core.members() {
            if peer != id {
                self.send(id, peer, packet.clone());
            }
        }
    }

    fn hear(&mut self, id: u64, p: &mut Process, from: u64, packet: Packet) {
        match packet {
            Packet::Raft(bytes) => match message::decode(&bytes) {
                Ok(message) if message.get_msg_type() == MessageType::MsgSnapshot => {
                    self.fetch_snapshot(id, p, from, message);
                }
                Ok(message) => p.core.receive(message),
                Err(error) => self.fail(Check::Panic, format!("a message can't be read: {error}")),
            },
            Packet::Digest { index, hash } => p.core.hear_digest(from, index, hash),
            Packet::StateHash { index, hash } => p.core.hear_state_hash(from, index, hash),
            Packet::Hello { logic_max } => {
                p.core.set_support(from, logic_max);
                if member::life(from) > 0 {
                    p.core.welcome(from, &format!("node-{from}:1"));
                }
            }
            Packet::Ask { place, offset } => self.snapshot_asked(id, p, from, place, offset),
            Packet::Part {
                place,
                offset,
                chunk,
            } => self.snapshot_part(id, p, from, (place, offset, chunk)),
            Packet::Request { about, wish } => self.requested(id, p, from, about, &wish),
            Packet::Reply { .. } => {}
        }
    }

    fn requested(&mut self, id: u64, p: &mut Process, endpoint: u64, about: About, wish: &Wish) {
        if self.answer_at_once(id, p, endpoint, about) {
            return;
        }
        let floor = self.audit.committed();
        let ticket = p.ticket(Asker::Client {
            endpoint,
            about,
            floor,
        });
        let taken = match (wish, about) {
            (Wish::Open { nonce }, _) => p
                .core
                .submit(ticket, &Submission::OpenSession { nonce: *nonce }),
            (Wish::Apply(submitted), About::Command { session, sequence }) => p.core.submit(
                ticket,
                &Submission::Session {
                    client: session,
                    sequence,
                    behind: submitted.behind,
                    count: submitted.count,
                    commands: &submitted.commands,
                },
            ),
            (Wish::Apply(_), _) => return,
            (Wish::Read, _) => p.core.read_index(ticket),
        };
        if let Err(refused) = taken {
            p.askers.remove(&ticket);
            let leader = p.core.leader();
            let reply = Reply::Refused { refused, leader };
            self.send(id, endpoint, Packet::Reply { about, reply });
        }
    }

    pub fn carry_out(&mut self, id: u64, p: &mut Process, effects: Effects) {
        for message in effects.messages {
            let (to, kind) = (message.to, message.get_msg_type());
            if kind == MessageType::MsgSnapshot {
                p.bulk.offered(to, self.now);
            }
            let mut bytes = Vec::new();
            message::encode(&message, &mut bytes);
            let mut packet = Packet::Raft(bytes);
            p.doomed |= self.poison(to, &mut packet);
            if !self.send(id, to, packet) {
                p.core.report_unreachable(to);
                if kind == MessageType::MsgSnapshot {
                    p.core.report_snapshot(to, false);
                }
            }
        }
        p.writes.extend(effects.writes);
        self.lie(p);
        self.begin_write(id, p);
        self.audit_steps(id, p, &effects.steps);
        for step in effects.steps {
            self.step(id, p, step);
        }
        self.audit_turn(id, p);
        for (ticket, answer) in effects.answers {
            let Some(asker) = p.askers.remove(&ticket) else {
                continue;
            };
            self.answer(id, p, asker, answer);
        }
    }

    fn step(&mut self, id: u64, p: &mut Process, step: Step) {
        match step {
            Step::Entry(entry, line) => {
                p.understudy.entry(&line);
                if !self.is_deaf(id) {
                    p.reader.applied(&Applied {
                        index: LogIndex(entry.index),
                        time: entry.time,
                        events: &entry.events,
                    });
                }
            }
            Step::Snapshot(job) => {
                let checkpoint = p.reader.checkpoint();
                if job.copy.is_none() {
                    self.count("snapshots of second states");
                }
                p.job = Some(p.understudy.make(*job, &checkpoint));
                let at = self.now + self.random.spread(500, 100_000);
                let epoch = self.nodes.get(&id).map_or(0, |node| node.epoch);
                self.queue.push(at, Event::SnapshotDone { node: id, epoch });
            }
            Step::Installed {
                index, checkpoint, ..
            } => {
                p.understudy.end();
                self.count("snapshots installed");
                self.say(format_args!("node {id}: takes over the state of {index}"));
                if let Err(error) = p.reader.restore(&checkpoint) {
                    self.fail(Check::Follower, format!("node {id}: {error}"));
                }
            }
        }
    }

    /// A snapshot was written.
    pub fn snapshot_done(&mut self, id: u64, epoch: u64) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.epoch == epoch) else {
            return;
        };
        let full = node.full_until > self.now;
        let Some(mut p) = node.process.take() else {
            return;
        };
        let Some(made) = p.job.take() else {
            return self.put_back(id, p);
        };
        p.core.set_understudied(p.understudy.is_kept());
        let Some(made) = made.filter(|_| !full) else {
            self.count("snapshots failed");
            p.core.snapshot_ended(None);
            return self.put_back(id, p);
        };
        let written = p.snapshots.write_with(made.place, |out| {
            out.write_all(&made.header)?;
            out.write_all(&made.bytes)
        });
        match written {
            Ok(file) => {
                let (index, hash) = (made.index(), made.state_hash);
                self.say(format_args!("node {id}: snapshot of {index}"));
                self.count("snapshots taken");
                self.audit_state_hash(id, index, hash);
                p.core.set_state_hash(index, hash);
                p.core.snapshot_ended(Some(made.snapshot));
                if p.file.as_ref().is_none_or(|held| held.index < file.index) {
                    p.file = Some(file);
                }
                self.tell(id, &p, &Packet::StateHash { index, hash });
                if let Err(error) = p.writer.retire() {
                    self.fail(Check::Stop, format!("node {id}: {error}"));
                }
            }
            Err(error) => self.fail(Check::Stop, format!("node {id}: {}", chain(&error))),
        }
        self.put_back(id, p);
        self.wake_soon(id);
    }

    fn answer(&mut self, id: u64, p: &Process, asker: Asker, answer: Answer) {
        let Asker::Client {
            endpoint,
            about,
            floor,
        } = asker
        else {
            return;
        };
        debug_assert!(endpoint >= CLIENTS);
        let about = self.misdirect(about);
        self.audit_answer(id, about, floor, &answer);
        let reply = match answer {
            Answer::Refused(refused) => Reply::Refused {
                refused,
                leader: p.core.leader(),
            },
            answer => Reply::Answer(answer),
        };
        self.send(id, endpoint, Packet::Reply { about, reply });
    }
}
