//! The admin socket of a gateway: one request a connection, a line of JSON each way.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use everopen_client::Refusal;
use serde_json::{Value, json};

use super::{Action, Operator};

/// A request may not be longer.
const REQUEST_BYTES: u64 = 64 * 1024;
/// Nor take longer to arrive or to be taken.
const PATIENCE: Duration = Duration::from_secs(10);

/// Requests at once; more are told to come again.
const REQUESTS_MAX: usize = 16;

/// The path of the socket through an open directory, since a socket's own path may only have 108
/// bytes and a data directory can be deeper.
pub(super) fn socket_path(dir: &File) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}/admin.sock", dir.as_raw_fd()))
}

/// How long requests that are under way may take when the gateway ends, and between two looks.
const ENDING: Duration = Duration::from_secs(3);
const LOOK: Duration = Duration::from_millis(5);

/// Between two looks whether somebody still answers on the socket.
const RETAKE: Duration = Duration::from_millis(250);

/// The requests of operators that are under way.
#[derive(Clone, Debug, Default)]
pub struct Operators {
    busy: Arc<AtomicUsize>,
    is_ending: Arc<AtomicBool>,
}

impl Operators {
    /// Lets those under way come to their end, for some time; those that come now are told to come again,
    /// since nothing of theirs was submitted.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::Release);
        let deadline = Instant::now() + ENDING;
        while self.busy.load(Ordering::Acquire) > 0 && Instant::now() < deadline {
            std::thread::sleep(LOOK);
        }
    }
}

/// Listens until the process ends. The gateway that came last has the socket; when it has ended, one that
/// is still there takes it again.
///
/// # Errors
/// When the socket can't be made.
pub fn serve(dir: &Path, operator: Arc<Operator>) -> Result<Operators> {
    let directory = File::open(dir).with_context(|| format!("open {}", dir.display()))?;
    let operators = Operators::default();
    let under_way = operators.clone();
    listen(dir, &directory, &operator, &operators)?;
    let dir = dir.to_path_buf();
    let work = move || {
        loop {
            std::thread::sleep(RETAKE);
            let is_dead = match UnixStream::connect(socket_path(&directory)) {
                Ok(_) => false,
                Err(error) => matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::ConnectionRefused
                ),
            };
            let is_ending = operators.is_ending.load(Ordering::Acquire);
            if is_dead
                && !is_ending
                && let Err(error) = listen(&dir, &directory, &operator, &operators)
            {
                tracing::warn!(error = format!("{error:#}"), "nobody has the admin socket");
            }
        }
    };
    std::thread::Builder::new()
        .name("everopen-retake".into())
        .spawn(work)
        .context("start the admin thread")?;
    Ok(under_way)
}

fn listen(
    dir: &Path,
    directory: &File,
    operator: &Arc<Operator>,
    operators: &Operators,
) -> Result<()> {
    let operator = Arc::clone(operator);
    let path = socket_path(directory);
    let _ = std::fs::remove_file(dir.join("admin.sock"));
    let listener = UnixListener::bind(&path).context("listen on the admin socket")?;
    std::fs::set_permissions(dir.join("admin.sock"), PermissionsExt::from_mode(0o600))
        .context("close the admin socket to others")?;
    let operators = operators.clone();
    let work = move || {
        for stream in listener.incoming() {
            let (operator, operators) = (Arc::clone(&operator), operators.clone());
            let begun = stream
                .context("accept")
                .and_then(|stream| begin(operator, operators, stream));
            if let Err(error) = begun {
                tracing::warn!(error = format!("{error:#}"), "admin request failed");
            }
        }
    };
    std::thread::Builder::new()
        .name("everopen-admin".into())
        .spawn(work)
        .context("start the admin thread")?;
    Ok(())
}

/// Answers on a thread of its own: a request that waits for a leader keeps nobody else waiting.
fn begin(operator: Arc<Operator>, operators: Operators, stream: UnixStream) -> Result<()> {
    let busy = operators.busy;
    if busy.fetch_add(1, Ordering::AcqRel) >= REQUESTS_MAX {
        busy.fetch_sub(1, Ordering::AcqRel);
        stream.set_write_timeout(Some(PATIENCE))?;
        writeln!(
            &stream,
            "{}",
            json!({ "error": "too many requests at once" })
        )?;
        return Ok(());
    }
    // Counted first: whoever ends this waits for all that did not see that.
    if operators.is_ending.load(Ordering::Acquire) {
        busy.fetch_sub(1, Ordering::AcqRel);
        stream.set_write_timeout(Some(PATIENCE))?;
        let again = Refusal::Stopped.to_string();
        writeln!(&stream, "{}", json!({ "error": again }))?;
        return Ok(());
    }
    let counted = Arc::clone(&busy);
    let started = std::thread::Builder::new()
        .name("everopen-operator".into())
        .spawn(move || {
            if let Err(error) = answer(&operator, stream) {
                tracing::warn!(error = format!("{error:#}"), "admin request failed");
            }
            counted.fetch_sub(1, Ordering::AcqRel);
        });
    if started.is_err() {
        busy.fetch_sub(1, Ordering::AcqRel);
    }
    started.context("start a thread").map(drop)
}

fn answer(operator: &Operator, stream: UnixStream) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    let read = BufReader::new((&stream).take(REQUEST_BYTES)).read_line(&mut line)?;
    if read == 0 {
        // Another gateway, or this one, that only looked whether anybody is here.
        return Ok(());
    }
    let outcome = serde_json::from_str::<Action>(&line)
        .context("read the request")
        .and_then(|action| operator.execute(&action));
    let reply: Value = match outcome {
        Ok(value) => json!({ "ok": value }),
        Err(error) => json!({ "error": format!("{error:#}") }),
    };
    writeln!(&stream, "{reply}")?;
    Ok(())
}
