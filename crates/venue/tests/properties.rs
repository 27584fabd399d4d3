//! What holds for any commands: nothing panics, the audit holds after each, the same log gives the
//! same events, and a snapshot goes on as the venue that it was taken of.

mod support;

use everopen_domain::*;
use everopen_venue::Venue;
use proptest::prelude::*;
use support::Desk;
use support::generate::{Step, setting, step};

fn apply(desk: &mut Desk, step: &Step) -> Command {
    let open: Vec<OrderId> = desk.auditor.open().collect();
    let mut command = step.command(&open);
    if let Command::AmendOrder {
        member,
        amendment: AmendOrder { target, .. },
    }
    | Command::ReplaceOrder { member, target, .. }
    | Command::CancelOrder { member, target } = &mut command
    {
        // Mostly the owner asks.
        if let (OrderTarget::Order(id), true) = (target, !step.pick.is_multiple_of(8))
            && let Some(owner) = desk.auditor.owner(*id)
        {
            *member = owner;
        }
    }
    if let Command::ReplaceOrder {
        target: OrderTarget::Order(id),
        order,
        ..
    } = &mut command
        && !step.pick.is_multiple_of(7)
    {
        order.instrument = id.instrument;
        order.side = desk.auditor.side(*id).unwrap_or(order.side);
    }
    desk.run_at(desk.now + step.elapsed, command);
    command
}

proptest! {
    #[test]
    fn any_commands_leave_a_venue_that_passes_the_audit(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut desk = setting();
        for step in &steps {
            apply(&mut desk, step);
        }
        // The auditor, who saw only events, and the snapshot agree about every member's money.
        let snapshot = desk.venue.snapshot();
        let accounts: Vec<_> = snapshot.accounts.iter().filter_map(|account| match account.owner {
            everopen_domain::snapshot::AccountOwner::Member(member) =>
                Some((member, account.asset, account.available.0 + account.held.0)),
            _ => None,
        }).collect();
        prop_assert_eq!(accounts, desk.auditor.totals().collect::<Vec<_>>());
        let open: usize = snapshot.instruments.iter()
            .map(|i| i.bids.len() + i.asks.len() + i.stops.len()).sum();
        prop_assert_eq!(open, desk.auditor.open_orders());
    }

    #[test]
    fn the_same_log_gives_the_same_events_and_a_snapshot_goes_on_as_its_venue(
        steps in proptest::collection::vec(step(), 1..80), cut in 0usize..1_000,
    ) {
        let mut desk = setting();
        for step in &steps {
            apply(&mut desk, step);
        }
        let mut whole = (Venue::new(), Vec::new());
        let cut = cut % desk.log.len();
        let mut restored: Option<(Venue, Vec<Event>)> = None;
        let mut before = 0;
        for (at, (time, command)) in desk.log.iter().enumerate() {
            if at == cut {
                let snapshot = whole.0.snapshot();
                let venue = Venue::restore(&snapshot).expect("a snapshot restores");
                venue.check();
                prop_assert_eq!(venue.snapshot(), snapshot);
                prop_assert_eq!(venue.next_expiry(), whole.0.next_expiry());
                before = whole.1.len();
                restored = Some((venue, Vec::new()));
            }
            whole.0.apply(*time, command, &mut whole.1);
            if let Some((venue, events)) = &mut restored {
                venue.apply(*time, command, events);
            }
        }
        let (venue, events) = restored.expect("a cut in the log");
        prop_assert_eq!(&events[..], &whole.1[before..]);
        prop_assert_eq!(venue.snapshot(), whole.0.snapshot());
        prop_assert_eq!(whole.0.snapshot(), desk.venue.snapshot());
    }

    #[test]
    fn arbitrary_commands_never_panic(
        commands in proptest::collection::vec((any::<u64>(), everopen_wire::strategies::command()), 1..100),
    ) {
        let mut venue = setting().venue;
        let mut events = Vec::new();
        for (time, command) in commands {
            venue.apply(Timestamp(time), &command, &mut events);
            venue.check();
        }
    }

    #[test]
    fn arbitrary_snapshots_are_refused_without_a_panic(
        snapshot in everopen_wire::strategies::venue_snapshot(),
    ) {
        if let Ok(venue) = Venue::restore(&snapshot) {
            venue.check();
        }
    }
}

/// The properties above mean little if their commands never get far: a fixed sample must reach
/// nearly every refusal, cancel and event.
#[test]
fn generated_commands_reach_nearly_everything() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    use std::collections::BTreeMap;

    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let strategy = proptest::collection::vec(step(), 100);
    for _ in 0..300 {
        let steps = strategy.new_tree(&mut runner).expect("a value").current();
        let mut desk = setting();
        for step in &steps {
            apply(&mut desk, step);
            for event in &desk.events {
                let text = format!("{event:?}");
                let kind = text.split([' ', '{']).next().unwrap_or_default();
                *seen.entry(kind.into()).or_default() += 1;
                let key = match event {
                    Event::OrderDone { reason, .. } => format!("done {reason:?}"),
                    Event::Traded { auction: true, .. } => "auction trade".into(),
                    Event::Traded { maker_fee, .. } if maker_fee.0 < 0 => "rebate".into(),
                    Event::OrderAmended {
                        self_trade: true,
                        kept_priority: false,
                        ..
                    } => "amended self-trade taker".into(),
                    Event::OrderAmended {
                        self_trade: true, ..
                    } => "amended self-trade".into(),
                    Event::OrderAmended { sequence: 0, .. } => "amended stop".into(),
                    Event::OrderAmended {
                        kept_priority: true,
                        ..
                    } => "amended in place".into(),
                    _ => match support::refusal(&[*event]) {
                        Some(reason) => format!("refused {reason:?}"),
                        None => continue,
                    },
                };
                *seen.entry(key).or_default() += 1;
            }
        }
    }
    let mut missing = Vec::new();
    for reason in RejectReason::ALL {
        let key = format!("refused {reason:?}");
        // Administration has a table of its own.
        if reason.code() < 300 && !seen.contains_key(&key) {
            missing.push(key);
        }
    }
    for key in [
        "done Filled",
        "auction trade",
        "rebate",
        "amended self-trade",
        "amended self-trade taker",
        "amended stop",
        "amended in place",
        "OrderTriggered",
        "AuctionIndicated",
        "AuctionUncrossed",
        "OrderRejected",
        "WithdrawalCompleted",
        "WithdrawalCanceled",
        "Transferred",
    ] {
        if !seen.contains_key(key) {
            missing.push(key.into());
        }
    }
    for reason in [
        "Requested",
        "Disconnected",
        "Replaced",
        "Expired",
        "Unfilled",
        "PriceBand",
        "FundsUsed",
        "SelfTrade",
        "Killed",
        "WouldTake",
        "FillOrKill",
        "NotAccepted",
    ] {
        let key = format!("done Canceled({reason})");
        if !seen.contains_key(&key) {
            missing.push(key);
        }
    }
    assert!(
        missing.len() <= 4,
        "out of reach: {missing:#?}\nseen: {seen:#?}"
    );
}
