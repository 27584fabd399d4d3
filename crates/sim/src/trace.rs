//! What happened, line by line, and a hash over all of it: two runs of one seed must have the same.

use std::fmt::{self, Write};

use twox_hash::xxhash3_128::Hasher;

/// Lines of which only the hash is kept, unless somebody wants to see them.
pub(crate) struct Trace<'a> {
    hasher: Hasher,
    line: String,
    show: Option<&'a mut dyn FnMut(&str)>,
}

impl<'a> Trace<'a> {
    pub fn new(show: Option<&'a mut dyn FnMut(&str)>) -> Self {
        Self {
            hasher: Hasher::new(),
            line: String::new(),
            show,
        }
    }

    /// Says that something happened at a moment, in microseconds.
    pub fn say(&mut self, at: u64, what: fmt::Arguments<'_>) {
        self.line.clear();
        let _ = write!(
            self.line,
            "{:>3}.{:06} {what}",
            at / 1_000_000,
            at % 1_000_000
        );
        self.hasher.write(self.line.as_bytes());
        self.hasher.write(b"\n");
        if let Some(show) = &mut self.show {
            show(&self.line);
        }
    }

    /// Says something that happens often: only its numbers count for the hash, and its text is made
    /// for who wants to see it.
    pub fn note(&mut self, at: u64, numbers: [u64; 4], text: impl FnOnce() -> String) {
        self.hasher.write(&at.to_le_bytes());
        for number in numbers {
            self.hasher.write(&number.to_le_bytes());
        }
        if let Some(show) = &mut self.show {
            show(&format!(
                "{:>3}.{:06}   {}",
                at / 1_000_000,
                at % 1_000_000,
                text()
            ));
        }
    }

    /// The hash of all lines so far.
    pub fn hash(&self) -> u128 {
        self.hasher.finish_128()
    }
}
