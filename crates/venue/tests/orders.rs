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
