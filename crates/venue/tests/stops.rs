//! Stories of stops: unseen until a trade reaches their price.

mod support;

use everopen_domain::*;
use support::*;

#[test]
fn a_stop_waits_unseen_and_enters_when_a_trade_reaches_its_price() {
    let mut desk = Desk::plain();
    let stop = sell(2, 90).stop(StopDirection::Loss, 95);
    let (id, story) = desk.place(CAT, stop);
    assert_eq!(story, ["#1 cat accepted, hold 2"]);
    assert_eq!(
        desk.venue.sequence(XBT),
        Some(0),
        "the market sees nothing of it"
    );
    desk.place(ANN, buy(1, 96));
    desk.place(ANN, buy(1, 95));
    desk.place(ANN, buy(1, 91));
    let (_, story) = desk.place(BOB, sell(2, 95));
    assert_eq!(
        story[1..],
        [
            "#5 takes 1 @ 96 from #2",
            "#2 filled",
            "#5 takes 1 @ 95 from #3",
            "#3 filled",
            "#5 filled",
            "#1 triggered at 95",
            "#1 takes 1 @ 91 from #4",
            "#4 filled",
            "#1 rests: sell 1 @ 90",
        ]
    );
    assert_eq!(desk.cancel(CAT, id), ["#1 canceled: Requested, 1 left"]);
}

#[test]
fn a_stop_that_the_last_trade_has_reached_triggers_at_once() {
    let mut desk = Desk::plain();
    desk.place(ANN, sell(1, 100));
    desk.place(BOB, buy(1, 100));
    let (_, story) = desk.place(CAT, buy(2, 105).stop(StopDirection::Entry, 99));
    assert_eq!(
        story,
        [
            "#3 cat accepted, hold 210",
            "#3 triggered at 100",
            "#3 rests: buy 2 @ 105"
        ]
    );
}

#[test]
fn stops_cascade_to_a_fix_point() {
    let mut desk = Desk::plain();
    for price in [100, 99, 98, 97] {
        desk.place(ANN, buy(1, price));
    }
    for price in [98, 99, 100] {
        desk.place(BOB, sell(1, price - 3).stop(StopDirection::Loss, price));
    }
    let (_, story) = desk.place(CAT, sell(1, 100));
    let told: Vec<&str> = story
        .iter()
        .map(String::as_str)
        .filter(|s| s.contains("t"))
        .collect();
    assert_eq!(
        told[1..],
        [
            "#8 takes 1 @ 100 from #1",
            "#7 triggered at 100",
            "#7 takes 1 @ 99 from #2",
            "#6 triggered at 99",
            "#6 takes 1 @ 98 from #3",
            "#5 triggered at 98",
            "#5 takes 1 @ 97 from #4",
        ]
    );
}

#[test]
fn a_canceled_stop_is_never_seen_by_the_market() {
    let mut desk = Desk::plain();
    let id = desk.id(CAT, sell(2, 90).stop(StopDirection::Loss, 95).oid("s"));
    let events = desk.ok(Command::CancelOrder {
        member: CAT,
        target: OrderTarget::Client(text("s")),
    });
    assert!(
        matches!(events[0], Event::OrderDone { order, sequence: 0, .. } if order == id),
        "{events:?}"
    );
    assert_eq!(desk.money(CAT, BTC), (1_000_000, 0));
}

#[test]
fn a_stop_market_buy_holds_for_its_worst_price_and_trades_no_worse() {
    let limits = InstrumentLimits {
        price_band: Rate(100_000),
        ..free_limits()
    };
    let mut desk = Desk::new(limits, &[(0, 0, 10_000)]);
    // Worst price 110: 5 × 110 = 550 and 5.5 of fee.
    let order = market(Side::Buy, 5, 0).stop(StopDirection::Entry, 100);
    let (_, story) = desk.place(CAT, order);
    assert_eq!(story, ["#1 cat accepted, hold 556"]);
    desk.place(ANN, sell(1, 105));
    desk.place(ANN, sell(2, 108));
    desk.place(ANN, sell(5, 111));
    let (_, story) = desk.place(BOB, buy(1, 105));
    assert_eq!(
        story[3..],
        [
            "#5 filled",
            "#1 triggered at 105",
            "#1 takes 2 @ 108 from #3, fees 0 and 3",
            "#3 filled",
            "#1 canceled: PriceBand, 3 left",
        ]
    );
    let limits = InstrumentLimits {
        price_band: Rate::ZERO,
        ..limits
    };
    desk.ok(Command::AmendInstrument {
        instrument: XBT,
        limits,
    });
    assert_eq!(
        desk.refuse_order(CAT, order),
        RejectReason::StopFundsRequired
    );
    desk.place(
        CAT,
        market(Side::Buy, 5, 300).stop(StopDirection::Entry, 200),
    );
}

#[test]
fn a_triggered_stop_that_cannot_enter_ends() {
    let mut desk = Desk::plain();
    desk.place(ANN, buy(9, 100));
    let stop = |order: NewOrder| order.stop(StopDirection::Loss, 100);
    desk.place(BOB, stop(sell(2, 100).post()));
    desk.place(BOB, stop(sell(20, 100).tif(TimeInForce::FillOrKill)));
    desk.place(BOB, stop(sell(20, 100).tif(TimeInForce::ImmediateOrCancel)));
    desk.place(BOB, stop(market(Side::Sell, 1, 0)));
    let (_, story) = desk.place(CAT, sell(1, 100));
    assert_eq!(
        story[2..],
        [
            "#6 filled",
            "#2 triggered at 100",
            "#2 canceled: WouldTake, 2 left",
            "#3 triggered at 100",
            "#3 canceled: FillOrKill, 20 left",
            "#4 triggered at 100",
            "#4 takes 8 @ 100 from #1",
            "#1 filled",
            "#4 canceled: Unfilled, 12 left",
            "#5 triggered at 100",
            "#5 canceled: Unfilled, 1 left",
        ]
    );
}
