//! Disks: a write takes its time, and what a crash leaves of one that was under way.

use std::fs;
use std::path::Path;

use everopen_replica::disk::Wrote;

use crate::process::Process;
use crate::violation::Check;
use crate::world::{Event, World};

/// Writes that one commit takes at most.
const GROUP: usize = 16;
/// The smallest piece that a device writes as a whole.
const SECTOR: usize = 512;
/// A segment's header and its block, which are on the disk before anything is written behind them.
const HEADER_BLOCK: usize = 4_096;
/// What the journal puts after a frame without waiting for the disk.
const MARK: usize = 64;

impl World<'_> {
    /// Lets the disk begin if it is idle.
    pub fn begin_write(&mut self, id: u64, p: &mut Process) {
        if p.writing > 0 || p.writes.is_empty() {
            return;
        }
        let Some(node) = self.nodes.get(&id) else {
            return;
        };
        p.writing = p.writes.len().min(GROUP);
        let (least, most) = self.profile.disk;
        let mut takes = self.random.spread(least, most.max(least));
        if node.slow_until > self.now {
            takes += self.random.spread(10_000, 1_000_000);
        }
        let at = (self.now + takes).max(node.full_until);
        let epoch = node.epoch;
        self.queue.push(at, Event::DiskDone { node: id, epoch });
    }

    /// The disk has done what it worked on, or failed.
    pub fn disk_done(&mut self, id: u64, epoch: u64) {
        let Some(node) = self.nodes.get_mut(&id).filter(|node| node.epoch == epoch) else {
            return;
        };
        let failing = std::mem::take(&mut node.failing);
        let Some(mut p) = node.process.take() else {
            return;
        };
        if failing {
            self.say(format_args!("node {id}: a commit fails"));
            self.inject("commits failed");
            self.tear(id, p);
            return self.restart_later(id, 10_000, 2_000_000);
        }
        let count = std::mem::take(&mut p.writing);
        self.write(id, &mut p, count);
        self.begin_write(id, &mut p);
        self.put_back(id, p);
        self.wake_soon(id);
    }

    /// Puts so many writes into the real journal.
    fn write(&mut self, id: u64, p: &mut Process, count: usize) {
        let mut done = Ok(());
        for write in p.writes.drain(..count) {
            p.durable = p.durable.max(write.number);
            match p.writer.append(&write) {
                Ok(Wrote::Whole) => {}
                Ok(Wrote::Full) => done = Err("the real disk is full".to_string()),
                Err(fault) => done = Err(fault.to_string()),
            }
        }
        let done = done.and_then(|()| p.writer.commit().map_err(|fault| fault.to_string()));
        if let Err(fault) = done {
            self.fail(
                Check::Stop,
                format!("node {id}: the journal failed: {fault}"),
            );
        }
        if let Some(file) = p.writer.installed_file() {
            p.file = Some(file);
        }
    }

    /// Lets the disk do all that it was given, before the process ends in order.
    pub fn finish_writes(&mut self, id: u64, p: &mut Process) {
        let all = p.writes.len();
        self.write(id, p, all);
    }

    /// Ends a process in the middle of a write: of what its disk worked on, any sectors arrived.
    pub fn tear(&mut self, id: u64, mut p: Box<Process>) {
        let Some(node) = self.nodes.get_mut(&id) else {
            return;
        };
        node.process = None;
        let dir = node.dir.clone();
        let count = p.writing;
        if p.job.is_some() && self.random.chance(500) {
            // Half of a snapshot.
            let name = format!("{:020}.unfinished", self.random.below(1_000));
            let written = fs::write(dir.join(name), [7; 100]);
            assert!(written.is_ok(), "the temporary folder takes no more files");
        }
        if count > 0 {
            let before = newest_segment(&dir);
            let mut installs = false;
            for write in p.writes.drain(..count) {
                if let Some(install) = &write.install {
                    installs = true;
                    if self.random.chance(500) {
                        // The record is there, the state not yet.
                        let journal = p.writer.journal();
                        let put = journal.append(&install.record).is_ok();
                        let put = put && journal.commit().is_ok();
                        assert!(put, "the temporary folder takes no more files");
                        self.count("states half taken over");
                        break;
                    }
                }
                if !matches!(p.writer.append(&write), Ok(Wrote::Whole)) {
                    break;
                }
            }
            let committed = p.writer.commit().is_ok();
            drop(p);
            if committed && !installs {
                self.tear_last_frame(&dir, before);
                self.count("writes torn");
            }
        } else {
            drop(p);
        }
        if self.random.chance(300) {
            lose_mark(&dir);
        }
    }

    fn tear_last_frame(&mut self, dir: &Path, before: Option<(String, Vec<u8>)>) {
        let Some((name, after)) = newest_segment(dir) else {
            return;
        };
        let before = match before {
            Some((was, bytes)) if was == name && bytes.len() == after.len() => bytes,
            _ => {
                let mut fresh = vec![0; after.len()];
                let header = HEADER_BLOCK.min(after.len());
                fresh[..header].copy_from_slice(&after[..header]);
                fresh
            }
        };
        let mut bytes = after;
        // It is written only after the frame is on the disk.
        clear_mark(&mut bytes);
        let arrives = self.random.below(1_001);
        for at in (HEADER_BLOCK..bytes.len()).step_by(SECTOR) {
            let sector = at..(at + SECTOR).min(bytes.len());
            if bytes[sector.clone()] != before[sector.clone()] && !self.random.chance(arrives) {
                bytes[sector.clone()].copy_from_slice(&before[sector]);
            }
        }
        let written = fs::write(dir.join(&name), &bytes);
        assert!(written.is_ok(), "the temporary folder takes no more files");
    }
}

/// The newest segment's name and bytes.
fn newest_segment(dir: &Path) -> Option<(String, Vec<u8>)> {
    let name = files(dir, ".segment").pop()?;
    let bytes = fs::read(dir.join(&name)).ok()?;
    Some((name, bytes))
}

/// The names of a kind of files, in order.
pub(crate) fn files(dir: &Path, ending: &str) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.ends_with(ending))
        .collect();
    names.sort();
    names
}

/// Takes the mark at the end of a segment away. Nothing of a frame stands behind it.
fn clear_mark(bytes: &mut [u8]) {
    if let Some(last) = bytes.iter().rposition(|byte| *byte != 0)
        && last >= HEADER_BLOCK
    {
        let at = last - last % MARK;
        bytes[at..(at + MARK)].fill(0);
    }
}

/// The mark after the last commit never reached the disk.
fn lose_mark(dir: &Path) {
    if let Some((name, mut bytes)) = newest_segment(dir) {
        // Only a mark ends with its place in the file; a frame ends with its trailer.
        let last = bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0);
        let at = last - last % MARK;
        if at >= HEADER_BLOCK && bytes[at..].starts_with(b"FRM!") && bytes[at + 8] == 2 {
            clear_mark(&mut bytes);
            let written = fs::write(dir.join(&name), &bytes);
            assert!(written.is_ok(), "the temporary folder takes no more files");
        }
    }
}
