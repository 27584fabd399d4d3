//! What follows the log inside the venue's process: the views, the feed, and whoever taps in.

use std::sync::mpsc::{SyncSender, TrySendError};
use std::sync::{Arc, Mutex, RwLock};

use everopen_domain::Event;
use everopen_gateway::feed::Feed;
use everopen_replica::{Applied, Reader};
use everopen_views::Views;

/// Where the feed comes to be. It is made of the views as they are once the log's past has been
/// read; until then nobody can have subscribed. Whoever makes it holds the lock meanwhile, so that
/// no entry passes between the views that it saw and the first that it is given.
pub type FeedSlot = Arc<Mutex<Option<Arc<Feed>>>>;

/// Views and feed, and a copy of all events for the simulated market.
pub struct Follower {
    views: Arc<RwLock<Views>>,
    feed: FeedSlot,
    tap: Option<SyncSender<Vec<Event>>>,
    counts: Arc<super::summary::Counts>,
}

impl Follower {
    pub fn new(
        views: Arc<RwLock<Views>>,
        feed: FeedSlot,
        tap: Option<SyncSender<Vec<Event>>>,
        counts: Arc<super::summary::Counts>,
    ) -> Self {
        Self {
            views,
            feed,
            tap,
            counts,
        }
    }
}

impl Reader for Follower {
    fn applied(&mut self, entry: &Applied<'_>) {
        let slot = self
            .feed
            .lock()
            .expect("invariant: nothing panics while the feed is made");
        let Some(feed) = &*slot else {
            return apply(&self.views, entry);
        };
        feed.publish(entry.index, entry.time, entry.events);
        drop(slot);
        self.counts.add(entry.events);
        if let Some(tap) = &self.tap {
            // The simulated market may miss events when it is behind (it finds its orders refused
            // and goes on); the venue never waits for it.
            if let Err(TrySendError::Disconnected(_)) = tap.try_send(entry.events.to_vec()) {
                self.tap = None;
            }
        }
    }

    fn checkpoint(&mut self) -> Vec<u8> {
        checkpoint(&self.views)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        restore(&self.views, bytes)
    }
}

/// Views alone, for tools on a stopped venue.
pub struct ViewsOnly(pub Arc<RwLock<Views>>);

impl Reader for ViewsOnly {
    fn applied(&mut self, entry: &Applied<'_>) {
        apply(&self.0, entry);
    }

    fn checkpoint(&mut self) -> Vec<u8> {
        checkpoint(&self.0)
    }

    fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        restore(&self.0, bytes)
    }
}

fn apply(views: &RwLock<Views>, entry: &Applied<'_>) {
    let mut views = views
        .write()
        .expect("invariant: views are never left half written");
    views.advance(entry.index, entry.time);
    for event in entry.events {
        views.apply(entry.index, entry.time, event);
    }
}

fn checkpoint(views: &RwLock<Views>) -> Vec<u8> {
    let views = views
        .read()
        .expect("invariant: views are never left half written");
    postcard::to_stdvec(&views.to_checkpoint()).expect("invariant: views serialize into memory")
}

fn restore(views: &RwLock<Views>, bytes: &[u8]) -> Result<(), String> {
    let checkpoint = postcard::from_bytes(bytes).map_err(|e| format!("views: {e}"))?;
    let restored = Views::restore(everopen_views::Config::default(), checkpoint);
    *views
        .write()
        .expect("invariant: views are never left half written") = restored;
    Ok(())
}
