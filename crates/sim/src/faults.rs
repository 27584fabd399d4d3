//! What goes wrong.

use std::fs;

use everopen_replica::core::{Stop, Trust};
use everopen_replica::state::ApplyError;
use everopen_replica::{Fault as ReplicaFault, member};

use crate::canary::Canary;
use crate::disk::files;
use crate::packet::CLIENTS;
use crate::process::Node;
use crate::profile::Fault;
use crate::violation::Check;
use crate::world::{Event, World};

/// How far a clock may be from true time, in nanoseconds: below the time after which an unused
/// session is forgotten.
const SKEW_MAX: i64 = 6 * 3_600 * 1_000_000_000;
/// Microseconds that a leader has to hand over before it is stopped.
const HANDOVER: (u64, u64) = (100_000, 1_500_000);

/// Messages in bad weather, of a thousand.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Weather {
    pub until: u64,
    pub loss: u64,
    pub duplicates: u64,
    pub reorder: u64,
}

impl World<'_> {
    pub fn next_fault(&mut self) {
        if self.healing {
            return;
        }
        self.split_the_vote();
        if self.has(Canary::MovedMoney) && self.audit.committed() > 100 {
            self.leave(1, None);
        }
        let mean = self.profile.fault_every;
        let after = self.random.spread(mean / 4, mean * 4);
        self.queue.push(self.now + after, Event::Fault);
        let ids: Vec<u64> = self.nodes.keys().copied().collect();
        let (Some(fault), Some(id)) = (
            self.random.pick(&self.profile.faults),
            self.random.pick(&ids),
        ) else {
            return;
        };
        let now = self.now;
        let lasts = self.random.spread(10_000, 5_000_000);
        match fault {
            Fault::Kill => self.kill(id),
            // Now and then all machines at once.
            Fault::PowerCut if self.random.chance(100) || self.has(Canary::LyingDisk) => {
                for id in ids {
                    self.cut_power(id);
                }
            }
            Fault::PowerCut => self.cut_power(id),
            Fault::Stop => self.leave(id, None),
            Fault::Partition => self.partition(&ids, lasts),
            Fault::OneWay => {
                if let Some(to) = self.random.pick(&ids).filter(|to| *to != id) {
                    self.say(format_args!("network: {id} does not reach {to}"));
                    self.inject("one-way cuts");
                    self.network.cuts.insert((id, to), now + lasts);
                }
            }
            Fault::Weather => {
                self.inject("storms");
                self.weather = Weather {
                    until: now + lasts,
                    loss: self.random.below(400),
                    duplicates: self.random.below(300),
                    reorder: self.random.below(300),
                };
            }
            Fault::BitFlip => self.flip_bit(id),
            Fault::LostMemory => self.lose_memory(id),
            Fault::LostDisk => self.lose_disk(id),
            Fault::Pause | Fault::SlowDisk | Fault::FailingDisk | Fault::FullDisk => {
                self.weaken(id, fault, lasts);
            }
            Fault::ClockJump => {
                let jump = self.random.spread(1_000_000, 10_000_000_000_000) as i64;
                let back = self.random.chance(500);
                if let Some(node) = self.nodes.get_mut(&id) {
                    node.clock += if back { -jump } else { jump };
                    node.clock = node.clock.clamp(-SKEW_MAX, SKEW_MAX);
                    self.inject("clock jumps");
                }
            }
            // The operator's.
            Fault::Transfer | Fault::Membership | Fault::Upgrade => {}
        }
    }

    fn weaken(&mut self, id: u64, fault: Fault, lasts: u64) {
        let until = self.now + lasts;
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        match fault {
            Fault::Pause => node.paused_until = until,
            Fault::SlowDisk => node.slow_until = until,
            Fault::FullDisk => node.full_until = until,
            _ => node.failing = true,
        }
        self.say(format_args!("node {id}: {fault:?} for {lasts}"));
        self.inject(match fault {
            Fault::Pause => "pauses",
            Fault::SlowDisk => "slow disks",
            Fault::FullDisk => "full disks",
            _ => "failing disks",
        });
    }

    fn partition(&mut self, ids: &[u64], lasts: u64) {
        let clients = (0..self.profile.clients).map(|number| CLIENTS + number);
        let ends: Vec<u64> = ids.iter().copied().chain(clients).collect();
        let sides: Vec<bool> = ends.iter().map(|_| self.random.chance(500)).collect();
        let until = self.now + lasts;
        for (a, left) in ends.iter().zip(&sides) {
            for (b, right) in ends.iter().zip(&sides) {
                if left != right {
                    self.network.cuts.insert((*a, *b), until);
                }
            }
        }
        let alone: Vec<u64> = ends
            .iter()
            .zip(&sides)
            .filter(|(_, side)| **side)
            .map(|(end, _)| *end)
            .collect();
        self.say(format_args!("network: {alone:?} are cut off for {lasts}"));
        self.inject("partitions");
        if self.random.chance(500) {
            // Who is cut off lives, and so may those that it is cut off from.
            for id in ids {
                self.break_connections(*id);
            }
        }
    }

    fn kill(&mut self, id: u64) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        if node.process.take().is_some() {
            self.say(format_args!("node {id}: is killed"));
            self.inject("kills");
            self.break_connections(id);
            self.restart_later(id, 1_000, 5_000_000);
        }
    }

    fn cut_power(&mut self, id: u64) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        if let Some(process) = node.process.take() {
            self.say(format_args!("node {id}: loses power"));
            self.inject("power cuts");
            self.tear(id, process);
            self.restart_later(id, 1_000, 5_000_000);
        }
    }

    /// Asks a replica to stop: a leader hands over first. It comes back, with another release if one
    /// is named.
    pub fn leave(&mut self, id: u64, release: Option<u16>) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        let epoch = node.epoch;
        let Some(p) = &mut node.process else {
            if let Some(release) = release {
                node.logic_max = release;
            }
            return;
        };
        let leads = p.core.is_leader();
        if leads {
            let _ = p.core.transfer(None);
        }
        let after = if leads {
            self.random.between(HANDOVER.0, HANDOVER.1)
        } else {
            1
        };
        let event = Event::Leave {
            node: id,
            epoch,
            release,
        };
        self.queue.push(self.now + after, event);
        self.wake_soon(id);
    }

    /// Ends a replica as an operator does: its disk does what it was given.
    pub fn left(&mut self, id: u64, epoch: u64, release: Option<u16>) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.epoch == epoch) else {
            return;
        };
        if let Some(release) = release {
            node.logic_max = node.logic_max.max(release);
        }
        if let Some(mut p) = node.process.take() {
            // Now and then somebody starts an old release, which must not go on with new rules.
            let old = self.profile.faults.contains(&Fault::Upgrade)
                && self.audit.logic() > 1
                && self.random.chance(100);
            if old {
                node.logic_max = 1;
                self.inject("old releases started");
            }
            self.finish_writes(id, &mut p);
            drop(p);
            self.say(format_args!("node {id}: stops"));
            self.inject("stops");
            self.break_connections(id);
            self.move_money(id);
            self.restart_later(id, 1_000, 1_000_000);
        }
    }

    /// Whether every replica has all that it ever had, and a minority may lose it.
    fn is_whole(&self) -> bool {
        let has_all = |node: &Node| {
            let healthy = !node.damaged && !node.refused && node.trust == Trust::Whole;
            let process = node.process.as_ref();
            healthy
                && process.is_some_and(|p| {
                    let conf = &p.core.state().conf;
                    let mut members = p.core.members().into_iter();
                    conf.voters.len() >= 3
                        && conf.voters_outgoing.is_empty()
                        && members.all(|member| self.nodes.contains_key(&member))
                })
        };
        self.operator.is_idle() && self.nodes.values().all(has_all)
    }

    /// Flips a bit in the files of a replica, which stops before and starts after. One replica at a
    /// time: more than a minority of lost disks is not survived.
    fn flip_bit(&mut self, id: u64) {
        if !self.is_whole() {
            return;
        }
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        let dir = node.dir.clone();
        let Some(mut p) = node.process.take() else {
            return;
        };
        node.damaged = true;
        self.finish_writes(id, &mut p);
        drop(p);
        let mut names = files(&dir, ".snapshot");
        names.extend(files(&dir, ".segment"));
        let at = self.random.below(names.len() as u64) as usize;
        let name = names.swap_remove(at);
        let mut bytes = fs::read(dir.join(&name)).unwrap_or_default();
        let written = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1;
        let at = self.random.below(written as u64) as usize;
        bytes[at] ^= 1 << self.random.below(8);
        let written = fs::write(dir.join(&name), &bytes);
        assert!(written.is_ok(), "the temporary folder takes no more files");
        self.say(format_args!("node {id}: a bit of {name} flips at {at}"));
        self.inject("bits flipped");
        self.restart_later(id, 1_000, 100_000);
    }

    /// Stops a machine whose replica had everything in memory. It begins its next life, one replica at
    /// a time: more than a minority is not survived.
    fn lose_memory(&mut self, id: u64) {
        if !self.is_whole() {
            return;
        }
        let Some(mut node) = self.nodes.remove(&id) else {
            return;
        };
        drop(node.process.take());
        let _ = fs::remove_dir_all(&node.dir);
        let next = match self.has(Canary::OldLife) {
            true => id,
            false => member::id(member::number(id), member::life(id) + 1),
        };
        self.say(format_args!(
            "node {id}: loses its memory, comes back as {next}"
        ));
        self.inject("memories lost");
        let mut again = Node::new(next, self.folder(next), false, node.logic_max);
        (again.clock, again.epoch) = (node.clock, node.epoch);
        again.trust = self.trust_of_empty();
        self.nodes.insert(next, again);
        self.restart_later(next, 1_000, 2_000_000);
    }

    /// Puts an empty disk into a machine whose replica does not know that it had another one. One replica
    /// at a time, as with every loss.
    fn lose_disk(&mut self, id: u64) {
        // One that founded its cluster alone would found another one.
        let alone = self.profile.nodes == 1 && self.nodes.get(&id).is_some_and(|node| node.founder);
        if !self.is_whole() || alone {
            return;
        }
        let trust = self.trust_of_empty();
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        drop(node.process.take());
        let _ = fs::remove_dir_all(&node.dir);
        node.trust = trust;
        self.say(format_args!("node {id}: gets an empty disk"));
        self.inject("disks lost");
        self.break_connections(id);
        // Later than the last word of its old self arrives anywhere: what it had granted must not count
        // for a number that no longer knows of it.
        self.restart_later(id, 6_000_000, 12_000_000);
    }

    /// What a replica notes of a log that is empty.
    fn trust_of_empty(&self) -> Trust {
        match self.has(Canary::OldLife) {
            true => Trust::Whole,
            false => Trust::New,
        }
    }

    /// A replica ended itself.
    pub fn stopped(&mut self, id: u64, stop: &Stop) {
        if let (Stop::LostLog { .. }, Some(node)) = (stop, self.nodes.get_mut(&id))
            && node.trust != Trust::Whole
        {
            node.refused = true;
            self.say(format_args!("node {id}: {stop}"));
            return self.count("lost logs found");
        }
        let known = self.nodes.get(&id).map_or(0, |node| node.logic_max);
        let foreseen = matches!(
            stop,
            Stop::Apply(ApplyError::UnknownLogic { version, .. })
                if known < *version && *version <= self.audit.logic()
        );
        if !foreseen {
            return self.fail(Check::Stop, format!("node {id}: {stop}"));
        }
        self.say(format_args!(
            "node {id}: stops before what it does not know"
        ));
        self.count("stops before unknown rules");
        self.replace_release(id);
        self.restart_later(id, 1_000, 1_000_000);
    }

    /// A replica does not start.
    pub fn does_not_start(&mut self, id: u64, fault: &ReplicaFault, text: String) {
        self.say(format_args!("node {id}: does not start: {text}"));
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        if let ReplicaFault::Stop(stop) = fault {
            let stop = stop.clone();
            return self.stopped(id, &stop);
        }
        if !node.damaged || self.options.canary == Some(Canary::SilentFlip) && !self.options.silent
        {
            return self.fail(Check::Start, format!("node {id}: {text}"));
        }
        node.refused = true;
        self.count("damaged logs refused");
    }
}
