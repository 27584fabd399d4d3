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
}

impl Fault {
    /// Every kind.
    pub const ALL: &'static [Self] = &[Self::Kill, Self::PowerCut];
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
    pub election_ticks: usize,
    pub heartbeat_ticks: usize,
}

impl Profile {
    /// The world of a seed.
    pub fn draw(random: &mut Random) -> Self {
        let faults = Fault::ALL
            .iter()
            .copied()
            .filter(|_| random.chance(400))
            .collect();
        let slow = random.chance(300);
        Self {
            nodes: random.pick(&[3, 3, 3, 5]).unwrap_or(3),
            clients: random.between(1, 6),
            window: random.between(1, 8) as usize,
            think: random.spread(2_000, 50_000),
            delay: if slow {
                (random.spread(500, 5_000), random.spread(10_000, 60_000))
            } else {
                (30, random.spread(100, 2_000))
            },
            loss: if random.chance(500) { random.spread(1, 100) } else { 0 },
            duplicates: if random.chance(300) { random.spread(1, 100) } else { 0 },
            reorder: if random.chance(300) { random.spread(1, 200) } else { 0 },
            disk: (50, random.spread(200, 20_000)),
            faults,
            fault_every: random.spread(100_000, 2_000_000),
            segment_bytes: random.pick(&[16, 32, 64]).unwrap_or(64) << 10,
            snapshot_every_bytes: random.spread(1 << 10, 64 << 10),
            log_keep_bytes: random.spread(1, 32 << 10),
            entry_requests_max: random.pick(&[2, 8, 4_096]).unwrap_or(8),
            uncommitted_bytes_max: random.pick(&[4 << 10, 64 << 10, 16 << 20]).unwrap_or(64 << 10),
            election_ticks: random.pick(&[10, 25, 25]).unwrap_or(25),
            heartbeat_ticks: random.pick(&[2, 3, 3]).unwrap_or(3),
        }
    }
}
