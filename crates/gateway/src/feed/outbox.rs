//! What waits to be sent to one client: bounded in frames and bytes, with an answer when full.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use axum::extract::ws::{Utf8Bytes, close_code};
use tokio::sync::Notify;

use super::config::FeedConfig;

/// Why a connection is to end; said to the client in an error frame and a close frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    pub message: &'static str,
    pub reason: String,
    pub code: u16,
    pub kind: ClosingKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClosingKind {
    Slow,
    Misbehaving,
    Refused,
    Shutdown,
}

impl Closing {
    fn slow(what: &str) -> Self {
        Self {
            message: "Slow consumer",
            reason: format!("the connection did not read fast enough: {what}"),
            code: close_code::POLICY,
            kind: ClosingKind::Slow,
        }
    }

    pub fn stalled() -> Self {
        Self::slow("a write was blocked for too long")
    }
}

struct Waiting {
    text: Utf8Bytes,
    snapshot: bool,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    frames: usize,
    bytes: usize,
    snapshot_bytes: usize,
    closing: Option<Closing>,
}

/// What a look into the outbox finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nothing waits.
    Nothing,
    /// All that waited was taken.
    All,
    /// More waits.
    Some,
    /// The connection is to end.
    Closing(Closing),
}

/// The queue of one connection. Putting something in never waits.
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    wake: Notify,
    closed: Notify,
    frames_max: usize,
    bytes_max: usize,
    snapshot_bytes_max: usize,
}

impl Outbox {
    pub fn new(config: &FeedConfig) -> Self {
        Self {
            queue: Mutex::default(),
            wake: Notify::new(),
            closed: Notify::new(),
            frames_max: config.queue_frames_max,
            bytes_max: config.queue_bytes_max,
            snapshot_bytes_max: config.queue_snapshot_bytes_max,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // The queue is consistent between any two of its statements.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a message at the end, or drops all that waits and ends the connection if there is no
    /// room.
    pub fn push(&self, text: &Utf8Bytes) {
        let mut queue = self.lock();
        if queue.closing.is_some() {
            return;
        }
        if queue.frames >= self.frames_max {
            self.end(queue, Closing::slow("too many messages wait"));
            return;
        }
        if queue.bytes + text.len() > self.bytes_max {
            self.end(queue, Closing::slow("too many bytes wait"));
            return;
        }
        queue.frames += 1;
        queue.bytes += text.len();
        self.put(queue, text, false);
    }

    /// Like [`Outbox::push`], for what the client asked for itself: counted on its own, since one
    /// of it may be larger than all that may wait otherwise.
    pub fn push_snapshot(&self, text: &Utf8Bytes) {
        let mut queue = self.lock();
        if queue.closing.is_some() {
            return;
        }
        if queue.snapshot_bytes + text.len() > self.snapshot_bytes_max {
            self.end(queue, Closing::slow("too many bytes of snapshots wait"));
            return;
        }
        queue.snapshot_bytes += text.len();
        self.put(queue, text, true);
    }

    fn put(&self, mut queue: MutexGuard<'_, Queue>, text: &Utf8Bytes, snapshot: bool) {
        let first = queue.waiting.is_empty();
        queue.waiting.push_back(Waiting {
            text: text.clone(),
            snapshot,
        });
        drop(queue);
        if first {
            self.wake.notify_one();
        }
    }

    /// Ends the connection; what waits is not sent any more. The first reason counts.
    pub fn close(&self, closing: Closing) {
        self.end(self.lock(), closing);
    }

    fn end(&self, mut queue: MutexGuard<'_, Queue>, closing: Closing) {
        if queue.closing.is_some() {
            return;
        }
        *queue = Queue {
            closing: Some(closing),
            ..Queue::default()
        };
        drop(queue);
        self.wake.notify_one();
        self.closed.notify_one();
    }

    /// Moves what waits into `batch`, up to about `bytes`.
    pub fn take(&self, batch: &mut Vec<Utf8Bytes>, bytes: usize) -> Taken {
        let mut queue = self.lock();
        if let Some(closing) = &queue.closing {
            return Taken::Closing(closing.clone());
        }
        let mut taken = 0;
        while taken < bytes
            && let Some(next) = queue.waiting.pop_front()
        {
            let len = next.text.len();
            taken += len;
            if next.snapshot {
                queue.snapshot_bytes -= len;
            } else {
                queue.frames -= 1;
                queue.bytes -= len;
            }
            batch.push(next.text);
        }
        match (batch.is_empty(), queue.waiting.is_empty()) {
            (true, _) => Taken::Nothing,
            (false, true) => Taken::All,
            (false, false) => Taken::Some,
        }
    }

    /// Waits until there may be something to take.
    pub async fn ready(&self) {
        self.wake.notified().await;
    }

    /// Waits until the connection is to end, and says why.
    pub async fn closed(&self) -> Closing {
        loop {
            let closed = self.closed.notified();
            if let Some(closing) = &self.lock().closing {
                return closing.clone();
            }
            closed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Outbox {
        Outbox::new(&FeedConfig {
            queue_frames_max: 3,
            queue_bytes_max: 10,
            queue_snapshot_bytes_max: 20,
            ..FeedConfig::default()
        })
    }

    fn text(text: &str) -> Utf8Bytes {
        Utf8Bytes::from(text)
    }

    #[test]
    fn takes_in_order_and_in_parts() {
        let outbox = outbox();
        let mut batch = Vec::new();
        assert_eq!(outbox.take(&mut batch, 100), Taken::Nothing);
        for part in ["a", "bb", "c"] {
            outbox.push(&text(part));
        }
        assert_eq!(outbox.take(&mut batch, 3), Taken::Some);
        assert_eq!(batch, [text("a"), text("bb")]);
        batch.clear();
        assert_eq!(outbox.take(&mut batch, 3), Taken::All);
        assert_eq!(batch, [text("c")]);
    }

    #[test]
    fn one_frame_too_many_replaces_the_queue_by_its_end() {
        let outbox = outbox();
        for _ in 0..4 {
            outbox.push(&text("x"));
        }
        let mut batch = Vec::new();
        let Taken::Closing(closing) = outbox.take(&mut batch, 100) else {
            panic!("must close");
        };
        assert!(batch.is_empty());
        assert_eq!(closing.kind, ClosingKind::Slow);
        assert_eq!(outbox.lock().waiting.len(), 0);
        outbox.push(&text("late"));
        assert_eq!(outbox.lock().waiting.len(), 0);
    }

    #[test]
    fn bytes_are_bounded_and_given_back_and_snapshots_have_their_own_bound() {
        let outbox = outbox();
        let mut batch = Vec::new();
        outbox.push_snapshot(&text("a snapshot of 19 by"));
        outbox.push(&text("0123456789"));
        assert_eq!(outbox.take(&mut batch, 100), Taken::All);
        outbox.push_snapshot(&text("a snapshot of 19 by"));
        outbox.push(&text("0123456789"));
        assert_eq!(outbox.take(&mut batch, 100), Taken::All);
        outbox.push_snapshot(&text("a snapshot of 19 by"));
        outbox.push_snapshot(&text("a snapshot of 19 by"));
        assert!(matches!(outbox.take(&mut batch, 100), Taken::Closing(_)));
    }
}
