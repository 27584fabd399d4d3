//! Following the log.

use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use everopen_client::{Client, Follower};
use everopen_domain::{Event, LogIndex, Timestamp};

use crate::support::*;

/// A view of the log: the prices of all entries.
#[derive(Default)]
struct View {
    position: Option<LogIndex>,
    prices: Vec<u64>,
    restores: usize,
    /// What the next restore is refused with.
    refuses: Option<String>,
}

struct Viewer(Arc<Mutex<View>>);

impl Follower for Viewer {
    fn position(&self) -> Option<LogIndex> {
        self.0.lock().unwrap().position
    }

    fn restore(&mut self, index: LogIndex, checkpoint: &[u8]) -> Result<(), String> {
        let mut view = self.0.lock().unwrap();
        if let Some(why) = view.refuses.take() {
            return Err(why);
        }
        let (chunks, rest) = checkpoint.as_chunks::<8>();
        assert!(rest.is_empty(), "a part is missing");
        view.prices = chunks
            .iter()
            .map(|chunk| u64::from_le_bytes(*chunk))
            .collect();
        view.position = Some(index);
        view.restores += 1;
        Ok(())
    }

    fn applied(&mut self, index: LogIndex, time: Timestamp, events: &[Event]) {
        let mut view = self.0.lock().unwrap();
        let last = view.position.expect("restored before");
        assert_eq!(index.0, last.0 + 1, "a gap");
        assert_eq!(time, Timestamp(index.0 * 10));
        view.prices.extend(prices(events));
        view.position = Some(index);
    }
}

struct Following {
    client: Client,
    view: Arc<Mutex<View>>,
    ended: Receiver<String>,
}

impl Following {
    fn start(cluster: &Cluster, view: View) -> Self {
        let client = cluster.client();
        let view = Arc::new(Mutex::new(view));
        let (tell, ended): (Sender<String>, _) = mpsc::channel();
        client
            .follow(Viewer(Arc::clone(&view)), move |why| {
                tell.send(why).unwrap()
            })
            .unwrap();
        Self {
            client,
            view,
            ended,
        }
    }

    /// Waits until the view has all that was applied.
    fn until_current(&self, cluster: &Cluster) {
        until("the view is current", || {
            let applied = cluster.applied();
            self.view.lock().unwrap().prices == applied
        });
    }
}

fn at(index: u64, prices: &[u64]) -> View {
    View {
        position: Some(LogIndex(index)),
        prices: prices.to_vec(),
        ..View::default()
    }
}

#[test]
fn a_new_follower_gets_a_checkpoint_and_then_every_entry() {
    let cluster = Cluster::start(3);
    for price in 1..=20 {
        cluster.world().append(price);
    }
    let following = Following::start(&cluster, View::default());
    following.until_current(&cluster);
    for price in 21..=200 {
        cluster.world().append(price);
    }
    following.until_current(&cluster);
    assert_eq!(following.view.lock().unwrap().restores, 1);
}

#[test]
fn a_follower_goes_on_from_where_it_is_when_replicas_die_one_after_the_other() {
    let cluster = Cluster::start(3);
    for price in 1..=5 {
        cluster.world().append(price);
    }
    let following = Following::start(&cluster, at(3, &[1, 2, 3]));
    following.until_current(&cluster);
    for round in 0..6 {
        let dead = *cluster.world().followed.last().unwrap();
        {
            let mut world = cluster.world();
            world.down.clear();
            world.mute.clear();
            // It closes the connection, or says nothing any more.
            let gone = if round % 2 == 0 {
                &mut world.down
            } else {
                &mut world.mute
            };
            gone.insert(dead);
            for price in 0..10 {
                world.append(100 * round + price);
            }
        }
        following.until_current(&cluster);
        until("another is asked", || {
            *cluster.world().followed.last().unwrap() != dead
        });
    }
    assert_eq!(following.view.lock().unwrap().restores, 0);
    assert!(following.ended.try_recv().is_err());
}

#[test]
fn a_follower_that_is_too_far_behind_begins_anew() {
    let cluster = Cluster::start(2);
    for price in 1..=30 {
        cluster.world().append(price);
    }
    cluster.world().compacted = 10;
    let following = Following::start(&cluster, at(9, &[77; 9]));
    following.until_current(&cluster);
    assert_eq!(following.view.lock().unwrap().restores, 1);
    // At the edge it need not.
    let following = Following::start(&cluster, at(10, &(1..=10).collect::<Vec<_>>()));
    following.until_current(&cluster);
    assert_eq!(following.view.lock().unwrap().restores, 0);
}

#[test]
fn a_replica_that_leaves_out_an_entry_is_left() {
    let cluster = Cluster::start(2);
    cluster.world().skips.extend([(1, 3), (2, 6)]);
    for price in 1..=4 {
        cluster.world().append(price);
    }
    let following = Following::start(&cluster, at(0, &[]));
    following.until_current(&cluster);
    for price in 5..=9 {
        cluster.world().append(price);
    }
    following.until_current(&cluster);
}

#[test]
fn a_replica_that_is_cut_off_from_the_others_is_left() {
    let cluster = Cluster::start(3);
    let following = Following::start(&cluster, at(0, &[]));
    following.client.execute(vec![set(1)]).unwrap();
    following.until_current(&cluster);
    let stuck = *cluster.world().followed.last().unwrap();
    cluster.world().stuck.insert(stuck, 1);
    following.client.execute(vec![set(2)]).unwrap();
    following.until_current(&cluster);
    assert_ne!(*cluster.world().followed.last().unwrap(), stuck);
}

#[test]
fn the_end_is_told_unless_it_is_a_stop() {
    let cluster = Cluster::start(1);
    let view = View {
        refuses: Some("from another version".into()),
        ..View::default()
    };
    let following = Following::start(&cluster, view);
    let why = following.ended.recv_timeout(PATIENCE).unwrap();
    assert_eq!(why, "from another version");

    let following = Following::start(&cluster, at(0, &[]));
    cluster.world().append(1);
    following.until_current(&cluster);
    following.client.stop();
    // Not told, only gone.
    let ended = following.ended.recv_timeout(PATIENCE);
    assert_eq!(ended, Err(mpsc::RecvTimeoutError::Disconnected));
}
