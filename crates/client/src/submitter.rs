//! The thread that submits and reads: the network on one side, the desk on the other.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use everopen_rpc::{Hub, Limits, Security};

use crate::desk::Desk;
use crate::shared::Shared;
use crate::{Config, Refusal};

/// Starts the thread.
pub(crate) fn start(config: &Config, shared: &Arc<Shared>) -> io::Result<()> {
    let hub = Hub::new(
        Limits::within_a_cluster(),
        Security::Mutual(Arc::clone(&config.identity)),
    )?;
    shared.add_waker(hub.waker());
    let mut nonce = [0; 8];
    getrandom::fill(&mut nonce).map_err(|error| io::Error::other(error.to_string()))?;
    let desk = Desk::new(Arc::clone(shared), u64::from_le_bytes(nonce));
    let ended = Ended(Arc::clone(shared));
    std::thread::Builder::new()
        .name("everopen-client".into())
        .spawn(move || {
            let _ended = ended;
            run(hub, desk);
        })?;
    Ok(())
}

/// However the thread ends: nothing more is accepted, and what was accepted and not looked at is
/// refused.
struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.set_leader(false);
        for job in self.0.close() {
            job.refuse(Refusal::Stopped);
        }
    }
}

fn run(mut hub: Hub, mut desk: Desk) {
    let mut jobs = VecDeque::new();
    loop {
        let patience = desk.patience(Instant::now());
        let turned = hub.turn(Some(patience), &mut |event| desk.hear(&event));
        if let Err(error) = turned {
            tracing::error!(%error, "the client's network failed");
            break;
        }
        if desk.is_stopped() {
            break;
        }
        desk.take_jobs(&mut jobs);
        desk.step(Instant::now(), &mut hub);
        hub.flush();
    }
    desk.end();
}
