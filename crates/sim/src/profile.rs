//! What kind of world a seed gets: each seed switches on some of the faults, at rates of its own, so
//! that rare combinations are not drowned by common ones.

use crate::random::Random;

/// Kinds of faults and of disturbing events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// The process is killed.
    Kill,
    /// The machine loses power: the last write may be torn.
    PowerCut,
    /// The process is stopped as an operator does it, and started again.
    Stop,
    /// The process does not run for a while.
    Pause,
    /// Some machines can't reach the others.
    Partition,
    /// One machine does not reach another, which reaches it.
    OneWay,
    /// Messages are lost, doubled and late for a while.
    Weather,
    /// The disk takes long.
    SlowDisk,
    /// A commit fails.
    FailingDisk,
    /// The disk has no room for a while.
    FullDisk,
    /// A bit of a stopped replica's files flips.
    BitFlip,
    /// The machine stops, and all that its replica had was in memory.
    LostMemory,
    /// The disk is replaced by an empty one, and the replica comes back under its number.
    LostDisk,
    /// The wall clock jumps.
    ClockJump,
    /// The lead is handed over.
    Transfer,
    /// Replicas come and go.
    Membership,
    /// A new release comes to all machines, one after the other, and is switched on.
    Upgrade,
}

impl Fault {
    /// Every kind.
    pub const ALL: &'static [Self] = &[
        Self::Kill,
        Self::PowerCut,
        Self::Stop,
        Self::Pause,
        Self::Partition,
        Self::OneWay,
        Self::Weather,
        Self::SlowDisk,
        Self::FailingDisk,
        Self::FullDisk,
        Self::BitFlip,
        Self::LostMemory,
        Self::LostDisk,
        Self::ClockJump,
        Self::Transfer,
        Self::Membership,
        Self::Upgrade,
    ];
}

/// The settings of a world.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// Replicas at the beginning.
    pub nodes: u64,
    pub clients: u64,
    /// Requests that a client may have unanswered.
    pub window: usize,
    /// Mean microseconds between two of a client's requests.
    pub think: u64,
    /// Microseconds of a message on its way.
    pub delay: (u64, u64),
    /// Of a thousand messages.
    pub loss: u64,
    pub duplicates: u64,
    pub reorder: u64,
    /// Microseconds of a commit.
    pub disk: (u64, u64),
    pub faults: Vec<Fault>,
    /// Mean microseconds between two faults.
    pub fault_every: u64,
    pub segment_bytes: u64,
    pub snapshot_every_bytes: u64,
    pub log_keep_bytes: u64,
    pub entry_requests_max: u32,
    pub uncommitted_bytes_max: u64,
    /// States whose snapshots are as large as this are not copied for the next one.
    pub keep_state_from: usize,
    pub election_ticks: usize,
    pub heartbeat_ticks: usize,
}

/// One of a few numbers.
fn one_of(random: &mut Random, of: &[u64]) -> u64 {
    random.pick(of).unwrap_or_default()
}

/// A rate, or none at all.
fn rate(random: &mut Random, per_mille: u64, most: u64) -> u64 {
    if random.chance(per_mille) {
        random.spread(1, most)
    } else {
        0
    }
}

impl Profile {
    /// The world of a seed.
    pub fn draw(random: &mut Random) -> Self {
        let often = random.between(150, 600);
        let drawn = Fault::ALL.iter().copied();
        let drawn = drawn.filter(|fault| ![Fault::LostMemory, Fault::LostDisk].contains(fault));
        let mut faults: Vec<Fault> = drawn.filter(|_| random.chance(often)).collect();
        // Not drawn, so that the seeds that once found something still make the same worlds.
        if often.is_multiple_of(3) {
            faults.push(Fault::LostMemory);
        }
        if often.is_multiple_of(4) {
            faults.push(Fault::LostDisk);
        }
        let slow = random.chance(300);
        let delay = if slow {
            (random.spread(500, 5_000), random.spread(10_000, 60_000))
        } else {
            (30, random.spread(100, 2_000))
        };
        Self {
            nodes: one_of(random, &[3, 3, 3, 3, 5, 1]),
            clients: random.between(1, 6),
            window: random.between(1, 8) as usize,
            think: random.spread(2_000, 50_000),
            delay,
            loss: rate(random, 400, 50),
            duplicates: rate(random, 300, 100),
            reorder: rate(random, 300, 100),
            disk: (50, random.spread(200, 20_000)),
            faults,
            fault_every: random.spread(50_000, 2_000_000),
            segment_bytes: one_of(random, &[16, 32, 64]) << 10,
            snapshot_every_bytes: random.spread(1 << 10, 64 << 10),
            log_keep_bytes: random.spread(1, 32 << 10),
            entry_requests_max: one_of(random, &[2, 8, 4_096]) as u32,
            uncommitted_bytes_max: one_of(random, &[8 << 10, 64 << 10, 16 << 20]),
            // Not drawn either.
            keep_state_from: [0, 2_000, usize::MAX][often as usize / 3 % 3],
            election_ticks: one_of(random, &[10, 25, 25]) as usize,
            heartbeat_ticks: one_of(random, &[2, 3, 3]) as usize,
        }
    }
}
