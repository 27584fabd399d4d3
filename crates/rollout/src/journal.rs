//! The journal of a rollout, or of whatever else is done step by step: one line of JSON for everything that
//! is begun and everything that came of it, on the disk before the next thing is begun. It is the audit
//! trail, too.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::state::now_ms;

/// What a line says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Entry {
    /// Somebody began or took up the rollout.
    Opened {
        /// Who: the system's user.
        who: String,
        /// Why, in their words.
        why: String,
    },
    /// A step is begun.
    Begun {
        /// Its place in the plan.
        step: usize,
        /// In words.
        text: String,
    },
    /// A step has ended well.
    Done {
        /// Its place in the plan.
        step: usize,
        /// What was seen.
        evidence: String,
    },
    /// A step has failed: what was done is taken back.
    Failed {
        /// Its place in the plan.
        step: usize,
        /// Why.
        reason: String,
    },
    /// Somebody lets it wait before what comes next.
    Paused {
        /// Who.
        who: String,
        /// Why.
        why: String,
    },
    /// Somebody lets it go on.
    Resumed {
        /// Who.
        who: String,
        /// Why.
        why: String,
    },
    /// What was done is being taken back.
    Undoing {
        /// In words.
        text: String,
    },
    /// The rollout has ended.
    Ended {
        /// How.
        outcome: Outcome,
        /// What clients noticed, where it was measured.
        noticed: String,
    },
}

/// How a rollout ended: there is nothing in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The new version serves.
    New,
    /// The old version serves, as before.
    Old,
    /// The new version served, and somebody went back to the old one.
    Back,
}

/// A line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line<E = Entry> {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What.
    #[serde(flatten)]
    pub entry: E,
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    file: File,
}

impl Journal {
    /// Opens a journal and reads what is in it. A last line that was cut off is taken away: what it was to
    /// say was not acted upon.
    ///
    /// # Errors
    /// It can't be read or written, or a line in its middle is not understood.
    pub fn open<E: DeserializeOwned>(path: &Path) -> io::Result<(Self, Vec<Line<E>>)> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).append(true).create(true).open(path)?;
        let mut lines = Vec::new();
        let mut whole = 0;
        let mut reader = BufReader::new(&mut file);
        let mut text = Vec::new();
        while reader.read_until(b'\n', &mut text)? > 0 {
            if !text.ends_with(b"\n") {
                break;
            }
            let line = serde_json::from_slice(&text).map_err(|error| {
                let place = lines.len() + 1;
                io::Error::other(format!("line {place} of {}: {error}", path.display()))
            })?;
            lines.push(line);
            whole += text.len() as u64;
            text.clear();
        }
        file.set_len(whole)?;
        file.seek(SeekFrom::End(0))?;
        Ok((Self { file }, lines))
    }

    /// Writes a line onto the disk.
    ///
    /// # Errors
    /// When it can't be: then what it says must not be done.
    pub fn write<E: Serialize>(&mut self, entry: E) -> io::Result<Line<E>> {
        let line = Line {
            at_ms: now_ms(),
            entry,
        };
        let mut text = serde_json::to_vec(&line)?;
        text.push(b'\n');
        self.file.write_all(&text)?;
        self.file.sync_data()?;
        Ok(line)
    }
}

/// Reads a journal without changing it.
///
/// # Errors
/// It can't be read.
pub fn read<E: DeserializeOwned>(path: &Path) -> io::Result<Vec<Line<E>>> {
    let text = std::fs::read_to_string(path)?;
    let whole = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    whole.map(|line| Ok(serde_json::from_str(line)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_was_cut_off_is_as_if_it_had_not_been_begun() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("journal.jsonl");
        let begun = |step| Entry::Begun {
            step,
            text: "a step".into(),
        };
        {
            let (mut journal, lines) = Journal::open::<Entry>(&path).expect("new");
            assert!(lines.is_empty());
            for step in 0..2 {
                journal.write(begun(step)).expect("written");
            }
        }
        let bytes = std::fs::read(&path).expect("read");
        std::fs::write(&path, &bytes[..bytes.len() - 7]).expect("cut");
        let (mut journal, lines) = Journal::open::<Entry>(&path).expect("opens");
        assert_eq!(
            lines.iter().map(|l| l.entry.clone()).collect::<Vec<_>>(),
            [begun(0)]
        );
        journal.write(begun(5)).expect("written");
        let lines = read::<Entry>(&path).expect("read");
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[1].entry, begun(5));
        std::fs::write(&path, b"nonsense\n{}\n").expect("written");
        let error = Journal::open::<Entry>(&path)
            .expect_err("not understood")
            .to_string();
        assert!(error.contains("line 1"), "{error}");
    }
}
