//! Replay protection: a signature that changes something works once. See
//! `docs/decisions/0005-request-replay.md` for why a connection that has shown to have
//! the key may repeat what another one sent.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use everopen_domain::MemberId;

/// What the guard says about a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Never, or repeated by a connection of the client itself within a timestamp that can't tell
    /// requests apart.
    Fresh,
    /// Used before: somebody else may have copied it.
    Replayed,
    /// The guard holds as many signatures as it may and can't tell.
    Full,
}

/// Who uses a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// The connection it comes over.
    pub connection: u64,
    /// The member that it signs for.
    pub member: MemberId,
    /// Whether the member's connections may use it again: its timestamp is in whole seconds, so that two
    /// requests that were both meant can sign alike.
    pub may_repeat: bool,
}

/// Remembers the signatures of the time window, by the second in which they may be forgotten.
#[derive(Debug)]
pub struct ReplayGuard {
    window_s: u64,
    capacity: usize,
    seconds: Mutex<Seconds>,
}

#[derive(Debug, Default)]
struct Seconds {
    count: usize,
    /// By the second of the request's own timestamp: the signature's first half and who used it.
    used: BTreeMap<u64, HashMap<u128, Sender>>,
    /// How many of the signatures above each sender was the first to use. Only who has the secret
    /// can be first.
    proven: HashMap<Sender, u32>,
}

/// A connection and the member that it signed for.
type Sender = (u64, MemberId);

impl ReplayGuard {
    /// A guard for requests whose timestamp may differ by `window_s` seconds, which holds at most
    /// `capacity` signatures.
    pub fn new(window_s: u64, capacity: usize) -> Self {
        Self {
            window_s,
            capacity,
            seconds: Mutex::default(),
        }
    }

    /// Notes that `user` used `signature` with a timestamp in second `stamped_s`, which the
    /// caller has found to be within the window around `now_s`.
    pub fn check(&self, signature: &[u8; 32], stamped_s: u64, user: User, now_s: u64) -> Seen {
        let (first, _) = signature.split_at(16);
        let mark = u128::from_le_bytes(first.try_into().expect("invariant: half of 32 is 16"));
        let mut seconds = self
            .seconds
            .lock()
            .expect("invariant: no panic under this lock");
        let oldest = now_s.saturating_sub(self.window_s + 1);
        while let Some(entry) = seconds.used.first_entry() {
            if *entry.key() >= oldest {
                break;
            }
            let gone = entry.remove();
            seconds.count -= gone.len();
            for sender in gone.into_values() {
                seconds.forget(sender);
            }
        }
        let sender = (user.connection, user.member);
        let known = seconds
            .used
            .get(&stamped_s)
            .and_then(|used| used.get(&mark));
        match known {
            Some(_) if user.may_repeat && seconds.proven.contains_key(&sender) => Seen::Fresh,
            Some(_) => Seen::Replayed,
            None if seconds.count >= self.capacity => Seen::Full,
            None => {
                seconds
                    .used
                    .entry(stamped_s)
                    .or_default()
                    .insert(mark, sender);
                *seconds.proven.entry(sender).or_default() += 1;
                seconds.count += 1;
                Seen::Fresh
            }
        }
    }
}

impl Seconds {
    fn forget(&mut self, sender: Sender) {
        if let Some(count) = self.proven.get_mut(&sender) {
            *count -= 1;
            if *count == 0 {
                self.proven.remove(&sender);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_was_first_with_another_signature_may_repeat_one() {
        let guard = ReplayGuard::new(30, 10);
        let [ours, pooled, thief] = [by(1), by(2), by(3)];
        assert_eq!(guard.check(&[1; 32], 100, ours, 100), Seen::Fresh);
        assert_eq!(guard.check(&[2; 32], 100, pooled, 100), Seen::Fresh);
        // Two identical orders within a second, over a pool of the same client.
        assert_eq!(guard.check(&[1; 32], 100, pooled, 100), Seen::Fresh);
        // However much is copied, it proves nothing.
        assert_eq!(guard.check(&[1; 32], 100, thief, 100), Seen::Replayed);
        assert_eq!(guard.check(&[2; 32], 100, thief, 100), Seen::Replayed);
        // Nor does a key of one's own.
        let other = User {
            member: MemberId(4),
            ..thief
        };
        assert_eq!(guard.check(&[4; 32], 100, other, 100), Seen::Fresh);
        assert_eq!(guard.check(&[1; 32], 100, thief, 100), Seen::Replayed);
        // What a connection has shown is forgotten with what it showed.
        assert_eq!(guard.check(&[5; 32], 140, ours, 140), Seen::Fresh);
        assert_eq!(guard.check(&[5; 32], 140, pooled, 140), Seen::Replayed);
    }

    fn by(connection: u64) -> User {
        User {
            connection,
            member: MemberId(3),
            may_repeat: true,
        }
    }

    #[test]
    fn another_connection_can_not_repeat_a_signature_until_its_timestamp_is_too_old() {
        let guard = ReplayGuard::new(30, 10);
        assert_eq!(guard.check(&[1; 32], 100, by(7), 100), Seen::Fresh);
        assert_eq!(guard.check(&[1; 32], 100, by(7), 101), Seen::Fresh);
        assert_eq!(guard.check(&[1; 32], 100, by(8), 101), Seen::Replayed);
        assert_eq!(guard.check(&[1; 32], 100, by(8), 130), Seen::Replayed);
        let exact = User {
            member: MemberId(3),
            connection: 7,
            may_repeat: false,
        };
        assert_eq!(guard.check(&[1; 32], 100, exact, 101), Seen::Replayed);
        assert_eq!(guard.check(&[2; 32], 100, by(8), 130), Seen::Fresh);
        // A timestamp from the future is remembered until its own window has passed.
        assert_eq!(guard.check(&[3; 32], 160, by(1), 130), Seen::Fresh);
        assert_eq!(guard.check(&[3; 32], 160, by(2), 190), Seen::Replayed);
    }

    #[test]
    fn a_full_guard_refuses_what_it_can_not_remember_and_recovers_with_time() {
        let guard = ReplayGuard::new(30, 2);
        assert_eq!(guard.check(&[1; 32], 100, by(1), 100), Seen::Fresh);
        assert_eq!(guard.check(&[2; 32], 100, by(1), 100), Seen::Fresh);
        assert_eq!(guard.check(&[3; 32], 100, by(1), 100), Seen::Full);
        assert_eq!(guard.check(&[1; 32], 100, by(2), 100), Seen::Replayed);
        assert_eq!(guard.check(&[3; 32], 140, by(1), 140), Seen::Fresh);
    }
}
