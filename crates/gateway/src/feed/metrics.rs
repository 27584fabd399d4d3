//! What the feed counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of the feed; all but `connections` only rise.
#[derive(Debug, Default)]
pub struct FeedMetrics {
    /// Connections open now.
    pub connections: AtomicU64,
    /// Connections ever opened.
    pub connections_total: AtomicU64,
    /// Connections refused because there were too many.
    pub connections_refused_total: AtomicU64,
    /// Clients dropped because they read too slowly.
    pub slow_clients_dropped_total: AtomicU64,
    /// Clients dropped because they sent too much, too large or nothing in time.
    pub misbehaving_clients_dropped_total: AtomicU64,
    /// Frames given to sockets.
    pub frames_sent_total: AtomicU64,
    /// Bytes of their texts.
    pub bytes_sent_total: AtomicU64,
    /// Messages received.
    pub messages_received_total: AtomicU64,
    /// Requests answered with an error frame.
    pub requests_refused_total: AtomicU64,
    /// Cancels on disconnect asked of the venue.
    pub disconnect_cancels_total: AtomicU64,
}

impl FeedMetrics {
    pub(super) fn add(counter: &AtomicU64, value: u64) {
        counter.fetch_add(value, Ordering::Relaxed);
    }
}
