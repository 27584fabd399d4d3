//! `everopen gateway`: serves members over REST and WebSocket and submits what they want to a
//! cluster of replicas.

pub mod counts;
mod demo;
pub mod follower;
mod genesis;
mod market;
mod port;
mod prepare;
mod replicas;
pub mod visible;

use std::net::TcpListener;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::Release};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use everopen_client::Client;
use everopen_domain::{Event, LogIndex};
use everopen_gateway::{self as gateway, Gateway, KeyStore, Parts};
use everopen_views::Views;
use tokio::sync::watch;

use crate::admin::{self, Operator};
use crate::cli;
use crate::config::gateway::GatewayFile;
use crate::up::endpoints;
use counts::Counts;
use follower::{FeedSlot, Follower};
use visible::Visible;

/// Entries that the simulated market may be behind.
const MARKET_TAP: usize = 256;
/// Submissions that may be under way in the cluster.
const IN_FLIGHT: usize = 16_384;
/// How long a submission is tried again before it is answered "outcome unknown": below the time
/// that a request may take in all.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long a gateway that starts waits for somebody who leads before it shows what it has.
const LEADERLESS: Duration = Duration::from_secs(10);
/// Between two lines that say that there is still nothing to serve.
const REMIND: Duration = Duration::from_secs(10);

/// The parts of a running gateway.
#[derive(Clone)]
struct Shared {
    client: Client,
    views: Arc<RwLock<Views>>,
    visible: Arc<Visible>,
    counts: Arc<Counts>,
    keys: Arc<KeyStore>,
    is_prepared: Arc<AtomicBool>,
}

/// Runs until SIGTERM or Ctrl-C.
///
/// # Errors
/// When the gateway can't start, or can't go on.
pub fn run(args: &cli::GatewayProcess) -> Result<()> {
    args.process.tether.start()?;
    let mut file = crate::config::gateway::Gateway::read(&args.process.config)?;
    if let Some(address) = args.listen {
        file.gateway.listen = address;
    }
    let listener = listener(&args.process, &file)?;
    let (end, ended) = watch::channel(false);
    let (shared, feed, tapped) = connect(&file, end.clone())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("start the gateway's runtime")?;
    let stop = Arc::new(AtomicBool::new(false));
    watch_signals(&runtime, end.clone(), &stop)?;
    replicas::follow(&runtime, &shared.client, &file);

    if !wait_for_checkpoint(&shared, &stop)? {
        return Ok(());
    }
    // What another gateway, or this one before it died, has answered is in there.
    if !prepare::catch_up(&shared, &stop, Some(LEADERLESS))? {
        if stop.load(std::sync::atomic::Ordering::Acquire) {
            return Ok(());
        }
        tracing::warn!(
            "nobody leads, or the log comes too slowly: what is served may be behind what was answered before"
        );
    }
    let gateway = make_gateway(&file, &shared, &feed)?;
    move_on_when_told(&runtime, gateway.feed())?;
    let market = Arc::new(Mutex::new(None));
    let operators = serve_operators(&file, &shared, &listener)?;
    let prepared = {
        let (shared, market) = (shared.clone(), Arc::clone(&market));
        let wanted = file.gateway.market.map(|market| (market, file.keys()));
        let (stop, end) = (Arc::clone(&stop), end.clone());
        std::thread::Builder::new()
            .name("everopen-prepare".into())
            .spawn(move || {
                let prepared = prepare::prepare(&shared, wanted, &stop, tapped);
                match prepared {
                    Ok(running) => {
                        *market
                            .lock()
                            .expect("invariant: the market's slot is only set and taken") = running;
                    }
                    Err(error) => {
                        shared.visible.end(format!("{error:#}"));
                        let _ = end.send(true);
                    }
                }
            })
            .context("start a thread")?
    };
    let served = runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        gateway::serve(gateway, listener, until(ended))
            .await
            .context("serve")
    });
    stop.store(true, Release);
    operators.end();
    // Whoever still waits for the cluster is answered now.
    shared.client.stop();
    let _ = prepared.join();
    let running = market
        .lock()
        .expect("invariant: the market's slot is only set and taken")
        .take();
    if let Some(market) = running {
        market.stop();
    }
    runtime.shutdown_timeout(Duration::from_secs(2));
    if let Some(why) = shared.visible.ended() {
        bail!("{why}");
    }
    served
}

async fn until(mut ended: watch::Receiver<bool>) {
    let _ = ended.wait_for(|ended| *ended).await;
}

/// The socket that the supervisor handed over, or one of its own.
fn listener(args: &cli::Process, file: &GatewayFile) -> Result<TcpListener> {
    let listener = if args.listener_on_stdin {
        let shared = std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .context("take the listening socket")?;
        TcpListener::from(shared)
    } else {
        TcpListener::bind(file.gateway.listen)
            .with_context(|| format!("listen on {}", file.gateway.listen))?
    };
    listener
        .set_nonblocking(true)
        .context("make the listener non-blocking")?;
    Ok(listener)
}

/// Starts the client and follows the log.
fn connect(
    file: &GatewayFile,
    end: watch::Sender<bool>,
) -> Result<(Shared, FeedSlot, Receiver<Vec<Event>>)> {
    let client = Client::start(everopen_client::Config {
        nodes: replicas::to_ask(file),
        identity: file.gateway.tls.load(file.base())?,
        in_flight_max: IN_FLIGHT,
        patience: PATIENCE,
    })
    .context("start the client of the replicas")?;
    let shared = Shared {
        client,
        views: Arc::new(RwLock::new(Views::new(everopen_views::Config::default()))),
        visible: Arc::default(),
        counts: Arc::default(),
        keys: Arc::new(KeyStore::open(&file.keys())?),
        is_prepared: Arc::default(),
    };
    let feed = FeedSlot::default();
    let (tap, tapped) = sync_channel(MARKET_TAP);
    let follower = Follower {
        views: Arc::clone(&shared.views),
        feed: Arc::clone(&feed),
        visible: Arc::clone(&shared.visible),
        tap: file.gateway.market.is_some().then_some(tap),
        counts: Arc::clone(&shared.counts),
    };
    let visible = Arc::clone(&shared.visible);
    shared
        .client
        .follow(follower, move |why| {
            visible.end(format!("the log can't be followed: {why}"));
            let _ = end.send(true);
        })
        .context("follow the log")?;
    Ok((shared, feed, tapped))
}

/// The first entry of every log. A replica that joins has none until it has been sent a state.
const FIRST: LogIndex = LogIndex(1);

/// Waits until there is something to show. False when it was stopped meanwhile.
fn wait_for_checkpoint(shared: &Shared, stop: &AtomicBool) -> Result<bool> {
    let step = Duration::from_millis(100);
    let mut waited = Duration::ZERO;
    while !shared.visible.wait(FIRST, step) {
        if let Some(why) = shared.visible.ended() {
            bail!("{why}");
        }
        if stop.load(std::sync::atomic::Ordering::Acquire) {
            return Ok(false);
        }
        waited += step;
        if waited >= REMIND {
            waited = Duration::ZERO;
            tracing::warn!("no replica has given its views yet");
        }
    }
    Ok(true)
}

fn make_gateway(file: &GatewayFile, shared: &Shared, feed: &FeedSlot) -> Result<Arc<Gateway>> {
    let port = Arc::new(port::ClusterPort {
        client: shared.client.clone(),
        visible: Arc::clone(&shared.visible),
        counts: Arc::clone(&shared.counts),
        is_prepared: Arc::clone(&shared.is_prepared),
    });
    let mut slot = feed
        .lock()
        .expect("invariant: nothing panics while the feed is made");
    let parts = Parts::new(port, Arc::clone(&shared.views), Arc::clone(&shared.keys));
    let gateway = Gateway::new(file.limits(), parts)?;
    *slot = Some(Arc::clone(gateway.feed()));
    Ok(gateway)
}

fn serve_operators(
    file: &GatewayFile,
    shared: &Shared,
    listener: &TcpListener,
) -> Result<admin::Operators> {
    let demo = demo::key(&shared.keys)?;
    let address = listener
        .local_addr()
        .context("read the listening address")?;
    let address = file.gateway.public.unwrap_or(address);
    let access = endpoints::Access {
        version: env!("CARGO_PKG_VERSION").into(),
        rest: format!("http://{address}"),
        websocket: format!("ws://{address}"),
        key: demo.key,
        secret: demo.secret,
        passphrase: demo.passphrase,
        funded: demo::funded(),
        products: Vec::new(),
        durability: file.gateway.durability.name().into(),
    };
    let operator = Operator::new(
        shared.client.clone(),
        Arc::clone(&shared.views),
        Arc::clone(&shared.visible),
        Arc::clone(&shared.counts),
        Arc::clone(&shared.keys),
        (access, Arc::clone(&shared.is_prepared)),
    );
    admin::serve(&file.admin(), Arc::new(operator))
}

/// On SIGUSR1, which a rollout sends to the gateway in whose place another has come, the clients of the
/// feed are told to connect again: then they meet the other one.
fn move_on_when_told(
    runtime: &tokio::runtime::Runtime,
    feed: &Arc<gateway::feed::Feed>,
) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let _inside = runtime.enter();
    let mut told = signal(SignalKind::user_defined1()).context("watch for signals")?;
    let feed = Arc::clone(feed);
    runtime.spawn(async move {
        while told.recv().await.is_some() {
            let clients = feed.move_on();
            tracing::info!(clients, "clients of the feed were told to connect again");
        }
    });
    Ok(())
}

fn watch_signals(
    runtime: &tokio::runtime::Runtime,
    end: watch::Sender<bool>,
    stop: &Arc<AtomicBool>,
) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let _inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).context("watch for signals")?;
    let mut terminate = signal(SignalKind::terminate()).context("watch for signals")?;
    let stop = Arc::clone(stop);
    runtime.spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        stop.store(true, Release);
        let _ = end.send(true);
    });
    Ok(())
}
