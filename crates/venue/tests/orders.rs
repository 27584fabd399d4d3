//! Stories of orders that come, trade, rest and end.

mod support;

use CancelReason::*;
use SelfTradePrevention::*;
use everopen_domain::*;
use support::*;

#[test]
fn a_limit_order_trades_at_the_makers_price_and_rests_with_the_rest() {
    let mut desk = Desk::plain();
    desk.place(ANN, sell(5, 100));
    let (id, story) = desk.place(BOB, buy(8, 110));
    assert_eq!(
        story,
        [
            "#2 bob accepted, hold 880",
            "#2 takes 5 @ 100 from #1",
            "#1 filled",
            "#2 rests: buy 3 @ 110",
        ]
    );
    assert_eq!(desk.money(ANN, USD), (1_000_500, 0));
    assert_eq!(desk.money(BOB, USD), (1_000_000 - 500 - 330, 330));
    assert_eq!(desk.money(BOB, BTC), (1_000_005, 0));
    assert_eq!(desk.hold(id), 330);
    assert_eq!(desk.cancel(BOB, id), ["#2 canceled: Requested, 3 left"]);
    assert_eq!(desk.money(BOB, USD), (999_500, 0));
}

#[test]
fn older_orders_trade_first_and_better_prices_before_them() {
    let mut desk = Desk::plain();
    desk.place(ANN, sell(2, 101));
    desk.place(BOB, sell(2, 101));
    desk.place(CAT, sell(2, 100));
    let (_, story) = desk.place(ANN, buy(3, 105).stp(CancelOldest));
    assert_eq!(
        story,
        [
            "#4 ann accepted, hold 315",
            "#4 takes 2 @ 100 from #3",
            "#3 filled",
            "#1 canceled: SelfTrade, 2 left",
            "#4 takes 1 @ 101 from #2",
            "#4 filled",
        ]
    );
}

#[test]
fn immediate_or_cancel_trades_what_it_can() {
    let mut desk = Desk::plain();
    desk.place(ANN, sell(5, 100));
    let (_, story) = desk.place(BOB, buy(8, 100).tif(TimeInForce::ImmediateOrCancel));
    assert_eq!(
        story[1..],
        [
            "#2 takes 5 @ 100 from #1",
            "#1 filled",
            "#2 canceled: Unfilled, 3 left"
        ]
    );
    assert_eq!(desk.money(BOB, USD), (999_500, 0));
    // Nothing to trade with is no refusal: it was an order that ended at once.
    let (_, story) = desk.place(BOB, buy(8, 100).tif(TimeInForce::ImmediateOrCancel));
    assert_eq!(story[1..], ["#3 canceled: Unfilled, 8 left"]);
}

#[test]
fn fill_or_kill_trades_all_or_is_refused() {
    let mut desk = Desk::plain();
    desk.place(ANN, sell(5, 100));
    desk.place(BOB, sell(5, 101));
    let fok = |order: NewOrder| order.tif(TimeInForce::FillOrKill);
    assert_eq!(
        desk.refuse_order(CAT, fok(buy(11, 101))),
        RejectReason::FillOrKillUnfilled
    );
    assert_eq!(
        desk.refuse_order(CAT, fok(buy(6, 100))),
        RejectReason::FillOrKillUnfilled
    );
    // Own orders are no liquidity.
    assert_eq!(
        desk.refuse_order(BOB, fok(buy(6, 101))),
        RejectReason::FillOrKillUnfilled
    );
    let (_, story) = desk.place(CAT, fok(buy(10, 101)));
    assert_eq!(story.last().unwrap(), "#3 filled");
}

#[test]
fn post_only_rests_or_is_refused() {
    let mut desk = Desk::plain();
    desk.place(ANN, sell(5, 100));
    assert_eq!(
        desk.refuse_order(BOB, buy(1, 100).post()),
        RejectReason::PostOnlyWouldTake
    );
    let (id, story) = desk.place(BOB, buy(1, 99).post());
    assert_eq!(story[1], "#2 rests: buy 1 @ 99");
    let amendment = desk.amend(BOB, id, 100, 0);
    assert_eq!(desk.refused(amendment), RejectReason::PostOnlyWouldTake);
}

#[test]
fn an_iceberg_shows_its_peaks_one_after_the_other_at_the_back_of_the_queue() {
    let mut desk = Desk::plain();
    desk.place(ANN, sell(7, 100).peak(3));
    desk.place(BOB, sell(2, 100));
    let (_, story) = desk.place(CAT, buy(6, 100));
    assert_eq!(
        story,
        [
            "#3 cat accepted, hold 600",
            "#3 takes 3 @ 100 from #1",
            "#1 rests: sell 3 (+1) @ 100",
            "#3 takes 2 @ 100 from #2",
            "#2 filled",
            "#3 takes 1 @ 100 from #1",
            "#3 filled",
        ]
    );
}

#[test]
fn a_good_till_time_order_expires_before_the_next_command_works() {
    let mut desk = Desk::plain();
    let due = desk.now + 10;
    desk.place(ANN, sell(5, 100).until(due));
    assert_eq!(desk.venue.next_expiry(), Some(Timestamp(due)));
    assert_eq!(tell(&desk.run_at(due - 1, Command::Tick)), [""; 0]);
    let events = desk.run_at(
        due,
        Command::PlaceOrder {
            member: BOB,
            order: buy(5, 100),
        },
    );
    assert_eq!(
        tell(&events),
        [
            "#1 canceled: Expired, 5 left",
            "#2 bob accepted, hold 500",
            "#2 rests: buy 5 @ 100"
        ]
    );
    assert_eq!(desk.venue.next_expiry(), None);
    assert_eq!(
        desk.refuse_order(ANN, sell(5, 100).until(due)),
        RejectReason::ExpiryInvalid
    );
}

#[test]
fn time_before_the_last_command_counts_as_the_last() {
    let mut desk = Desk::plain();
    let due = desk.now + 5;
    desk.place(ANN, sell(5, 100).until(due));
    desk.run_at(due - 1, Command::Tick);
    desk.run_at(3, Command::Tick);
    assert_eq!(desk.venue.time(), Timestamp(due - 1));
    assert_eq!(desk.venue.next_expiry(), Some(Timestamp(due)));
}

// Market orders.

#[test]
fn a_market_buy_by_funds_spends_no_atom_more_fee_included() {
    // 1 % taker fee: 1,000 buys 9 at 100 (909 with fee) and what is left pays for no tenth.
    let mut desk = Desk::new(free_limits(), &[(0, 0, 10_000)]);
    desk.place(ANN, sell(20, 100));
    let (_, story) = desk.place(BOB, market(Side::Buy, 0, 1_000));
    assert_eq!(
        story,
        [
            "#2 bob accepted, hold 1000",
            "#2 takes 9 @ 100 from #1, fees 0 and 9",
            "#2 canceled: FundsUsed, 0 left",
        ]
    );
    assert_eq!(desk.money(BOB, USD), (1_000_000 - 909, 0));
    // Exactly enough for ten.
    let (_, story) = desk.place(BOB, market(Side::Buy, 0, 1_010));
    assert_eq!(story[1], "#3 takes 10 @ 100 from #1, fees 0 and 10");
    assert_eq!(desk.fees(), 19);
}

#[test]
fn a_market_buy_by_funds_and_size_ends_with_whichever_ends_first() {
    let mut desk = Desk::plain();
    desk.place(ANN, sell(20, 100));
    let (_, story) = desk.place(BOB, market(Side::Buy, 3, 1_000));
    assert_eq!(story[1..], ["#2 takes 3 @ 100 from #1", "#2 filled"]);
    let (_, story) = desk.place(BOB, market(Side::Buy, 30, 500));
    assert_eq!(
        story[1..],
        [
            "#3 takes 5 @ 100 from #1",
            "#3 canceled: FundsUsed, 25 left"
        ]
    );
}

#[test]
fn a_market_buy_by_size_holds_exactly_what_it_will_cost() {
    let mut desk = Desk::new(free_limits(), &[(0, 0, 15_000)]);
    desk.place(ANN, sell(3, 100));
    desk.place(ANN, sell(3, 101));
    // 3 × 100 + 2 × 101 = 502, fee 7.53 → 8.
    let (_, story) = desk.place(BOB, market(Side::Buy, 5, 0));
    assert_eq!(
        story,
        [
            "#3 bob accepted, hold 510",
            "#3 takes 3 @ 100 from #1, fees 0 and 5",
            "#1 filled",
            "#3 takes 2 @ 101 from #2, fees 0 and 3",
            "#3 filled",
        ]
    );
    assert_eq!(desk.money(BOB, USD), (1_000_000 - 510, 0));
    desk.place(ANN, sell(1, 102));
    let all = desk.money(CAT, USD).0;
    desk.ok(Command::Transfer {
        from: CAT,
        to: BOB,
        asset: USD,
        amount: Amount(all - 104),
        reference: Text::EMPTY,
    });
    // CAT has 104 and one at 101 and one at 102 would cost 207.
    assert_eq!(
        desk.refuse_order(CAT, market(Side::Buy, 2, 0)),
        RejectReason::InsufficientFunds
    );
}

#[test]
fn a_market_sell_by_funds_stops_before_its_proceeds_pass_them() {
    let mut desk = Desk::plain();
    desk.place(ANN, buy(4, 100));
    desk.place(ANN, buy(10, 90));
    let (_, story) = desk.place(BOB, market(Side::Sell, 0, 600));
    assert_eq!(
        story,
        [
            "#3 bob accepted, hold 1000000",
            "#3 takes 4 @ 100 from #1",
            "#1 filled",
            "#3 takes 2 @ 90 from #2",
            "#3 canceled: FundsUsed, 0 left",
        ]
    );
    assert_eq!(desk.money(BOB, BTC), (1_000_000 - 6, 0));
    assert_eq!(desk.money(BOB, USD), (1_000_580, 0));
}

#[test]
fn a_market_order_stops_at_the_band() {
    let mut desk = Desk::new(
        InstrumentLimits {
            price_band: Rate(50_000),
            ..free_limits()
        },
        &[(0, 0, 0)],
    );
    desk.ok(Command::SetReferencePrice {
        instrument: XBT,
        price: Price(100),
    });
    desk.place(ANN, sell(2, 104));
    desk.place(ANN, sell(2, 106));
    // The band is that of the reference price when the order came: 105.
    let (_, story) = desk.place(BOB, market(Side::Buy, 4, 0));
    assert_eq!(
        story[1..],
        [
            "#3 takes 2 @ 104 from #1",
            "#1 filled",
            "#3 canceled: PriceBand, 2 left"
        ]
    );
    // The trade moved the reference to 104 and so the top of the band to 109.
    let (_, story) = desk.place(BOB, market(Side::Buy, 4, 0));
    assert_eq!(story[1], "#4 takes 2 @ 106 from #2");
    assert_eq!(story[3], "#4 canceled: Unfilled, 2 left");
    assert_eq!(
        desk.refuse_order(BOB, market(Side::Buy, 4, 0)),
        RejectReason::NoLiquidity
    );
    assert_eq!(
        desk.refuse_order(BOB, buy(1, 112)),
        RejectReason::PriceOutOfBand
    );
    assert_eq!(
        desk.refuse_order(BOB, sell(1, 100)),
        RejectReason::PriceOutOfBand
    );
    desk.place(BOB, sell(1, 101));
    desk.place(BOB, sell(1, 110));
    desk.place(ANN, sell(1, 120));
    desk.ok(Command::CancelOrders {
        member: BOB,
        instrument: None,
        reason: Requested,
    });
    // There is one, but outside the band.
    assert_eq!(
        desk.refuse_order(BOB, market(Side::Buy, 1, 0)),
        RejectReason::NoLiquidity
    );
}

// Self-trade prevention.

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
