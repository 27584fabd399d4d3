//! The journal's thread: takes writes, makes them durable in groups, says so.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use everopen_journal::SnapshotRef;
use everopen_rpc::Waker;

use super::boot::Note;
use crate::core::Write;
use crate::disk::{Writer, Wrote};
use crate::recovery::Fault;

/// Writes that one commit takes at most.
const GROUP: usize = 256;
/// How often a full disk is looked at.
const RETRY: Duration = Duration::from_millis(50);

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
    /// A state that was taken over: its file.
    pub installed: Mutex<Option<SnapshotRef>>,
}

pub(super) fn run(
    mut writer: Writer,
    note: &Note,
    orders: &Receiver<Order>,
    progress: &Arc<Progress>,
    waker: &Waker,
) -> Result<(), Fault> {
    let mut stopping = false;
    while !stopping {
        let mut order = match orders.recv_timeout(RETRY) {
            Ok(order) => Some(order),
            Err(RecvTimeoutError::Timeout) => {
                look_for_room(&mut writer, progress, waker);
                None
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
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
                    progress
                        .bytes
                        .fetch_add(write.records.bytes.len() as u64, Relaxed);
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
        writer.journal().sync_all()?;
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
        writer.commit()?;
        progress
            .durable
            .store(last, std::sync::atomic::Ordering::Release);
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
