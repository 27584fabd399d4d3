//! What a supervised process does on its own side: its log goes into a file, and it ends with its
//! supervisor if it was told to.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

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
        match &self.log_file {
            Some(file) => telemetry::start_file(self.log_format, file),
            None => telemetry::start(self.log_format, false),
        }
    }
}
