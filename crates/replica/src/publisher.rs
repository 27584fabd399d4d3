//! The publisher's thread: shows entries to the reader, then answers who waits.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::Instant;

use everopen_domain::{Event, LogIndex, Timestamp};

use crate::{Answer, Applied, Outcome, Reader, Stats};

/// An applied entry on its way to the reader.
pub(crate) struct Entry {
    pub index: LogIndex,
    pub time: Timestamp,
    pub events: Vec<Event>,
    pub waiting: Vec<Waiting>,
}

/// Who waits for which part of the events.
pub(crate) struct Waiting {
    pub answer: Option<Answer>,
    pub submitted: Instant,
    /// Its events end here; they begin where those before it ended.
    pub events_end: usize,
}

pub(crate) enum Publication {
    Entry(Entry),
    /// Asks for the reader's state as it is now.
    Checkpoint(SyncSender<Vec<u8>>),
}

pub(crate) fn run(mut reader: impl Reader, published: &Receiver<Publication>, stats: &Arc<Stats>) {
    while let Ok(publication) = published.recv() {
        match publication {
            Publication::Checkpoint(tell) => drop(tell.send(reader.checkpoint())),
            Publication::Entry(entry) => publish(&mut reader, entry, stats),
        }
    }
}

fn publish(reader: &mut impl Reader, entry: Entry, stats: &Stats) {
    let Entry {
        index,
        time,
        events,
        waiting,
    } = entry;
    reader.applied(&Applied {
        index,
        time,
        events: &events,
    });
    let now = Instant::now();
    stats.record(waiting.iter().map(|w| now.duration_since(w.submitted)));
    let mut begin = 0;
    for waiting in waiting {
        let own = &events[begin..waiting.events_end];
        begin = waiting.events_end;
        if let Some(answer) = waiting.answer {
            answer(Ok(Outcome {
                index,
                time,
                events: own.to_vec(),
            }));
        }
    }
}
