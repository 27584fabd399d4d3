//! `everopen up`: a whole market on this machine.

pub mod demo;
pub mod endpoints;
pub mod genesis;
mod market;
mod port;
pub mod reader;
pub mod summary;

use std::fs;
use std::io::IsTerminal;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, RwLock};

use anyhow::{Context, Result};
use everopen_gateway::limits::RateLimit;
use everopen_gateway::{self as gateway, Gateway, KeyStore, Parts};
use everopen_replica::{self as replica, Replica, Report, journal};
use everopen_views::Views;

use crate::admin::{self, Operator};
use crate::cli;
use crate::progress;

/// The log's folder in the data directory.
pub const LOG_DIR: &str = "log";

/// Entries that the simulated market may be behind.
const MARKET_TAP: usize = 256;

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// When the venue can't start, or ended by a fault.
pub fn run(args: &cli::Up) -> Result<()> {
    crate::telemetry::start(
        args.log_format,
        !args.quiet && std::io::stdout().is_terminal(),
    )?;
    let dir = args.data.dir.as_path();
    // Before anything is written, since this is what fails most often.
    let listener = listen(args.listen, endpoints::last_address(dir))?;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("create the data directory {}", dir.display()))?;

    let views = Arc::new(RwLock::new(Views::new(everopen_views::Config::default())));
    let feed = reader::FeedSlot::default();
    let counts = Arc::new(summary::Counts::default());
    let (tap, tapped) = sync_channel(MARKET_TAP);
    let reader = reader::Follower::new(
        Arc::clone(&views),
        Arc::clone(&feed),
        (!args.no_market).then_some(tap),
        Arc::clone(&counts),
    );
    let (venue, report) = open(args, dir, reader)?;
    // Only whoever holds the log's lock may touch what a running venue left here.
    endpoints::Endpoints::remove(dir);
    let handle = venue.handle();
    if report.last_index == 0 {
        handle
            .execute(genesis::venue())
            .context("write the first entry of the log")?;
    }
    let keys = Arc::new(KeyStore::open(dir)?);
    let demo = demo::key(&keys)?;
    admin::serve(
        dir,
        Arc::new(Operator::new(
            handle.clone(),
            Arc::clone(&views),
            Arc::clone(&keys),
        )),
    )?;

    let address = listener
        .local_addr()
        .context("read the listening address")?;
    let port = Arc::new(port::ReplicaPort(handle.clone()));
    let gateway = {
        let mut slot = feed
            .lock()
            .expect("invariant: nothing panics while the feed is made");
        let parts = Parts::new(port, Arc::clone(&views), Arc::clone(&keys));
        let gateway = Gateway::new(gateway_config(args), parts)?;
        *slot = Some(Arc::clone(gateway.feed()));
        gateway
    };
    let durability = durability(args);
    let endpoints = endpoints::Endpoints {
        version: env!("CARGO_PKG_VERSION"),
        rest: format!("http://{address}"),
        websocket: format!("ws://{address}"),
        key: demo.key.clone(),
        secret: demo.secret.clone(),
        passphrase: demo.passphrase.clone(),
        funded: demo::funded(),
        products: products(&views),
        processes: vec![endpoints::Process {
            role: "venue",
            pid: std::process::id(),
            address: address.to_string(),
        }],
        durability: durability.name(),
    };
    let market = if args.no_market {
        None
    } else {
        let known = views
            .read()
            .expect("invariant: views are never left half written");
        let fresh = known
            .products()
            .all(|product| known.last_price(product.id).is_none());
        drop(known);
        if fresh {
            handle
                .execute(genesis::market())
                .context("prepare the simulated market")?;
        }
        let known = views
            .read()
            .expect("invariant: views are never left half written");
        let participants = demo::participants(args, &known);
        drop(known);
        Some(market::Market::start(participants, handle.clone(), tapped)?)
    };

    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the gateway's runtime")?;
    banner(&endpoints, &report, dir, args);
    let stop_summary = Arc::new(AtomicBool::new(false));
    let drawing = (!args.quiet && std::io::stdout().is_terminal()).then(|| {
        let summary = summary::Summary {
            views,
            handle,
            counts: Arc::clone(&counts),
            durability: durability.name(),
            address: endpoints.rest.clone(),
        };
        let stop = Arc::clone(&stop_summary);
        std::thread::spawn(move || summary.run(&stop))
    });
    let served = runtime.block_on(async {
        let stopped = async {
            tokio::select! {
                signal = stop_signal() => signal,
                () = ended(&venue) => {}
            }
        };
        let listener = tokio::net::TcpListener::from_std(listener)?;
        // Whoever finds the file finds the port open: the kernel queues connections from here on.
        endpoints.write(dir)?;
        gateway::serve(gateway, listener, stopped)
            .await
            .context("serve the gateway")
    });
    endpoints::Endpoints::remove(dir);
    stop_summary.store(true, Relaxed);
    if let Some(drawing) = drawing {
        drawing.thread().unpark();
        let _ = drawing.join();
    }
    if let Some(market) = market {
        market.stop();
    }
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    let index = venue.handle().stats().last_index();
    venue.stop().context("the venue ended by a fault")?;
    say!("stopped after entry {index} of the log; `everopen up` goes on from there");
    served
}

fn gateway_config(args: &cli::Up) -> gateway::Config {
    let rate = |per_second: u32| RateLimit {
        per_second,
        burst: per_second.saturating_mul(2),
    };
    gateway::Config {
        private_rate: rate(args.private_rate),
        fills_rate: rate(args.private_rate),
        public_rate: rate(args.public_rate),
        demo_deposits: !args.no_demo_deposits,
        demo_withdrawals: !args.manual_withdrawals,
        ..gateway::Config::demo()
    }
}

fn durability(args: &cli::Up) -> journal::Durability {
    match args.durability {
        cli::Durability::Fsync => journal::Durability::Fsync,
        cli::Durability::Memory => journal::Durability::Memory,
    }
}

fn open(args: &cli::Up, dir: &Path, reader: reader::Follower) -> Result<(Replica, Report)> {
    let mut config = replica::Config::new(dir.join(LOG_DIR));
    config.journal.durability = durability(args);
    config.journal.segment_bytes = u64::from(args.segment_mib) << 20;
    if args.keep_log {
        config.journal.retain_log = journal::RetainLog::All;
    } else {
        config.journal.retain_log = journal::RetainLog::SinceOldestSnapshot;
    }
    let mut bar = progress::Bar::new("replaying the log", "entries");
    let opened = Replica::open(config, reader, &mut |p| bar.update(p.done, p.total));
    bar.finish();
    opened.with_context(|| format!("open the venue in {}", dir.display()))
}

/// Listens; a port of 0 takes the last one again if it is free, so that scripts with an old
/// `endpoints.json` are still right after a crash.
fn listen(address: SocketAddr, last: Option<SocketAddr>) -> Result<TcpListener> {
    let again = last.filter(|last| address.port() == 0 && last.ip() == address.ip());
    let listener = again
        .and_then(|last| TcpListener::bind(last).ok())
        .map_or_else(|| TcpListener::bind(address), Ok)
        .with_context(|| {
            format!("listen on {address} (choose another with --listen, or port 0 for a free one)")
        })?;
    listener
        .set_nonblocking(true)
        .context("make the listener non-blocking")?;
    Ok(listener)
}

async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        tracing::error!("no signal handlers; stopping");
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Comes back when the venue's loop has ended by itself, which only a fault can cause.
async fn ended(venue: &Replica) {
    let mut look = tokio::time::interval(std::time::Duration::from_millis(100));
    while venue.is_running() {
        look.tick().await;
    }
    tracing::error!("the venue has ended; shutting down");
}

fn products(views: &RwLock<Views>) -> Vec<String> {
    let views = views
        .read()
        .expect("invariant: views are never left half written");
    views
        .products()
        .map(|product| product.symbol.clone())
        .collect()
}

fn banner(endpoints: &endpoints::Endpoints, report: &Report, dir: &Path, args: &cli::Up) {
    say!("Everopen {} · a market on this machine", endpoints.version);
    say!("  REST        {}", endpoints.rest);
    say!("  WebSocket   {}", endpoints.websocket);
    say!("  API         {}/openapi.json", endpoints.rest);
    say!("  products    {}", endpoints.products.join(" "));
    say!("  key         {}", endpoints.key);
    say!("  secret      {}", endpoints.secret);
    say!("  passphrase  {}", endpoints.passphrase);
    say!(
        "  data        {} (endpoints.json for scripts)",
        dir.display()
    );
    say!("  durability  {}", endpoints.durability);
    let market = if args.no_market {
        "off".to_string()
    } else {
        format!(
            "simulated, seed {}, {} commands/s",
            args.seed, args.market_rate
        )
    };
    say!("  market      {market}");
    if report.last_index == 0 {
        say!("  log         new");
    } else {
        say!(
            "  log         goes on after entry {} (snapshot {}, {} entries and {} commands replayed in {:.2} s)",
            report.last_index,
            report.snapshot_index,
            report.entries_replayed,
            report.commands_replayed,
            report.replay_time.as_secs_f64()
        );
    }
    if let Some(torn) = &report.torn_tail {
        say!(
            "  log         its last write was torn: {} bytes that nobody was told of were cut at {} offset {}",
            torn.bytes_dropped,
            torn.file.display(),
            torn.offset
        );
    }
    for bad in &report.bad_snapshots {
        say!("  snapshot    damaged and passed over: {bad}");
    }
    say!();
}
