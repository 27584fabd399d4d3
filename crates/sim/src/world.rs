//! The world: its moments in order, and what becomes of each.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use everopen_venue::Venue;
use tempfile::TempDir;

use crate::audit::Audit;
use crate::canary::Nest;
use crate::client::Client;
use crate::faults::Weather;
use crate::network::Network;
use crate::operator::Operator;
use crate::packet::{CLIENTS, Packet};
use crate::process::{self, Node, Process};
use crate::profile::{Fault, Profile};
use crate::queue::Queue;
use crate::random::Random;
use crate::trace::Trace;
use crate::violation::{Check, Violation};
use crate::{Options, Report};

/// Microseconds in which everything must work again after the last fault.
const HEALING: u64 = 120_000_000;
/// Microseconds of a turn of a replica's loop.
const TURN: (u64, u64) = (5, 100);

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Event {
    /// A replica's loop turns.
    Wake {
        node: u64,
        number: u64,
    },
    Arrive {
        from: u64,
        to: u64,
        packet: Packet,
    },
    /// A replica's connection to another one breaks.
    Broken {
        node: u64,
        peer: u64,
    },
    DiskDone {
        node: u64,
        epoch: u64,
    },
    SnapshotDone {
        node: u64,
        epoch: u64,
    },
    Start {
        node: u64,
        epoch: u64,
    },
    Client {
        client: usize,
    },
    /// A replica that was asked to stop does.
    Leave {
        node: u64,
        epoch: u64,
        release: Option<u16>,
    },
    Fault,
    Operate,
    Look,
}

/// A simulated world.
pub(crate) struct World<'a> {
    pub now: u64,
    pub random: Random,
    pub queue: Queue<Event>,
    pub profile: Profile,
    pub options: Options,
    pub nodes: BTreeMap<u64, Node>,
    pub voters: BTreeMap<u64, String>,
    pub network: Network,
    pub weather: Weather,
    pub clients: Vec<Client>,
    pub operator: Operator,
    pub audit: Audit,
    /// No more faults: everything must get well.
    pub healing: bool,
    pub violation: Option<Violation>,
    pub nest: Nest,
    trace: Trace<'a>,
    counts: BTreeMap<&'static str, u64>,
    faults: u64,
    events: u64,
    dir: TempDir,
}

impl<'a> World<'a> {
    pub fn new(
        seed: u64,
        options: &Options,
        dir: TempDir,
        show: Option<&'a mut dyn FnMut(&str)>,
    ) -> Self {
        let mut random = Random::new(seed);
        let mut profile = Profile::draw(&mut random);
        if let Some(canary) = options.canary {
            canary.prepare(&mut profile);
        }
        let voters: BTreeMap<u64, String> = (1..=profile.nodes)
            .map(|node| (node, format!("node-{node}:1")))
            .collect();
        let mut world = Self {
            now: 0,
            random,
            queue: Queue::new(),
            audit: Audit::new(),
            nodes: BTreeMap::new(),
            network: Network::default(),
            weather: Weather::default(),
            clients: Vec::new(),
            operator: Operator::default(),
            healing: false,
            violation: None,
            nest: Nest::default(),
            trace: Trace::new(show),
            counts: BTreeMap::new(),
            faults: 0,
            events: 0,
            options: options.clone(),
            voters,
            profile,
            dir,
        };
        world.populate();
        world
    }

    fn populate(&mut self) {
        let profile = self.profile.clone();
        self.say(format_args!("world: {profile:?}"));
        self.operator.next_id = profile.nodes + 1;
        for id in 1..=profile.nodes {
            let dir = self.folder(id);
            let old = profile.faults.contains(&Fault::Upgrade);
            let logic_max = if old { 1 } else { Venue::LOGIC_MAX };
            self.nodes.insert(id, Node::new(id, dir, true, logic_max));
            self.queue.push(0, Event::Start { node: id, epoch: 0 });
        }
        for number in 0..profile.clients {
            let client = Client::new(CLIENTS + number, number, &mut self.random, profile.clients);
            self.clients.push(client);
            let client = number as usize;
            self.queue.push(1_000, Event::Client { client });
        }
        self.cut_for_ever();
        self.queue.push(profile.fault_every, Event::Fault);
        self.queue.push(500_000, Event::Operate);
        self.queue.push(1_000_000, Event::Look);
    }

    /// Where a machine keeps its files.
    pub fn folder(&self, id: u64) -> PathBuf {
        self.dir.path().join(format!("node-{id}"))
    }

    /// Lets things happen until the faults are over and everything works again.
    pub fn run(&mut self) {
        let mut deadline = u64::MAX;
        while self.violation.is_none() {
            let Some((at, event)) = self.queue.pop() else {
                return;
            };
            self.now = at;
            self.events += 1;
            self.happen(event);
            if self.events >= self.options.steps && !self.healing {
                self.heal();
                deadline = self.now + HEALING;
            }
            if self.healing && self.events.is_multiple_of(64) && self.is_well() {
                self.say(format_args!("all is well"));
                return self.audit_end();
            }
            if self.now > deadline {
                let why = self.ails().unwrap_or_default();
                return self.fail(Check::Liveness, why);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Wake { node, number } => self.wake(node, number),
            Event::Arrive { from, to, packet } => self.arrive(from, to, packet),
            Event::Broken { node, peer } => self.broken(node, peer),
            Event::DiskDone { node, epoch } => self.disk_done(node, epoch),
            Event::SnapshotDone { node, epoch } => self.snapshot_done(node, epoch),
            Event::Start { node, epoch } => self.start(node, epoch),
            Event::Client { client } => self.client_turn(client),
            Event::Leave {
                node,
                epoch,
                release,
            } => self.left(node, epoch, release),
            Event::Fault => self.next_fault(),
            Event::Operate => self.operate(),
            Event::Look => self.look(),
        }
    }

    fn arrive(&mut self, from: u64, to: u64, packet: Packet) {
        let numbers = [from, to, packet.kind(), packet.number()];
        let text = || format!("{from} -> {to}: {}", packet.text());
        self.trace.note(self.now, numbers, text);
        if to >= CLIENTS {
            if let Packet::Reply { about, reply } = packet {
                self.client_hears((to - CLIENTS) as usize, from, about, reply);
            }
            return;
        }
        let Some(p) = self
            .nodes
            .get_mut(&to)
            .and_then(|node| node.process.as_mut())
        else {
            return;
        };
        p.inbox.push_back((from, packet));
        self.wake_soon(to);
    }

    /// Starts a replica's process.
    fn start(&mut self, id: u64, epoch: u64) {
        let seed = self.random.draw();
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        if node.process.is_some() || node.epoch != epoch || node.refused {
            return;
        }
        node.epoch += 1;
        match process::start(node, &self.profile, seed, &self.voters, self.now) {
            Ok(started) => {
                let mut p = started.process;
                let torn = started.report.torn_tail.is_some();
                let snapshot = started.report.snapshot_index;
                let (last, commit) = (p.core.last_index(), p.core.commit_index());
                self.say(format_args!(
                    "node {id}: starts from {snapshot}, log to {last}, committed {commit}, torn {torn}"
                ));
                self.count("starts");
                if torn {
                    self.count("torn tails cut");
                }
                self.audit_steps(id, &p, &started.steps);
                self.greet(id, &p);
                self.begin_write(id, &mut p);
                self.put_back(id, p);
                self.wake_soon(id);
            }
            Err(fault) => {
                let text = self.without_paths(&chain(&fault));
                self.does_not_start(id, &fault, text);
            }
        }
    }

    /// An error's text, the same on every machine.
    fn without_paths(&self, text: &str) -> String {
        text.replace(&self.dir.path().display().to_string(), "")
    }

    pub fn put_back(&mut self, id: u64, p: Box<Process>) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.process = Some(p);
        }
    }

    /// Lets a replica's loop turn after a moment.
    pub fn wake_soon(&mut self, id: u64) {
        let takes = self.random.between(TURN.0, TURN.1);
        self.wake_at(id, self.now + takes);
    }

    pub fn wake_at(&mut self, id: u64, at: u64) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        let paused = node.paused_until;
        let Some(p) = &mut node.process else { return };
        let at = at.max(paused);
        if at < p.wake_at {
            p.wake_at = at;
            p.wake_number += 1;
            // The number says which process it is, too.
            let number = node.epoch << 32 | p.wake_number;
            self.queue.push(at, Event::Wake { node: id, number });
        }
    }

    pub fn restart_later(&mut self, id: u64, least: u64, most: u64) {
        let after = self.random.spread(least, most);
        if let Some(node) = self.nodes.get(&id) {
            let epoch = node.epoch;
            let at = self.now + after;
            self.queue.push(at, Event::Start { node: id, epoch });
        }
    }

    pub fn say(&mut self, what: fmt::Arguments<'_>) {
        self.trace.say(self.now, what);
    }

    pub fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    /// Counts something that goes wrong.
    pub fn inject(&mut self, what: &'static str) {
        self.faults += 1;
        self.count(what);
    }

    /// A checker has found something. The first thing found is what counts.
    pub fn fail(&mut self, check: Check, text: String) {
        if self.violation.is_none() && !self.options.without.contains(&check) {
            self.say(format_args!("VIOLATION {check:?}: {text}"));
            self.violation = Some(Violation { check, text });
        }
    }

    pub fn report(self, seed: u64) -> Report {
        Report {
            seed,
            trace_hash: self.trace.hash(),
            events: self.events,
            faults: self.faults,
            simulated_us: self.now,
            committed: self.audit.committed(),
            counts: self.counts,
            violation: self.violation,
        }
    }
}

/// An error and its sources in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}
