//! Clients that deposit, order and read, and a record of what each of them saw and when.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use everopen_client::Refusal;
use everopen_domain::{AssetId, Event, MemberId};
use everopen_testkit::linear::{self, Ask, Entry, History, List, Operation, Seen, Told};

use crate::cluster::Cluster;
use crate::door::{Copy, Door};
use crate::money::{self, Account};
use crate::{Random, pass};

/// Doors into the cluster, by how long each tries a submission again: who gives up soon does not
/// know what became of it, and it may still happen.
const DOORS: [Duration; 3] = [
    Duration::from_secs(10),
    Duration::from_secs(2),
    Duration::from_millis(150),
];
/// Clients at each door.
const CLIENTS: u32 = 2;
/// Clients at all doors.
pub const CLIENTS_IN_ALL: usize = DOORS.len() * CLIENTS as usize;
/// Accounts are used for so long, then others: a history that has ended is quickly checked.
const SPAN: Duration = Duration::from_secs(3);
/// The longest pause of a client between two operations.
const PAUSE: Duration = Duration::from_millis(12);
/// Steps that the check of one account may take.
const STEPS: u64 = 30_000_000;

/// What became of a deposit, as its client knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Acknowledged,
    /// "Nothing was submitted."
    Refused(Refusal),
    Unknown,
}

/// All that clients saw.
#[derive(Default)]
pub struct Record {
    balances: History<Account, Ask, Told>,
    orders: History<MemberId, Entry, Option<Seen>>,
    deposits: Vec<(Account, i128, Fate)>,
    unread: u32,
}

/// How clients read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// As new as every answer before.
    Linearizable,
    /// What the copy at hand says.
    AtHand,
}

struct Shared {
    reads: Reads,
    begun: Instant,
    stop: AtomicBool,
    numbers: AtomicU64,
    /// For each span of time, whose accounts are used.
    members: Vec<(MemberId, MemberId)>,
    record: Mutex<Record>,
}

/// Clients at work.
pub struct Clients {
    shared: Arc<Shared>,
    doors: Vec<Arc<Door>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Clients {
    /// Starts them, for at most so long.
    pub fn start(cluster: &Cluster, reads: Reads, seed: u64, most: Duration) -> Self {
        let open = |patience: &Duration| Arc::new(Door::open(cluster, *patience));
        let doors: Vec<Arc<Door>> = DOORS.iter().map(open).collect();
        let spans = (most.as_millis() / SPAN.as_millis() + 2) as u32;
        // In one venue there may be several histories, one after another.
        static HISTORIES: AtomicU64 = AtomicU64::new(0);
        let history = HISTORIES.fetch_add(1, Relaxed);
        let all = money::members(&doors[0].client, &format!("h{history}-"), spans * 2);
        let members: Vec<_> = all.chunks(2).map(|two| (two[0], two[1])).collect();
        let traders: Vec<MemberId> = members.iter().map(|(_, trader)| *trader).collect();
        money::fund(&doors[0].client, &traders);
        let shared = Arc::new(Shared {
            reads,
            begun: Instant::now(),
            stop: AtomicBool::new(false),
            numbers: AtomicU64::new(0),
            members,
            record: Mutex::default(),
        });
        let threads = (0..CLIENTS_IN_ALL as u32)
            .map(|client| {
                let door = Arc::clone(&doors[client as usize % doors.len()]);
                let shared = Arc::clone(&shared);
                let random = Random(seed ^ (u64::from(client) << 32));
                std::thread::spawn(move || {
                    Hand {
                        client,
                        door,
                        shared,
                        random,
                    }
                    .work()
                })
            })
            .collect();
        Self {
            shared,
            doors,
            threads,
        }
    }

    /// How many deposits were acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        let record = self.shared.record.lock().expect("the record");
        let done = |(_, _, fate): &&(_, _, Fate)| *fate == Fate::Acknowledged;
        record.deposits.iter().filter(done).count()
    }

    /// Ends them and holds what they saw against the log and against each other.
    ///
    /// # Errors
    /// When no order of their operations explains what they saw.
    pub fn finish(self, cluster: &Cluster) -> Result<(), String> {
        self.shared.stop.store(true, Relaxed);
        for thread in self.threads {
            thread.join().expect("a client");
        }
        let last = cluster.wait_until_equal();
        let record = self.shared.record.lock().expect("the record");
        record.tell();
        for door in &self.doors {
            record.check_money(&door.copy_at(last));
        }
        record.check_order()
    }
}

impl Record {
    fn tell(&self) {
        let count = |fate: fn(&Fate) -> bool| {
            let fates = self.deposits.iter().map(|(_, _, fate)| fate);
            fates.filter(|f| fate(f)).count()
        };
        let (reads, unknown) = self.balances.counts();
        let (orders, orders_unknown) = self.orders.counts();
        println!(
            "{reads} operations on accounts, {unknown} of unknown outcome; {orders} on lists of orders, {orders_unknown} unknown; deposits: {} acknowledged, {} refused, {} unknown; {} reads without an answer",
            count(|fate| *fate == Fate::Acknowledged),
            count(|fate| matches!(fate, Fate::Refused(_))),
            count(|fate| *fate == Fate::Unknown),
            self.unread,
        );
    }

    /// No acknowledged deposit lost, none that was refused applied, none applied twice.
    fn check_money(&self, copy: &Copy) {
        let mut wrong = Vec::new();
        for (account, amount, fate) in &self.deposits {
            let count = copy.deposits.get(&(*account, *amount)).copied();
            let is_right = match (fate, count.unwrap_or(0)) {
                (Fate::Acknowledged, 1) | (Fate::Refused(_), 0) | (Fate::Unknown, 0 | 1) => true,
                (Fate::Acknowledged, 0) => copy.checkpoints > 0,
                _ => false,
            };
            if !is_right {
                wrong.push(format!(
                    "{account:?} {amount} {fate:?}: applied {count:?} times"
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        // And the sums, which a checkpoint does not hide.
        let mut least: std::collections::HashMap<Account, (i128, i128)> = Default::default();
        for (account, amount, fate) in &self.deposits {
            let (least, most) = least.entry(*account).or_default();
            *least += if *fate == Fate::Acknowledged {
                *amount
            } else {
                0
            };
            *most += if matches!(fate, Fate::Refused(_)) {
                0
            } else {
                *amount
            };
        }
        for (account, (least, most)) in least {
            let balance = copy.balances.get(&account).copied().unwrap_or(0);
            assert!(
                (least..=most).contains(&balance),
                "{account:?} has {balance}, not {least} to {most}"
            );
        }
    }

    fn check_order(&self) -> Result<(), String> {
        let begun = Instant::now();
        let balances = self.balances.check(&linear::Account::default(), STEPS);
        let orders = self.orders.check(&List, STEPS);
        println!("checked in {:?}", begun.elapsed());
        balances.and(orders)
    }
}

/// One client.
struct Hand {
    client: u32,
    door: Arc<Door>,
    shared: Arc<Shared>,
    random: Random,
}

impl Hand {
    fn work(mut self) {
        while !self.shared.stop.load(Relaxed) {
            let span = self.shared.begun.elapsed().as_millis() / SPAN.as_millis();
            let place = (span as usize).min(self.shared.members.len() - 1);
            let (saver, trader) = self.shared.members[place];
            let asset = AssetId(self.random.below(u64::from(money::ASSETS)) as u32);
            match self.random.below(10) {
                0..4 => self.deposit((saver, asset)),
                4..7 => self.balance((saver, asset)),
                7..9 => self.order(trader),
                _ => self.orders(trader),
            }
            let pause = self.random.between(Duration::ZERO, PAUSE);
            pass(pause);
        }
    }

    fn now(&self) -> u64 {
        self.shared.begun.elapsed().as_nanos() as u64
    }

    fn record(&self, add: impl FnOnce(&mut Record)) {
        add(&mut self.shared.record.lock().expect("the record"));
    }

    fn operation<C, A>(&self, invoked: u64, call: C, answer: Option<A>) -> Operation<C, A> {
        Operation {
            client: self.client,
            invoked,
            call,
            returned: answer.map(|answer| (self.now(), answer)),
        }
    }

    fn read<T>(&self, what: impl FnOnce(&Copy) -> T) -> Option<T> {
        match self.shared.reads {
            Reads::Linearizable => self.door.read(what),
            Reads::AtHand => Some(what(&self.door.copy_at(0))),
        }
    }

    fn deposit(&self, account: Account) {
        let amount = money::amount(self.shared.numbers.fetch_add(1, Relaxed));
        let invoked = self.now();
        let outcome = self.door.execute(money::deposit(account, amount));
        let fate = fate(
            outcome.map(|outcome| outcome.events),
            |event| matches!(event, Event::Deposited { amount: told, .. } if told.0 == amount),
        );
        let told = (fate == Fate::Acknowledged).then_some(Told::Deposited);
        let operation = self.operation(invoked, Ask::Deposit(amount), told);
        self.record(|record| {
            record.deposits.push((account, amount, fate));
            // A refusal says that it did not happen, so there is nothing to put in order.
            if !matches!(fate, Fate::Refused(_)) {
                record.balances.add(account, operation);
            }
        });
    }

    fn balance(&self, account: Account) {
        let invoked = self.now();
        let read = |copy: &Copy| copy.balances.get(&account).copied().unwrap_or(0);
        let balance = self.read(read);
        let told = balance.map(Told::Balance);
        let operation = self.operation(invoked, Ask::Balance, told);
        self.record(|record| match told {
            Some(_) => record.balances.add(account, operation),
            None => record.unread += 1,
        });
    }

    fn order(&self, member: MemberId) {
        let number = self.shared.numbers.fetch_add(1, Relaxed);
        let invoked = self.now();
        let outcome = self.door.execute(money::order(member, number));
        let fate = fate(outcome.map(|outcome| outcome.events), |event| {
            matches!(event, Event::OrderAccepted { .. })
        });
        let told = (fate == Fate::Acknowledged).then_some(None);
        let operation = self.operation(invoked, Entry::Append(number), told);
        if !matches!(fate, Fate::Refused(_)) {
            self.record(|record| record.orders.add(member, operation));
        }
    }

    fn orders(&self, member: MemberId) {
        let invoked = self.now();
        let read = |copy: &Copy| copy.orders.get(&member).copied().unwrap_or_default();
        let seen = self.read(read);
        let operation = self.operation(invoked, Entry::Read, seen.map(Some));
        self.record(|record| match seen {
            Some(_) => record.orders.add(member, operation),
            None => record.unread += 1,
        });
    }
}

/// What a client knows after an answer. The venue takes all that is sent here.
fn fate(answer: Result<Vec<Event>, Refusal>, is_it: impl Fn(&Event) -> bool) -> Fate {
    match answer {
        Ok(events) => {
            assert!(events.iter().any(is_it), "the venue refused: {events:?}");
            Fate::Acknowledged
        }
        Err(Refusal::OutcomeUnknown) => Fate::Unknown,
        Err(refusal) => Fate::Refused(refusal),
    }
}
