//! The audit of the whole state, for tests.

use alloc::collections::BTreeMap;

use everopen_domain::snapshot::AccountOwner;
use everopen_domain::{AssetId, OrderId, Side, TimeInForce, TradingPhase};

use crate::amend::exact_resting_hold;
use crate::auction::is_crossed;
use crate::ids::NONE;
use crate::market::{Market, State};
use crate::venue::Venue;

impl Venue {
    /// Reads the whole state and checks every invariant of the crate's documentation. Slow.
    ///
    /// # Panics
    /// When one does not hold.
    pub fn check(&self) {
        self.ledger.check();
        for asset in 0..self.assets.len() {
            let sum = self.ledger.sum(AssetId(asset as u32));
            assert!(
                sum.is_zero(),
                "invariant: INV-VENUE-1 asset {asset} sums to {sum}"
            );
        }
        self.check_holds();
        let mut expiring = 0;
        let mut named = 0;
        for at in 0..self.markets.len() {
            let (expires, names) = self.check_market(at);
            expiring += expires;
            named += names;
        }
        assert_eq!(
            expiring,
            self.expiries.len(),
            "invariant: INV-VENUE-5 expiries"
        );
        let open: usize = self
            .members
            .iter()
            .map(|member| member.client_order_ids.open())
            .sum();
        assert_eq!(named, open, "invariant: INV-VENUE-5 client order ids");
        let due = self.next_expiry().is_some_and(|due| due <= self.time);
        assert!(!due, "invariant: INV-VENUE-5 an expired order is open");
    }

    fn check_holds(&self) {
        let mut sums = BTreeMap::new();
        for (member, asset, hold) in self.holds() {
            assert!(hold >= 0, "invariant: INV-VENUE-2 no hold is negative");
            *sums.entry((member, asset)).or_insert(0i128) += hold;
        }
        for account in self.ledger.accounts_sorted() {
            if let AccountOwner::Member(member) = account.owner {
                let sum = sums.remove(&(member, account.asset)).unwrap_or(0);
                assert_eq!(
                    sum, account.held.0,
                    "invariant: INV-VENUE-2 member {member} asset {}",
                    account.asset
                );
            }
        }
        assert!(
            sums.values().all(|sum| *sum == 0),
            "invariant: INV-VENUE-2 held without account"
        );
    }

    fn check_market(&self, at: usize) -> (usize, usize) {
        let (market, book) = (&self.markets[at], &self.books[at]);
        let trades = market.is_continuous() || market.phase == TradingPhase::PostOnly;
        assert!(!trades || !is_crossed(book), "invariant: INV-VENUE-4");
        assert!(
            market.triggered.is_empty() && market.trade_prices.is_empty(),
            "invariant: INV-VENUE-6"
        );
        let (mut resting, mut waiting, mut expiring, mut named) = (0, 0, 0, 0);
        for side in [Side::Buy, Side::Sell] {
            for (slot, order) in book.orders(side) {
                resting += 1;
                let open = &market.orders[slot as usize];
                assert!(open.state == State::Resting, "invariant: INV-VENUE-5 state");
                assert_eq!(
                    open.sequence, order.sequence,
                    "invariant: INV-VENUE-5 sequence"
                );
                assert_eq!(open.side, side, "invariant: INV-VENUE-5 side");
                let exact = exact_resting_hold(market, slot, order.remaining());
                assert_eq!(open.hold, exact, "invariant: INV-VENUE-3");
                let accepted = &market.accepted[slot as usize];
                assert_eq!(
                    accepted.order.price, order.price,
                    "invariant: INV-VENUE-5 price"
                );
                assert!(
                    accepted.order.size >= order.remaining(),
                    "invariant: INV-VENUE-5 size"
                );
                assert!(
                    !open.iceberg || accepted.visible == order.visible,
                    "invariant: INV-VENUE-5 visible"
                );
            }
        }
        for (slot, open) in market.orders.iter().enumerate() {
            match open.state {
                State::Free => continue,
                State::Entering => panic!("invariant: INV-VENUE-6"),
                State::Resting => resting -= 1,
                State::Waiting => {
                    waiting += 1;
                    let stop = book.get_stop(slot as u32, open.sequence);
                    assert!(stop.is_some(), "invariant: INV-VENUE-5 stop");
                }
            }
            let accepted = &market.accepted[slot];
            let expires = accepted.order.time_in_force == TimeInForce::GoodTillTime;
            assert_eq!(
                expires,
                open.expiry != NONE,
                "invariant: INV-VENUE-5 expiry"
            );
            expiring += usize::from(expires);
            let id = market.order_id(slot as u32);
            if open.client_entry != NONE {
                named += 1;
                let member = &self.members[market.seat(slot as u32).member.0 as usize];
                let found = member
                    .client_order_ids
                    .open_order(&accepted.order.client_order_id);
                assert_eq!(found, Some(id), "invariant: INV-VENUE-5 client order id");
            }
        }
        assert_eq!(resting, 0, "invariant: INV-VENUE-5 resting orders");
        assert_eq!(
            waiting, market.waiting as usize,
            "invariant: INV-VENUE-5 stops"
        );
        assert_eq!(
            waiting,
            book.stops().count(),
            "invariant: INV-VENUE-5 stops"
        );
        check_seats(market);
        (expiring, named)
    }
}

fn check_seats(market: &Market) {
    let mut seated = 0;
    for (index, seat) in market.seats.iter().enumerate() {
        let (mut at, mut older, mut open) = (seat.oldest, NONE, 0);
        let mut last = OrderId::default();
        while at != NONE {
            let order = &market.orders[at as usize];
            let id = market.order_id(at);
            assert!(
                id.sequence > last.sequence,
                "invariant: INV-VENUE-5 seat's order"
            );
            assert_eq!(order.older, older, "invariant: INV-VENUE-5 seat's links");
            assert_eq!(order.seat as usize, index, "invariant: INV-VENUE-5 seat");
            (last, older, at) = (id, at, order.younger);
            open += 1;
        }
        assert_eq!(open, seat.open, "invariant: INV-VENUE-5 open orders");
        assert_eq!(older, seat.youngest, "invariant: INV-VENUE-5 youngest");
        seated += open as usize;
    }
    let open = market
        .orders
        .iter()
        .filter(|order| order.state != State::Free)
        .count();
    assert_eq!(
        seated, open,
        "invariant: INV-VENUE-5 every open order is seated"
    );
}
