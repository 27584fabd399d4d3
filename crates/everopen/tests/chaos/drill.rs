//! Whatever fails, in whatever order: any number of processes at once, and a minority's disks, each
//! time until the venue is whole again. Members trade through the edge and the gateway meanwhile,
//! and clients keep a history at the replicas.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, replica};
use crate::history::{self, Clients, Reads};
use crate::support::operator::everopen;
use crate::support::{Process, Venue, kill_all, signal};
use crate::trader::{self, Trader};
use crate::{Random, agreement, alone, by_suite, nemesis, seed, until};

/// For the accounts of a round's clients; a longer round goes on with the last ones.
const ROUND_MOST: Duration = Duration::from_secs(60);

/// What fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    KillMinority,
    KillMajority,
    /// All that the supervisor starts again.
    KillAll,
    /// The supervisor as well, as if the machine's processes were all taken at once.
    KillAllAndSupervisor,
    KillSupervisor,
    KillLeaderAndGateway,
    KillGateway,
    KillEdge,
    PauseMinority,
    PauseLeader,
    /// A bit of a replica's newest log file flips while it does not run.
    FlipBit,
    /// A replica's log is gone.
    EmptyLog,
}

const OF_PROCESSES: [Fault; 10] = [
    Fault::KillMinority,
    Fault::KillMajority,
    Fault::KillAll,
    Fault::KillAllAndSupervisor,
    Fault::KillSupervisor,
    Fault::KillLeaderAndGateway,
    Fault::KillGateway,
    Fault::KillEdge,
    Fault::PauseMinority,
    Fault::PauseLeader,
];
const OF_DISKS: [Fault; 2] = [Fault::FlipBit, Fault::EmptyLog];

#[test]
fn no_acknowledged_order_is_lost_whatever_fails_in_whatever_order() {
    let faults = [&OF_PROCESSES[..], &OF_DISKS].concat();
    drill(&["--replicas", "5"], &faults);
}

/// Of the machine's own memory nothing is lost here, so all but the disks may fail as well.
#[test]
fn no_acknowledged_order_is_lost_in_memory_mode_whatever_process_fails() {
    drill(
        &["--replicas", "3", "--durability", "memory"],
        &OF_PROCESSES,
    );
}

/// Rounds in which each of the faults comes once, for so long. Each has a venue of its own: its
/// clients know the replicas that were there when they began, and one round leaves a majority of
/// these.
fn drill(settings: &[&str], faults: &[Fault]) {
    let _alone = alone();
    let seed = seed();
    let time = by_suite(Duration::ZERO, Duration::from_secs(180));
    let begun = Instant::now();
    for number in 0u64.. {
        println!("round {number}");
        round(settings, faults, seed.wrapping_add(number));
        if begun.elapsed() >= time {
            break;
        }
    }
}

fn round(settings: &[&str], faults: &[Fault], seed: u64) {
    let folder = crate::folder();
    let mut drill = Drill::start(folder.path(), settings, seed);
    let begun = Instant::now();
    let clients = Clients::start(&drill.cluster, Reads::Linearizable, seed, ROUND_MOST);
    let trader = Trader::start(drill.venue());
    until("the load runs", || {
        (clients.acknowledged() > 50 && trader.acknowledged() > 2).then_some(())
    });
    let mut left = faults.to_vec();
    while !left.is_empty() {
        let fault = left.swap_remove(drill.random.below(left.len() as u64) as usize);
        println!("at {:.2} s: {fault:?}", begun.elapsed().as_secs_f64());
        let doubtful = drill.commit(fault);
        let failed = Instant::now();
        let (history, orders) = (clients.acknowledged(), trader.acknowledged());
        until("clients and members are served again", || {
            let enough = history + 2 * history::CLIENTS_IN_ALL;
            (clients.acknowledged() > enough && trader.acknowledged() > orders + 2).then_some(())
        });
        println!("  served after {:?}", failed.elapsed());
        if let Some(doubtful) = doubtful {
            drill.repair(&doubtful);
        }
        nemesis::heal(drill.venue(), &drill.cluster);
        println!("  whole after {:?}", failed.elapsed());
    }
    let orders = trader.finish();
    clients.finish(&drill.cluster).expect("a linear history");
    trader::all_are_there(drill.venue(), &orders);
    nemesis::only_these_failed(folder.path(), &drill.replaced);
    agreement::logs_are_sound(drill.venue.expect("it runs"), folder.path());
}

/// A replica whose log is not what it was.
struct Doubtful {
    id: u64,
    fault: Fault,
    /// Whether it may come back all the same.
    may_return: bool,
    /// What it had said before.
    said: usize,
}

struct Drill<'a> {
    dir: &'a Path,
    settings: &'a [&'a str],
    random: Random,
    /// None only while another supervisor is started.
    venue: Option<Venue>,
    cluster: Cluster,
    /// Replicas that were taken away since their logs were lost.
    replaced: Vec<u64>,
}

impl<'a> Drill<'a> {
    fn start(dir: &'a Path, settings: &'a [&'a str], seed: u64) -> Self {
        let venue = Venue::start_untied(dir, settings).expect("start");
        let cluster = Cluster::of(&venue, dir);
        nemesis::heal(&venue, &cluster);
        Self {
            dir,
            settings,
            random: Random(seed),
            venue: Some(venue),
            cluster,
            replaced: Vec::new(),
        }
    }

    fn venue(&self) -> &Venue {
        self.venue.as_ref().expect("it runs")
    }

    /// Does a fault. Which replica may not come back.
    fn commit(&mut self, fault: Fault) -> Option<Doubtful> {
        let ids = self.shuffled();
        let minority = (ids.len() - 1) / 2;
        let venue = self.venue.as_ref().expect("it runs");
        let leader = || self.cluster.leader().unwrap_or(ids[0]);
        match fault {
            Fault::KillMinority => nemesis::kill(venue, &ids[..minority]),
            Fault::KillMajority => nemesis::kill(venue, &ids[..=minority]),
            Fault::KillAll => venue.processes()[1..]
                .iter()
                .for_each(|process| signal(process.pid, "KILL")),
            Fault::KillAllAndSupervisor => self.start_again(true),
            Fault::KillSupervisor => self.start_again(false),
            Fault::KillLeaderAndGateway => {
                let leader = leader();
                nemesis::kill_role(venue, "gateway");
                nemesis::kill(venue, &[leader]);
            }
            Fault::KillGateway => nemesis::kill_role(venue, "gateway"),
            Fault::KillEdge => nemesis::kill_role(venue, "edge"),
            Fault::PauseMinority => nemesis::pause(venue, &ids[..minority], &mut self.random),
            Fault::PauseLeader => nemesis::pause(venue, &[leader()], &mut self.random),
            Fault::FlipBit | Fault::EmptyLog => return Some(self.spoil(ids[0], fault)),
        }
        None
    }

    fn shuffled(&mut self) -> Vec<u64> {
        let mut left = self.cluster.ids();
        let mut ids = Vec::new();
        while !left.is_empty() {
            ids.push(left.swap_remove(self.random.below(left.len() as u64) as usize));
        }
        ids
    }

    /// Kills the supervisor, alone or before all others, and starts one on what is left.
    fn start_again(&mut self, with_others: bool) {
        let venue = self.venue.take().expect("it runs");
        let rest = venue.text("rest");
        let others = venue.kill_supervisor().expect("kill");
        let end_others = || kill_all(others.iter()).expect("kill");
        if with_others {
            end_others();
        }
        let venue = Venue::start_untied(self.dir, self.settings);
        let venue = venue.unwrap_or_else(|error| {
            end_others();
            panic!("start again: {error}");
        });
        assert_eq!(venue.text("rest"), rest);
        if !with_others {
            // With other replicas than it began with a gateway gives way to another.
            let kept = |all: Vec<Process>| -> Vec<Process> {
                let stay = |p: &Process| p.role == "replica" || p.role == "edge";
                all.into_iter().filter(stay).collect()
            };
            let now = kept(venue.processes());
            assert_eq!(now, kept(others), "the same processes");
        }
        self.venue = Some(venue);
    }

    /// Spoils a replica's log, and kills it. It is stopped first: else it would go on writing, or the
    /// supervisor start it again, before that is done.
    fn spoil(&mut self, id: u64, fault: Fault) -> Doubtful {
        let folder = self.dir.join(format!("node-{id}"));
        let mut may_return = true;
        nemesis::freeze(&replica(self.venue(), id).expect("its process"));
        let said = self.said(id).len();
        if fault == Fault::FlipBit {
            nemesis::flip_bit(&folder.join("log"), &mut self.random);
        } else {
            println!("  the log of replica {id} is emptied");
            for file in std::fs::read_dir(folder.join("log")).expect("a log") {
                std::fs::remove_file(file.expect("a file").path()).expect("remove");
            }
            // Without the note only the leader can tell the replica what it had. One that does not
            // know fills the log.
            may_return = self.random.below(2) == 0;
            if may_return {
                println!("  and the note that there was one");
                std::fs::remove_file(folder.join("log.begun")).expect("remove");
            }
        }
        nemesis::kill(self.venue(), &[id]);
        Doubtful {
            id,
            fault,
            may_return,
            said,
        }
    }

    /// Does what an operator does for a replica that can't go on with its log.
    fn repair(&mut self, doubtful: &Doubtful) {
        let Doubtful {
            id, fault, said, ..
        } = doubtful;
        let why = match fault {
            Fault::FlipBit => ".segment is damaged at offset ",
            _ => "`everopen cluster remove`",
        };
        let comes_back = until("it comes back, or says why it does not", || {
            if self.said(*id)[*said..].contains(why) {
                return Some(false);
            }
            // A flip in room that is not used yet is no damage.
            (doubtful.may_return && self.has_caught_up(*id)).then_some(true)
        });
        if comes_back {
            println!("  replica {id} comes back");
            return;
        }
        let change = |args: &[&str]| {
            let said = everopen(self.dir, args).unwrap_or_else(|error| panic!("{args:?}: {error}"));
            said.lines().for_each(|line| println!("  {line}"));
        };
        change(&["cluster", "remove", &id.to_string()]);
        change(&["cluster", "add"]);
        self.replaced.push(*id);
        let all = self.cluster.ids().len();
        self.cluster = until("another replica runs in its place", || {
            let cluster = Cluster::of(self.venue(), self.dir);
            let ids = cluster.ids();
            (ids.len() == all && !ids.contains(id)).then_some(cluster)
        });
    }

    fn has_caught_up(&self, id: u64) -> bool {
        let statuses = self.cluster.statuses();
        let applied = |status: &serde_json::Value| status["applied"].as_u64().unwrap_or(0);
        let newest = statuses.iter().map(applied).max();
        let own = statuses.iter().find(|status| status["node"] == id);
        own.map(applied)
            .is_some_and(|own| own > 1 && newest.is_some_and(|newest| own + 200 >= newest))
    }

    /// All that a replica's process said.
    fn said(&self, id: u64) -> String {
        let log = self.dir.join(format!("node-{id}/node.log"));
        std::fs::read_to_string(log).expect("its log")
    }
}
