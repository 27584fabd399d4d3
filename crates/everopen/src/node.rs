//! `everopen node`: one replica.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use everopen_replica::node::{Config, Node};
use everopen_replica::{Progress, Report};
use everopen_rpc::Security;

use crate::cli;
use crate::config::node::NodeFile;
use crate::config::recovery::Plan;
use crate::gateway::follower::ViewsOnly;

/// Between two looks whether the replica still runs.
const LOOK: Duration = Duration::from_millis(50);
/// Between two lines about how far the log's replay is.
const PROGRESS: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or Ctrl-C.
///
/// # Errors
/// When the replica can't start, or ended by a fault.
pub fn run(args: &cli::Process) -> Result<()> {
    crate::memory::keep_for_good();
    args.tether.start()?;
    let file = crate::config::node::Node::read(&args.config)?;
    let (id, listen) = (file.node.node, file.node.listen);
    crate::memory::put_in_place(file.node.memory_mib);
    Plan::check_none(&args.config.with_extension("recover.toml"))?;
    // Signals that come while the log is read are not lost.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("watch for signals")?;
    let signals = {
        let _inside = runtime.enter();
        Signals::new()?
    };
    let config = replica(&file)?;
    let listener = TcpListener::bind(listen).with_context(|| format!("listen on {listen}"))?;
    let mut progress = said_now_and_then();
    let (node, report) = Node::start(config, listener, ViewsOnly::new(), &mut progress)
        .with_context(|| format!("start replica {id}"))?;
    tell(id, &report);
    runtime.block_on(async {
        tokio::select! {
            () = signals.wait() => tracing::info!("stopping"),
            () = ended(&node) => tracing::error!("the replica has ended by itself"),
        }
    });
    let applied = node.applied();
    node.stop()
        .with_context(|| format!("replica {id} ended by a fault"))?;
    tracing::info!(applied, "stopped");
    Ok(())
}

/// The replica room's settings.
///
/// # Errors
/// When the certificate can't be read.
pub fn replica(file: &NodeFile) -> Result<Config> {
    let node = &file.node;
    let identity = node.tls.load(file.base())?;
    let mut config = Config::new(
        node.node,
        node.cluster.0,
        file.journal(),
        Security::Mutual(identity),
    );
    config.advertise = node.advertised().to_string();
    if !node.join {
        let voters = node.nodes.iter();
        config.voters = voters
            .map(|peer| (peer.id, peer.address.to_string()))
            .collect();
    }
    config.core.snapshot_every_bytes = u64::from(node.snapshot_every_mib) << 20;
    if let Some(max) = node.logic_max {
        config.core.logic_max = max;
    }
    config.keep_awake = node.keep_awake.into();
    config.build = env!("CARGO_PKG_VERSION").into();
    Ok(config)
}

fn said_now_and_then() -> impl FnMut(Progress) {
    let mut said = Instant::now();
    move |progress: Progress| {
        if said.elapsed() > PROGRESS {
            said = Instant::now();
            tracing::info!(
                "reading the log: {} of {} entries",
                progress.done,
                progress.total
            );
        }
    }
}

fn tell(id: u64, report: &Report) {
    if let Some(torn) = &report.torn_tail {
        tracing::warn!(
            "the log's last write was torn: {} bytes that nobody was told of were cut at {} offset {}",
            torn.bytes_dropped,
            torn.file.display(),
            torn.offset
        );
    }
    for bad in &report.bad_snapshots {
        tracing::warn!("a snapshot is damaged and passed over: {bad}");
    }
    tracing::info!(
        snapshot = report.snapshot_index,
        last = report.last_index,
        replayed = report.entries_replayed,
        commands = report.commands_replayed,
        "replica {id} is up, its log read in {:.2} s",
        report.replay_time.as_secs_f64()
    );
}

/// Comes back when the replica's loop has ended by itself.
async fn ended(node: &Node) {
    let mut look = tokio::time::interval(LOOK);
    while node.is_running() {
        look.tick().await;
    }
}

/// The signals that ask for an orderly end.
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            interrupt: signal(SignalKind::interrupt()).context("watch for signals")?,
            terminate: signal(SignalKind::terminate()).context("watch for signals")?,
        })
    }

    async fn wait(mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
