//! How far this machine itself keeps time while a test measures: where it does not, a pause of the
//! cluster says nothing about the cluster.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::open_loop::Spread;
use crate::{pass, say};

const EVERY: Duration = Duration::from_millis(5);
/// So many ticks to one synced write.
const WRITE_EVERY: u32 = 10;
/// Past these, the machine is too busy to be measured on.
const LATE_MOST: Duration = Duration::from_millis(25);
const SYNC_MOST: Duration = Duration::from_millis(60);

/// Sleeps and writes beside a test.
pub struct Metronome {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<(Vec<Duration>, Vec<Duration>)>,
}

impl Metronome {
    /// Starts it; it writes in that folder.
    pub fn start(dir: &Path) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let stopped = Arc::clone(&stop);
        let mut file = std::fs::File::create(dir.join("metronome")).expect("a file");
        let thread = std::thread::spawn(move || {
            let (mut late, mut synced) = (Vec::new(), Vec::new());
            for tick in 1.. {
                let due = Instant::now() + EVERY;
                pass(EVERY);
                late.push(due.elapsed());
                if tick % WRITE_EVERY == 0 {
                    let begun = Instant::now();
                    file.seek(SeekFrom::Start(0)).expect("seek");
                    file.write_all(&[1; 4096]).expect("write");
                    file.sync_data().expect("sync");
                    synced.push(begun.elapsed());
                }
                if stopped.load(Relaxed) {
                    break;
                }
            }
            (late, synced)
        });
        Self { stop, thread }
    }

    /// Ends it. Whether the machine kept time; says so where it did not.
    pub fn kept_time(self) -> bool {
        self.stop.store(true, Relaxed);
        let (mut late, mut synced) = self.thread.join().expect("the metronome");
        let (late, synced) = (Spread::of(&mut late), Spread::of(&mut synced));
        println!("meanwhile this machine woke sleepers late by {late}");
        println!("  and took for a synced write {synced}");
        let kept = late.p99 <= LATE_MOST && synced.p99 <= SYNC_MOST;
        if !kept {
            say("left out: bounds of time (this machine is too busy to be measured on)");
        }
        kept
    }
}
