//! Makes the next segment on a helper thread before it is needed.
use crate::error::is_no_space;
use crate::files::Dir;
use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;

#[derive(Debug)]
enum State {
    /// The file was taken and has to be renamed before the next is asked for.
    Idle,
    Wanted,
    Making,
    Ready(File),
    Failed(io::Error),
    Stopped,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    stop: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("invariant: no thread panics while it holds the reserve")
    }

    /// Waits until the helper has an answer.
    fn settled(&self) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while matches!(*state, State::Wanted | State::Making) {
            state = self
                .changed
                .wait(state)
                .expect("invariant: the reserve's helper lives");
        }
        state
    }
}

/// Why there is no next segment.
#[derive(Debug)]
pub(crate) enum Refusal {
    NoSpace,
    Fault(io::Error),
}

/// On Linux, niceness is a thread's own.
const HELPER_NICENESS: i32 = 10;

/// The next segment, or the attempt to make it.
#[derive(Debug)]
pub(crate) struct Reserve {
    shared: Arc<Shared>,
    helper: Option<JoinHandle<()>>,
}

impl Reserve {
    /// Starts the helper and asks it for a segment at once.
    pub fn start(dir: Dir, segment_bytes: u64) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State::Wanted),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let helper = std::thread::Builder::new()
            .name("journal-reserve".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || {
                    // Whoever commits goes first. Where that is not allowed, nothing is lost.
                    let _ = rustix::process::nice(HELPER_NICENESS);
                    help(&shared, &dir, segment_bytes);
                }
            })?;
        Ok(Self {
            shared,
            helper: Some(helper),
        })
    }

    /// Asks for a segment unless there is one or one is being made.
    pub fn request(&self) {
        let mut state = self.shared.lock();
        if matches!(*state, State::Idle | State::Failed(_)) {
            *state = State::Wanted;
            self.shared.changed.notify_all();
        }
    }

    /// Takes the segment, waiting while it is being made.
    pub fn take(&self) -> Result<File, Refusal> {
        let mut state = self.shared.settled();
        match std::mem::replace(&mut *state, State::Idle) {
            State::Ready(file) => Ok(file),
            State::Failed(error) => {
                let refusal = refusal(&error);
                *state = State::Failed(error);
                Err(refusal)
            }
            other => {
                *state = other;
                Err(Refusal::Fault(io::Error::other("the reserve has stopped")))
            }
        }
    }

    /// Gives a segment back that could not be used after all.
    pub fn put_back(&self, file: File) {
        *self.shared.lock() = State::Ready(file);
    }

    /// Whether a segment is ready now.
    pub fn is_ready(&self) -> bool {
        matches!(*self.shared.lock(), State::Ready(_))
    }

    /// Whether the last attempt to make one failed.
    pub fn has_failed(&self) -> bool {
        matches!(*self.shared.lock(), State::Failed(_))
    }

    /// Tries again if the last attempt failed, and waits for the answer to that.
    pub fn retry(&self) -> Result<(), Refusal> {
        if !matches!(*self.shared.lock(), State::Failed(_)) {
            return Ok(());
        }
        self.request();
        match &*self.shared.settled() {
            State::Failed(error) => Err(refusal(error)),
            _ => Ok(()),
        }
    }
}

fn refusal(error: &io::Error) -> Refusal {
    if is_no_space(error) {
        return Refusal::NoSpace;
    }
    Refusal::Fault(io::Error::new(error.kind(), error.to_string()))
}

fn help(shared: &Shared, dir: &Dir, segment_bytes: u64) {
    let mut state = shared.lock();
    loop {
        match *state {
            State::Stopped => return,
            State::Wanted => {
                *state = State::Making;
                drop(state);
                let made = dir.reserve(segment_bytes, &shared.stop);
                state = shared.lock();
                if matches!(*state, State::Stopped) {
                    return;
                }
                *state = match made {
                    Ok(file) => State::Ready(file),
                    Err(error) => State::Failed(error),
                };
                shared.changed.notify_all();
            }
            _ => {
                state = shared
                    .changed
                    .wait(state)
                    .expect("invariant: the journal lives")
            }
        }
    }
}

impl Drop for Reserve {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        *self.shared.lock() = State::Stopped;
        self.shared.changed.notify_all();
        if let Some(helper) = self.helper.take() {
            // It cannot panic other than by the invariants above; nothing is lost with it.
            let _ = helper.join();
        }
    }
}
