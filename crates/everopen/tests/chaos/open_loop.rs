//! Commands at fixed moments, whatever became of those before: what a pause of the cluster is to
//! whoever trades through it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use everopen_client::Refusal;
use everopen_domain::{AssetId, Event};

use crate::cluster::Cluster;
use crate::door::Door;
use crate::money::{self, Account};
use crate::until;

/// Between two commands.
const EVERY: Duration = Duration::from_millis(2);

/// How long a command is tried again.
const PATIENCE: Duration = Duration::from_secs(10);

/// The answer to a command.
struct Answered {
    number: u64,
    at: Instant,
    result: Result<bool, Refusal>,
}

/// Commands on their way.
pub struct OpenLoop {
    door: Arc<Door>,
    account: Account,
    begun: Instant,
    stop: Arc<AtomicBool>,
    sender: Option<std::thread::JoinHandle<u64>>,
    answers: Mutex<(Receiver<Answered>, Vec<Answered>)>,
    /// The highest command that was acknowledged, plus one.
    reached: Arc<AtomicU64>,
}

/// All that was sent and answered.
pub struct Outcome {
    begun: Instant,
    sent: u64,
    /// When each acknowledged command was, by its number.
    acknowledged: BTreeMap<u64, Instant>,
    refused: BTreeMap<u64, Refusal>,
}

impl OpenLoop {
    /// Begins to send.
    pub fn start(cluster: &Cluster) -> Self {
        let door = Arc::new(Door::open(cluster, PATIENCE));
        let member = money::members(&door.client, "open-loop-", 1)[0];
        let account = (member, AssetId(1));
        let (tell, answers) = channel();
        let stop = Arc::<AtomicBool>::default();
        let reached = Arc::<AtomicU64>::default();
        let begun = Instant::now();
        let sender = {
            let (door, stop, reached) =
                (Arc::clone(&door), Arc::clone(&stop), Arc::clone(&reached));
            std::thread::spawn(move || {
                for number in 0.. {
                    crate::pass(
                        (intended(begun, number)).saturating_duration_since(Instant::now()),
                    );
                    if stop.load(Relaxed) {
                        return number;
                    }
                    let (told, reached) = (tell.clone(), Arc::clone(&reached));
                    let answer = move |result: Result<everopen_client::Outcome, Refusal>| {
                        let is_it = |event: &Event| matches!(event, Event::Deposited { .. });
                        let result = result.map(|outcome| outcome.events.iter().any(is_it));
                        if result == Ok(true) {
                            reached.fetch_max(number + 1, Relaxed);
                        }
                        let at = Instant::now();
                        let _ = told.send(Answered { number, at, result });
                    };
                    let command = money::deposit(account, money::amount(number));
                    let sent = door.client.submit(vec![command], Box::new(answer));
                    if let Err(refusal) = sent {
                        let at = Instant::now();
                        let result = Err(refusal);
                        let _ = tell.send(Answered { number, at, result });
                    }
                }
                unreachable!("it counts for ever")
            })
        };
        Self {
            door,
            account,
            begun,
            stop,
            sender: Some(sender),
            answers: Mutex::new((answers, Vec::new())),
            reached,
        }
    }

    /// Waits until a command is acknowledged that was due at or after that moment, and some after
    /// it.
    pub fn wait_past(&self, moment: Instant) {
        let number = moment.saturating_duration_since(self.begun).as_micros() / EVERY.as_micros();
        let enough = number as u64 + 50;
        until("commands are acknowledged again", || {
            (self.reached.load(Relaxed) > enough).then_some(())
        });
    }

    /// Ends, and holds every answer against the log: no acknowledged command is lost, none applied
    /// twice, none applied that was refused.
    pub fn finish(mut self, cluster: &Cluster) -> Outcome {
        self.stop.store(true, Relaxed);
        let sender = self.sender.take().expect("it is finished once");
        let sent = sender.join().expect("the sender");
        let mut answers = self.answers.lock().expect("nobody else");
        let (receive, all) = &mut *answers;
        until("every command is answered", || {
            all.extend(receive.try_iter());
            (all.len() as u64 == sent).then_some(())
        });
        let last = cluster.wait_until_equal();
        let copy = self.door.copy_at(last);
        let (mut acknowledged, mut refused) = (BTreeMap::new(), BTreeMap::new());
        for answer in all.drain(..) {
            let key = (self.account, money::amount(answer.number));
            let count = copy.deposits.get(&key).copied().unwrap_or(0);
            let number = answer.number;
            match answer.result {
                Ok(true) => {
                    assert_eq!(
                        count, 1,
                        "acknowledged command {number} was applied {count} times"
                    );
                    acknowledged.insert(number, answer.at);
                }
                Ok(false) => panic!("the venue refused command {number}"),
                Err(refusal) => {
                    let most = u32::from(refusal == Refusal::OutcomeUnknown);
                    assert!(
                        count <= most,
                        "command {number}, {refusal:?}, was applied {count} times"
                    );
                    refused.insert(number, refusal);
                }
            }
        }
        assert_eq!(copy.checkpoints, 0, "all of the log was seen");
        Outcome {
            begun: self.begun,
            sent,
            acknowledged,
            refused,
        }
    }
}

fn intended(begun: Instant, number: u64) -> Instant {
    begun + EVERY * number as u32
}

impl Outcome {
    /// From that moment to the first acknowledgment of a command that was due after it.
    pub fn until_acknowledged(&self, moment: Instant) -> Duration {
        let due = |number: &u64| intended(self.begun, *number) >= moment;
        let later = self.acknowledged.iter().filter(|(number, _)| due(number));
        let first = later.map(|(_, at)| *at).min().expect("the load went on");
        first.duration_since(moment)
    }

    /// The longest time without an acknowledgment between two moments.
    pub fn longest_gap(&self, from: Instant, to: Instant) -> Duration {
        let mut times: Vec<Instant> = self.acknowledged.values().copied().collect();
        times.sort_unstable();
        let within = times
            .windows(2)
            .filter(|two| two[1] >= from && two[0] <= to);
        let gaps = within.map(|two| two[1].duration_since(two[0]));
        gaps.max().expect("acknowledgments around these moments")
    }

    /// Says how many commands there were and how long they took from when they were due.
    pub fn tell(&self) {
        let mut latencies: Vec<Duration> = self
            .acknowledged
            .iter()
            .map(|(number, at)| at.duration_since(intended(self.begun, *number)))
            .collect();
        latencies.sort_unstable();
        let unknown = self
            .refused
            .values()
            .filter(|r| **r == Refusal::OutcomeUnknown)
            .count();
        println!(
            "{} commands, one each {EVERY:?}: {} acknowledged, {} refused, {unknown} of unknown outcome; none lost, none doubled",
            self.sent,
            latencies.len(),
            self.refused.len() - unknown,
        );
        for (number, refusal) in self.refused.iter().take(5) {
            println!("  command {number}: {refusal:?}");
        }
        println!(
            "from when it was due to its acknowledgment: {}",
            Spread::of(&mut latencies)
        );
    }

    /// Commands that were not acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.refused.len()
    }
}

/// How times spread.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub p50: Duration,
    pub p99: Duration,
    pub max: Duration,
    count: usize,
}

impl Spread {
    pub fn of(times: &mut [Duration]) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let rank = (times.len() * percent).div_ceil(100).max(1);
            times.get(rank - 1).copied().unwrap_or_default()
        };
        Self {
            p50: at(50),
            p99: at(99),
            max: at(100),
            count: times.len(),
        }
    }
}

impl std::fmt::Display for Spread {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        write!(
            f,
            "p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms (of {})",
            ms(self.p50),
            ms(self.p99),
            ms(self.max),
            self.count
        )
    }
}
