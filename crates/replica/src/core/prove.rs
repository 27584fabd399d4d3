//! A new log under a number that may have had another one.
//!
//! An empty log can be that of a replica which begins, or what a lost disk has left of one that had
//! acknowledged entries. The replica can't know; if it voted like any other, it could help to elect a
//! leader who lacks what it had acknowledged. So it stays out of elections until a leader that was
//! elected without it has filled its log: any majority that elects one without it shares a replica with
//! every majority that it was part of. Only where all logs are empty do they elect each other: that is
//! how a cluster begins.
//!
//! One entry of such a leader's term is the proof. By Raft's log matching everything before it is what
//! that leader has, and that leader has everything that was ever committed before its term (Ongaro and
//! Ousterhout 2014, sections 5.3 and 5.4).

use raft::eraftpb::{Message, MessageType};

use super::Core;

/// The entry that every first voter begins with; see [`crate::recovery::Origin`].
const FIRST: u64 = 1;

/// Whether a log is known to be all that its replica ever had. To be noted beside the log whenever it
/// changes, before anything else that a turn asks for is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// It is.
    #[default]
    Whole,
    /// It is new, and the number may have had another one. No leader was heard since.
    New,
    /// It was new when a leader of that term was the first to be heard. It is whole as soon as it holds
    /// an entry of that term or a later one.
    Since(u64),
}

impl Core {
    /// What is known of its log.
    pub fn trust(&self) -> Trust {
        self.trust
    }

    /// Whether it has a part of a log that no leader has completed: such a one neither votes nor asks for
    /// votes.
    pub(super) fn is_partial(&self) -> bool {
        self.trust != Trust::Whole && self.last_index() > FIRST
    }

    /// Whether a message asks this replica for what it must not do yet. Such a message is as good as lost.
    pub(super) fn must_ignore(&self, message: &Message) -> bool {
        if self.trust == Trust::Whole {
            return false;
        }
        match message.get_msg_type() {
            MessageType::MsgRequestVote | MessageType::MsgRequestPreVote => {
                self.is_partial() || message.index > FIRST
            }
            MessageType::MsgTimeoutNow => self.is_partial(),
            _ => false,
        }
    }

    /// A message or a tick was taken: perhaps there is a leader now, which may be this replica itself.
    pub(super) fn look_for_leader(&mut self) {
        let raft = &self.raw.raft;
        if self.trust == Trust::New && raft.leader_id != 0 {
            self.trust = Trust::Since(raft.term);
        }
    }

    /// Looks for the proof on the disk.
    pub(super) fn prove(&mut self) {
        let Trust::Since(first) = self.trust else {
            return;
        };
        let log = &self.raw.raft.raft_log;
        let last = log.persisted;
        if last > FIRST && log.term(last).is_ok_and(|term| term >= first) {
            self.trust = Trust::Whole;
        }
    }
}
