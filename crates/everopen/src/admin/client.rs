//! Performs an action on a venue, running or stopped.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::{Action, Operator};

/// Performs `action` on the venue in `dir`: through its socket if it runs, else by opening its log.
///
/// # Errors
/// What the venue or the system refused, as a sentence.
pub fn perform(dir: &Path, action: &Action) -> Result<Value> {
    let directory = File::open(dir).with_context(|| {
        format!(
            "no venue in {}: start one with `everopen up --dir`",
            dir.display()
        )
    })?;
    match UnixStream::connect(super::server::socket_path(&directory)) {
        Ok(stream) => ask(&stream, action),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::ConnectionRefused) => {
            Operator::open_stopped(dir)?.execute(action)
        }
        Err(e) => Err(e).context("connect to the venue's admin socket"),
    }
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
