//! Faults that are planted on purpose, of every kind that a checker is for. A checker that does not
//! find its canary is broken, and whatever else it does not find means nothing.
//!
//! The replicas' code is as it is; what is wrong is what the world does with it.

use std::fs;
use std::path::Path;

use bytes::Bytes;
use everopen_domain::snapshot::{AccountOwner, VenueSnapshot};
use everopen_journal::Journal;
use everopen_replica::core::Answer;
use everopen_replica::message;
use everopen_replica::raft::eraftpb::{Message, MessageType};
use everopen_wire::entry::EntryReader;
use everopen_wire::snapshot;

use crate::packet::{About, Packet, Reply};
use crate::process::{Process, journal_config};
use crate::profile::{Fault, Profile};
use crate::violation::Check;
use crate::world::World;

/// A planted fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canary {
    /// A disk says that it has written what it has not, and all machines lose power.
    LyingDisk,
    /// A client repeats a command as if it were another one.
    RenumberedRetry,
    /// A client says that it has answers which it does not have.
    HastyClient,
    /// A committed entry is missing on one replica.
    DroppedEntry,
    /// A byte of an entry is another one on one replica.
    FlippedEntry,
    /// A replica forgets whom it voted for.
    ForgottenVote,
    /// Replicas answer reads at once.
    StaleRead,
    /// A leader puts a time of an hour ago into the log.
    TimeBack,
    /// A replica comes back with money in another account.
    MovedMoney,
    /// What follows the log misses an entry.
    DeafFollower,
    /// An answer goes to another command of the same client.
    SwappedAnswer,
    /// Replicas say that they know rules which they don't.
    Braggart,
    /// A bit flips, and nobody told the operator.
    SilentFlip,
    /// A link stays cut for ever.
    LastingCut,
    /// A replica that has lost its log comes back as if it had not.
    OldLife,
}

impl Canary {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::LyingDisk,
        Self::RenumberedRetry,
        Self::HastyClient,
        Self::DroppedEntry,
        Self::FlippedEntry,
        Self::ForgottenVote,
        Self::StaleRead,
        Self::TimeBack,
        Self::MovedMoney,
        Self::DeafFollower,
        Self::SwappedAnswer,
        Self::Braggart,
        Self::SilentFlip,
        Self::LastingCut,
        Self::OldLife,
    ];

    /// The checkers that may find it first.
    pub fn found_by(self) -> &'static [Check] {
        match self {
            // The replica or its library notices that it has less than it had acknowledged.
            Self::LyingDisk => &[Check::Prefix, Check::Answer, Check::Panic, Check::Stop],
            Self::RenumberedRetry => &[Check::Once],
            Self::HastyClient => &[Check::Session],
            Self::DroppedEntry | Self::FlippedEntry => &[Check::Prefix],
            Self::ForgottenVote => &[Check::Election],
            Self::StaleRead => &[Check::Read],
            Self::TimeBack => &[Check::Time],
            Self::MovedMoney => &[Check::Digest],
            Self::DeafFollower => &[Check::Follower],
            Self::SwappedAnswer => &[Check::Answer],
            Self::Braggart => &[Check::Activation],
            Self::SilentFlip => &[Check::Start],
            Self::LastingCut => &[Check::Liveness],
            // The replica notices that it has less than it had acknowledged, or nobody helps it.
            Self::OldLife => &[Check::Stop, Check::Prefix, Check::Liveness],
        }
    }

    /// A world in which it does not take long.
    pub(crate) fn prepare(self, profile: &mut Profile) {
        profile.nodes = 3;
        profile.clients = 3;
        profile.think = 5_000;
        profile.delay = (30, 500);
        (profile.loss, profile.duplicates, profile.reorder) = (0, 0, 0);
        profile.disk = (50, 2_000);
        profile.fault_every = 300_000;
        profile.election_ticks = 25;
        profile.faults.clear();
        match self {
            Self::LyingDisk => {
                profile.faults.push(Fault::PowerCut);
                profile.disk = (50_000, 200_000);
                profile.snapshot_every_bytes = u64::MAX;
            }
            Self::RenumberedRetry | Self::HastyClient => profile.loss = 100,
            Self::StaleRead => profile.faults.push(Fault::Partition),
            Self::MovedMoney => profile.snapshot_every_bytes = 8 << 10,
            Self::Braggart => {
                profile.faults.push(Fault::Upgrade);
                profile.think = 50_000;
            }
            Self::SilentFlip => profile.faults.push(Fault::BitFlip),
            Self::OldLife => profile.faults.extend([Fault::LostMemory, Fault::LostDisk]),
            Self::ForgottenVote => profile.fault_every = 10_000,
            _ => {}
        }
    }
}

/// What a canary remembers.
#[derive(Debug, Default)]
pub(crate) struct Nest {
    sung: u32,
}

/// The replica that a canary sits on.
const VICTIM: u64 = 3;
/// Entries that are committed before most canaries sing.
const QUIET: u64 = 60;

impl World<'_> {
    pub fn has(&self, canary: Canary) -> bool {
        self.options.canary == Some(canary) && !self.options.silent
    }

    /// Once, when the world has been busy for a while.
    fn sings(&mut self, canary: Canary) -> bool {
        let due = self.has(canary) && self.nest.sung == 0 && self.audit.committed() > QUIET;
        if due {
            self.nest.sung += 1;
        }
        due
    }

    /// Changes what a replica is sent. True when the sender is to die with it.
    pub fn poison(&mut self, to: u64, packet: &mut Packet) -> bool {
        let canaries = [Canary::DroppedEntry, Canary::FlippedEntry, Canary::TimeBack];
        let Some(canary) = canaries.into_iter().find(|canary| self.has(*canary)) else {
            return false;
        };
        let Packet::Raft(bytes) = packet else {
            return false;
        };
        let Ok(mut message) = message::decode(bytes) else {
            return false;
        };
        let back = canary == Canary::TimeBack;
        let fresh = message.get_msg_type() == MessageType::MsgAppend
            && self.audit.committed() > QUIET
            && (back || to == VICTIM && self.nest.sung == 0);
        if !fresh || !spoil(&mut message, canary) {
            return false;
        }
        self.nest.sung += 1;
        bytes.clear();
        message::encode(&message, bytes);
        self.say(format_args!("canary: {canary:?}"));
        back
    }

    /// Cuts one replica off for ever.
    pub fn cut_for_ever(&mut self) {
        if self.has(Canary::LastingCut) {
            for link in [(1, 2), (2, 1), (2, 3), (3, 2)] {
                self.network.cuts.insert(link, u64::MAX);
            }
        }
    }

    /// A disk that lies says at once that it is done.
    pub fn lie(&mut self, p: &mut Process) {
        if self.has(Canary::LyingDisk)
            && let Some(last) = p.writes.back()
        {
            p.durable = last.number;
        }
    }

    /// Answers a read without asking anybody.
    pub fn answer_at_once(&mut self, id: u64, p: &Process, endpoint: u64, about: About) -> bool {
        if !self.has(Canary::StaleRead) || !matches!(about, About::Read { .. }) {
            return false;
        }
        let answer = Answer::ReadAt(p.core.state().index);
        let floor = self.audit.committed();
        self.audit_answer(id, about, floor, &answer);
        let reply = Reply::Answer(answer);
        self.send(id, endpoint, Packet::Reply { about, reply });
        true
    }

    /// Whether the next entry is not shown to what follows the log.
    pub fn is_deaf(&mut self, id: u64) -> bool {
        id == VICTIM && self.sings(Canary::DeafFollower)
    }

    /// Which command an answer is given to.
    pub fn misdirect(&mut self, about: About) -> About {
        match about {
            About::Command { session, sequence } if sequence > 0 => {
                if self.sings(Canary::SwappedAnswer) {
                    let sequence = sequence - 1;
                    return About::Command { session, sequence };
                }
                about
            }
            about => about,
        }
    }

    /// Moves a little money in the newest snapshot of a replica that has stopped.
    pub fn move_money(&mut self, id: u64) {
        if !self.has(Canary::MovedMoney) || self.nest.sung > 0 {
            return;
        }
        let Some(node) = self.nodes.get(&id) else {
            return;
        };
        let config = journal_config(node.dir.clone(), &self.profile);
        let Ok((journal, found)) = Journal::open(config) else {
            return;
        };
        let Some(newest) = found.snapshot else { return };
        let Ok(mut content) = newest.read() else {
            return;
        };
        if tamper(&mut content) && journal.snapshots().write(newest.index, &content).is_ok() {
            self.nest.sung += 1;
            self.say(format_args!("canary: money is moved on node {id}"));
        }
    }

    /// Has two replicas stand for election at once, and lets the third vote for both.
    pub fn split_the_vote(&mut self) {
        if !self.has(Canary::ForgottenVote) || self.nest.sung > 0 {
            return;
        }
        let Some(dir) = self.nodes.get(&VICTIM).map(|node| node.dir.clone()) else {
            return;
        };
        copy(&dir, &dir.with_extension("before"));
        let until = self.now + 1_000_000;
        for link in [(1, 2), (2, 1)] {
            self.network.cuts.insert(link, until);
        }
        for id in [1, 2] {
            if let Some(p) = self.nodes.get_mut(&id).and_then(|n| n.process.as_mut()) {
                p.core.campaign();
            }
            self.wake_soon(id);
        }
        self.nest.sung = 1;
    }

    /// The third replica forgets its vote as soon as it was told, and the other candidate's request
    /// arrives after that. How much later a message arrives.
    pub fn forget_the_vote(&mut self, from: u64, to: u64, packet: &Packet) -> u64 {
        if !self.has(Canary::ForgottenVote) || self.nest.sung != 1 {
            return 0;
        }
        let Packet::Raft(bytes) = packet else {
            return 0;
        };
        let kind = message::decode(bytes).map(|m| (m.get_msg_type(), m.reject));
        match kind {
            Ok((MessageType::MsgRequestVote, _)) if (from, to) == (2, VICTIM) => 20_000,
            Ok((MessageType::MsgRequestVoteResponse, false)) if (from, to) == (VICTIM, 1) => {
                self.nest.sung = 2;
                let until = self.now + 100_000;
                self.network.cuts.insert((1, VICTIM), until);
                0
            }
            _ => 0,
        }
    }

    /// Ends the replica that has voted, and takes away what its disk wrote since.
    pub fn wipe_the_vote(&mut self, id: u64) -> bool {
        if !self.has(Canary::ForgottenVote) || self.nest.sung != 2 || id != VICTIM {
            return false;
        }
        self.nest.sung = 3;
        let Some(node) = self.nodes.get_mut(&id) else {
            return false;
        };
        node.process = None;
        let dir = node.dir.clone();
        let _ = fs::remove_dir_all(&dir);
        copy(&dir.with_extension("before"), &dir);
        self.say(format_args!("canary: node {id} forgets its vote"));
        self.restart_later(id, 1_000, 1_000);
        true
    }
}

/// Changes a message's last entry with commands; false if there is none.
fn spoil(message: &mut Message, canary: Canary) -> bool {
    let is_deposit = |data: &[u8]| {
        EntryReader::new(data).is_ok_and(|reader| {
            reader
                .flatten()
                .flat_map(|request| request.commands())
                .flatten()
                .any(|command| matches!(command, everopen_domain::Command::Deposit { .. }))
        })
    };
    for entry in message.mut_entries().iter_mut().rev() {
        if !is_deposit(&entry.data) {
            continue;
        }
        let mut data = entry.data.to_vec();
        match canary {
            Canary::TimeBack => {
                let Ok(time) = EntryReader::new(&data).map(|reader| reader.time().0) else {
                    continue;
                };
                data[4..12].copy_from_slice(&(time - 3_600_000_000_000).to_le_bytes());
            }
            Canary::DroppedEntry => data.clear(),
            _ => {
                // An entry that holds nothing but a deposit: its amount is the only thing in it
                // that can be anything.
                let Some(at) = amount_at(&data) else { continue };
                data[at] ^= 1;
            }
        }
        entry.data = Bytes::from(data);
        return true;
    }
    false
}

/// Where the amount of an entry's first command stands, if that is a deposit.
fn amount_at(data: &[u8]) -> Option<usize> {
    let first = EntryReader::new(data).ok()?.next()?.ok()?;
    let command = first.commands().next()?.ok()?;
    let everopen_domain::Command::Deposit { amount, .. } = command else {
        return None;
    };
    let wanted = amount.0.to_le_bytes();
    data.windows(wanted.len())
        .position(|window| window == wanted)
}

/// Moves an atom from one member's account to another's, in a snapshot file's content.
fn tamper(content: &mut [u8]) -> bool {
    for at in 0..content.len().saturating_sub(8) {
        let Ok(length) = content[at..at + 8].try_into().map(u64::from_le_bytes) else {
            return false;
        };
        let Some(end) = usize::try_from(length)
            .ok()
            .and_then(|length| length.checked_add(at + 8))
            .filter(|end| *end <= content.len() && length > 100)
        else {
            continue;
        };
        let Ok(mut venue) = snapshot::decode(&content[at + 8..end]) else {
            continue;
        };
        if !move_an_atom(&mut venue) {
            return false;
        }
        let mut bytes = Vec::new();
        snapshot::encode(&venue, &mut bytes);
        if bytes.len() != end - at - 8 {
            return false;
        }
        content[at + 8..end].copy_from_slice(&bytes);
        return true;
    }
    false
}

fn move_an_atom(venue: &mut VenueSnapshot) -> bool {
    let rich: Vec<usize> = (0..venue.accounts.len())
        .filter(|at| {
            let account = &venue.accounts[*at];
            let member = matches!(account.owner, AccountOwner::Member(_));
            member && account.asset.0 == 0 && account.available.0 > 1
        })
        .collect();
    let [first, .., last] = rich[..] else {
        return false;
    };
    venue.accounts[first].available.0 -= 1;
    venue.accounts[last].available.0 += 1;
    true
}

fn copy(from: &Path, to: &Path) {
    let copied = fs::create_dir_all(to).and_then(|()| {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            fs::copy(entry.path(), to.join(entry.file_name()))?;
        }
        Ok(())
    });
    assert!(copied.is_ok(), "the temporary folder takes no more files");
}
