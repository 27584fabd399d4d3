//! Who asks for votes, who gives them, and who may not yet.

use raft::eraftpb::{Entry, Message, MessageType};

use super::{Desk, append};
use crate::core::{MembershipChange, Trust};

/// A follower of replica 2, of three, whose connection to it has broken.
fn that_lost_its_leader() -> Desk {
    let mut desk = Desk::new(&[1, 2, 3]);
    desk.core.receive(append(1, 2, 3));
    desk.settle();
    assert_eq!(desk.core.leader(), Some(2));
    desk.core.lost_contact(2);
    desk
}

/// In which of so many ticks it asks whether it would get votes.
fn asks_for_votes(desk: &mut Desk, ticks: usize) -> Vec<usize> {
    let mut at = Vec::new();
    for tick in 1..=ticks {
        desk.core.tick();
        let messages = desk.turn();
        let mut kinds = messages.iter().map(Message::get_msg_type);
        if kinds.any(|kind| kind == MessageType::MsgRequestPreVote) {
            at.push(tick);
        }
        desk.write();
    }
    at
}

/// Replica 3, whose log ends with an entry of that index and term, asks for a vote.
fn asks_for_vote(term: u64, (index, log_term): (u64, u64)) -> Message {
    let mut ask = Message::default();
    ask.set_msg_type(MessageType::MsgRequestVote);
    (ask.from, ask.to, ask.term) = (3, 1, term);
    (ask.index, ask.log_term) = (index, log_term);
    ask
}

fn grants(desk: &mut Desk, ask: Message) -> bool {
    desk.core.receive(ask);
    let messages = desk.turn();
    desk.write();
    let answers = [messages, desk.turn()].concat();
    let granted = |message: &Message| {
        message.get_msg_type() == MessageType::MsgRequestVoteResponse && !message.reject
    };
    answers.iter().any(granted)
}

#[test]
fn an_election_that_nobody_answers_is_begun_again_soon() {
    let mut desk = that_lost_its_leader();
    let at = asks_for_votes(&mut desk, 400);
    assert!(at[0] <= 2, "{at:?}");
    let pauses: Vec<_> = at.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(pauses[0] <= 15 && pauses[1] <= 25, "{pauses:?}");
    // It does not go on like that: the others may be gone for longer.
    assert!(pauses.len() > 3, "{pauses:?}");
    assert!(pauses[3..].iter().all(|pause| *pause >= 50), "{pauses:?}");
}

#[test]
fn who_gave_its_vote_waits_for_that_election() {
    let mut desk = that_lost_its_leader();
    let last = (desk.core.last_index(), 1);
    assert!(grants(&mut desk, asks_for_vote(2, last)));
    assert_eq!(asks_for_votes(&mut desk, 49), [] as [usize; 0]);
}

#[test]
fn a_leader_that_is_heard_again_is_waited_for_as_ever() {
    let mut desk = that_lost_its_leader();
    let mut beat = Message::default();
    beat.set_msg_type(MessageType::MsgHeartbeat);
    (beat.from, beat.to, beat.term) = (2, 1, 1);
    desk.core.receive(beat);
    assert_eq!(asks_for_votes(&mut desk, 49), [] as [usize; 0]);
}

/// Replica 3 asks for a vote even while the leader is heard, as one does whom the leader has asked to.
/// Whether it gets it.
fn is_elected(desk: &mut Desk, term: u64, last: (u64, u64)) -> bool {
    let mut ask = asks_for_vote(term, last);
    ask.context = "CampaignTransfer".into();
    grants(desk, ask)
}

fn with_new_log() -> Desk {
    let mut desk = Desk::new(&[1, 2, 3]);
    desk.core.trust = Trust::New;
    desk
}

#[test]
fn an_empty_log_helps_only_an_empty_log() {
    let mut desk = with_new_log();
    assert!(!is_elected(&mut desk, 2, (5, 1)));
    assert_eq!(desk.core.term(), 1, "as if it had not been asked");
    assert!(is_elected(&mut desk, 2, (1, 1)));
    // So a cluster begins, also by itself.
    let mut desk = with_new_log();
    assert!(!asks_for_votes(&mut desk, 100).is_empty());
    desk.core.campaign();
    desk.settle();
    assert!(desk.core.is_leader());
    assert_eq!(desk.core.trust(), Trust::Whole);
}

#[test]
fn a_part_of_a_log_has_no_part_in_elections() {
    let mut desk = with_new_log();
    // A leader of term 4 sends the first of what it has, which is of terms before.
    let mut part = append(1, 2, 3);
    part.term = 4;
    desk.core.receive(part.clone());
    assert_eq!(desk.core.trust(), Trust::Since(4));
    desk.settle();
    assert_eq!(
        (desk.core.last_index(), desk.core.trust()),
        (4, Trust::Since(4))
    );
    assert!(!is_elected(&mut desk, 5, (9, 4)));
    assert_eq!(asks_for_votes(&mut desk, 400), [] as [usize; 0]);
    let mut lead = Message::default();
    lead.set_msg_type(MessageType::MsgTimeoutNow);
    (lead.from, lead.to, lead.term) = (2, 1, 4);
    desk.core.receive(lead);
    desk.core.campaign();
    desk.settle();
    assert!(!desk.core.is_leader());
    // Nor has it after a restart.
    let trust = desk.core.trust();
    let mut desk = desk.restart(&[1, 2, 3]);
    desk.core.trust = trust;
    desk.core.prove();
    assert!(!is_elected(&mut desk, 5, (9, 4)));
    // An entry of that leader's own is the proof, once it is on the disk.
    part.mut_entries().clear();
    (part.index, part.log_term) = (4, 1);
    let mut own = Entry::default();
    (own.index, own.term) = (5, 4);
    part.mut_entries().push(own);
    desk.core.receive(part);
    let _ = desk.turn();
    assert_eq!(desk.core.trust(), trust, "it is not on the disk");
    desk.write();
    let _ = desk.turn();
    assert_eq!(desk.core.trust(), Trust::Whole);
    assert!(is_elected(&mut desk, 5, (9, 4)));
}

#[test]
fn a_learner_without_a_log_does_not_become_a_voter() {
    let mut desk = Desk::new(&[1]);
    desk.core.campaign();
    desk.settle();
    desk.add_learner(2);
    desk.turn();
    desk.write();
    desk.turn();
    desk.core.set_support(2, 2);
    let promote = MembershipChange::Promote { node: 2 };
    let refused = desk.core.change(Some(10), &promote).expect_err("too early");
    assert!(refused.contains("has not caught up"), "{refused}");
    let mut taken = Message::default();
    taken.set_msg_type(MessageType::MsgAppendResponse);
    (taken.from, taken.to, taken.term) = (2, 1, desk.core.term());
    taken.index = desk.core.last_index();
    desk.core.receive(taken);
    desk.core.change(Some(11), &promote).expect("proposed");
}
