//! Making writes durable: a leader has the system do it and goes on; a follower does it on its loop when
//! that is quick, for nobody else waits for that loop; else the journal's thread does it, in groups.
//!
//! Handing a write to another thread and being woken by it takes about as long as the disk does
//! when there is one small write at a time. The thread is for all that lets the loop wait: writes
//! that come while another one is under way, large ones, and disks that have become slow.

#[cfg(test)]
mod tests;

use std::os::fd::RawFd;
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

/// A leader answers nobody before its own disk has written: one whose disk does nothing for so long, about
/// as long as the others would wait for a leader that is silent, lets another lead.
const HANGS: Duration = Duration::from_millis(500);

/// For the journal's thread.
pub(super) enum Order {
    Write(Write),
    Retire,
    Stop,
}

/// What the journal's thread says to the loop.
#[derive(Debug, Default)]
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
    /// The last write that was given to the thread.
    handed: u64,
    /// Until when the disk is left to the thread at most.
    slow_until: Option<Instant>,
    /// The last write that the system carries out.
    under_way: Option<u64>,
    /// Writes that wait for it.
    waiting: Vec<Write>,
    /// What was durable when it was last looked at, and since when, while something waits.
    stands: Option<(u64, Instant)>,
    /// What becomes readable when it has ended; none where the system carries nothing out alone.
    signal: Option<RawFd>,
}

/// How a write is to be made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By the loop, which waits for it.
    Now,
    /// By the system, while the loop goes on.
    Behind,
    /// By the journal's thread.
    Thread,
}

impl Desk {
    pub fn new(
        writer: Arc<Mutex<Writer>>,
        orders: Sender<Order>,
        progress: Arc<Progress>,
        given: u64,
    ) -> Self {
        let signal = writer
            .lock()
            .ok()
            .and_then(|mut writer| writer.journal().commit_signal());
        Self {
            writer,
            orders,
            progress,
            given,
            handed: given,
            slow_until: None,
            under_way: None,
            waiting: Vec::new(),
            stands: None,
            signal,
        }
    }

    /// What becomes readable when a write has ended that the system carries out.
    pub fn signal(&self) -> Option<RawFd> {
        self.signal
    }

    /// Whether something waits for the disk, and nothing has become durable for [`HANGS`]. To be asked often.
    pub fn hangs(&mut self, now: Instant) -> bool {
        let durable = self.progress.durable.load(Relaxed);
        if durable >= self.given {
            self.stands = None;
            return false;
        }
        match self.stands {
            Some((then, since)) if then == durable => now.duration_since(since) >= HANGS,
            _ => {
                self.stands = Some((durable, now));
                false
            }
        }
    }

    /// How to make these durable. `is_waited_for`: others wait for the loop meanwhile; `is_busy`: something
    /// large goes to the same disk, for which a sync may wait long.
    pub fn way(&self, writes: &[Write], is_waited_for: bool, is_busy: bool) -> Way {
        let durable = self.progress.durable.load(Relaxed);
        if durable < self.handed || !are_small(writes) {
            Way::Thread
        } else if is_waited_for && self.signal.is_some() {
            Way::Behind
        } else if durable < self.given || is_busy || self.is_slow() {
            Way::Thread
        } else {
            Way::Now
        }
    }

    fn is_slow(&self) -> bool {
        self.slow_until.is_some_and(|until| {
            self.progress.quick.load(Relaxed) < QUICK_AGAIN && until > Instant::now()
        })
    }

    /// Gives writes to the thread.
    pub fn hand_over(&mut self, writes: impl IntoIterator<Item = Write>) {
        for write in std::mem::take(&mut self.waiting).into_iter().chain(writes) {
            (self.given, self.handed) = (write.number, write.number);
            // A thread that has ended is noticed in the next turn.
            let _ = self.orders.send(Order::Write(write));
        }
    }

    /// Makes writes durable now, and gives to the thread what can't be.
    pub fn write(&mut self, writes: Vec<Write>) -> Result<(), Fault> {
        let began = Instant::now();
        let put = self.put(writes, Writer::commit)?;
        if let Some(done) = put {
            self.progress.durable.store(done, Release);
        }
        let is_slow = began.elapsed() > SLOW;
        if is_slow {
            self.progress.quick.store(0, Relaxed);
        }
        self.slow_until = is_slow.then(|| Instant::now() + SLOW_FOR);
        Ok(())
    }

    /// Has the system make writes durable, after those that it has already.
    pub fn begin(&mut self, writes: Vec<Write>) -> Result<(), Fault> {
        if let Some(last) = writes.last() {
            self.given = last.number;
        }
        self.waiting.extend(writes);
        self.look()
    }

    /// Takes note of what the system has ended, and gives it what has waited.
    pub fn look(&mut self) -> Result<(), Fault> {
        loop {
            if let Some(number) = self.under_way {
                // Held by the thread: it waits for what is under way before it goes on.
                let Ok(mut writer) = self.writer.try_lock() else {
                    return Ok(());
                };
                if !writer.has_ended()? {
                    return Ok(());
                }
                drop(writer);
                self.progress.durable.fetch_max(number, Release);
                self.under_way = None;
            }
            if self.waiting.is_empty() {
                return Ok(());
            }
            if !are_small(&self.waiting) {
                self.hand_over([]);
                return Ok(());
            }
            let writes = std::mem::take(&mut self.waiting);
            self.under_way = self.put(writes, Writer::begin)?;
            if self.under_way.is_none() {
                return Ok(());
            }
        }
    }

    /// Appends writes and commits them in that way; the last of them. The thread gets what can't be appended.
    fn put(
        &mut self,
        writes: Vec<Write>,
        commit: impl Fn(&mut Writer) -> Result<(), Fault>,
    ) -> Result<Option<u64>, Fault> {
        let mut done = None;
        let mut writes = writes.into_iter();
        if let Ok(mut writer) = self.writer.try_lock() {
            for write in writes.by_ref() {
                self.given = write.number;
                if writer.append(&write)? == Wrote::Full {
                    // The thread goes on with it where this stopped.
                    self.handed = write.number;
                    let _ = self.orders.send(Order::Write(write));
                    break;
                }
                self.progress.bytes.fetch_add(write.bytes() as u64, Relaxed);
                done = Some(write.number);
            }
            if done.is_some() {
                commit(&mut writer)?;
            }
        }
        self.hand_over(writes);
        Ok(done)
    }

    /// What is retained no longer may be deleted.
    pub fn retire(&self) {
        let _ = self.orders.send(Order::Retire);
    }

    /// Nothing more comes after what was given.
    pub fn stop(&mut self) {
        self.hand_over([]);
        let _ = self.orders.send(Order::Stop);
    }
}

fn are_small(writes: &[Write]) -> bool {
    let bytes: usize = writes.iter().map(Write::bytes).sum();
    bytes <= INLINE_BYTES_MAX && writes.iter().all(|write| write.install.is_none())
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
    // What was durable when nothing had come for a while, and of what it was said that it was acknowledged.
    let (mut seen, mut rested) = (0, None);
    while !stopping {
        let mut order = match orders.recv_timeout(RETRY) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let mut writer = lock(writer)?;
        if order.is_none() {
            let durable = progress.durable.load(Relaxed);
            if durable == seen && rested != Some(durable) {
                writer.rest()?;
                rested = Some(durable);
                // It may have waited for what the loop has under way, and taken note of its end.
                waker.wake();
            }
            seen = durable;
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
        progress.durable.fetch_max(last, Release);
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
