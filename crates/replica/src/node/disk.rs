//! Making writes durable: by the loop itself when that is quick, else by the journal's thread, in
//! groups.
//!
//! Handing a write to another thread and being woken by it takes about as long as the disk does
//! when there is one small write at a time. The thread is for all that lets the loop wait: writes
//! that come while another one is under way, large ones, and disks that have become slow.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::Release};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use everopen_journal::SnapshotRef;
use everopen_rpc::Waker;

use crate::boot::Note;
use crate::core::Write;
use crate::disk::{Writer, Wrote};
use crate::recovery::Fault;

/// Writes that one commit takes at most.
const GROUP: usize = 256;
/// How often a full disk is looked at.
const RETRY: Duration = Duration::from_millis(50);
/// Bytes that the loop writes itself at most.
const INLINE_BYTES_MAX: usize = 64 << 10;
/// A disk that took so long for a write of the loop's is left to the thread, until it was quicker for so
/// many of the thread's writes in a row, or for so long.
const SLOW: Duration = Duration::from_millis(5);
const QUICK_AGAIN: u32 = 16;
const SLOW_FOR: Duration = Duration::from_secs(1);

/// For the journal's thread.
pub(super) enum Order {
    Write(Write),
    Retire,
    Stop,
}

/// What the journal's thread says to the loop.
#[derive(Debug)]
pub(super) struct Progress {
    /// The last write that is durable.
    pub durable: AtomicU64,
    /// Whether there is no room.
    pub full: AtomicBool,
    /// Bytes appended since the start.
    pub bytes: AtomicU64,
    /// The thread's writes since the last slow one.
    pub quick: AtomicU32,
    /// A state that was taken over: its file.
    pub installed: Mutex<Option<SnapshotRef>>,
}

/// The loop's end of the disk.
#[derive(Debug)]
pub(super) struct Desk {
    writer: Arc<Mutex<Writer>>,
    orders: Sender<Order>,
    progress: Arc<Progress>,
    /// The last write that was given to either.
    given: u64,
    /// Until when the disk is left to the thread at most.
    slow_until: Option<Instant>,
}

impl Desk {
    pub fn new(
        writer: Arc<Mutex<Writer>>,
        orders: Sender<Order>,
        progress: Arc<Progress>,
        given: u64,
    ) -> Self {
        Self {
            writer,
            orders,
            progress,
            given,
            slow_until: None,
        }
    }

    /// Whether [`Desk::write`] would carry these out at once.
    pub fn is_quick(&self, writes: &[Write]) -> bool {
        let bytes: usize = writes.iter().map(Write::bytes).sum();
        bytes <= INLINE_BYTES_MAX
            && self.progress.durable.load(Relaxed) == self.given
            && writes.iter().all(|write| write.install.is_none())
            && !self.is_slow()
    }

    fn is_slow(&self) -> bool {
        self.slow_until.is_some_and(|until| {
            self.progress.quick.load(Relaxed) < QUICK_AGAIN && until > Instant::now()
        })
    }

    /// Gives writes to the thread.
    pub fn hand_over(&mut self, writes: impl IntoIterator<Item = Write>) {
        for write in writes {
            self.given = write.number;
            // A thread that has ended is noticed in the next turn.
            let _ = self.orders.send(Order::Write(write));
        }
    }

    /// Makes writes durable now, and gives to the thread what can't be.
    pub fn write(&mut self, writes: Vec<Write>) -> Result<(), Fault> {
        let mut writes = writes.into_iter();
        if let Ok(mut writer) = self.writer.try_lock() {
            let began = Instant::now();
            let mut done = None;
            for write in writes.by_ref() {
                self.given = write.number;
                if writer.append(&write)? == Wrote::Full {
                    // The thread goes on with it where this stopped.
                    let _ = self.orders.send(Order::Write(write));
                    break;
                }
                self.progress.bytes.fetch_add(write.bytes() as u64, Relaxed);
                done = Some(write.number);
            }
            if let Some(done) = done {
                writer.commit()?;
                self.progress.durable.store(done, Release);
            }
            let is_slow = began.elapsed() > SLOW;
            if is_slow {
                self.progress.quick.store(0, Relaxed);
            }
            self.slow_until = is_slow.then(|| Instant::now() + SLOW_FOR);
        }
        self.hand_over(writes);
        Ok(())
    }

    /// What is retained no longer may be deleted.
    pub fn retire(&self) {
        let _ = self.orders.send(Order::Retire);
    }

    /// Nothing more comes after what was given.
    pub fn stop(&self) {
        let _ = self.orders.send(Order::Stop);
    }
}

fn lock(writer: &Mutex<Writer>) -> Result<MutexGuard<'_, Writer>, Fault> {
    // The loop panicked in the middle of a write.
    writer.lock().map_err(|_| Fault::Panicked)
}

pub(super) fn run(
    writer: &Mutex<Writer>,
    note: &Note,
    orders: &Receiver<Order>,
    progress: &Arc<Progress>,
    waker: &Waker,
) -> Result<(), Fault> {
    let mut stopping = false;
    while !stopping {
        let mut order = match orders.recv_timeout(RETRY) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let mut writer = lock(writer)?;
        if order.is_none() {
            writer.rest()?;
            look_for_room(&mut writer, progress, waker);
        }
        let mut last = None;
        let mut retire = false;
        let mut taken = 0;
        while let Some(next) = order.take() {
            match next {
                Order::Write(write) => {
                    while writer.append(&write)? == Wrote::Full {
                        progress.full.store(true, Relaxed);
                        waker.wake();
                        // What was appended before can be made durable meanwhile.
                        commit(&mut writer, progress, waker, last.take())?;
                        std::thread::park_timeout(RETRY);
                        let _ = writer.journal().try_reserve();
                    }
                    progress.bytes.fetch_add(write.bytes() as u64, Relaxed);
                    last = Some(write.number);
                    if write.install.is_some()
                        && let Ok(mut installed) = progress.installed.lock()
                    {
                        *installed = writer.installed_file();
                    }
                }
                Order::Retire => retire = true,
                Order::Stop => stopping = true,
            }
            taken += 1;
            if taken < GROUP && !stopping {
                order = orders.try_recv().ok();
            }
        }
        commit(&mut writer, progress, waker, last)?;
        if retire && let Err(error) = writer.retire() {
            tracing::warn!(%error, "old log could not be deleted");
        }
        if last.is_some() || progress.full.load(Relaxed) {
            look_for_room(&mut writer, progress, waker);
        }
    }
    // Only an orderly stop comes here; a loop that ended in any other way sent no word of it.
    if stopping && note.needs_end() {
        lock(writer)?.journal().sync_all()?;
        note.end()?;
    }
    Ok(())
}

fn commit(
    writer: &mut Writer,
    progress: &Progress,
    waker: &Waker,
    last: Option<u64>,
) -> Result<(), Fault> {
    if let Some(last) = last {
        let began = Instant::now();
        writer.commit()?;
        let quick = match began.elapsed() > SLOW {
            true => 0,
            false => progress.quick.load(Relaxed).saturating_add(1),
        };
        progress.quick.store(quick, Relaxed);
        progress.durable.store(last, Release);
        waker.wake();
    }
    Ok(())
}

/// Says whether the next segment could be made, before somebody needs it.
fn look_for_room(writer: &mut Writer, progress: &Progress, waker: &Waker) {
    let was = progress.full.load(Relaxed);
    let mut short = writer.journal().is_short();
    if was && short {
        short = writer.journal().try_reserve().is_err();
    }
    if short != was {
        progress.full.store(short, Relaxed);
        waker.wake();
        if short {
            tracing::error!("the log has no room on its disk");
        } else {
            tracing::info!("the log has room again");
        }
    }
}
