//! Reads that wait for their index.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use everopen_domain::LogIndex;

use crate::shared::Shared;
use crate::{ReadAnswer, Refusal};

/// A read that is not answered for so long is asked again: replicas may lose one without a word.
const AGAIN: Duration = Duration::from_millis(250);

struct Read {
    answer: ReadAnswer,
    deadline: Instant,
    sent: Option<Instant>,
}

/// All reads, by number; the first are the oldest.
#[derive(Default)]
pub(crate) struct Reads {
    reads: BTreeMap<u64, Read>,
    last: u64,
}

impl Reads {
    pub fn push(&mut self, answer: ReadAnswer, deadline: Instant) {
        self.last += 1;
        self.reads.insert(
            self.last,
            Read {
                answer,
                deadline,
                sent: None,
            },
        );
    }

    pub fn is_empty(&self) -> bool {
        self.reads.is_empty()
    }

    /// The next one to send after the one with that number.
    pub fn next_due(&self, after: u64) -> Option<u64> {
        let mut later = self.reads.range(after + 1..);
        later
            .find(|(_, read)| read.sent.is_none())
            .map(|(number, _)| *number)
    }

    pub fn sent(&mut self, number: u64, now: Instant) {
        if let Some(read) = self.reads.get_mut(&number) {
            read.sent = Some(now);
        }
    }

    pub fn again(&mut self, number: u64) {
        if let Some(read) = self.reads.get_mut(&number) {
            read.sent = None;
        }
    }

    pub fn finish(&mut self, shared: &Shared, number: u64, result: Result<LogIndex, Refusal>) {
        if let Some(read) = self.reads.remove(&number) {
            shared.answered();
            (read.answer)(result);
        }
    }

    pub fn pass_time(&mut self, shared: &Shared, now: Instant) {
        // All have the same patience, so the first ones are over first.
        while let Some((number, read)) = self.reads.first_key_value() {
            if read.deadline > now {
                break;
            }
            let number = *number;
            self.finish(shared, number, Err(Refusal::Unavailable));
        }
        for read in self.reads.values_mut() {
            if read
                .sent
                .is_some_and(|sent| now.saturating_duration_since(sent) >= AGAIN)
            {
                read.sent = None;
            }
        }
    }

    pub fn end(&mut self, shared: &Shared) {
        for read in std::mem::take(&mut self.reads).into_values() {
            shared.answered();
            (read.answer)(Err(Refusal::Stopped));
        }
    }
}
