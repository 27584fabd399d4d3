//! Clients: each has a session, sends commands in it, and repeats what it is not answered.

use std::collections::BTreeMap;

use bytes::Bytes;
use everopen_domain::{Amount, AssetId, Command, MemberId, Reference};
use everopen_replica::core::Answer;
use everopen_wire::command;
use everopen_wire::message::RefusalCode;

use crate::packet::{About, Packet, Reply, Submitted, Wish};
use crate::random::Random;
use crate::violation::Check;
use crate::world::{Event, World};

/// Microseconds without an answer after which a request is sent again.
const PATIENCE: (u64, u64) = (100_000, 1_000_000);

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
    pub acknowledged: u64,
}

struct Open {
    count: u16,
    commands: Bytes,
    send_at: u64,
}

impl Client {
    pub fn new(endpoint: u64, number: u64, random: &mut Random, nodes: u64) -> Self {
        Self {
            endpoint,
            number,
            nonce: random.draw(),
            session: None,
            target: random.between(1, nodes),
            next: 0,
            open: BTreeMap::new(),
            ask_at: 0,
            reads: 0,
            acknowledged: 0,
        }
    }

    pub fn is_idle(&self) -> bool {
        self.open.is_empty()
    }
}

impl World<'_> {
    pub fn client_turn(&mut self, at: usize) {
        let (now, healing) = (self.now, self.healing);
        let window = self.profile.window;
        let patience = self.random.between(PATIENCE.0, PATIENCE.1);
        let client = &mut self.clients[at];
        let mut sends = Vec::new();
        match client.session {
            None if client.ask_at <= now => {
                client.ask_at = now + patience;
                let nonce = client.nonce;
                sends.push((About::Session, Wish::Open { nonce }));
            }
            None => {}
            Some(session) => {
                if client.open.len() < window && !healing {
                    let sequence = client.next;
                    client.next += 1;
                    let command = Command::Deposit {
                        member: MemberId(client.number as u32),
                        asset: AssetId(0),
                        amount: Amount(1 + i128::from(sequence)),
                        reference: Reference::EMPTY,
                    };
                    let mut commands = Vec::new();
                    command::encode(&command, &mut commands);
                    let open = Open {
                        count: 1,
                        commands: commands.into(),
                        send_at: now,
                    };
                    client.open.insert(sequence, open);
                }
                let oldest = client.open.keys().next().copied().unwrap_or(client.next);
                for (sequence, open) in &mut client.open {
                    if open.send_at > now {
                        continue;
                    }
                    open.send_at = now + patience;
                    let submitted = Submitted {
                        behind: (sequence - oldest) as u32,
                        count: open.count,
                        commands: open.commands.clone(),
                    };
                    let sequence = *sequence;
                    let about = About::Command { session, sequence };
                    sends.push((about, Wish::Apply(submitted)));
                }
                if self.random.chance(100) {
                    client.reads += 1;
                    let number = client.reads;
                    sends.push((About::Read { number }, Wish::Read));
                }
            }
        }
        let (endpoint, target) = (client.endpoint, client.target);
        for (about, wish) in sends {
            self.send(endpoint, target, Packet::Request { about, wish });
        }
        let think = self.random.spread(self.profile.think / 4, self.profile.think * 4);
        self.queue.push(now + think, Event::Client { client: at });
    }

    pub fn client_hears(&mut self, at: usize, from: u64, about: About, reply: Reply) {
        let now = self.now;
        let client = &mut self.clients[at];
        match reply {
            Reply::Answer(Answer::Opened(session)) => {
                let before = *client.session.get_or_insert(session);
                if before != session {
                    let text = format!("client {at} was given sessions {before} and {session}");
                    self.fail(Check::Session, text);
                }
            }
            Reply::Answer(Answer::Done(_)) => {
                if let About::Command { sequence, .. } = about
                    && client.open.remove(&sequence).is_some()
                {
                    client.acknowledged += 1;
                    self.count("commands acknowledged");
                }
            }
            Reply::Answer(Answer::ReadAt(_)) => self.count("reads"),
            Reply::Answer(_) => {}
            Reply::Refused { refused, leader } => {
                let next = match leader {
                    Some(leader) if leader != from => leader,
                    _ => 1 + self.random.below(self.profile.nodes),
                };
                let client = &mut self.clients[at];
                if matches!(
                    refused.code,
                    RefusalCode::NotLeader | RefusalCode::OutcomeUnknown
                ) {
                    client.target = next;
                }
                let after = u64::from(refused.retry_after_ms).max(5) * 1_000;
                match about {
                    About::Session => client.ask_at = now + after,
                    About::Command { sequence, .. } => {
                        if let Some(open) = client.open.get_mut(&sequence) {
                            open.send_at = now + after;
                            let lost = matches!(
                                refused.code,
                                RefusalCode::SessionUnknown | RefusalCode::SequenceForgotten
                            );
                            if lost {
                                let text = format!(
                                    "client {at}: command {sequence} is refused: {}",
                                    refused.code
                                );
                                self.fail(Check::Session, text);
                            }
                        }
                    }
                    About::Read { .. } => {}
                }
            }
        }
    }
}
