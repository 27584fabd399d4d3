//! The gateway's port, plugged into a client of the cluster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Acquire};
use std::time::{Duration, Instant};

use everopen_client::{Client, Refusal};
use everopen_domain::{Command, LogIndex};
use everopen_gateway::{BoxFuture, CommandPort, Outcome, PortError};
use tokio::sync::oneshot;

use super::counts::Counts;
use super::visible::Visible;

/// What a client should wait before it tries again when too much waits for the views.
const BUSY_RETRY_MS: u64 = 100;
/// How long an outcome may wait for the views to show it.
const VIEWS: Duration = Duration::from_secs(8);

/// Submits to the cluster, and answers when this gateway's views show what became of it.
pub struct ClusterPort {
    pub client: Client,
    pub visible: Arc<Visible>,
    pub counts: Arc<Counts>,
    /// The venue's first entries are there.
    pub is_prepared: Arc<AtomicBool>,
}

fn error(refusal: Refusal) -> PortError {
    match refusal {
        Refusal::Busy { retry_after } => PortError::Busy {
            retry_after_ms: retry_after.as_millis() as u64,
        },
        Refusal::JournalFull => PortError::JournalFull,
        Refusal::TooLarge | Refusal::Unavailable | Refusal::Stopped => PortError::Unavailable,
        Refusal::OutcomeUnknown => PortError::OutcomeUnknown,
    }
}

impl ClusterPort {
    fn check_room(&self) -> Result<(), PortError> {
        if self.visible.is_full() {
            return Err(PortError::Busy {
                retry_after_ms: BUSY_RETRY_MS,
            });
        }
        Ok(())
    }
}

impl CommandPort for ClusterPort {
    fn submit(&self, command: Command) -> BoxFuture<'_, Result<Outcome, PortError>> {
        let begun = Instant::now();
        let (tell, told) = oneshot::channel();
        let visible = Arc::clone(&self.visible);
        let answer =
            Box::new(
                move |outcome: Result<everopen_client::Outcome, Refusal>| match outcome {
                    Ok(outcome) => {
                        let index = outcome.index;
                        visible.once(index, Box::new(move || drop(tell.send(Ok(outcome)))));
                    }
                    Err(refusal) => drop(tell.send(Err(refusal))),
                },
            );
        let submitted = self
            .check_room()
            .and_then(|()| self.client.submit(vec![command], answer).map_err(error));
        Box::pin(async move {
            submitted?;
            // What became of it is known to the cluster, but this gateway can't show it: unknown
            // is what it is to whoever reads here.
            let outcome = tokio::time::timeout(VIEWS, told)
                .await
                .map_err(|_| PortError::OutcomeUnknown)?
                .map_err(|_| PortError::OutcomeUnknown)?
                .map_err(error)?;
            self.counts.answered(1, begun.elapsed());
            Ok(Outcome {
                index: outcome.index,
                time: outcome.time,
                events: outcome.events,
            })
        })
    }

    fn barrier(&self) -> BoxFuture<'_, Result<LogIndex, PortError>> {
        let (tell, told) = oneshot::channel();
        let visible = Arc::clone(&self.visible);
        let answer = Box::new(move |read: Result<LogIndex, Refusal>| match read {
            Ok(index) => visible.once(
                index,
                Box::new(move || {
                    let _ = tell.send(Ok(index));
                }),
            ),
            Err(refusal) => {
                let _ = tell.send(Err(refusal));
            }
        });
        let asked = self
            .check_room()
            .and_then(|()| self.client.read_index(answer).map_err(error));
        Box::pin(async move {
            asked?;
            // Nothing was submitted, so whatever is missing may simply be asked for again.
            tokio::time::timeout(VIEWS, told)
                .await
                .ok()
                .and_then(Result::ok)
                .and_then(Result::ok)
                .ok_or(PortError::Unavailable)
        })
    }

    fn is_ready(&self) -> bool {
        self.is_prepared.load(Acquire) && self.client.has_leader()
    }
}
