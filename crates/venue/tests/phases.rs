//! Stories of trading phases, auctions and kill switches.

mod support;

use everopen_domain::*;
use support::*;

#[test]
fn each_phase_lets_in_what_it_should() {
    use RejectReason::*;
    let limit = buy(1, 100);
    let ioc = limit.tif(TimeInForce::ImmediateOrCancel);
    let stop = buy(1, 100).stop(StopDirection::Entry, 200);
    for (phase, orders) in [
        (
            TradingPhase::Online,
            [None, None, None, Some(NoLiquidity), None],
        ),
        (
            TradingPhase::PostOnly,
            [
                Some(PostOnlyPhase),
                None,
                Some(PostOnlyPhase),
                Some(PostOnlyPhase),
                Some(PostOnlyPhase),
            ],
        ),
        (
            TradingPhase::LimitOnly,
            [None, None, None, Some(LimitOnlyPhase), None],
        ),
        (TradingPhase::CancelOnly, [Some(CancelOnly); 5]),
        (
            TradingPhase::Auction,
            [
                None,
                Some(AuctionPhase),
                Some(AuctionPhase),
                Some(AuctionPhase),
                None,
            ],
        ),
        (TradingPhase::Halted, [Some(Halted); 5]),
    ] {
        let mut desk = Desk::plain();
        let id = desk.id(ANN, sell(5, 150));
        if phase != TradingPhase::Online {
            desk.phase(phase);
        }
        // The resting order is too far away for the market order's buyer to be its owner.
        let market_order = market(Side::Sell, 1, 0);
        for (order, refused) in [limit, limit.post(), ioc, market_order, stop]
            .iter()
            .zip(orders)
        {
            let mut desk = desk.clone();
            let events = desk.run(Command::PlaceOrder {
                member: BOB,
                order: *order,
            });
            assert_eq!(refusal(&events), refused, "{phase:?} {order:?}");
        }
        let cancel = Command::CancelOrder {
            member: ANN,
            target: OrderTarget::Order(id),
        };
        let amend = desk.amend(ANN, id, 0, 4);
        let amends = match phase {
            TradingPhase::CancelOnly => Some(CancelOnly),
            TradingPhase::Halted => Some(Halted),
            _ => None,
        };
        assert_eq!(refusal(&desk.clone().run(amend)), amends);
        let reprice = desk.amend(ANN, id, 151, 0);
        let reprices = if phase == TradingPhase::PostOnly {
            Some(PostOnlyPhase)
        } else {
            amends
        };
        assert_eq!(refusal(&desk.clone().run(reprice)), reprices);
        let cancels = (phase == TradingPhase::Halted).then_some(Halted);
        assert_eq!(refusal(&desk.run(cancel)), cancels);
    }
}

#[test]
fn an_auction_gathers_indicates_and_uncrosses_at_one_price() {
    // Both sides pay the maker rate, 1 %.
    let mut desk = Desk::new(free_limits(), &[(0, 10_000, 50_000)]);
    assert_eq!(
        desk.story(Command::SetTradingPhase {
            instrument: XBT,
            phase: TradingPhase::Auction
        }),
        ["phase Auction"]
    );
    let (_, story) = desk.place(ANN, buy(5, 102));
    assert_eq!(
        story,
        ["#1 ann accepted, hold 516", "#1 rests: buy 5 @ 102"]
    );
    let (_, story) = desk.place(BOB, sell(3, 98));
    assert_eq!(
        story,
        [
            "#2 bob accepted, hold 3",
            "#2 rests: sell 3 @ 98",
            "indicated: 3 @ 102, 2 more to buy",
        ]
    );
    let (_, story) = desk.place(BOB, sell(4, 100));
    assert_eq!(story[2], "indicated: 5 @ 100, 2 more to sell");
    let events = desk.phase(TradingPhase::Online);
    assert_eq!(
        tell(&events),
        [
            "phase Online",
            "#2 takes 3 @ 100 from #1, fees 3 and 3",
            "#2 filled",
            "#3 takes 2 @ 100 from #1, fees 2 and 2",
            "#1 filled",
            "uncrossed: 5 @ 100",
        ]
    );
    // Price improvement came back.
    assert_eq!(desk.money(ANN, USD), (1_000_000 - 505, 0));
    assert_eq!(desk.fees(), 10);
}

#[test]
fn an_indication_is_said_only_when_it_changes() {
    let mut desk = Desk::plain();
    desk.phase(TradingPhase::Auction);
    desk.place(ANN, buy(5, 100));
    let (id, _) = desk.place(BOB, sell(5, 100));
    let (_, story) = desk.place(CAT, buy(5, 90));
    assert_eq!(story.len(), 2, "{story:?}");
    assert_eq!(
        desk.cancel(BOB, id),
        [
            "#2 canceled: Requested, 5 left",
            "indicated: 0 @ 0, 0 more to buy"
        ]
    );
}

#[test]
fn a_book_left_crossed_is_uncrossed_when_the_market_opens() {
    let mut desk = Desk::plain();
    desk.phase(TradingPhase::Auction);
    desk.place(ANN, buy(5, 100));
    let (_, story) = desk.place(BOB, sell(5, 100));
    assert_eq!(story[2], "indicated: 5 @ 100, 0 more to buy");
    assert_eq!(tell(&desk.phase(TradingPhase::Halted)), ["phase Halted"]);
    assert_eq!(
        tell(&desk.phase(TradingPhase::CancelOnly)),
        ["phase CancelOnly"]
    );
    assert_eq!(
        tell(&desk.phase(TradingPhase::PostOnly)).last().unwrap(),
        "uncrossed: 5 @ 100"
    );
    assert_eq!(tell(&desk.phase(TradingPhase::Online)), ["phase Online"]);
    desk.phase(TradingPhase::Auction);
    assert_eq!(
        tell(&desk.phase(TradingPhase::Online)),
        ["phase Online", "uncrossed: 0 @ 0"]
    );
    let same = Command::SetTradingPhase {
        instrument: XBT,
        phase: TradingPhase::Online,
    };
    assert_eq!(desk.refused(same), RejectReason::Unchanged);
}

#[test]
fn stops_trigger_after_the_uncross_and_not_during_the_call() {
    let mut desk = Desk::plain();
    desk.place(ANN, sell(1, 100));
    desk.place(BOB, buy(1, 100));
    desk.phase(TradingPhase::Auction);
    let (_, story) = desk.place(CAT, sell(1, 97).stop(StopDirection::Loss, 100));
    assert_eq!(story, ["#3 cat accepted, hold 1"]);
    desk.place(ANN, sell(2, 98));
    desk.place(BOB, buy(3, 98));
    let story = tell(&desk.phase(TradingPhase::Online));
    assert_eq!(
        story,
        [
            "phase Online",
            "#5 takes 2 @ 98 from #4",
            "#4 filled",
            "uncrossed: 2 @ 98",
            "#3 triggered at 98",
            "#3 takes 1 @ 98 from #5",
            "#5 filled",
            "#3 filled",
        ]
    );
}

#[test]
fn a_stop_market_order_that_triggers_in_a_limit_only_market_is_not_let_in() {
    let mut desk = Desk::plain();
    desk.place(CAT, market(Side::Sell, 1, 0).stop(StopDirection::Loss, 100));
    desk.phase(TradingPhase::LimitOnly);
    desk.place(ANN, sell(1, 100));
    let (_, story) = desk.place(BOB, buy(1, 100));
    assert_eq!(
        story[3..],
        [
            "#3 filled",
            "#1 triggered at 100",
            "#1 canceled: NotAccepted, 1 left"
        ]
    );
}

#[test]
fn a_kill_switch_cancels_everything_even_in_a_halt_and_refuses_what_is_new() {
    let mut desk = Desk::plain();
    desk.place(ANN, buy(1, 99));
    desk.place(BOB, buy(1, 100));
    desk.place(ANN, buy(1, 98).stop(StopDirection::Entry, 150));
    desk.phase(TradingPhase::Halted);
    let engage = |member| Command::EngageKillSwitch { member };
    let story = desk.story(engage(Some(ANN)));
    assert_eq!(
        story[1..],
        ["#1 canceled: Killed, 1 left", "#3 canceled: Killed, 1 left"]
    );
    assert_eq!(desk.refused(engage(Some(ANN))), RejectReason::Unchanged);
    desk.phase(TradingPhase::Online);
    assert_eq!(
        desk.refuse_order(ANN, buy(1, 99)),
        RejectReason::MemberKilled
    );
    let story = desk.story(engage(None));
    assert_eq!(story[1..], ["#2 canceled: Killed, 1 left"]);
    assert_eq!(
        desk.refuse_order(BOB, buy(1, 99)),
        RejectReason::VenueKilled
    );
    desk.ok(Command::ReleaseKillSwitch { member: None });
    desk.place(BOB, buy(1, 99));
    assert_eq!(
        desk.refuse_order(ANN, buy(1, 99)),
        RejectReason::MemberKilled
    );
    desk.ok(Command::ReleaseKillSwitch { member: Some(ANN) });
    desk.place(ANN, buy(1, 99));
    let release = Command::ReleaseKillSwitch { member: None };
    assert_eq!(desk.refused(release), RejectReason::Unchanged);
}
