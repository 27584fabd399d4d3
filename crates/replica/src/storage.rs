//! The log as the consensus library reads it: entries in memory since a place that a snapshot
//! covers. What is older is only in the snapshot.

use std::cell::Cell;
use std::collections::VecDeque;

use raft::eraftpb::{ConfState, Entry, HardState, Snapshot};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

/// The log in memory.
pub(crate) struct Log {
    hard_state: HardState,
    conf: ConfState,
    /// The entry before the first one kept.
    base_index: u64,
    base_term: u64,
    entries: VecDeque<Kept>,
    bytes: u64,
    /// The newest snapshot: its place and what a peer needs to ask for it.
    snapshot: Option<Snapshot>,
    /// A peer needs a snapshot of at least this index, or of one that names it as a member.
    wanted: Cell<Option<u64>>,
}

struct Kept {
    entry: Entry,
    /// Where it stands in the journal.
    place: u64,
}

fn weight(entry: &Entry) -> u64 {
    (entry.data.len() + entry.context.len() + size_of::<Kept>()) as u64
}

impl Log {
    /// A log that begins after `base_index`.
    pub fn new(base_index: u64, base_term: u64, conf: ConfState, hard_state: HardState) -> Self {
        Self {
            hard_state,
            conf,
            base_index,
            base_term,
            entries: VecDeque::new(),
            bytes: 0,
            snapshot: None,
            wanted: Cell::new(None),
        }
    }

    pub fn last_index(&self) -> u64 {
        self.base_index + self.entries.len() as u64
    }

    pub fn base_index(&self) -> u64 {
        self.base_index
    }

    pub fn hard_state(&self) -> &HardState {
        &self.hard_state
    }

    pub fn set_hard_state(&mut self, state: HardState) {
        self.hard_state = state;
    }

    pub fn set_conf(&mut self, conf: ConfState) {
        self.conf = conf;
    }

    /// Takes an entry; one that is there already and all after it are replaced.
    pub fn append(&mut self, entry: Entry, place: u64) {
        assert!(
            entry.index > self.base_index && entry.index <= self.last_index() + 1,
            "invariant: entry {} continues the log of {}..={}",
            entry.index,
            self.base_index + 1,
            self.last_index()
        );
        while self.last_index() >= entry.index {
            let dropped = self.entries.pop_back().expect("invariant: it is kept");
            self.bytes -= weight(&dropped.entry);
        }
        self.bytes += weight(&entry);
        self.entries.push_back(Kept { entry, place });
    }

    /// An entry that is kept.
    pub fn entry(&self, index: u64) -> Option<&Entry> {
        let at = index.checked_sub(self.base_index + 1)?;
        self.entries.get(at as usize).map(|kept| &kept.entry)
    }

    /// Where an entry stands in the journal.
    pub fn place(&self, index: u64) -> Option<u64> {
        let at = index.checked_sub(self.base_index + 1)?;
        self.entries.get(at as usize).map(|kept| kept.place)
    }

    /// A snapshot is there.
    pub fn set_snapshot(&mut self, snapshot: Snapshot) {
        self.snapshot = Some(snapshot);
        self.wanted.set(None);
    }

    /// The newest snapshot's index; 0 if there is none.
    pub fn snapshot_index(&self) -> u64 {
        self.snapshot
            .as_ref()
            .map_or(0, |snapshot| snapshot.get_metadata().index)
    }

    /// Whether a peer waits for a newer snapshot than there is.
    pub fn wanted(&self) -> Option<u64> {
        self.wanted.get()
    }

    /// Forgets entries up to `index` at most, and the more the further `keep_bytes` is exceeded:
    /// `slowest` is what the slowest member still needs.
    pub fn compact(&mut self, index: u64, slowest: u64, keep_bytes: u64) {
        while let Some(first) = self.entries.front() {
            let at = first.entry.index;
            if at > index || (at > slowest && self.bytes <= keep_bytes) {
                return;
            }
            self.bytes -= weight(&first.entry);
            (self.base_index, self.base_term) = (at, first.entry.term);
            self.entries.pop_front();
        }
    }

    /// Starts anew after a state that was taken over as a whole.
    pub fn restart(&mut self, snapshot: Snapshot) {
        let meta = snapshot.get_metadata();
        (self.base_index, self.base_term) = (meta.index, meta.term);
        self.conf = meta.get_conf_state().clone();
        self.entries.clear();
        self.bytes = 0;
        self.set_snapshot(snapshot);
    }
}

impl Storage for Log {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.hard_state.clone(), self.conf.clone()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.base_index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        assert!(
            high <= self.last_index() + 1,
            "invariant: entries are asked for that there are"
        );
        let from = (low - self.base_index - 1) as usize;
        let to = (high - self.base_index - 1) as usize;
        let most = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0;
        let mut out = Vec::with_capacity((to - from).min(64));
        for kept in self.entries.range(from..to) {
            bytes += weight(&kept.entry);
            if bytes > most && !out.is_empty() {
                break;
            }
            out.push(kept.entry.clone());
        }
        Ok(out)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.base_index {
            return Ok(self.base_term);
        }
        if index < self.base_index {
            return Err(raft::Error::Store(StorageError::Compacted));
        }
        self.entry(index)
            .map(|entry| entry.term)
            .ok_or(raft::Error::Store(StorageError::Unavailable))
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.base_index + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(Log::last_index(self))
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        let fits = |snapshot: &&Snapshot| {
            let meta = snapshot.get_metadata();
            let conf = meta.get_conf_state();
            // A peer does not take a state that does not know it.
            let knows = conf.voters.contains(&to)
                || conf.learners.contains(&to)
                || conf.voters_outgoing.contains(&to);
            // What follows the snapshot must still be here.
            knows && meta.index >= request_index && meta.index >= self.base_index
        };
        match self.snapshot.as_ref().filter(fits) {
            Some(snapshot) => Ok(snapshot.clone()),
            None => {
                self.wanted.set(Some(request_index.max(self.base_index)));
                Err(raft::Error::Store(
                    StorageError::SnapshotTemporarilyUnavailable,
                ))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64, term: u64) -> Entry {
        let mut entry = Entry::default();
        (entry.index, entry.term) = (index, term);
        entry.data = vec![0; 100].into();
        entry
    }

    fn log(last: u64) -> Log {
        let mut log = Log::new(1, 1, ConfState::default(), HardState::default());
        for index in 2..=last {
            log.append(entry(index, 2), index + 10);
        }
        log
    }

    fn indices(log: &Log, low: u64, high: u64, most: Option<u64>) -> Vec<u64> {
        log.entries(low, high, most, GetEntriesContext::empty(false))
            .expect("there")
            .iter()
            .map(|entry| entry.index)
            .collect()
    }

    #[test]
    fn a_later_entry_replaces_an_earlier_one_and_all_after_it() {
        let mut log = log(9);
        log.append(entry(5, 3), 99);
        assert_eq!(log.last_index(), 5);
        assert_eq!(log.term(5).ok(), Some(3));
        assert_eq!((log.place(4), log.place(5)), (Some(14), Some(99)));
    }

    #[test]
    fn entries_are_limited_by_size_but_never_to_none() {
        let log = log(9);
        assert_eq!(indices(&log, 3, 10, None), [3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(indices(&log, 3, 10, Some(0)), [3]);
        assert_eq!(indices(&log, 3, 10, Some(2 * weight(&entry(3, 2)))), [3, 4]);
        assert!(
            log.entries(1, 3, None, GetEntriesContext::empty(false))
                .is_err()
        );
    }

    #[test]
    fn compaction_waits_for_the_slowest_until_there_is_too_much() {
        let mut log = log(100);
        log.compact(50, 20, u64::MAX);
        assert_eq!(log.base_index(), 20);
        assert_eq!(log.term(20).ok(), Some(2));
        log.compact(50, 20, 0);
        assert_eq!(log.base_index(), 50);
    }

    #[test]
    fn a_snapshot_must_know_the_peer_that_it_is_for() {
        let mut log = log(9);
        assert!(log.snapshot(0, 4).is_err());
        assert!(log.wanted().is_some());
        let mut snapshot = Snapshot::default();
        snapshot.mut_metadata().index = 5;
        snapshot.mut_metadata().mut_conf_state().voters = vec![1, 2];
        log.set_snapshot(snapshot);
        assert!(log.wanted().is_none());
        assert!(log.snapshot(0, 2).is_ok());
        assert!(log.snapshot(6, 2).is_err());
        assert!(log.snapshot(0, 4).is_err());
    }
}
