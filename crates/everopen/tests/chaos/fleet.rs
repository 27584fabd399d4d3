//! Replicas as `everopen node` runs them, each started and restarted by the test itself; in a
//! network of their own if they are to be cut off from each other.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use everopen_identity::{Authority, Name};
use everopen_testkit::free_address;

use crate::cluster::Cluster;
use crate::until;
use everopen_testkit::sandbox::{self, run};

/// Replicas of a fleet.
pub const SIZE: u64 = 3;
const ID: &str = "65766572206368616f7320746573742e";

/// How a fleet is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setup {
    /// Each in a [`Network`] of their own, and with snapshots often.
    InNetwork,
    /// On the loopback, with all of the log kept.
    WholeLog,
}

/// The replicas.
pub struct Fleet {
    dir: PathBuf,
    setup: Setup,
    addresses: BTreeMap<u64, SocketAddr>,
    running: BTreeMap<u64, Child>,
}

impl Fleet {
    /// Writes their files and starts them.
    pub fn start(dir: &Path, setup: Setup) -> Self {
        let tls = dir.join("tls");
        let authority = Authority::open_or_create(&tls.join("authority")).expect("an authority");
        authority
            .issue(&Name::Operator, &tls)
            .expect("a certificate");
        let addresses = addresses(setup);
        let peers: String = addresses
            .iter()
            .map(|(id, address)| format!("[[nodes]]\nid = {id}\naddress = \"{address}\"\n"))
            .collect();
        let log = match setup {
            Setup::InNetwork => "snapshot_every_mib = 1",
            Setup::WholeLog => "keep_log = true",
        };
        for id in 1..=SIZE {
            let files = authority
                .issue(&Name::Node(id), &tls)
                .expect("a certificate");
            let folder = dir.join(format!("node-{id}"));
            std::fs::create_dir_all(&folder).expect("a folder");
            let text = format!(
                "node = {id}\ncluster = \"{ID}\"\nlisten = \"{}\"\nsegment_mib = 2\n{log}\n\n\
                 [tls]\nca = {:?}\ncert = {:?}\nkey = {:?}\n\n{peers}",
                addresses[&id], files.ca, files.cert, files.key,
            );
            std::fs::write(folder.join("node.toml"), text).expect("a file");
        }
        let mut fleet = Self {
            dir: dir.to_path_buf(),
            setup,
            addresses,
            running: BTreeMap::new(),
        };
        (1..=SIZE).for_each(|id| fleet.run(id));
        fleet
    }

    /// The way to them.
    pub fn cluster(&self) -> Cluster {
        let nodes = self.addresses.iter().map(|(id, address)| (*id, *address));
        Cluster::new(nodes.collect(), &self.dir.join("tls"))
    }

    /// Starts one that does not run.
    pub fn run(&mut self, id: u64) {
        let folder = self.dir.join(format!("node-{id}"));
        let log = OpenOptions::new()
            .create(true)
            .append(true)
            .open(folder.join("node.log"))
            .expect("a log");
        let program = env!("CARGO_BIN_EXE_everopen");
        let mut command = if self.setup == Setup::InNetwork {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", &format!("n{id}"), program]);
            command
        } else {
            Command::new(program)
        };
        let child = command
            .args(["node", "--config"])
            .arg(folder.join("node.toml"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share a log"))
            .stderr(log)
            .spawn()
            .expect("start a replica");
        self.running.insert(id, child);
    }

    /// Ends one by `kill -9`.
    pub fn kill(&mut self, id: u64) {
        if let Some(mut child) = self.running.remove(&id) {
            child.kill().expect("kill");
            child.wait().expect("wait");
        }
    }

    /// Fails when one has ended by itself.
    pub fn check(&mut self) {
        for (id, child) in &mut self.running {
            let ended = child.try_wait().expect("ask for a process");
            let log = self.dir.join(format!("node-{id}/node.log"));
            let said = || std::fs::read_to_string(&log).unwrap_or_default();
            assert!(ended.is_none(), "replica {id} ended by itself:\n{}", said());
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Where replicas listen: in namespaces of their own, or on ports that are free now.
fn addresses(setup: Setup) -> BTreeMap<u64, SocketAddr> {
    let address = |id: u64| match setup {
        Setup::InNetwork => SocketAddr::from(([10, 77, 0, id as u8], 7_000)),
        Setup::WholeLog => free_address(),
    };
    (1..=SIZE).map(|id| (id, address(id))).collect()
}

/// A network in which each replica has its own namespace, and clients are outside of all.
pub struct Network;

impl Network {
    /// Makes it. The replicas reach each other and the clients.
    pub fn new() -> Self {
        sandbox::begin_network();
        run("ip link add hub type bridge");
        run("ip addr add 10.77.0.254/24 dev hub");
        run("ip link set hub up");
        for id in 1..=SIZE {
            run(&format!("ip netns add n{id}"));
            run(&format!(
                "ip link add port{id} type veth peer name eth0 netns n{id}"
            ));
            run(&format!("ip link set port{id} master hub up"));
            run(&format!("ip -n n{id} addr add 10.77.0.{id}/24 dev eth0"));
            run(&format!("ip -n n{id} link set lo up"));
            run(&format!("ip -n n{id} link set eth0 up"));
        }
        Self
    }

    /// What one sends to another is lost from now on; what comes back is not.
    pub fn cut(&self, from: u64, to: u64) {
        run(&format!(
            "ip -n n{from} route replace blackhole 10.77.0.{to}/32"
        ));
    }

    /// Cuts both ways.
    pub fn part(&self, one: u64, other: u64) {
        self.cut(one, other);
        self.cut(other, one);
    }

    /// Takes the cable out: nobody is reached any more, not even by clients.
    pub fn unplug(&self, id: u64) {
        run(&format!("ip link set port{id} down"));
    }

    /// Everything as it was.
    pub fn heal(&self) {
        for id in 1..=SIZE {
            run(&format!("ip link set port{id} up"));
            run(&format!("ip -n n{id} route flush type blackhole"));
        }
    }
}

/// Waits until a fleet is as it should be.
pub fn whole(fleet: &mut Fleet, cluster: &Cluster) {
    until("the fleet is up", || {
        fleet.check();
        (cluster.statuses().len() == SIZE as usize).then_some(())
    });
    cluster.wait_until_whole();
}
