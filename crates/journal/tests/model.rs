//! Random operations on a journal and on a plain vector: both hold the same records.
mod support;

use everopen_journal::{Config, Durability, Journal, Reader};
use proptest::prelude::*;
use support::{payload, records, small};

#[derive(Debug, Clone)]
enum Operation {
    Append(usize),
    Commit,
    CommitUnmarked,
    /// And go on while it is under way.
    BeginCommit,
    PollCommit,
    Mark,
    Read(usize),
    Snapshot(u64),
    Retire,
    /// Close and open again: what was not committed may be gone, from the end.
    Reopen,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        12 => (0usize..=1024).prop_map(Operation::Append),
        2 => Just(Operation::Commit),
        4 => Just(Operation::CommitUnmarked),
        4 => Just(Operation::BeginCommit),
        2 => Just(Operation::PollCommit),
        1 => Just(Operation::Mark),
        4 => (1usize..40).prop_map(Operation::Read),
        1 => (0u64..20).prop_map(Operation::Snapshot),
        1 => Just(Operation::Retire),
        1 => Just(Operation::Reopen),
    ]
}

/// Everything ever appended that is still in the log or was retired, and how much of it is durable.
struct Model {
    records: Vec<Vec<u8>>,
    durable: usize,
    /// What the commit under way makes durable.
    begun: Option<usize>,
    snapshots: std::collections::BTreeMap<u64, Vec<u8>>,
}

impl Model {
    /// Everything up to `durable` is; and so is what was under way.
    fn waited(&mut self, durable: usize) {
        (self.durable, self.begun) = (durable, None);
    }

    /// The commit under way, if there is one, was waited for.
    fn settled(&mut self) {
        self.waited(self.begun.unwrap_or(self.durable));
    }
}

/// The reader follows the log while it grows; `next` is what it must hand out.
fn read(reader: &mut Reader, model: &Model, count: usize) -> Result<(), TestCaseError> {
    for _ in 0..count {
        let next = reader.next_index();
        match reader.next_record() {
            Ok(Some((index, bytes))) => {
                prop_assert_eq!(index, next);
                prop_assert_eq!(bytes, &model.records[index as usize - 1][..]);
            }
            Ok(None) => {
                prop_assert_eq!(next as usize, model.durable + 1);
                break;
            }
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        }
    }
    Ok(())
}

fn check(journal: &Journal, model: &Model) -> Result<(), TestCaseError> {
    prop_assert_eq!(journal.durable_index() as usize, model.durable);
    let after = journal.first_index() - 1;
    let got = records(journal, after);
    prop_assert!(got == model.records[after as usize..model.durable]);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn a_journal_holds_what_a_vector_holds(
        operations in proptest::collection::vec(operation(), 1..250),
        durability in prop_oneof![Just(Durability::Memory), Just(Durability::Fsync)],
    ) {
        let dir = tempfile::tempdir().unwrap();
        // Where it is to be durable, it is written past the page cache, which the reader reads.
        let open = || Journal::open(Config { durability, ..small(dir.path()) }).unwrap();
        let (mut journal, _) = open();
        let mut model = Model { records: vec![], durable: 0, begun: None, snapshots: Default::default() };
        let mut reader = journal.replay(0).unwrap();
        for operation in operations {
            match operation {
                Operation::Append(length) => {
                    let index = model.records.len() as u64 + 1;
                    let bytes = payload(index, length);
                    prop_assert_eq!(journal.append(&bytes).unwrap(), index);
                    model.records.push(bytes);
                    // The end of a segment commits what came before.
                    let durable = journal.durable_index() as usize;
                    prop_assert!(durable == model.durable || durable + 1 == model.records.len());
                    if durable + 1 == model.records.len() {
                        model.waited(durable);
                    }
                }
                Operation::Commit => {
                    let last = journal.commit().unwrap().last_index;
                    prop_assert_eq!(last as usize, model.records.len());
                    model.waited(model.records.len());
                }
                Operation::CommitUnmarked => {
                    let last = journal.commit_unmarked().unwrap().last_index;
                    prop_assert_eq!(last as usize, model.records.len());
                    model.waited(model.records.len());
                }
                Operation::BeginCommit => {
                    model.settled();
                    journal.begin_commit().unwrap();
                    match journal.durable_index() as usize == model.durable {
                        true => model.begun = Some(model.records.len()),
                        // It was waited for.
                        false => model.waited(model.records.len()),
                    }
                    prop_assert!(durability == Durability::Fsync || model.begun.is_none_or(|begun| begun == model.durable));
                }
                Operation::PollCommit => {
                    if journal.poll_commit().unwrap() {
                        model.settled();
                    }
                }
                Operation::Mark => {
                    journal.mark().unwrap();
                    model.settled();
                }
                Operation::Read(count) => {
                    if reader.next_index() < journal.first_index() {
                        reader = journal.replay(journal.first_index() - 1).unwrap();
                    }
                    read(&mut reader, &model, count)?;
                }
                Operation::Snapshot(back) => {
                    let index = (model.durable as u64).saturating_sub(back);
                    let newest = model.snapshots.last_key_value().map_or(0, |(index, _)| *index);
                    if index > newest {
                        let state = payload(index, back as usize * 100);
                        journal.snapshots().write(index, &state).unwrap();
                        model.snapshots.insert(index, state);
                    }
                }
                Operation::Retire => {
                    journal.retire().unwrap();
                    while model.snapshots.len() > 2 {
                        model.snapshots.pop_first();
                    }
                    let oldest = model.snapshots.keys().next().copied().unwrap_or(0);
                    prop_assert!(journal.first_index() <= oldest + 1);
                }
                Operation::Reopen => {
                    drop(journal);
                    model.settled();
                    let recovery;
                    (journal, recovery) = open();
                    prop_assert_eq!(recovery.torn_tail, None);
                    prop_assert_eq!(recovery.last_index as usize, model.durable);
                    model.records.truncate(model.durable);
                    let newest = recovery.snapshot.map(|found| (found.index, found.read().unwrap()));
                    let expected = model.snapshots.last_key_value();
                    prop_assert_eq!(newest, expected.map(|(index, state)| (*index, state.clone())));
                    let after = reader.next_index().max(journal.first_index()) - 1;
                    reader = journal.replay(after).unwrap();
                }
            }
        }
        check(&journal, &model)?;
    }
}
