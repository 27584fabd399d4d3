//! What a run has to show.

use std::collections::BTreeMap;
use std::fmt;

use crate::violation::Violation;

/// What a run has to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// A hash of everything that happened.
    pub trace_hash: u128,
    /// Events, small and large.
    pub events: u64,
    /// Microseconds of simulated time.
    pub simulated_us: u64,
    /// The last committed entry.
    pub committed: u64,
    /// Faults, but for lost, doubled and late messages.
    pub faults: u64,
    /// How often what happened.
    pub counts: BTreeMap<&'static str, u64>,
    /// What must not have happened; none if all is well.
    pub violation: Option<Violation>,
}

impl fmt::Display for Report {
    /// The same bytes for the same world.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, rest) = (self.simulated_us / 1_000_000, self.simulated_us % 1_000_000);
        writeln!(
            f,
            "seed {}: {} events in {seconds}.{rest:06} simulated seconds, {} entries committed, {} faults",
            self.seed, self.events, self.committed, self.faults
        )?;
        for (what, count) in &self.counts {
            writeln!(f, "{count:>10} {what}")?;
        }
        writeln!(f, "trace {:032x}", self.trace_hash)?;
        match &self.violation {
            None => write!(f, "nothing was violated"),
            Some(violation) => write!(f, "VIOLATION {violation}"),
        }
    }
}
