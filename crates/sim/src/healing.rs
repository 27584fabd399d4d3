//! How everything gets well again, and whether it has.

use crate::world::{Event, World};

/// Microseconds between two looks at the whole world.
const LOOK: u64 = 1_000_000;

impl World<'_> {
    /// Ends all faults.
    pub fn heal(&mut self) {
        self.healing = true;
        self.say(format_args!("no more faults"));
        self.network.cuts.clear();
        self.cut_for_ever();
        self.weather = Default::default();
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
                self.queue
                    .push(now + 1_000, Event::Start { node: id, epoch });
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
            let core = &p.core;
            self.say(format_args!(
                "node {id}: {:?} in term {}, applied {}, log {}..={}, snapshot {}",
                core.role(),
                core.term(),
                core.state().index,
                core.base_index() + 1,
                core.last_index(),
                core.snapshot_index(),
            ));
            self.audit_deeply(id, &p);
            self.put_back(id, p);
        }
    }

    /// Whether there is a leader, everyone has the same, and every client has its answers.
    pub fn is_well(&self) -> bool {
        self.ails().is_none()
    }

    /// Why the world is not well; none if it is.
    pub fn ails(&self) -> Option<String> {
        let running = self.nodes.values().filter_map(|node| node.process.as_ref());
        let leader = running
            .filter(|p| p.core.is_leader())
            .max_by_key(|p| p.core.term());
        let Some(leader) = leader else {
            return Some("nobody leads".into());
        };
        let committed = self.audit.committed();
        let last = leader.core.last_index();
        if last != committed {
            return Some(format!("{committed} of {last} entries are committed"));
        }
        for member in leader.core.members() {
            let node = self.nodes.get(&member);
            let Some(p) = node.and_then(|node| node.process.as_ref()) else {
                return Some(format!("member {member} does not run"));
            };
            let index = p.core.state().index;
            if index != committed {
                return Some(format!("member {member} is at {index} of {committed}"));
            }
        }
        let waits = self.clients.iter().position(|client| !client.is_idle());
        waits.map(|number| format!("client {number} has commands without an answer"))
    }
}
