//! `everopen edge`: the front of services.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use everopen_edge::{Config, Edge};
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::LogFormat;

#[derive(Debug, Args)]
pub struct Arguments {
    /// Its settings: listeners, services, groups
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Take the listening sockets over from the edge that runs with the same settings; it then ends
    #[arg(long)]
    pub take_over: bool,
    /// Seconds that requests and connections may take to end when it stops or was taken over
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub drain: u64,
    /// Form of the log on standard error
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
}

/// Runs until SIGTERM or Ctrl-C, or until its next version has taken over.
///
/// # Errors
/// When it can't start.
pub fn run(args: &Arguments) -> Result<()> {
    crate::telemetry::start(args.log_format, false)?;
    let config = Config::read(&args.config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the edge's threads")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("watch for signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("watch for signals")?;
        let mut edge = Edge::start(&config, args.take_over).await?;
        for listener in &config.listeners {
            tracing::info!(
                listener = listener.name,
                address = %listener.address,
                service = listener.service,
                "takes connections"
            );
        }
        let is_replaced = tokio::select! {
            _ = terminate.recv() => false,
            _ = interrupt.recv() => false,
            () = edge.handed_over() => true,
        };
        tracing::info!(is_replaced, "takes no more connections");
        let cut = edge.stop(Duration::from_secs(args.drain)).await;
        if !is_replaced {
            Edge::remove_sockets(&config.admin);
        }
        tracing::info!(cut, "stopped");
        Ok(())
    })
}
