//! What a core does at moments that are rare in life.

mod elections;

use everopen_journal::{Config as JournalConfig, Durability, Journal};
use raft::eraftpb::{Entry, MessageType};
use tempfile::TempDir;

use super::*;
use crate::disk::Writer;
use crate::recovery::{Origin, recover};

/// Replica 1 with its disk, and a hand that plays the others.
struct Desk {
    dir: TempDir,
    core: Core,
    writer: Writer,
    /// Not written yet.
    writes: Vec<Write>,
    answers: Vec<(Ticket, Answer)>,
}

impl Desk {
    fn new(voters: &[u64]) -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let (core, writer) = Self::start(&dir, voters);
        Self {
            dir,
            core,
            writer,
            writes: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn start(dir: &TempDir, voters: &[u64]) -> (Core, Writer) {
        let (mut journal, found) = Journal::open(JournalConfig {
            segment_bytes: 64 << 10,
            max_record_bytes: 16 << 10,
            durability: Durability::Memory,
            ..JournalConfig::new(dir.path())
        })
        .expect("opens");
        let origin = Origin {
            node: 1,
            cluster: [7; 16],
            voters: voters.iter().map(|node| (*node, String::new())).collect(),
        };
        let (recovered, _) = recover(&mut journal, &found, &origin, &mut (), 2).expect("recovered");
        let core = Core::new(Config::new(1), recovered).expect("starts");
        (core, Writer::new(journal))
    }

    /// The process ends, with what its disk has not done, and begins again.
    fn restart(self, voters: &[u64]) -> Self {
        let Self {
            dir, writer, core, ..
        } = self;
        drop((writer, core));
        let (core, writer) = Self::start(&dir, voters);
        Self {
            dir,
            core,
            writer,
            writes: Vec::new(),
            answers: Vec::new(),
        }
    }

    fn add_learner(&mut self, node: u64) {
        let address = format!("host-{node}:1");
        let change = MembershipChange::AddLearner { node, address };
        self.core.change(Some(9), &change).expect("proposed");
    }

    fn turn(&mut self) -> Vec<Message> {
        let effects = self.core.turn(Timestamp(1)).expect("goes on");
        self.writes.extend(effects.writes);
        self.answers.extend(effects.answers);
        effects.messages
    }

    fn write(&mut self) {
        for write in std::mem::take(&mut self.writes) {
            self.writer.append(&write).expect("appended");
            self.writer.commit().expect("committed");
            self.core.persisted(write.number);
        }
    }

    /// Turns and writes until nothing is left; the others vote for 1 and take what they are sent.
    fn settle(&mut self) {
        loop {
            let messages = self.turn();
            if messages.is_empty() && self.writes.is_empty() {
                return;
            }
            self.write();
            for message in messages {
                self.take(&message);
            }
        }
    }

    fn take(&mut self, message: &Message) {
        let mut answer = Message::default();
        (answer.from, answer.to, answer.term) = (message.to, 1, message.term);
        let kind = match message.get_msg_type() {
            MessageType::MsgRequestPreVote => MessageType::MsgRequestPreVoteResponse,
            MessageType::MsgRequestVote => MessageType::MsgRequestVoteResponse,
            MessageType::MsgAppend => {
                answer.index = message.index + message.entries.len() as u64;
                MessageType::MsgAppendResponse
            }
            _ => return,
        };
        answer.set_msg_type(kind);
        self.core.receive(answer);
    }
}

fn append(index: u64, first: u64, entries: u64) -> Message {
    let mut message = Message::default();
    message.set_msg_type(MessageType::MsgAppend);
    (message.from, message.to, message.term) = (2, 1, 1);
    (message.index, message.log_term) = (index, 1);
    for at in first..first + entries {
        let mut entry = Entry::default();
        (entry.index, entry.term) = (at, 1);
        message.mut_entries().push(entry);
    }
    message
}

#[test]
fn an_append_whose_entries_do_not_follow_its_index_is_not_taken() {
    let mut desk = Desk::new(&[1, 2]);
    desk.core.receive(append(1, 2, 3));
    desk.settle();
    assert_eq!(desk.core.last_index(), 4);
    // Entries 2 to 4 once more, but as if they came after 4.
    desk.core.receive(append(4, 2, 3));
    let messages = desk.turn();
    assert!(messages.is_empty(), "nothing is acknowledged: {messages:?}");
    assert_eq!(desk.core.last_index(), 4);
}

#[test]
fn what_comes_before_a_new_leaders_first_turn_gets_its_own_answer() {
    let mut desk = Desk::new(&[1]);
    desk.core.campaign();
    assert!(desk.core.is_leader());
    for ticket in 1..=2 {
        let open = Submission::OpenSession { nonce: ticket };
        desk.core.submit(ticket, &open).expect("taken");
    }
    desk.turn();
    let open = Submission::OpenSession { nonce: 3 };
    desk.core.submit(3, &open).expect("taken");
    desk.settle();
    let mut opened = Vec::new();
    for (ticket, answer) in &desk.answers {
        let Answer::Opened(session) = answer else {
            panic!("{answer:?}");
        };
        opened.push((*ticket, *session));
    }
    let sessions = &desk.core.state().sessions;
    assert_eq!(sessions.len(), 3, "every request is in the log");
    assert_eq!(
        opened,
        [(1, 3 << 16), (2, (3 << 16) + 1), (3, 4 << 16)],
        "each ticket has the answer to its own request"
    );
}

#[test]
fn a_lone_voters_word_leaves_when_its_vote_is_on_the_disk() {
    let mut desk = Desk::new(&[1]);
    desk.core.campaign();
    desk.settle();
    desk.add_learner(2);
    desk.settle();
    let mut desk = desk.restart(&[1]);
    desk.settle();
    assert!(desk.core.members().contains(&2));
    desk.core.campaign();
    assert!(desk.core.is_leader());
    let messages = desk.turn();
    assert!(messages.is_empty(), "{messages:?}");
    desk.write();
    assert!(!desk.turn().is_empty());
}

#[test]
fn a_change_of_membership_is_known_after_a_restart() {
    let mut desk = Desk::new(&[1]);
    desk.core.campaign();
    desk.settle();
    desk.add_learner(2);
    desk.settle();
    assert!(desk.core.members().contains(&2));
    let mut desk = desk.restart(&[1]);
    desk.turn();
    assert!(desk.core.members().contains(&2));
}

#[test]
fn a_leader_that_was_removed_stops_leading() {
    let mut desk = Desk::new(&[1, 2]);
    desk.core.campaign();
    desk.settle();
    assert!(desk.core.is_leader());
    // Another leader's proposal, which this one found in its log.
    let mut single = raft::eraftpb::ConfChangeSingle::default();
    single.node_id = 1;
    single.set_change_type(raft::eraftpb::ConfChangeType::RemoveNode);
    let mut change = raft::eraftpb::ConfChangeV2::default();
    change.mut_changes().push(single);
    let proposed = desk.core.raw.propose_conf_change(Vec::new(), change);
    assert!(proposed.is_ok());
    desk.settle();
    assert_eq!(desk.core.members(), [2]);
    assert!(!desk.core.is_leader());
    let refused = desk.core.submit(1, &Submission::OpenSession { nonce: 1 });
    assert!(refused.is_err());
}

#[test]
fn a_write_that_arrives_in_part_does_not_commit_what_it_was_to_replace() {
    let mut desk = Desk::new(&[1, 2]);
    // Entries 2 and 3 of term 1, of which nobody is told that they are committed.
    desk.core.receive(append(1, 2, 2));
    desk.settle();
    // A later leader has another entry 3, and says in one message that it is committed.
    let mut message = append(2, 3, 1);
    (message.term, message.commit) = (2, 3);
    message.mut_entries()[0].term = 2;
    desk.core.receive(message);
    desk.turn();
    // Of the write with the new entry only the first record arrives.
    let mut write = desk.writes.remove(0);
    assert!(matches!(
        write.records[..],
        [Record::HardState(_), Record::Entry(_)]
    ));
    write.records.truncate(1);
    desk.writer.append(&write).expect("appended");
    desk.writer.commit().expect("committed");
    let desk = desk.restart(&[1, 2]);
    assert_eq!(desk.core.term(), 2);
    assert_eq!(desk.core.commit_index(), 2);
}

#[test]
fn what_comes_while_an_entry_is_under_way_shares_the_next() {
    let mut desk = Desk::new(&[1, 2, 3]);
    desk.core.campaign();
    desk.settle();
    assert!(desk.core.is_leader());
    let first = desk.core.last_index();
    let mut ticket = 0;
    let mut ask = |desk: &mut Desk, more: u64| {
        let open = Submission::OpenSession { nonce: ticket };
        ticket += 1;
        desk.core.submit(ticket, &open).expect("taken");
        let messages = desk.turn();
        assert_eq!(desk.core.last_index(), first + more);
        messages
    };
    let sent = ask(&mut desk, 1);
    ask(&mut desk, 1);
    ask(&mut desk, 1);
    assert!(!desk.core.has_work(), "the loop may wait");
    assert!(desk.core.awaits_others());
    // The others' disks are quicker: it is committed, and what waited goes.
    sent.iter().for_each(|message| desk.take(message));
    let mut sent = desk.turn();
    assert_eq!(desk.core.commit_index(), first + 1);
    assert_eq!(desk.core.last_index(), first + 2);
    // This replica's disk is quicker.
    ask(&mut desk, 2);
    desk.write();
    assert!(desk.core.has_work());
    sent.extend(desk.turn());
    assert_eq!(desk.core.last_index(), first + 3);
    assert!(desk.core.awaits_others());
    sent.iter().for_each(|message| desk.take(message));
    desk.settle();
    assert_eq!(desk.core.state().sessions.len(), 4);
    assert!(!desk.core.awaits_others());
}

#[test]
fn a_leader_whose_disk_hangs_refuses_before_its_memory_is_full() {
    let mut desk = Desk::new(&[1, 2, 3]);
    desk.core.config.unwritten_bytes_max = 4 << 10;
    desk.core.campaign();
    desk.settle();
    let mut taken = 0;
    let refused = loop {
        let open = Submission::OpenSession { nonce: taken };
        match desk.core.submit(taken, &open) {
            Ok(()) => taken += 1,
            Err(refused) => break refused,
        }
        // The others' disks have it at once.
        let sent = desk.turn();
        sent.iter().for_each(|message| desk.take(message));
        desk.turn().iter().for_each(|message| desk.take(message));
        assert!(taken < 1_000, "it never refuses");
    };
    assert_eq!(refused.code, everopen_wire::message::RefusalCode::Busy);
    assert!(refused.retry_after_ms > 0);
    assert!(taken > 10);
    assert_eq!(
        desk.answers.len(),
        0,
        "nothing is applied before it is on this disk"
    );
    desk.write();
    desk.turn();
    assert_eq!(desk.answers.len() as u64, taken);
    let open = Submission::OpenSession { nonce: taken };
    desk.core.submit(taken, &open).expect("taken again");
}

#[test]
fn nothing_is_in_the_log_that_is_older_than_its_leader() {
    let mut desk = Desk::new(&[1]);
    desk.core.config.entry_requests_max = 2;
    desk.core.campaign();
    assert!(desk.core.is_leader());
    let open = |nonce| Submission::OpenSession { nonce };
    for ticket in 1..=2 {
        desk.core.submit(ticket, &open(ticket)).expect("taken");
    }
    // The entry is full, and no turn has told the time yet.
    let refused = desk.core.submit(3, &open(3)).expect_err("not yet");
    assert_eq!(refused.code, everopen_wire::message::RefusalCode::Busy);
    let day = Timestamp(25 * 3_600 * Timestamp::NANOS_PER_SECOND);
    for _ in 0..2 {
        let effects = desk.core.turn(day).expect("goes on");
        desk.writes.extend(effects.writes);
        desk.answers.extend(effects.answers);
        desk.write();
    }
    desk.core.submit(3, &open(3)).expect("taken");
    desk.settle();
    assert_eq!(desk.answers.len(), 3);
    assert_eq!(desk.core.state().sessions.len(), 3, "none has expired");
}
