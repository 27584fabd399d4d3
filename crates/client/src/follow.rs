//! The thread that follows the log.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use everopen_domain::{LogIndex, Timestamp};
use everopen_rpc::{Event, Hub, Limits, Security};
use everopen_wire::message::{Message, RefusalCode};

use crate::link::{Heard, Link};
use crate::pending::outcome;
use crate::shared::Shared;
use crate::{Config, Follower};

/// A replica that is silent for so long is left for another; a healthy one says at least how far it
/// is.
const SILENCE: Duration = Duration::from_secs(1);
/// A replica that lacks what the leader has for so long, and sends nothing, is left for another: it
/// may be cut off from the rest.
const BEHIND: Duration = Duration::from_secs(1);
/// The largest checkpoint that is taken.
const CHECKPOINT_BYTES_MAX: usize = 1 << 30;
/// The longest wait between two looks at the time.
const TURN: Duration = Duration::from_millis(50);

/// Starts the thread.
pub(crate) fn start(
    config: &Config,
    shared: &Arc<Shared>,
    follower: impl Follower,
    on_end: impl FnOnce(String) + Send + 'static,
) -> io::Result<()> {
    let hub = Hub::new(
        Limits::within_a_cluster(),
        Security::Mutual(Arc::clone(&config.identity)),
    )?;
    shared.add_waker(hub.waker());
    // Not all of them begin with the same replica.
    let mut place = [0; 2];
    getrandom::fill(&mut place).map_err(|error| io::Error::other(error.to_string()))?;
    let now = Instant::now();
    let following = Following {
        shared: Arc::clone(shared),
        link: Link::new(
            Arc::clone(shared),
            usize::from(u16::from_le_bytes(place)) % config.nodes.len().max(1),
        ),
        follower,
        last: 0,
        wants_checkpoint: false,
        asked: false,
        parts: None,
        heard: now,
        advanced: now,
        ended: None,
    };
    let end = OnEnd(Some(on_end));
    std::thread::Builder::new()
        .name("everopen-follow".into())
        .spawn(move || end.tell(run(hub, following)))?;
    Ok(())
}

/// Tells why following ended, also when the follower panicked.
struct OnEnd<F: FnOnce(String)>(Option<F>);

impl<F: FnOnce(String)> OnEnd<F> {
    fn tell(mut self, why: Option<String>) {
        let on_end = self.0.take();
        if let (Some(on_end), Some(why)) = (on_end, why) {
            on_end(why);
        }
    }
}

impl<F: FnOnce(String)> Drop for OnEnd<F> {
    fn drop(&mut self) {
        if let Some(on_end) = self.0.take()
            && std::thread::panicking()
        {
            on_end("the follower panicked".to_string());
        }
    }
}

/// Why it ended; none if by a stop.
fn run(mut hub: Hub, mut following: Following<impl Follower>) -> Option<String> {
    loop {
        let now = Instant::now();
        let wake_at = following.link.wake_at();
        let patience = wake_at.map_or(TURN, |at| at.saturating_duration_since(now).min(TURN));
        if let Err(error) = hub.turn(Some(patience), &mut |event| following.hear(&event)) {
            return Some(format!("the network failed: {error}"));
        }
        if following.shared.is_stopped() {
            return None;
        }
        if following.ended.is_some() {
            return following.ended;
        }
        following.step(Instant::now(), &mut hub);
        hub.flush();
    }
}

struct Following<F> {
    shared: Arc<Shared>,
    link: Link,
    follower: F,
    /// The last entry that the follower has.
    last: u64,
    /// Whether the follower needs a checkpoint before entries mean anything to it.
    wants_checkpoint: bool,
    /// Whether the replica was asked for the log.
    asked: bool,
    /// What came of a checkpoint.
    parts: Option<(LogIndex, Vec<u8>)>,
    /// When the replica last said anything.
    heard: Instant,
    /// When the follower last got anything.
    advanced: Instant,
    ended: Option<String>,
}

impl<F: Follower> Following<F> {
    fn hear(&mut self, event: &Event<'_>) {
        if self.ended.is_some() || self.shared.is_stopped() {
            return;
        }
        match self.link.hear(event) {
            Heard::Nothing => return,
            Heard::Lost => self.asked = false,
            Heard::Up => {
                self.asked = false;
                self.advanced = Instant::now();
            }
            Heard::Message(message) => {
                if let Err(wrong) = self.message(&message) {
                    tracing::error!(wrong, "a replica is left for another");
                    self.leave();
                }
            }
        }
        // After the follower has taken it, however long that took.
        self.heard = Instant::now();
    }

    /// What is wrong with the replica, if anything.
    fn message(&mut self, message: &Message<'_>) -> Result<(), &'static str> {
        match *message {
            Message::Entry {
                index,
                time,
                count,
                events,
            } => self.entry(index, time, count, events),
            Message::Checkpoint {
                index, last, chunk, ..
            } => self.checkpoint(index, last, chunk),
            Message::Refused { code, .. } => {
                match code {
                    RefusalCode::TooFarBehind => {
                        tracing::info!("the replicas no longer have what follows; starting anew");
                        self.wants_checkpoint = true;
                        self.parts = None;
                        self.asked = false;
                    }
                    code => {
                        tracing::debug!(%code, "a replica does not show its log");
                        self.leave();
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn entry(
        &mut self,
        index: LogIndex,
        time: Timestamp,
        count: u32,
        events: &[u8],
    ) -> Result<(), &'static str> {
        if self.wants_checkpoint || index.0 != self.last + 1 {
            // INV-CLIENT-4: what does not continue is not shown.
            return Err("an entry does not follow on the last one");
        }
        let entry = outcome(index, time, count, events).ok_or("an entry's events can't be read")?;
        self.follower.applied(index, time, &entry.events);
        self.last = index.0;
        self.advanced = Instant::now();
        self.link.is_good();
        Ok(())
    }

    fn checkpoint(
        &mut self,
        index: LogIndex,
        last: bool,
        chunk: &[u8],
    ) -> Result<(), &'static str> {
        if !self.wants_checkpoint {
            return Err("a checkpoint that was not asked for");
        }
        let (first, bytes) = self.parts.get_or_insert((index, Vec::new()));
        if *first != index {
            return Err("two checkpoints at once");
        }
        self.advanced = Instant::now();
        if bytes.len() + chunk.len() > CHECKPOINT_BYTES_MAX {
            self.ended = Some("the checkpoint is larger than any may be".into());
            return Ok(());
        }
        bytes.extend_from_slice(chunk);
        if last && let Some((_, bytes)) = self.parts.take() {
            if let Err(why) = self.follower.restore(index, &bytes) {
                self.ended = Some(why);
                return Ok(());
            }
            self.last = index.0;
            self.wants_checkpoint = false;
            self.advanced = Instant::now();
            self.link.is_good();
        }
        Ok(())
    }

    fn leave(&mut self) {
        self.asked = false;
        self.link.give_up();
    }

    fn step(&mut self, now: Instant, hub: &mut Hub) {
        if self.link.up().is_some() && self.asked {
            let silent = now.saturating_duration_since(self.heard) >= SILENCE;
            let behind = !self.wants_checkpoint
                && self.shared.seen() > self.last
                && now.saturating_duration_since(self.advanced) >= BEHIND;
            if silent || behind {
                tracing::debug!(silent, behind, "a replica is left for another");
                self.leave();
            } else if self.shared.seen() <= self.last {
                self.advanced = now;
            }
        }
        self.link.tend(now, hub);
        if let Some(conn) = self.link.up()
            && !self.asked
        {
            self.parts = None;
            match self.follower.position() {
                Some(position) => self.last = position.0,
                None => self.wants_checkpoint = true,
            }
            let mut frame = Vec::new();
            Message::Follow {
                after: if self.wants_checkpoint { 0 } else { self.last },
                checkpoint: self.wants_checkpoint,
            }
            .encode(&mut frame);
            // If the connection is gone the hub tells it in its next turn.
            let _ = hub.send(conn, &frame);
            self.asked = true;
            self.heard = now;
            self.advanced = now;
        }
    }
}
