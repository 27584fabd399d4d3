//! What all replicas share: one log instead of consensus, and what goes wrong.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use everopen_domain::Command;
use everopen_wire::command;
use everopen_wire::message::RefusalCode;

/// What a replica does with a submission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Does {
    /// Applies and answers it.
    Right,
    /// Applies it and says nothing.
    LosesAnswer,
    /// Does nothing with it and says nothing.
    LosesIt,
    /// Applies it and closes the connection.
    AppliesAndCloses,
    /// Applies it, forgets all sessions and closes the connection.
    AppliesAndForgets,
    /// Closes the connection.
    Closes,
    /// Refuses it.
    Refuses(RefusalCode),
    /// Applies it and says that it does not know.
    AppliesAndRefuses(RefusalCode),
    /// Hands the lead to the next replica and refuses it.
    StepsDown,
}

pub type Script = Box<dyn FnMut(u64) -> Does + Send>;

/// What all replicas share.
pub struct World {
    pub leader: u64,
    /// What the leader does with each submission; it is told how many came before.
    pub script: Script,
    pub submits: u64,
    /// The prices of all applied commands, by entry; entry 1 is the first.
    pub log: Vec<Vec<u64>>,
    pub sessions: BTreeMap<u64, Session>,
    /// Sessions opened so far.
    pub opened: u64,
    /// Replicas that say nothing.
    pub mute: BTreeSet<u64>,
    /// Replicas that accept nobody.
    pub down: BTreeSet<u64>,
    /// Replicas that do not get past an entry.
    pub stuck: HashMap<u64, u64>,
    /// Replicas that leave out an entry for followers.
    pub skips: HashMap<u64, u64>,
    /// Entries up to this one are only in checkpoints.
    pub compacted: u64,
    /// Reads that are not answered.
    pub reads_lost: u64,
    /// Replicas that were asked for the log, in order.
    pub followed: Vec<u64>,
    /// Whether hints to the leader are given.
    pub hints: bool,
}

#[derive(Default)]
pub struct Session {
    nonce: u64,
    oldest: u64,
    pub answers: BTreeMap<u64, u64>,
}

impl Default for World {
    fn default() -> Self {
        Self {
            leader: 1,
            script: Box::new(|_| Does::Right),
            submits: 0,
            log: Vec::new(),
            sessions: BTreeMap::new(),
            opened: 0,
            mute: BTreeSet::new(),
            down: BTreeSet::new(),
            stuck: HashMap::new(),
            skips: HashMap::new(),
            compacted: 0,
            reads_lost: 0,
            followed: Vec::new(),
            hints: true,
        }
    }
}

impl World {
    pub fn open(&mut self, nonce: u64) -> u64 {
        if let Some((id, _)) = self.sessions.iter().find(|(_, s)| s.nonce == nonce) {
            return *id;
        }
        self.opened += 1;
        let session = Session {
            nonce,
            oldest: 1,
            ..Session::default()
        };
        self.sessions.insert(100 + self.opened, session);
        100 + self.opened
    }

    /// The entry of a submission, which is applied if it is new.
    pub fn apply(
        &mut self,
        client: u64,
        sequence: u64,
        behind: u32,
        count: u16,
        commands: &[u8],
    ) -> Result<u64, RefusalCode> {
        let next = self.log.len() as u64 + 1;
        let session = self
            .sessions
            .get_mut(&client)
            .ok_or(RefusalCode::SessionUnknown)?;
        let oldest = sequence
            .checked_sub(u64::from(behind))
            .expect("in a session");
        session.oldest = session.oldest.max(oldest);
        session.answers = session.answers.split_off(&session.oldest);
        if sequence < session.oldest {
            return Err(RefusalCode::SequenceForgotten);
        }
        if sequence - session.oldest >= 8_192 {
            return Err(RefusalCode::WindowFull);
        }
        if let Some(index) = session.answers.get(&sequence) {
            return Ok(*index);
        }
        session.answers.insert(sequence, next);
        let commands = command::decode_all(commands, count.into());
        let prices = commands.map(|command| match command {
            Ok(Command::SetReferencePrice { price, .. }) => price.0,
            other => panic!("not a command of these tests: {other:?}"),
        });
        self.log.push(prices.collect());
        Ok(next)
    }

    /// An entry that no client submitted.
    pub fn append(&mut self, price: u64) {
        self.log.push(vec![price]);
    }
}
