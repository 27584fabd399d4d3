//! What the sessions must do, said once more and as simply as possible.

use std::collections::BTreeMap;

use everopen_replica::sessions::{EXPIRY, SESSIONS_MAX, WINDOW};
use everopen_wire::entry::{EntryReader, Origin};

/// What must become of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Internal,
    Opened(u64),
    /// Applied at `first`, now or before.
    Applied {
        key: (u64, u64),
        first: u64,
    },
    Refused,
}

/// The model.
#[derive(Debug, Default)]
pub(crate) struct Model {
    /// By session: nonce, the lowest sequence whose answer the client lacks, the last use.
    sessions: BTreeMap<u64, (u64, u64, u64)>,
    /// Where each command was applied.
    applied: BTreeMap<(u64, u64), u64>,
    time: u64,
}

impl Model {
    pub fn apply(&mut self, index: u64, data: &[u8]) -> Result<Vec<Outcome>, String> {
        let reader = EntryReader::new(data).map_err(|e| e.to_string())?;
        self.time = self.time.max(reader.time().0);
        let mut outcomes = Vec::new();
        for (number, request) in reader.enumerate() {
            let request = request.map_err(|e| e.to_string())?;
            outcomes.push(match request.origin() {
                Origin::Internal => Outcome::Internal,
                Origin::OpenSession { nonce } => self.open(index << 16 | number as u64, nonce),
                Origin::Session {
                    client,
                    sequence,
                    behind,
                } => self.command(index, client, sequence, u64::from(behind)),
            });
        }
        Ok(outcomes)
    }

    fn open(&mut self, id: u64, nonce: u64) -> Outcome {
        let now = self.time;
        if let Some((id, session)) = self.sessions.iter_mut().find(|(_, s)| s.0 == nonce) {
            session.2 = now;
            return Outcome::Opened(*id);
        }
        self.sessions.retain(|_, session| now - session.2 < EXPIRY);
        assert!(
            self.sessions.len() < SESSIONS_MAX,
            "the world has few clients"
        );
        self.sessions.insert(id, (nonce, 0, now));
        Outcome::Opened(id)
    }

    fn command(&mut self, index: u64, client: u64, sequence: u64, behind: u64) -> Outcome {
        let Some(session) = self.sessions.get_mut(&client) else {
            return Outcome::Refused;
        };
        session.2 = self.time;
        session.1 = session.1.max(sequence.saturating_sub(behind));
        if sequence < session.1 || sequence - session.1 >= WINDOW {
            return Outcome::Refused;
        }
        let key = (client, sequence);
        let first = *self.applied.entry(key).or_insert(index);
        Outcome::Applied { key, first }
    }
}
