//! A way into the cluster as a gateway has it: a session to submit with, and a copy of what the
//! log says. Directly to the replicas, so that no gateway's life decides what is seen.

use std::collections::{BTreeMap, HashMap};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use everopen_client::{Client, Follower, Outcome, Refusal};
use everopen_domain::{Command, Event, LogIndex, MemberId, Timestamp};
use everopen_testkit::linear::Seen;
use everopen_views::{OrderFilter, Page, StatusSet, Views};

use crate::cluster::Cluster;
use crate::money::{ASSETS, Account};

/// How long a read may wait for the copy.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the log says so far.
#[derive(Default)]
pub struct Copy {
    /// None before the first checkpoint.
    index: Option<u64>,
    pub balances: HashMap<Account, i128>,
    /// The numbers of accepted orders, in their order.
    pub orders: HashMap<MemberId, Seen>,
    /// How often each amount came to each account.
    pub deposits: BTreeMap<(Account, i128), u32>,
    /// Checkpoints that were taken over after the first; what lies before one is not in `deposits`.
    pub checkpoints: u32,
    ended: Option<String>,
}

impl Copy {
    fn apply(&mut self, event: &Event) {
        match event {
            Event::Deposited {
                member,
                asset,
                amount,
                ..
            } => {
                let account = (*member, *asset);
                *self.balances.entry(account).or_default() += amount.0;
                *self.deposits.entry((account, amount.0)).or_default() += 1;
            }
            Event::OrderAccepted {
                member, details, ..
            } => {
                if let Ok(number) = details.client_order_id.as_str().parse() {
                    let seen = self.orders.entry(*member).or_default();
                    *seen = seen.and(number);
                }
            }
            _ => {}
        }
    }

    fn take_over(&mut self, views: &Views) {
        self.balances.clear();
        self.orders.clear();
        for member in (0..views.member_count()).map(MemberId) {
            for asset in (0..ASSETS).map(everopen_domain::AssetId) {
                if let Some(account) = views.account(member, asset) {
                    self.balances.insert((member, asset), account.balance().0);
                }
            }
            let filter = OrderFilter {
                statuses: StatusSet::ALL,
                page: Page {
                    limit: u32::MAX,
                    ..Page::default()
                },
                ..OrderFilter::default()
            };
            let mut numbers: Vec<u64> = views
                .orders(member, &filter)
                .filter_map(|order| order.details.client_order_id.as_str().parse().ok())
                .collect();
            // They come newest first.
            numbers.reverse();
            let seen = numbers.iter().fold(Seen::default(), |seen, n| seen.and(*n));
            self.orders.insert(member, seen);
        }
    }
}

#[derive(Default)]
struct Board {
    copy: Mutex<Copy>,
    changed: Condvar,
}

impl Board {
    fn lock(&self) -> MutexGuard<'_, Copy> {
        self.copy
            .lock()
            .expect("nothing panics while it holds this")
    }
}

/// A door. Dropping it shuts it.
pub struct Door {
    pub client: Client,
    board: Arc<Board>,
}

impl Door {
    /// Opens one that tries a submission again for so long.
    pub fn open(cluster: &Cluster, patience: Duration) -> Self {
        let client = cluster.client(patience);
        let board = Arc::<Board>::default();
        let ended = Arc::clone(&board);
        client
            .follow(Reader(Arc::clone(&board)), move |why| {
                ended.lock().ended = Some(why);
            })
            .expect("follow the log");
        let door = Self { client, board };
        // What is done through it is then all in its copy.
        drop(door.copy_at(0));
        door
    }

    /// Submits one command and waits for what becomes of it.
    pub fn execute(&self, command: Command) -> Result<Outcome, Refusal> {
        self.client.execute(vec![command])
    }

    /// Reads what every answer given before this call left behind; none if it can't be told now.
    pub fn read<T>(&self, what: impl FnOnce(&Copy) -> T) -> Option<T> {
        let (tell, told) = sync_channel(1);
        let answer = Box::new(move |index| {
            let _ = tell.send(index);
        });
        self.client.read_index(answer).ok()?;
        let index: LogIndex = told.recv().ok()?.ok()?;
        self.wait_for(index.0, PATIENCE).map(|copy| what(&copy))
    }

    fn wait_for(&self, index: u64, patience: Duration) -> Option<MutexGuard<'_, Copy>> {
        let deadline = Instant::now() + patience;
        let mut copy = self.board.lock();
        while copy.index < Some(index) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || copy.ended.is_some() {
                return None;
            }
            copy = self
                .board
                .changed
                .wait_timeout(copy, left)
                .expect("nothing panics while it holds this")
                .0;
        }
        Some(copy)
    }

    /// The copy, once it is as far as that entry.
    pub fn copy_at(&self, index: u64) -> MutexGuard<'_, Copy> {
        let found = self.wait_for(index, crate::PATIENCE);
        let Some(copy) = found else {
            let copy = self.board.lock();
            panic!(
                "the log was not followed to entry {index}, only to {:?}: {:?}",
                copy.index, copy.ended
            );
        };
        copy
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        self.client.stop();
    }
}

struct Reader(Arc<Board>);

impl Follower for Reader {
    fn position(&self) -> Option<LogIndex> {
        self.0.lock().index.map(LogIndex)
    }

    fn restore(&mut self, index: LogIndex, checkpoint: &[u8]) -> Result<(), String> {
        let config = everopen_views::Config::default();
        let views = match checkpoint {
            [] => Views::new(config),
            bytes => {
                let views = postcard::from_bytes(bytes).map_err(|error| error.to_string())?;
                Views::restore(config, views)
            }
        };
        let mut copy = self.0.lock();
        if Some(index.0) < copy.index {
            return Err(format!(
                "a checkpoint of {} after {:?}",
                index.0, copy.index
            ));
        }
        copy.take_over(&views);
        copy.checkpoints += u32::from(copy.index.is_some());
        copy.index = Some(index.0);
        drop(copy);
        self.0.changed.notify_all();
        Ok(())
    }

    fn applied(&mut self, index: LogIndex, _: Timestamp, events: &[Event]) {
        let mut copy = self.0.lock();
        events.iter().for_each(|event| copy.apply(event));
        copy.index = Some(index.0);
        drop(copy);
        self.0.changed.notify_all();
    }
}
