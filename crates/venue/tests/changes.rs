//! Stories of orders that are amended, replaced and canceled, and of ids used twice.

mod support;

use everopen_domain::*;
use support::*;

#[test]
fn a_smaller_size_keeps_its_turn() {
    let mut desk = Desk::plain();
    let first = desk.id(ANN, buy(5, 100));
    desk.place(BOB, buy(5, 100));
    let amendment = desk.amend(ANN, first, 0, 3);
    assert_eq!(
        desk.story(amendment),
        ["#1 amended: 3 @ 100, shows 3 of 3, hold 300, keeps its turn"]
    );
    assert_eq!(desk.money(ANN, USD), (999_700, 300));
    let (_, story) = desk.place(CAT, sell(4, 100));
    assert_eq!(
        story[1..4],
        [
            "#3 takes 3 @ 100 from #1",
            "#1 filled",
            "#3 takes 1 @ 100 from #2"
        ]
    );
}

#[test]
fn a_new_price_or_a_larger_size_loses_its_turn() {
    let mut desk = Desk::plain();
    let first = desk.id(ANN, buy(5, 100));
    desk.place(BOB, buy(5, 100));
    let amendment = desk.amend(ANN, first, 100, 6);
    assert_eq!(
        desk.story(amendment),
        [
            "#1 amended: 6 @ 100, shows 0 of 6, hold 600, leaves",
            "#1 rests: buy 6 @ 100"
        ]
    );
    let (_, story) = desk.place(CAT, sell(1, 100));
    assert_eq!(story[1], "#3 takes 1 @ 100 from #2");
    let amendment = desk.amend(ANN, first, 99, 0);
    assert_eq!(desk.story(amendment)[1], "#1 rests: buy 6 @ 99");
    assert_eq!(desk.hold(first), 594);
}

#[test]
fn an_amendment_may_take_at_once_and_pays_as_a_taker() {
    let mut desk = Desk::new(free_limits(), &[(0, 1_000, 20_000)]);
    desk.place(ANN, sell(2, 105));
    let id = desk.id(BOB, buy(5, 100));
    assert_eq!(
        desk.hold(id),
        501,
        "a resting order holds for a maker's fee"
    );
    let amendment = desk.amend(BOB, id, 105, 0);
    assert_eq!(
        desk.story(amendment),
        [
            "#2 amended: 5 @ 105, shows 0 of 5, hold 536, leaves",
            "#2 takes 2 @ 105 from #1, fees 1 and 5",
            "#1 filled",
            "#2 rests: buy 3 @ 105",
        ]
    );
    // 4.2 was charged as 5, so 0.8 is ahead: 315 + 0.315 needs no more.
    assert_eq!(desk.hold(id), 315);
}

#[test]
fn sizes_of_amendments_are_totals() {
    let mut desk = Desk::plain();
    let id = desk.id(ANN, buy(5, 100));
    desk.place(BOB, sell(2, 100));
    let amendment = desk.amend(ANN, id, 0, 2);
    assert_eq!(desk.refused(amendment), RejectReason::AmendSizeFilled);
    let amendment = desk.amend(ANN, id, 0, 3);
    assert_eq!(
        desk.story(amendment),
        ["#1 amended: 3 @ 100, shows 1 of 1, hold 100, keeps its turn"]
    );
}

#[test]
fn an_iceberg_shrinks_its_hidden_part_first() {
    let mut desk = Desk::plain();
    let id = desk.id(ANN, buy(10, 100).peak(4));
    for (size, shows) in [(7, "4 of 7"), (3, "3 of 3"), (1, "1 of 1")] {
        let amendment = desk.amend(ANN, id, 0, size);
        assert!(desk.story(amendment)[0].contains(&format!("shows {shows}")));
    }
}

#[test]
fn a_waiting_stop_can_be_amended_unseen() {
    let mut desk = Desk::plain();
    let id = desk.id(ANN, buy(5, 100).stop(StopDirection::Entry, 90));
    let amendment = desk.amend(ANN, id, 110, 6);
    assert_eq!(
        desk.story(amendment),
        ["#1 amended: 6 @ 110, shows 0 of 6, hold 660, keeps its turn"]
    );
    assert_eq!(desk.venue.sequence(XBT), Some(0));
    let sell_stop = market(Side::Sell, 0, 500).stop(StopDirection::Loss, 50);
    let id = desk.id(BOB, sell_stop);
    let amendment = desk.amend(BOB, id, 0, 5);
    assert_eq!(desk.refused(amendment), RejectReason::AmendNotAllowed);
    let amendment = desk.amend(BOB, id, 50, 0);
    assert_eq!(desk.refused(amendment), RejectReason::PriceNotAllowed);
}

#[test]
fn a_refused_amendment_leaves_the_order_untouched() {
    let limits = InstrumentLimits {
        tick: Price(5),
        lot: Quantity(2),
        min_size: Quantity(4),
        max_size: Quantity(100),
        min_notional: Amount(300),
        max_notional: Amount(5_000),
        price_band: Rate(500_000),
        ..free_limits()
    };
    let mut desk = Desk::new(limits, &[(0, 0, 0)]);
    desk.ok(Command::SetReferencePrice {
        instrument: XBT,
        price: Price(100),
    });
    let id = desk.id(ANN, buy(10, 100));
    for (price, size, reason) in [
        (0, 0, RejectReason::AmendUnchanged),
        (100, 10, RejectReason::AmendUnchanged),
        (101, 0, RejectReason::PriceOffTick),
        (u64::MAX, 0, RejectReason::PriceTooLarge),
        (155, 0, RejectReason::PriceOutOfBand),
        (0, 11, RejectReason::SizeOffLot),
        (0, 2, RejectReason::SizeTooSmall),
        (0, 102, RejectReason::SizeTooLarge),
        (10, 0, RejectReason::NotionalTooSmall),
        (0, 60, RejectReason::NotionalTooLarge),
    ] {
        let amendment = desk.amend(ANN, id, price, size);
        assert_eq!(desk.refused(amendment), reason, "{price} {size}");
    }
    let amendment = desk.amend(BOB, id, 95, 0);
    assert_eq!(desk.refused(amendment), RejectReason::OrderNotFound);
    let amendment = desk.amend(MemberId(9), id, 95, 0);
    assert_eq!(desk.refused(amendment), RejectReason::UnknownMember);
    let all = desk.money(ANN, USD).0;
    let reference = Text::EMPTY;
    desk.ok(Command::Transfer {
        from: ANN,
        to: BOB,
        asset: USD,
        amount: Amount(all),
        reference,
    });
    let amendment = desk.amend(ANN, id, 105, 0);
    assert_eq!(desk.refused(amendment), RejectReason::InsufficientFunds);
}

#[test]
fn a_replace_is_checked_with_the_old_orders_hold_and_id_free() {
    let mut desk = Desk::plain();
    desk.place(ANN, buy(10_000, 100).oid("a"));
    assert_eq!(desk.money(ANN, USD), (0, 1_000_000));
    let replace = |order| Command::ReplaceOrder {
        member: ANN,
        target: OrderTarget::Client(text("a")),
        order,
    };
    assert_eq!(
        desk.refused(replace(buy(10_001, 100))),
        RejectReason::InsufficientFunds
    );
    assert_eq!(
        desk.refused(replace(sell(1, 100))),
        RejectReason::OrderInvalid
    );
    assert_eq!(desk.refused(replace(buy(1, 0))), RejectReason::PriceMissing);
    assert_eq!(
        desk.story(replace(buy(5_000, 200).oid("a"))),
        [
            "#1 canceled: Replaced, 10000 left",
            "#2 ann accepted, hold 1000000",
            "#2 rests: buy 5000 @ 200",
        ]
    );
    let cancel = Command::CancelOrder {
        member: ANN,
        target: OrderTarget::Client(text("a")),
    };
    assert_eq!(desk.story(cancel), ["#2 canceled: Requested, 5000 left"]);
    assert_eq!(
        desk.refused(replace(buy(1, 1))),
        RejectReason::OrderNotFound
    );
    assert_eq!(desk.refused(cancel), RejectReason::OrderNotFound);
}

#[test]
fn a_replace_needs_no_room_beside_the_old_order() {
    let mut desk = Desk::plain();
    let limits = MemberLimits {
        max_open_orders: 1,
        ..MemberLimits::default()
    };
    desk.ok(Command::SetMemberLimits {
        member: ANN,
        limits,
    });
    let id = desk.id(ANN, buy(1, 100));
    assert_eq!(
        desk.refuse_order(ANN, buy(1, 100)),
        RejectReason::TooManyOpenOrders
    );
    // What does not stay needs no room.
    desk.place(ANN, buy(1, 100).tif(TimeInForce::ImmediateOrCancel));
    desk.ok(Command::ReplaceOrder {
        member: ANN,
        target: OrderTarget::Order(id),
        order: buy(1, 101),
    });
    desk.place(BOB, buy(1, 100));
}

#[test]
fn client_order_ids_are_refused_while_open_and_for_a_while_after() {
    let mut desk = Desk::plain();
    let id = desk.id(ANN, buy(1, 100).oid("x"));
    assert_eq!(
        desk.refuse_order(ANN, buy(1, 100).oid("x")),
        RejectReason::DuplicateClientOrderId
    );
    desk.place(BOB, buy(1, 100).oid("x"));
    desk.cancel(ANN, id);
    assert_eq!(
        desk.refuse_order(ANN, buy(1, 100).oid("x")),
        RejectReason::DuplicateClientOrderId
    );
    // A refused order used no id.
    assert_eq!(
        desk.refuse_order(ANN, buy(0, 100).oid("y")),
        RejectReason::SizeMissing
    );
    desk.place(ANN, buy(1, 100).oid("y"));
}

#[test]
fn cancels_name_their_order_or_are_refused() {
    let mut desk = Desk::plain();
    let id = desk.id(ANN, buy(1, 100).oid("x"));
    let cancel = |member, target| Command::CancelOrder { member, target };
    for (member, target, reason) in [
        (BOB, OrderTarget::Order(id), RejectReason::OrderNotFound),
        (
            BOB,
            OrderTarget::Client(text("x")),
            RejectReason::OrderNotFound,
        ),
        (
            ANN,
            OrderTarget::Client(Text::EMPTY),
            RejectReason::CancelTargetMissing,
        ),
        (
            ANN,
            OrderTarget::Order(OrderId::default()),
            RejectReason::OrderNotFound,
        ),
        (
            ANN,
            OrderTarget::Order(OrderId {
                instrument: InstrumentId(7),
                ..id
            }),
            RejectReason::OrderNotFound,
        ),
        (
            ANN,
            OrderTarget::Order(OrderId { slot: 99, ..id }),
            RejectReason::OrderNotFound,
        ),
        (
            MemberId(9),
            OrderTarget::Order(id),
            RejectReason::UnknownMember,
        ),
    ] {
        assert_eq!(desk.refused(cancel(member, target)), reason);
    }
    // The slot is used again by another order, which the old id does not name.
    desk.cancel(ANN, id);
    let other = desk.id(ANN, buy(1, 100));
    assert_eq!(other.slot, id.slot);
    assert_eq!(
        desk.refused(cancel(ANN, OrderTarget::Order(id))),
        RejectReason::OrderNotFound
    );
}

#[test]
fn all_orders_are_canceled_oldest_first() {
    let mut desk = Desk::plain();
    desk.place(ANN, buy(1, 99));
    desk.place(BOB, buy(1, 100));
    desk.place(ANN, sell(1, 150).stop(StopDirection::Loss, 10));
    desk.place(ANN, buy(1, 101));
    let reason = CancelReason::Disconnected;
    let story = desk.story(Command::CancelOrders {
        member: ANN,
        instrument: None,
        reason,
    });
    assert_eq!(
        story,
        [
            "#1 canceled: Disconnected, 1 left",
            "#3 canceled: Disconnected, 1 left",
            "#4 canceled: Disconnected, 1 left",
        ]
    );
    let again = Command::CancelOrders {
        member: ANN,
        instrument: Some(XBT),
        reason,
    };
    assert_eq!(desk.story(again), [""; 0]);
    let reason = CancelReason::Expired;
    let wrong = Command::CancelOrders {
        member: ANN,
        instrument: None,
        reason,
    };
    assert_eq!(desk.refused(wrong), RejectReason::OrderInvalid);
}
