//! Moments that fit into an atomic number.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Nanoseconds since this was first asked for, and one: it is never 0.
pub(crate) fn now() -> u64 {
    BEGAN.elapsed().as_nanos() as u64 + 1
}

/// The moment that [`now`] was once.
pub(crate) fn instant(nanos: u64) -> Instant {
    *BEGAN + Duration::from_nanos(nanos)
}
