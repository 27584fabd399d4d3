//! Elections that need not wait for the whole timeout.

use super::{Core, Role};

/// Ticks between the moments at which replicas that lost the same leader begin their elections, so
/// that the first has its votes before the second asks for any.
const STAGGER: usize = 5;

impl Core {
    /// The connection to that peer has broken. If it led, its process has most likely ended, and an
    /// election begins soon instead of after the whole timeout. No leader that lives is deposed by
    /// this: whoever still hears it grants no vote.
    pub fn lost_contact(&mut self, node: u64) {
        if self.leader() != Some(node) || self.role() != Role::Follower {
            return;
        }
        let voters = &self.state.conf.voters;
        let rank = voters
            .iter()
            .filter(|v| **v != node && **v < self.config.node)
            .count();
        let ticks = self.config.election_ticks;
        self.timeout = (ticks + 1 + rank * STAGGER).min(2 * ticks - 1);
        let raft = &mut self.raw.raft;
        raft.set_randomized_election_timeout(self.timeout);
        // From now on it grants its vote to others, too.
        raft.election_elapsed = raft.election_elapsed.max(ticks);
    }
}
