//! Snapshots of a state that the loop goes on changing.
//!
//! A snapshot needs the state as it is after one entry, for as long as it takes to encode it. A small
//! state is copied, which takes a moment. A large one would stop the loop for longer than anybody
//! should wait, so it has an *understudy*: a second state to which the same entries are applied,
//! elsewhere and a little later. It costs the memory and the work a second time, which is why small
//! states have none; and it shows that applying is deterministic, on every snapshot.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft::eraftpb::{ConfState, Snapshot};

use crate::snapshot::{self, Descriptor};
use crate::state::{Digest, State};

/// A snapshot to be taken of the state after an entry.
#[derive(Clone, Debug)]
pub struct Job {
    /// A copy of the state; none when its understudy has been given all entries.
    pub copy: Option<Box<State>>,
    /// The last entry in it.
    pub index: u64,
    /// The hash over all events up to there.
    pub digest: Digest,
    /// Who votes and who learns. An understudy does not know.
    pub conf: ConfState,
    /// Where each replica is reached.
    pub nodes: BTreeMap<u64, String>,
    /// Bytes of entries applied since the last agreed place for a snapshot.
    pub bytes_since_snapshot: u64,
    /// The place of the last entry in the journal.
    pub place: u64,
    /// What stands before the state in the snapshot's file.
    pub header: Vec<u8>,
}

/// An entry as an understudy applies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its index.
    pub index: u64,
    /// Its term.
    pub term: u64,
    /// Its commands; empty for one without, also for a change of membership.
    pub commands: Bytes,
}

/// A snapshot's content.
#[derive(Debug)]
pub struct Made {
    /// What a peer is told of it.
    pub snapshot: Snapshot,
    /// The place under which it is stored.
    pub place: u64,
    /// What stands before the state in its file.
    pub header: Vec<u8>,
    /// The state and the reader's checkpoint.
    pub bytes: Vec<u8>,
    /// The hash of what replicas must agree on.
    pub state_hash: Digest,
}

impl Made {
    /// The last entry in it.
    pub fn index(&self) -> u64 {
        self.snapshot.get_metadata().index
    }
}

/// Makes the content of snapshots, and keeps the state of a large one.
#[derive(Debug)]
pub struct Understudy {
    state: Option<State>,
    keep_from: usize,
    logic_max: u16,
}

impl Understudy {
    /// States whose snapshots have at least `keep_from` bytes are kept.
    pub fn new(keep_from: usize, logic_max: u16) -> Self {
        Self {
            state: None,
            keep_from,
            logic_max,
        }
    }

    /// Goes on from a state.
    pub fn begin(&mut self, state: State) {
        self.state = Some(state);
    }

    /// Lets the state go: the next snapshot needs a copy.
    pub fn end(&mut self) {
        self.state = None;
    }

    /// Whether there is a state, which must be given every entry.
    pub fn is_kept(&self) -> bool {
        self.state.is_some()
    }

    /// An entry was applied. Where one was left out, the state is let go.
    ///
    /// # Panics
    /// When the entry can't be applied, though the replica has.
    pub fn entry(&mut self, line: &Line) {
        let Some(state) = &mut self.state else { return };
        if line.index != state.index + 1 {
            return self.end();
        }
        if line.commands.is_empty() {
            return state.pass(line.index, line.term);
        }
        let (index, term) = (line.index, line.term);
        let applied = state.apply(index, term, &line.commands, self.logic_max, false);
        let applied = applied.expect("invariant: what the replica applied can be applied");
        state.recycle(applied.events);
    }

    /// Makes a snapshot; none if it has neither a copy nor the state here.
    ///
    /// # Panics
    /// When the understudy's state is another than the replica's: the same entries did not give the
    /// same events.
    pub fn make(&mut self, job: Job, checkpoint: &[u8]) -> Option<Made> {
        let mut state = match job.copy {
            Some(copy) => *copy,
            None => self.state.take().filter(|state| state.index == job.index)?,
        };
        assert_eq!(
            (state.index, state.digest),
            (job.index, job.digest),
            "invariant: the same entries give the same events"
        );
        state.conf = job.conf;
        state.nodes = job.nodes;
        state.bytes_since_snapshot = job.bytes_since_snapshot;
        let bytes = snapshot::encode(&state, checkpoint);
        let descriptor = Descriptor::of(&bytes, job.place);
        let made = Made {
            snapshot: snapshot::described(&state, &descriptor),
            place: job.place,
            header: job.header,
            state_hash: state.hash(),
            bytes,
        };
        self.state = (made.bytes.len() >= self.keep_from).then_some(state);
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use everopen_domain::{AssetCode, Command, Timestamp};
    use everopen_wire::EntryWriter;
    use everopen_wire::entry::Request;

    use super::*;

    fn line(index: u64) -> Line {
        let mut writer = EntryWriter::new(4_096);
        writer.begin(Timestamp(index));
        let code = format!("A{index}").parse::<AssetCode>().expect("a code");
        let command = Command::AddAsset { code, decimals: 2 };
        writer
            .push(&Request::Internal {
                commands: &[command],
            })
            .expect("it has room");
        Line {
            index,
            term: 1,
            commands: writer.finish().to_vec().into(),
        }
    }

    fn job(state: &State, copy: bool) -> Job {
        Job {
            copy: copy.then(|| Box::new(state.clone())),
            index: state.index,
            digest: state.digest,
            conf: ConfState {
                voters: vec![1, 2],
                ..ConfState::default()
            },
            nodes: BTreeMap::from([(1, "a:1".to_string())]),
            bytes_since_snapshot: 7,
            place: state.index,
            header: Vec::new(),
        }
    }

    fn new_state() -> State {
        State::new([1; 16], ConfState::default(), BTreeMap::new())
    }

    #[test]
    fn a_kept_state_makes_the_same_snapshot_as_a_copy() {
        let mut state = new_state();
        let (mut kept, mut copied) = (Understudy::new(0, 2), Understudy::new(usize::MAX, 2));
        kept.begin(state.clone());
        for round in 0..3 {
            for index in round * 4 + 1..=round * 4 + 4 {
                let line = match index % 4 {
                    0 => Line {
                        commands: Bytes::new(),
                        ..line(index)
                    },
                    _ => line(index),
                };
                if line.commands.is_empty() {
                    state.pass(index, 1);
                } else {
                    let applied = state.apply(index, 1, &line.commands, 2, false);
                    applied.expect("applied");
                }
                kept.entry(&line);
                copied.entry(&line);
            }
            let one = kept.make(job(&state, false), b"views").expect("it is kept");
            let other = copied.make(job(&state, true), b"views").expect("a copy");
            assert!(kept.is_kept() && !copied.is_kept());
            assert_eq!(one.bytes, other.bytes);
            assert_eq!(one.snapshot, other.snapshot);
            assert_eq!(one.state_hash, other.state_hash);
            let (back, rest) = State::decode(&one.bytes).expect("a state");
            assert_eq!((back.conf.voters, rest), (vec![1, 2], &b"views"[..]));
        }
    }

    #[test]
    fn a_state_that_missed_an_entry_is_let_go() {
        let mut understudy = Understudy::new(0, 2);
        understudy.begin(new_state());
        understudy.entry(&line(1));
        understudy.entry(&line(3));
        assert!(!understudy.is_kept());
        let mut state = new_state();
        state.pass(1, 1);
        assert!(understudy.make(job(&state, false), b"").is_none());
        // One that is behind is of no use either.
        understudy.begin(new_state());
        assert!(understudy.make(job(&state, false), b"").is_none());
    }

    #[test]
    #[should_panic(expected = "the same entries give the same events")]
    fn a_state_that_is_another_is_found_out() {
        let mut understudy = Understudy::new(0, 2);
        let mut state = new_state();
        understudy.begin(state.clone());
        understudy.entry(&line(1));
        state.pass(1, 1);
        understudy.make(job(&state, false), b"");
    }
}
