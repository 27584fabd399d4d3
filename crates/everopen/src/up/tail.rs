//! Follows the log file of a supervised process, so that what it warns of is seen where the
//! supervisor is.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// At most so much is taken at once; the rest is taken the next time.
const BYTES_AT_ONCE: u64 = 64 << 10;
/// A line is cut here.
const LINE_BYTES: usize = 4 << 10;

/// A log file that grows, and may become another file meanwhile.
pub struct Tail {
    path: PathBuf,
    file: Option<File>,
    /// What is not a whole line yet.
    rest: Vec<u8>,
    /// The newest line that tells of something wrong.
    last: Option<String>,
}

impl Tail {
    /// Follows `path` from its present end.
    pub fn from_end(path: &Path) -> Self {
        let file = File::open(path).ok().and_then(|mut file| {
            file.seek(SeekFrom::End(0)).ok()?;
            Some(file)
        });
        Self {
            path: path.to_path_buf(),
            file,
            rest: Vec::new(),
            last: None,
        }
    }

    /// The whole lines since the last call.
    pub fn lines(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        if let Some(file) = &mut self.file {
            take(file, &mut self.rest, &mut lines);
        }
        let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let now = fs::metadata(&self.path).map(inode).ok();
        let open = self
            .file
            .as_ref()
            .and_then(|file| file.metadata().map(inode).ok());
        if now.is_some()
            && now != open
            && let Ok(mut file) = File::open(&self.path)
        {
            take(&mut file, &mut self.rest, &mut lines);
            self.file = Some(file);
        }
        if let Some(line) = lines.iter().rev().find(|line| is_urgent(line)) {
            self.last = Some(line.clone());
        }
        lines
    }

    /// The last line seen that tells of something wrong.
    pub fn last_urgent(&self) -> Option<&str> {
        self.last.as_deref()
    }
}

fn take(file: &mut File, rest: &mut Vec<u8>, lines: &mut Vec<String>) {
    if file.take(BYTES_AT_ONCE).read_to_end(rest).is_err() {
        return;
    }
    let end = rest.iter().rposition(|byte| *byte == b'\n');
    let whole = match end {
        Some(end) => rest.drain(..=end).collect::<Vec<u8>>(),
        None if rest.len() > LINE_BYTES => std::mem::take(rest),
        None => return,
    };
    for line in whole.split(|byte| *byte == b'\n') {
        let line = String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES)]);
        let line = line.trim_end();
        if !line.is_empty() {
            lines.push(line.to_string());
        }
    }
}

/// Whether a line must be seen even beside a live summary: warnings, errors, and whatever is no
/// line of the log, such as a panic's message.
pub fn is_urgent(line: &str) -> bool {
    let is_calm = |level: &str| matches!(level, "INFO" | "DEBUG" | "TRACE");
    if line.starts_with('{') {
        let level = line.split("\"level\":\"").nth(1);
        return !level
            .and_then(|rest| rest.split('"').next())
            .is_some_and(is_calm);
    }
    !line.split_whitespace().nth(1).is_some_and(is_calm)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn lines_come_once_also_when_the_file_turns_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.log");
        fs::write(&path, "of an earlier process\n").unwrap();
        let mut tail = Tail::from_end(&path);
        let mut file = File::options().append(true).open(&path).unwrap();
        file.write_all(b"2026-01-01T00:00:00Z  INFO one\ntw")
            .unwrap();
        assert_eq!(tail.lines(), ["2026-01-01T00:00:00Z  INFO one"]);
        file.write_all(b"o\n").unwrap();
        fs::rename(&path, folder.path().join("node.log.1")).unwrap();
        fs::write(&path, "2026-01-01T00:00:00Z ERROR three\n").unwrap();
        assert_eq!(tail.lines(), ["two", "2026-01-01T00:00:00Z ERROR three"]);
        assert_eq!(tail.lines(), [""; 0]);
        assert_eq!(tail.last_urgent(), Some("2026-01-01T00:00:00Z ERROR three"));
    }

    #[test]
    fn urgent_is_what_is_not_calm() {
        assert!(!is_urgent("2026-01-01T00:00:00Z  INFO everopen: up"));
        assert!(is_urgent("2026-01-01T00:00:00Z  WARN everopen: slow"));
        assert!(is_urgent("thread 'main' panicked at src/main.rs:1:1:"));
        assert!(!is_urgent(
            r#"{"timestamp":"x","level":"INFO","fields":{}}"#
        ));
        assert!(is_urgent(
            r#"{"timestamp":"x","level":"ERROR","fields":{}}"#
        ));
    }
}
