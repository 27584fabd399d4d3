//! What a snapshot holds, and which are refused.

mod support;

use everopen_domain::snapshot::VenueSnapshot;
use everopen_domain::*;
use everopen_venue::Venue;
use support::*;

/// A venue with something of everything.
fn lively() -> Desk {
    let limits = InstrumentLimits {
        price_band: Rate(900_000),
        ..free_limits()
    };
    let mut desk = Desk::new(limits, &[(0, 1_000, 2_000)]);
    desk.place(ANN, buy(5, 100).oid("a").peak(2));
    desk.place(ANN, buy(5, 99).until(desk.now + 1_000));
    desk.place(BOB, sell(3, 100).oid("b"));
    desk.place(BOB, sell(7, 120));
    desk.place(CAT, sell(1, 90).stop(StopDirection::Loss, 95));
    desk.place(
        CAT,
        market(Side::Buy, 0, 500).stop(StopDirection::Entry, 110),
    );
    let limits = MemberLimits {
        message_rate: 9,
        message_burst: 9,
        max_open_orders: 50,
    };
    desk.ok(Command::SetMemberLimits {
        member: BOB,
        limits,
    });
    let limits = OrderLimits {
        max_size: Quantity(50),
        ..OrderLimits::default()
    };
    desk.ok(Command::SetOrderLimits {
        member: CAT,
        instrument: XBT,
        limits,
    });
    desk.ok(Command::RequestWithdrawal {
        member: ANN,
        asset: BTC,
        amount: Amount(77),
        reference: text("out"),
        destination: text("address"),
    });
    desk.ok(Command::EngageKillSwitch { member: Some(CAT) });
    desk.place(ANN, buy(2, 80));
    desk
}

#[test]
fn a_restored_venue_has_the_same_snapshot_and_passes_the_audit() {
    let desk = lively();
    let snapshot = desk.venue.snapshot();
    let restored = Venue::restore(&snapshot).expect("a snapshot");
    restored.check();
    assert_eq!(restored.snapshot(), snapshot);
    let new = Venue::restore(&VenueSnapshot::default()).expect("an empty venue");
    assert_eq!(new.snapshot(), Venue::new().snapshot());
}

#[test]
fn damaged_snapshots_are_refused() {
    let good = {
        let mut desk = lively();
        desk.ok(Command::ReleaseKillSwitch { member: Some(CAT) });
        desk.place(CAT, sell(1, 90).stop(StopDirection::Loss, 95));
        desk.venue.snapshot()
    };
    Venue::restore(&good).expect("undamaged");
    type Damage = fn(&mut VenueSnapshot);
    let damages: &[(&str, Damage)] = &[
        ("an asset twice", |s| s.assets[1] = s.assets[0]),
        ("too many decimals", |s| s.assets[0].decimals = 19),
        ("a schedule twice", |s| {
            s.fee_schedules.push(s.fee_schedules[0])
        }),
        ("a schedule missing", |s| s.fee_schedules.clear()),
        ("a member without code", |s| s.members[0].code = Text::EMPTY),
        ("members of one code", |s| {
            s.members[1].code = s.members[0].code
        }),
        ("too much allowance", |s| {
            s.members[1].message_tokens = u64::MAX
        }),
        ("a time that is not yet", |s| {
            s.members[1].message_time = Timestamp(u64::MAX)
        }),
        ("an id twice", |s| {
            let ids = &mut s.members[1].recent_client_order_ids;
            ids.push(text("z"));
            ids.push(text("z"));
        }),
        ("an id of an open order", |s| {
            s.members[0].recent_client_order_ids.push(text("a"));
        }),
        ("volume of 29 days", |s| {
            s.members[0].volumes[0].days.pop();
        }),
        ("money from nowhere", |s| s.accounts[2].available.0 += 1),
        ("accounts out of order", |s| s.accounts.swap(0, 1)),
        ("an account of nobody", |s| {
            s.accounts.last_mut().unwrap().owner =
                everopen_domain::snapshot::AccountOwner::Member(MemberId(77));
        }),
        ("a withdrawal less", |s| s.withdrawals.clear()),
        ("a withdrawal of the future", |s| {
            s.withdrawals[0].transfer = TransferId(1_000)
        }),
        ("a withdrawal of more", |s| s.withdrawals[0].amount.0 += 1),
        ("limits of an unknown instrument", |s| {
            s.order_limits[0].1 = InstrumentId(5)
        }),
        ("limits of nothing", |s| {
            s.order_limits[0].2 = OrderLimits::default()
        }),
        ("an order less", |s| {
            s.instruments[0].bids.pop();
        }),
        ("an order's hold", |s| s.instruments[0].bids[0].hold.0 += 1),
        ("an order's slack", |s| {
            s.instruments[0].bids[0].fee_slack = 1_000_000
        }),
        ("an order of the future", |s| s.last_order_sequence = 3),
        ("an order's size", |s| {
            s.instruments[0].bids[0].remaining.0 += 1
        }),
        ("an order's owner", |s| {
            s.instruments[0].bids[0].member = MemberId(9)
        }),
        ("an order's side", |s| {
            s.instruments[0].bids[0].details.side = Side::Sell
        }),
        ("an order's price", |s| {
            s.instruments[0].bids[0].details.price.0 += 1
        }),
        ("bids out of order", |s| s.instruments[0].bids.swap(0, 1)),
        ("a slot twice", |s| s.instruments[0].free_slots.push(0)),
        ("a stop without trigger", |s| {
            s.instruments[0].stops[0].details.stop = None
        }),
        ("a crossed book", |s| {
            let hold = s.instruments[0].asks[0].hold;
            s.instruments[0].asks[0].details.price = Price(1);
            s.instruments[0].asks[0].hold = hold;
        }),
        ("rules", |s| {
            s.instruments[0].instrument.limits.tick = Price::ZERO
        }),
        ("an instrument twice", |s| {
            s.instruments.push(s.instruments[0].clone())
        }),
        ("more trades than events", |s| s.instruments[0].sequence = 0),
        ("expired", |s| s.time = Timestamp(1_000_000)),
    ];
    for (name, damage) in damages {
        let mut snapshot = good.clone();
        damage(&mut snapshot);
        let error = Venue::restore(&snapshot).expect_err(name);
        assert!(!error.to_string().is_empty());
    }
}
