//! Measuring, for the benchmarks of the engine's rooms: one reference floor, one way to time, count
//! and print, so that their figures can be compared. Never part of the product.
//!
//! The engine under test comes as a function that makes a fresh [`Engine`]; everything else (the
//! OBW1 workload, checks against its published totals, interleaved runs, latencies, instruction
//! and allocation counts) is here. Systems that answer later are loaded by [`load`], and figures are
//! held to limits by [`Bound`]. Histories of what clients saw while systems failed are held to
//! [`linear`]. [`free_address`] is for servers that tests start,
//! [`pki`] for their certificates, [`sandbox`] for tests that cut networks and fill disks.
//!
//! ```no_run
//! use everopen_testkit::{Args, CountingAllocator, Floor, bench};
//!
//! #[global_allocator]
//! static ALLOCATOR: CountingAllocator = CountingAllocator;
//!
//! fn main() {
//!     bench("floor", &Args::parse(), &["d1k"], &[("floor again", Floor::boxed)]);
//! }
//! ```
#![warn(missing_docs)]
#![deny(unsafe_code)]

mod allocator;
mod bench;
mod bound;
mod floor;
mod instructions;
pub mod linear;
pub mod load;
mod machine;
pub mod pki;
mod ports;
mod report;
pub mod sandbox;
mod timing;

pub use allocator::{CountingAllocator, allocations};
pub use bench::{Args, Engine, MakeEngine, bench};
pub use bound::{Bound, Side, Verdict};
pub use floor::Floor;
pub use machine::{Machine, file_system};
pub use ports::free_address;
pub use report::{Report, Row, Spread};
pub use timing::{Latency, Timed, latencies, thread_cpu_ns, timer_cost_ns};
