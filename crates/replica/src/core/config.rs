//! What a core is told before it begins.

/// How a core is run.
#[derive(Clone, Debug)]
pub struct Config {
    /// This replica's number.
    pub node: u64,
    /// Ticks without a leader after which an election begins, at least; the real number is drawn
    /// between this and twice as many.
    pub election_ticks: usize,
    /// Ticks between a leader's heartbeats.
    pub heartbeat_ticks: usize,
    /// Where draws begin; two replicas should not share one.
    pub seed: u64,
    /// What is noted of this log.
    pub trust: super::Trust,
    /// The newest version of the venue's rules that this replica may use.
    pub logic_max: u16,
    /// Bytes of one entry at most.
    pub entry_bytes_max: usize,
    /// Requests in one entry at most.
    pub entry_requests_max: u32,
    /// Bytes that may be proposed and not committed.
    pub uncommitted_bytes_max: u64,
    /// Bytes that this replica's disk may be behind while it leads; beyond that what clients send is refused
    /// until it has caught up, even if the others' disks have all of it.
    pub unwritten_bytes_max: usize,
    /// A snapshot is taken each time so many bytes of entries were applied.
    pub snapshot_every_bytes: u64,
    /// Bytes of entries to keep in memory for a member that is behind, past the last snapshot.
    pub log_keep_bytes: u64,
}

impl Config {
    /// The usual settings for replica `node`, with ticks of 10 ms in mind.
    pub fn new(node: u64) -> Self {
        Self {
            node,
            election_ticks: 50,
            heartbeat_ticks: 5,
            seed: node,
            trust: super::Trust::Whole,
            logic_max: everopen_venue::Venue::LOGIC_MAX,
            entry_bytes_max: 256 << 10,
            entry_requests_max: 4_096,
            uncommitted_bytes_max: 16 << 20,
            unwritten_bytes_max: 64 << 20,
            snapshot_every_bytes: 64 << 20,
            log_keep_bytes: 32 << 20,
        }
    }
}
