//! Rate limits: token buckets per key and per address, in bounded tables.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests a second, refilled evenly; zero for no limit.
    pub per_second: u32,
    /// Requests at once.
    pub burst: u32,
}

/// What a limiter says to one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// Whether it may go on.
    pub allowed: bool,
    /// The bucket's size.
    pub limit: u32,
    /// Requests left in the bucket.
    pub remaining: u32,
    /// Seconds until the bucket is full again, or until the next request may come.
    pub reset_s: u32,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// Billionths of a request.
    tokens: u64,
    refilled_ns: u64,
}

const TOKEN: u64 = 1_000_000_000;

impl Bucket {
    fn refill(&mut self, limit: RateLimit, now_ns: u64) {
        let elapsed = now_ns.saturating_sub(self.refilled_ns);
        let full = u64::from(limit.burst.max(1)) * TOKEN;
        self.tokens = elapsed
            .saturating_mul(u64::from(limit.per_second))
            .saturating_add(self.tokens)
            .min(full);
        self.refilled_ns = self.refilled_ns.max(now_ns);
    }

    fn take(&mut self, limit: RateLimit, now_ns: u64, tokens: u64) -> Allowance {
        self.refill(limit, now_ns);
        let allowed = self.tokens >= TOKEN;
        if allowed {
            self.tokens -= tokens;
        }
        let full = u64::from(limit.burst.max(1)) * TOKEN;
        let missing = if allowed {
            full - self.tokens
        } else {
            TOKEN - self.tokens
        };
        let reset_s = missing
            .div_ceil(u64::from(limit.per_second))
            .div_ceil(TOKEN);
        Allowance {
            allowed,
            limit: limit.burst.max(1),
            remaining: (self.tokens / TOKEN) as u32,
            reset_s: u32::try_from(reset_s).unwrap_or(u32::MAX),
        }
    }
}

/// Token buckets by key. When the table is full, those that are full themselves (so: idle) are
/// dropped; if that is not enough, all newcomers share one bucket.
#[derive(Debug)]
pub struct Limiter<K> {
    limit: RateLimit,
    capacity: usize,
    table: Mutex<Table<K>>,
}

#[derive(Debug)]
struct Table<K> {
    buckets: HashMap<K, Bucket>,
    shared: Bucket,
    swept_ns: u64,
}

impl<K: Hash + Eq> Limiter<K> {
    /// A limiter that remembers at most `capacity` keys.
    pub fn new(limit: RateLimit, capacity: usize) -> Self {
        let shared = Bucket {
            tokens: u64::from(limit.burst.max(1)) * TOKEN,
            refilled_ns: 0,
        };
        let table = Table {
            buckets: HashMap::new(),
            shared,
            swept_ns: 0,
        };
        Self {
            limit,
            capacity,
            table: Mutex::new(table),
        }
    }

    /// Counts a request of `key` at `now_ns`; none where there is no limit.
    pub fn take(&self, key: K, now_ns: u64) -> Option<Allowance> {
        self.ask(key, now_ns, TOKEN)
    }

    /// What a request of `key` would hear, without counting it.
    pub fn peek(&self, key: K, now_ns: u64) -> Option<Allowance> {
        self.ask(key, now_ns, 0)
    }

    fn ask(&self, key: K, now_ns: u64, tokens: u64) -> Option<Allowance> {
        let limit = self.limit;
        if limit.per_second == 0 {
            return None;
        }
        let full = u64::from(limit.burst.max(1)) * TOKEN;
        let mut table = self
            .table
            .lock()
            .expect("invariant: no panic under this lock");
        let known = table.buckets.contains_key(&key);
        // Sweeping looks at every bucket, so it is done at most once a second.
        if !known
            && table.buckets.len() >= self.capacity
            && now_ns.saturating_sub(table.swept_ns) >= TOKEN
        {
            table.swept_ns = now_ns;
            table.buckets.retain(|_, bucket| {
                bucket.refill(limit, now_ns);
                bucket.tokens < full
            });
        }
        if !known && table.buckets.len() >= self.capacity {
            return Some(table.shared.take(limit, now_ns, tokens));
        }
        let bucket = table.buckets.entry(key).or_insert(Bucket {
            tokens: full,
            refilled_ns: now_ns,
        });
        Some(bucket.take(limit, now_ns, tokens))
    }
}

/// What addresses are counted by: an IPv4 address, or the /64 network of an IPv6 address, since
/// one host commonly owns all of it.
pub fn address_key(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(v4) => u64::from(v4.to_bits()),
        IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RateLimit = RateLimit {
        per_second: 10,
        burst: 15,
    };

    #[test]
    fn a_burst_then_the_rate() {
        let limiter = Limiter::new(LIMIT, 10);
        for left in (0..15).rev() {
            let said = limiter.take(1, 0).unwrap();
            assert!(said.allowed);
            assert_eq!(said.remaining, left);
        }
        let said = limiter.take(1, 0).unwrap();
        assert_eq!((said.allowed, said.limit, said.reset_s), (false, 15, 1));
        assert!(
            limiter.take(2, 0).unwrap().allowed,
            "another key has its own bucket"
        );
        assert!(!limiter.take(1, TOKEN / 10 - 1).unwrap().allowed);
        assert!(limiter.take(1, TOKEN / 10).unwrap().allowed);
        assert!(!limiter.take(1, TOKEN / 10).unwrap().allowed);
        assert_eq!(limiter.take(1, 1_000 * TOKEN).unwrap().remaining, 14);
    }

    #[test]
    fn a_full_table_drops_the_idle_and_then_shares() {
        let limiter = Limiter::new(LIMIT, 2);
        let start = 10 * TOKEN;
        limiter.take(1, start);
        limiter.take(2, start);
        for _ in 0..15 {
            assert!(limiter.take(3, start).unwrap().allowed);
        }
        assert!(
            !limiter.take(4, start).unwrap().allowed,
            "newcomers share one bucket"
        );
        assert!(
            limiter.take(1, start).unwrap().allowed,
            "known keys keep theirs"
        );
        assert!(limiter.take(5, start + 2 * TOKEN).unwrap().allowed);
        assert_eq!(
            limiter.table.lock().unwrap().buckets.len(),
            1,
            "the idle were dropped"
        );
    }

    #[test]
    fn zero_is_no_limit_and_looking_is_free() {
        let none = Limiter::new(
            RateLimit {
                per_second: 0,
                burst: 0,
            },
            1,
        );
        assert_eq!(none.take(1, 0), None);
        let limiter = Limiter::new(
            RateLimit {
                per_second: 1,
                burst: 1,
            },
            1,
        );
        assert!(limiter.peek(1, 0).unwrap().allowed);
        assert!(limiter.take(1, 0).unwrap().allowed);
        assert!(!limiter.peek(1, 0).unwrap().allowed);
    }
}
