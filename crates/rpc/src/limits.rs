//! Bounds of a hub, and how its connections are secured.

use std::sync::Arc;
use std::time::Duration;

use everopen_identity::Identity;

/// How much a hub holds for its peers, and for how long. At most a connection holds a frame that has
/// come in part and what waits to be written; before its handshake is done, some tens of KiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest frame that is sent or taken.
    pub frame_bytes_max: usize,
    /// Bytes that may wait to be written to one peer; at least one largest frame.
    pub outgoing_bytes_max: usize,
    /// Connections that others may have opened at once; one more is turned away. Those that the hub
    /// dials are not counted: it must reach its peers whoever else knocks.
    pub connections_max: usize,
    /// How long a connection may take from the first packet to the end of its handshake.
    pub handshake: Duration,
    /// Bytes that are read from one connection in a turn before the others have theirs.
    pub read_bytes_per_turn: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            frame_bytes_max: 4 << 20,
            outgoing_bytes_max: 32 << 20,
            connections_max: 256,
            handshake: Duration::from_secs(5),
            read_bytes_per_turn: 256 << 10,
        }
    }
}

impl Limits {
    /// For processes of one cluster. What a single command does can be much, for instance all
    /// orders of a large venue canceled at once, and must reach who follows the log in one frame;
    /// memory is taken as the bytes come, whatever a frame announces.
    #[must_use]
    pub fn within_a_cluster() -> Self {
        Self {
            frame_bytes_max: 512 << 20,
            outgoing_bytes_max: 768 << 20,
            connections_max: 1_024,
            ..Self::default()
        }
    }
}

/// How connections are secured. Both ends of one must be of the same kind.
#[derive(Clone, Debug)]
pub enum Security {
    /// TLS 1.3 with certificates of one authority on both sides.
    Mutual(Arc<Identity>),
    /// Nothing: who can reach the port can say anything, and everyone on the way can read it. For
    /// measuring what TLS costs and for simulations only.
    Plain,
}
