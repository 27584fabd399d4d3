//! One supervised process: started or taken over, watched through a descriptor that names it
//! beyond doubt, whatever becomes of its process id.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, OpenOptions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getuid, pidfd_open, pidfd_send_signal};

use crate::cli::LogFormat;

/// Seconds that connections may take to end when the edge stops or is replaced.
const EDGE_DRAIN_S: &str = "10";

/// What a process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A replica, by its number.
    Replica(u64),
    /// The gateway.
    Gateway,
    /// The edge before it.
    Edge,
}

impl Role {
    /// The subcommand that runs it.
    fn subcommand(self) -> &'static str {
        match self {
            Self::Replica(_) => "node",
            Self::Gateway => "gateway",
            Self::Edge => "edge",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Replica(id) => write!(f, "replica {id}"),
            Self::Gateway => f.write_str("gateway"),
            Self::Edge => f.write_str("edge"),
        }
    }
}

/// How a process is started.
pub struct Start<'a> {
    pub role: Role,
    /// Its file, as an absolute path: by it a later supervisor knows the process.
    pub config: &'a Path,
    pub log_file: &'a Path,
    pub log_format: LogFormat,
    pub tied: bool,
    /// Take over from the one that runs.
    pub take_over: bool,
    /// A listening socket to hand over.
    pub listener: Option<OwnedFd>,
}

/// A running process.
pub struct Process {
    pid: u32,
    descriptor: OwnedFd,
    /// None for one that an earlier supervisor started.
    child: Option<Child>,
}

impl Process {
    /// Starts a process of this very program, even if its file was replaced meanwhile. It is in a
    /// process group of its own, so that Ctrl-C reaches only the supervisor.
    ///
    /// # Errors
    /// When the system can't.
    pub fn start(start: Start<'_>) -> Result<Self> {
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(start.log_file)
            .with_context(|| format!("open {}", start.log_file.display()))?;
        let mut command = Command::new("/proc/self/exe");
        command
            .arg0("everopen")
            .arg(start.role.subcommand())
            .arg("--config")
            .arg(start.config)
            .arg("--log-file")
            .arg(start.log_file)
            .args(["--log-format", start.log_format.name()])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone().context("share the log file")?)
            .stderr(log);
        if start.tied {
            command.arg("--tied-to").arg(std::process::id().to_string());
        }
        if start.role == Role::Edge {
            // What clients still do is over when they are told to stop, but for WebSockets.
            command.args(["--drain", EDGE_DRAIN_S]);
        }
        if start.take_over {
            command.arg("--take-over");
        }
        if let Some(listener) = start.listener {
            command.arg("--listener-on-stdin").stdin(listener);
        }
        let child = command
            .spawn()
            .with_context(|| format!("start the {}", start.role))?;
        // It can't be another process: nobody but this one can reap it.
        let descriptor = open(child.id()).context("open a descriptor of the process")?;
        Ok(Self {
            pid: child.id(),
            descriptor,
            child: Some(child),
        })
    }

    /// Takes over the process that an earlier supervisor started with this file, if it still runs.
    pub fn find(role: Role, config: &Path) -> Option<Self> {
        let folders = fs::read_dir("/proc").ok()?;
        let mut pids = folders
            .flatten()
            .filter_map(|folder| folder.file_name().to_str()?.parse::<u32>().ok());
        pids.find_map(|pid| {
            if !is_of(pid, role, config) {
                return None;
            }
            let descriptor = open(pid).ok()?;
            // The number may have gone to another process before the descriptor was opened.
            is_of(pid, role, config).then_some(Self {
                pid,
                descriptor,
                child: None,
            })
        })
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it runs another program than this one, for instance an earlier release.
    pub fn is_of_another_program(&self) -> bool {
        !is_program(self.pid)
    }

    /// Whether this supervisor did not start it.
    pub fn is_adopted(&self) -> bool {
        self.child.is_none()
    }

    /// Sends a signal; to a process that has ended, none.
    pub fn signal(&self, signal: Signal) {
        match pidfd_send_signal(&self.descriptor, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => tracing::warn!(pid = self.pid, %error, "signal"),
        }
    }

    /// Calls `ended` on a thread of its own once the process has ended.
    ///
    /// # Errors
    /// When the thread can't be started.
    pub fn watch(&self, ended: impl FnOnce() + Send + 'static) -> Result<()> {
        let descriptor = self.descriptor.try_clone().context("share a descriptor")?;
        let wait = move || {
            loop {
                let mut one = [PollFd::new(&descriptor, PollFlags::IN)];
                match poll(&mut one, None) {
                    Ok(_) => break,
                    Err(Errno::INTR) => {}
                    Err(error) => {
                        tracing::error!(%error, "watch a process");
                        break;
                    }
                }
            }
            ended();
        };
        std::thread::Builder::new()
            .name("everopen-watch".into())
            .spawn(wait)
            .context("start a watching thread")?;
        Ok(())
    }

    /// How the process ended; waits for that if it has not.
    pub fn reap(self) -> String {
        match self.child.map(|mut child| child.wait()) {
            // The status of another's child is not to be had.
            None => "ended".into(),
            Some(Ok(status)) => status.to_string(),
            Some(Err(error)) => error.to_string(),
        }
    }
}

/// Whether a process runs this very program. Where that can't be told it counts as such: what runs is left
/// alone.
pub fn is_program(pid: u32) -> bool {
    let identity = |path: &str| fs::metadata(path).map(|file| (file.dev(), file.ino()));
    let own = identity("/proc/self/exe");
    match (own, identity(&format!("/proc/{pid}/exe"))) {
        (Ok(own), Ok(other)) => own == other,
        _ => true,
    }
}

fn open(pid: u32) -> Result<OwnedFd> {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(Pid::from_raw)
        .context("not a process id")?;
    let descriptor = pidfd_open(pid, PidfdFlags::empty())?;
    debug_assert!(descriptor.as_fd().try_clone_to_owned().is_ok());
    Ok(descriptor)
}

/// Asks the supervisor with this number, if it is one, to end without what it supervises.
pub fn ask_to_leave(pid: u32) -> Result<()> {
    let descriptor = open(pid)?;
    let words = words_of(pid);
    let is_supervisor = words.get(1).is_some_and(|word| word == "up");
    if !is_supervisor {
        bail!("process {pid} is no `everopen up`");
    }
    pidfd_send_signal(&descriptor, Signal::USR1).context("signal the running supervisor")
}

fn words_of(pid: u32) -> Vec<OsString> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0)
        .map(|word| OsString::from_vec(word.to_vec()))
        .collect()
}

/// Whether a process is one of ours, started with this role and file.
fn is_of(pid: u32, role: Role, config: &Path) -> bool {
    let folder = Path::new("/proc").join(pid.to_string());
    let own = fs::metadata(&folder).is_ok_and(|folder| folder.uid() == getuid().as_raw());
    if !own {
        return false;
    }
    let words = words_of(pid);
    words.first().is_some_and(|name| name == "everopen")
        && words.get(1).is_some_and(|word| word == role.subcommand())
        && words.get(2).is_some_and(|word| word == "--config")
        && words.get(3).is_some_and(|word| Path::new(word) == config)
}
