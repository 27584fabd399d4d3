//! What the journal's tests share: small journals, and everything that is in one.
#![allow(dead_code, reason = "each test binary uses a part of it")]
use everopen_journal::{Config, Durability, Error, Journal, Recovery, RetainLog};
use std::path::Path;

/// A journal of small segments that does not wait for the device.
pub fn small(dir: &Path) -> Config {
    Config {
        segment_bytes: 8 << 10,
        max_record_bytes: 1 << 10,
        durability: Durability::Memory,
        retain_snapshots: 2,
        retain_log: RetainLog::SinceOldestSnapshot,
        ..Config::new(dir)
    }
}

/// Every durable record after `after`.
pub fn records(journal: &Journal, after: u64) -> Vec<Vec<u8>> {
    let mut reader = journal.replay(after).unwrap();
    let mut out = Vec::new();
    while let Some((index, bytes)) = reader.next_record().unwrap() {
        assert_eq!(
            index,
            after + out.len() as u64 + 1,
            "indexes are in order, each once"
        );
        out.push(bytes.to_vec());
    }
    out
}

pub fn open(dir: &Path) -> (Journal, Recovery) {
    Journal::open(small(dir)).unwrap()
}

/// A payload without zero bytes, different for each index.
pub fn payload(index: u64, length: usize) -> Vec<u8> {
    (0..length)
        .map(|at| ((index as usize * 31 + at * 7) % 255 + 1) as u8)
        .collect()
}

/// Appends records `from..=to` of that length in one commit.
pub fn write(journal: &mut Journal, from: u64, to: u64, length: usize) {
    for index in from..=to {
        assert_eq!(journal.append(&payload(index, length)).unwrap(), index);
    }
    assert_eq!(journal.commit().unwrap().last_index, to);
}

pub fn segment(dir: &Path, first_index: u64) -> std::path::PathBuf {
    dir.join(format!("{first_index:020}.segment"))
}

/// File and offset of the damage.
pub fn corrupt(result: Result<(Journal, Recovery), Error>) -> (std::path::PathBuf, u64) {
    match result {
        Err(Error::Corrupt { file, offset, .. }) => (file, offset),
        Err(other) => panic!("refused for another reason: {other}"),
        Ok((_, recovery)) => panic!("opened: {recovery:?}"),
    }
}
