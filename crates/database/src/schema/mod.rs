//! Changes of schema across releases of a service: what the next version needs is added while the last one runs
//! on, rows get their values in small transactions, and what no version needs any more is taken away at the end
//! (M. Fowler, "Parallel Change"; P. Sadalage and S. Ambler, *Refactoring Databases*).

mod backfill;
mod clone;
pub mod file;
mod run;

use std::fmt;

pub use run::{Done, apply, kept, phase, proofs, roll_back};
use serde::{Deserialize, Serialize};

pub use crate::run::Fault;

/// How far a change has come. The database itself keeps it, in the transaction that gets it there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Nothing is changed.
    Before,
    /// What is new is there.
    Expanded,
    /// All rows have their values.
    Migrated,
    /// What was old is gone.
    Contracted,
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Self::Before => "before",
            Self::Expanded => "expanded",
            Self::Migrated => "migrated",
            Self::Contracted => "contracted",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [
            Self::Before,
            Self::Expanded,
            Self::Migrated,
            Self::Contracted,
        ]
        .into_iter()
        .find(|phase| phase.name() == name)
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a version of the service runs on a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    /// The version.
    pub version: String,
    /// The schema.
    pub on: Phase,
    /// What its check said, if it failed.
    pub failed: Option<String>,
    /// Whether it serves or can be gone back to.
    pub is_serving: bool,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let serves = if self.is_serving { " (serves)" } else { "" };
        write!(f, "version {}{serves} on {}: ", self.version, self.on)?;
        match &self.failed {
            None => f.write_str("runs"),
            Some(said) => write!(f, "FAILS: {said}"),
        }
    }
}
