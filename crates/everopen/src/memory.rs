//! The allocator of the program.

use std::ffi::c_long;
use std::mem::MaybeUninit;

use rustix::mm::{Advice, madvise};

use libmimalloc_sys::{mi_option_get, mi_option_set, mi_option_t, mi_option_use_numa_nodes};

/// Entries and answers are large, short-lived and often freed by another thread than the one that
/// made them. The system's allocator gives such memory back and takes it anew, page by page.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, which the crate has no name for: it stands before this one in `mimalloc.h`.
const PURGE_DELAY: mi_option_t = mi_option_use_numa_nodes - 1;
/// What it is where nobody has said anything.
const DEFAULT_MS: c_long = 1_000;
/// What a program frees under load it needs again within seconds: given back to the system meanwhile, it would
/// come back page by page, zeroed while commands wait.
const KEPT_MS: c_long = 60_000;
const FOR_EVER: c_long = -1;
/// Whoever serves goes first. On Linux, niceness is a thread's own.
const NICENESS: i32 = 10;

/// Keeps memory that is free for a while. Before there is a second thread; `MIMALLOC_PURGE_DELAY` goes first.
pub fn keep() {
    keep_for(DEFAULT_MS, KEPT_MS);
}

/// Gives no memory back from here on, for a program that has much under way whenever it is busy. After
/// [`keep`], and as it before there is a second thread.
pub fn keep_for_good() {
    keep_for(KEPT_MS, FOR_EVER);
}

#[allow(
    unsafe_code,
    reason = "the allocator's options can be set in no other way"
)]
fn keep_for(before: c_long, milliseconds: c_long) {
    // SAFETY: both take any option's number, and no other thread runs yet that could use them.
    unsafe {
        if mi_option_get(PURGE_DELAY) == before {
            mi_option_set(PURGE_DELAY, milliseconds);
        }
    }
}

/// Of what is free, at most one part in so many is put in place.
const SHARE: usize = 8;
/// What is asked for at once: a little less than the most that the allocator has in one place, so that
/// little is left between.
const PIECE: usize = 31 << 20;
/// Addresses from which a piece may be put in place: a system's page, of any size that it is built with.
const PAGE: usize = 64 << 10;

/// Has so much memory put in place by the system, and leaves it to the allocator, which gives it out before it
/// takes more. Else a replica's first seconds under load wait for pages to be found and zeroed, and on a virtual
/// machine for its host to find them as well. A thread of its own does it, so nothing waits for it. After
/// [`keep_for_good`]: it would be given back else.
pub fn put_in_place(mib: u32) {
    let mut bytes = (mib as usize) << 20;
    if let Some(free) = free_bytes().filter(|free| bytes > free / SHARE) {
        bytes = free / SHARE;
        tracing::info!(
            "{} MiB of memory are put in place and not {mib}, of {} that are free",
            bytes >> 20,
            free >> 20
        );
    }
    let count = bytes / PIECE;
    let work = move || {
        let _ = rustix::process::nice(NICENESS);
        // All at once, and then free.
        if let Err(error) = pieces(count) {
            // Linux before 5.14 does not know it; nothing but time is lost.
            tracing::info!(%error, "memory is not put in place");
        }
    };
    let thread = std::thread::Builder::new().name("everopen-memory".into());
    if let Err(error) = thread.spawn(work) {
        tracing::info!(%error, "memory is not put in place");
    }
}

/// What the system has for this process, as far as it says: of the machine, and of its control group (version 2).
fn free_bytes() -> Option<usize> {
    let read = |path: &str| std::fs::read_to_string(path).ok();
    let machine = read("/proc/meminfo").and_then(|text| available(&text));
    let group = read("/proc/self/cgroup").and_then(|text| {
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
        let number = |name: &str| -> Option<usize> {
            let text = read(&format!("/sys/fs/cgroup{path}/{name}"))?;
            text.trim().parse().ok()
        };
        // Without a limit it says `max`, which is no number.
        Some(number("memory.max")?.saturating_sub(number("memory.current")?))
    });
    machine.into_iter().chain(group).min()
}

/// `MemAvailable` of `/proc/meminfo` (proc(5)), in bytes.
fn available(meminfo: &str) -> Option<usize> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: usize = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

fn pieces(count: usize) -> rustix::io::Result<Vec<Vec<u8>>> {
    let piece = |_| {
        let mut piece = Vec::with_capacity(PIECE);
        let free = piece.spare_capacity_mut();
        let skipped = free.as_ptr().align_offset(PAGE);
        populate(free.get_mut(skipped..).unwrap_or_default())?;
        Ok(piece)
    };
    (0..count).map(piece).collect()
}

#[allow(unsafe_code, reason = "no safe interface to this advice")]
fn populate(memory: &mut [MaybeUninit<u8>]) -> rustix::io::Result<()> {
    // SAFETY: the memory is this slice's own, and the advice leaves in it what is there.
    unsafe {
        madvise(
            memory.as_mut_ptr().cast(),
            memory.len(),
            Advice::LinuxPopulateWrite,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use rustix::param::page_size;

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

    #[test]
    fn what_is_free_is_known() {
        let text = "MemTotal:  24000000 kB\nMemFree:  10 kB\nMemAvailable:   2048 kB\n";
        assert_eq!(available(text), Some(2 << 20));
        assert_eq!(available("MemTotal: 1 kB\n"), None);
        let free = free_bytes().expect("Linux says it");
        assert!(free > 1 << 20, "{free}");
    }

    #[test]
    fn what_is_put_in_place_is_there() {
        let pieces = match pieces(2) {
            Err(rustix::io::Errno::INVAL) => {
                println!("left out: this system can't put memory in place (Linux 5.14 can)");
                return;
            }
            other => other.expect("memory"),
        };
        // A word a page; its highest bit says whether the page is there (Linux, admin-guide/mm/pagemap).
        let pagemap = std::fs::File::open("/proc/self/pagemap").expect("Linux has it");
        for piece in &pieces {
            let begin = piece.as_ptr() as usize;
            let first = begin.next_multiple_of(PAGE) / page_size();
            let count = (begin + PIECE) / page_size() - first;
            let mut words = vec![0; 8 * count];
            pagemap
                .read_exact_at(&mut words, 8 * first as u64)
                .expect("its own can be read");
            let there = words.chunks_exact(8).filter(|word| word[7] & 0x80 != 0);
            assert_eq!(there.count(), count);
        }
        assert!(pieces.iter().all(Vec::is_empty));
    }
}
