//! Everopen: three replicas as processes of their own.

use std::path::Path;

use anyhow::{Result, bail};
use everopen_testkit::load::Target;

use crate::driver::{Driver, Mode};

/// What it is called in the tables.
pub const NAME: &str = "Everopen";

/// Three replicas of the real program.
pub struct Everopen {}

impl Everopen {
    /// Starts them with their data in `dir` and waits for a leader.
    pub fn start(mode: Mode, dir: &Path) -> Result<Self> {
        let _ = (mode, dir);
        bail!("not built yet: this program cannot start three replicas")
    }
}

impl Driver for Everopen {
    fn connect(&mut self, sessions: usize, outstanding: usize) -> Result<Box<dyn Target>> {
        let _ = (sessions, outstanding);
        bail!("not built yet: this program cannot talk to replicas")
    }
}
