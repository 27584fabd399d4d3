//! Logs on standard error or into a bounded file, as text or JSON; `EVEROPEN_LOG` sets the filter.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow};
use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// A log file that is larger becomes `….log.1`, and a new one begins.
const LOG_BYTES: u64 = 8 << 20;

fn filter(default: &str) -> Result<EnvFilter> {
    match std::env::var("EVEROPEN_LOG") {
        Ok(filter) => EnvFilter::try_new(&filter)
            .map_err(|e| anyhow!("EVEROPEN_LOG {filter:?} is not a filter: {e}")),
        Err(_) => Ok(EnvFilter::new(default)),
    }
}

/// Starts logging to standard error. With a live summary on the terminal only warnings are shown
/// by default, since both share the screen.
///
/// # Errors
/// When the filter can't be read.
pub fn start(format: LogFormat, summary: bool) -> Result<()> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter(if summary { "warn" } else { "info" })?)
        // Colors are for a terminal; in a file or a pipe they are noise.
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|e| anyhow!("start logging: {e}"))
}

/// Starts logging into a file. Standard error goes there, too, for what a panic says. Nobody has
/// to read it: a process must never wait for whoever watches it.
///
/// # Errors
/// When the filter can't be read or the file can't be made.
pub fn start_file(format: LogFormat, path: &Path) -> Result<()> {
    let file = LogFile::open(path).with_context(|| format!("open {}", path.display()))?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter("info")?)
        .with_ansi(false)
        .with_writer(Mutex::new(file));
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|e| anyhow!("start logging: {e}"))
}

/// A file of bounded size and the one before it.
struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    bytes_max: u64,
}

impl LogFile {
    fn open(path: &Path) -> io::Result<Self> {
        let mut log = Self {
            path: path.to_path_buf(),
            file: append_to(path)?,
            bytes: 0,
            bytes_max: LOG_BYTES,
        };
        log.bytes = log.file.metadata()?.len();
        log.take_stderr();
        Ok(log)
    }

    /// What a panic says goes where the log goes.
    fn take_stderr(&self) {
        #[cfg(not(test))]
        let _ = rustix::stdio::dup2_stderr(&self.file);
    }

    fn turn_over(&mut self) -> io::Result<()> {
        fs::rename(&self.path, older(&self.path))?;
        self.file = append_to(&self.path)?;
        self.bytes = 0;
        self.take_stderr();
        Ok(())
    }
}

fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
}

/// The file before this one.
pub fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bytes >= self.bytes_max {
            // A full disk must not end the process; it goes on in the file that it has.
            let _ = self.turn_over();
        }
        self.bytes += bytes.len() as u64;
        // A line that can't be written is lost; what it tells of goes on.
        let _ = self.file.write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_file_stays_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.log");
        let mut log = LogFile::open(&path).unwrap();
        log.bytes_max = 1_000;
        let line = [b'x'; 100];
        for _ in 0..105 {
            log.write_all(&line).unwrap();
        }
        assert_eq!(fs::metadata(&path).unwrap().len(), 500);
        assert_eq!(fs::metadata(older(&path)).unwrap().len(), 1_000);
        let again = LogFile::open(&path).unwrap();
        assert_eq!(again.bytes, 500, "goes on where it was");
    }
}
