//! What follows the log inside a simulated replica: it counts what it sees, and puts the count into
//! its checkpoints.

use everopen_replica::{Applied, Reader};

/// The last entry seen and how many events there were up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Follower {
    pub index: u64,
    pub events: u64,
    /// An entry did not continue the one before.
    pub gap: Option<(u64, u64)>,
}

impl Reader for Follower {
    fn applied(&mut self, entry: &Applied<'_>) {
        // A new venue begins with an entry that nobody wrote.
        let continues = entry.index.0 == self.index + 1 || (self.index, entry.index.0) == (0, 2);
        if !continues && self.gap.is_none() {
            self.gap = Some((self.index, entry.index.0));
        }
        self.index = entry.index.0;
        self.events += entry.events.len() as u64;
    }

    fn checkpoint(&mut self) -> Vec<u8> {
        let mut out = self.index.to_le_bytes().to_vec();
        out.extend_from_slice(&self.events.to_le_bytes());
        out
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        let word = |at: usize| -> Result<u64, String> {
            let bytes = bytes.get(at..at + 8).and_then(|b| b.try_into().ok());
            bytes.map(u64::from_le_bytes).ok_or("too short".into())
        };
        (self.index, self.events) = (word(0)?, word(8)?);
        Ok(())
    }
}
