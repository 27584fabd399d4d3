//! The views against the venue itself.

use std::collections::BTreeMap;

use everopen_domain::snapshot::AccountOwner;
use everopen_domain::{Amount, AssetId, InstrumentId, MemberId, Price, Side};
use everopen_views::{OrderStatus, Views};

use crate::ALL;
use crate::support::Flow;

/// Books, open orders, accounts and fees are the venue's.
pub fn same_as_venue(views: &Views, flow: &Flow) {
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
