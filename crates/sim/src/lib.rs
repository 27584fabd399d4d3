//! A seeded world that drives the real replicas and audits them.
//!
//! [`run`] makes a world from one number: machines with clocks, disks and a network between them,
//! each running the real `everopen_replica::core` on the real journal, and clients that trade. Then
//! it lets go wrong what can go wrong, and holds everything that happens against what must hold. The
//! same number gives the same world, step by step; [`Report::trace_hash`] says so.
//!
//! What is real, what is simulated and what is not covered stands in
//! `docs/decisions/0008-simulation.md`.
#![forbid(unsafe_code)]

mod audit;
mod bulk;
mod canary;
mod client;
mod disk;
mod faults;
mod follower;
mod healing;
mod network;
mod operator;
mod packet;
mod process;
mod profile;
mod queue;
mod random;
mod report;
mod trace;
mod turn;
mod violation;
mod workload;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use canary::Canary;
pub use profile::Fault;
pub use report::Report;
pub use violation::{Check, Violation};
use world::World;

/// How a world is run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Events until the faults end.
    pub steps: u64,
    /// Checkers to leave out.
    pub without: Vec<Check>,
    /// A fault that is planted, in a world that suits it.
    pub canary: Option<Canary>,
    /// The canary's world without the canary.
    pub silent: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            steps: 60_000,
            without: Vec::new(),
            canary: None,
            silent: false,
        }
    }
}

/// Runs the world of a seed.
///
/// # Panics
/// When no temporary folder can be made.
pub fn run(seed: u64, options: &Options) -> Report {
    simulate(seed, options, None)
}

/// Runs the world of a seed and shows every line of its trace.
///
/// # Panics
/// When no temporary folder can be made.
pub fn run_showing(seed: u64, options: &Options, show: &mut dyn FnMut(&str)) -> Report {
    simulate(seed, options, Some(show))
}

fn simulate(seed: u64, options: &Options, show: Option<&mut dyn FnMut(&str)>) -> Report {
    // Memory, where there is some: what a power cut leaves is decided here, not by a device.
    let memory = std::path::Path::new("/dev/shm");
    let dir = if memory.is_dir() {
        tempfile::tempdir_in(memory)
    } else {
        tempfile::tempdir()
    };
    let dir = dir.expect("a temporary folder can be made");
    let mut world = World::new(seed, options, dir, show);
    let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
    if let Err(panic) = ran {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
            .unwrap_or_default();
        world.fail(Check::Panic, text);
    }
    world.report(seed)
}
