//! The views against a look through the whole event list.

use std::collections::BTreeMap;

use everopen_domain::{
    Amount, DoneReason, Event, InstrumentId, MemberId, OrderId, Price, Quantity, Timestamp,
    TransferId,
};
use everopen_views::{
    FillFilter, Granularity, LedgerKind, Liquidity, OrderFilter, OrderStatus, Page, StatusSet,
    TransferStatus, Views,
};

use crate::support::{Entry, INSTRUMENTS, MEMBERS};
use crate::{ALL, events};

/// Trades, candles, statistics, orders, fills, entries and transfers are what a look through all
/// events gives.
pub fn same_as_recomputed(views: &Views, entries: &[Entry]) {
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
