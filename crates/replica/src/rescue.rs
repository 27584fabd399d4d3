//! When a majority of the replicas is lost for good: a new cluster from what a survivor has.
//!
//! Consensus cannot do this by itself: without a majority nobody can say what was agreed on. A
//! person decides, with the facts of [`inspect`], and [`refound`] makes the survivor with the
//! longest log the only voter of a new cluster. Everything in its log counts from then on,
//! acknowledged or not; what only the lost replicas had is lost.

use std::collections::BTreeMap;
use std::path::PathBuf;

use everopen_domain::{Command, InstrumentId, Timestamp, TradingPhase};
use everopen_journal::{self as journal, Journal};
use everopen_wire::EntryWriter;
use everopen_wire::entry::Request;
use raft::eraftpb::{ConfState, Entry, EntryType, HardState};

use crate::boot::{Ended, Note};
use crate::core::Trust;
use crate::member;
use crate::message::membership_change;
use crate::record;
use crate::recovery::{Fault, Origin, Recovered, hex, recover};
use crate::snapshot;
use crate::state::State;
use crate::{Applied, Reader, bundle};

/// What a stopped replica's disk holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// Its cluster, in hexadecimal.
    pub cluster: String,
    /// The term of its last entry.
    pub last_term: u64,
    /// Its last entry.
    pub last_index: u64,
    /// The last entry that it knew to be committed; later ones may have been acknowledged, too.
    pub commit_index: u64,
    /// The term that it was in.
    pub term: u64,
    /// The time of its last entry.
    pub last_time: Timestamp,
    /// The numbers of the voters as it knew them.
    pub voters: Vec<u64>,
    /// Its machine stopped in memory mode: it may lack what it had acknowledged itself.
    pub has_lost_memory: bool,
    /// What was cut from the end of its log, in bytes.
    pub torn_bytes: u64,
}

impl Survivor {
    /// Which of two logs is the longer one in the sense of Raft: it has everything that any
    /// majority with this replica in it has agreed on.
    pub fn rank(&self) -> (u64, u64) {
        (self.last_term, self.last_index)
    }
}

/// Whether acknowledged entries can be missing when only `survivors` of `voters` are left: an
/// acknowledged entry is on a majority, and that majority may have been lost whole.
pub fn may_miss(voters: usize, survivors: usize) -> bool {
    let quorum = voters / 2 + 1;
    let lost = voters.saturating_sub(survivors);
    lost >= quorum
}

/// Reads what a stopped replica's disk holds. A torn tail is cut as on every start.
///
/// # Errors
/// The log is damaged or in use.
pub fn inspect(
    config: &journal::Config,
    cluster: [u8; 16],
    logic_max: u16,
) -> Result<Survivor, Fault> {
    let (mut journal, found) = Journal::open(config.clone())?;
    let origin = Origin {
        node: 0,
        cluster,
        voters: BTreeMap::new(),
    };
    let torn_bytes = found
        .torn_tail
        .as_ref()
        .map_or(0, |tail| tail.bytes_dropped);
    let (recovered, _) = recover(&mut journal, &found, &origin, &mut (), logic_max)?;
    let log = &recovered.log;
    let last = log.entry(log.last_index());
    let last_time = (recovered.state.index + 1..=log.last_index())
        .rev()
        .find_map(|index| bundle::time(&log.entry(index)?.data))
        .unwrap_or(recovered.state.time);
    let mut conf = recovered.state.conf.clone();
    for index in recovered.state.index + 1..=log.last_index() {
        if let Some(entry) = log.entry(index)
            && entry.get_entry_type() == EntryType::EntryConfChangeV2
        {
            follow_change(&mut conf, entry)?;
        }
    }
    Ok(Survivor {
        cluster: hex(&cluster),
        last_term: last.map_or(recovered.state.term, |entry| entry.term),
        last_index: log.last_index(),
        commit_index: recovered.commit_index(),
        term: log.hard_state().term,
        last_time,
        voters: {
            let mut numbers: Vec<u64> = conf.voters.iter().copied().map(member::number).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        },
        has_lost_memory: Note::beside(config).ended()? == Ended::Lost,
        torn_bytes,
    })
}

/// The logs that a replica left when its machine stopped in memory mode, each of another life.
pub fn lost_logs(config: &journal::Config) -> Vec<PathBuf> {
    Note::beside(config).kept()
}

/// What came of [`refound`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refounded {
    /// The last entry of the old log, which the new cluster begins with.
    pub last_index: u64,
    /// Entries that were applied though it was not known that they were committed.
    pub uncertain: u64,
    /// Markets that were set to cancel-only.
    pub markets: usize,
}

/// Makes a stopped replica the only voter of a new cluster: applies all of its log, forgets the
/// other members, and sets every market to cancel-only before anything else can happen. If it is cut
/// off, it can be repeated.
///
/// # Errors
/// The log is damaged or in use; nothing has changed then.
pub fn refound(
    config: &journal::Config,
    node: u64,
    address: &str,
    old: [u8; 16],
    new: [u8; 16],
    reader: &mut impl Reader,
    logic_max: u16,
) -> Result<Refounded, Fault> {
    let note = Note::beside(config);
    let node = member::id(node, note.life()?);
    let (mut journal, found) = Journal::open(config.clone())?;
    let origin = Origin {
        node,
        cluster: old,
        voters: BTreeMap::new(),
    };
    let (recovered, _) = recover(&mut journal, &found, &origin, reader, logic_max)?;
    let commit = recovered.commit_index();
    let Recovered { mut state, log, .. } = recovered;
    let hard_state = log.hard_state().clone();
    for index in state.index + 1..=log.last_index() {
        let entry = log.entry(index).expect("invariant: the log has no holes");
        apply(&mut state, entry, logic_max, reader)?;
    }
    let last_index = state.index;
    let term = hard_state.term.max(state.term) + 1;
    state.cluster = new;
    state.conf = ConfState {
        voters: vec![node],
        ..ConfState::default()
    };
    state.nodes = BTreeMap::from([(node, address.to_string())]);
    let (first, markets) = cancel_only(&state, term);
    let place = {
        let mut bytes = Vec::new();
        record::put_installed(state.index, state.term, &mut bytes);
        journal.append(&bytes).map_err(Fault::Append)?
    };
    let mut hard_state = HardState::default();
    hard_state.term = term;
    hard_state.commit = state.index;
    let mut append = |bytes: &[u8]| journal.append(bytes).map(drop).map_err(Fault::Append);
    if let Some(first) = first {
        hard_state.commit = first.index;
        let mut bytes = Vec::new();
        record::put_hard_state(&hard_state, &mut bytes);
        append(&bytes)?;
        let mut bytes = Vec::new();
        record::put_entry(&first, &mut bytes);
        append(&bytes)?;
    } else {
        let mut bytes = Vec::new();
        record::put_hard_state(&hard_state, &mut bytes);
        append(&bytes)?;
    }
    journal.commit()?;
    let portable = snapshot::encode(&state, &reader.checkpoint());
    let header = snapshot::header(&hard_state);
    journal.snapshots().write_with(place, |out| {
        out.write_all(&header)?;
        out.write_all(&portable)
    })?;
    // Whatever its last run may have lost, from now on this is what counts.
    journal.sync_all()?;
    note.settle()?;
    note.log_is(new, Trust::Whole)?;
    Ok(Refounded {
        last_index,
        uncertain: last_index.saturating_sub(commit),
        markets,
    })
}

fn apply(
    state: &mut State,
    entry: &Entry,
    logic_max: u16,
    reader: &mut impl Reader,
) -> Result<(), Fault> {
    let (index, term) = (entry.index, entry.term);
    let events = match entry.get_entry_type() {
        EntryType::EntryNormal if !entry.data.is_empty() => {
            let applied = state.apply(index, term, &entry.data, logic_max, false);
            applied.map_err(|e| Fault::Stop(e.into()))?.events
        }
        _ => {
            // Who was a member does not matter any more.
            state.pass(index, term);
            Vec::new()
        }
    };
    reader.applied(&Applied {
        index: everopen_domain::LogIndex(index),
        time: state.time,
        events: &events,
    });
    Ok(())
}

/// The first entry of the new cluster: every market goes to cancel-only.
fn cancel_only(state: &State, term: u64) -> (Option<Entry>, usize) {
    let (_, markets, _) = state.venue.counts();
    let commands: Vec<Command> = (0..markets)
        .map(|market| Command::SetTradingPhase {
            instrument: InstrumentId(market as u32),
            phase: TradingPhase::CancelOnly,
        })
        .collect();
    if commands.is_empty() {
        return (None, 0);
    }
    let mut writer = EntryWriter::new(64 + commands.len() * 64 + 4_096);
    writer.begin(state.time);
    writer
        .push(&Request::Internal {
            commands: &commands,
        })
        .expect("invariant: the entry was sized for them");
    let mut entry = Entry::default();
    (entry.index, entry.term) = (state.index + 1, term);
    entry.data = writer.finish().to_vec().into();
    (Some(entry), markets)
}

/// Simple changes as this room proposes them: one at a time.
fn follow_change(conf: &mut ConfState, entry: &Entry) -> Result<(), Fault> {
    use raft::eraftpb::ConfChangeType::{AddLearnerNode, AddNode, RemoveNode};
    let change = membership_change(entry).map_err(|e| Fault::Record {
        place: entry.index,
        detail: e.to_string(),
    })?;
    for single in change.changes.iter() {
        let node = single.node_id;
        conf.voters.retain(|voter| *voter != node);
        conf.learners.retain(|learner| *learner != node);
        match single.get_change_type() {
            AddNode => conf.voters.push(node),
            AddLearnerNode => conf.learners.push(node),
            RemoveNode => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acknowledged_entries_can_only_be_missing_when_a_majority_is_lost() {
        assert!(!may_miss(3, 2));
        assert!(may_miss(3, 1));
        assert!(!may_miss(5, 3));
        assert!(may_miss(5, 2));
        assert!(may_miss(1, 0));
    }
}
