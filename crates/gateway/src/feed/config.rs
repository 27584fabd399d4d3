//! The feed's limits: every queue, rate and wait has a name here.

use std::time::Duration;

/// Limits of the WebSocket feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedConfig {
    /// Connections at once; one more is closed with an error frame.
    pub connections_max: u32,
    /// Connections at once from one address.
    pub connections_per_address_max: u32,
    /// Channel and product pairs that one connection may hold.
    pub subscriptions_max: u32,
    /// Messages (pings included) that a client may send per second, refilled evenly.
    pub inbound_messages_per_second: u32,
    /// How many may come at once before that binds. Generous, since a client that subscribes to many
    /// products one by one is no attack; what it asks for is bounded by the queues.
    pub inbound_burst: u32,
    /// The largest message that a client may send.
    pub inbound_bytes_max: usize,
    /// Frames that may wait for one client; one more and it is dropped as too slow.
    pub queue_frames_max: usize,
    /// Bytes of frames that may wait for one client.
    pub queue_bytes_max: usize,
    /// Bytes of snapshots and replays, which a client asks for itself, that may wait for it.
    pub queue_snapshot_bytes_max: usize,
    /// How long a client may take to subscribe to something.
    pub subscribe_deadline: Duration,
    /// How long nothing may come from a client before it is pinged.
    pub ping_after: Duration,
    /// How long nothing may come from a client before it is given up.
    pub idle_timeout: Duration,
    /// How long one write may be blocked by a client that does not read.
    pub write_timeout: Duration,
    /// How long an orderly close may take before the socket is just dropped.
    pub close_grace: Duration,
    /// How often `level2_batch` and `level2_50` send.
    pub level2_batch_interval: Duration,
    /// How often `ticker_batch` sends.
    pub ticker_batch_interval: Duration,
    /// How often `heartbeat` sends.
    pub heartbeat_interval: Duration,
    /// How often `status` sends when nothing changes.
    pub status_interval: Duration,
    /// Recent `full` messages kept per product for `from_sequence`.
    pub replay_messages: usize,
    /// Changed levels that may wait for the next batch of one product; at that many it is sent
    /// at once.
    pub batch_levels_max: usize,
}

impl Default for FeedConfig {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            connections_per_address_max: 256,
            subscriptions_max: 1_000,
            inbound_messages_per_second: 100,
            inbound_burst: 2_000,
            inbound_bytes_max: 64 * 1024,
            queue_frames_max: 32_768,
            queue_bytes_max: 8 * 1024 * 1024,
            queue_snapshot_bytes_max: 64 * 1024 * 1024,
            subscribe_deadline: Duration::from_secs(5),
            ping_after: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(5),
            close_grace: Duration::from_secs(1),
            level2_batch_interval: Duration::from_millis(50),
            ticker_batch_interval: Duration::from_secs(5),
            heartbeat_interval: Duration::from_secs(1),
            status_interval: Duration::from_secs(30),
            replay_messages: 10_000,
            batch_levels_max: 10_000,
        }
    }
}
