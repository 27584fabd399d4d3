//! Runs a program to its end, within a time and with bounded memory for what it says.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

/// Bytes of each output that are kept; what comes after them is read and dropped.
const OUTPUT_MAX: usize = 1 << 20;
/// How long outputs are read on when the program has ended and something that it left behind has them
/// still open.
const AFTERWARDS: Duration = Duration::from_millis(200);

/// What is run.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    /// The program and its arguments.
    pub command: &'a [String],
    /// Its working directory.
    pub dir: &'a Path,
    /// Additions to its environment.
    pub env: &'a BTreeMap<String, String>,
    /// What it reads.
    pub input: &'a [u8],
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// The beginning of its standard output: a mebibyte at most.
    pub output: Vec<u8>,
    /// The beginning of its standard error: a mebibyte at most.
    pub errors: Vec<u8>,
}

/// Why it did not come to an end of its own.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// It names no program.
    #[error("it names no program")]
    Empty,
    /// It can't be started.
    #[error("start {program:?}: {source}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// It took too long and was killed, with what it had started.
    #[error("{program} took longer than {ms} ms")]
    Late {
        /// The program.
        program: String,
        /// Milliseconds that it had.
        ms: u128,
    },
}

/// A program in a process group of its own, which is killed whole when nobody waits for it any longer.
struct Group {
    child: Child,
    leader: Option<Pid>,
}

impl Drop for Group {
    fn drop(&mut self) {
        if let Some(leader) = self.leader {
            // All of them may have ended meanwhile.
            let _ = rustix::process::kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Runs it. It and what it started in its process group are killed when the time is over, or when the
/// caller no longer waits; what a program left behind that had ended in time is left alone.
///
/// # Errors
/// It could not be started, or took too long.
pub async fn run(program: Program<'_>, patience: Duration) -> Result<Ran, ProgramError> {
    let (name, arguments) = program.command.split_first().ok_or(ProgramError::Empty)?;
    let start = |source| ProgramError::Start {
        program: name.clone(),
        source,
    };
    let mut command = Command::new(name);
    command
        .args(arguments)
        .current_dir(program.dir)
        .envs(program.env)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().map_err(start)?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let mut group = Group {
        child,
        leader: pid.and_then(Pid::from_raw),
    };
    let (output, errors) = (Kept::default(), Kept::default());
    let talk = async {
        tokio::join!(
            async {
                if let Some(mut stdin) = stdin {
                    // One that reads nothing is no failure.
                    let _ = stdin.write_all(program.input).await;
                }
            },
            read(stdout, &output),
            read(stderr, &errors),
        );
    };
    tokio::pin!(talk);
    let mut is_over = false;
    let ended = async {
        let wait = group.child.wait();
        tokio::pin!(wait);
        loop {
            tokio::select! {
                status = &mut wait => break status,
                () = &mut talk, if !is_over => is_over = true,
            }
        }
    };
    let status = match tokio::time::timeout(patience, ended).await {
        Ok(status) => status.map_err(start)?,
        Err(_) => {
            let late = ProgramError::Late {
                program: name.clone(),
                ms: patience.as_millis(),
            };
            return Err(late);
        }
    };
    group.leader = None;
    if !is_over {
        let _ = tokio::time::timeout(AFTERWARDS, talk).await;
    }
    Ok(Ran {
        status,
        output: output.take(),
        errors: errors.take(),
    })
}

/// What was read so far.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Kept {
    fn add(&self, bytes: &[u8]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let room = OUTPUT_MAX.saturating_sub(kept.len());
        kept.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn read(from: Option<impl AsyncRead + Unpin>, kept: &Kept) {
    let Some(mut from) = from else { return };
    let mut bytes = vec![0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        kept.add(&bytes[..count]);
    }
}

impl Ran {
    /// What it said, for people: its standard error, or else its standard output, in an excerpt.
    pub fn said(&self) -> String {
        let errors = String::from_utf8_lossy(&self.errors);
        let said = match errors.trim() {
            "" => String::from_utf8_lossy(&self.output),
            _ => errors,
        };
        said.trim().chars().take(400).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    async fn shell(script: &str, input: &[u8], ms: u64) -> Result<Ran, ProgramError> {
        let command = ["sh", "-c", script].map(str::to_string);
        let env = BTreeMap::from([("KIND".to_string(), "green".to_string())]);
        let program = Program {
            command: &command,
            dir: Path::new("."),
            env: &env,
            input,
        };
        run(program, Duration::from_millis(ms)).await
    }

    #[tokio::test]
    async fn it_reads_says_and_ends() {
        let ran = shell("cat; echo $KIND >&2; exit 3", b"hello", 60_000).await;
        let ran = ran.expect("it ends");
        assert_eq!(ran.status.code(), Some(3));
        assert_eq!(ran.output, b"hello");
        assert_eq!(ran.said(), "green");
        // More than is kept, and more than a pipe holds.
        let ran = shell("head -c 3000000 /dev/zero", &[7; 1 << 20], 60_000).await;
        let ran = ran.expect("it ends");
        assert!(ran.status.success());
        assert_eq!(ran.output.len(), OUTPUT_MAX);
    }

    #[tokio::test]
    async fn what_it_leaves_behind_is_not_waited_for() {
        let began = Instant::now();
        let ran = shell("sleep 60 & echo $!", b"", 50_000).await;
        let ran = ran.expect("it ends");
        assert!(began.elapsed() < Duration::from_secs(30));
        let text = String::from_utf8(ran.output).expect("text");
        let left = Pid::from_raw(text.trim().parse().expect("a number")).expect("a process");
        rustix::process::kill_process(left, Signal::KILL).expect("it is still there");
    }

    #[tokio::test]
    async fn one_that_takes_too_long_is_killed_with_what_it_started() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pid");
        let script = format!(
            "sleep 60 & echo $! > {0}.new; mv {0}.new {0}; wait",
            path.display()
        );
        let error = shell(&script, b"", 2_000).await.expect_err("too late");
        assert!(error.to_string().contains("longer than 2000 ms"), "{error}");
        let text = std::fs::read_to_string(&path).expect("it was started");
        let stat = format!("/proc/{}/stat", text.trim());
        let deadline = Instant::now() + Duration::from_secs(10);
        let is_gone = || match std::fs::read_to_string(&stat) {
            Ok(stat) => stat.contains(") Z "),
            Err(_) => true,
        };
        while !is_gone() && Instant::now() < deadline {
            tokio::task::yield_now().await;
        }
        assert!(is_gone());
    }

    #[tokio::test]
    async fn what_is_no_program_is_named() {
        let env = BTreeMap::new();
        for (command, text) in [
            (&[][..], "names no program"),
            (&["/no/such".to_string()][..], "/no/such"),
        ] {
            let program = Program {
                command,
                dir: Path::new("."),
                env: &env,
                input: b"",
            };
            let error = run(program, Duration::from_secs(9)).await.expect_err("not");
            assert!(error.to_string().contains(text), "{error}");
        }
    }
}
