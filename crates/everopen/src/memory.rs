//! The allocator of the program.

use std::ffi::c_long;

use libmimalloc_sys::{mi_option_get, mi_option_set, mi_option_t, mi_option_use_numa_nodes};

/// Entries and answers are large, short-lived and often freed by another thread than the one that
/// made them. The system's allocator gives such memory back and takes it anew, page by page.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, which the crate has no name for: it stands before this one in `mimalloc.h`.
const PURGE_DELAY: mi_option_t = mi_option_use_numa_nodes - 1;
/// What it is where nobody has said anything.
const DEFAULT_MS: c_long = 1_000;
/// A replica keeps the newest of its log in memory, and what it frees there it needs again within seconds:
/// given back to the system meanwhile, it would come back page by page, zeroed while commands wait.
const KEPT_MS: c_long = 60_000;

/// Keeps memory that is free for a while. Before there is a second thread; `MIMALLOC_PURGE_DELAY` goes first.
#[allow(
    unsafe_code,
    reason = "the allocator's options can be set in no other way"
)]
pub fn keep() {
    // SAFETY: both take any option's number, and no other thread runs yet that could use them.
    unsafe {
        if mi_option_get(PURGE_DELAY) == DEFAULT_MS {
            mi_option_set(PURGE_DELAY, KEPT_MS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(unsafe_code, reason = "as above")]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: as above; it only reads.
        let is = unsafe { mi_option_get(PURGE_DELAY) };
        let set = std::env::var("MIMALLOC_PURGE_DELAY").is_ok();
        assert!(
            set || is == DEFAULT_MS,
            "{is}: another option, or another default"
        );
    }
}
