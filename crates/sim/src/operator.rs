//! A person with a procedure: replaces replicas that are lost, changes the membership, moves the
//! lead, and brings a new release to all machines before its rules are switched on.

use everopen_replica::core::{Core, MembershipChange};
use everopen_replica::member;
use everopen_venue::Venue;

use crate::process::{Asker, Node, Process};
use crate::profile::Fault;
use crate::violation::Check;
use crate::world::{Event, World};

/// Microseconds between two looks of the operator.
const LOOK: (u64, u64) = (50_000, 400_000);
/// Most members at once.
const MEMBERS_MAX: usize = 6;

/// What the operator is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Add(u64),
    Remove(u64),
}

/// The operator.
#[derive(Debug, Default)]
pub(crate) struct Operator {
    task: Option<Task>,
    /// The number of the next machine.
    pub next_id: u64,
    /// Removed machines, and when they are switched off.
    leaving: Vec<(u64, u64)>,
    /// A machine that gets a release which knows these rules.
    upgrade: Option<(u64, u16)>,
}

impl Operator {
    /// Whether no machine comes or goes.
    pub fn is_idle(&self) -> bool {
        self.task.is_none() && self.leaving.is_empty()
    }
}

impl World<'_> {
    pub fn operate(&mut self) {
        let after = self.random.between(LOOK.0, LOOK.1);
        self.queue.push(self.now + after, Event::Operate);
        self.switch_off();
        let leader = self
            .nodes
            .values()
            .filter_map(|node| Some((node.id, &node.process.as_ref()?.core)))
            .filter(|(_, core)| core.is_leader())
            .max_by_key(|(_, core)| core.term())
            .map(|(id, _)| id);
        let Some(leader) = leader else { return };
        // Word from the operator does not reach everyone at all times.
        if !self.healing && self.random.chance(100) {
            return;
        }
        let Some(mut p) = self.nodes.get_mut(&leader).and_then(|n| n.process.take()) else {
            return;
        };
        match self.operator.task {
            Some(task) => self.go_on(leader, &mut p, task),
            None => self.find_work(leader, &mut p),
        }
        self.put_back(leader, p);
        self.wake_soon(leader);
        if let Some((id, version)) = self.operator.upgrade.take() {
            self.leave(id, Some(version));
        }
    }

    /// Machines whose replica is no member any more are switched off after a while.
    fn switch_off(&mut self) {
        let now = self.now;
        let due: Vec<u64> = self
            .operator
            .leaving
            .iter()
            .filter(|(_, at)| *at <= now)
            .map(|(id, _)| *id)
            .collect();
        self.operator.leaving.retain(|(_, at)| *at > now);
        for id in due {
            if let Some(mut node) = self.nodes.remove(&id) {
                drop(node.process.take());
                let _ = std::fs::remove_dir_all(&node.dir);
                self.say(format_args!("node {id}: is switched off for good"));
            }
        }
    }

    fn go_on(&mut self, leader: u64, p: &mut Process, task: Task) {
        let ticket = p.ticket(Asker::Operator);
        let members = p.core.members();
        let done = match task {
            Task::Add(id) => {
                let voters = &p.core.state().conf.voters;
                if voters.contains(&id) {
                    true
                } else {
                    let change = if members.contains(&id) {
                        MembershipChange::Promote { node: id }
                    } else {
                        let address = format!("node-{id}:1");
                        MembershipChange::AddLearner { node: id, address }
                    };
                    self.change(&mut p.core, ticket, &change);
                    // One that is lost before it votes is given up.
                    let lost = self.nodes.get(&id).is_none_or(|node| node.refused);
                    if lost {
                        self.operator.task = Some(Task::Remove(id));
                        return;
                    }
                    false
                }
            }
            // Who was away may still count on its vote.
            Task::Remove(id) if !members.contains(&id) && !self.counts_on(leader, &members, id) => {
                let after = self.random.spread(1_000, 3_000_000);
                self.operator.leaving.push((id, self.now + after));
                self.count("members removed");
                true
            }
            Task::Remove(id) if !members.contains(&id) => false,
            Task::Remove(id) if id == leader => {
                let _ = p.core.transfer(None);
                false
            }
            Task::Remove(id) => {
                let change = MembershipChange::Remove { node: id };
                self.change(&mut p.core, ticket, &change);
                false
            }
        };
        if done {
            self.say(format_args!("operator: {task:?} is done"));
            self.operator.task = None;
        }
    }

    /// Whether any of these members does not know yet, for good, that a replica is none any more.
    fn counts_on(&self, leader: u64, members: &[u64], id: u64) -> bool {
        members
            .iter()
            .filter(|member| **member != leader)
            .any(|member| {
                let Some(node) = self.nodes.get(member).filter(|node| !node.refused) else {
                    return false;
                };
                let process = node.process.as_ref();
                process.is_none_or(|p| p.core.members().contains(&id) || !p.writes.is_empty())
            })
    }

    fn change(&mut self, core: &mut Core, ticket: u64, change: &MembershipChange) {
        if core.change(Some(ticket), change).is_ok() {
            self.inject("membership changes");
        }
    }

    fn begin(&mut self, task: Task) {
        self.say(format_args!("operator: begins to {task:?}"));
        self.operator.task = Some(task);
    }

    fn find_work(&mut self, leader: u64, p: &mut Process) {
        let members = p.core.members();
        let lost = members
            .iter()
            .filter(|id| !self.comes_back(**id))
            .find(|id| self.nodes.get(id).is_none_or(|node| node.refused));
        if let Some(lost) = lost.copied() {
            return self.begin(Task::Remove(lost));
        }
        let voters = p.core.state().conf.voters.clone();
        if (voters.len() as u64) < self.profile.nodes.min(3) {
            return self.add_machine();
        }
        if self.healing {
            return;
        }
        let suspect = members
            .iter()
            .find(|id| self.nodes.get(id).is_some_and(|node| node.damaged));
        if let Some(suspect) = suspect.copied().filter(|_| self.random.chance(50)) {
            return self.begin(Task::Remove(suspect));
        }
        let faults = &self.profile.faults;
        let has = |fault| faults.contains(&fault);
        let (moves, upgrades, transfers) = (
            has(Fault::Membership),
            has(Fault::Upgrade),
            has(Fault::Transfer),
        );
        if transfers && self.random.chance(150) {
            let to = self.random.pick(&voters);
            if p.core.transfer(to).is_ok() {
                self.say(format_args!("operator: {leader} hands the lead to {to:?}"));
                self.inject("transfers");
            }
        } else if moves && self.random.chance(200) {
            let victim = self.random.pick(&members);
            match victim {
                Some(victim) if voters.len() > 3 || members.len() >= MEMBERS_MAX => {
                    self.begin(Task::Remove(victim));
                }
                _ => self.add_machine(),
            }
        } else if upgrades && self.random.chance(300) {
            self.upgrade(p);
        }
    }

    /// Whether a replica is there in a later life, which the cluster takes in by itself.
    fn comes_back(&self, id: u64) -> bool {
        let mut later = self.nodes.values();
        later.any(|node| member::is_later(node.id, id) && !node.refused)
    }

    fn add_machine(&mut self) {
        let id = self.operator.next_id;
        self.operator.next_id += 1;
        let dir = self.folder(id);
        // Now and then somebody takes an old release.
        let old = self.profile.faults.contains(&Fault::Upgrade) && self.random.chance(200);
        let logic_max = if old { 1 } else { self.release() };
        self.nodes.insert(id, Node::new(id, dir, false, logic_max));
        let start = Event::Start { node: id, epoch: 0 };
        self.queue.push(self.now + 1_000, start);
        self.begin(Task::Add(id));
    }

    /// The newest rules that any machine's release knows.
    fn release(&self) -> u16 {
        let known = self.nodes.values().map(|node| node.logic_max);
        known.max().unwrap_or(Venue::LOGIC_MAX)
    }

    /// Brings the new release to one more machine, or switches its rules on.
    fn upgrade(&mut self, p: &mut Process) {
        let version = p.core.state().logic() + 1;
        if version > Venue::LOGIC_MAX {
            return;
        }
        // Somebody always tries too early.
        let ticket = p.ticket(Asker::Operator);
        let asked = p.core.activate(ticket, version);
        if asked.is_ok() {
            self.say(format_args!("operator: activates version {version}"));
            self.count("activations");
            for id in p.core.members() {
                if self.nodes.get(&id).is_some_and(|n| n.logic_max < version) {
                    let text =
                        format!("version {version} is activated, node {id} does not know it");
                    return self.fail(Check::Activation, text);
                }
            }
            return;
        }
        self.count("activations refused");
        let behind = self
            .nodes
            .values()
            .find(|node| node.logic_max < version && !node.refused)
            .map(|node| node.id);
        if let Some(id) = behind {
            self.say(format_args!(
                "operator: brings the new release to node {id}"
            ));
            self.inject("releases replaced");
            self.operator.upgrade = Some((id, version));
        }
    }

    /// A stopped replica's machine gets a release that knows more.
    pub fn replace_release(&mut self, id: u64) {
        if let Some(node) = self.nodes.get_mut(&id) {
            node.logic_max = Venue::LOGIC_MAX;
        }
    }
}
