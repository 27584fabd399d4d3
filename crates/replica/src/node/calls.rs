//! An operator's questions and orders, as JSON. They are listed in `docs/operating/cluster.md`.

use everopen_identity::Name;
use everopen_journal::Durability;
use everopen_rpc::ConnId;
use everopen_wire::message::Message;
use serde_json::{Value, json};

use super::event_loop::Inner;
use super::machine;
use super::tickets::Asker;
use crate::core::{Answer, MembershipChange, Role};
use crate::member;
use crate::recovery::hex;

/// An answer that took longer than a turn.
pub(super) struct Late {
    pub conn: ConnId,
    pub request: u64,
    pub answer: Result<Value, String>,
}

/// What comes of a question at once.
enum Reply {
    Now(Value),
    Later,
}

impl Inner {
    pub(super) fn call(&mut self, conn: ConnId, request: u64, question: &[u8]) {
        let answer = serde_json::from_slice::<Value>(question)
            .map_err(|error| format!("the question is no JSON: {error}"))
            .and_then(|question| self.ask_self(conn, request, &question));
        match answer {
            Ok(Reply::Now(value)) => self.reply(conn, request, Ok(value)),
            Ok(Reply::Later) => {}
            Err(error) => self.reply(conn, request, Err(error)),
        }
    }

    fn reply(&mut self, conn: ConnId, request: u64, answer: Result<Value, String>) {
        let (ok, value) = match answer {
            Ok(value) => (true, value),
            Err(error) => (false, Value::String(error)),
        };
        let answer = value.to_string();
        self.outbox.push(
            conn,
            &Message::CallAnswer {
                request,
                ok,
                answer: answer.as_bytes(),
            },
        );
    }

    pub(super) fn late(&mut self, late: Late) {
        self.reply(late.conn, late.request, late.answer);
    }

    fn ask_self(&mut self, conn: ConnId, request: u64, question: &Value) -> Result<Reply, String> {
        let ask = question["ask"]
            .as_str()
            .ok_or("the question has no field `ask`")?;
        match ask {
            "status" => return Ok(Reply::Now(self.status(None))),
            "doctor" => return self.doctor(conn, request),
            _ => {}
        }
        let name = self.conns.get(&conn).and_then(|conn| conn.name);
        if matches!(name, Some(Name::Node(_))) {
            return Err("a replica may only ask for the status".into());
        }
        let ticket = self.tickets.issue(Asker::Call { conn, request });
        let ordered = self.order(ticket, ask, question);
        if !matches!(ordered, Ok(Reply::Later)) {
            self.tickets.redeem(ticket);
        }
        ordered
    }

    fn order(&mut self, ticket: u64, ask: &str, question: &Value) -> Result<Reply, String> {
        let number = || {
            question["node"]
                .as_u64()
                .filter(|number| *number <= member::NUMBER_MAX)
                .ok_or_else(|| "the question has no number `node`".to_string())
        };
        let member = |number: u64| {
            let id = self.core.member(number);
            id.ok_or_else(|| format!("replica {number} is no member"))
        };
        let later = |()| Reply::Later;
        match ask {
            "add" => {
                let address = question["address"].as_str().unwrap_or_default().to_string();
                super::resolve(&address)
                    .map_err(|error| format!("address {address:?}: {error}"))?;
                let change = MembershipChange::AddLearner {
                    node: number()?,
                    address,
                };
                self.core.change(Some(ticket), &change).map(later)
            }
            "promote" => {
                let node = member(number()?)?;
                let change = MembershipChange::Promote { node };
                self.core.change(Some(ticket), &change).map(later)
            }
            "remove" => {
                let node = member(number()?)?;
                let change = MembershipChange::Remove { node };
                self.core.change(Some(ticket), &change).map(later)
            }
            "activate" => {
                let version = question["version"]
                    .as_u64()
                    .and_then(|version| u16::try_from(version).ok())
                    .ok_or("the question has no number `version`")?;
                self.core.activate(ticket, version).map(later)
            }
            "transfer" => {
                let to = question["to"].as_u64().map(member).transpose()?;
                let to = self.core.transfer(to)?;
                Ok(Reply::Now(json!({ "to": member::number(to) })))
            }
            "snapshot" => {
                let started = self.core.start_snapshot();
                Ok(Reply::Now(
                    json!({ "started": started, "index": self.core.state().index }),
                ))
            }
            _ => Err(format!("unknown question {ask:?}")),
        }
    }

    pub(super) fn answer_call(&mut self, conn: ConnId, request: u64, answer: &Answer) {
        let answer = match answer {
            Answer::Done(stored) => Ok(json!({ "index": stored.index, "events": stored.count })),
            Answer::Changed(index) => Ok(json!({ "index": index })),
            Answer::Opened(id) => Ok(json!({ "session": id })),
            Answer::ReadAt(index) => Ok(json!({ "index": index })),
            Answer::Refused(refused) => Err(refused.code.text().to_string()),
        };
        self.reply(conn, request, answer);
    }

    /// Round trips, clocks, the disk, the processor: what decides who should lead.
    fn doctor(&mut self, conn: ConnId, request: u64) -> Result<Reply, String> {
        let mut round_trips = Vec::new();
        let mut clocks = Vec::new();
        for (node, peer) in &self.peers {
            let mut micros: Vec<u32> = peer.samples.iter().map(|(micros, _)| *micros).collect();
            micros.sort_unstable();
            let Some(p50) = at(&micros, 50) else { continue };
            round_trips.push(json!({
                "to": member::number(*node), "p50_us": p50, "p99_us": at(&micros, 99), "samples": micros.len(),
            }));
            // The sample with the shortest round trip says most about the clock.
            let best = peer.samples.iter().min_by_key(|(micros, _)| *micros);
            clocks.push(
                json!({ "to": member::number(*node), "offset_us": best.map(|(_, ahead)| *ahead) }),
            );
        }
        let mut answer = json!({
            "node": member::number(self.config.node),
            "awake": self.awake.show(),
            "rtt": round_trips,
            "clock": clocks,
            "mode": self.config.journal.durability.name(),
        });
        let (tell, waker) = (self.answers.0.clone(), self.waker.clone());
        let dir = self.config.journal.dir.clone();
        let work = move || {
            answer["sync"] = machine::sync_cost(&dir);
            answer["cpu"] = machine::processor();
            let late = Late {
                conn,
                request,
                answer: Ok(answer),
            };
            let _ = tell.send(late);
            waker.wake();
        };
        super::thread("everopen-doctor", work).map_err(|fault| super::chain(&fault))?;
        Ok(Reply::Later)
    }

    /// Lets the process see what it would tell others.
    pub(super) fn show(&mut self, fault: Option<&crate::Fault>) {
        let status = self.status(fault.map(|fault| super::chain(fault)));
        if let Ok(mut shown) = self.shown.status.lock() {
            *shown = status;
        }
    }

    fn status(&self, fault: Option<String>) -> Value {
        let core = &self.core;
        let state = core.state();
        let role = match core.role() {
            Role::Leader => "leader",
            Role::Follower => "follower",
            Role::Candidate => "candidate",
            Role::Learner => "learner",
        };
        let members = core.members();
        let peers: Vec<Value> = members
            .iter()
            .filter(|node| **node != self.config.node)
            .map(|node| {
                let peer = self.peers.get(node);
                let progress = core.progress(*node);
                let matched = progress.as_ref().map(|(matched, _)| *matched);
                json!({
                    "id": member::number(*node),
                    "life": member::life(*node),
                    "address": state.nodes.get(node),
                    "connected": peer.is_some_and(|peer| peer.open),
                    "build": peer.map(|peer| peer.build.clone()),
                    "logic_max": peer.map(|peer| peer.logic_max),
                    "match": matched,
                    "lag": matched.map(|matched| core.last_index().saturating_sub(matched)),
                    "state": progress.map(|(_, state)| state),
                })
            })
            .collect();
        let differing: Vec<Value> = core
            .differing()
            .iter()
            .map(|(node, index)| json!({ "id": member::number(*node), "index": index }))
            .collect();
        json!({
            "node": member::number(self.config.node),
            "life": member::life(self.config.node),
            "cluster": hex(&self.config.cluster),
            "pid": std::process::id(),
            "role": role,
            "term": core.term(),
            "leader": core.leader().map(member::number),
            "commit": core.commit_index(),
            "applied": state.index,
            "last_index": core.last_index(),
            "first_index": core.base_index() + 1,
            "snapshot_index": core.snapshot_index(),
            "snapshot_place": self.bulk.place(),
            "snapshot_bytes": self.bulk.bytes(),
            "snapshot_bytes_sent": self.bulk.moved.0,
            "snapshot_bytes_received": self.bulk.moved.1,
            "event_hash": hex(&state.digest),
            "state_hash": self.state_hash.map(|(_, hash)| hex(&hash)),
            "state_hash_index": self.state_hash.map(|(index, _)| index),
            "time_ns": state.time.0,
            "logic": state.logic(),
            "logic_max": core.config().logic_max,
            "build": self.config.build,
            "mode": durability(self.config.journal.durability),
            "voters": numbers(&state.conf.voters),
            "learners": numbers(&state.conf.learners),
            "joint": !state.conf.voters_outgoing.is_empty(),
            "member": members.contains(&self.config.node),
            "sessions": state.sessions.len(),
            "commands": self.commands,
            "waiting": self.tickets.len(),
            "journal_full": self.threads.progress.full.load(std::sync::atomic::Ordering::Relaxed),
            "log_bytes": self.threads.progress.bytes.load(std::sync::atomic::Ordering::Relaxed),
            "peers": peers,
            "differing": differing,
            "awake": self.awake.show(),
            "slowest_turn_us": self.slowest_turn.as_micros() as u64,
            "uptime_ms": self.started.elapsed().as_millis() as u64,
            "fault": fault,
        })
    }
}

/// Members as people know them.
fn numbers(ids: &[u64]) -> Vec<u64> {
    ids.iter().copied().map(member::number).collect()
}

fn durability(durability: Durability) -> &'static str {
    durability.name()
}

fn at(sorted: &[u32], percent: usize) -> Option<u32> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}
