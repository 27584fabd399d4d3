//! Starts the venue's processes, starts them again when they die, and stops them in order.
//!
//! All of it happens on one thread, which also starts the processes: a tied process ends with the
//! thread that started it.

mod end;
mod follow;
mod replace;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;

use crate::cli::LogFormat;
use crate::config::cluster::{Cluster, Replica};
use crate::up::endpoints::{self, Access, Endpoints};
use crate::up::front::Front;
use crate::up::gateways::Gateways;
use crate::up::layout::{Layout, Plan};
use crate::up::process::{Process, Role, Start};
use crate::up::tail;
use crate::up::ward::{HOPELESS, State, Ward};

/// Between two looks at the logs and at `cluster.toml`.
const LOOK: Duration = Duration::from_millis(100);
/// How long the gateway or the edge may take to end: its own drain time and some more.
const GATEWAY_END: Duration = Duration::from_secs(15);

/// What the supervisor is told.
pub enum News {
    /// A process has ended, in that life.
    Ended(Role, u64),
    /// The gateway serves for the first time.
    Ready(Box<Access>),
    /// Everything is to stop; the second time at once.
    Stop,
    /// This supervisor is to end and everything else to go on.
    Leave,
    /// That process is to be replaced by another.
    Replace(Role),
    /// Other gateways run behind the edge than before.
    Gateways,
    /// No gateway could be brought up behind the edge.
    Failed(String),
}

/// How the supervisor goes about it.
pub struct Options {
    pub tied: bool,
    pub log_format: LogFormat,
    /// Only what is urgent in the processes' logs is shown, since a summary is drawn beside it.
    pub only_urgent: bool,
    /// What clients meet first, gateway or edge, has other settings than are wanted now.
    pub replace_front: bool,
    /// Replicas whose settings have changed since they were started.
    pub changed: Vec<u64>,
}

/// The supervisor.
pub struct Supervisor {
    layout: Layout,
    options: Options,
    wards: Vec<Ward>,
    plan: Plan,
    /// Kept open while the gateway is down, so that clients wait a moment instead of being turned
    /// away. None while a gateway of an earlier supervisor has it.
    listener: Option<TcpListener>,
    listen: SocketAddr,
    /// Behind the edge, if there is one; else the gateway is a ward.
    gateways: Option<Gateways>,
    failed: Option<String>,
    access: Option<Access>,
    cluster_seen: Option<SystemTime>,
    news: Receiver<News>,
    tell: Sender<News>,
    stop: bool,
    leave: bool,
    last_entry: Option<u64>,
    /// Taken over, and of another release or with other settings: to be replaced.
    outdated: Vec<(Role, u32)>,
}

impl Supervisor {
    /// One that runs nothing yet.
    pub fn new(
        layout: Layout,
        plan: Plan,
        options: Options,
        (listen, listener): (SocketAddr, Option<TcpListener>),
        gateways: Option<Gateways>,
        (tell, news): (Sender<News>, Receiver<News>),
    ) -> Self {
        let mut supervisor = Self {
            wards: Vec::new(),
            listener,
            listen,
            gateways,
            failed: None,
            access: None,
            cluster_seen: None,
            stop: false,
            leave: false,
            last_entry: None,
            outdated: Vec::new(),
            layout,
            options,
            plan,
            news,
            tell,
        };
        for replica in supervisor.plan.cluster.nodes.clone() {
            let mut ward = supervisor.replica(&replica);
            if Cluster::has_lost_log(supervisor.layout.dir(), &replica) {
                tracing::error!(
                    "the {role} has lost its log and is not started: it may have voted for what it no longer knows. Take it away with `everopen cluster remove {id}`, then `everopen cluster add`",
                    role = ward.role,
                    id = replica.id
                );
                ward.is_leaving = true;
                ward.state = State::Ended;
            }
            supervisor.wards.push(ward);
        }
        let front = match &supervisor.gateways {
            Some(_) => {
                let front = Front::of(&supervisor.layout);
                Ward::new(Role::Edge, listen, front.edge_file(), front.edge_log())
            }
            None => Ward::new(
                Role::Gateway,
                listen,
                supervisor.layout.gateway_file(),
                supervisor.layout.gateway_log(),
            ),
        };
        supervisor.wards.push(front);
        supervisor.cluster_seen = supervisor.cluster_changed();
        supervisor
    }

    fn replica(&self, replica: &Replica) -> Ward {
        Ward::new(
            Role::Replica(replica.id),
            replica.address,
            self.layout.node_file(replica),
            self.layout.node_log(replica),
        )
    }

    /// Takes over what an earlier supervisor left running, starts the rest, and keeps all of it
    /// running until it is told to stop. `ready` is called once, when the venue serves.
    ///
    /// # Errors
    /// When the venue does not come up. What was started is stopped then.
    pub fn run(&mut self, mut ready: impl FnMut(&Access)) -> Result<()> {
        self.adopt();
        while !self.stop {
            if self.leave {
                if let Some(gateways) = &mut self.gateways {
                    gateways.leave();
                }
                return Ok(());
            }
            self.start_due();
            self.forward_logs();
            self.follow_cluster();
            self.note_started();
            if let Err(error) = self.check_start() {
                self.end_all();
                return Err(error);
            }
            if let Some(access) = self.wait(LOOK) {
                self.access = Some(access);
                self.write_endpoints();
                if let Some(access) = &self.access {
                    ready(access);
                }
                self.replace_outdated();
            }
        }
        self.end_all();
        Ok(())
    }

    /// Whether it ended without what it supervised.
    pub fn has_left(&self) -> bool {
        self.leave && !self.stop
    }

    /// Takes over the processes that run already.
    fn adopt(&mut self) {
        for at in 0..self.wards.len() {
            let ward = &mut self.wards[at];
            let Some(process) = Process::find(ward.role, &ward.config) else {
                continue;
            };
            let is_front = matches!(ward.role, Role::Gateway | Role::Edge);
            let replaced = is_front && self.options.replace_front;
            tracing::info!(
                pid = process.pid(),
                "the {} of an earlier run {}",
                ward.role,
                if replaced {
                    "is replaced"
                } else {
                    "is taken over"
                }
            );
            let has_changed = match ward.role {
                Role::Replica(id) => self.options.changed.contains(&id),
                Role::Gateway | Role::Edge => false,
            };
            if !replaced && (has_changed || process.is_of_another_program()) {
                self.outdated.push((ward.role, process.pid()));
            }
            self.watch(at, process);
            if replaced {
                self.end(&[self.wards[at].role], GATEWAY_END);
                let ward = &mut self.wards[at];
                ward.is_leaving = false;
                ward.state = State::Due(Instant::now());
            }
        }
    }

    fn watch(&mut self, at: usize, process: Process) {
        let (role, life) = (self.wards[at].role, self.wards[at].life + 1);
        let tell = self.tell.clone();
        let told = process.watch(move || drop(tell.send(News::Ended(role, life))));
        if let Err(error) = told {
            // Without news of its end it could not be cared for.
            tracing::error!(error = format!("{error:#}"), "the {role} can't be watched");
            process.signal(Signal::KILL);
        }
        self.wards[at].is_running(process, Instant::now());
    }

    fn start_due(&mut self) {
        let now = Instant::now();
        let mut changed = false;
        for at in 0..self.wards.len() {
            if self.wards[at].due().is_some_and(|due| due <= now) {
                match self.start(at, false) {
                    Ok(process) => {
                        self.watch(at, process);
                        changed = true;
                    }
                    Err(error) => {
                        let ward = &mut self.wards[at];
                        tracing::error!("the {} does not start: {error:#}", ward.role);
                        ward.has_ended(now, Duration::ZERO);
                    }
                }
            }
        }
        if changed {
            self.write_endpoints();
        }
    }

    fn start(&mut self, at: usize, take_over: bool) -> Result<Process> {
        let ward = &self.wards[at];
        let listener = match ward.role {
            Role::Replica(id) => {
                self.plan.reserved.remove(&id);
                None
            }
            Role::Gateway | Role::Edge if take_over => None,
            Role::Gateway | Role::Edge => {
                if self.listener.is_none() {
                    let bound = TcpListener::bind(self.listen);
                    let bound = bound.with_context(|| format!("listen on {}", self.listen))?;
                    self.listener = Some(bound);
                }
                let shared = self.listener.as_ref().map(TcpListener::try_clone);
                let shared = shared.transpose().context("share the listening socket")?;
                shared.map(OwnedFd::from)
            }
        };
        Process::start(Start {
            role: ward.role,
            config: &ward.config,
            log_file: &ward.log_file,
            log_format: self.options.log_format,
            tied: self.options.tied,
            take_over,
            listener,
        })
    }

    /// Waits for news and takes all there is; returns what the gateway says when it is ready.
    fn wait(&mut self, patience: Duration) -> Option<Access> {
        let due = self.wards.iter().filter_map(Ward::due).min();
        let until_due = due.map(|due| due.saturating_duration_since(Instant::now()));
        let patience = until_due.map_or(patience, |due| due.min(patience));
        let mut ready = None;
        let mut next = match self.news.recv_timeout(patience) {
            Ok(news) => Some(news),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                unreachable!("invariant: the supervisor itself holds a sender")
            }
        };
        while let Some(news) = next {
            match news {
                News::Ended(role, life) => self.ended(role, life),
                News::Ready(access) => ready = Some(*access),
                News::Stop if self.stop => self.kill_all(),
                News::Stop => self.stop = true,
                News::Leave if self.options.tied => {
                    tracing::warn!("the others are tied to this process, which stays");
                }
                News::Leave => self.leave = true,
                News::Replace(role) => self.replace(role),
                News::Gateways => self.write_endpoints(),
                News::Failed(why) => self.failed = Some(why),
            }
            next = self.news.try_recv().ok();
        }
        ready
    }

    fn ended(&mut self, role: Role, life: u64) {
        self.forward_logs();
        let is_it = |ward: &&mut Ward| ward.role == role && ward.life == life;
        let Some(ward) = self.wards.iter_mut().find(is_it) else {
            return;
        };
        let now = Instant::now();
        let Some((lived, process)) = ward.take(now) else {
            return;
        };
        let (pid, adopted) = (process.pid(), process.is_adopted());
        let how = process.reap();
        let was_replaced = ward.is_replaced;
        match ward.has_ended(now, lived) {
            Some(_) if was_replaced => tracing::info!(pid, "the {role} is replaced"),
            None => tracing::info!(pid, "the {role} has ended"),
            Some(_) if ward.failures() >= HOPELESS => tracing::error!(
                pid,
                "the {role} ended {} times in a row, now by {how}; it last said: {}",
                ward.failures(),
                ward.reason()
            ),
            Some(wait) => tracing::warn!(
                pid,
                adopted,
                "the {role} ended ({how}) and is started again in {} ms",
                wait.as_millis()
            ),
        }
        self.write_endpoints();
    }

    /// While the venue has never served, a process that can't be brought up ends the start: with
    /// the reason, and before anybody waits for it any longer.
    fn check_start(&self) -> Result<()> {
        if self.access.is_some() {
            return Ok(());
        }
        if let Some(why) = &self.failed {
            bail!("{why}");
        }
        let hopeless = |ward: &&Ward| ward.failures() >= HOPELESS;
        let is_replica = |ward: &&Ward| matches!(ward.role, Role::Replica(_));
        let replicas = self.wards.iter().filter(is_replica).count();
        let lost: Vec<&Ward> = self.wards.iter().filter(hopeless).collect();
        let gone = |ward: &&Ward| is_replica(ward) && ward.is_leaving;
        let missing = self.wards.iter().filter(gone).count();
        let failing = lost.iter().filter(|ward| is_replica(ward)).count();
        let quorum_lost = missing + failing > replicas.saturating_sub(1) / 2;
        let front_lost = lost.iter().any(|ward| !is_replica(ward));
        if quorum_lost || front_lost {
            let said: Vec<String> = lost
                .iter()
                .map(|ward| format!("the {} does not come up: {}", ward.role, ward.reason()))
                .collect();
            match said.is_empty() {
                true => bail!("too few replicas have their logs"),
                false => bail!("{}", said.join("\n")),
            }
        }
        Ok(())
    }

    fn forward_logs(&mut self) {
        for ward in &mut self.wards {
            for line in ward.tail.lines() {
                if !self.options.only_urgent || tail::is_urgent(&line) {
                    eprintln!("[{}] {line}", ward.role);
                }
            }
        }
    }

    fn write_endpoints(&self) {
        let Some(access) = &self.access else {
            return;
        };
        let supervisor = endpoints::Process {
            role: "supervisor",
            id: 0,
            pid: std::process::id(),
            address: None,
        };
        let running = self.wards.iter().filter_map(|ward| {
            let (role, id) = match ward.role {
                Role::Replica(id) => ("replica", id),
                Role::Gateway => ("gateway", 1),
                Role::Edge => ("edge", 1),
            };
            Some(endpoints::Process {
                role,
                id,
                pid: ward.process()?.pid(),
                address: Some(ward.address.to_string()),
            })
        });
        let behind = self.gateways.iter().flat_map(Gateways::running);
        let behind = behind.map(|gateway| endpoints::Process {
            role: if gateway.serves { "gateway" } else { "standby" },
            id: u64::from(gateway.instance) + 1,
            pid: gateway.pid,
            address: Some(format!("127.0.0.1:{}", gateway.port)),
        });
        let processes = std::iter::once(supervisor).chain(running).chain(behind);
        let processes = processes.collect();
        let file = Endpoints { access, processes };
        if let Err(error) = file.write(self.layout.dir()) {
            // A full disk, perhaps: the venue goes on without the file.
            tracing::warn!(
                error = format!("{error:#}"),
                "endpoints.json is not up to date"
            );
        }
    }
}
