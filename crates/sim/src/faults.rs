//! What goes wrong, and how everything gets well again.

use everopen_replica::Fault as ReplicaFault;
use everopen_replica::core::Stop;

use crate::profile::Fault;
use crate::violation::Check;
use crate::world::{Event, World};

/// Microseconds between two looks at the whole world.
const LOOK: u64 = 1_000_000;

impl World<'_> {
    pub fn next_fault(&mut self) {
        if self.healing {
            return;
        }
        let after = self.random.spread(
            self.profile.fault_every / 4,
            self.profile.fault_every * 4,
        );
        self.queue.push(self.now + after, Event::Fault);
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        let (Some(fault), Some(id)) = (
            self.random.pick(&self.profile.faults),
            self.random.pick(&ids),
        ) else {
            return;
        };
        match fault {
            Fault::Kill => self.kill(id),
            Fault::PowerCut => self.cut_power(id),
        }
    }

    fn kill(&mut self, id: u64) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        if node.process.take().is_some() {
            self.say(format_args!("node {id}: is killed"));
            self.count("kills");
            self.restart_later(id, 1_000, 5_000_000);
        }
    }

    fn cut_power(&mut self, id: u64) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        if let Some(process) = node.process.take() {
            self.say(format_args!("node {id}: loses power"));
            self.count("power cuts");
            self.tear(id, process);
            self.restart_later(id, 1_000, 5_000_000);
        }
    }

    /// A replica ended itself.
    pub fn stopped(&mut self, id: u64, stop: &Stop) {
        self.fail(Check::Stop, format!("node {id}: {stop}"));
    }

    /// A replica does not start.
    pub fn does_not_start(&mut self, id: u64, _fault: &ReplicaFault, text: String) {
        self.fail(Check::Start, format!("node {id}: {text}"));
    }

    /// Ends all faults.
    pub fn heal(&mut self) {
        self.healing = true;
        self.say(format_args!("no more faults"));
        self.network.cuts.clear();
        let now = self.now;
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            let Some(node) = self.nodes.get_mut(&id) else {
                continue;
            };
            node.paused_until = 0;
            node.slow_until = 0;
            node.full_until = 0;
            node.failing = false;
            if node.process.is_none() && !node.refused {
                let epoch = node.epoch;
                self.queue.push(now + 1_000, Event::Start { node: id, epoch });
            } else {
                self.wake_soon(id);
            }
        }
    }

    /// Looks after all replicas now and then.
    pub fn look(&mut self) {
        self.queue.push(self.now + LOOK, Event::Look);
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        for id in ids {
            let Some(p) = self.nodes.get_mut(&id).and_then(|n| n.process.take()) else {
                continue;
            };
            let state = p.core.state();
            let line = format!(
                "node {id}: {:?} in term {}, applied {}, log {}..={}, snapshot {}",
                p.core.role(),
                p.core.term(),
                state.index,
                p.core.base_index() + 1,
                p.core.last_index(),
                p.core.snapshot_index(),
            );
            self.say(format_args!("{line}"));
            self.audit_deeply(id, &p);
            self.put_back(id, p);
        }
    }

    /// Whether there is a leader, everyone has the same, and every client has its answers.
    pub fn is_well(&self) -> bool {
        self.ails().is_empty()
    }

    /// Why the world is not well.
    pub fn ails(&self) -> String {
        let running = || self.nodes.values().filter_map(|node| node.process.as_ref());
        let leader = running().filter(|p| p.core.is_leader()).max_by_key(|p| p.core.term());
        let Some(leader) = leader else {
            return "nobody leads".into();
        };
        let committed = self.audit.committed();
        for member in leader.core.members() {
            let Some(p) = self.nodes.get(&member).and_then(|node| node.process.as_ref()) else {
                return format!("member {member} does not run");
            };
            let (index, last) = (p.core.state().index, leader.core.last_index());
            if index != committed || last != committed {
                return format!("member {member} is at {index}, the leader's log at {last}");
            }
        }
        for (number, client) in self.clients.iter().enumerate() {
            if !client.is_idle() {
                return format!("client {number} has commands without an answer");
            }
        }
        String::new()
    }

    /// The last look.
    pub fn audit_end(&mut self) {
        self.look();
    }
}
