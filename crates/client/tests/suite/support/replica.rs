//! One replica: real connections, and what the script makes of them.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use everopen_domain::{LogIndex, Timestamp};
use everopen_rpc::{ConnId, Event, Hub};
use everopen_wire::event;
use everopen_wire::message::{Message, PROTOCOL, RefusalCode, Role};

use super::echo;
use super::world::{Does, World};

pub struct Replica {
    id: u64,
    world: Arc<Mutex<World>>,
    addresses: HashMap<u64, SocketAddr>,
    /// Open connections, and the next entry for those that follow.
    conns: BTreeMap<ConnId, Option<u64>>,
    out: Vec<(ConnId, Vec<u8>)>,
    closes: Vec<ConnId>,
}

impl Replica {
    pub fn new(id: u64, world: Arc<Mutex<World>>, addresses: HashMap<u64, SocketAddr>) -> Self {
        Self {
            id,
            world,
            addresses,
            conns: BTreeMap::new(),
            out: Vec::new(),
            closes: Vec::new(),
        }
    }

    pub fn run(mut self, mut hub: Hub, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            hub.turn(Some(Duration::from_millis(1)), &mut |event| {
                self.hear(event)
            })
            .unwrap();
            self.feed();
            let muted = self.world.lock().unwrap().mute.contains(&self.id);
            for (conn, frame) in self.out.drain(..) {
                if !muted {
                    let _ = hub.send(conn, &frame);
                }
            }
            hub.flush();
            let down = self.world.lock().unwrap().down.contains(&self.id);
            if down {
                self.closes.extend(self.conns.keys());
            }
            for conn in self.closes.drain(..) {
                self.conns.remove(&conn);
                hub.close(conn);
            }
        }
    }

    fn hear(&mut self, heard: Event<'_>) {
        match heard {
            Event::Opened { conn, .. } => {
                self.conns.insert(conn, None);
                self.say(
                    conn,
                    &Message::Hello {
                        protocol: PROTOCOL,
                        role: Role::Replica,
                        node: self.id,
                        cluster: [7; 16],
                        logic_min: 1,
                        logic_max: 2,
                        address: &self.addresses[&self.id].to_string(),
                        build: "test",
                    },
                );
            }
            Event::Closed { conn, .. } => drop(self.conns.remove(&conn)),
            Event::Frame { conn, bytes } => {
                if !self.closes.contains(&conn) {
                    let message = Message::decode(bytes).expect("clients speak the protocol");
                    self.message(conn, &message);
                }
            }
        }
    }

    fn say(&mut self, conn: ConnId, message: &Message<'_>) {
        let mut frame = Vec::new();
        message.encode(&mut frame);
        self.out.push((conn, frame));
    }

    fn refuse(&mut self, conn: ConnId, request: u64, code: RefusalCode) {
        let world = self.world.lock().unwrap();
        let hint = (world.hints && world.leader != self.id).then_some(world.leader);
        drop(world);
        let leader = hint.unwrap_or(0);
        let address = self.addresses.get(&leader).map(ToString::to_string);
        self.say(
            conn,
            &Message::Refused {
                request,
                code,
                retry_after_ms: 1,
                leader,
                leader_address: &address.unwrap_or_default(),
            },
        );
    }

    fn message(&mut self, conn: ConnId, message: &Message<'_>) {
        let world = Arc::clone(&self.world);
        let mut world = world.lock().unwrap();
        let leads = world.leader == self.id;
        match *message {
            Message::Hello { role, .. } => assert_eq!(role, Role::Client),
            Message::OpenSession { request, .. }
            | Message::Submit { request, .. }
            | Message::ReadIndex { request }
                if !leads =>
            {
                drop(world);
                self.refuse(conn, request, RefusalCode::NotLeader);
            }
            Message::OpenSession { request, nonce } => {
                let client = world.open(nonce);
                self.say(conn, &Message::SessionOpened { request, client });
            }
            Message::ReadIndex { request } => {
                if world.reads_lost > 0 {
                    world.reads_lost -= 1;
                    return;
                }
                let index = LogIndex(world.log.len() as u64);
                self.say(conn, &Message::ReadAt { request, index });
            }
            Message::Submit { .. } => self.submit(conn, message, world),
            Message::Follow { after, checkpoint } => {
                world.followed.push(self.id);
                self.follow(conn, after, checkpoint, world);
            }
            Message::Call { request, question } => {
                let mute = question == br#"{"ask":"nothing"}"#;
                let ok = question == br#"{"ask":"status"}"#;
                let answer: &[u8] = if ok {
                    br#"{"role":"leader"}"#
                } else {
                    br#""no such question""#
                };
                if !mute {
                    self.say(
                        conn,
                        &Message::CallAnswer {
                            request,
                            ok,
                            answer,
                        },
                    );
                }
            }
            ref other => panic!("a client says {other:?}"),
        }
    }

    fn submit(&mut self, conn: ConnId, message: &Message<'_>, mut world: MutexGuard<'_, World>) {
        let Message::Submit {
            request,
            client,
            sequence,
            behind,
            count,
            commands,
        } = *message
        else {
            return;
        };
        let at = world.submits;
        world.submits += 1;
        let does = (world.script)(at);
        let applies = matches!(
            does,
            Does::Right
                | Does::LosesAnswer
                | Does::AppliesAndCloses
                | Does::AppliesAndForgets
                | Does::AppliesAndRefuses(_)
        );
        let known = applies.then(|| world.apply(client, sequence, behind, count, commands));
        let refusal = match (does, known) {
            (Does::Right, Some(Ok(index))) => {
                let (mut events, prices) = (Vec::new(), &world.log[index as usize - 1]);
                for price in prices {
                    event::encode(&echo(*price), &mut events);
                }
                let outcome = Message::Outcome {
                    request,
                    index: LogIndex(index),
                    time: Timestamp(index * 10),
                    count: prices.len() as u32,
                    events: &events,
                };
                return self.say(conn, &outcome);
            }
            (Does::Right, Some(Err(code))) => code,
            (Does::LosesAnswer | Does::LosesIt, _) => return,
            (Does::AppliesAndCloses | Does::Closes, _) => return self.closes.push(conn),
            (Does::AppliesAndForgets, _) => {
                world.sessions.clear();
                return self.closes.push(conn);
            }
            (Does::Refuses(code) | Does::AppliesAndRefuses(code), _) => code,
            (Does::StepsDown, _) => {
                world.leader = world.leader % self.addresses.len() as u64 + 1;
                RefusalCode::NotLeader
            }
            (Does::Right, None) => unreachable!("it was applied"),
        };
        drop(world);
        self.refuse(conn, request, refusal);
    }

    fn follow(&mut self, conn: ConnId, after: u64, checkpoint: bool, world: MutexGuard<'_, World>) {
        if !checkpoint && after < world.compacted {
            drop(world);
            return self.refuse(conn, 0, RefusalCode::TooFarBehind);
        }
        let mut next = after + 1;
        if checkpoint {
            // All prices so far, in parts that end anywhere.
            let index = LogIndex(world.log.len() as u64);
            let prices = world.log.concat();
            let bytes: Vec<u8> = prices
                .iter()
                .flat_map(|price| price.to_le_bytes())
                .collect();
            let mut chunks: Vec<&[u8]> = bytes.chunks(13).collect();
            let last = chunks.pop().unwrap_or_default();
            chunks.push(last);
            for (number, chunk) in chunks.iter().enumerate() {
                self.say(
                    conn,
                    &Message::Checkpoint {
                        index,
                        time: Timestamp(index.0 * 10),
                        last: number + 1 == chunks.len(),
                        chunk,
                    },
                );
            }
            next = index.0 + 1;
        }
        self.conns.insert(conn, Some(next));
    }

    fn feed(&mut self) {
        let world = Arc::clone(&self.world);
        let world = world.lock().unwrap();
        let most = world.stuck.get(&self.id).copied().unwrap_or(u64::MAX);
        let skips = world.skips.get(&self.id).copied();
        let applied = most.min(world.log.len() as u64);
        let conns: Vec<_> = self
            .conns
            .iter()
            .map(|(conn, next)| (*conn, *next))
            .collect();
        for (conn, next) in conns {
            let Some(next) = next else { continue };
            for index in (next..=applied).filter(|index| Some(*index) != skips) {
                let (mut events, prices) = (Vec::new(), &world.log[index as usize - 1]);
                for price in prices {
                    event::encode(&echo(*price), &mut events);
                }
                self.say(
                    conn,
                    &Message::Entry {
                        index: LogIndex(index),
                        time: Timestamp(index * 10),
                        count: prices.len() as u32,
                        events: &events,
                    },
                );
            }
            self.conns.insert(conn, Some(next.max(applied + 1)));
            let applied = LogIndex(applied);
            self.say(
                conn,
                &Message::Progress {
                    commit: applied,
                    applied,
                },
            );
        }
    }
}
