//! Waking a hub from another thread, without a system call when it is awake.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use mio::{Registry, Token};

/// The hub's thread is at work, or polls without waiting.
const AWAKE: u8 = 0;
/// It waits, or is about to, and must be woken.
const ASLEEP: u8 = 1;
/// It will look again before it waits.
const NOTIFIED: u8 = 2;

/// Ends the wait of [`crate::Hub::turn`], or keeps the next one from waiting. Usable from every
/// thread. Many wakes before the hub looks cost one system call, and none when it is awake.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: AtomicU8,
    waker: mio::Waker,
}

impl Waker {
    pub(crate) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        Ok(Self(Arc::new(Shared {
            state: AtomicU8::new(AWAKE),
            waker: mio::Waker::new(registry, token)?,
        })))
    }

    /// Wakes the hub. What was put into a queue before is seen by who looks into the queue after
    /// the turn.
    pub fn wake(&self) {
        if self.0.state.swap(NOTIFIED, Ordering::AcqRel) == ASLEEP
            && let Err(error) = self.0.waker.wake()
        {
            tracing::error!(%error, "cannot wake the event loop");
        }
    }

    /// Before a wait: whether it may be one. False when a wake came meanwhile.
    pub(crate) fn may_sleep(&self) -> bool {
        self.0
            .state
            .compare_exchange(AWAKE, ASLEEP, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Whether a wake has come since the last turn, to who does not wait.
    pub(crate) fn is_notified(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == NOTIFIED
    }

    /// After a wait: wakes from here on are for the next one.
    pub(crate) fn awake(&self) {
        self.0.state.swap(AWAKE, Ordering::AcqRel);
    }
}
