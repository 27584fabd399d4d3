//! Replicas that follow a script: real connections, one shared log instead of consensus.

mod replica;
mod world;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use everopen_client::{Client, Config, Node, Outcome, Refusal};
use everopen_domain::{Command, Event as Happened, InstrumentId, Price};
use everopen_identity::{Authority, Identity};
use everopen_rpc::{Hub, Limits, Name, Security};

use replica::Replica;
pub use world::{Does, World};

/// No condition takes longer, however busy the machine is.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Cluster {
    pub world: Arc<Mutex<World>>,
    pub nodes: Vec<Node>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Cluster {
    pub fn start(replicas: u64) -> Self {
        let world = Arc::new(Mutex::new(World::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let mut hubs = Vec::new();
        let mut nodes = Vec::new();
        for id in 1..=replicas {
            let security = Security::Mutual(identity(Name::Node(id)));
            let mut hub = Hub::new(Limits::default(), security).unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = hub.listen(listener).unwrap();
            nodes.push(Node {
                id,
                address: address.to_string(),
            });
            hubs.push((id, hub));
        }
        let threads = hubs
            .into_iter()
            .map(|(id, hub)| {
                let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
                let addresses = nodes
                    .iter()
                    .map(|node| (node.id, node.address.parse().unwrap()))
                    .collect();
                let replica = Replica::new(id, world, addresses);
                std::thread::spawn(move || replica.run(hub, &stop))
            })
            .collect();
        Self {
            world,
            nodes,
            stop,
            threads,
        }
    }

    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// What the leader does with its first submissions; then what is right.
    pub fn script(&self, does: &[Does]) {
        let does = does.to_vec();
        self.world().script =
            Box::new(move |at| does.get(at as usize).copied().unwrap_or(Does::Right));
    }

    pub fn config(&self) -> Config {
        Config {
            nodes: self.nodes.clone(),
            identity: identity(Name::Gateway(1)),
            in_flight_max: 1_000,
            patience: PATIENCE,
        }
    }

    pub fn client(&self) -> Client {
        Client::start(self.config()).unwrap()
    }

    /// Every price that was applied, in order.
    pub fn applied(&self) -> Vec<u64> {
        self.world().log.concat()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let ended = thread.join();
            assert!(
                std::thread::panicking() || ended.is_ok(),
                "a replica panicked"
            );
        }
    }
}

pub fn identity(name: Name) -> Arc<Identity> {
    static DIR: LazyLock<(tempfile::TempDir, Authority)> = LazyLock::new(|| {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::create(&dir.path().join("authority")).unwrap();
        (dir, authority)
    });
    // Several tests may ask for the same name at once: each has a directory of its own.
    let out = tempfile::tempdir().unwrap();
    let files = DIR.1.issue(&name, out.path()).unwrap();
    Identity::load(&files).unwrap()
}

pub fn set(price: u64) -> Command {
    Command::SetReferencePrice {
        instrument: InstrumentId(1),
        price: Price(price),
    }
}

fn echo(price: u64) -> Happened {
    Happened::ReferencePriceSet {
        instrument: InstrumentId(1),
        price: Price(price),
    }
}

/// The prices that events tell.
pub fn prices(events: &[Happened]) -> Vec<u64> {
    let price = |event: &Happened| match event {
        Happened::ReferencePriceSet { price, .. } => price.0,
        other => panic!("not an event of these tests: {other:?}"),
    };
    events.iter().map(price).collect()
}

type Answered = (u64, Result<Outcome, Refusal>);

/// Submissions under way: each is one price.
pub struct Submitted {
    pub count: usize,
    tell: mpsc::Sender<Answered>,
    told: mpsc::Receiver<Answered>,
}

impl Submitted {
    pub fn new() -> Self {
        let (tell, told) = mpsc::channel();
        Self {
            count: 0,
            tell,
            told,
        }
    }

    pub fn submit(&mut self, client: &Client, price: u64) {
        let tell = self.tell.clone();
        let answer = Box::new(move |result| tell.send((price, result)).unwrap());
        client.submit(vec![set(price)], answer).unwrap();
        self.count += 1;
    }

    /// Waits for all answers; each price has one.
    pub fn answers(self) -> BTreeMap<u64, Result<Outcome, Refusal>> {
        let mut all = BTreeMap::new();
        for _ in 0..self.count {
            let (price, result) = self.told.recv_timeout(PATIENCE).expect("an answer");
            assert!(all.insert(price, result).is_none(), "{price} twice");
        }
        drop(self.tell);
        assert!(self.told.recv().is_err(), "an answer too many");
        all
    }
}

pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "never came: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
