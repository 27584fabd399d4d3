//! When a leader lets another lead: before it ends, and while its disk is full or hangs.

use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::event_loop::Inner;

/// How long a leader that stops waits for another to take over.
const HANDOVER: Duration = Duration::from_millis(1_500);
/// How long it looks for one that could: some of its heartbeats.
const SUCCESSOR: Duration = Duration::from_millis(120);
/// Between two attempts of a leader whose disk is full or hangs, at first and at most: where all disks
/// are, the lead goes round, and it should not go fast.
const RELIEF_LEAST: Duration = Duration::from_secs(1);
const RELIEF_MOST: Duration = Duration::from_secs(60);

/// What was asked for and tried so far.
#[derive(Debug, Default)]
pub(super) struct Handover {
    /// Since when it is to end.
    stopping: Option<Instant>,
    /// When it last tried to let another lead for its disk's sake, and how long it then waits.
    relief: Option<(Instant, Duration)>,
}

impl Inner {
    pub(super) fn hand_over(&mut self, now: Instant) {
        self.begin_to_stop(now);
        self.relieve(now);
    }

    fn begin_to_stop(&mut self, now: Instant) {
        if !self.shown.stop.load(Relaxed) {
            return;
        }
        let since = *self.handover.stopping.get_or_insert(now);
        if !self.core.is_leader() || self.core.is_handing_over() {
            return;
        }
        // Who can be reached is not known at every moment, and one that was chosen may die.
        if let Err(reason) = self.core.transfer(None)
            && now.duration_since(since) >= SUCCESSOR
        {
            tracing::info!(reason, "the lead is not handed over");
            self.handover.stopping = Some(now - HANDOVER);
        }
    }

    /// Another may have room, or a disk that writes, where this one has none.
    fn relieve(&mut self, now: Instant) {
        let hangs = self
            .threads
            .desk
            .as_mut()
            .is_some_and(|desk| desk.hangs(now));
        let is_full = self.threads.progress.full.load(Relaxed);
        if !is_full && !hangs {
            self.handover.relief = None;
            return;
        }
        let due = |(tried, wait): (Instant, Duration)| now.duration_since(tried) >= wait;
        if !self.core.is_leader()
            || self.core.is_handing_over()
            || !self.handover.relief.is_none_or(due)
        {
            return;
        }
        let wait = match self.handover.relief {
            None => RELIEF_LEAST,
            Some((_, wait)) => (wait * 2).min(RELIEF_MOST),
        };
        self.handover.relief = Some((now, wait));
        if let Ok(to) = self.core.transfer(None) {
            match is_full {
                true => tracing::warn!(to, "there is no room for the log here: another is to lead"),
                false => tracing::warn!(to, "the disk does not write: another is to lead"),
            }
        }
    }

    /// Whether a stop that was asked for can be carried out now.
    pub(super) fn is_done(&self) -> bool {
        let Some(since) = self.handover.stopping else {
            return false;
        };
        let handed = !self.core.is_leader() && self.core.leader().is_some();
        let others = self.core.state().conf.voters.len() > 1;
        (handed && self.tickets.len() == 0) || !others || since.elapsed() >= HANDOVER
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.handover.stopping.is_some()
    }
}
