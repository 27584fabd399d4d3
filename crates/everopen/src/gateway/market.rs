//! Runs the simulated market: a thread that lets its participants act at a steady rate.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::Receiver;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use everopen_client::Refusal;
use everopen_domain::{Event, Timestamp};
use everopen_orderflow::participants::Participants;
use rustix::fs::FlockOperation;

use super::Shared;

/// How often the participants act.
const PERIOD: Duration = Duration::from_millis(50);
/// After the venue was busy they leave it alone for so long.
const BACK_OFF: Duration = Duration::from_millis(500);

/// The running market.
pub struct Market {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Market {
    /// Starts the participants; `events` is everything that happens in the venue.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn start(
        participants: Participants,
        shared: Shared,
        events: Receiver<Vec<Event>>,
        lock: File,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("everopen-market".into())
            .spawn(move || {
                let mut participants = participants;
                if wait_for_turn(&mut participants, &events, &until, &lock) {
                    run(participants, &shared, &events, &until);
                }
            })
            .context("start the market's thread")?;
        Ok(Self { stop, thread })
    }

    /// Ends it; resting orders stay, as those of any member do.
    pub fn stop(self) {
        self.stop.store(true, Relaxed);
        self.thread.thread().unpark();
        if self.thread.join().is_err() {
            tracing::error!("the simulated market's thread panicked");
        }
    }
}

/// The file by whose lock one of several gateways runs the market.
///
/// # Errors
/// When it can't be opened.
pub fn lock_file(folder: &Path) -> Result<File> {
    let path = folder.join("market.lock");
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&path)
        .with_context(|| format!("open {}", path.display()))
}

/// Waits until no other gateway runs the market, and learns meanwhile what happens. False when stopped.
fn wait_for_turn(
    participants: &mut Participants,
    events: &Receiver<Vec<Event>>,
    stop: &AtomicBool,
    lock: &File,
) -> bool {
    while !stop.load(Relaxed) {
        match rustix::fs::flock(lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return true,
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => tracing::warn!(%error, "the market's lock can't be taken"),
        }
        while let Ok(events) = events.try_recv() {
            participants.observe(&events);
        }
        std::thread::park_timeout(PERIOD);
    }
    false
}

fn run(
    mut participants: Participants,
    shared: &Shared,
    events: &Receiver<Vec<Event>>,
    stop: &AtomicBool,
) {
    let mut next = Instant::now();
    while !stop.load(Relaxed) {
        while let Ok(events) = events.try_recv() {
            participants.observe(&events);
        }
        let mut commands = Vec::new();
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        participants.step(Timestamp(since.as_nanos() as u64), &mut commands);
        let mut pause = PERIOD;
        for group in commands.chunks(256) {
            // Wait for what became of it: a market that outruns its venue would only fill the
            // queue that members need.
            let begun = Instant::now();
            match shared.client.execute(group.to_vec()) {
                Ok(_) => shared.counts.answered(group.len() as u64, begun.elapsed()),
                Err(Refusal::Stopped) => return,
                // Nobody leads, perhaps; participants find out from events what became of it.
                Err(_) => {
                    pause = BACK_OFF;
                    break;
                }
            }
        }
        next = (next + pause).max(Instant::now());
        while !stop.load(Relaxed) && Instant::now() < next {
            std::thread::park_timeout(next.saturating_duration_since(Instant::now()));
        }
    }
}
