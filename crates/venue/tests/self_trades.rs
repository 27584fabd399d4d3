//! Stories of members who would trade with themselves.

mod support;

use SelfTradePrevention::*;
use everopen_domain::*;
use support::*;

#[test]
fn self_trade_prevention_does_what_the_taker_says() {
    let story = |prevention, size| {
        let mut desk = Desk::plain();
        desk.place(ANN, sell(5, 100));
        desk.place(BOB, sell(5, 101));
        let (_, story) = desk.place(ANN, buy(size, 101).stp(prevention));
        assert!(desk.auditor.open_orders() > 0);
        story[1..].to_vec()
    };
    assert_eq!(
        story(DecreaseAndCancel, 3),
        [
            "#1 amended: 2 @ 100, shows 2 of 2, hold 2 by self-trade",
            "#3 canceled: SelfTrade, 3 left",
        ]
    );
    assert_eq!(
        story(DecreaseAndCancel, 7),
        [
            "#1 canceled: SelfTrade, 5 left",
            "#3 takes 2 @ 101 from #2",
            "#3 amended: 2 @ 101, shows 0 of 0, hold 0 by self-trade",
            "#3 filled"
        ]
    );
    assert_eq!(
        story(CancelOldest, 3),
        [
            "#1 canceled: SelfTrade, 5 left",
            "#3 takes 3 @ 101 from #2",
            "#3 filled"
        ]
    );
    assert_eq!(story(CancelNewest, 3), ["#3 canceled: SelfTrade, 3 left"]);
    assert_eq!(
        story(CancelBoth, 3),
        [
            "#1 canceled: SelfTrade, 5 left",
            "#3 canceled: SelfTrade, 3 left"
        ]
    );
}

#[test]
fn a_taker_that_self_trade_prevention_shrinks_is_told_so_before_it_rests() {
    let mut desk = Desk::plain();
    desk.place(ANN, buy(4, 100));
    let (id, story) = desk.place(ANN, sell(10, 100));
    assert_eq!(
        story,
        [
            "#2 ann accepted, hold 10",
            "#1 canceled: SelfTrade, 4 left",
            "#2 amended: 6 @ 100, shows 0 of 6, hold 6 by self-trade",
            "#2 rests: sell 6 @ 100",
        ]
    );
    let told = desk.events.iter().find_map(|event| match event {
        Event::OrderAmended {
            order,
            member,
            sequence,
            side,
            old_price,
            old_visible,
            kept_priority,
            ..
        } => {
            assert_eq!((*order, *member, *side), (id, ANN, Side::Sell));
            assert_eq!((*old_price, *old_visible), (Price(100), Quantity::ZERO));
            Some((*sequence, *kept_priority))
        }
        _ => None,
    });
    // After two accepted, one open and one end, as every event that the market sees.
    assert_eq!(told, Some((5, false)));
    assert_eq!(desk.money(ANN, BTC), (999_994, 6));
    // The size is 6 for amendments, too.
    let amendment = desk.amend(ANN, id, 0, 6);
    assert_eq!(desk.refused(amendment), RejectReason::AmendUnchanged);
    let (_, story) = desk.place(BOB, buy(6, 100));
    assert_eq!(story[2..], ["#2 filled", "#3 filled"]);
}

#[test]
fn a_shrunk_taker_is_told_once_after_all_that_it_did_in_the_market() {
    let mut desk = Desk::new(free_limits(), &[(0, 0, 20_000)]);
    desk.place(ANN, sell(2, 100));
    desk.place(BOB, sell(3, 101));
    desk.place(ANN, sell(2, 102));
    desk.place(BOB, sell(1, 103));
    let (id, story) = desk.place(ANN, buy(20, 105).peak(5));
    assert_eq!(
        story[1..],
        [
            "#1 canceled: SelfTrade, 2 left",
            "#5 takes 3 @ 101 from #2, fees 0 and 7",
            "#2 filled",
            "#3 canceled: SelfTrade, 2 left",
            "#5 takes 1 @ 103 from #4, fees 0 and 2",
            "#4 filled",
            "#5 amended: 16 @ 105, shows 0 of 12, hold 1260 by self-trade",
            "#5 rests: buy 5 (+7) @ 105",
        ]
    );
    assert_eq!(desk.hold(id), 1260);
    // An order that comes back into the market has been there once more.
    desk.place(ANN, sell(1, 106));
    let amendment = desk.amend(ANN, id, 107, 0);
    desk.ok(amendment);
    assert_eq!(
        tell(&desk.events),
        [
            "#5 amended: 16 @ 107, shows 0 of 12, hold 1309, leaves",
            "#6 canceled: SelfTrade, 1 left",
            "#5 amended: 15 @ 107, shows 0 of 11, hold 1177 by self-trade",
            "#5 rests: buy 5 (+6) @ 107",
        ]
    );
}

#[test]
fn a_shrunk_taker_that_ends_leaves_what_its_new_size_did_not_fill() {
    let story = |order: NewOrder| {
        let mut desk = Desk::plain();
        desk.place(ANN, buy(4, 100));
        desk.place(BOB, buy(3, 100));
        let (_, story) = desk.place(ANN, order);
        assert_eq!(desk.money(ANN, BTC).1, 0);
        story[1..].to_vec()
    };
    let first = "#1 canceled: SelfTrade, 4 left";
    assert_eq!(
        story(sell(10, 100).tif(TimeInForce::ImmediateOrCancel)),
        [
            first,
            "#3 takes 3 @ 100 from #2",
            "#2 filled",
            "#3 amended: 6 @ 100, shows 0 of 3, hold 0 by self-trade",
            "#3 canceled: Unfilled, 3 left",
        ]
    );
    assert_eq!(
        story(market(Side::Sell, 10, 0)),
        [
            first,
            "#3 takes 3 @ 100 from #2",
            "#2 filled",
            "#3 amended: 6 @ 0, shows 0 of 3, hold 0 by self-trade",
            "#3 canceled: Unfilled, 3 left",
        ]
    );
    // By size and by funds: each decrease is within its funds, and its size is told once.
    assert_eq!(
        story(market(Side::Sell, 10, 250)),
        [
            "#1 amended: 2 @ 100, shows 2 of 2, hold 200 by self-trade",
            "#1 canceled: SelfTrade, 2 left",
            "#3 takes 2 @ 100 from #2",
            "#3 amended: 6 @ 0, shows 0 of 4, hold 0 by self-trade",
            "#3 canceled: FundsUsed, 4 left",
        ]
    );
    // Nothing is left after a trade: the end says it all.
    let mut desk = Desk::plain();
    desk.place(BOB, buy(3, 101));
    desk.place(ANN, buy(9, 100));
    let (_, story) = desk.place(ANN, sell(7, 100));
    assert_eq!(
        story[1..],
        [
            "#3 takes 3 @ 101 from #1",
            "#1 filled",
            "#2 amended: 5 @ 100, shows 5 of 5, hold 500 by self-trade",
            "#3 canceled: SelfTrade, 4 left",
        ]
    );
}

#[test]
fn a_stop_that_self_trade_prevention_shrinks_is_told_so_when_it_enters() {
    let mut desk = Desk::plain();
    desk.place(ANN, buy(4, 99));
    let stop = Stop {
        direction: StopDirection::Loss,
        price: Price(100),
    };
    let waits = NewOrder {
        stop: Some(stop),
        ..sell(10, 99)
    };
    desk.place(ANN, waits);
    desk.place(BOB, buy(1, 100));
    let (_, story) = desk.place(CAT, sell(1, 100));
    assert_eq!(
        story[4..],
        [
            "#2 triggered at 100",
            "#1 canceled: SelfTrade, 4 left",
            "#2 amended: 6 @ 99, shows 0 of 6, hold 6 by self-trade",
            "#2 rests: sell 6 @ 99",
        ]
    );
}

#[test]
fn self_trade_prevention_by_funds_decreases_funds() {
    let mut desk = Desk::plain();
    desk.place(ANN, sell(5, 100));
    desk.place(BOB, sell(5, 100));
    let (_, story) = desk.place(ANN, market(Side::Buy, 0, 750));
    assert_eq!(
        story[1..],
        [
            "#1 canceled: SelfTrade, 5 left",
            "#3 takes 2 @ 100 from #2",
            "#3 canceled: FundsUsed, 0 left",
        ]
    );
}

#[test]
fn self_trades_are_allowed_only_where_the_instrument_allows_them_and_earn_no_tier() {
    let mut desk = Desk::new(free_limits(), &[(0, 0, 20_000), (100, 0, 10_000)]);
    let order = || buy(1, 100).stp(Allow);
    assert_eq!(
        desk.refuse_order(ANN, order()),
        RejectReason::SelfTradeNotAllowed
    );
    let limits = InstrumentLimits {
        allow_self_trade: true,
        ..free_limits()
    };
    desk.ok(Command::AmendInstrument {
        instrument: XBT,
        limits,
    });
    desk.place(ANN, sell(5, 100));
    let (_, story) = desk.place(ANN, order());
    assert_eq!(story[1], "#2 takes 1 @ 100 from #1, fees 0 and 2");
    let (_, story) = desk.place(ANN, order());
    assert_eq!(story[1], "#3 takes 1 @ 100 from #1, fees 0 and 2");
    desk.place(BOB, buy(1, 100));
    let (_, story) = desk.place(ANN, order());
    assert_eq!(story[1], "#5 takes 1 @ 100 from #1, fees 0 and 1");
}

// Stops.
