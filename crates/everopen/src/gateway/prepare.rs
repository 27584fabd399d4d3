//! What a gateway sees to before its venue counts as ready: that the first entries of the log are
//! there, once, however many gateways start at the same time.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use everopen_client::Refusal;
use everopen_domain::{Command, Event, LogIndex};

use super::{Shared, demo, genesis, market};
use crate::config::gateway::Market;

/// Between two tries when no replica leads.
const AGAIN: Duration = Duration::from_millis(100);
/// How long the views may take to show what was answered.
const VIEWS: Duration = Duration::from_secs(30);

/// Sees to the first entries and starts the simulated market, if it is wanted. Comes back without
/// one when it is stopped.
///
/// # Errors
/// When the venue is not what it has to be.
pub fn prepare(
    shared: &Shared,
    wanted: Option<(Market, PathBuf)>,
    stop: &AtomicBool,
    events: Receiver<Vec<Event>>,
) -> Result<Option<market::Market>> {
    if !catch_up(shared, stop, None)? {
        return Ok(None);
    }
    let is_new = read(shared).assets().is_empty();
    if is_new {
        if !execute(shared, genesis::venue, stop, &|shared| {
            !read(shared).assets().is_empty()
        })? {
            return Ok(None);
        }
        // Another gateway may have been quicker; then this one's commands were refused, which is
        // right only if the same is there now.
        genesis::check(&read(shared))
            .map_err(|what| anyhow!("the venue is not new, but {what}"))?;
    }
    let mut running = None;
    if let Some((wanted, folder)) = wanted {
        let is_fresh = |shared: &Shared| genesis::is_without_market(&read(shared));
        if is_fresh(shared) && !execute(shared, genesis::market, stop, &|s| !is_fresh(s))? {
            return Ok(None);
        }
        let participants = demo::participants(wanted, &read(shared));
        let lock = market::lock_file(&folder)?;
        running = Some(market::Market::start(
            participants,
            shared.clone(),
            events,
            lock,
        )?);
    }
    shared.is_prepared.store(true, Ordering::Release);
    tracing::info!(new = is_new, "the venue is ready");
    Ok(running)
}

fn read(shared: &Shared) -> std::sync::RwLockReadGuard<'_, everopen_views::Views> {
    shared
        .views
        .read()
        .expect("invariant: views are never left half written")
}

/// Waits until the views show all that was in the log when this was called. False when stopped, or when
/// that took longer than `patience`.
///
/// # Errors
/// When the log can't be followed any more.
pub fn catch_up(shared: &Shared, stop: &AtomicBool, patience: Option<Duration>) -> Result<bool> {
    let begun = Instant::now();
    loop {
        if let Some(index) = read_index(shared) {
            if shared.visible.wait(index, VIEWS) {
                return Ok(true);
            }
            if let Some(why) = shared.visible.ended() {
                bail!("{why}");
            }
        }
        let is_late = patience.is_some_and(|patience| begun.elapsed() >= patience);
        if is_late || stop.load(Ordering::Acquire) {
            return Ok(false);
        }
        std::thread::sleep(AGAIN);
    }
}

fn read_index(shared: &Shared) -> Option<LogIndex> {
    let (tell, told) = sync_channel(1);
    let answer = Box::new(move |read| {
        let _ = tell.send(read);
    });
    shared.client.read_index(answer).ok()?;
    told.recv_timeout(VIEWS).ok()?.ok()
}

/// Executes commands until they are through or no longer needed. False when stopped.
fn execute(
    shared: &Shared,
    commands: fn() -> Vec<Command>,
    stop: &AtomicBool,
    is_done: &dyn Fn(&Shared) -> bool,
) -> Result<bool> {
    loop {
        match shared.client.execute(commands()) {
            Ok(outcome) => {
                if !shared.visible.wait(outcome.index, VIEWS) {
                    bail!("entry {} does not come to this gateway", outcome.index.0);
                }
                return Ok(true);
            }
            Err(Refusal::TooLarge) => bail!("the first commands do not fit into an entry"),
            Err(refusal) => tracing::warn!("the venue is not prepared yet: {refusal}"),
        }
        // It may be in the log all the same.
        if !catch_up(shared, stop, None)? {
            return Ok(false);
        }
        if is_done(shared) {
            return Ok(true);
        }
        if stop.load(Ordering::Acquire) {
            return Ok(false);
        }
        std::thread::sleep(AGAIN);
    }
}
