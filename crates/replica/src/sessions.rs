//! Client sessions: what makes a command that is sent again happen once.
//!
//! A client opens a session through the log and numbers its requests in it. The answers stay here,
//! in the replicated state, until the client says that it has them; a request that comes again is
//! answered from here and not applied again. (Diego Ongaro, *Consensus: Bridging Theory and
//! Practice*, section 6.3.)
//!
//! All bounds are applied while entries are applied, so all replicas forget the same.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use everopen_domain::Timestamp;

use crate::bytes::{Input, Malformed, Output};

/// Sessions at once; the one unused for longest makes room if it is idle.
pub const SESSIONS_MAX: usize = 1_024;
/// Answers that a session keeps. A client may have half as many requests unanswered: what it says
/// of the answers that it has is known only once it is applied.
pub const WINDOW: u64 = 16_384;
/// A session that was not used for so long may be forgotten when room is needed.
pub const IDLE: u64 = 60 * Timestamp::NANOS_PER_SECOND;
/// A session that was not used for so long is forgotten.
pub const EXPIRY: u64 = 24 * 3_600 * Timestamp::NANOS_PER_SECOND;

/// The answer to a request, as it was first given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The entry that holds the request.
    pub index: u64,
    /// That entry's time.
    pub time: Timestamp,
    /// How many events.
    pub count: u32,
    /// The events, encoded one after the other.
    pub events: Bytes,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Session {
    /// Drawn by the client that opened it.
    nonce: u64,
    /// Everything below was answered and the client has it.
    oldest: u64,
    last_used: Timestamp,
    /// Answers from `oldest` on.
    answers: VecDeque<Slot>,
}

/// A place for an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Slot {
    /// The request has not come.
    #[default]
    Empty,
    /// It is the one with this number in the entry that is being applied.
    Applying(u32),
    Answered(Stored),
}

/// What is known of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Never seen: apply it, then [`Sessions::store`].
    New,
    /// It stands in the entry that is being applied already, as the request of this number.
    Applying(u32),
    /// Applied before.
    Answered(Stored),
    /// The client said that it has the answer.
    Forgotten,
    /// More unanswered requests than a session keeps; not applied.
    WindowFull,
    /// There is no such session (any more); not applied.
    Unknown,
}

/// All sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    table: BTreeMap<u64, Session>,
}

impl Sessions {
    /// Opens session `id` and returns it, or the session that was opened with the same nonce; none
    /// when all are in use.
    pub fn open(&mut self, id: u64, nonce: u64, now: Timestamp) -> Option<u64> {
        let same = self
            .table
            .iter_mut()
            .find(|(_, session)| session.nonce == nonce);
        if let Some((id, session)) = same {
            session.last_used = now;
            return Some(*id);
        }
        let unused = |session: &Session| now.0.saturating_sub(session.last_used.0);
        self.table.retain(|_, session| unused(session) < EXPIRY);
        if self.table.len() >= SESSIONS_MAX {
            let idlest = self
                .table
                .iter()
                .min_by_key(|(id, session)| (session.last_used, **id))
                .map(|(id, session)| (*id, unused(session)));
            match idlest {
                Some((idlest, unused)) if unused >= IDLE => {
                    self.table.remove(&idlest);
                }
                _ => return None,
            }
        }
        let session = Session {
            nonce,
            last_used: now,
            ..Session::default()
        };
        self.table.insert(id, session);
        Some(id)
    }

    /// What is known of a request, without changing anything.
    pub fn look(&self, client: u64, sequence: u64) -> Known {
        let Some(session) = self.table.get(&client) else {
            return Known::Unknown;
        };
        let Some(place) = sequence.checked_sub(session.oldest) else {
            return Known::Forgotten;
        };
        if place >= WINDOW {
            return Known::WindowFull;
        }
        match session.answers.get(place as usize) {
            Some(Slot::Answered(stored)) => Known::Answered(stored.clone()),
            Some(Slot::Applying(number)) => Known::Applying(*number),
            Some(Slot::Empty) | None => Known::New,
        }
    }

    /// A request, the one of this number in its entry, is being applied at `now`: forgets what its
    /// client has, then says what is known. A new one's place is kept for [`Sessions::store`], which
    /// must follow before the entry ends.
    pub fn begin(
        &mut self,
        client: u64,
        sequence: u64,
        behind: u32,
        now: Timestamp,
        number: u32,
    ) -> Known {
        let Some(session) = self.table.get_mut(&client) else {
            return Known::Unknown;
        };
        session.last_used = now;
        let oldest = sequence.saturating_sub(u64::from(behind));
        while session.oldest < oldest {
            if session.answers.pop_front().is_none() {
                session.oldest = oldest;
                break;
            }
            session.oldest += 1;
        }
        let Some(place) = sequence.checked_sub(session.oldest) else {
            return Known::Forgotten;
        };
        if place >= WINDOW {
            return Known::WindowFull;
        }
        let place = place as usize;
        if session.answers.len() == place {
            session.answers.push_back(Slot::Empty);
        } else if session.answers.len() < place {
            session.answers.resize(place + 1, Slot::Empty);
        }
        match &mut session.answers[place] {
            Slot::Answered(stored) => Known::Answered(stored.clone()),
            Slot::Applying(number) => Known::Applying(*number),
            empty => {
                *empty = Slot::Applying(number);
                Known::New
            }
        }
    }

    /// Keeps the answer to a request that [`Sessions::begin`] called new, unless nobody wants it any
    /// more: a later request of the same entry may have said that its client gave up on this one.
    pub fn store(&mut self, client: u64, sequence: u64, stored: Stored) {
        if let Some(session) = self.table.get_mut(&client)
            && let Some(place) = sequence.checked_sub(session.oldest)
            && let Some(slot) = session.answers.get_mut(place as usize)
        {
            *slot = Slot::Answered(stored);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Appends all sessions. One state has one form.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.put_u32(self.table.len() as u32);
        for (id, session) in &self.table {
            out.put_u64(*id);
            out.put_u64(session.nonce);
            out.put_u64(session.oldest);
            out.put_u64(session.last_used.0);
            out.put_u32(session.answers.len() as u32);
            for answer in &session.answers {
                let stored = match answer {
                    Slot::Answered(stored) => Some(stored),
                    Slot::Empty | Slot::Applying(_) => None,
                };
                out.put_flag(stored.is_some());
                if let Some(stored) = stored {
                    out.put_u64(stored.index);
                    out.put_u64(stored.time.0);
                    out.put_u32(stored.count);
                    out.put_slice(&stored.events);
                }
            }
        }
    }

    /// What [`Sessions::encode`] wrote.
    pub(crate) fn decode(input: &mut Input<'_>) -> Result<Self, Malformed> {
        let mut table = BTreeMap::new();
        for _ in 0..input.count(36)? {
            let id = input.u64()?;
            let mut session = Session {
                nonce: input.u64()?,
                oldest: input.u64()?,
                last_used: Timestamp(input.u64()?),
                answers: VecDeque::new(),
            };
            for _ in 0..input.count(1)? {
                let answer = match input.flag()? {
                    false => Slot::Empty,
                    true => Slot::Answered(Stored {
                        index: input.u64()?,
                        time: Timestamp(input.u64()?),
                        count: input.u32()?,
                        events: Bytes::copy_from_slice(input.slice()?),
                    }),
                };
                session.answers.push_back(answer);
            }
            if table.insert(id, session).is_some() {
                return Err(Malformed("a session is there twice"));
            }
        }
        Ok(Self { table })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(index: u64) -> Stored {
        Stored {
            index,
            time: Timestamp(index),
            count: 1,
            events: Bytes::from(index.to_le_bytes().to_vec()),
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp(seconds * Timestamp::NANOS_PER_SECOND)
    }

    #[test]
    fn a_request_that_comes_again_gets_its_first_answer() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.begin(1, 0, 0, at(0), 0), Known::Unknown);
        assert_eq!(sessions.open(1, 77, at(0)), Some(1));
        assert_eq!(sessions.open(2, 77, at(0)), Some(1));
        assert_eq!(sessions.begin(1, 5, 5, at(0), 0), Known::New);
        sessions.store(1, 5, stored(9));
        assert_eq!(
            sessions.begin(1, 5, 5, at(1), 0),
            Known::Answered(stored(9))
        );
        // Requests may come out of order.
        assert_eq!(sessions.begin(1, 3, 3, at(1), 0), Known::New);
        sessions.store(1, 3, stored(10));
        assert_eq!(
            sessions.begin(1, 5, 5, at(1), 0),
            Known::Answered(stored(9))
        );
    }

    #[test]
    fn what_the_client_has_is_forgotten_and_the_window_is_bounded() {
        let mut sessions = Sessions::default();
        sessions.open(1, 1, at(0));
        for sequence in 0..4 {
            assert_eq!(
                sessions.begin(1, sequence, sequence as u32, at(0), 0),
                Known::New
            );
            sessions.store(1, sequence, stored(sequence));
        }
        assert_eq!(sessions.begin(1, 4, 1, at(0), 0), Known::New);
        assert_eq!(sessions.look(1, 2), Known::Forgotten);
        assert_eq!(sessions.look(1, 3), Known::Answered(stored(3)));
        assert_eq!(sessions.look(1, 3 + WINDOW), Known::WindowFull);
        // A jump past everything known starts from there.
        assert_eq!(sessions.begin(1, 1_000_000, 2, at(0), 0), Known::New);
        assert_eq!(sessions.look(1, 999_997), Known::Forgotten);
    }

    #[test]
    fn an_idle_session_makes_room_and_a_busy_one_does_not() {
        let mut sessions = Sessions::default();
        for id in 0..SESSIONS_MAX as u64 {
            assert_eq!(sessions.open(id, id, at(id)), Some(id));
        }
        assert_eq!(sessions.open(5_000, 5_000, at(30)), None);
        assert_eq!(sessions.open(5_000, 5_000, at(60)), Some(5_000));
        assert_eq!(sessions.look(0, 0), Known::Unknown);
        assert_eq!(sessions.look(1, 0), Known::New);
        assert_eq!(sessions.len(), SESSIONS_MAX);
        // After a day without use all are forgotten.
        assert_eq!(sessions.open(6_000, 6_000, at(200_000)), Some(6_000));
        assert_eq!(sessions.len(), 1);
    }

    #[test]
    fn sessions_are_encoded_whole() {
        let mut sessions = Sessions::default();
        sessions.open(3, 30, at(1));
        sessions.open(9, 90, at(2));
        sessions.begin(3, 7, 4, at(3), 0);
        sessions.store(3, 7, stored(1));
        let mut bytes = Vec::new();
        sessions.encode(&mut bytes);
        let mut input = Input(&bytes);
        assert_eq!(Sessions::decode(&mut input), Ok(sessions));
        assert_eq!(input.finish(), Ok(()));
        for length in 0..bytes.len() {
            assert!(Sessions::decode(&mut Input(&bytes[..length])).is_err());
        }
    }
}
