//! From a snapshot back to a venue. A snapshot may come from a damaged or foreign disk: whatever
//! is wrong with it is an error, never a panic.

mod error;

use alloc::vec::Vec;

use everopen_book::{Book, BookOrder, StopOrder};
use everopen_domain::snapshot::{
    AccountOwner, InstrumentSnapshot, MemberSnapshot, OrderSnapshot, VenueSnapshot,
};
use everopen_domain::{
    Amount, AssetId, InstrumentId, MemberId, OrderId, OrderType, Price, Quantity, Rate, Side,
    TimeInForce, TradingPhase,
};
use everopen_ledger::Ledger;

use crate::admin::{check_limits, check_member_limits, check_order_limits, check_tiers};
use crate::amend::exact_resting_hold;
use crate::auction::is_crossed;
use crate::ids::{NONE, RECENT_IDS, hash};
use crate::logic::Logic;
use crate::market::{Accepted, Market, OpenOrder, State};
use crate::member::{Member, Volume};
use crate::rules::can_rest;
use crate::snapshot::by_funds_alone;
use crate::venue::Venue;

pub use error::RestoreError;

/// No venue counts this far: so that counting on never overflows.
const COUNT_END: u64 = 1 << 62;

type Restored = Result<(), RestoreError>;

impl Venue {
    /// The venue whose [`Venue::snapshot`] is `snapshot`, and which goes on exactly as the one
    /// that it was taken of.
    ///
    /// # Errors
    /// [`RestoreError`] when no venue has this snapshot.
    pub fn restore(snapshot: &VenueSnapshot) -> Result<Self, RestoreError> {
        let logic = Logic::new(snapshot.logic).ok_or(RestoreError::Logic(snapshot.logic))?;
        let mut venue = Self {
            logic,
            time: snapshot.time,
            last_order_sequence: snapshot.last_order_sequence,
            last_transfer: snapshot.last_transfer.0,
            killed: snapshot.killed,
            ..Self::default()
        };
        if snapshot.last_order_sequence >= OrderId::SEQUENCE_END {
            return Err(RestoreError::Order(OrderId::default()));
        }
        if snapshot.last_transfer.0 >= COUNT_END {
            return Err(RestoreError::Withdrawals);
        }
        venue.restore_assets(snapshot)?;
        venue.restore_schedules(snapshot)?;
        for (at, member) in snapshot.members.iter().enumerate() {
            venue.restore_member(MemberId(at as u32), member)?;
        }
        venue.restore_accounts(snapshot)?;
        venue.restore_withdrawals(snapshot)?;
        for (at, instrument) in snapshot.instruments.iter().enumerate() {
            venue.restore_instrument(InstrumentId(at as u32), instrument)?;
        }
        venue.restore_order_limits(snapshot)?;
        venue.check_held(snapshot)?;
        Ok(venue)
    }

    fn restore_assets(&mut self, snapshot: &VenueSnapshot) -> Restored {
        for (at, asset) in snapshot.assets.iter().enumerate() {
            let taken = self.assets.iter().any(|other| other.code == asset.code);
            if asset.code.is_empty() || taken || asset.decimals > 18 {
                return Err(RestoreError::Asset(AssetId(at as u32)));
            }
            self.assets.push(*asset);
        }
        Ok(())
    }

    fn restore_schedules(&mut self, snapshot: &VenueSnapshot) -> Restored {
        for (schedule, tiers) in &snapshot.fee_schedules {
            let at = usize::from(schedule.0);
            let known = (tiers.volume_asset.0 as usize) < self.assets.len();
            if at < self.fee_schedules.len() || !known || check_tiers(tiers).is_err() {
                return Err(RestoreError::FeeSchedules);
            }
            self.fee_schedules.resize(at + 1, None);
            self.fee_schedules[at] = Some(*tiers);
        }
        Ok(())
    }

    fn restore_member(&mut self, id: MemberId, snapshot: &MemberSnapshot) -> Restored {
        let wrong = Err(RestoreError::Member(id));
        if snapshot.code.is_empty() || self.member_codes.insert(snapshot.code, id).is_some() {
            return wrong;
        }
        let mut member = Member::new(snapshot.code);
        member.killed = snapshot.killed;
        member.limits = snapshot.limits;
        member.message_tokens = snapshot.message_tokens;
        member.message_time = snapshot.message_time;
        let clock = snapshot.message_time <= self.time
            && (snapshot.limits.message_rate != 0 || snapshot.message_time.0 == 0);
        if check_member_limits(&snapshot.limits).is_err()
            || snapshot.message_tokens > member.allowance()
            || !clock
        {
            return wrong;
        }
        for volume in &snapshot.volumes {
            let sorted = member
                .volumes
                .last()
                .is_none_or(|last| last.asset < volume.asset);
            let known = (volume.asset.0 as usize) < self.assets.len();
            let Some(volume) = Volume::restore(volume) else {
                return wrong;
            };
            if !sorted || !known || volume.day() > self.time.day() {
                return wrong;
            }
            member.volumes.push(volume);
        }
        let lists = [
            (
                &mut member.client_order_ids,
                &snapshot.recent_client_order_ids,
            ),
            (&mut member.references, &snapshot.recent_references),
        ];
        for (ids, recent) in lists {
            if recent.len() > RECENT_IDS {
                return wrong;
            }
            for id in recent {
                if id.is_empty() || ids.contains(id) {
                    return wrong;
                }
                ids.insert_ended(*id);
            }
        }
        self.members.push(member);
        Ok(())
    }

    fn restore_accounts(&mut self, snapshot: &VenueSnapshot) -> Restored {
        for account in &snapshot.accounts {
            let owned = match account.owner {
                AccountOwner::Member(member) => (member.0 as usize) < self.members.len(),
                AccountOwner::External | AccountOwner::Fees => true,
            };
            if !owned || account.asset.0 as usize >= self.assets.len() {
                return Err(RestoreError::UnknownAccount(account.owner, account.asset));
            }
        }
        self.ledger = Ledger::restore(&snapshot.accounts).map_err(RestoreError::Accounts)?;
        for at in 0..self.assets.len() {
            self.ledger.open(AccountOwner::External, AssetId(at as u32));
        }
        Ok(())
    }

    fn restore_withdrawals(&mut self, snapshot: &VenueSnapshot) -> Restored {
        for withdrawal in &snapshot.withdrawals {
            let last = self.withdrawals.last_key_value().map_or(0, |(id, _)| id.0);
            let valid = withdrawal.transfer.0 > last
                && withdrawal.transfer.0 <= self.last_transfer
                && (withdrawal.member.0 as usize) < self.members.len()
                && (withdrawal.asset.0 as usize) < self.assets.len()
                && withdrawal.amount.is_positive()
                && !withdrawal.destination.is_empty();
            if !valid {
                return Err(RestoreError::Withdrawals);
            }
            self.withdrawals.insert(withdrawal.transfer, *withdrawal);
        }
        Ok(())
    }

    fn restore_instrument(&mut self, id: InstrumentId, snapshot: &InstrumentSnapshot) -> Restored {
        let wrong = RestoreError::Instrument(id);
        let instrument = snapshot.instrument;
        let scale = self.scale(&instrument).map_err(|_| wrong)?;
        let pair = (instrument.base, instrument.quote);
        let taken = self
            .markets
            .iter()
            .any(|m| (m.instrument.base, m.instrument.quote) == pair);
        // Every trade has a sequence of its own and moves the last price.
        let counted = snapshot.sequence < COUNT_END
            && snapshot.last_trade.0 <= snapshot.sequence
            && (snapshot.last_trade.0 == 0) == (snapshot.last_price == Price::ZERO)
            && snapshot.last_price <= Price::MAX
            && snapshot.reference_price <= Price::MAX;
        if taken
            || !counted
            || check_limits(&instrument.limits).is_err()
            || self.check_schedule(instrument.limits.fee_schedule).is_err()
            || id.0 >= OrderId::INSTRUMENT_END
        {
            return Err(wrong);
        }
        let mut market = Market::new(id, instrument, scale);
        market.phase = snapshot.phase;
        market.sequence = snapshot.sequence;
        market.last_trade = snapshot.last_trade.0;
        market.last_price = snapshot.last_price;
        market.reference_price = snapshot.reference_price;
        let book = restore_book(id, snapshot)?;
        let slots = snapshot.bids.len()
            + snapshot.asks.len()
            + snapshot.stops.len()
            + snapshot.free_slots.len();
        market.orders.resize(slots, OpenOrder::default());
        market.accepted.resize(slots, Accepted::default());
        market.waiting = snapshot.stops.len() as u32;
        if snapshot.phase == TradingPhase::Auction {
            market.indication = book.indicate(market.reference_price);
            self.in_auction.push(id.0);
        }
        let uncrossed = market.is_continuous() || market.phase == TradingPhase::PostOnly;
        if uncrossed && is_crossed(&book) {
            return Err(wrong);
        }
        self.markets.push(market);
        self.books.push(book);

        let mut orders: Vec<(State, &OrderSnapshot)> = Vec::with_capacity(slots);
        orders.extend(snapshot.bids.iter().map(|order| (State::Resting, order)));
        orders.extend(snapshot.asks.iter().map(|order| (State::Resting, order)));
        orders.extend(snapshot.stops.iter().map(|order| (State::Waiting, order)));
        orders.sort_unstable_by_key(|(_, order)| order.order.sequence);
        let mut last = 0;
        for (state, order) in orders {
            if order.order.sequence <= last {
                return Err(RestoreError::Order(order.order));
            }
            last = order.order.sequence;
            self.restore_order(state, order)?;
        }
        Ok(())
    }

    /// Orders come in the order of acceptance.
    fn restore_order(&mut self, state: State, snapshot: &OrderSnapshot) -> Restored {
        let id = snapshot.order;
        let wrong = RestoreError::Order(id);
        let details = &snapshot.details;
        if snapshot.member.0 as usize >= self.members.len()
            || id.sequence > self.last_order_sequence
            || !is_sound(state, snapshot)
        {
            return Err(wrong);
        }
        let seat = self.seat(snapshot.member, id.instrument);
        let ids = &mut self.members[snapshot.member.0 as usize].client_order_ids;
        let client_entry = if details.client_order_id.is_empty() {
            NONE
        } else if ids.contains(&details.client_order_id) {
            return Err(wrong);
        } else {
            ids.insert(&details.client_order_id, hash(&details.client_order_id), id)
        };
        let expiry = if details.time_in_force == TimeInForce::GoodTillTime {
            if details.expires_at <= self.time {
                return Err(wrong);
            }
            self.expiries.insert(details.expires_at, id)
        } else {
            NONE
        };
        let market = &mut self.markets[id.instrument.0 as usize];
        let slot = id.slot;
        market.orders[slot as usize] = OpenOrder {
            hold: snapshot.hold,
            sequence: id.sequence,
            seat,
            maker_rate: snapshot.maker_rate,
            taker_rate: snapshot.taker_rate,
            fee_slack: snapshot.fee_slack,
            client_entry,
            expiry,
            older: NONE,
            younger: NONE,
            side: details.side,
            state,
            iceberg: details.display_size != Quantity::ZERO,
        };
        market.accepted[slot as usize] = Accepted {
            order: *details,
            at: snapshot.accepted_at,
            visible: snapshot.visible,
        };
        if state == State::Resting {
            let notional = market.scale.notional(details.price, snapshot.remaining);
            if notional.is_none()
                || snapshot.hold != exact_resting_hold(market, slot, snapshot.remaining)
            {
                return Err(wrong);
            }
        }
        market.link(slot);
        Ok(())
    }

    fn restore_order_limits(&mut self, snapshot: &VenueSnapshot) -> Restored {
        let mut last = None;
        for (member, instrument, limits) in &snapshot.order_limits {
            let key = (*member, *instrument);
            if last.is_some_and(|last| last >= key)
                || member.0 as usize >= self.members.len()
                || instrument.0 as usize >= self.markets.len()
                || *limits == Default::default()
                || check_order_limits(limits).is_err()
            {
                return Err(RestoreError::OrderLimits);
            }
            last = Some(key);
            let seat = self.seat(*member, *instrument);
            self.markets[instrument.0 as usize].seats[seat as usize].limits = *limits;
        }
        Ok(())
    }

    /// Compares what accounts have held with what is held for.
    fn check_held(&self, snapshot: &VenueSnapshot) -> Restored {
        let mut holds: Vec<(MemberId, AssetId, i128)> = self.holds();
        for account in &snapshot.accounts {
            if let AccountOwner::Member(member) = account.owner {
                holds.push((member, account.asset, -account.held.0));
            }
        }
        holds.sort_unstable();
        for same in holds.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            let (member, asset, _) = same[0];
            let sum = same
                .iter()
                .try_fold(0i128, |sum, hold| sum.checked_add(hold.2));
            if sum != Some(0) {
                return Err(RestoreError::Held(member, asset));
            }
        }
        Ok(())
    }

    /// Every hold: whose, of what, how much.
    pub(crate) fn holds(&self) -> Vec<(MemberId, AssetId, i128)> {
        let mut holds = Vec::new();
        for withdrawal in self.withdrawals.values() {
            holds.push((withdrawal.member, withdrawal.asset, withdrawal.amount.0));
        }
        for market in &self.markets {
            for order in market
                .orders
                .iter()
                .filter(|order| order.state != State::Free)
            {
                let member = market.seats[order.seat as usize].member;
                holds.push((member, market.hold_asset(order.side), order.hold.0));
            }
        }
        holds
    }
}

fn restore_book(id: InstrumentId, snapshot: &InstrumentSnapshot) -> Result<Book, RestoreError> {
    let all = snapshot
        .bids
        .iter()
        .chain(&snapshot.asks)
        .chain(&snapshot.stops);
    for order in all {
        if order.order.instrument != id || order.details.instrument != id {
            return Err(RestoreError::Order(order.order));
        }
    }
    let resting = |side: Side, orders: &[OrderSnapshot]| {
        orders
            .iter()
            .map(|order| {
                let hidden = order.remaining.0.checked_sub(order.visible.0);
                let (Some(hidden), true) = (hidden, order.details.side == side) else {
                    return Err(RestoreError::Order(order.order));
                };
                let resting = BookOrder {
                    sequence: order.order.sequence,
                    price: order.details.price,
                    visible: order.visible,
                    hidden: Quantity(hidden),
                    peak: order.details.display_size,
                    member: order.member,
                    side,
                    self_trade_prevention: order.details.self_trade_prevention,
                };
                Ok((order.order.slot, resting))
            })
            .collect::<Result<Vec<_>, _>>()
    };
    let stops = snapshot
        .stops
        .iter()
        .map(|order| {
            let stop = order.details.stop.ok_or(RestoreError::Order(order.order))?;
            Ok(StopOrder {
                slot: order.order.slot,
                sequence: order.order.sequence,
                member: order.member,
                direction: stop.direction,
                price: stop.price,
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let bids = resting(Side::Buy, &snapshot.bids)?;
    let asks = resting(Side::Sell, &snapshot.asks)?;
    Book::restore(bids, asks, stops, snapshot.free_slots.iter().copied())
        .map_err(|source| RestoreError::Book(id, source))
}

/// Whether an order's numbers go together.
fn is_sound(state: State, snapshot: &OrderSnapshot) -> bool {
    let details = &snapshot.details;
    let rates = [snapshot.maker_rate, snapshot.taker_rate];
    let numbers = snapshot.fee_slack < Rate::ONE as u32
        && rates
            .iter()
            .all(|rate| (-Rate::ONE..=Rate::ONE).contains(&rate.0))
        && snapshot.taker_rate.0 >= 0
        && snapshot.hold >= Amount::ZERO
        && details.size <= Quantity::MAX
        && details.price <= Price::MAX
        && details.funds >= Amount::ZERO
        && snapshot.order.sequence > 0;
    let kind = match state {
        State::Resting => {
            details.order_type == OrderType::Limit
                && can_rest(details.time_in_force)
                && details.price > Price::ZERO
                && snapshot.remaining > Quantity::ZERO
                && snapshot.remaining <= details.size
                && (details.display_size != Quantity::ZERO
                    || snapshot.visible == snapshot.remaining)
                && (details.display_size == Quantity::ZERO
                    || snapshot.visible <= details.display_size)
        }
        _ => {
            let sized = details.size > Quantity::ZERO;
            let market = details.order_type == OrderType::Market;
            snapshot.visible == Quantity::ZERO
                && snapshot.remaining == details.size
                && (sized || (by_funds_alone(details) && details.funds.is_positive()))
                && market == (details.price == Price::ZERO)
        }
    };
    numbers && kind
}
