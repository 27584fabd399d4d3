//! Hubs against each other and against sockets that do not behave, over loopback.

mod bounds;
mod fair;
mod faults;
mod frames;
mod life;
mod support;
mod wake;

#[global_allocator]
static ALLOCATOR: everopen_testkit::CountingAllocator = everopen_testkit::CountingAllocator;
