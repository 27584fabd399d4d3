//! A replica with a real journal and a real venue, driven through its handle.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use everopen_domain::{
    Amount, AssetId, Command, Event, FeeScheduleId, FeeTier, FeeTiers, Instrument, InstrumentId,
    InstrumentLimits, LogIndex, MemberId, NewOrder, Price, Quantity, Rate, Reference, RejectReason,
    Side, TimeInForce, Timestamp, TradingPhase,
};
use everopen_replica::{Applied, Config, Reader, Refusal, Replica, Report, verify};

/// Base asset with 8 decimals, quote asset with 10, one instrument, two members with money.
fn market() -> Vec<Command> {
    let mut tiers = FeeTiers {
        volume_asset: AssetId(1),
        len: 1,
        ..FeeTiers::default()
    };
    tiers.tiers[0] = FeeTier {
        min_volume: Amount(0),
        maker: Rate(1_000),
        taker: Rate(2_000),
    };
    let limits = InstrumentLimits {
        tick: Price(1),
        lot: Quantity(1),
        min_size: Quantity(1),
        max_size: Quantity(1 << 40),
        fee_schedule: FeeScheduleId(0),
        ..InstrumentLimits::default()
    };
    let instrument = Instrument {
        base: AssetId(0),
        quote: AssetId(1),
        price_decimals: 2,
        size_decimals: 8,
        limits,
    };
    let mut commands = vec![
        Command::AddAsset {
            code: "BTC".parse().unwrap(),
            decimals: 8,
        },
        Command::AddAsset {
            code: "USD".parse().unwrap(),
            decimals: 10,
        },
        Command::SetFeeSchedule {
            schedule: FeeScheduleId(0),
            tiers,
        },
        Command::AddInstrument { instrument },
        Command::SetTradingPhase {
            instrument: InstrumentId(0),
            phase: TradingPhase::Online,
        },
        Command::AddMember {
            code: "alice".parse().unwrap(),
        },
        Command::AddMember {
            code: "bob".parse().unwrap(),
        },
    ];
    for member in [MemberId(0), MemberId(1)] {
        for asset in [AssetId(0), AssetId(1)] {
            let amount = Amount(1_000_000_000_000_000);
            let reference = Reference::EMPTY;
            commands.push(Command::Deposit {
                member,
                asset,
                amount,
                reference,
            });
        }
    }
    commands
}

fn order(member: u32, side: Side, price: u64) -> Command {
    let order = NewOrder {
        side,
        price: Price(price),
        size: Quantity(1_000),
        ..NewOrder::default()
    };
    Command::PlaceOrder {
        member: MemberId(member),
        order,
    }
}

fn open(dir: &std::path::Path, reader: impl Reader) -> (Replica, Report) {
    Replica::open(Config::new(dir), reader, &mut |_| {}).expect("open")
}

/// Counts events, and keeps the count over restarts.
#[derive(Clone, Default)]
struct Counter(Arc<Mutex<(u64, LogIndex)>>);

impl Reader for Counter {
    fn applied(&mut self, entry: &Applied<'_>) {
        let mut count = self.0.lock().unwrap();
        assert_eq!(
            entry.index.0,
            count.1.0 + 1,
            "entries come in order, each once"
        );
        *count = (count.0 + entry.events.len() as u64, entry.index);
    }
    fn checkpoint(&mut self) -> Vec<u8> {
        let count = self.0.lock().unwrap();
        [count.0.to_le_bytes(), count.1.0.to_le_bytes()].concat()
    }
    fn restore(&mut self, bytes: &[u8]) -> Result<(), String> {
        let number = |at: usize| {
            bytes[at..at + 8]
                .try_into()
                .map(u64::from_le_bytes)
                .unwrap()
        };
        *self.0.lock().unwrap() = (number(0), LogIndex(number(8)));
        Ok(())
    }
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let counter = Counter::default();
    let (replica, report) = open(dir.path(), counter.clone());
    assert_eq!(report.last_index, 0);
    let handle = replica.handle();
    let first = handle.execute(market()).unwrap();
    assert_eq!(first.index, LogIndex(1));
    for price in 0..100 {
        handle
            .execute(vec![order(0, Side::Buy, 10_000 - price)])
            .unwrap();
    }
    handle.execute(vec![order(1, Side::Sell, 10_000)]).unwrap();
    let counted = counter.0.lock().unwrap().0;
    replica.stop().unwrap();
    let (_, hash) = verify(&Config::new(dir.path()), &mut |_| {}).unwrap();

    let counter = Counter::default();
    let (replica, report) = open(dir.path(), counter.clone());
    assert_eq!(report.last_index, 102);
    assert_eq!(counter.0.lock().unwrap().0, counted);
    let next = replica
        .handle()
        .execute(vec![order(0, Side::Buy, 1)])
        .unwrap();
    assert_eq!(next.index, LogIndex(103));
    let Event::OrderAccepted { order, .. } = next.events[0] else {
        panic!("{:?}", next.events)
    };
    assert_eq!(order.sequence, 102, "order numbers go on");
    drop(replica);
    let (_, after) = verify(&Config::new(dir.path()), &mut |_| {}).unwrap();
    assert_ne!(hash, after);
}

#[test]
fn log_and_snapshot_lead_to_the_same_state() {
    let [with, without] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let mut hashes = Vec::new();
    for (dir, snapshots) in [(&with, true), (&without, false)] {
        let (replica, _) = open(dir.path(), ());
        let handle = replica.handle();
        handle.execute(market()).unwrap();
        for price in 0..50 {
            handle
                .execute(vec![order(price % 2, Side::Buy, 100 + u64::from(price))])
                .unwrap();
            if snapshots && price % 10 == 9 {
                assert_eq!(handle.snapshot().unwrap(), LogIndex(u64::from(price) + 2));
            }
        }
        drop(handle);
        drop(replica);
        let (report, _) = verify(&Config::new(dir.path()), &mut |_| {}).unwrap();
        assert!(report.snapshot_index > 0);
        // Times differ between the two runs, so the states can't be compared with each other; but
        // each log must lead to one state, from whichever snapshot it starts.
        let newest = verify(&Config::new(dir.path()), &mut |_| {}).unwrap().1;
        let mut snapshots: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().contains("snapshot"))
            .collect();
        snapshots.sort();
        assert!(!snapshots.is_empty());
        std::fs::remove_file(snapshots.last().unwrap()).unwrap();
        let older = verify(&Config::new(dir.path()), &mut |_| {}).unwrap();
        assert!(older.0.entries_replayed > 0);
        assert_eq!(newest, older.1);
        hashes.push(newest);
    }
    assert_ne!(hashes[0], hashes[1]);
}

/// Stands still until it is let go.
struct Gate(Receiver<()>);

impl Reader for Gate {
    fn applied(&mut self, _entry: &Applied<'_>) {
        let _ = self.0.recv();
    }
    fn checkpoint(&mut self) -> Vec<u8> {
        Vec::new()
    }
    fn restore(&mut self, _bytes: &[u8]) -> Result<(), String> {
        Ok(())
    }
}

#[test]
fn a_full_queue_is_busy_and_loses_nothing_that_it_took() {
    let dir = tempfile::tempdir().unwrap();
    let (open_gate, gate): (SyncSender<()>, _) = sync_channel(0);
    let mut config = Config::new(dir.path());
    config.queue_commands = 8;
    config.entry_commands = 4;
    let (replica, _) = Replica::open(config, Gate(gate), &mut |_| {}).unwrap();
    let handle = replica.handle();
    handle.submit_group(market()[..4].to_vec(), None).unwrap();
    let answers = Arc::new(Mutex::new(Vec::new()));
    let mut taken = 0;
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        assert!(Instant::now() < deadline, "the queue never filled");
        let answers = Arc::clone(&answers);
        let number = taken;
        let answer = Box::new(move |outcome: Result<_, Refusal>| {
            answers.lock().unwrap().push((number, outcome.is_ok()));
        });
        match handle.submit(Command::Tick, answer) {
            Ok(()) => taken += 1,
            Err(refusal) => {
                assert!(matches!(refusal, Refusal::Busy { .. }), "{refusal:?}");
                // Busy may pass when the sequencer takes another turn; full for good is when the
                // queues behind it are full, too: some hundred commands.
                if taken > 64 {
                    break;
                }
            }
        }
    }
    assert!(handle.stats().busy() > 0);
    drop(open_gate);
    replica.stop().unwrap();
    let answers = answers.lock().unwrap();
    assert_eq!(answers.len(), taken);
    assert!(
        answers
            .iter()
            .enumerate()
            .all(|(at, (number, ok))| at == *number && *ok)
    );
}

#[test]
fn an_order_expires_without_any_command() {
    let dir = tempfile::tempdir().unwrap();
    let (tell, told) = sync_channel(1024);
    struct Watch(SyncSender<(Timestamp, Event)>);
    impl Reader for Watch {
        fn applied(&mut self, entry: &Applied<'_>) {
            for event in entry.events {
                let _ = self.0.try_send((entry.time, *event));
            }
        }
        fn checkpoint(&mut self) -> Vec<u8> {
            Vec::new()
        }
        fn restore(&mut self, _bytes: &[u8]) -> Result<(), String> {
            Ok(())
        }
    }
    let (replica, _) = open(dir.path(), Watch(tell));
    let begun = replica.handle().execute(market()).unwrap();
    let expires_at = Timestamp(begun.time.0 + 200_000_000);
    let order = NewOrder {
        price: Price(100),
        size: Quantity(1_000),
        time_in_force: TimeInForce::GoodTillTime,
        expires_at,
        ..NewOrder::default()
    };
    replica
        .handle()
        .execute(vec![Command::PlaceOrder {
            member: MemberId(0),
            order,
        }])
        .unwrap();
    let (time, _) = loop {
        let event = told
            .recv_timeout(Duration::from_secs(30))
            .expect("the order never expired");
        if matches!(event.1, Event::OrderDone { .. }) {
            break event;
        }
    };
    assert!(time >= expires_at);
}

#[test]
fn a_second_process_is_refused_and_a_refused_command_is_an_event() {
    let dir = tempfile::tempdir().unwrap();
    let (replica, _) = open(dir.path(), ());
    assert!(Replica::open(Config::new(dir.path()), (), &mut |_| {}).is_err());
    let member = MemberId(77);
    let outcome = replica
        .handle()
        .execute(vec![order(77, Side::Buy, 1)])
        .unwrap();
    let expected = |event: &Event| matches!(event, Event::OrderRejected { member: m, reason: RejectReason::UnknownMember, .. } if *m == member);
    assert!(outcome.events.iter().any(expected), "{:?}", outcome.events);
}
