//! `everopen edge`: the front of services.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use everopen_edge::{Config, Edge};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Its settings: listeners, services, groups
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    #[command(flatten)]
    pub tether: crate::tether::Tether,
    /// Take the listening sockets over from the edge that runs with the same settings; it then ends
    #[arg(long)]
    pub take_over: bool,
    /// Seconds that requests and connections may take to end when it stops or was taken over
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub drain: u64,
    /// Take the first listener's socket from standard input
    #[arg(long, hide = true)]
    pub listener_on_stdin: bool,
}

/// Runs until SIGTERM or Ctrl-C, or until its next version has taken over.
///
/// # Errors
/// When it can't start.
pub fn run(args: &Arguments) -> Result<()> {
    args.tether.start()?;
    // Two for each connection; what is usual for a shell is soon used up.
    let mut open_files = getrlimit(Resource::Nofile);
    open_files.current = open_files.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, open_files) {
        tracing::warn!(%error, "the bound on open files stays what it is");
    }
    let config = Config::read(&args.config)?;
    let inherited = inherited(args, &config)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start the edge's threads")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("watch for signals")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("watch for signals")?;
        let mut edge = Edge::start_on(&config, args.take_over, inherited).await?;
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
        let patience = Duration::from_secs(args.drain);
        let cut = match is_replaced {
            true => edge.stop(patience).await,
            false => edge.end(patience).await,
        };
        if !is_replaced {
            Edge::remove_sockets(&config.admin);
        }
        tracing::info!(cut, "stopped");
        Ok(())
    })
}

fn inherited(args: &Arguments, config: &Config) -> Result<BTreeMap<String, TcpListener>> {
    let first = config.listeners.first();
    let Some(first) = first.filter(|_| args.listener_on_stdin) else {
        return Ok(BTreeMap::new());
    };
    let shared = std::io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .context("take the listening socket")?;
    Ok(BTreeMap::from([(
        first.name.clone(),
        TcpListener::from(shared),
    )]))
}
