//! What the venue made of the commands.

use everopen_domain::{Event, OrderId, Quantity};

use super::{Driver, Purpose};

impl Driver {
    /// The events of the oldest command that has not been observed yet.
    ///
    /// # Panics
    ///
    /// When there is no such command, or when somebody else has added assets, instruments or members
    /// in between, so that their ids are not those that the driver was told to expect.
    pub fn observe(&mut self, events: &[Event]) {
        let purpose = self.pending.pop_front();
        let purpose = purpose.expect("invariant: observe is called once for each command");
        let mut hit = 0;
        let mut other = 0;
        for event in events {
            match *event {
                Event::CommandRejected { reason }
                | Event::OrderRejected { reason, .. }
                | Event::AmendRejected { reason, .. }
                | Event::CancelRejected { reason, .. } => {
                    *self.summary.rejected.entry(reason).or_insert(0) += 1;
                    self.refused(purpose);
                }
                Event::OrderAccepted { order, .. } => self.accepted(purpose, order),
                Event::OrderAmended {
                    order,
                    size,
                    remaining,
                    ..
                } => {
                    self.summary.orders_amended += 1;
                    if let Some(kept) = self.order_mut(order) {
                        (kept.size, kept.open) = (size.0, remaining.0);
                    }
                }
                Event::Traded {
                    maker_order,
                    taker_order,
                    quantity,
                    notional,
                    maker_remaining,
                    taker_remaining,
                    ..
                } => {
                    self.summary.trades += 1;
                    self.summary.volume += u128::from(quantity.0);
                    self.summary.notional += notional.0;
                    match purpose {
                        Purpose::Aggress(named, _)
                            if self.by_sequence.get(&maker_order.sequence) == Some(&named) =>
                        {
                            hit += quantity.0;
                        }
                        Purpose::Aggress(..) => other += quantity.0,
                        _ => self.summary.crossing_trades += 1,
                    }
                    self.left(maker_order, maker_remaining);
                    self.left(taker_order, taker_remaining);
                }
                Event::OrderDone { order, reason, .. } => {
                    self.summary.done(reason);
                    let order_ref = self.by_sequence.remove(&order.sequence);
                    if let Some(kept) = order_ref.and_then(|known| self.orders.get_mut(&known)) {
                        kept.live = false;
                    }
                }
                Event::AssetAdded { asset, .. } => {
                    let expected = self.config.next_asset.0..self.config.next_asset.0 + self.assets;
                    assert!(
                        expected.contains(&asset.0),
                        "invariant: only the driver adds assets during a replay"
                    );
                }
                Event::InstrumentAdded { id, .. } => assert!(
                    self.books.iter().any(|book| book.instrument == id),
                    "invariant: only the driver adds instruments during a replay"
                ),
                Event::MemberAdded { member, .. } => assert!(
                    member == self.buyers || member == self.sellers,
                    "invariant: only the driver adds members during a replay"
                ),
                _ => {}
            }
        }
        match purpose {
            Purpose::Aggress(order_ref, size) => {
                self.summary.executions.add(size, hit, other);
                self.arrived(order_ref);
                self.corrections.push(order_ref);
            }
            Purpose::Place(order_ref)
            | Purpose::Replace(order_ref, ..)
            | Purpose::Change(order_ref) => self.arrived(order_ref),
            Purpose::Setup => {}
        }
    }

    fn arrived(&mut self, order_ref: u64) {
        if let Some(order) = self.orders.get_mut(&order_ref) {
            order.under_way = order.under_way.saturating_sub(1);
        }
    }

    fn accepted(&mut self, purpose: Purpose, order: OrderId) {
        if let Purpose::Place(order_ref) | Purpose::Replace(order_ref, ..) = purpose {
            self.summary.orders_placed += 1;
            if let Some(kept) = self.orders.get_mut(&order_ref) {
                kept.id = Some(order);
            }
            self.by_sequence.insert(order.sequence, order_ref);
        }
    }

    /// A refused order is not there; a refused change leaves the order as it was.
    fn refused(&mut self, purpose: Purpose) {
        if let Purpose::Replace(_, target, member) = purpose {
            self.leftovers.push((member, target));
        }
        if let Purpose::Place(order_ref) | Purpose::Replace(order_ref, ..) = purpose
            && let Some(order) = self.orders.get_mut(&order_ref)
        {
            order.live = false;
        }
    }

    fn left(&mut self, order: OrderId, remaining: Quantity) {
        if let Some(kept) = self.order_mut(order) {
            kept.open = remaining.0;
        }
    }

    fn order_mut(&mut self, order: OrderId) -> Option<&mut super::Order> {
        let order_ref = self.by_sequence.get(&order.sequence)?;
        self.orders.get_mut(order_ref)
    }
}
