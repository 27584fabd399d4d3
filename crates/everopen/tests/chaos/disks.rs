//! Histories of clients while replicas' disks are full or hang: small file systems of the test's own.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use everopen_client::{Client, Refusal};
use everopen_domain::{AssetId, MemberId};

use crate::fleet::{self, Fleet, Setup};
use crate::history::{self, Clients, Reads};
use crate::{alone, money, seed, until};
use everopen_testkit::sandbox::{self, Frozen, Needs};

/// Of each replica's log.
const DISK_MIB: u32 = 48;
/// Commands in one submission of the pump.
const GROUP: usize = 400;

#[test]
fn clients_see_one_linear_history_whose_ever_disk_is_full() {
    let _alone = alone();
    let name = "disks::clients_see_one_linear_history_whose_ever_disk_is_full";
    if !sandbox::is_inside(name, Needs::Mounts) {
        return;
    }
    let seed = seed();
    let folder = crate::folder();
    let disks: Vec<PathBuf> = (1..=fleet::SIZE)
        .map(|id| sandbox::small_disk(folder.path().join(format!("node-{id}/log")), DISK_MIB))
        .collect();
    let disk = |id: u64| disks[id as usize - 1].as_path();
    let mut fleet = Fleet::start(folder.path(), Setup::WholeLog);
    let cluster = fleet.cluster();
    fleet::whole(&mut fleet, &cluster);
    let client = cluster.client(Duration::from_secs(10));
    money::open_market(&client);
    let member = money::members(&client, "pump", 1)[0];
    let clients = Clients::start(&cluster, Reads::Linearizable, seed, Duration::from_secs(60));
    let enough = 4 * history::CLIENTS_IN_ALL;
    let served = || {
        let before = clients.acknowledged();
        let begun = Instant::now();
        until("clients are served", || {
            (clients.acknowledged() > before + enough).then_some(())
        });
        begun.elapsed()
    };
    let is_full = |id: u64| {
        let status = cluster.ask(id, &serde_json::json!({ "ask": "status" }));
        status.is_ok_and(|status| status["journal_full"] == true)
    };
    served();

    let leader = cluster.wait_for_leader();
    let follower = leader % fleet::SIZE + 1;
    fill(disk(follower));
    let pump = Pump::start(&client, member);
    until("a follower's disk is full", || {
        is_full(follower).then_some(())
    });
    println!("a follower's disk is full: served within {:?}", served());
    empty(disk(follower));
    until("it has room again", || (!is_full(follower)).then_some(()));
    cluster.wait_until_whole();

    let leader = cluster.wait_for_leader();
    fill(disk(leader));
    until("the leader's disk is full", || {
        is_full(leader).then_some(())
    });
    println!("the leader's disk is full: served within {:?}", served());
    empty(disk(leader));
    until("it has room again", || (!is_full(leader)).then_some(()));
    cluster.wait_until_whole();

    cluster.ids().into_iter().for_each(|id| fill(disk(id)));
    until("commands are refused since all disks are full", || {
        (pump.refused.swap(false, Relaxed)).then_some(())
    });
    let full: Vec<u64> = cluster
        .ids()
        .into_iter()
        .filter(|id| is_full(*id))
        .collect();
    println!("the disks of {full:?} are full: refused");
    cluster.ids().into_iter().for_each(|id| empty(disk(id)));
    println!("all disks have room again: served within {:?}", served());
    pump.stop();
    fleet::whole(&mut fleet, &cluster);
    clients.finish(&cluster).expect("a linear history");
    fleet.check();
}

#[test]
fn clients_see_one_linear_history_while_the_leaders_disk_hangs() {
    let _alone = alone();
    let name = "disks::clients_see_one_linear_history_while_the_leaders_disk_hangs";
    if !sandbox::is_inside(name, Needs::Freezing) {
        return;
    }
    let folder = crate::folder();
    let disks: Vec<PathBuf> = (1..=fleet::SIZE)
        .map(|id| sandbox::own_disk(folder.path().join(format!("node-{id}/log")), DISK_MIB))
        .collect();
    let mut fleet = Fleet::start(folder.path(), Setup::WholeLog);
    let cluster = fleet.cluster();
    fleet::whole(&mut fleet, &cluster);
    money::open_market(&cluster.client(Duration::from_secs(10)));
    let clients = Clients::start(
        &cluster,
        Reads::Linearizable,
        seed(),
        Duration::from_secs(60),
    );
    let served = || {
        let enough = clients.acknowledged() + 4 * history::CLIENTS_IN_ALL;
        until("clients are served", || {
            (clients.acknowledged() > enough).then_some(())
        });
    };
    for _ in 0..3 {
        served();
        let hung = cluster.wait_for_leader();
        let begun = Instant::now();
        let frozen = Frozen::new(&disks[hung as usize - 1]);
        let next = until("another leads", || {
            cluster.leader().filter(|leader| *leader != hung)
        });
        let after = begun.elapsed();
        // With the one that lost the lead still hanging.
        served();
        println!("{hung}'s disk hangs: {next} leads after {after:?}");
        drop(frozen);
        cluster.wait_until_whole();
    }
    fleet::whole(&mut fleet, &cluster);
    clients.finish(&cluster).expect("a linear history");
    fleet.check();
}

/// Leaves not a block.
fn fill(disk: &Path) {
    let mut file = File::create(disk.join("ballast")).expect("create");
    while file.write_all(&[1; 4096]).is_ok() {}
}

fn empty(disk: &Path) {
    std::fs::remove_file(disk.join("ballast")).expect("remove");
}

/// Makes the log grow.
struct Pump {
    stop: Arc<AtomicBool>,
    /// A submission was refused since there is no room.
    refused: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Pump {
    fn start(client: &Client, member: MemberId) -> Self {
        let (stop, refused) = (Arc::<AtomicBool>::default(), Arc::<AtomicBool>::default());
        let (stopped, told, client) = (Arc::clone(&stop), Arc::clone(&refused), client.clone());
        let commands = vec![money::deposit((member, AssetId(1)), 1); GROUP];
        let thread = std::thread::spawn(move || {
            while !stopped.load(Relaxed) {
                let result = client.execute(commands.clone());
                told.fetch_or(result == Err(Refusal::JournalFull), Relaxed);
                // The disk is to be filled, not the processor.
                crate::pass(Duration::from_millis(10));
            }
        });
        Self {
            stop,
            refused,
            thread,
        }
    }

    fn stop(self) {
        self.stop.store(true, Relaxed);
        self.thread.join().expect("the pump");
    }
}
