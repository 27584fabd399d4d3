//! Torn writes are cut and reported; flipped bits stop the start; nothing is ever silently different.
mod support;

use everopen_journal::{Error, Journal, Tail, scan};
use proptest::prelude::*;
use std::os::unix::fs::FileExt;
use std::path::Path;
use support::{corrupt, open, payload, records, segment, small, write};

const MARK: usize = 64;

/// A directory with `last` records whose last frame starts at `frame` of the last segment, and the
/// bytes of that segment with the mark after the last frame taken away.
struct Sample {
    dir: tempfile::TempDir,
    bytes: Vec<u8>,
    frame: usize,
    end: usize,
}

impl Sample {
    /// Two commits; the second one, of records 4 to `last`, is the one in doubt.
    fn new(last: u64, length: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(dir.path());
        write(&mut journal, 1, 3, length);
        let frame = scan(&std::fs::read(segment(dir.path(), 1)).unwrap()).end as usize;
        write(&mut journal, 4, last, length);
        drop(journal);
        let mut bytes = std::fs::read(segment(dir.path(), 1)).unwrap();
        let end = scan(&bytes).end as usize;
        bytes[end..end + MARK].fill(0);
        assert_eq!(scan(&bytes).last_index, last);
        Self {
            dir,
            bytes,
            frame,
            end,
        }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Opens with these bytes as the last segment; they must be taken as torn or whole.
    fn opens(&self, bytes: &[u8], length: usize) -> (u64, bool) {
        std::fs::write(segment(self.path(), 1), bytes).unwrap();
        let (mut journal, recovery) = open(self.path());
        let last = recovery.last_index;
        let expected: Vec<_> = (1..=last).map(|index| payload(index, length)).collect();
        assert_eq!(
            records(&journal, 0),
            expected,
            "a prefix of what was written"
        );
        assert!(last >= 3, "the acknowledged frame is there");
        // Writing goes on, and the next start finds nothing left to repair.
        write(&mut journal, last + 1, last + 1, length);
        drop(journal);
        let (_, second) = open(self.path());
        assert_eq!((second.last_index, second.torn_tail), (last + 1, None));
        (last, recovery.torn_tail.is_some())
    }
}

#[test]
fn a_frame_torn_at_any_byte_is_cut_and_reported() {
    let sample = Sample::new(9, 100);
    let zeroed = vec![0; sample.bytes.len()];
    let mut before = sample.bytes.clone();
    before[sample.frame..].fill(0);
    std::fs::write(segment(sample.path(), 1), &before).unwrap();
    drop(open(sample.path()));
    // What stands there before the write: the mark, then zeros.
    let marked = std::fs::read(segment(sample.path(), 1)).unwrap();
    let mut counts = std::collections::BTreeSet::new();
    for old in [&marked, &zeroed] {
        for length in 0..=sample.end - sample.frame {
            let cut = sample.frame + length;
            let mut bytes = sample.bytes.clone();
            bytes[cut..].copy_from_slice(&old[cut..]);
            let whole = bytes == sample.bytes;
            let untouched = scan(&bytes).tail == Tail::Clean && !whole;
            let (last, torn) = sample.opens(&bytes, 100);
            assert_eq!(torn, !whole && !untouched, "cut after {length} bytes");
            assert!(!untouched || last == 3, "cut after {length} bytes");
            assert_eq!(whole, last == 9 && !torn);
            counts.insert(last);
        }
    }
    assert_eq!(
        counts,
        (3..=9).collect(),
        "good records at the start of a torn frame are kept"
    );
}

#[test]
fn sectors_that_never_arrived_are_cut_and_reported() {
    let sample = Sample::new(9, 400);
    let sectors: Vec<_> = (sample.frame / 512..=(sample.end - 1) / 512).collect();
    assert!(sectors.len() >= 5);
    for missing in 1u32..1 << sectors.len() {
        let mut bytes = sample.bytes.clone();
        for (bit, sector) in sectors.iter().enumerate() {
            if missing & 1 << bit != 0 {
                let from = (sector * 512).max(sample.frame);
                bytes[from..((sector + 1) * 512).min(sample.end)].fill(0);
            }
        }
        let (last, torn) = sample.opens(&bytes, 400);
        // Without any sector the write never began, and nothing is there to report.
        assert!(
            last < 9 && (torn || last == 3),
            "sectors {missing:b}: {last} {torn}"
        );
        if missing + 1 != 1 << sectors.len() {
            assert!(torn, "sectors {missing:b}");
        }
    }
}

#[test]
fn a_sector_that_never_arrived_is_told_from_zeros_before_it() {
    // Records that end with zeros: of some of them, the last bytes are zeros at the beginning of a
    // sector, and the record after them is the first thing that is missed.
    for length in 440..520 {
        let record = |index: u8| {
            let mut record = vec![index; length];
            record[length - 40..].fill(0);
            record
        };
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(dir.path());
        journal.append(&record(1)).unwrap();
        journal.commit().unwrap();
        let path = segment(dir.path(), 1);
        let frame = scan(&std::fs::read(&path).unwrap()).end as usize;
        for index in 2..6 {
            journal.append(&record(index)).unwrap();
        }
        journal.commit().unwrap();
        drop(journal);
        let mut bytes = std::fs::read(&path).unwrap();
        let end = scan(&bytes).end as usize;
        bytes[end..end + MARK].fill(0);
        for sector in (frame.next_multiple_of(512)..end / 512 * 512).step_by(512) {
            let mut torn = bytes.clone();
            torn[sector..sector + 512].fill(0);
            std::fs::write(&path, &torn).unwrap();
            let (journal, recovery) = open(dir.path());
            assert!(recovery.torn_tail.is_some(), "{length}: sector {sector}");
            let kept = records(&journal, 0);
            let expected: Vec<_> = (1..=kept.len() as u8).map(record).collect();
            assert_eq!(kept, expected, "{length}: sector {sector}");
        }
    }
}

#[test]
fn lost_sectors_of_an_acknowledged_frame_stop_the_start() {
    let sample = Sample::new(9, 400);
    std::fs::write(segment(sample.path(), 1), &sample.bytes).unwrap();
    drop(open(sample.path()));
    // Two frames, the first proven by the second, the second by the mark.
    let good = std::fs::read(segment(sample.path(), 1)).unwrap();
    for (start, end) in [(4096, sample.frame), (sample.frame, sample.end)] {
        for sector in (start / 512 * 512..end).step_by(512) {
            let mut bytes = good.clone();
            let from = sector.max(start);
            bytes[from..(sector + 512).min(end)].fill(0);
            std::fs::write(segment(sample.path(), 1), &bytes).unwrap();
            let (file, offset) = corrupt(Journal::open(small(sample.path())));
            assert_eq!(file, segment(sample.path(), 1));
            assert!(
                (start..sector + 512).contains(&(offset as usize)),
                "{offset}"
            );
        }
    }
}

#[test]
fn a_cut_file_is_a_torn_tail_and_gets_its_zeros_back() {
    let sample = Sample::new(9, 100);
    for length in (sample.frame..sample.end).chain([sample.bytes.len() - 1]) {
        let (last, torn) = sample.opens(&sample.bytes[..length], 100);
        assert!(torn, "cut to {length} bytes: {last}");
        let now = std::fs::metadata(segment(sample.path(), 1)).unwrap().len();
        assert_eq!(now, sample.bytes.len() as u64);
    }
}

#[test]
fn garbage_after_the_end_is_cut_and_reported() {
    let sample = Sample::new(9, 100);
    for (at, length) in [(0, 1), (0, 64), (0, 1000), (13, 7), (700, 1), (200, 2500)] {
        let mut bytes = sample.bytes.clone();
        let from = sample.end + at;
        for (number, byte) in bytes[from..from + length].iter_mut().enumerate() {
            *byte = (number * 37 % 255 + 1) as u8;
        }
        assert_eq!(
            sample.opens(&bytes, 100),
            (9, true),
            "{length} bytes at {at}"
        );
    }
}

/// Every byte of a log of several segments, one bit each, with and without the last mark (which a
/// power cut can take): the start is refused with that file, or nothing is missing.
#[test]
fn a_flipped_bit_anywhere_never_changes_the_log_silently() {
    let dir = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(dir.path());
    let mut last = 0;
    for count in [3, 1, 20, 5, 30, 2, 9] {
        write(&mut journal, last + 1, last + count, 150);
        last += count;
    }
    let expected = records(&journal, 0);
    drop(journal);
    let mut segments: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "segment")
        })
        .collect();
    segments.sort();
    assert_eq!(segments.len(), 4);
    let newest = segments.last().unwrap().clone();
    let (mut refused, mut reported) = (0, 0);
    for marked in [true, false] {
        let mut last_bytes = std::fs::read(&newest).unwrap();
        let end = scan(&last_bytes).end as usize;
        if !marked {
            last_bytes[end..end + MARK].fill(0);
        }
        std::fs::write(&newest, &last_bytes).unwrap();
        // Without the mark only the newest segment reads differently.
        for path in segments.iter().filter(|path| marked || **path == newest) {
            let good = std::fs::read(path).unwrap();
            let damaged = std::fs::File::options().write(true).open(path).unwrap();
            for at in 0..good.len() {
                damaged
                    .write_all_at(&[good[at] ^ 1 << (at * 5 % 8)], at as u64)
                    .unwrap();
                match Journal::open(small(dir.path())) {
                    Err(Error::Corrupt { file, offset, .. }) => {
                        assert_eq!(file, *path, "flip at {at}");
                        assert!(offset <= at as u64, "flip at {at}, said {offset}");
                        damaged.write_all_at(&good[at..=at], at as u64).unwrap();
                        refused += 1;
                    }
                    Ok((journal, recovery)) => {
                        assert!(recovery.torn_tail.is_some(), "flip at {at} is not reported");
                        assert_eq!(*path, newest);
                        assert!(at >= end, "flip at {at} of a frame is no torn tail");
                        assert_eq!(records(&journal, 0), expected, "flip at {at}");
                        drop(journal);
                        std::fs::write(path, &good).unwrap();
                        reported += 1;
                    }
                    Err(other) => panic!("flip at {at}: {other}"),
                }
            }
            assert!(
                std::fs::read(path).unwrap() == good,
                "a refused start changes nothing"
            );
        }
    }
    assert!(
        refused > 3 * 8192 && reported > 1000,
        "{refused} {reported}"
    );
}

#[test]
fn a_missing_swapped_or_foreign_segment_stops_the_start() {
    let make = |salt: usize| {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(dir.path());
        for index in 1..=60 {
            journal.append(&payload(index + salt as u64, 500)).unwrap();
            journal.commit().unwrap();
        }
        let second = std::fs::read_dir(dir.path())
            .unwrap()
            .filter_map(|entry| {
                let name = entry.unwrap().file_name().into_string().unwrap();
                name.strip_suffix(".segment")?.parse::<u64>().ok()
            })
            .filter(|first| *first > 1)
            .min()
            .unwrap();
        (dir, second)
    };
    let (dir, second) = make(0);
    let (other, _) = make(1);
    let path = segment(dir.path(), second);
    let good = std::fs::read(&path).unwrap();

    std::fs::copy(segment(other.path(), second), &path).unwrap();
    assert_eq!(
        corrupt(Journal::open(small(dir.path()))),
        (path.clone(), 0),
        "another journal's"
    );
    std::fs::copy(segment(dir.path(), 1), &path).unwrap();
    assert_eq!(
        corrupt(Journal::open(small(dir.path()))),
        (path.clone(), 0),
        "under a wrong name"
    );
    std::fs::remove_file(&path).unwrap();
    assert_eq!(
        corrupt(Journal::open(small(dir.path()))).0,
        segment(dir.path(), 1),
        "missing"
    );
    std::fs::write(&path, &good).unwrap();
    let (journal, recovery) = open(dir.path());
    assert_eq!(recovery.last_index, 60);
    drop(journal);

    let mut firsts: Vec<_> = std::fs::read_dir(dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "segment")
        })
        .collect();
    firsts.sort();
    std::fs::remove_file(firsts.pop().unwrap()).unwrap();
    assert_eq!(
        corrupt(Journal::open(small(dir.path()))).0,
        *firsts.last().unwrap(),
        "the newest"
    );
}

#[test]
fn records_that_a_snapshot_contains_are_never_cut() {
    let sample = Sample::new(9, 100);
    std::fs::write(segment(sample.path(), 1), &sample.bytes).unwrap();
    let (journal, _) = open(sample.path());
    journal.snapshots().write(7, b"state").unwrap();
    drop(journal);
    let mut bytes = sample.bytes.clone();
    bytes[sample.frame + MARK..].fill(0);
    std::fs::write(segment(sample.path(), 1), &bytes).unwrap();
    let (file, offset) = corrupt(Journal::open(small(sample.path())));
    assert_eq!(
        (file, offset as usize),
        (segment(sample.path(), 1), sample.frame + MARK)
    );
    assert_eq!(
        std::fs::read(segment(sample.path(), 1)).unwrap(),
        bytes,
        "nothing was changed"
    );
}

#[test]
fn a_refused_start_changes_nothing_and_names_the_record() {
    let sample = Sample::new(9, 100);
    let mut bytes = sample.bytes.clone();
    // The second record of the first frame: header 64, then 16 + 100 rounded up to 120 each.
    let record = 4096 + 64 + 120;
    bytes[record + 50] ^= 0x10;
    std::fs::write(segment(sample.path(), 1), &bytes).unwrap();
    let refused = Journal::open(small(sample.path())).map(|_| ()).unwrap_err();
    assert_eq!(
        refused.to_string(),
        format!(
            "{} is damaged at offset {record}: record fails its checksum",
            segment(sample.path(), 1).display()
        )
    );
    assert_eq!(std::fs::read(segment(sample.path(), 1)).unwrap(), bytes);
}

proptest! {
    /// Any bytes, and any bytes with a good header before them, give a report.
    #[test]
    fn scan_never_panics(
        bytes in proptest::collection::vec(any::<u8>(), 0..9000),
        keep in 0usize..9000,
    ) {
        let _ = scan(&bytes);
        let mut behind_header = SAMPLE.with(Clone::clone);
        let keep = keep.min(behind_header.len());
        behind_header.truncate(keep);
        behind_header.extend_from_slice(&bytes);
        let report = scan(&behind_header);
        prop_assert!(report.last_index <= 9);
        prop_assert!(report.frames <= 2);
    }

    /// Several flipped bits, runs of other bytes, cuts: never more than was written, and if less,
    /// the report says so.
    #[test]
    fn scan_tells_damage_from_nothing(
        changes in proptest::collection::vec((0usize..8192, 1u8..=255, 1usize..600), 1..5),
    ) {
        let good = SAMPLE.with(Clone::clone);
        let mut bytes = good.clone();
        for (at, mask, length) in changes {
            let end = (at + length).min(bytes.len());
            for byte in &mut bytes[at..end] {
                *byte ^= mask;
            }
        }
        let report = scan(&bytes);
        if bytes == good {
            prop_assert_eq!(report.tail, Tail::Clean);
        } else {
            prop_assert_ne!(report.tail, Tail::Clean);
        }
    }
}

thread_local! {
    /// One segment with two frames and a mark.
    static SAMPLE: Vec<u8> = {
        let sample = Sample::new(9, 100);
        std::fs::write(segment(sample.path(), 1), &sample.bytes).unwrap();
        drop(open(sample.path()));
        std::fs::read(segment(sample.path(), 1)).unwrap()
    };
}
