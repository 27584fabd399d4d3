//! Performs an action on a running venue.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use everopen_client::Refusal;
use serde_json::{Value, json};

use super::Action;
use crate::cluster::access::Access;

/// How long a replica may take to write a snapshot.
const SNAPSHOT: Duration = Duration::from_secs(120);
/// For how long a gateway that is about to end may still have the socket, and between two tries.
const ENDING: Duration = Duration::from_secs(3);
const AGAIN: Duration = Duration::from_millis(100);

/// Performs `action` on the venue in `dir`.
///
/// # Errors
/// What the venue or the system refused, as a sentence.
pub fn perform(dir: &Path, action: &Action) -> Result<Value> {
    if matches!(action, Action::Snapshot) {
        return snapshot(dir);
    }
    let directory = File::open(dir).with_context(|| {
        format!(
            "no venue in {}: start one with `everopen up --dir`",
            dir.display()
        )
    })?;
    let stopped = Refusal::Stopped.to_string();
    let deadline = Instant::now() + ENDING;
    loop {
        let stream = match UnixStream::connect(super::server::socket_path(&directory)) {
            Ok(stream) => stream,
            // One gateway has ended, and another takes the socket in a moment.
            Err(e)
                if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused)
                    && dir.join("endpoints.json").exists()
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(AGAIN);
                continue;
            }
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
                bail!(
                    "the venue in {} does not run (or its gateway is starting): every change is a command in its log, so start it with `everopen up --dir` first",
                    dir.display()
                )
            }
            Err(e) => return Err(e).context("connect to the venue's admin socket"),
        };
        match ask(&stream, action) {
            // Nothing was submitted; another gateway may have the socket in a moment.
            Err(error)
                if (format!("{error:#}") == stopped || was_not_read(&error))
                    && Instant::now() < deadline =>
            {
                std::thread::sleep(AGAIN);
            }
            answer => return answer,
        }
    }
}

/// Whether the gateway ended before it read the request: it was closed on while something was unread.
fn was_not_read(error: &anyhow::Error) -> bool {
    let cause = error.root_cause().downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| {
        matches!(
            cause.kind(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset
        )
    })
}

/// Every replica takes its own snapshot, at an entry of its own.
fn snapshot(dir: &Path) -> Result<Value> {
    let access = Access::of_dir(dir)?;
    let answers = access.ask_all(&json!({ "ask": "snapshot" }), SNAPSHOT);
    let told: Vec<Value> = answers
        .iter()
        .map(|answered| match &answered.answer {
            Ok(answer) => json!({ "node": answered.node.id, "snapshot": answer["index"] }),
            Err(error) => json!({ "node": answered.node.id, "error": error }),
        })
        .collect();
    if answers.iter().all(|answered| answered.answer.is_err()) {
        bail!("no replica took a snapshot: {}", Value::Array(told));
    }
    Ok(Value::Array(told))
}

fn ask(stream: &UnixStream, action: &Action) -> Result<Value> {
    let mut writer = stream;
    writeln!(writer, "{}", serde_json::to_string(action)?)?;
    let mut line = String::new();
    BufReader::new(stream)
        .read_line(&mut line)
        .context("read the venue's answer")?;
    let mut reply: Value = serde_json::from_str(&line).context("read the venue's answer")?;
    if let Some(error) = reply.get("error").and_then(Value::as_str) {
        bail!("{error}");
    }
    reply
        .get_mut("ok")
        .map(Value::take)
        .ok_or_else(|| anyhow!("the venue's answer is neither good nor bad"))
}
