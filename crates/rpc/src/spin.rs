//! Looking again and again before a wait, where being woken costs more than what is waited for.

use std::time::Duration;

/// Looks for nothing in a row after which a wait begins at once.
const MISSES_MAX: u32 = 3;

/// Whether to look, and for how long. It stops where nothing comes in time, so that a hub without
/// traffic takes no processor, and begins again when a wait ends so soon that a look would have seen it.
#[derive(Debug, Default)]
pub(crate) struct Spin {
    most: Duration,
    misses: u32,
}

impl Spin {
    pub fn set(&mut self, most: Duration) {
        if self.most.is_zero() {
            self.misses = 0;
        }
        self.most = most;
    }

    /// How long to look before the next wait; zero for not at all.
    pub fn now(&self) -> Duration {
        match self.misses < MISSES_MAX {
            true => self.most,
            false => Duration::ZERO,
        }
    }

    /// Whether the length of waits is of use.
    pub fn is_set(&self) -> bool {
        !self.most.is_zero()
    }

    /// A look is over.
    pub fn looked(&mut self, has_come: bool) {
        self.misses = match has_come {
            true => 0,
            false => self.misses.saturating_add(1),
        };
    }

    /// A wait has ended after so long because something came.
    pub fn waited(&mut self, took: Duration) {
        if took <= self.most {
            self.misses = 0;
        }
    }
}
