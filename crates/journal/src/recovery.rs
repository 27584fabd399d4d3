//! The start: what is there, is it whole, and where does writing go on.
use crate::config::{Config, SEGMENT_BYTES_MAX};
use crate::error::Error;
use crate::files::{self, Dir};
use crate::format::{self, BLOCK_BYTES, FrameHeader, FrameKind, HEADER_BYTES};
use crate::scan::{Salvage, ScanReport, Tail, scan};
use crate::segment::{Segment, activate};
use crate::snapshot::{self, BadSnapshot, SnapshotRef};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// What was cut from the end of the log: the remains of a write that was never acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The segment.
    pub file: PathBuf,
    /// First byte that was cut.
    pub offset: u64,
    /// Bytes from there to the last one that was not zero; 0 if nothing of the cut record arrived.
    pub bytes_dropped: u64,
}

/// What a start found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// The newest good snapshot. Replay goes on after its index.
    pub snapshot: Option<SnapshotRef>,
    /// Newer snapshots that were damaged and passed over. To be reported.
    pub bad_snapshots: Vec<BadSnapshot>,
    /// First index in the log; one more than `last_index` if the log is empty.
    pub first_index: u64,
    /// Last index in the log; everything up to it is durable.
    pub last_index: u64,
    /// What was cut. To be reported.
    pub torn_tail: Option<TornTail>,
    /// Segments whose every record was checked: those that replay needs.
    pub segments_checked: u64,
}

pub(crate) struct Recovered {
    pub recovery: Recovery,
    pub segments: Vec<u64>,
    pub current: Segment,
}

pub(crate) fn recover(dir: &Dir, config: &Config) -> Result<Recovered, Error> {
    let listing = dir.list()?;
    let (snapshot, bad_snapshots) = snapshot::newest_good(dir, &listing.snapshots)?;
    let needed = snapshot.as_ref().map_or(1, |snapshot| snapshot.index + 1);
    let first_index = listing.segments.first().copied();
    if first_index.is_none() && listing.snapshots.is_empty() {
        return create(dir, config);
    }
    let Some(first_index) = first_index.filter(|first| *first <= needed) else {
        return Err(Error::LogMissing {
            needed,
            first_index: first_index.unwrap_or(0),
            bad_snapshots: bad_snapshots.len(),
        });
    };
    // The last segment that starts at or before the first record needed, and all after it.
    let from = listing.segments.partition_point(|first| *first <= needed) - 1;
    let mut bytes = Vec::new();
    let mut before: Option<ScanReport> = None;
    let checked = &listing.segments[from..];
    for (number, &first) in checked.iter().enumerate() {
        let path = dir.segment(first);
        let next = checked.get(number + 1).copied();
        let report = check(&path, first, next, needed - 1, before.as_ref(), &mut bytes)?;
        before = Some(report);
    }
    let report = before.expect("invariant: at least one segment is checked");
    let last = *checked
        .last()
        .expect("invariant: at least one segment is checked");
    let (current, last_index, torn_tail) = settle(dir, last, &report, &mut bytes)?;
    for unfinished in &listing.unfinished {
        dir.remove(unfinished)?;
    }
    let recovery = Recovery {
        snapshot,
        bad_snapshots,
        first_index,
        last_index,
        torn_tail,
        segments_checked: checked.len() as u64,
    };
    Ok(Recovered {
        recovery,
        segments: listing.segments,
        current,
    })
}

/// A journal that was not there before.
fn create(dir: &Dir, config: &Config) -> Result<Recovered, Error> {
    let bytes = config.segment_bytes;
    let file = dir
        .reserve(bytes, &AtomicBool::new(false))
        .map_err(|e| Error::io("reserve first segment in", &dir.path, e))?;
    activate(dir, &file, 1, 0, bytes)?;
    let recovery = Recovery {
        snapshot: None,
        bad_snapshots: Vec::new(),
        first_index: 1,
        last_index: 0,
        torn_tail: None,
        segments_checked: 1,
    };
    let current = Segment {
        file,
        blocks: None,
        first_index: 1,
        bytes,
        end: BLOCK_BYTES,
        digest: 0,
    };
    Ok(Recovered {
        recovery,
        segments: vec![1],
        current,
    })
}

/// Scans one segment and holds it against its neighbors. `bytes` keeps its content.
fn check(
    path: &Path,
    first: u64,
    next: Option<u64>,
    proven: u64,
    before: Option<&ScanReport>,
    bytes: &mut Vec<u8>,
) -> Result<ScanReport, Error> {
    let file = File::open(path).map_err(|e| Error::io("open", path, e))?;
    files::read_whole(&file, bytes).map_err(|e| Error::io("read", path, e))?;
    let report = scan(bytes);
    if let Tail::Corrupt { offset, detail } = report.tail {
        return Err(Error::corrupt(path, offset, detail));
    }
    let header = report
        .header
        .expect("invariant: a scan without a header is corrupt");
    let wrong = |offset, detail| Err(Error::corrupt(path, offset, detail));
    if header.segment_bytes > SEGMENT_BYTES_MAX {
        return wrong(0, "segment header states an impossible size");
    }
    if header.first_index != first {
        return wrong(0, "segment header and file name disagree");
    }
    if before.is_some_and(|before| before.digest != header.previous) {
        return wrong(0, "segment does not continue the one before it");
    }
    if let Some(next) = next {
        // A segment is started only after everything before it was acknowledged.
        if let Tail::Torn { offset, .. } = report.tail {
            return wrong(offset, "damaged although a later segment exists");
        }
        if report.last_index.checked_add(1) != Some(next) {
            return wrong(report.end, "records are missing before the next segment");
        }
        return Ok(report);
    }
    if report.sealed {
        return wrong(report.end, "the next segment is missing");
    }
    // A snapshot is written only of what was acknowledged.
    if report.last_index < proven {
        let offset = match report.tail {
            Tail::Torn { offset, .. } => offset,
            _ => report.end,
        };
        return wrong(
            offset,
            "records that the newest snapshot contains are missing",
        );
    }
    Ok(report)
}

/// Cuts a torn tail, makes the last frame durable for sure, and says so with a mark.
fn settle(
    dir: &Dir,
    first_index: u64,
    report: &ScanReport,
    bytes: &mut Vec<u8>,
) -> Result<(Segment, u64, Option<TornTail>), Error> {
    let path = dir.segment(first_index);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|e| Error::io("open", &path, e))?;
    let header = report
        .header
        .expect("invariant: a scan without a header is corrupt");
    let mut current = Segment {
        file,
        blocks: None,
        first_index,
        bytes: header.segment_bytes,
        end: report.end,
        digest: report.digest,
    };
    let mut last_index = report.last_index;
    let length = bytes.len() as u64;
    let torn = |offset, bytes_dropped| TornTail {
        file: path.clone(),
        offset,
        bytes_dropped,
    };
    let torn_tail = match report.tail {
        Tail::Torn { offset, bytes } => Some(torn(offset, bytes)),
        // All of a segment's space is written before its first record: somebody cut the file.
        _ if length < current.bytes => Some(torn(length, 0)),
        _ => None,
    };
    // What the file lacks counts as zeros, here as in the scan.
    bytes.resize(bytes.len().max(current.bytes as usize), 0);
    let mut settle = || -> io::Result<()> {
        // A file that was cut short gets its zeros back, before anything is written there.
        dir.fill_zeros(
            &current.file,
            length,
            current.bytes,
            &AtomicBool::new(false),
        )?;
        // After a failed sync the page cache can hold what the device does not, marked clean: only
        // writing it again makes the next sync mean something.
        if let (Some(at), false) = (report.last_frame, report.marked) {
            current
                .file
                .write_all_at(&bytes[at as usize..report.end as usize], at)?;
        }
        if let Some(salvage) = report.salvage {
            last_index += rebuild(&mut current, last_index + 1, salvage, bytes)?;
        }
        if torn_tail.is_some() {
            current
                .file
                .write_all_at(&vec![0; bytes.len() - current.end as usize], current.end)?;
        }
        dir.sync_data(&current.file)?;
        current.mark(FrameKind::Mark, last_index + 1)?;
        dir.sync_data(&current.file)
    };
    settle().map_err(|e| Error::io("repair", &path, e))?;
    Ok((current, last_index, torn_tail))
}

/// Writes a torn frame anew with the good records at its start; their number. The records stay where
/// they are, so a power cut in the middle of this leaves another torn frame of the same records.
fn rebuild(current: &mut Segment, next: u64, salvage: Salvage, bytes: &[u8]) -> io::Result<u64> {
    let body = salvage.frame as usize + HEADER_BYTES..salvage.end as usize;
    let header = FrameHeader {
        body_bytes: body.len() as u32,
        count: salvage.count,
        ..current.header(FrameKind::Records, next, next - 1)
    };
    let mut frame = header.encode(current.first_index, salvage.frame).to_vec();
    frame.extend_from_slice(&bytes[body.clone()]);
    let mut at = body.start;
    while at < body.end {
        let record = &bytes[at..];
        current.digest = format::digest(current.digest, format::record_crc(record));
        at += format::record_bytes(format::record_length(record)) as usize;
    }
    frame.extend_from_slice(&format::trailer(current.digest));
    frame.resize(header.frame_bytes() as usize, 0);
    current.file.write_all_at(&frame, salvage.frame)?;
    current.end += header.frame_bytes();
    Ok(u64::from(salvage.count))
}
