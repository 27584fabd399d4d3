//! Clients: each has a session, sends commands in it, and repeats what it is not answered.

use std::collections::BTreeMap;

use bytes::Bytes;
use everopen_domain::{Command, Event};
use everopen_replica::core::Answer;
use everopen_replica::sessions::Stored;
use everopen_wire::message::RefusalCode;
use everopen_wire::{command, event};

use crate::canary::Canary;
use crate::packet::{About, Packet, Reply, Submitted, Wish};
use crate::random::Random;
use crate::violation::Check;
use crate::workload::{Memory, genesis};
use crate::world::{self, World};

/// Microseconds without an answer after which a request is sent again.
const PATIENCE: (u64, u64) = (100_000, 1_000_000);
/// How often, in thousandths of its turns, a client gives up what it waits for.
const GIVES_UP: u64 = 10;

/// A client.
pub(crate) struct Client {
    endpoint: u64,
    number: u64,
    nonce: u64,
    session: Option<u64>,
    /// The replica that it thinks leads.
    target: u64,
    next: u64,
    /// Commands that it has no answer to, by sequence.
    open: BTreeMap<u64, Open>,
    /// When it asks for a session again.
    ask_at: u64,
    reads: u64,
    /// What it has to do before anything else, the last first.
    script: Vec<Vec<Command>>,
    memory: Memory,
}

struct Open {
    count: u16,
    commands: Bytes,
    send_at: u64,
    sent: u32,
}

impl Client {
    pub fn new(endpoint: u64, number: u64, random: &mut Random, clients: u64) -> Self {
        let mut script = if number == 0 {
            genesis(clients)
        } else {
            Vec::new()
        };
        script.reverse();
        Self {
            endpoint,
            number,
            nonce: random.draw(),
            session: None,
            target: 1,
            next: 0,
            open: BTreeMap::new(),
            ask_at: 0,
            reads: 0,
            script,
            memory: Memory::default(),
        }
    }

    /// Whether it waits for nothing.
    pub fn is_idle(&self) -> bool {
        self.open.is_empty() && self.script.is_empty()
    }

    fn open(&mut self, commands: &[Command], now: u64) {
        let mut bytes = Vec::new();
        for one in commands {
            command::encode(one, &mut bytes);
        }
        let open = Open {
            count: commands.len() as u16,
            commands: bytes.into(),
            send_at: now,
            sent: 0,
        };
        self.open.insert(self.next, open);
        self.next += 1;
    }
}

impl Client {
    /// Waits no longer for the oldest commands if they were sent, whatever becomes of them. Later ones
    /// may stand beside them in one entry.
    fn give_up(&mut self, now: u64) -> Option<u64> {
        let first = self.open.first_entry();
        let sent = first.filter(|open| open.get().sent > 0 && open.get().send_at > now)?;
        Some(sent.remove_entry().0)
    }

    /// Gives commands whose answer is late another number, as no client may.
    fn renumber(&mut self, now: u64) {
        let late = self
            .open
            .iter()
            .find(|(_, open)| open.sent > 0 && open.send_at <= now)
            .map(|(sequence, _)| *sequence);
        if let Some(open) = late.and_then(|sequence| self.open.remove(&sequence)) {
            self.open.insert(self.next, open);
            self.next += 1;
        }
    }
}

impl World<'_> {
    pub fn client_turn(&mut self, at: usize) {
        let now = self.now;
        let patience = self.random.between(PATIENCE.0, PATIENCE.1);
        let (think, clients) = (self.profile.think, self.profile.clients);
        // Nobody trades before the venue is there.
        let opened = self.clients[0].script.is_empty() && self.clients[0].next > 0;
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        let renumbers = self.has(Canary::RenumberedRetry);
        let hasty = self.has(Canary::HastyClient);
        let client = &mut self.clients[at];
        let mut sends = Vec::new();
        let mut given_up = None;
        match client.session {
            None if client.ask_at <= now => {
                client.ask_at = now + patience;
                client.target = self.random.pick(&ids).unwrap_or(1);
                let nonce = client.nonce;
                sends.push((About::Session, Wish::Open { nonce }));
            }
            None => {}
            Some(session) => {
                if client.open.is_empty()
                    && let Some(group) = client.script.pop()
                {
                    client.open(&group, now);
                } else if opened && client.open.len() < self.profile.window && !self.healing {
                    let own = client.number;
                    let commands = client.memory.next(&mut self.random, own, clients, now);
                    client.open(&commands, now);
                }
                if renumbers {
                    client.renumber(now);
                }
                if self.random.chance(GIVES_UP) {
                    given_up = client.give_up(now).map(|sequence| (session, sequence));
                }
                let oldest = client.open.keys().next().copied().unwrap_or(client.next);
                let mut missed = false;
                for (sequence, open) in &mut client.open {
                    if open.send_at > now {
                        continue;
                    }
                    missed |= open.sent > 0;
                    open.sent += 1;
                    open.send_at = now + patience;
                    let submitted = Submitted {
                        behind: if hasty { 0 } else { (sequence - oldest) as u32 },
                        count: open.count,
                        commands: open.commands.clone(),
                    };
                    let sequence = *sequence;
                    let about = About::Command { session, sequence };
                    sends.push((about, Wish::Apply(submitted)));
                }
                if missed && self.random.chance(500) {
                    client.target = self.random.pick(&ids).unwrap_or(1);
                }
                if self.random.chance(100) {
                    client.reads += 1;
                    let number = client.reads;
                    sends.push((About::Read { number }, Wish::Read));
                }
            }
        }
        let (endpoint, target) = (client.endpoint, client.target);
        if let Some(command) = given_up {
            self.audit.given_up.push(command);
            self.count("commands given up");
        }
        for (about, wish) in sends {
            self.send(endpoint, target, Packet::Request { about, wish });
        }
        let think = self.random.spread(think / 4, think * 4);
        let event = world::Event::Client { client: at };
        self.queue.push(now + think, event);
    }

    pub fn client_hears(&mut self, at: usize, from: u64, about: About, reply: Reply) {
        match reply {
            Reply::Answer(Answer::Opened(session)) => {
                let before = *self.clients[at].session.get_or_insert(session);
                if before != session {
                    let text = format!("client {at} was given sessions {before} and {session}");
                    self.fail(Check::Session, text);
                }
            }
            Reply::Answer(Answer::Done(stored)) => {
                if let About::Command { sequence, .. } = about {
                    self.client_done(at, sequence, &stored);
                }
            }
            Reply::Answer(Answer::ReadAt(_)) => self.count("reads"),
            Reply::Answer(_) => {}
            Reply::Refused { refused, leader } => {
                let ids: Vec<u64> = self.nodes.keys().copied().collect();
                let next = leader
                    .filter(|leader| *leader != from)
                    .or_else(|| self.random.pick(&ids));
                let after = u64::from(refused.retry_after_ms).max(5) * 1_000;
                self.client_refused(at, about, refused.code, next, after);
            }
        }
    }

    fn client_done(&mut self, at: usize, sequence: u64, stored: &Stored) {
        let client = &mut self.clients[at];
        if client.open.remove(&sequence).is_none() {
            return;
        }
        let events: Result<Vec<Event>, _> = event::decode_all(&stored.events).collect();
        match events {
            Ok(events) if events.len() == stored.count as usize => {
                client.memory.learn(&events);
                self.audit.books.answered(&events);
                self.count("commands acknowledged");
            }
            _ => self.fail(
                Check::Answer,
                format!("client {at}: {sequence} can't be read"),
            ),
        }
    }

    fn client_refused(
        &mut self,
        at: usize,
        about: About,
        code: RefusalCode,
        next: Option<u64>,
        after: u64,
    ) {
        let now = self.now;
        let client = &mut self.clients[at];
        if matches!(code, RefusalCode::NotLeader | RefusalCode::OutcomeUnknown) {
            client.target = next.unwrap_or(client.target);
        }
        match about {
            About::Session => client.ask_at = now + after,
            About::Command { sequence, .. } => {
                let Some(open) = client.open.get_mut(&sequence) else {
                    return;
                };
                open.send_at = now + after;
                let lost = matches!(
                    code,
                    RefusalCode::SessionUnknown
                        | RefusalCode::SequenceForgotten
                        | RefusalCode::Malformed
                        | RefusalCode::TooLarge
                );
                if lost {
                    let text = format!("client {at}: command {sequence} is refused: {code}");
                    self.fail(Check::Session, text);
                }
            }
            About::Read { .. } => {}
        }
    }
}
