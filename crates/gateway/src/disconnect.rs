//! Cancel on disconnect: the feed says whose connection is gone, this submits the cancel.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use everopen_domain::{CancelReason, Command, MemberId};

use crate::feed::DisconnectPort;
use crate::port::{CommandPort, PortError};

/// How often a cancel is tried when the venue is busy; with the waits between them half a minute.
const TRIES: u32 = 60;
const WAIT: Duration = Duration::from_millis(500);

/// Submits the cancels of members whose connections ended.
pub struct Disconnects {
    port: Arc<dyn CommandPort>,
    pending: Arc<AtomicU32>,
}

impl Disconnects {
    /// Submits to `port`.
    pub fn new(port: Arc<dyn CommandPort>) -> Self {
        Self {
            port,
            pending: Arc::default(),
        }
    }

    /// Cancels that are not through yet.
    pub fn pending(&self) -> u32 {
        self.pending.load(Ordering::Acquire)
    }
}

impl DisconnectPort for Disconnects {
    fn disconnected(&self, member: MemberId) {
        let (port, pending) = (self.port.clone(), self.pending.clone());
        pending.fetch_add(1, Ordering::AcqRel);
        tokio::spawn(async move {
            let command = Command::CancelOrders {
                member,
                instrument: None,
                reason: CancelReason::Disconnected,
            };
            let mut result = Err(PortError::Unavailable);
            for _ in 0..TRIES {
                result = port.submit(command).await.map(|_| ());
                // A second cancel changes nothing, so an unknown outcome is tried again, too.
                if result.is_ok() {
                    break;
                }
                tokio::time::sleep(WAIT).await;
            }
            if let Err(error) = result {
                tracing::error!(member = member.0, %error, "orders not canceled on disconnect");
            }
            pending.fetch_sub(1, Ordering::AcqRel);
        });
    }
}
