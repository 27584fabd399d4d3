//! What a rollout is called.

use std::hash::{BuildHasher, RandomState};

use crate::state::now_ms;

/// A name that nothing else on this host has: milliseconds since 1970, `what` it is, and six digits that are
/// drawn. Processes are found again by it, and ended; two rollouts that begin in the same millisecond must not
/// end each other's.
pub fn fresh(what: &str) -> String {
    let now = now_ms();
    let drawn = RandomState::new().hash_one((now, std::process::id())) & 0xff_ffff;
    format!("{now}-{what}-{drawn:06x}")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::fresh;

    #[test]
    fn two_of_the_same_moment_differ() {
        let all: BTreeSet<String> = (0..200).map(|_| fresh("forth")).collect();
        assert!(all.len() >= 199, "of 200 only {} differ", all.len());
    }

    #[test]
    fn says_what_it_is() {
        let id = fresh("1.2.3");
        let mut parts = id.split('-');
        let ms: u64 = parts.next().expect("a time").parse().expect("a number");
        assert!(ms > 1_500_000_000_000);
        assert_eq!(parts.next(), Some("1.2.3"));
        assert_eq!(parts.next().map(str::len), Some(6));
    }
}
