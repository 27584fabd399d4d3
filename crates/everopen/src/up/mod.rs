//! `everopen up`: a whole market on this machine, each part a process of its own.

pub mod endpoints;
mod front;
mod gateways;
pub mod layout;
pub mod ports;
mod process;
mod summary;
mod supervisor;
mod tail;
mod ward;

use std::fs;
use std::io::IsTerminal;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::process::Signal;

use crate::admin::{self, Action};
use crate::cli;
use crate::cluster::access::Access;
use crate::cluster::grow;
use crate::config::cluster::Cluster;
use crate::config::gateway::Gateway;
use crate::config::recovery;
use front::Front;
use gateways::Gateways;
use layout::{Layout, Plan};
use process::{Process, Role};
use supervisor::{News, Options, Supervisor};

/// Between two looks whether the gateway serves.
const LOOK: Duration = Duration::from_millis(25);
/// How long what is in front may take to end.
const FRONT_END: Duration = Duration::from_secs(15);
/// How long the supervisor that runs may take to leave.
const TAKE_OVER: Duration = Duration::from_secs(10);

/// Runs until Ctrl-C or SIGTERM.
///
/// # Errors
/// When the venue can't start.
pub fn run(args: &cli::Up) -> Result<()> {
    let is_drawn = !args.quiet && std::io::stdout().is_terminal();
    crate::telemetry::start(args.log_format, is_drawn)?;
    let layout = Layout::open(&args.data.dir)?;
    let _lock = take_lock(&layout, args.take_over)?;
    recovery::Plan::check_none(&recovery::Plan::path(layout.dir()))?;
    let gateway_before = Gateway::read(&layout.gateway_file()).ok();
    let front = Front::of(&layout);
    end_other(&layout, &front, !args.no_edge)?;
    let (role, file) = match args.no_edge {
        false => (Role::Edge, front.edge_file()),
        true => (Role::Gateway, layout.gateway_file()),
    };
    let is_serving = Process::find(role, &file).is_some();
    // Before anything is written, since this is what fails most often.
    let before = gateway_before.as_ref().map(|file| {
        let gateway = &file.gateway;
        gateway.public.unwrap_or(gateway.listen)
    });
    let last = before.or_else(|| endpoints::last_address(layout.dir()));
    let (listen, listener) = listen(args.listen, last, last.filter(|_| is_serving))?;
    let plan = layout::plan(&layout, args.replicas)?;
    let gateway = layout.gateway(&plan.cluster, args, listen);
    let mut replace_front = gateway_before.is_some_and(|before| before.gateway != gateway);
    let changed = layout.write_files(&plan.cluster, args, &gateway)?;
    plan.cluster.write(layout.dir())?;
    endpoints::remove(layout.dir());
    let mut rollout = None;
    if !args.no_edge {
        let (test, has_changed) = front.write_edge(listen)?;
        replace_front = has_changed;
        rollout = Some(front.write_rollout(&layout, &gateway, test, args)?);
    }

    let stop = Arc::new(AtomicBool::new(false));
    let (tell, news) = channel();
    watch_signals(tell.clone())?;
    let gateways = match rollout {
        Some(file) => Some(Gateways::start(&front, file, tell.clone())?),
        None => {
            watch_gateway(layout.dir(), tell.clone(), &stop)?;
            None
        }
    };
    let options = Options {
        tied: args.tied,
        log_format: args.log_format,
        only_urgent: is_drawn,
        replace_front,
        changed,
    };
    let start = Start::of(&plan);
    let mut supervisor = Supervisor::new(
        layout.clone(),
        plan,
        options,
        (listen, listener),
        gateways,
        (tell, news),
    );
    let mut drawing = None;
    let ran = supervisor.run(|access| {
        banner(access, &start, layout.dir(), args);
        grow_in_background(layout.dir(), &stop);
        if is_drawn {
            drawing = summary::start(layout.dir(), access, &stop)
                .inspect_err(|error| tracing::warn!("no live summary: {error:#}"))
                .ok();
        }
    });
    stop.store(true, Relaxed);
    if let Some(drawing) = drawing {
        drawing.thread().unpark();
        let _ = drawing.join();
    }
    ran?;
    if supervisor.has_left() {
        say!("the venue goes on without this process");
        return Ok(());
    }
    match supervisor.last_entry() {
        Some(index) => {
            say!("stopped after entry {index} of the log; `everopen up` goes on from there");
        }
        None => say!("stopped; `everopen up` goes on from there"),
    }
    Ok(())
}

/// Takes the lock; from the supervisor that has it, if that is wanted.
fn take_lock(layout: &Layout, take_over: bool) -> Result<fs::File> {
    let refused = match layout.lock() {
        Ok(lock) => return Ok(lock),
        Err(refused) if !take_over => return Err(refused),
        Err(refused) => refused,
    };
    let Some(pid) = layout.supervisor() else {
        return Err(refused);
    };
    process::ask_to_leave(pid)?;
    let deadline = Instant::now() + TAKE_OVER;
    loop {
        match layout.lock() {
            Ok(lock) => return Ok(lock),
            Err(_) if Instant::now() < deadline => std::thread::sleep(LOOK),
            Err(error) => return Err(error).context("the running supervisor does not leave"),
        }
    }
}

/// What the banner says about the start.
struct Start {
    replicas: usize,
    is_new: bool,
    joining: usize,
}

impl Start {
    fn of(plan: &Plan) -> Self {
        Self {
            replicas: plan.cluster.nodes.len(),
            is_new: plan.is_new,
            joining: plan.reserved.len() * usize::from(!plan.is_new),
        }
    }
}

/// Listens; a port of 0 takes the last one again if it is free, so that scripts with an old
/// `endpoints.json` are still right after a crash. No socket if the gateway that serves there now
/// goes on.
fn listen(
    address: SocketAddr,
    last: Option<SocketAddr>,
    serving: Option<SocketAddr>,
) -> Result<(SocketAddr, Option<TcpListener>)> {
    let again = last.filter(|last| address.port() == 0 && last.ip() == address.ip());
    let wanted = again.unwrap_or(address);
    if serving == Some(wanted) {
        return Ok((wanted, None));
    }
    let listener = again
        .and_then(|last| TcpListener::bind(last).ok())
        .map_or_else(|| TcpListener::bind(address), Ok)
        .with_context(|| {
            format!("listen on {address} (choose another with --listen, or port 0 for a free one)")
        })?;
    let bound = listener
        .local_addr()
        .context("read the listening address")?;
    Ok((bound, Some(listener)))
}

/// Whether whoever started this process wants it to outlive its terminal (`nohup`).
fn ignores_hangup() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status
        .lines()
        .find_map(|line| line.strip_prefix("SigIgn:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // SIGHUP is signal 1, the lowest bit.
    ignored.is_some_and(|mask| mask & 1 == 1)
}

fn watch_signals(tell: Sender<News>) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .context("watch for signals")?;
    let stop: fn() -> News = || News::Stop;
    let leave: fn() -> News = || News::Leave;
    let mut kinds = vec![
        (SignalKind::interrupt(), stop),
        (SignalKind::terminate(), stop),
        (SignalKind::user_defined1(), leave),
    ];
    if !ignores_hangup() {
        kinds.push((SignalKind::hangup(), stop));
    }
    for (kind, news) in kinds {
        let _inside = runtime.enter();
        let mut signals = signal(kind).context("watch for a signal")?;
        let tell = tell.clone();
        runtime.spawn(async move {
            while signals.recv().await.is_some() {
                if tell.send(news()).is_err() {
                    return;
                }
            }
        });
    }
    std::thread::Builder::new()
        .name("everopen-signals".into())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .context("start the signals' thread")?;
    Ok(())
}

/// How the venue is reached, as a gateway says that is ready.
fn access(dir: &Path) -> Result<endpoints::Access> {
    let answer = admin::perform(dir, &Action::Endpoints)?;
    Ok(serde_json::from_value(answer)?)
}

/// Ends what an earlier run has in front that this one wants otherwise: a gateway where there is to be an
/// edge, or the other way round. Clients connect again.
fn end_other(layout: &Layout, front: &Front, wants_edge: bool) -> Result<()> {
    let (role, file) = match wants_edge {
        true => (Role::Gateway, layout.gateway_file()),
        false => (Role::Edge, front.edge_file()),
    };
    let Some(process) = Process::find(role, &file) else {
        return Ok(());
    };
    tracing::warn!("the {role} of an earlier run ends: another way in is wanted");
    process.signal(Signal::TERM);
    let deadline = Instant::now() + FRONT_END;
    while Process::find(role, &file).is_some() {
        if Instant::now() > deadline {
            process.signal(Signal::KILL);
        }
        std::thread::sleep(LOOK);
    }
    if !wants_edge {
        let ended = everopen_rollout::keep::end(&front.rollouts(), front::SERVICE);
        ended.context("end the gateways behind the edge")?;
    }
    Ok(())
}

/// Tells once how the venue is reached, when it is.
fn watch_gateway(dir: &Path, tell: Sender<News>, stop: &Arc<AtomicBool>) -> Result<()> {
    let (dir, stop) = (dir.to_path_buf(), Arc::clone(stop));
    let look = move || {
        while !stop.load(Relaxed) {
            if let Ok(access) = access(&dir) {
                let _ = tell.send(News::Ready(Box::new(access)));
                return;
            }
            std::thread::sleep(LOOK);
        }
    };
    std::thread::Builder::new()
        .name("everopen-herald".into())
        .spawn(look)
        .context("start a thread")?;
    Ok(())
}

/// Brings replicas that were added to the directory into the cluster, if there are any.
fn grow_in_background(dir: &Path, stop: &Arc<AtomicBool>) {
    let joins = Cluster::read(dir)
        .map(|cluster| cluster.nodes.iter().any(|node| node.join && !node.learner))
        .unwrap_or(false);
    if !joins {
        return;
    }
    let (dir, stop) = (dir.to_path_buf(), Arc::clone(stop));
    let work = move || {
        let grown = Access::of_dir(&dir)
            .and_then(|mut access| grow::bring_in(&dir, &mut access, &|| stop.load(Relaxed)));
        if let Err(error) = grown {
            tracing::error!(error = format!("{error:#}"), "not all replicas have joined");
        }
    };
    let started = std::thread::Builder::new()
        .name("everopen-grow".into())
        .spawn(work);
    if let Err(error) = started {
        tracing::error!(%error, "not all replicas have joined");
    }
}

fn banner(access: &endpoints::Access, start: &Start, dir: &Path, args: &cli::Up) {
    say!("Everopen {} · a market on this machine", access.version);
    say!("  REST        {}", access.rest);
    say!("  WebSocket   {}", access.websocket);
    say!("  API         {}/openapi.json", access.rest);
    say!("  products    {}", access.products.join(" "));
    say!("  key         {}", access.key);
    say!("  secret      {}", access.secret);
    say!("  passphrase  {}", access.passphrase);
    say!(
        "  data        {} (endpoints.json for scripts)",
        args.data.dir.display()
    );
    say!("  durability  {}", access.durability);
    let market = if args.no_market {
        "off".to_string()
    } else {
        format!(
            "simulated, seed {}, {} commands/s",
            args.seed, args.market_rate
        )
    };
    say!("  market      {market}");
    let cluster = Access::of_dir(dir).map(|mut access| access.statuses());
    let statuses = cluster.unwrap_or_default();
    let leader = crate::cluster::access::leader(&statuses);
    let leader = leader.map_or("none leads yet".into(), |node| format!("{} leads", node.id));
    let joining = match start.joining {
        0 => String::new(),
        n => format!(", {n} joining"),
    };
    say!("  replicas    {}, {leader}{joining}", start.replicas);
    let last = statuses.iter().filter_map(|s| {
        let status = s.answer.as_ref().ok()?;
        status["last_index"].as_u64()
    });
    match last.max() {
        Some(index) if !start.is_new => say!("  log         goes on, at entry {index} now"),
        _ if start.is_new => say!("  log         new"),
        _ => {}
    }
    say!();
}
