//! Logs on standard error, as text or JSON; `EVEROPEN_LOG` sets the filter.

use std::io::IsTerminal;

use anyhow::{Result, anyhow};
use tracing_subscriber::EnvFilter;

use crate::cli::LogFormat;

/// Starts logging. With a live summary on the terminal only warnings are shown by default, since
/// both share the screen.
///
/// # Errors
/// When the filter can't be read.
pub fn start(format: LogFormat, summary: bool) -> Result<()> {
    let default = if summary { "warn" } else { "info" };
    let filter = match std::env::var("EVEROPEN_LOG") {
        Ok(filter) => EnvFilter::try_new(&filter)
            .map_err(|e| anyhow!("EVEROPEN_LOG {filter:?} is not a filter: {e}"))?,
        Err(_) => EnvFilter::new(default),
    };
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // Colors are for a terminal; in a file or a pipe they are noise.
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    started.map_err(|e| anyhow!("start logging: {e}"))
}
