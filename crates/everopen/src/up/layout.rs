//! The data directory: what is in it, and how it comes to be.
//!
//! Every step can be cut off at any moment and is done again by the next start; `cluster.toml` is
//! written last, and only then is anything run.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use everopen_identity::{Authority, Name};
use rustix::fs::FlockOperation;

use super::ports;
use crate::cli;
use crate::config::cluster::{Cluster, Replica};
use crate::config::gateway::{Gateway, Market};
use crate::config::node::Node;
use crate::config::{ClusterId, Tls};

/// Replicas of a new venue, if nothing else is asked for: it survives the loss of one.
const REPLICAS: usize = 3;
/// Memory that each has in place from the start: several share a machine that has other work as well.
const MEMORY_MIB: u32 = 64;

/// Where everything is in a data directory.
#[derive(Clone, Debug)]
pub struct Layout {
    dir: PathBuf,
}

impl Layout {
    /// Opens the directory, which is made if it is not there: for its owner alone, since keys are
    /// in it.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn open(dir: &Path) -> Result<Self> {
        make_dir(dir)?;
        let dir = fs::canonicalize(dir).with_context(|| format!("find {}", dir.display()))?;
        Ok(Self { dir })
    }

    /// The directory, as an absolute path.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A replica's file.
    pub fn node_file(&self, replica: &Replica) -> PathBuf {
        self.dir.join(&replica.dir).join("node.toml")
    }

    /// Where a replica logs what it does.
    pub fn node_log(&self, replica: &Replica) -> PathBuf {
        self.dir.join(&replica.dir).join("node.log")
    }

    /// The gateway's file.
    pub fn gateway_file(&self) -> PathBuf {
        self.dir.join("gateway").join("gateway.toml")
    }

    /// The same settings under a name of their own, which stays when the next ones are written.
    pub fn gateway_file_of(&self, settings: &str) -> PathBuf {
        self.dir
            .join("gateway")
            .join(format!("gateway-{settings}.toml"))
    }

    /// All files of that kind.
    pub fn gateway_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.join("gateway")).into_iter().flatten();
        let paths = entries.flatten().map(|entry| entry.path());
        let is_one = |path: &PathBuf| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("gateway-") && name.ends_with(".toml"))
        };
        paths.filter(is_one).collect()
    }

    /// Where the gateway logs what it does.
    pub fn gateway_log(&self) -> PathBuf {
        self.dir.join("gateway").join("gateway.log")
    }

    /// The folder of the certificates.
    pub fn tls(&self) -> PathBuf {
        self.dir.join("tls")
    }

    /// The file whose lock, and whose content, says who supervises.
    pub fn lock_file(&self) -> PathBuf {
        self.dir.join("up.lock")
    }

    /// Takes the lock that says who supervises this directory; it lasts as long as the file, and
    /// names the process.
    ///
    /// # Errors
    /// When another process has it.
    pub fn lock(&self) -> Result<File> {
        let path = self.lock_file();
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&path)
            .with_context(|| format!("open {}", path.display()))?;
        if !try_lock(&file)? {
            bail!(
                "{} is in use by another process: an `everopen up` runs there",
                self.dir.display()
            );
        }
        let write = |file: &mut File| -> std::io::Result<()> {
            file.set_len(0)?;
            write!(file, "{}", std::process::id())
        };
        write(&mut file).with_context(|| format!("write {}", path.display()))?;
        Ok(file)
    }

    /// Who held the lock last.
    pub fn supervisor(&self) -> Option<u32> {
        let text = fs::read_to_string(self.lock_file()).ok()?;
        text.trim().parse().ok()
    }

    /// The files of replicas and gateway as the options want them. Returns the replicas that would
    /// run in another way with the new ones than with the old.
    ///
    /// # Errors
    /// When they can't be written.
    pub fn write_files(
        &self,
        cluster: &Cluster,
        args: &cli::Up,
        gateway: &Gateway,
    ) -> Result<Vec<u64>> {
        let mut changed = Vec::new();
        let authority = Authority::open_or_create(&self.tls().join("authority"))?;
        for replica in &cluster.nodes {
            make_dir(&self.dir.join(&replica.dir))?;
            authority.issue(&Name::Node(replica.id), &self.tls())?;
            let path = self.node_file(replica);
            let node = self.node(cluster, replica, args);
            if !Node::read(&path).is_ok_and(|old| old.node.runs_like(&node)) {
                changed.push(replica.id);
            }
            node.write(&path)?;
        }
        authority.issue(&Name::Operator, &self.tls())?;
        authority.issue(&Name::Gateway(1), &self.tls())?;
        make_dir(&self.dir.join("gateway"))?;
        gateway.write(&self.gateway_file())?;
        Ok(changed)
    }

    fn node(&self, cluster: &Cluster, replica: &Replica, args: &cli::Up) -> Node {
        Node {
            node: replica.id,
            cluster: cluster.cluster,
            listen: replica.address,
            advertise: None,
            log: "log".into(),
            join: replica.join,
            durability: args.durability,
            segment_mib: args.segment_mib,
            keep_log: args.keep_log,
            snapshot_every_mib: 64,
            memory_mib: MEMORY_MIB,
            keep_awake: args.keep_awake,
            logic_max: args.logic_max,
            tls: Tls::within(Path::new("../tls"), Name::Node(replica.id)),
            nodes: if replica.join {
                cluster.peers()
            } else {
                cluster.initial()
            },
        }
    }

    /// The gateway's settings as the options want them.
    pub fn gateway(&self, cluster: &Cluster, args: &cli::Up, listen: SocketAddr) -> Gateway {
        Gateway {
            cluster: cluster.cluster,
            // Behind an edge each is told where.
            listen: match args.no_edge {
                false => SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                true => listen,
            },
            public: (!args.no_edge).then_some(listen),
            proxies: match args.no_edge {
                false => vec![Ipv4Addr::LOCALHOST.into()],
                true => Vec::new(),
            },
            keys: ".".into(),
            admin: "..".into(),
            durability: args.durability,
            private_rate: args.private_rate,
            public_rate: args.public_rate,
            manual_withdrawals: args.manual_withdrawals,
            demo_deposits: !args.no_demo_deposits,
            cluster_dir: Some("..".into()),
            tls: Tls::within(Path::new("../tls"), Name::Gateway(1)),
            market: (!args.no_market).then_some(Market {
                seed: args.seed,
                rate: args.market_rate,
            }),
            nodes: cluster.peers(),
        }
    }
}

/// The replicas to run.
pub struct Plan {
    pub cluster: Cluster,
    /// Sockets that keep new replicas' ports until these start.
    pub reserved: HashMap<u64, TcpListener>,
    /// The directory is new: its log has nothing in it.
    pub is_new: bool,
}

/// What is to run in the directory: what `cluster.toml` says, grown to the wanted number. Nothing
/// is written but what a migration moves.
///
/// # Errors
/// When the directory can't be used, or more replicas are there than wanted.
pub fn plan(layout: &Layout, wanted: Option<usize>) -> Result<Plan> {
    let mut reserved = HashMap::new();
    let mut add = |cluster: &mut Cluster, join: bool| -> Result<()> {
        let (address, listener) = ports::take()?;
        let id = cluster.add(address, join).id;
        reserved.insert(id, listener);
        Ok(())
    };
    let is_known = Cluster::path(layout.dir()).exists();
    let (mut cluster, is_new) = if is_known {
        (Cluster::read(layout.dir())?, false)
    } else {
        let is_migrated = migrate(layout.dir())?;
        let mut cluster = Cluster {
            cluster: ClusterId::draw()?,
            next_node: 1,
            nodes: Vec::new(),
        };
        // A log that is there is the whole venue: its replica alone knows it, so it alone votes
        // until the others have caught up.
        let initial = if is_migrated {
            1
        } else {
            wanted.unwrap_or(REPLICAS)
        };
        for _ in 0..initial {
            add(&mut cluster, false)?;
        }
        (cluster, !is_migrated)
    };
    let there = cluster.nodes.len();
    let wanted = wanted.unwrap_or(if is_known { there } else { REPLICAS });
    if wanted < there {
        bail!(
            "{} has {there} replicas; take one away with `everopen cluster remove` before starting with {wanted}",
            layout.dir().display()
        );
    }
    for _ in there..wanted {
        add(&mut cluster, true)?;
    }
    Ok(Plan {
        cluster,
        reserved,
        is_new,
    })
}

/// Turns a directory of version 0.1.0, which had one log and no replicas, into one with a replica
/// that has this log. Returns whether there was such a log.
fn migrate(dir: &Path) -> Result<bool> {
    let (old, new) = (dir.join("log"), dir.join("node-1").join("log"));
    if old.is_dir() {
        let lock = old.join("lock");
        if let Ok(file) = File::open(&lock)
            && !try_lock(&file)?
        {
            bail!(
                "{} is in use by another process of an earlier version",
                dir.display()
            );
        }
        if new.exists() {
            bail!(
                "both {} and {} exist; which one is the venue's log?",
                old.display(),
                new.display()
            );
        }
        make_dir(&dir.join("node-1"))?;
        fs::rename(&old, &new)
            .with_context(|| format!("move {} to {}", old.display(), new.display()))?;
        tracing::info!(from = %old.display(), to = %new.display(), "the log of an earlier version has moved");
    }
    // The sealing key first: without the keys' file beside it, it is only unused.
    for name in ["api-keys.master", "api-keys.json"] {
        let (from, to) = (dir.join(name), dir.join("gateway").join(name));
        if from.exists() && !to.exists() {
            make_dir(&dir.join("gateway"))?;
            fs::rename(&from, &to)
                .with_context(|| format!("move {} to {}", from.display(), to.display()))?;
        }
    }
    let _ = fs::remove_file(dir.join("api-keys.lock"));
    Ok(new.is_dir())
}

fn try_lock(file: &File) -> Result<bool> {
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error).context("lock"),
    }
}

/// Makes a folder for its owner alone, if it is not there.
///
/// # Errors
/// When it can't be made.
pub fn make_dir(dir: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("create the directory {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(dir: &Path) -> Layout {
        Layout::open(dir).unwrap()
    }

    fn ids(plan: &Plan) -> Vec<(u64, bool)> {
        let nodes = plan.cluster.nodes.iter();
        nodes.map(|node| (node.id, node.join)).collect()
    }

    #[test]
    fn a_new_venue_begins_with_all_replicas_as_voters() {
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(&layout(folder.path()), None).unwrap();
        assert!(plan.is_new);
        assert_eq!(ids(&plan), [(1, false), (2, false), (3, false)]);
        assert_eq!(plan.reserved.len(), 3);
    }

    #[test]
    fn addresses_stay_and_growth_joins() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(folder.path());
        let one = plan(&layout, Some(1)).unwrap();
        one.cluster.write(layout.dir()).unwrap();
        let again = plan(&layout, None).unwrap();
        assert_eq!(again.cluster, one.cluster);
        assert!(!again.is_new);
        let three = plan(&layout, Some(3)).unwrap();
        assert_eq!(ids(&three), [(1, false), (2, true), (3, true)]);
        assert_eq!(three.cluster.nodes[0], one.cluster.nodes[0]);
        three.cluster.write(layout.dir()).unwrap();
        let fewer = plan(&layout, Some(1)).map(|_| ()).unwrap_err();
        assert!(fewer.to_string().contains("cluster remove"), "{fewer}");
    }

    #[test]
    fn a_directory_of_0_1_0_keeps_its_log_and_its_keys() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path();
        fs::create_dir(dir.join("log")).unwrap();
        fs::write(dir.join("log/lock"), "").unwrap();
        fs::write(dir.join("log/segment"), "entries").unwrap();
        fs::write(dir.join("api-keys.json"), "keys").unwrap();
        fs::write(dir.join("api-keys.master"), "seal").unwrap();
        let layout = layout(dir);
        let first = plan(&layout, None).unwrap();
        assert!(!first.is_new);
        assert_eq!(ids(&first), [(1, false), (2, true), (3, true)]);
        assert!(!dir.join("log").exists());
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
        assert_eq!(read("node-1/log/segment"), "entries");
        assert_eq!(read("gateway/api-keys.json"), "keys");
        assert_eq!(read("gateway/api-keys.master"), "seal");
        // Cut off before `cluster.toml` was written: the same again.
        assert_eq!(ids(&plan(&layout, None).unwrap()), ids(&first));
    }

    #[test]
    fn a_log_in_use_is_not_moved() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("log")).unwrap();
        let lock = File::create(folder.path().join("log/lock")).unwrap();
        assert!(try_lock(&lock).unwrap());
        let error = plan(&layout(folder.path()), None).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("in use"), "{error}");
        assert!(folder.path().join("log").is_dir());
    }

    #[test]
    fn one_supervisor_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let layout = layout(folder.path());
        let held = layout.lock().unwrap();
        assert!(layout.lock().unwrap_err().to_string().contains("in use"));
        drop(held);
        layout.lock().unwrap();
    }
}
