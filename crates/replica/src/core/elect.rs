//! When elections begin: after a timeout that is drawn, or sooner where that need not be waited for.

use super::{Core, Role};

/// Ticks between the moments at which replicas that lost the same leader begin their elections, so
/// that the first has its votes before the second asks for any.
const STAGGER: usize = 5;
/// Elections that are begun again before the whole timeout is waited for.
const TRIES: u32 = 3;

/// An election because a leader's connection broke, and what is left to try.
#[derive(Debug)]
pub(super) struct Hurry {
    /// Who led.
    lost: u64,
    /// Elections begun again so far.
    tries: u32,
}

impl Core {
    /// Draws the election timeout anew when the library did, from this core's own numbers: a
    /// simulated world must be the same on every run.
    pub(super) fn keep_timeout(&mut self) {
        let raft = &self.raw.raft;
        let now = (raft.term, raft.state, raft.leader_id);
        if now != self.timer {
            self.redraw_timeout();
        } else if raft.randomized_election_timeout() != self.timeout {
            self.raw.raft.set_randomized_election_timeout(self.timeout);
        }
        self.keep_hurry();
        self.look_for_leader();
    }

    /// A number below that one, from this core's own sequence.
    fn draw(&mut self, below: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        z % below
    }

    pub(super) fn redraw_timeout(&mut self) {
        let least = self.config.election_ticks;
        self.timeout = least + self.draw(least as u64) as usize;
        let raft = &mut self.raw.raft;
        raft.set_randomized_election_timeout(self.timeout);
        self.timer = (raft.term, raft.state, raft.leader_id);
    }

    /// The connection to that peer has broken. If it led, its process has most likely ended, and an
    /// election begins soon instead of after the whole timeout. No leader that lives is deposed by
    /// this: whoever still hears it grants no vote.
    pub fn lost_contact(&mut self, node: u64) {
        if self.leader() != Some(node) || self.role() != Role::Follower {
            return;
        }
        self.hurry = Some(Hurry {
            lost: node,
            tries: 0,
        });
        // From now on it grants its vote to others, too.
        self.elect_after(1 + self.rank_without(node) * STAGGER);
    }

    /// An election that was begun in a hurry may come to nothing: the other had not noticed yet that
    /// the leader is gone, has more log, or asked for votes at the same moment. It is begun again soon,
    /// and later each time, instead of after a timeout that is made for leaders who may live.
    fn keep_hurry(&mut self) {
        let Some(Hurry { lost, tries }) = self.hurry else {
            return;
        };
        let raft = &self.raw.raft;
        // Until an election begins, the library still takes the lost one for the leader.
        let waits = raft.election_elapsed >= self.config.election_ticks;
        if waits && (raft.leader_id == lost || raft.leader_id == 0) {
            return;
        }
        if raft.leader_id != 0 || tries == TRIES {
            self.hurry = None;
            return;
        }
        // Who gave its vote lets the other one have the time that an election takes.
        if ![0, raft.id, lost].contains(&raft.vote) {
            return;
        }
        self.hurry = Some(Hurry {
            lost,
            tries: tries + 1,
        });
        let ticks = ((2 + self.rank_without(lost)) * STAGGER) << tries;
        let more = self.draw(STAGGER as u64) as usize;
        self.elect_after(ticks + more);
    }

    /// Its place among the voters but that one.
    fn rank_without(&self, node: u64) -> usize {
        let voters = self.state.conf.voters.iter();
        voters
            .filter(|v| **v != node && **v < self.config.node)
            .count()
    }

    /// Begins an election after so many ticks without a leader.
    fn elect_after(&mut self, ticks: usize) {
        let least = self.config.election_ticks;
        self.timeout = (least + ticks).min(2 * least - 1);
        let raft = &mut self.raw.raft;
        raft.set_randomized_election_timeout(self.timeout);
        raft.election_elapsed = raft.election_elapsed.max(least);
    }
}
