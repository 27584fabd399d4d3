//! The peer: three members of etcd on this machine, as Debian ships it, with its own settings.

use std::fs::File;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use everopen_testkit::load::Target;

use crate::driver::Driver;
use crate::grpc::{self, Connection, Puts, Status};
use crate::session::Plan;

/// What it is called in the tables.
pub const NAME: &str = "etcd";

const MEMBERS: usize = 3;
/// How long it may take to elect a leader.
const PATIENCE: Duration = Duration::from_secs(30);
/// Another process may take a port between our looking for it and etcd's taking it.
const TRIES: usize = 3;

/// The installed program.
pub struct Program {
    /// What it says of its version.
    pub version: String,
}

impl Program {
    /// Finds it on the `PATH`.
    pub fn find() -> Result<Self> {
        let output = match command("etcd").arg("--version").output() {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                bail!("no program etcd here; it is in Debian's package etcd-server")
            }
            other => other.context("cannot start etcd")?,
        };
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text
            .lines()
            .find_map(|line| line.strip_prefix("etcd Version: "))
            .context("etcd does not say its version")?;
        Ok(Self {
            version: version.trim().to_owned(),
        })
    }
}

/// A command without the settings that this process's environment has for etcd.
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ETCD") {
            command.env_remove(name);
        }
    }
    // Version 3.4 starts on no other kind of processor without being told to.
    if cfg!(target_arch = "aarch64") {
        command.env("ETCD_UNSUPPORTED_ARCH", "arm64");
    }
    command
}

/// Three running members. They are killed when it is dropped.
pub struct Etcd {
    leader: SocketAddr,
    _members: Vec<Member>,
}

struct Member {
    process: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Etcd {
    /// Starts them with their data in `dir` and waits until all agree on a leader.
    pub fn start(program: &Program, dir: &Path) -> Result<Self> {
        let mut last = None;
        for number in 0..TRIES {
            let dir = dir.join(format!("etcd-{number}"));
            std::fs::create_dir_all(&dir)?;
            match Self::try_start(&dir) {
                Ok(etcd) => return Ok(etcd),
                Err(error) => last = Some(error),
            }
        }
        Err(last.context("not tried")?)
            .with_context(|| format!("etcd {} did not start", program.version))
    }

    fn try_start(dir: &Path) -> Result<Self> {
        // All open at once, so that no two are the same.
        let listeners = (0..2 * MEMBERS)
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect::<std::io::Result<Vec<_>>>()?;
        let ports = listeners
            .iter()
            .map(TcpListener::local_addr)
            .collect::<std::io::Result<Vec<_>>>()?;
        drop(listeners);
        let (clients, peers) = ports.split_at(MEMBERS);
        let cluster: Vec<String> = peers
            .iter()
            .enumerate()
            .map(|(number, peer)| format!("m{number}=http://{peer}"))
            .collect();
        let mut members = Vec::new();
        for (number, (client, peer)) in clients.iter().zip(peers).enumerate() {
            members.push(Member::start(
                dir,
                number,
                *client,
                *peer,
                &cluster.join(","),
            )?);
        }
        let leader = wait_for_leader(&mut members)?;
        Ok(Self {
            leader,
            _members: members,
        })
    }
}

impl Member {
    fn start(
        dir: &Path,
        number: usize,
        client: SocketAddr,
        peer: SocketAddr,
        cluster: &str,
    ) -> Result<Self> {
        let log = dir.join(format!("m{number}.log"));
        let (client_url, peer_url) = (format!("http://{client}"), format!("http://{peer}"));
        let arguments = [
            ("--name", format!("m{number}")),
            (
                "--data-dir",
                dir.join(format!("m{number}")).display().to_string(),
            ),
            ("--listen-client-urls", client_url.clone()),
            ("--advertise-client-urls", client_url),
            ("--listen-peer-urls", peer_url.clone()),
            ("--initial-advertise-peer-urls", peer_url),
            ("--initial-cluster", cluster.to_owned()),
            ("--initial-cluster-token", "everopen-bench".to_owned()),
            ("--initial-cluster-state", "new".to_owned()),
            ("--logger", "zap".to_owned()),
            ("--log-level", "warn".to_owned()),
        ];
        let spawn = |mut command: Command| {
            for (name, value) in &arguments {
                command.arg(name).arg(value);
            }
            let file = File::create(&log)?;
            command
                .stdin(Stdio::null())
                .stdout(file.try_clone()?)
                .stderr(file)
                .spawn()
        };
        // The kernel kills it when this thread ends in whatever way: no drop runs after `kill -9`.
        let mut bound = command("setpriv");
        bound.args(["--pdeathsig", "KILL", "--", "etcd"]);
        let process = match spawn(bound) {
            Err(e) if e.kind() == ErrorKind::NotFound => spawn(command("etcd")),
            other => other,
        }
        .context("cannot start etcd")?;
        Ok(Self {
            process,
            address: client,
            log,
        })
    }

    /// Fails when it has ended, with what it said last.
    fn check(&mut self) -> Result<()> {
        if let Some(status) = self.process.try_wait()? {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let said: Vec<&str> = log.lines().rev().take(3).collect();
            bail!("a member ended with {status}: {}", said.join(" | "));
        }
        Ok(())
    }
}

/// Waits until every member names the same leader; its address.
fn wait_for_leader(members: &mut [Member]) -> Result<SocketAddr> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for member in members.iter_mut() {
            member.check()?;
        }
        let said: Vec<(SocketAddr, Status)> = members
            .iter()
            .filter_map(|member| Some((member.address, status(member.address).ok()?)))
            .collect();
        let leader = said.iter().find(|(_, s)| s.leader == s.member);
        if let Some((address, leader)) = leader
            && leader.leader != 0
            && said.len() == MEMBERS
            && said.iter().all(|(_, s)| s.leader == leader.leader)
        {
            return Ok(*address);
        }
        if Instant::now() > deadline {
            bail!("no leader within {PATIENCE:?}");
        }
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn status(address: SocketAddr) -> Result<Status> {
    grpc::runtime()?.block_on(async {
        let asked = async { Connection::open(address).await?.status().await };
        tokio::time::timeout(Duration::from_secs(1), asked).await?
    })
}

impl Driver for Etcd {
    fn connect(&mut self, plan: Plan) -> Result<Box<dyn Target>> {
        Ok(Box::new(Puts::connect(self.leader, plan.connections)?))
    }
}
