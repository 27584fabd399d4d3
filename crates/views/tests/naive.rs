//! The views against the venue itself and against recomputation from the whole event list, and
//! checkpoints against going on without one.

mod support;

use std::collections::BTreeMap;

use everopen_domain::snapshot::AccountOwner;
use everopen_domain::{
    Amount, AssetId, DoneReason, Event, InstrumentId, MemberId, OrderId, Price, Quantity, Side,
    Timestamp, TransferId,
};
use everopen_views::{
    Config, FillFilter, Granularity, LedgerKind, Liquidity, OrderFilter, OrderStatus,
    OwnedCheckpoint, Page, StatusSet, TransferStatus, Views,
};
use proptest::prelude::*;
use support::{Entry, Flow, INSTRUMENTS, MEMBERS};

const ALL: Page = Page {
    before: None,
    after: None,
    limit: u32::MAX,
};

fn apply(views: &mut Views, entries: &[Entry]) {
    for entry in entries {
        views.advance(entry.index, entry.time);
        for event in &entry.events {
            views.apply(entry.index, entry.time, event);
        }
    }
}

fn run(seed: u64, steps: usize, step_max: u64) -> (Flow, Vec<Entry>) {
    let (mut flow, mut entries) = Flow::new(seed);
    flow.step_max = step_max;
    entries.extend((0..steps).map(|_| flow.step()));
    (flow, entries)
}

/// All events with their times.
fn events(entries: &[Entry]) -> impl DoubleEndedIterator<Item = (Timestamp, &Event)> {
    entries
        .iter()
        .flat_map(|entry| entry.events.iter().map(move |event| (entry.time, event)))
}

/// Books, open orders, accounts and fees are the venue's.
fn same_as_venue(views: &Views, flow: &Flow) {
    let snapshot = flow.venue.snapshot();
    for (at, market) in snapshot.instruments.iter().enumerate() {
        let id = InstrumentId(at as u32);
        let book = views.book(id).unwrap();
        assert_eq!(book.sequence(), market.sequence);
        let product = views.product(id).unwrap();
        assert_eq!(product.phase, market.phase);
        assert_eq!(product.instrument, market.instrument);
        let last = views.last_trade(id).map(|t| (t.trade, t.price));
        assert_eq!(
            last.unwrap_or_default(),
            (market.last_trade, market.last_price)
        );
        for (side, orders) in [(Side::Buy, &market.bids), (Side::Sell, &market.asks)] {
            let seen: Vec<_> = book
                .orders(side)
                .map(|o| (o.order, o.member, o.price, o.visible))
                .collect();
            let expected: Vec<_> = orders
                .iter()
                .map(|o| (o.order, o.member, o.details.price, o.visible))
                .collect();
            assert_eq!(seen, expected, "queue of {side:?}");
            let mut levels: BTreeMap<Price, (u128, u32)> = BTreeMap::new();
            for order in orders {
                let level = levels.entry(order.details.price).or_default();
                level.0 += u128::from(order.visible.0);
                level.1 += 1;
            }
            let mut expected: Vec<_> = levels.into_iter().collect();
            if side == Side::Buy {
                expected.reverse();
            }
            let seen: Vec<_> = book
                .levels(side)
                .map(|l| (l.price, (l.visible, l.orders)))
                .collect();
            assert_eq!(seen, expected);
        }
        let resting = market
            .bids
            .iter()
            .chain(&market.asks)
            .map(|o| (o, OrderStatus::Open));
        let waiting = market.stops.iter().map(|o| (o, OrderStatus::Active));
        for (order, status) in resting.chain(waiting) {
            let view = views.order(order.member, order.order).unwrap();
            assert_eq!(view.status, status);
            assert_eq!(view.details.price, order.details.price);
            assert_eq!(view.details.size, order.details.size);
            assert_eq!(view.created_at, order.accepted_at);
            assert_eq!(view.hold, order.hold, "{view:?}");
            assert_eq!(view.maker_rate, order.maker_rate);
            if status == OrderStatus::Open {
                assert_eq!(view.remaining, order.remaining);
                assert_eq!(view.filled.0 + view.remaining.0, view.details.size.0);
            }
        }
    }
    for account in &snapshot.accounts {
        if let AccountOwner::Member(member) = account.owner {
            let view = views.account(member, account.asset).unwrap();
            assert_eq!(
                (view.available, view.held),
                (account.available, account.held)
            );
            // The entries' running balance is the account's: none is missing or wrong.
            let last = views.ledger_entries(member, account.asset, ALL).next();
            assert_eq!(last.map_or(0, |e| e.balance.0), view.balance().0);
        }
    }
    for (at, member) in snapshot.members.iter().enumerate() {
        let id = MemberId(at as u32);
        assert_eq!(views.member(id).unwrap().killed, member.killed);
        let today = snapshot.time.day();
        let volume: i128 = member
            .volumes
            .iter()
            .filter(|v| v.asset == AssetId(0))
            .flat_map(|v| {
                v.days
                    .iter()
                    .rev()
                    .enumerate()
                    .map(move |(back, n)| (v.day - back as u32, n))
            })
            .filter(|(day, _)| day + 30 > today)
            .map(|(_, notional)| notional.0)
            .sum();
        assert_eq!(views.fees(id).unwrap().volume, Amount(volume));
    }
}

/// Trades, candles, statistics, orders, fills, entries and transfers are what a look through all
/// events gives.
fn same_as_recomputed(views: &Views, entries: &[Entry]) {
    let now = entries.last().unwrap().time;
    for instrument in (0..INSTRUMENTS).map(InstrumentId) {
        let mut trades = Vec::new();
        for (time, event) in events(entries) {
            if let Event::Traded {
                trade,
                maker_order,
                price,
                quantity,
                ..
            } = *event
                && maker_order.instrument == instrument
            {
                trades.push((trade, time, price, quantity));
            }
        }
        let seen: Vec<_> = views
            .trades(instrument, ALL)
            .map(|t| (t.trade, t.time, t.price, t.size))
            .collect();
        assert_eq!(seen, trades.iter().rev().copied().collect::<Vec<_>>());
        // A page in the middle.
        let page = Page {
            before: Some(3),
            after: Some(9),
            limit: 4,
        };
        let seen: Vec<u64> = views.trades(instrument, page).map(|t| t.trade.0).collect();
        let mut expected: Vec<u64> = trades
            .iter()
            .map(|t| t.0.0)
            .filter(|id| (4..9).contains(id))
            .rev()
            .collect();
        expected.truncate(4);
        assert_eq!(seen, expected);

        for granularity in Granularity::ALL {
            let mut candles: BTreeMap<u64, Vec<(Price, u64)>> = BTreeMap::new();
            for (_, time, price, quantity) in &trades {
                let seconds = time.0 / Timestamp::NANOS_PER_SECOND;
                let start = seconds - seconds % granularity.seconds();
                candles.entry(start).or_default().push((*price, quantity.0));
            }
            let expected: Vec<_> = candles
                .iter()
                .rev()
                .map(|(start, trades)| {
                    (
                        *start,
                        trades.iter().map(|t| t.0).min().unwrap(),
                        trades.iter().map(|t| t.0).max().unwrap(),
                        trades[0].0,
                        trades[trades.len() - 1].0,
                        trades.iter().map(|t| u128::from(t.1)).sum::<u128>(),
                    )
                })
                .collect();
            let seen: Vec<_> = views
                .candles(instrument, granularity, 0, u64::MAX, u32::MAX)
                .map(|c| (c.start, c.low, c.high, c.open, c.close, c.volume))
                .collect();
            assert_eq!(seen, expected, "{granularity:?}");
        }

        let minute = |time: Timestamp| time.0 / Timestamp::NANOS_PER_SECOND / 60;
        let within = |minutes| {
            trades
                .iter()
                .filter(move |t| minute(t.1) + minutes > minute(now))
        };
        let stats = views.stats_24h(instrument).unwrap();
        let last = trades.last().map_or(Price::ZERO, |t| t.2);
        assert_eq!(stats.last, last);
        assert_eq!(stats.high, within(1_440).map(|t| t.2).max().unwrap_or(last));
        assert_eq!(stats.low, within(1_440).map(|t| t.2).min().unwrap_or(last));
        assert_eq!(
            stats.open,
            within(1_440).map(|t| t.2).next().unwrap_or(last)
        );
        let volume = |minutes| within(minutes).map(|t| u128::from(t.3.0)).sum::<u128>();
        assert_eq!(stats.volume, volume(1_440));
        assert_eq!(stats.volume_30d, volume(43_200));
    }
    for member in (0..MEMBERS).map(MemberId) {
        orders_of(views, entries, member);
        money_of(views, entries, member);
    }
}

#[derive(Default, Clone, Copy)]
struct Sums {
    filled: u64,
    value: i128,
    fees: i128,
}

fn orders_of(views: &Views, entries: &[Entry], member: MemberId) {
    let mut accepted = Vec::new();
    let mut done: BTreeMap<OrderId, (DoneReason, Timestamp, Quantity)> = BTreeMap::new();
    let mut sums: BTreeMap<OrderId, Sums> = BTreeMap::new();
    let mut fills = Vec::new();
    for (time, event) in events(entries) {
        match *event {
            Event::OrderAccepted {
                order,
                member: whose,
                details,
                ..
            } if whose == member => {
                accepted.push((order, time, details));
            }
            Event::OrderDone {
                order,
                member: whose,
                reason,
                remaining,
                ..
            } if whose == member => {
                done.insert(order, (reason, time, remaining));
            }
            Event::Traded {
                trade,
                maker_order,
                taker_order,
                maker,
                taker,
                maker_side,
                quantity,
                notional,
                maker_fee,
                taker_fee,
                ..
            } => {
                let sides = [
                    (maker, maker_order, maker_fee, maker_side, Liquidity::Maker),
                    (
                        taker,
                        taker_order,
                        taker_fee,
                        maker_side.opposite(),
                        Liquidity::Taker,
                    ),
                ];
                for (whose, order, fee, side, liquidity) in sides {
                    if whose == member {
                        let sum = sums.entry(order).or_default();
                        sum.filled += quantity.0;
                        sum.value += notional.0;
                        sum.fees += fee.0;
                        fills.push((trade, order, side, fee, liquidity, quantity));
                    }
                }
            }
            _ => {}
        }
    }
    let filter = OrderFilter {
        statuses: StatusSet::ALL,
        page: ALL,
        ..OrderFilter::default()
    };
    let seen: Vec<_> = views.orders(member, &filter).copied().collect();
    assert_eq!(seen.len(), accepted.len());
    for (view, (order, time, details)) in seen.iter().zip(accepted.iter().rev()) {
        assert_eq!((view.order, view.created_at), (*order, *time));
        assert_eq!(view.details.client_order_id, details.client_order_id);
        let sum = sums.get(order).copied().unwrap_or_default();
        assert_eq!(
            (view.filled.0, view.executed_value.0, view.fees.0),
            (sum.filled, sum.value, sum.fees)
        );
        match done.get(order) {
            Some((reason, time, remaining)) => {
                let end = view.done.unwrap();
                assert_eq!(
                    (end.reason, end.at, view.remaining),
                    (*reason, *time, *remaining)
                );
                assert_eq!(view.status, OrderStatus::Done);
            }
            None => assert!(matches!(
                view.status,
                OrderStatus::Open | OrderStatus::Active
            )),
        }
        assert_eq!(views.order(member, *order), Some(view));
        if !details.client_order_id.is_empty() {
            let named = views.order_by_client_id(member, &details.client_order_id);
            assert_eq!(named.map(|o| o.order), Some(*order));
        }
    }
    let live = views.orders(
        member,
        &OrderFilter {
            page: ALL,
            ..OrderFilter::default()
        },
    );
    let expected: Vec<_> = seen.iter().filter(|o| o.done.is_none()).collect();
    assert_eq!(live.collect::<Vec<_>>(), expected);
    // One market's orders of a span of time, a page of them.
    let middle = accepted
        .get(accepted.len() / 2)
        .map_or(Timestamp::ZERO, |o| o.1);
    let filter = OrderFilter {
        product: Some(InstrumentId(1)),
        end: Some(middle),
        page: Page {
            limit: 5,
            ..Page::default()
        },
        ..filter
    };
    let expected: Vec<_> = seen
        .iter()
        .filter(|o| o.details.instrument == InstrumentId(1) && o.created_at < middle)
        .take(5)
        .collect();
    assert_eq!(views.orders(member, &filter).collect::<Vec<_>>(), expected);

    let filter = FillFilter {
        page: ALL,
        ..FillFilter::default()
    };
    let seen: Vec<_> = views
        .fills(member, &filter)
        .map(|f| (f.trade, f.order, f.side, f.fee, f.liquidity, f.size))
        .collect();
    fills.reverse();
    assert_eq!(seen, fills);
    if let Some((_, order, ..)) = fills.first() {
        let filter = FillFilter {
            order: Some(*order),
            ..filter
        };
        let expected = fills.iter().filter(|f| f.1 == *order).count();
        assert_eq!(views.fills(member, &filter).count(), expected);
    }
}

fn money_of(views: &Views, entries: &[Entry], member: MemberId) {
    let mut transfers: BTreeMap<TransferId, (Amount, TransferStatus)> = BTreeMap::new();
    let mut fees = 0;
    for (time, event) in events(entries) {
        let completed = TransferStatus::Completed(time);
        match *event {
            Event::Deposited {
                transfer,
                member: whose,
                amount,
                ..
            } if whose == member => {
                transfers.insert(transfer, (amount, completed));
            }
            Event::Transferred {
                transfer,
                from,
                to,
                amount,
                ..
            } if [from, to].contains(&member) => {
                transfers.insert(transfer, (amount, completed));
            }
            Event::WithdrawalRequested {
                transfer,
                member: whose,
                amount,
                ..
            } if whose == member => {
                transfers.insert(transfer, (amount, TransferStatus::Pending));
            }
            Event::WithdrawalCompleted {
                transfer,
                member: whose,
                ..
            } if whose == member => {
                transfers.get_mut(&transfer).unwrap().1 = completed;
            }
            Event::WithdrawalCanceled {
                transfer,
                member: whose,
                ..
            } if whose == member => {
                transfers.get_mut(&transfer).unwrap().1 = TransferStatus::Canceled(time);
            }
            Event::Traded {
                maker,
                taker,
                maker_fee,
                taker_fee,
                ..
            } => {
                fees += if maker == member { maker_fee.0 } else { 0 };
                fees += if taker == member { taker_fee.0 } else { 0 };
            }
            _ => {}
        }
    }
    let seen: Vec<_> = views
        .transfers(member, ALL, |_| true)
        .map(|t| (t.transfer, (t.amount, t.status)))
        .collect();
    assert_eq!(seen, transfers.into_iter().rev().collect::<Vec<_>>());
    // Entries add up, from nothing to the balance; those of fees to what was charged.
    let mut charged = 0;
    for account in views.accounts(member) {
        let mut balance = account.balance();
        let mut newer = u64::MAX;
        for entry in views.ledger_entries(member, account.asset, ALL) {
            assert!(entry.id < newer);
            newer = entry.id;
            assert_eq!(entry.balance, balance);
            balance = balance.checked_sub(entry.amount).unwrap();
            if matches!(entry.kind, LedgerKind::Fee | LedgerKind::Rebate) {
                charged -= entry.amount.0;
            }
        }
        assert_eq!(balance, Amount::ZERO);
    }
    assert_eq!(charged, fees);
}

fn checkpoint(views: &Views, config: Config) -> Views {
    let bytes = postcard::to_stdvec(&views.to_checkpoint()).unwrap();
    let checkpoint: OwnedCheckpoint = postcard::from_bytes(&bytes).unwrap();
    Views::restore(config, checkpoint)
}

const MINUTE: u64 = 60 * Timestamp::NANOS_PER_SECOND;

fn step_max() -> impl Strategy<Value = u64> {
    // Within seconds, across hours, and across months.
    prop_oneof![Just(MINUTE), Just(120 * MINUTE), Just(3_000 * MINUTE)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn views_agree_with_the_venue_and_with_recomputation(
        seed in any::<u64>(),
        steps in 1usize..500,
        step_max in step_max(),
    ) {
        let (flow, entries) = run(seed, steps, step_max);
        let mut views = Views::new(Config::default());
        apply(&mut views, &entries);
        same_as_venue(&views, &flow);
        same_as_recomputed(&views, &entries);
    }

    #[test]
    fn a_checkpoint_anywhere_and_the_rest_give_the_same_views(
        seed in any::<u64>(),
        steps in 1usize..300,
        cut in any::<prop::sample::Index>(),
        step_max in step_max(),
        tiny in any::<bool>(),
    ) {
        let config = if tiny { TINY } else { Config::default() };
        let (_, entries) = run(seed, steps, step_max);
        let mut whole = Views::new(config);
        apply(&mut whole, &entries);
        let cut = cut.index(entries.len());
        let mut first = Views::new(config);
        apply(&mut first, &entries[..cut]);
        let mut rest = checkpoint(&first, config);
        prop_assert_eq!(&rest, &first);
        apply(&mut rest, &entries[cut..]);
        prop_assert_eq!(rest, whole);
    }

    #[test]
    fn tiny_limits_keep_the_newest_and_nothing_live_is_lost(
        seed in any::<u64>(),
        steps in 100usize..400,
    ) {
        let (flow, entries) = run(seed, steps, 10 * MINUTE);
        let mut all = Views::new(Config::default());
        let mut few = Views::new(TINY);
        apply(&mut all, &entries);
        apply(&mut few, &entries);
        same_as_venue(&few, &flow);
        for id in (0..INSTRUMENTS).map(InstrumentId) {
            let newest: Vec<_> = all.trades(id, ALL).take(3).collect();
            prop_assert_eq!(few.trades(id, ALL).collect::<Vec<_>>(), newest);
            for granularity in Granularity::ALL {
                let kept = if granularity == Granularity::Minute { 4 } else { 2 };
                let newest: Vec<_> =
                    all.candles(id, granularity, 0, u64::MAX, kept).collect();
                let seen: Vec<_> =
                    few.candles(id, granularity, 0, u64::MAX, u32::MAX).collect();
                prop_assert_eq!(seen, newest);
            }
            // Statistics hold for the candles that are kept.
            let volume: u128 = few
                .candles(id, Granularity::Minute, 0, u64::MAX, u32::MAX)
                .filter(|c| c.start / 60 + 1_440 > few.time().0 / MINUTE)
                .map(|c| c.volume)
                .sum();
            prop_assert_eq!(few.stats_24h(id).unwrap().volume, volume);
        }
        for member in (0..MEMBERS).map(MemberId) {
            let filter = OrderFilter {
                statuses: StatusSet::NONE.with(OrderStatus::Done),
                page: ALL,
                ..OrderFilter::default()
            };
            prop_assert!(few.orders(member, &filter).count() <= 5);
            let filter = FillFilter { page: ALL, ..FillFilter::default() };
            let newest: Vec<_> = all.fills(member, &filter).take(3).collect();
            prop_assert_eq!(few.fills(member, &filter).collect::<Vec<_>>(), newest);
            for asset in (0..3).map(AssetId) {
                let newest: Vec<_> = all.ledger_entries(member, asset, ALL).take(2).collect();
                let seen: Vec<_> = few.ledger_entries(member, asset, ALL).collect();
                prop_assert_eq!(seen, newest);
            }
            prop_assert!(few.transfers(member, ALL, |_| true).count() <= 2);
        }
    }
}

const TINY: Config = Config {
    trades_per_instrument: 3,
    ended_orders_per_member: 5,
    fills_per_member: 3,
    ledger_entries_per_account: 2,
    transfers_per_member: 2,
    minute_candles: 4,
    larger_candles: 2,
};

#[test]
fn a_checkpoint_of_another_format_is_refused() {
    let views = Views::new(Config::default());
    let mut bytes = postcard::to_stdvec(&views.to_checkpoint()).unwrap();
    bytes[0] += 1;
    let error = postcard::from_bytes::<OwnedCheckpoint>(&bytes);
    assert!(error.is_err());
}

#[test]
fn products_are_found_by_dash_and_slash() {
    let (_, entries) = Flow::new(1);
    let mut views = Views::new(Config::default());
    apply(&mut views, &entries);
    for symbol in ["BTC-USD", "BTC/USD"] {
        assert_eq!(views.product_by_symbol(symbol).unwrap().id, InstrumentId(0));
    }
    for symbol in ["BTC_USD", "BTC", "", "/", "BTC/USD/", "btc-usd"] {
        assert!(views.product_by_symbol(symbol).is_none(), "{symbol}");
    }
    // Every asset has an account, whether or not it was ever touched.
    assert_eq!(views.accounts(MemberId(0)).count(), 3);
    assert_eq!(views.accounts(MemberId(99)).count(), 0);
    assert_eq!(views.member_by_code("member-2"), Some(MemberId(2)));
}

/// The properties above say little if the random flow never does what they are about.
#[test]
fn the_random_flow_does_everything() {
    let (_, entries) = run(7, 6_000, MINUTE);
    let count = |what: fn(&Event) -> bool| events(&entries).filter(|(_, e)| what(e)).count();
    let kinds: [(&str, usize); 12] = [
        (
            "trades",
            count(|e| matches!(e, Event::Traded { auction: false, .. })),
        ),
        (
            "auction trades",
            count(|e| matches!(e, Event::Traded { auction: true, .. })),
        ),
        (
            "iceberg peaks that trade",
            count(|e| {
                matches!(e, Event::Traded { maker_remaining, maker_visible, .. }
                    if maker_visible < maker_remaining)
            }),
        ),
        (
            "triggers",
            count(|e| matches!(e, Event::OrderTriggered { .. })),
        ),
        (
            "stops that never triggered",
            count(|e| matches!(e, Event::OrderDone { sequence: 0, .. })),
        ),
        (
            "amendments in place",
            count(|e| {
                matches!(
                    e,
                    Event::OrderAmended {
                        kept_priority: true,
                        ..
                    }
                )
            }),
        ),
        (
            "amendments that requeue",
            count(|e| {
                matches!(
                    e,
                    Event::OrderAmended {
                        kept_priority: false,
                        self_trade: false,
                        ..
                    }
                )
            }),
        ),
        (
            "self-trade decreases of makers",
            count(|e| {
                matches!(
                    e,
                    Event::OrderAmended {
                        kept_priority: true,
                        self_trade: true,
                        ..
                    }
                )
            }),
        ),
        (
            "self-trade decreases of takers",
            count(|e| {
                matches!(
                    e,
                    Event::OrderAmended {
                        kept_priority: false,
                        self_trade: true,
                        ..
                    }
                )
            }),
        ),
        (
            "self trades",
            count(|e| matches!(e, Event::Traded { maker, taker, .. } if maker == taker)),
        ),
        (
            "rebates",
            count(|e| matches!(e, Event::Traded { maker_fee, .. } if maker_fee.0 < 0)),
        ),
        (
            "indications",
            count(|e| matches!(e, Event::AuctionIndicated { .. })),
        ),
    ];
    for (kind, times) in kinds {
        assert!(times >= 10, "{kind}: {times}");
    }
}
