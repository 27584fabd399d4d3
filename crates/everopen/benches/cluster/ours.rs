//! Everopen: three replicas as processes of their own.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use everopen_identity::{Authority, Identity, Name};
use everopen_testkit::load::Target;

use crate::driver::{Driver, Mode};
use crate::session::{self, Link, Plan, Sessions};

/// What it is called in the tables.
pub const NAME: &str = "Everopen";

const REPLICAS: u64 = 3;
/// Requests that one session may have unanswered here.
const SESSION_WINDOW: usize = 4_096;
const PATIENCE: Duration = Duration::from_secs(30);
const CLUSTER: &str = "6576657220626e636865647320636c75";

/// How they are set up.
#[derive(Clone, Copy)]
pub struct Setup {
    pub mode: Mode,
    /// Of `node.toml`; its default where none is given.
    pub memory_mib: Option<u32>,
    /// As it stands there.
    pub keep_awake: &'static str,
}

/// Three replicas of the real program.
pub struct Everopen {
    replicas: Vec<Replica>,
    identity: Arc<Identity>,
    prepared: bool,
    nonce: u64,
}

struct Replica {
    process: Child,
    id: u64,
    address: SocketAddr,
    log: PathBuf,
}

impl Drop for Replica {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Everopen {
    /// Starts them with their data in `dir` and waits for a leader.
    pub fn start(setup: Setup, dir: &Path) -> Result<Self> {
        let Setup {
            mode,
            memory_mib,
            keep_awake,
        } = setup;
        let memory = memory_mib.map_or_else(String::new, |mib| format!("memory_mib = {mib}\n"));
        let dir = dir.join(format!("everopen-{}", mode.name()));
        let tls = dir.join("tls");
        let authority = Authority::open_or_create(&tls)?;
        let listeners = (0..REPLICAS)
            .map(|_| TcpListener::bind("127.0.0.1:0"))
            .collect::<std::io::Result<Vec<_>>>()?;
        let addresses = listeners
            .iter()
            .map(TcpListener::local_addr)
            .collect::<std::io::Result<Vec<_>>>()?;
        drop(listeners);
        let peers: Vec<String> = addresses
            .iter()
            .zip(1..)
            .map(|(address, id)| format!("[[nodes]]\nid = {id}\naddress = \"{address}\"\n"))
            .collect();
        let mut replicas = Vec::new();
        for (address, id) in addresses.iter().zip(1..) {
            let files = authority.issue(&Name::Node(id), &tls)?;
            let folder = dir.join(format!("node-{id}"));
            std::fs::create_dir_all(&folder)?;
            let config = folder.join("node.toml");
            let text = format!(
                "node = {id}\ncluster = \"{CLUSTER}\"\nlisten = \"{address}\"\ndurability = \"{}\"\nkeep_awake = \"{keep_awake}\"\n{memory}\n\
                 [tls]\nca = {:?}\ncert = {:?}\nkey = {:?}\n\n{}",
                mode.name(),
                files.ca,
                files.cert,
                files.key,
                peers.concat()
            );
            std::fs::write(&config, text)?;
            replicas.push(Replica::start(id, *address, &config)?);
        }
        let identity = Identity::load(&authority.issue(&Name::Operator, &tls)?)?;
        Ok(Self {
            replicas,
            identity,
            prepared: false,
            nonce: 1,
        })
    }

    /// Connects to whoever leads, waiting until somebody does.
    fn leader(&mut self) -> Result<Link> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            for replica in &mut self.replicas {
                replica.check()?;
                let mut link = Link::connect(&self.identity, replica.address, replica.id);
                if link.as_mut().is_some_and(Link::leads)
                    && let Some(link) = link
                {
                    return Ok(link);
                }
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        bail!("no replica leads after {PATIENCE:?}")
    }
}

impl Driver for Everopen {
    fn connect(&mut self, mut plan: Plan) -> Result<Box<dyn Target>> {
        // A session keeps so many answers; more under way need more sessions.
        plan.sessions = plan.sessions.max(plan.outstanding.div_ceil(SESSION_WINDOW));
        let mut link = self.leader()?;
        if !self.prepared {
            session::prepare(&mut link).context("prepare the venue")?;
            self.prepared = true;
        }
        // Nonces of one connection are no other's: the same nonce is the same session.
        self.nonce += 1 << 20;
        Ok(Box::new(Sessions::open(link, self.nonce, plan)?))
    }
}

impl Replica {
    fn start(id: u64, address: SocketAddr, config: &Path) -> Result<Self> {
        let log = config.with_extension("log");
        let program = env!("CARGO_BIN_EXE_everopen");
        let spawn = |mut command: Command| {
            let file = File::create(&log)?;
            command
                .args(["node", "--config"])
                .arg(config)
                .stdin(Stdio::null())
                .stdout(file.try_clone()?)
                .stderr(file)
                .spawn()
        };
        // The kernel kills it when this thread ends in whatever way: no drop runs after `kill -9`.
        let mut bound = Command::new("setpriv");
        bound.args(["--pdeathsig", "KILL", "--", program]);
        let process = match spawn(bound) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => spawn(Command::new(program)),
            other => other,
        }
        .context("cannot start a replica")?;
        Ok(Self {
            process,
            id,
            address,
            log,
        })
    }

    /// Fails when it has ended, with what it said last.
    fn check(&mut self) -> Result<()> {
        if let Some(status) = self.process.try_wait()? {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            let said: Vec<&str> = log.lines().rev().take(3).collect();
            bail!(
                "replica {} ended with {status}: {}",
                self.id,
                said.join(" | ")
            );
        }
        Ok(())
    }
}
