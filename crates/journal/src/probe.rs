//! What this disk takes to make bytes durable, measured the way a journal writes.

use crate::config::Durability;
use crate::error::Error;
use crate::files::Dir;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What one round writes into each file.
pub const WRITE_BYTES: u64 = 4 << 10;
/// A probe's file is not larger than this; more rounds begin again at its front.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// Times `rounds` rounds in which `files_at_once` threads write 4 KiB each into a file of their
/// own and make it durable (`fdatasync`), all let go at the same moment. A round lasts from the
/// first write to the return of the last `fdatasync`: what as many replicas that share a disk wait
/// for one entry. The files are zero-filled and durable before the first round, as segments are.
///
/// Works in a folder of its own inside `dir`, which must be there, and removes it afterwards.
///
/// # Errors
/// [`Error::Io`] when the directory cannot be written or the disk is full.
pub fn sync_cost(dir: &Path, files_at_once: usize, rounds: usize) -> Result<Vec<Duration>, Error> {
    let folder = Folder::create(dir)?;
    let bytes = (rounds.max(1) as u64 * WRITE_BYTES).min(FILE_BYTES_MAX);
    let files = (0..files_at_once)
        .map(|number| folder.zero_filled(number, bytes))
        .collect::<Result<Vec<_>, _>>()?;
    let barrier = Barrier::new(files_at_once);
    let stop = AtomicBool::new(false);
    let threads: Vec<Result<Vec<(Instant, Instant)>, Error>> = std::thread::scope(|scope| {
        let run = |file, path| run(file, path, bytes, rounds, &barrier, &stop);
        let started: Vec<_> = files
            .iter()
            .map(|(file, path)| scope.spawn(move || run(file, path)))
            .collect();
        started
            .into_iter()
            .map(|thread| thread.join().expect("invariant: a probe does not panic"))
            .collect()
    });
    let threads = threads.into_iter().collect::<Result<Vec<_>, _>>()?;
    let round = |at: usize| {
        let begin = threads.iter().map(|times| times[at].0).min()?;
        let end = threads.iter().map(|times| times[at].1).max()?;
        Some(end - begin)
    };
    Ok((0..rounds).filter_map(round).collect())
}

/// One thread's rounds: when it began to write and when the bytes were durable.
fn run(
    file: &File,
    path: &Path,
    bytes: u64,
    rounds: usize,
    barrier: &Barrier,
    stop: &AtomicBool,
) -> Result<Vec<(Instant, Instant)>, Error> {
    let mut times = Vec::with_capacity(rounds);
    let mut result = Ok(());
    for round in 0..rounds as u64 {
        barrier.wait();
        // A thread that failed still comes to the barriers until all know: nobody waits for ever.
        let stopped = stop.load(Ordering::Relaxed);
        let begin = Instant::now();
        if !stopped {
            let block = [round as u8 | 1; WRITE_BYTES as usize];
            result = file
                .write_all_at(&block, round * WRITE_BYTES % bytes)
                .and_then(|()| file.sync_data())
                .map_err(|e| Error::io("write", path, e));
            if result.is_err() {
                stop.store(true, Ordering::Relaxed);
            }
        }
        times.push((begin, Instant::now()));
        if result.is_err() {
            for _ in round + 1..rounds as u64 {
                barrier.wait();
            }
            break;
        }
    }
    result.map(|()| times)
}

/// A probe's folder; goes with it.
struct Folder {
    dir: Dir,
}

impl Folder {
    fn create(parent: &Path) -> Result<Self, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = parent.join(format!("probe-{}-{number}", std::process::id()));
        fs::create_dir(&path).map_err(|e| Error::io("create directory", &path, e))?;
        let durability = Durability::Fsync;
        Ok(Self {
            dir: Dir { path, durability },
        })
    }

    fn zero_filled(&self, number: usize, bytes: u64) -> Result<(File, PathBuf), Error> {
        let path = self.dir.path.join(format!("{number}"));
        let fill = || {
            let file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .open(&path)?;
            self.dir
                .fill_zeros(&file, 0, bytes, &AtomicBool::new(false))?;
            file.sync_all()?;
            Ok(file)
        };
        match fill() {
            Ok(file) => Ok((file, path)),
            Err(e) => Err(Error::io("fill", &path, e)),
        }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // Left behind it wastes a few MiB and harms nothing.
        let _ = fs::remove_dir_all(&self.dir.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_round_takes_some_time_and_nothing_is_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        for files in [1, 3] {
            let times = sync_cost(dir.path(), files, 20).unwrap();
            assert_eq!(times.len(), 20);
            assert!(times.iter().all(|time| !time.is_zero()));
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn no_files_and_no_rounds_are_no_figures() {
        let dir = tempfile::tempdir().unwrap();
        assert!(sync_cost(dir.path(), 0, 5).unwrap().is_empty());
        assert!(sync_cost(dir.path(), 2, 0).unwrap().is_empty());
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = sync_cost(&dir.path().join("missing"), 3, 5).unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{error}");
    }

    #[test]
    fn a_thread_that_fails_ends_the_others_with_its_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, [0; WRITE_BYTES as usize]).unwrap();
        let good = OpenOptions::new().write(true).open(&path).unwrap();
        // Opened for reading: each write is refused.
        let bad = File::open(&path).unwrap();
        let (barrier, stop) = (Barrier::new(2), AtomicBool::new(false));
        let run = |file| run(file, &path, WRITE_BYTES, 50, &barrier, &stop).map(|t| t.len());
        std::thread::scope(|scope| {
            let other = scope.spawn(|| run(&good));
            assert!(run(&bad).is_err());
            assert_eq!(other.join().unwrap().unwrap(), 50);
        });
    }
}
