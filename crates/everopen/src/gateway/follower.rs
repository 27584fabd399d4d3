//! What follows the log in a process: views, feed, and whoever taps in.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, RwLock};

use everopen_domain::{Event, LogIndex, Timestamp};
use everopen_gateway::feed::Feed;
use everopen_replica::{Applied, Reader};
use everopen_views::Views;

use super::counts::Counts;
use super::visible::Visible;

/// Where the feed comes to be. It is made of the views as they are once a checkpoint was taken
/// back; until then nobody can have subscribed. Whoever makes it holds the lock meanwhile, so that
/// no entry passes between the views that it saw and the first that it is given.
pub type FeedSlot = Arc<Mutex<Option<Arc<Feed>>>>;

/// Views and feed of a gateway, and a copy of all events for the simulated market.
pub struct Follower {
    pub views: Arc<RwLock<Views>>,
    pub feed: FeedSlot,
    pub visible: Arc<Visible>,
    pub tap: Option<SyncSender<Vec<Event>>>,
    pub counts: Arc<Counts>,
}

impl everopen_client::Follower for Follower {
    fn position(&self) -> Option<LogIndex> {
        self.visible.index()
    }

    fn restore(&mut self, index: LogIndex, checkpoint: &[u8]) -> Result<(), String> {
        let slot = self
            .feed
            .lock()
            .expect("invariant: nothing panics while the feed is made");
        if slot.is_some() {
            // Subscribers would miss what lies between. They find each other again by sequence
            // when this gateway comes back.
            return Err(format!(
                "this gateway fell so far behind that the replicas no longer have the entries it needs (it is at {}, they begin after {})",
                self.visible.index().unwrap_or_default().0,
                index.0
            ));
        }
        if !checkpoint.is_empty() {
            restore(&self.views, checkpoint)?;
        }
        drop(slot);
        self.visible.advance(index);
        Ok(())
    }

    fn applied(&mut self, index: LogIndex, time: Timestamp, events: &[Event]) {
        let slot = self
            .feed
            .lock()
            .expect("invariant: nothing panics while the feed is made");
        match &*slot {
            Some(feed) => feed.publish(index, time, events),
            None => apply(&self.views, index, time, events),
        }
        drop(slot);
        self.counts.add(events);
        self.visible.advance(index);
        if let Some(tap) = &self.tap {
            // The simulated market may miss events when it is behind (it finds its orders refused
            // and goes on); the gateway never waits for it.
            if let Err(TrySendError::Disconnected(_)) = tap.try_send(events.to_vec()) {
                self.tap = None;
            }
        }
    }
}

/// Views alone: in a replica, so that its checkpoints can start gateways.
pub struct ViewsOnly(pub Arc<RwLock<Views>>);

impl ViewsOnly {
    /// Empty ones.
    pub fn new() -> Self {
        Self(Arc::new(RwLock::new(Views::new(
            everopen_views::Config::default(),
        ))))
    }
}

impl Reader for ViewsOnly {
    fn applied(&mut self, entry: &Applied<'_>) {
        apply(&self.0, entry.index, entry.time, entry.events);
    }

    fn checkpoint(&mut self) -> Vec<u8> {
        let views = self
            .0
            .read()
            .expect("invariant: views are never left half written");
        postcard::to_stdvec(&views.to_checkpoint()).expect("invariant: views serialize into memory")
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        restore(&self.0, bytes)
    }
}

fn apply(views: &RwLock<Views>, index: LogIndex, time: Timestamp, events: &[Event]) {
    let mut views = views
        .write()
        .expect("invariant: views are never left half written");
    views.advance(index, time);
    for event in events {
        views.apply(index, time, event);
    }
}

fn restore(views: &RwLock<Views>, bytes: &[u8]) -> Result<(), String> {
    let checkpoint = postcard::from_bytes(bytes).map_err(|e| format!("views: {e}"))?;
    let restored = Views::restore(everopen_views::Config::default(), checkpoint);
    *views
        .write()
        .expect("invariant: views are never left half written") = restored;
    Ok(())
}
