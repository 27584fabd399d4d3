//! The network: every pair of ends has a link of its own in each direction.

use std::collections::BTreeMap;

use crate::packet::Packet;
use crate::world::{Event, World};

/// Microseconds until a broken connection is noticed.
const NOTICED: (u64, u64) = (50, 50_000);

/// Links and what is wrong with them.
#[derive(Debug, Default)]
pub(crate) struct Network {
    /// Links that carry nothing until a moment.
    pub cuts: BTreeMap<(u64, u64), u64>,
    /// When the last message of a link arrives: the next one does not overtake it.
    last: BTreeMap<(u64, u64), u64>,
}

impl Network {
    pub fn is_cut(&self, from: u64, to: u64, now: u64) -> bool {
        self.cuts.get(&(from, to)).is_some_and(|until| *until > now)
    }
}

impl World<'_> {
    /// Sends a packet; false if the sender notices that it can't arrive.
    pub fn send(&mut self, from: u64, to: u64, packet: Packet) -> bool {
        let later = self.forget_the_vote(from, to, &packet);
        let down = self
            .nodes
            .get(&to)
            .is_some_and(|node| node.process.is_none());
        if down || self.network.is_cut(from, to, self.now) {
            self.count("messages cut off");
            return self.random.chance(500);
        }
        let (loss, duplicates, _) = self.rates();
        if self.random.chance(loss) {
            self.count("messages lost");
            return true;
        }
        if self.random.chance(duplicates) {
            self.count("messages doubled");
            let at = self.arrival(from, to);
            let packet = packet.clone();
            self.queue.push(at, Event::Arrive { from, to, packet });
        }
        let at = self.arrival(from, to) + later;
        self.queue.push(at, Event::Arrive { from, to, packet });
        true
    }

    /// The connections of a replica break: its process has ended, or the network lets go of them while it
    /// lives. Each peer notices that in its own time, or not at all.
    pub fn break_connections(&mut self, peer: u64) {
        let others: Vec<u64> = self.nodes.keys().copied().collect();
        for node in others.into_iter().filter(|node| *node != peer) {
            if self.random.chance(800) {
                let after = self.random.spread(NOTICED.0, NOTICED.1);
                self.queue
                    .push(self.now + after, Event::Broken { node, peer });
            }
        }
    }

    /// A replica notices that its connection to another one has broken.
    pub fn broken(&mut self, node: u64, peer: u64) {
        let process = self.nodes.get_mut(&node).map(|node| &mut node.process);
        if let Some(Some(p)) = process {
            p.broken.push(peer);
            self.count("connections broken");
            self.wake_soon(node);
        }
    }

    /// How many of a thousand messages are lost, doubled, out of order.
    fn rates(&self) -> (u64, u64, u64) {
        if self.healing {
            return (0, 0, 0);
        }
        let (calm, storm) = (&self.profile, &self.weather);
        if storm.until <= self.now {
            return (calm.loss, calm.duplicates, calm.reorder);
        }
        (
            calm.loss + storm.loss,
            calm.duplicates + storm.duplicates,
            calm.reorder + storm.reorder,
        )
    }

    fn arrival(&mut self, from: u64, to: u64) -> u64 {
        let (least, most) = self.profile.delay;
        let at = self.now + self.random.spread(least, most.max(least));
        let (.., reorder) = self.rates();
        if self.random.chance(reorder) {
            self.count("messages out of order");
            return at + self.random.spread(1_000, 500_000);
        }
        let last = self.network.last.entry((from, to)).or_default();
        *last = at.max(*last + 1);
        *last
    }
}
