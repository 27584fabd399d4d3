//! Stories of fees: rounding, rebates, tiers, and what is held for them.

mod support;

use everopen_domain::*;
use support::*;

const DAY: u64 = Timestamp::NANOS_PER_DAY;

#[test]
fn many_small_trades_cost_no_more_in_fees_than_one_large_one() {
    // 0.3 % of 10 × 7 = 0.21, rounded up once to 1 and not seven times.
    let mut desk = Desk::new(free_limits(), &[(0, 3_000, 3_000)]);
    for _ in 0..7 {
        desk.place(ANN, sell(1, 10));
    }
    let (_, story) = desk.place(BOB, buy(7, 10));
    assert_eq!(story[0], "#8 bob accepted, hold 71");
    assert_eq!(story[1], "#8 takes 1 @ 10 from #1, fees 1 and 1");
    assert_eq!(story[3], "#8 takes 1 @ 10 from #2, fees 1 and 0");
    assert_eq!(desk.money(BOB, USD), (1_000_000 - 71, 0));
    // Each of the sellers' orders is charged for itself.
    assert_eq!(desk.money(ANN, USD), (1_000_000 + 70 - 7, 0));
    assert_eq!(desk.fees(), 8);
}

#[test]
fn a_sellers_fee_comes_out_of_the_proceeds_and_a_buyers_on_top() {
    let mut desk = Desk::new(free_limits(), &[(0, 10_000, 20_000)]);
    let maker = desk.id(ANN, buy(10, 100));
    assert_eq!(desk.hold(maker), 1_010);
    let (_, story) = desk.place(BOB, sell(4, 90));
    assert_eq!(story[1], "#2 takes 4 @ 100 from #1, fees 4 and 8");
    assert_eq!(desk.hold(maker), 606);
    assert_eq!(desk.money(ANN, USD), (1_000_000 - 1_010, 606));
    assert_eq!(desk.money(BOB, USD), (1_000_000 + 400 - 8, 0));
    assert_eq!(desk.fees(), 12);
}

#[test]
fn a_sell_at_a_fee_of_everything_brings_nothing_and_owes_nothing() {
    let mut desk = Desk::new(free_limits(), &[(0, 1_000_000, 1_000_000)]);
    desk.place(ANN, buy(3, 1));
    desk.place(BOB, sell(1, 1));
    desk.place(BOB, sell(2, 1));
    assert_eq!(desk.money(BOB, USD), (1_000_000, 0));
    assert_eq!(desk.money(ANN, USD), (1_000_000 - 6, 0));
}

#[test]
fn a_rebate_is_paid_from_the_takers_fee() {
    let mut desk = Desk::new(free_limits(), &[(0, -10_000, 25_000)]);
    let maker = desk.id(ANN, buy(10, 100));
    assert_eq!(desk.hold(maker), 1_000, "a rebate is not counted on");
    let (_, story) = desk.place(BOB, sell(10, 100));
    assert_eq!(story[1], "#2 takes 10 @ 100 from #1, fees -10 and 25");
    assert_eq!(desk.money(ANN, USD), (1_000_000 - 1_000 + 10, 0));
    assert_eq!(desk.fees(), 15);
}

#[test]
fn rates_are_those_of_the_acceptance() {
    let mut desk = Desk::new(free_limits(), &[(0, 10_000, 10_000)]);
    desk.place(ANN, sell(10, 100));
    let schedule = FeeScheduleId(0);
    desk.ok(Command::SetFeeSchedule {
        schedule,
        tiers: tiers(&[(0, 50_000, 50_000)]),
    });
    let (_, story) = desk.place(BOB, buy(10, 100));
    assert_eq!(story[1], "#2 takes 10 @ 100 from #1, fees 10 and 50");
}

#[test]
fn volume_of_thirty_days_decides_the_tier() {
    let steps = [
        (0, 10_000, 30_000),
        (1_000, 5_000, 20_000),
        (2_000, 0, 10_000),
    ];
    let mut desk = Desk::new(free_limits(), &steps);
    desk.run_at(100 * DAY, Command::Tick);
    let trade = |desk: &mut Desk| {
        desk.place(ANN, sell(10, 100));
        desk.place(BOB, buy(10, 100)).1[1]
            .split(", ")
            .nth(1)
            .unwrap()
            .to_string()
    };
    assert_eq!(trade(&mut desk), "fees 10 and 30");
    assert_eq!(trade(&mut desk), "fees 5 and 20");
    desk.run_at(101 * DAY, Command::Tick);
    assert_eq!(trade(&mut desk), "fees 0 and 10");
    // On the thirtieth day after the first, its 2,000 no longer count; 1,000 do.
    desk.run_at(130 * DAY, Command::Tick);
    assert_eq!(trade(&mut desk), "fees 5 and 20");
    desk.run_at(500 * DAY, Command::Tick);
    assert_eq!(trade(&mut desk), "fees 10 and 30");
    let snapshot = desk.venue.snapshot();
    assert_eq!(snapshot.members[0].volumes.len(), 1);
    assert_eq!(
        snapshot.members[0].volumes[0].days.last(),
        Some(&Amount(1_000))
    );
}

#[test]
fn an_order_that_cannot_take_holds_only_a_makers_fee() {
    let mut desk = Desk::new(free_limits(), &[(0, 10_000, 50_000)]);
    let hold = |desk: &mut Desk, order| desk.place(ANN, order).1[0].clone();
    assert_eq!(hold(&mut desk, buy(10, 10)), "#1 ann accepted, hold 105");
    assert_eq!(
        hold(&mut desk, buy(10, 10).post()),
        "#2 ann accepted, hold 101"
    );
    desk.phase(TradingPhase::Auction);
    assert_eq!(hold(&mut desk, buy(10, 10)), "#3 ann accepted, hold 101");
    assert_eq!(desk.money(ANN, USD).1, 303);
}

#[test]
fn eighteen_decimals_are_exact() {
    let mut desk = Desk::with_decimals(free_limits(), &[(0, 1, 1)], 18);
    desk.place(ANN, sell(999_999, 1));
    desk.place(BOB, buy(999_999, 1));
    let whole = 10i128.pow(18);
    let fee = 999_999 * whole / 1_000_000;
    assert_eq!(
        desk.money(BOB, USD),
        (1_000_000 * whole - 999_999 * whole - fee, 0)
    );
    assert_eq!(desk.money(BOB, BTC), (1_999_999 * whole, 0));
    assert_eq!(desk.fees(), 2 * fee);
}
