//! One line per refusal: orders, money and administration.

mod support;

use everopen_domain::*;
use support::*;

#[test]
fn orders_that_contradict_themselves_or_their_instrument_are_refused() {
    use RejectReason::*;
    let limits = InstrumentLimits {
        tick: Price(5),
        lot: Quantity(2),
        min_size: Quantity(4),
        max_size: Quantity(100),
        min_notional: Amount(300),
        max_notional: Amount(5_000),
        ..free_limits()
    };
    let mut desk = Desk::new(limits, &[(0, 0, 0)]);
    let far = desk.now + 1_000_000;
    let limit = buy(10, 100);
    let by_funds = market(Side::Buy, 0, 500);
    let ioc = TimeInForce::ImmediateOrCancel;
    let fok = TimeInForce::FillOrKill;
    for (order, reason) in [
        (
            NewOrder {
                instrument: InstrumentId(1),
                ..limit
            },
            UnknownInstrument,
        ),
        (buy(10, 0), PriceMissing),
        (buy(10, 101), PriceOffTick),
        (buy(10, (1 << 62) + 1), PriceTooLarge),
        (buy(0, 100), SizeMissing),
        (buy(2, 100), SizeTooSmall),
        (buy(102, 100), SizeTooLarge),
        (buy(u64::MAX, 100), SizeTooLarge),
        (buy(11, 100), SizeOffLot),
        (buy(4, 70), NotionalTooSmall),
        (buy(52, 100), NotionalTooLarge),
        (
            NewOrder {
                funds: Amount(1),
                ..limit
            },
            FundsNotAllowed,
        ),
        (limit.until(0), ExpiryInvalid),
        (limit.until(1), ExpiryInvalid),
        (
            NewOrder {
                expires_at: Timestamp(far),
                ..limit
            },
            ExpiryInvalid,
        ),
        (limit.post().tif(ioc), PostOnlyInvalid),
        (limit.post().tif(fok), PostOnlyInvalid),
        (limit.peak(3), DisplaySizeInvalid),
        (limit.peak(10), DisplaySizeInvalid),
        (limit.peak(2).tif(ioc), DisplaySizeInvalid),
        (limit.stop(StopDirection::Loss, 0), StopPriceInvalid),
        (limit.stop(StopDirection::Loss, 101), StopPriceInvalid),
        (limit.stop(StopDirection::Loss, u64::MAX), StopPriceInvalid),
        (limit.stp(SelfTradePrevention::Allow), SelfTradeNotAllowed),
        (market(Side::Buy, 0, 0), SizeMissing),
        (market(Side::Buy, 0, -1), FundsInvalid),
        (market(Side::Buy, 0, i128::MAX), Overflow),
        (market(Side::Buy, 0, 299), NotionalTooSmall),
        (market(Side::Buy, 0, 5_001), NotionalTooLarge),
        (market(Side::Buy, 5, 0), SizeOffLot),
        (
            NewOrder {
                price: Price(100),
                ..by_funds
            },
            PriceNotAllowed,
        ),
        (by_funds.post(), PostOnlyInvalid),
        (by_funds.peak(2), DisplaySizeInvalid),
        (by_funds.tif(fok), OrderInvalid),
        (by_funds.until(far), OrderInvalid),
        (by_funds, NoLiquidity),
        (
            market(Side::Buy, 4, 0).stop(StopDirection::Entry, 100),
            StopFundsRequired,
        ),
    ] {
        assert_eq!(desk.refuse_order(ANN, order), reason, "{order:?}");
    }
    assert_eq!(desk.refuse_order(MemberId(7), limit), UnknownMember);
    desk.place(ANN, limit.until(far));
    desk.place(ANN, limit.peak(2));
}

#[test]
fn amounts_past_the_range_are_refused() {
    let limits = InstrumentLimits {
        max_size: Quantity::MAX,
        ..free_limits()
    };
    let mut desk = Desk::with_decimals(limits, &[(0, 0, 1)], 18);
    let huge = buy(1 << 62, 1 << 62);
    assert_eq!(desk.refuse_order(ANN, huge), RejectReason::Overflow);
    assert_eq!(
        desk.refuse_order(ANN, buy(1 << 30, 1 << 20)),
        RejectReason::InsufficientFunds
    );
    assert_eq!(
        desk.refuse_order(ANN, sell(1 << 50, 1)),
        RejectReason::InsufficientFunds
    );
}

#[test]
fn limits_of_members_bind_on_top_of_the_instruments() {
    let mut desk = Desk::plain();
    let limits = OrderLimits {
        max_size: Quantity(10),
        max_notional: Amount(500),
    };
    desk.ok(Command::SetOrderLimits {
        member: ANN,
        instrument: XBT,
        limits,
    });
    assert_eq!(
        desk.refuse_order(ANN, buy(11, 1)),
        RejectReason::MemberSizeLimit
    );
    assert_eq!(
        desk.refuse_order(ANN, buy(10, 51)),
        RejectReason::MemberNotionalLimit
    );
    desk.place(ANN, buy(10, 50));
    desk.place(BOB, sell(20, 60));
    let by_size = market(Side::Buy, 10, 0);
    assert_eq!(
        desk.refuse_order(ANN, by_size),
        RejectReason::MemberNotionalLimit
    );
    assert_eq!(
        desk.refuse_order(ANN, market(Side::Buy, 0, 501)),
        RejectReason::MemberNotionalLimit
    );
    desk.place(BOB, buy(11, 1));
}

#[test]
fn messages_beyond_the_rate_are_refused_but_cancels_never_are() {
    let mut desk = Desk::plain();
    let id = desk.id(ANN, buy(1, 1));
    let limits = MemberLimits {
        message_rate: 1,
        message_burst: 2,
        ..MemberLimits::default()
    };
    desk.ok(Command::SetMemberLimits {
        member: ANN,
        limits,
    });
    desk.place(ANN, buy(1, 1));
    desk.place(ANN, buy(1, 1));
    assert_eq!(desk.refuse_order(ANN, buy(1, 1)), RejectReason::RateLimited);
    let amendment = desk.amend(ANN, id, 2, 0);
    assert_eq!(desk.refused(amendment), RejectReason::RateLimited);
    assert_eq!(desk.cancel(ANN, id), ["#1 canceled: Requested, 1 left"]);
    desk.place(BOB, buy(1, 1));
    // A second later there is one message, which a cancel uses up.
    desk.run_at(desk.now + 1_000_000_000, Command::Tick);
    let wrong = OrderTarget::Order(id);
    assert_eq!(
        desk.refused(Command::CancelOrder {
            member: ANN,
            target: wrong
        }),
        RejectReason::OrderNotFound
    );
    assert_eq!(desk.refuse_order(ANN, buy(1, 1)), RejectReason::RateLimited);
    desk.run_at(desk.now + 1_000_000_000, Command::Tick);
    desk.place(ANN, buy(1, 1));
}

#[test]
fn money_moves_once_and_only_where_it_is() {
    use RejectReason::*;
    let mut desk = Desk::plain();
    let amount = Amount(400);
    let reference = text("r1");
    let withdraw = |reference, amount, destination: &str| Command::RequestWithdrawal {
        member: ANN,
        asset: USD,
        amount,
        reference,
        destination: text(destination),
    };
    let events = desk.ok(withdraw(reference, amount, "iban"));
    let Event::WithdrawalRequested { transfer, .. } = events[0] else {
        panic!("{events:?}")
    };
    assert_eq!(desk.money(ANN, USD), (999_600, 400));
    assert_eq!(
        desk.refused(withdraw(reference, amount, "iban")),
        DuplicateReference
    );
    assert_eq!(
        desk.refused(withdraw(Text::EMPTY, amount, "")),
        DestinationMissing
    );
    assert_eq!(
        desk.refused(withdraw(Text::EMPTY, Amount(0), "iban")),
        AmountInvalid
    );
    assert_eq!(
        desk.refused(withdraw(Text::EMPTY, Amount(999_601), "iban")),
        InsufficientFunds
    );
    desk.ok(Command::CompleteWithdrawal { transfer });
    assert_eq!(desk.money(ANN, USD), (999_600, 0));
    assert_eq!(
        desk.refused(Command::CompleteWithdrawal { transfer }),
        TransferDone
    );
    assert_eq!(
        desk.refused(Command::CancelWithdrawal { transfer }),
        TransferDone
    );
    let transfer = TransferId(99);
    assert_eq!(
        desk.refused(Command::CancelWithdrawal { transfer }),
        UnknownTransfer
    );
    let events = desk.ok(withdraw(Text::EMPTY, amount, "iban"));
    let Event::WithdrawalRequested { transfer, .. } = events[0] else {
        panic!("{events:?}")
    };
    desk.ok(Command::CancelWithdrawal { transfer });
    assert_eq!(desk.money(ANN, USD), (999_600, 0));

    let deposit = |member, asset, amount| Command::Deposit {
        member,
        asset,
        amount,
        reference,
    };
    assert_eq!(desk.refused(deposit(ANN, USD, amount)), DuplicateReference);
    assert_eq!(
        desk.refused(deposit(MemberId(9), USD, amount)),
        UnknownMember
    );
    assert_eq!(desk.refused(deposit(BOB, AssetId(9), amount)), UnknownAsset);
    assert_eq!(desk.refused(deposit(BOB, USD, Amount(-1))), AmountInvalid);
    assert_eq!(desk.refused(deposit(BOB, USD, Amount(i128::MAX))), Overflow);
    desk.ok(deposit(BOB, USD, amount));

    let transfer = |from, to, amount| Command::Transfer {
        from,
        to,
        asset: USD,
        amount,
        reference: Text::EMPTY,
    };
    assert_eq!(desk.refused(transfer(ANN, ANN, amount)), SameMember);
    assert_eq!(
        desk.refused(transfer(ANN, MemberId(9), amount)),
        UnknownMember
    );
    assert_eq!(
        desk.refused(transfer(ANN, BOB, Amount(1_000_000))),
        InsufficientFunds
    );
    desk.ok(transfer(ANN, BOB, amount));
    assert_eq!(desk.money(BOB, USD), (1_000_800, 0));
}

#[test]
fn money_held_for_orders_cannot_leave() {
    let mut desk = Desk::plain();
    desk.place(ANN, buy(10_000, 100));
    let reference = Text::EMPTY;
    let amount = Amount(1);
    let transfer = Command::Transfer {
        from: ANN,
        to: BOB,
        asset: USD,
        amount,
        reference,
    };
    assert_eq!(desk.refused(transfer), RejectReason::InsufficientFunds);
    assert_eq!(
        desk.refuse_order(ANN, buy(1, 1)),
        RejectReason::InsufficientFunds
    );
}

#[test]
fn administration_refuses_what_does_not_fit() {
    use RejectReason::*;
    let mut desk = Desk::plain();
    let asset = |code: &str, decimals| Command::AddAsset {
        code: text(code),
        decimals,
    };
    assert_eq!(desk.refused(asset("USD", 2)), AssetCodeTaken);
    assert_eq!(desk.refused(asset("", 2)), AssetCodeTaken);
    assert_eq!(desk.refused(asset("X", 19)), DecimalsInvalid);
    desk.ok(asset("CENT", 2));
    let cent = AssetId(2);
    let good = Instrument {
        base: BTC,
        quote: cent,
        limits: free_limits(),
        ..Default::default()
    };
    let add = |instrument| Command::AddInstrument { instrument };
    for (instrument, reason) in [
        (
            Instrument {
                base: AssetId(9),
                ..good
            },
            UnknownAsset,
        ),
        (Instrument { quote: BTC, ..good }, InstrumentInvalid),
        (Instrument { quote: USD, ..good }, InstrumentTaken),
        (
            Instrument {
                price_decimals: 3,
                ..good
            },
            InstrumentInexact,
        ),
        (
            Instrument {
                price_decimals: 2,
                size_decimals: 1,
                ..good
            },
            InstrumentInexact,
        ),
        (
            Instrument {
                price_decimals: 200,
                size_decimals: 100,
                ..good
            },
            DecimalsInvalid,
        ),
    ] {
        assert_eq!(desk.refused(add(instrument)), reason, "{instrument:?}");
    }
    let rules = free_limits();
    for (limits, reason) in [
        (
            InstrumentLimits {
                tick: Price(0),
                ..rules
            },
            InstrumentInvalid,
        ),
        (
            InstrumentLimits {
                lot: Quantity(0),
                ..rules
            },
            InstrumentInvalid,
        ),
        (
            InstrumentLimits {
                min_size: Quantity(2_000_000),
                ..rules
            },
            InstrumentInvalid,
        ),
        (
            InstrumentLimits {
                max_size: Quantity(u64::MAX),
                ..rules
            },
            InstrumentInvalid,
        ),
        (
            InstrumentLimits {
                min_notional: Amount(-1),
                ..rules
            },
            InstrumentInvalid,
        ),
        (
            InstrumentLimits {
                min_notional: Amount(2),
                max_notional: Amount(1),
                ..rules
            },
            InstrumentInvalid,
        ),
        (
            InstrumentLimits {
                price_band: Rate(-1),
                ..rules
            },
            InstrumentInvalid,
        ),
        (
            InstrumentLimits {
                fee_schedule: FeeScheduleId(9),
                ..rules
            },
            UnknownFeeSchedule,
        ),
    ] {
        assert_eq!(
            desk.refused(add(Instrument { limits, ..good })),
            reason,
            "{limits:?}"
        );
        let amend = Command::AmendInstrument {
            instrument: XBT,
            limits,
        };
        assert_eq!(desk.refused(amend), reason, "{limits:?}");
    }
    let amend = |instrument| Command::AmendInstrument {
        instrument,
        limits: rules,
    };
    assert_eq!(desk.refused(amend(XBT)), Unchanged);
    assert_eq!(desk.refused(amend(InstrumentId(1))), UnknownInstrument);
    desk.ok(add(good));

    let schedule = FeeScheduleId(1);
    for (tiers, reason) in [
        (tiers(&[(1, 0, 0)]), FeeScheduleInvalid),
        (tiers(&[(0, 0, 0), (0, 0, 0)]), FeeScheduleInvalid),
        (tiers(&[(0, -2, 1)]), FeeScheduleInvalid),
        // A rebate of one step that the taker's fee of another does not pay for.
        (
            tiers(&[(0, 0, 5), (9, -2, 1), (10, -2, 2)]),
            FeeScheduleInvalid,
        ),
        (tiers(&[(0, 0, -1)]), FeeScheduleInvalid),
        (tiers(&[(0, 0, 1_000_001)]), FeeScheduleInvalid),
        (
            FeeTiers {
                len: 0,
                ..tiers(&[(0, 0, 0)])
            },
            FeeScheduleInvalid,
        ),
        (
            FeeTiers {
                len: 200,
                ..tiers(&[(0, 0, 0)])
            },
            FeeScheduleInvalid,
        ),
        (
            FeeTiers {
                volume_asset: AssetId(9),
                ..tiers(&[(0, 0, 0)])
            },
            UnknownAsset,
        ),
    ] {
        assert_eq!(
            desk.refused(Command::SetFeeSchedule { schedule, tiers }),
            reason,
            "{tiers:?}"
        );
    }
    for code in ["ann", ""] {
        assert_eq!(
            desk.refused(Command::AddMember { code: text(code) }),
            MemberCodeTaken
        );
    }
    let limits = MemberLimits {
        message_rate: 5,
        ..MemberLimits::default()
    };
    assert_eq!(
        desk.refused(Command::SetMemberLimits {
            member: ANN,
            limits
        }),
        LimitsInvalid
    );
    let limits = OrderLimits {
        max_notional: Amount(-1),
        ..OrderLimits::default()
    };
    let set = Command::SetOrderLimits {
        member: ANN,
        instrument: XBT,
        limits,
    };
    assert_eq!(desk.refused(set), LimitsInvalid);
    for price in [Price(0), Price(u64::MAX)] {
        let set = Command::SetReferencePrice {
            instrument: XBT,
            price,
        };
        assert_eq!(desk.refused(set), ReferencePriceInvalid);
    }
}
