//! Histories of clients while replicas are cut off from each other.

use std::time::{Duration, Instant};

use crate::cluster::Cluster;
use crate::fleet::{self, Fleet, Network, Setup};
use crate::history::{self, Clients, Reads};
use crate::{Random, alone, by_suite, money, pass, seed, until};
use everopen_testkit::sandbox::{self, Needs};

/// How long a cut lasts, at least and at most.
const CUT: (Duration, Duration) = (Duration::from_millis(400), Duration::from_millis(2_000));
/// Between two cuts.
const CALM: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(1_000));

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    /// The leader and the others don't reach each other.
    Leader,
    /// The leader is not heard by the others, but hears them.
    LeaderMute,
    /// The leader does not hear the others, who hear it.
    LeaderDeaf,
    /// Two don't reach each other; the third reaches both.
    Pair,
    /// One that does not lead is alone.
    Follower,
    /// Nobody reaches the leader, not even clients.
    Unplugged,
    /// Nobody reaches anybody.
    All,
    /// The leader is cut off, and one of the others killed.
    LeaderAndKill,
}

impl Cut {
    /// Whether enough replicas reach each other for one of them to lead.
    fn leaves_a_majority(self) -> bool {
        !matches!(self, Self::All | Self::LeaderAndKill)
    }
}

const CUTS: [Cut; 8] = [
    Cut::Leader,
    Cut::LeaderMute,
    Cut::LeaderDeaf,
    Cut::Pair,
    Cut::Follower,
    Cut::Unplugged,
    Cut::All,
    Cut::LeaderAndKill,
];

#[test]
fn clients_see_one_linear_history_whoever_is_cut_off() {
    let _alone = alone();
    let name = "partitions::clients_see_one_linear_history_whoever_is_cut_off";
    if !sandbox::is_inside(name, Needs::Network) {
        return;
    }
    let seed = seed();
    let time = by_suite(Duration::from_secs(7), Duration::from_secs(240));
    let folder = crate::folder();
    let network = Network::new();
    let mut fleet = Fleet::start(folder.path(), Setup::InNetwork);
    let cluster = fleet.cluster();
    fleet::whole(&mut fleet, &cluster);
    money::open_market(&cluster.client(crate::PATIENCE));
    let clients = Clients::start(&cluster, Reads::Linearizable, seed, time * 2);
    until("the load runs", || {
        (clients.acknowledged() > 50).then_some(())
    });

    let mut random = Random(seed);
    let begun = Instant::now();
    let mut left: Vec<Cut> = Vec::new();
    while begun.elapsed() < time {
        if left.is_empty() {
            left = CUTS.to_vec();
        }
        let cut = left.swap_remove(random.below(left.len() as u64) as usize);
        println!("at {:.2} s: {cut:?}", begun.elapsed().as_secs_f64());
        let killed = make(cut, &network, &mut fleet, &cluster, &mut random);
        let cut_at = Instant::now();
        let before = clients.acknowledged();
        // What was on its way does not count.
        let enough = 4 * history::CLIENTS_IN_ALL;
        let served = |since| (clients.acknowledged() > since + enough).then_some(());
        if cut.leaves_a_majority() {
            until("clients are served in spite of it", || served(before));
            println!("  served again within {:?}", cut_at.elapsed());
        }
        let lasts = random.between(CUT.0, CUT.1);
        pass(lasts.saturating_sub(cut_at.elapsed()));
        network.heal();
        if let Some(id) = killed {
            fleet.run(id);
        }
        let (healed_at, before) = (Instant::now(), clients.acknowledged());
        until("clients are served when it is healed", || {
            fleet.check();
            served(before)
        });
        println!(
            "  healed after {:?}, served {:?} later",
            healed_at - cut_at,
            healed_at.elapsed()
        );
        let calm = random.between(CALM.0, CALM.1);
        pass(calm);
    }
    fleet::whole(&mut fleet, &cluster);
    clients.finish(&cluster).expect("a linear history");
    fleet.check();
}

/// Who was killed, if anybody was.
fn make(
    cut: Cut,
    network: &Network,
    fleet: &mut Fleet,
    cluster: &Cluster,
    random: &mut Random,
) -> Option<u64> {
    let leader = cluster.leader().unwrap_or(1);
    let mut others = cluster.ids();
    others.retain(|id| *id != leader);
    let other = *random.pick(&others);
    match cut {
        Cut::Leader => others.iter().for_each(|id| network.part(leader, *id)),
        Cut::LeaderMute => others.iter().for_each(|id| network.cut(leader, *id)),
        Cut::LeaderDeaf => others.iter().for_each(|id| network.cut(*id, leader)),
        Cut::Pair => {
            let pairs = [(leader, other), (others[0], others[1])];
            let (one, another) = *random.pick(&pairs);
            network.part(one, another);
        }
        Cut::Follower => {
            let rest = cluster.ids().into_iter().filter(|id| *id != other);
            rest.for_each(|id| network.part(other, id));
        }
        Cut::Unplugged => network.unplug(leader),
        Cut::All => {
            network.part(others[0], others[1]);
            others.iter().for_each(|id| network.part(leader, *id));
        }
        Cut::LeaderAndKill => {
            others.iter().for_each(|id| network.part(leader, *id));
            fleet.kill(other);
            return Some(other);
        }
    }
    None
}
