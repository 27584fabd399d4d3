//! Do the replicas still agree? Each says now and then what it has after an entry; one that finds
//! itself against a majority stops, for its state is wrong or the others' are, and either way it
//! must not answer anybody.

use std::collections::{BTreeMap, VecDeque};

use raft::eraftpb::ConfState;

use super::Core;
use crate::member::Shown;
use crate::state::Digest;

/// Entries whose digests are remembered.
const HISTORY: usize = 16_384;
/// Reports about entries not applied yet, kept per peer.
const AHEAD_MAX: usize = 64;
/// Ticks to wait for more reports when it is one against one.
const PATIENCE: u32 = 200;

/// This replica has diverged from the others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "replica {} differs from replicas {:?} at entry {index} ({what}); \
     it has stopped, since its state can't be trusted",
    Shown(*node),
    others.iter().map(|other| Shown(*other)).collect::<Vec<_>>()
)]
pub struct Disagreement {
    /// This replica.
    pub node: u64,
    /// The entry at which it was found; the cause is there or before.
    pub index: u64,
    /// Who has something else.
    pub others: Vec<u64>,
    /// What was compared.
    pub what: &'static str,
}

/// What is known of the others' digests.
pub(super) struct Agreement {
    node: u64,
    /// Digests of entries `last - history.len() + 1 ..= last`.
    history: VecDeque<Digest>,
    last: u64,
    /// Reports about entries that are not applied here yet.
    ahead: BTreeMap<u64, VecDeque<(u64, Digest)>>,
    /// Own hashes of whole states, by index.
    states: BTreeMap<u64, Digest>,
    /// Others' hashes of whole states.
    other_states: VecDeque<(u64, u64, Digest)>,
    agrees: BTreeMap<u64, u64>,
    differs: BTreeMap<u64, (u64, &'static str)>,
    waited: u32,
    told: u64,
}

impl Agreement {
    pub fn new(node: u64, index: u64, digest: Digest) -> Self {
        Self {
            node,
            history: VecDeque::from([digest]),
            last: index,
            ahead: BTreeMap::new(),
            states: BTreeMap::new(),
            other_states: VecDeque::new(),
            agrees: BTreeMap::new(),
            differs: BTreeMap::new(),
            waited: 0,
            told: 0,
        }
    }

    pub fn restart(&mut self, index: u64, digest: Digest) {
        *self = Self::new(self.node, index, digest);
    }

    pub fn applied(&mut self, index: u64, digest: Digest) {
        self.last = index;
        self.history.push_back(digest);
        if self.history.len() > HISTORY {
            self.history.pop_front();
        }
        let mut due = Vec::new();
        for (peer, reports) in &mut self.ahead {
            while let Some((at, other)) = reports.front().copied() {
                if at > index {
                    break;
                }
                reports.pop_front();
                due.push((*peer, at, other));
            }
        }
        for (peer, at, other) in due {
            self.compare(peer, at, other);
        }
    }

    fn own(&self, index: u64) -> Option<Digest> {
        let back = self.last.checked_sub(index)?;
        let at = (self.history.len() as u64).checked_sub(back + 1)?;
        self.history.get(at as usize).copied()
    }

    fn compare(&mut self, peer: u64, index: u64, other: Digest) {
        match self.own(index) {
            Some(own) if own == other => {
                self.agrees.insert(peer, index);
            }
            Some(_) => {
                self.differs.entry(peer).or_insert((index, "events"));
            }
            None => {}
        }
    }

    fn hear(&mut self, peer: u64, index: u64, digest: Digest) {
        if index <= self.last {
            return self.compare(peer, index, digest);
        }
        let reports = self.ahead.entry(peer).or_default();
        if reports.back().is_none_or(|(at, _)| *at < index) {
            reports.push_back((index, digest));
            if reports.len() > AHEAD_MAX {
                reports.pop_front();
            }
        }
    }

    fn compare_states(&mut self) {
        let states = &self.states;
        let differs = &mut self.differs;
        self.other_states.retain(|(peer, index, hash)| {
            let Some(own) = states.get(index) else {
                return true;
            };
            if own != hash {
                differs.entry(*peer).or_insert((*index, "state"));
            }
            false
        });
        while self.other_states.len() > AHEAD_MAX {
            self.other_states.pop_front();
        }
        while self.states.len() > AHEAD_MAX {
            self.states.pop_first();
        }
    }

    /// Whether this replica must stop.
    pub fn verdict(&mut self, conf: &ConfState, leads: bool) -> Option<Disagreement> {
        if self.differs.is_empty() {
            return None;
        }
        let votes = |node: &u64| conf.voters.contains(node);
        let quorum = conf.voters.len() / 2 + 1;
        let against: Vec<u64> = self.differs.keys().copied().filter(votes).collect();
        let first = self.differs.values().map(|(index, _)| *index).min()?;
        let with = self
            .agrees
            .iter()
            .filter(|(node, index)| {
                votes(node) && **index >= first && !self.differs.contains_key(node)
            })
            .count()
            + usize::from(votes(&self.node));
        let undecided = against.len() < quorum && with < quorum;
        let stops = against.len() >= quorum
            || (undecided && !against.is_empty() && !leads && self.waited >= PATIENCE);
        if !stops {
            return None;
        }
        let (index, what) = *self.differs.values().min()?;
        Some(Disagreement {
            node: self.node,
            index,
            others: against,
            what,
        })
    }
}

impl Core {
    /// A peer says what digest it has after an entry.
    pub fn hear_digest(&mut self, peer: u64, index: u64, digest: Digest) {
        self.agree.hear(peer, index, digest);
    }

    /// A peer says what its whole state hashes to after an entry.
    pub fn hear_state_hash(&mut self, peer: u64, index: u64, hash: Digest) {
        self.agree.other_states.push_back((peer, index, hash));
        self.agree.compare_states();
    }

    /// The whole state after an entry hashes to this here: a snapshot was taken.
    pub fn set_state_hash(&mut self, index: u64, hash: Digest) {
        self.agree.states.insert(index, hash);
        self.agree.compare_states();
    }

    /// What to tell the peers: the last entry applied and the digest after it, if it was not told.
    pub fn digest_to_tell(&mut self) -> Option<(u64, Digest)> {
        if self.agree.told == self.state.index {
            return None;
        }
        self.agree.told = self.state.index;
        Some((self.state.index, self.state.digest))
    }

    /// Peers that have something else at some entry, and that entry.
    pub fn differing(&self) -> Vec<(u64, u64)> {
        let differs = self.agree.differs.iter();
        differs.map(|(peer, (index, _))| (*peer, *index)).collect()
    }

    pub(super) fn tick_agreement(&mut self) {
        if !self.agree.differs.is_empty() {
            self.agree.waited = self.agree.waited.saturating_add(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three() -> ConfState {
        ConfState {
            voters: vec![1, 2, 3],
            ..ConfState::default()
        }
    }

    fn agreement(upto: u64) -> Agreement {
        let mut agreement = Agreement::new(1, 0, [0; 16]);
        for index in 1..=upto {
            agreement.applied(index, [index as u8; 16]);
        }
        agreement
    }

    #[test]
    fn a_majority_against_it_stops_a_replica_even_a_leader() {
        let mut agreement = agreement(9);
        agreement.hear(2, 7, [1; 16]);
        assert_eq!(agreement.verdict(&three(), true), None);
        agreement.hear(3, 8, [1; 16]);
        let found = agreement.verdict(&three(), true).expect("stops");
        assert_eq!((found.index, found.others), (7, vec![2, 3]));
    }

    #[test]
    fn one_that_differs_from_a_majority_does_not_stop_the_others() {
        let mut agreement = agreement(9);
        agreement.hear(2, 7, [1; 16]);
        agreement.hear(3, 8, [8; 16]);
        agreement.waited = PATIENCE;
        assert_eq!(agreement.verdict(&three(), false), None);
    }

    #[test]
    fn one_against_one_is_settled_for_the_leader() {
        let mut agreement = agreement(9);
        agreement.hear(2, 7, [1; 16]);
        assert_eq!(agreement.verdict(&three(), false), None);
        agreement.waited = PATIENCE;
        assert_eq!(agreement.verdict(&three(), true), None);
        assert!(agreement.verdict(&three(), false).is_some());
    }

    #[test]
    fn reports_from_ahead_are_compared_when_they_can_be() {
        let mut agreement = agreement(9);
        agreement.hear(2, 11, [1; 16]);
        agreement.hear(3, 11, [2; 16]);
        agreement.applied(10, [10; 16]);
        assert_eq!(agreement.verdict(&three(), true), None);
        agreement.applied(11, [11; 16]);
        assert!(agreement.verdict(&three(), true).is_some());
    }

    #[test]
    fn whole_states_are_compared_at_the_same_entry_only() {
        let mut agreement = agreement(9);
        agreement.states.insert(5, [5; 16]);
        agreement.other_states.push_back((2, 4, [4; 16]));
        agreement.other_states.push_back((3, 5, [5; 16]));
        agreement.compare_states();
        assert!(agreement.differs.is_empty());
        agreement.other_states.push_back((2, 5, [6; 16]));
        agreement.other_states.push_back((3, 5, [6; 16]));
        agreement.compare_states();
        let found = agreement.verdict(&three(), true).expect("stops");
        assert_eq!(found.what, "state");
    }
}
