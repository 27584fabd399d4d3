//! An allocator that counts, so that "allocates nothing per command" is a measured figure.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    // Of this thread alone, so that tests beside each other do not count for each other. Without a
    // destructor and with a constant start it needs no memory itself.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends may free and get memory when its counter is gone.
    let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
}

/// The system's allocator with a counter of calls that get memory. Declare it as the
/// `#[global_allocator]` of a benchmark or test.
pub struct CountingAllocator;

// SAFETY: every call is passed to the system's allocator unchanged.
#[allow(unsafe_code, reason = "a global allocator cannot be had without")]
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// How often this thread got memory so far (new or grown). Always zero where
/// [`CountingAllocator`] is not the global allocator.
pub fn allocations() -> u64 {
    ALLOCATIONS.get()
}
