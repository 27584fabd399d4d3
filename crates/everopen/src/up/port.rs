//! The gateway's port, plugged into the replica of this process.

use everopen_domain::Command;
use everopen_gateway::{BoxFuture, CommandPort, Outcome, PortError};
use everopen_replica::{Handle, Refusal};
use tokio::sync::oneshot;

pub struct ReplicaPort(pub Handle);

fn error(refusal: Refusal) -> PortError {
    match refusal {
        Refusal::Busy { retry_after } => PortError::Busy {
            retry_after_ms: retry_after.as_millis() as u64,
        },
        Refusal::JournalFull => PortError::JournalFull,
        Refusal::TooLarge | Refusal::Stopped => PortError::Unavailable,
        Refusal::OutcomeUnknown => PortError::OutcomeUnknown,
    }
}

impl CommandPort for ReplicaPort {
    fn submit(&self, command: Command) -> BoxFuture<'_, Result<Outcome, PortError>> {
        let (tell, told) = oneshot::channel();
        let submitted = self
            .0
            .submit(command, Box::new(move |outcome| drop(tell.send(outcome))));
        Box::pin(async move {
            submitted.map_err(error)?;
            let outcome = told
                .await
                .map_err(|_| PortError::OutcomeUnknown)?
                .map_err(error)?;
            Ok(Outcome {
                index: outcome.index,
                time: outcome.time,
                events: outcome.events,
            })
        })
    }

    fn is_ready(&self) -> bool {
        !self.0.stats().has_ended()
    }
}
