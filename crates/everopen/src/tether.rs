//! What a supervised process does on its own side: its log goes into a file, and it ends with its
//! supervisor if it was told to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, getpid, getppid, kill_process, pidfd_open,
    set_parent_process_death_signal,
};

use crate::cli::LogFormat;
use crate::telemetry;

/// How `everopen up` starts a process.
#[derive(Clone, Debug, Default, Args)]
pub struct Tether {
    /// Log into this file instead of standard error
    #[arg(long, value_name = "FILE")]
    pub log_file: Option<PathBuf>,
    /// End when the parent process, which must be this one, ends
    #[arg(long, value_name = "PID", hide = true)]
    pub tied_to: Option<i32>,
    /// End when the process whose number is in this file ends
    #[arg(long, value_name = "FILE", hide = true)]
    pub ends_with: Option<PathBuf>,
    /// Form of the log lines
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

impl Tether {
    /// Starts logging and ties the process to its parent, if that is wanted.
    ///
    /// # Errors
    /// When the log can't be written, or the parent has ended already.
    pub fn start(&self) -> Result<()> {
        // Else it is called after the link through which it was started, which says nothing.
        let _ = rustix::thread::set_name(c"everopen");
        if let Some(parent) = self.tied_to.and_then(Pid::from_raw) {
            set_parent_process_death_signal(Some(Signal::KILL)).context("tie to the supervisor")?;
            // It may have ended before the line above; then nothing would come.
            if getppid() != Some(parent) {
                bail!("the supervisor has ended");
            }
        }
        if let Some(file) = &self.ends_with {
            end_with(file)?;
        }
        match &self.log_file {
            Some(file) => telemetry::start_file(self.log_format, file),
            None => telemetry::start(self.log_format, false),
        }
    }
}

/// Ends this process with that whose number is in the file, whoever started it.
fn end_with(file: &Path) -> Result<()> {
    let text = fs::read_to_string(file).with_context(|| format!("read {}", file.display()))?;
    let pid = text.trim().parse().ok().and_then(Pid::from_raw);
    let pid = pid.with_context(|| format!("{} holds no process id", file.display()))?;
    let descriptor =
        pidfd_open(pid, PidfdFlags::empty()).context("the supervisor has ended already")?;
    let wait = move || {
        let mut one = [PollFd::new(&descriptor, PollFlags::IN)];
        while let Err(Errno::INTR) = poll(&mut one, None) {}
        // As with a tie to the parent: at once, and nobody is asked.
        let _ = kill_process(getpid(), Signal::KILL);
    };
    std::thread::Builder::new()
        .name("everopen-tether".into())
        .spawn(wait)
        .context("start a thread")?;
    Ok(())
}
