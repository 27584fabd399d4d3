//! Submissions that wait for their outcome, in the order in which they are sent again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use everopen_domain::Command;
use everopen_wire::{command, entry};

use crate::{Answer, Outcome, Refusal};

/// How far the sequences of submissions under way may lie apart. The replicas keep the answers of
/// twice as many, so that it also fits when they know less of what arrived here.
const WINDOW: u64 = 4_000;
/// The most bytes of commands in one submission; replicas may allow less.
const BYTES_MAX: usize = 2 << 20;

/// A submission.
pub(crate) struct Pending {
    /// Its place among all of this client, whatever its sequence.
    number: u64,
    pub count: u16,
    pub commands: Vec<u8>,
    pub answer: Answer,
    deadline: Instant,
    /// Whether an attempt that was not refused may have reached the log.
    pub maybe_taken: bool,
}

impl Pending {
    pub fn new(commands: &[Command], answer: Answer, deadline: Instant) -> Result<Self, Refusal> {
        if commands.is_empty() || commands.len() > entry::REQUEST_COMMANDS_MAX {
            return Err(Refusal::TooLarge);
        }
        let mut bytes = Vec::with_capacity(commands.len() * 48);
        for command in commands {
            command::encode(command, &mut bytes);
        }
        if bytes.len() > BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        Ok(Self {
            number: 0,
            count: commands.len() as u16,
            commands: bytes,
            answer,
            deadline,
            maybe_taken: false,
        })
    }
}

/// A session of this client, counted from 1, and a sequence in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub epoch: u32,
    pub sequence: u64,
}

/// A submission with a sequence.
pub(crate) struct Numbered {
    pub pending: Pending,
    /// The session's number at the replicas.
    pub client: u64,
    /// Since when an attempt is under way.
    pub sent: Option<Instant>,
}

/// All submissions.
#[derive(Default)]
pub(crate) struct Submissions {
    numbers: u64,
    /// Those without a sequence, in order.
    waiting: VecDeque<Pending>,
    numbered: BTreeMap<Key, Numbered>,
    /// Those of `numbered` that are to be sent now.
    due: BTreeSet<Key>,
    /// Those that are to be sent later.
    delayed: BTreeSet<(Instant, Key)>,
    /// The last sequence given in the current session.
    epoch: u32,
    last_sequence: u64,
}

impl Submissions {
    pub fn push(&mut self, mut pending: Pending) {
        self.numbers += 1;
        pending.number = self.numbers;
        self.waiting.push_back(pending);
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.numbered.is_empty()
    }

    /// Begins to count in another session.
    pub fn new_session(&mut self, epoch: u32) {
        self.epoch = epoch;
        self.last_sequence = 0;
    }

    /// The next one to send. One without a sequence gets one in the session `client`, if there is
    /// one and its window has room.
    pub fn next_due(&mut self, client: Option<u64>) -> Option<Key> {
        if let Some(key) = self.due.first() {
            return Some(*key);
        }
        let client = client?;
        let next = Key {
            epoch: self.epoch,
            sequence: self.last_sequence + 1,
        };
        if next.sequence - self.oldest(next).sequence >= WINDOW {
            return None;
        }
        let pending = self.waiting.pop_front()?;
        self.last_sequence = next.sequence;
        self.numbered.insert(
            next,
            Numbered {
                pending,
                client,
                sent: None,
            },
        );
        self.due.insert(next);
        Some(next)
    }

    /// The oldest of the same session that is not answered, `key` itself included.
    fn oldest(&self, key: Key) -> Key {
        let first = Key { sequence: 0, ..key };
        let oldest = self.numbered.range(first..=key).next();
        oldest.map_or(key, |(oldest, _)| *oldest)
    }

    /// How far it is ahead of the oldest that is not answered.
    pub fn behind(&self, key: Key) -> u32 {
        (key.sequence - self.oldest(key).sequence) as u32
    }

    pub fn get(&self, key: Key) -> Option<&Numbered> {
        self.numbered.get(&key)
    }

    /// An attempt is under way.
    pub fn sent(&mut self, key: Key, now: Instant) {
        self.due.remove(&key);
        if let Some(numbered) = self.numbered.get_mut(&key) {
            numbered.sent = Some(now);
        }
    }

    /// Whether the oldest one was sent and has no answer for so long.
    pub fn is_overdue(&self, now: Instant, limit: Duration) -> bool {
        let oldest = self.numbered.first_key_value();
        oldest
            .and_then(|(_, numbered)| numbered.sent)
            .is_some_and(|sent| now.saturating_duration_since(sent) >= limit)
    }

    /// An attempt has ended; `lost` when it may have been taken. It is tried again after a while.
    pub fn again(&mut self, key: Key, lost: bool, after: Option<Instant>) {
        let Some(numbered) = self.numbered.get_mut(&key) else {
            return;
        };
        numbered.sent = None;
        numbered.pending.maybe_taken |= lost;
        match after {
            Some(at) => drop(self.delayed.insert((at, key))),
            None => drop(self.due.insert(key)),
        }
    }

    /// Takes one out, to answer it.
    pub fn remove(&mut self, key: Key) -> Option<Numbered> {
        self.due.remove(&key);
        self.numbered.remove(&key)
    }

    /// Its session is not known any more. If no attempt of it was taken it goes on in the next one,
    /// in its old turn; otherwise it comes back.
    #[must_use]
    pub fn session_lost(&mut self, key: Key) -> Option<Pending> {
        let pending = self.remove(key)?.pending;
        if pending.maybe_taken {
            return Some(pending);
        }
        let place = self
            .waiting
            .partition_point(|other| other.number < pending.number);
        self.waiting.insert(place, pending);
        None
    }

    /// When there is something to do next that nobody else will say.
    pub fn wake_at(&self) -> Option<Instant> {
        self.delayed.first().map(|(at, _)| *at)
    }

    /// Lets time pass: delayed ones become due, and those whose time is over come back with their
    /// refusals.
    pub fn pass_time(&mut self, now: Instant, mut over: impl FnMut(Pending, Refusal)) {
        while let Some((at, key)) = self.delayed.first().copied() {
            if at > now {
                break;
            }
            self.delayed.pop_first();
            if self.numbered.get(&key).is_some_and(|n| n.sent.is_none()) {
                self.due.insert(key);
            }
        }
        // All have the same patience, so the first ones are over first.
        while let Some((key, numbered)) = self.numbered.first_key_value() {
            if numbered.pending.deadline > now {
                break;
            }
            let key = *key;
            if let Some(numbered) = self.remove(key) {
                let refusal = numbered.refusal(Refusal::Unavailable);
                over(numbered.pending, refusal);
            }
        }
        while let Some(first) = self.waiting.front() {
            if first.deadline > now {
                break;
            }
            if let Some(pending) = self.waiting.pop_front() {
                over(pending, Refusal::Unavailable);
            }
        }
    }

    /// Takes all out, with their refusals.
    pub fn end(&mut self, mut over: impl FnMut(Pending, Refusal)) {
        for (_, numbered) in std::mem::take(&mut self.numbered) {
            let refusal = numbered.refusal(Refusal::Stopped);
            over(numbered.pending, refusal);
        }
        for pending in self.waiting.drain(..) {
            over(pending, Refusal::Stopped);
        }
    }
}

impl Numbered {
    /// INV-CLIENT-2: what is said when it is given up.
    fn refusal(&self, untaken: Refusal) -> Refusal {
        if self.sent.is_some() || self.pending.maybe_taken {
            Refusal::OutcomeUnknown
        } else {
            untaken
        }
    }
}

/// The outcome that a message carries; none when its events are not what they should be.
pub(crate) fn outcome(
    index: everopen_domain::LogIndex,
    time: everopen_domain::Timestamp,
    count: u32,
    events: &[u8],
) -> Option<Outcome> {
    let events: Vec<_> = everopen_wire::event::decode_all(events)
        .collect::<Result<_, _>>()
        .ok()?;
    (events.len() == count as usize).then_some(Outcome {
        index,
        time,
        events,
    })
}

/// What a replica says about when to come again, within bounds.
pub(crate) fn retry_after(ms: u32) -> Duration {
    Duration::from_millis(u64::from(ms).clamp(10, 1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn submissions(count: u64, deadline: Instant) -> Submissions {
        let mut submissions = Submissions::default();
        submissions.new_session(1);
        for _ in 0..count {
            let pending = Pending::new(&[Command::Tick], Box::new(|_| {}), deadline);
            submissions.push(pending.expect("one command"));
        }
        submissions
    }

    /// Sends all that may be sent; the sequences.
    fn send(submissions: &mut Submissions, client: u64, now: Instant) -> Vec<u64> {
        let mut sent = Vec::new();
        while let Some(key) = submissions.next_due(Some(client)) {
            submissions.sent(key, now);
            sent.push(key.sequence);
        }
        sent
    }

    fn key(epoch: u32, sequence: u64) -> Key {
        Key { epoch, sequence }
    }

    #[test]
    fn the_window_ends_a_while_after_the_oldest_unanswered() {
        let now = Instant::now();
        let mut submissions = submissions(2 * WINDOW, now);
        assert_eq!(send(&mut submissions, 7, now).len() as u64, WINDOW);
        assert_eq!(u64::from(submissions.behind(key(1, WINDOW))), WINDOW - 1);
        submissions.remove(key(1, 2));
        assert!(send(&mut submissions, 7, now).is_empty());
        submissions.remove(key(1, 1));
        assert_eq!(send(&mut submissions, 7, now), [WINDOW + 1, WINDOW + 2]);
        assert_eq!(submissions.behind(key(1, 3)), 0);
    }

    #[test]
    fn what_goes_to_another_session_keeps_its_turn() {
        let now = Instant::now();
        let mut submissions = submissions(6, now);
        for sequence in 1..=4 {
            let next = submissions.next_due(Some(7));
            assert_eq!(next, Some(key(1, sequence)));
            submissions.sent(key(1, sequence), now);
        }
        submissions.again(key(1, 2), true, None);
        submissions.new_session(2);
        assert!(submissions.session_lost(key(1, 3)).is_none());
        assert!(submissions.session_lost(key(1, 2)).is_some());
        assert!(submissions.session_lost(key(1, 1)).is_none());
        let numbers: Vec<u64> = submissions.waiting.iter().map(|p| p.number).collect();
        assert_eq!(numbers, [1, 3, 5, 6]);
        // The fourth still waits for its answer in the old session.
        assert_eq!(send(&mut submissions, 8, now), [1, 2, 3, 4]);
        assert_eq!(submissions.behind(key(1, 4)), 0);
        assert_eq!(submissions.get(key(2, 1)).map(|n| n.client), Some(8));
    }

    #[test]
    fn a_delay_ends_and_so_does_patience() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut submissions = submissions(3, later);
        let first = submissions.next_due(Some(7)).expect("the first");
        submissions.sent(first, now);
        let soon = now + Duration::from_millis(5);
        submissions.again(first, false, Some(soon));
        assert_eq!(submissions.wake_at(), Some(soon));
        assert_eq!(send(&mut submissions, 7, now), [2, 3]);
        submissions.pass_time(soon, |_, _| unreachable!("nothing is over"));
        assert_eq!(submissions.next_due(None), Some(first));
        let mut refusals = Vec::new();
        submissions.pass_time(later, |_, refusal| refusals.push(refusal));
        let unknown = Refusal::OutcomeUnknown;
        assert_eq!(refusals, [Refusal::Unavailable, unknown, unknown]);
        assert!(submissions.is_empty());
    }
}
