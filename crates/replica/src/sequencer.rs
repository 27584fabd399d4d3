//! The sequencer's thread: the loop that makes log entries out of commands and applies them.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use everopen_domain::{Command, LogIndex, Timestamp};
use everopen_journal::{AppendError, Journal};
use everopen_venue::Venue;
use everopen_wire::{EntryWriter, Request as LogRequest};

use crate::publisher::{Entry, Publication, Waiting};
use crate::recovery::{Fault, Recovered, encode_state};
use crate::{Config, Message, Refusal, Request, Stats};

/// How long the loop sleeps at most when nothing comes, so that orders expire on time and the
/// journal finds room again.
const IDLE_TURN: Duration = Duration::from_millis(50);

pub(crate) struct Sequencer {
    config: Config,
    venue: Venue,
    journal: Journal,
    /// The time of the last entry.
    time: Timestamp,
    writer: EntryWriter,
    published: SyncSender<Publication>,
    stats: Arc<Stats>,
    bytes_since_snapshot: u64,
    snapshot: Option<JoinHandle<Result<LogIndex, String>>>,
    /// A request that did not fit into the last entry.
    left_over: Option<Request>,
}

/// What one turn took from the queue.
#[derive(Default)]
struct Turn {
    requests: Vec<Request>,
    commands: usize,
    snapshots: Vec<SyncSender<Result<LogIndex, String>>>,
    stop: bool,
}

impl Sequencer {
    pub fn new(
        config: Config,
        recovered: Recovered,
        published: SyncSender<Publication>,
        stats: Arc<Stats>,
    ) -> Self {
        let writer = EntryWriter::new(config.journal.max_record_bytes as usize);
        Self {
            config,
            venue: recovered.venue,
            journal: recovered.journal,
            time: recovered.time,
            writer,
            published,
            stats,
            bytes_since_snapshot: recovered.report.bytes_replayed,
            snapshot: None,
            left_over: None,
        }
    }

    pub fn run(mut self, queue: &Receiver<Message>) -> Result<(), Fault> {
        loop {
            let turn = self.gather(queue);
            let stop = turn.stop;
            if let Err(fault) = self.turn(turn.requests) {
                refuse_all(queue, Refusal::Stopped);
                return Err(fault);
            }
            self.collect_snapshot()?;
            for tell in turn.snapshots {
                drop(tell.send(self.snapshot_now()));
            }
            if self.bytes_since_snapshot >= self.config.snapshot_every_bytes
                && self.snapshot.is_none()
            {
                self.start_snapshot()?;
            }
            if stop {
                break;
            }
        }
        if self.bytes_since_snapshot > 0
            && let Err(error) = self.snapshot_now()
        {
            // The log is whole without it; the next start only takes longer.
            tracing::warn!(%error, "no snapshot at the end");
        }
        Ok(())
    }

    /// Waits for work and takes all that is there, up to the size of one entry.
    fn gather(&mut self, queue: &Receiver<Message>) -> Turn {
        let mut turn = Turn::default();
        if let Some(request) = self.left_over.take() {
            turn.commands += request.commands().len();
            turn.requests.push(request);
        } else {
            match queue.recv_timeout(self.patience()) {
                Ok(message) => self.sort(message, &mut turn),
                Err(RecvTimeoutError::Timeout) => return turn,
                Err(RecvTimeoutError::Disconnected) => turn.stop = true,
            }
        }
        while turn.commands < self.config.entry_commands && !turn.stop && self.left_over.is_none() {
            match queue.try_recv() {
                Ok(message) => self.sort(message, &mut turn),
                Err(_) => break,
            }
        }
        turn
    }

    fn sort(&mut self, message: Message, turn: &mut Turn) {
        match message {
            Message::Request(request) => {
                let commands = request.commands().len();
                if commands > self.config.entry_commands || commands == 0 {
                    request.refuse(Refusal::TooLarge);
                } else if turn.commands + commands > self.config.entry_commands {
                    self.left_over = Some(request);
                } else {
                    turn.commands += commands;
                    turn.requests.push(request);
                }
            }
            Message::Snapshot(tell) => turn.snapshots.push(tell),
            Message::Stop => turn.stop = true,
        }
    }

    /// Until the next order expires, but not longer than an idle turn.
    fn patience(&self) -> Duration {
        match self.venue.next_expiry() {
            Some(expiry) => Duration::from_nanos(expiry.0.saturating_sub(clock().0)).min(IDLE_TURN),
            None => IDLE_TURN,
        }
    }

    /// Journals and applies what was gathered, as one entry.
    fn turn(&mut self, requests: Vec<Request>) -> Result<(), Fault> {
        let now = clock().max(self.time);
        let due = self.venue.next_expiry().is_some_and(|expiry| expiry <= now);
        if requests.is_empty() && !due {
            // Cheap when there is nothing to do; finds room again after a full disk.
            let _ = self.journal.try_reserve();
            return Ok(());
        }
        self.writer.begin(now);
        if requests.is_empty() {
            let commands = &[Command::Tick];
            self.writer
                .push(&LogRequest::Internal { commands })
                .expect("invariant: a tick fits into an entry");
        }
        for commands in requests.iter().map(Request::commands) {
            self.writer
                .push(&LogRequest::Internal { commands })
                .expect("invariant: the limits of an entry in commands and in bytes agree");
        }
        let entry = self.writer.finish();
        let bytes = entry.len() as u64;
        let index = match self.journal.append(entry) {
            Ok(index) => index,
            Err(AppendError::Full) => {
                self.journal_full(requests);
                return Ok(());
            }
            Err(AppendError::TooLarge { .. }) => unreachable!("invariant: the writer is bounded"),
            Err(fault) => {
                requests
                    .into_iter()
                    .for_each(|r| r.refuse(Refusal::Stopped));
                return Err(Fault::Append(fault));
            }
        };
        if let Err(fault) = self.journal.commit() {
            // INV-REPLICA-4: the bytes may or may not be on the disk.
            requests
                .into_iter()
                .for_each(|r| r.refuse(Refusal::OutcomeUnknown));
            return Err(Fault::Journal(fault));
        }
        self.time = now;
        self.bytes_since_snapshot += bytes;
        self.apply(LogIndex(index), now, requests, bytes);
        Ok(())
    }

    fn journal_full(&mut self, requests: Vec<Request>) {
        let commands: usize = requests.iter().map(|r| r.commands().len()).sum();
        if self.stats.journal_full() == 0 {
            tracing::error!("the log has no room on its disk; commands are refused until it has");
        }
        self.stats.count_journal_full(commands as u64);
        requests
            .into_iter()
            .for_each(|r| r.refuse(Refusal::JournalFull));
        let _ = self.journal.try_reserve();
    }

    fn apply(&mut self, index: LogIndex, time: Timestamp, requests: Vec<Request>, bytes: u64) {
        let mut events = Vec::with_capacity(requests.len() * 4);
        let mut waiting = Vec::with_capacity(requests.len());
        let mut commands = 0;
        if requests.is_empty() {
            self.venue.apply(time, &Command::Tick, &mut events);
            commands += 1;
        }
        for request in requests {
            for command in request.commands() {
                self.venue.apply(time, command, &mut events);
                commands += 1;
            }
            waiting.push(Waiting {
                submitted: request.submitted,
                answer: request.answer,
                events_end: events.len(),
            });
        }
        self.stats.count_entry(index.0, commands, bytes);
        let entry = Entry {
            index,
            time,
            events,
            waiting,
        };
        if let Err(lost) = self.published.send(Publication::Entry(entry))
            && let Publication::Entry(entry) = lost.0
        {
            // The publisher has panicked: the entry is durable, but nobody can be shown it.
            entry
                .waiting
                .into_iter()
                .filter_map(|w| w.answer)
                .for_each(|answer| answer(Err(Refusal::OutcomeUnknown)));
        }
    }

    fn start_snapshot(&mut self) -> Result<(), Fault> {
        let index = LogIndex(self.journal.last_index());
        let venue = self.venue.clone();
        let snapshots = self.journal.snapshots();
        let (tell, told) = sync_channel(1);
        // The checkpoint stands in the publisher's queue behind the entries applied so far, so
        // both halves are of the same entry.
        if self.published.send(Publication::Checkpoint(tell)).is_err() {
            return Err(Fault::Panicked);
        }
        self.bytes_since_snapshot = 0;
        let work = move || {
            let reader = told
                .recv()
                .map_err(|_| "the publisher has stopped".to_string())?;
            snapshots
                .write_with(index.0, |out| encode_state(&venue, &reader, out))
                .map_err(|fault| chain(&fault))?;
            Ok(index)
        };
        self.snapshot = Some(crate::thread("everopen-snapshot", work)?);
        Ok(())
    }

    /// Looks whether a snapshot in the background is done, and deletes what it made superfluous.
    fn collect_snapshot(&mut self) -> Result<(), Fault> {
        if self.snapshot.as_ref().is_some_and(JoinHandle::is_finished) {
            self.finish_snapshot().map(drop).or_else(|error| {
                tracing::warn!(%error, "snapshot failed; the next one is tried later");
                Ok(())
            })
        } else {
            Ok(())
        }
    }

    fn finish_snapshot(&mut self) -> Result<Option<LogIndex>, String> {
        let Some(thread) = self.snapshot.take() else {
            return Ok(None);
        };
        let index = thread
            .join()
            .map_err(|_| "the snapshot's thread panicked".to_string())??;
        self.journal.retire().map_err(|fault| chain(&fault))?;
        Ok(Some(index))
    }

    fn snapshot_now(&mut self) -> Result<LogIndex, String> {
        // One that runs already is of an earlier entry.
        self.finish_snapshot()?;
        self.start_snapshot().map_err(|fault| chain(&fault))?;
        self.finish_snapshot()?
            .ok_or_else(|| "no snapshot was taken".to_string())
    }
}

/// An error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

fn refuse_all(queue: &Receiver<Message>, refusal: Refusal) {
    while let Ok(message) = queue.try_recv() {
        match message {
            Message::Request(request) => request.refuse(refusal),
            Message::Snapshot(tell) => drop(tell.send(Err(refusal.to_string()))),
            Message::Stop => {}
        }
    }
}

/// The only place that asks for the time: what it says goes into the log.
fn clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Timestamp(u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}
