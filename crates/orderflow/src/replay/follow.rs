//! Keeps the venue's orders in step with the feed's.

use everopen_domain::{
    AmendOrder, ClientOrderId, Command, InstrumentId, NewOrder, OrderTarget, Price, Quantity, Side,
    TimeInForce,
};

use super::memory::client_order_id;
use super::{Driver, Order, Purpose};

impl Driver {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn place(
        &mut self,
        order_ref: u64,
        instrument: InstrumentId,
        side: Side,
        price: u64,
        size: u64,
        replaced: Option<OrderTarget>,
        out: &mut Vec<Command>,
    ) {
        if self.orders.contains_key(&order_ref) {
            self.summary.duplicate_references += 1;
            return;
        }
        if let Some(deleted) = self.ended.get(order_ref) {
            // The recording has the deletion before the order. That message was no unknown reference
            // after all, and the order is not there any more.
            if let Some(kind) = deleted {
                self.summary.unknown[usize::from(kind)] -= 1;
                self.ended.insert(order_ref, None);
            }
            self.summary.added_after_end += 1;
            return;
        }
        let member = self.member(side);
        let mut client_id = ClientOrderId::EMPTY;
        if self.config.client_order_ids {
            client_id = client_order_id(order_ref);
        }
        let order = NewOrder {
            instrument,
            side,
            price: Price(price),
            size: Quantity(size),
            client_order_id: client_id,
            ..NewOrder::default()
        };
        let (purpose, command) = match replaced {
            None => (
                Purpose::Place(order_ref),
                Command::PlaceOrder { member, order },
            ),
            Some(target) => (
                Purpose::Replace(order_ref, target, member),
                Command::ReplaceOrder {
                    member,
                    target,
                    order,
                },
            ),
        };
        let order = Order {
            instrument,
            side,
            price,
            feed_left: size,
            id: None,
            open: size,
            size,
            live: true,
            under_way: 1,
        };
        self.orders.insert(order_ref, order);
        self.send(purpose, command, out);
    }

    pub(super) fn replace(
        &mut self,
        old_ref: u64,
        new_ref: u64,
        price: u64,
        size: u64,
        kind: u8,
        out: &mut Vec<Command>,
    ) {
        let Some(old) = self.known(old_ref, kind) else {
            // Neither side nor instrument is known, so the new order can't be placed; its number is
            // remembered to tell later messages about it from those about older orders.
            self.orphans.insert(new_ref, ());
            self.orphans.remove(&old_ref);
            return;
        };
        let (instrument, side, live) = (old.instrument, old.side, old.live);
        let target = old.target(old_ref);
        self.end(old_ref);
        // An order that the venue has already filled comes back as a new one: the feed says that it
        // is still there.
        self.summary.gone += u64::from(!live);
        self.place(
            new_ref,
            instrument,
            side,
            price,
            size,
            live.then_some(target),
            out,
        );
    }

    pub(super) fn execute(&mut self, order_ref: u64, size: u64, kind: u8, out: &mut Vec<Command>) {
        let Some(order) = self.known(order_ref, kind) else {
            return;
        };
        order.feed_left = order.feed_left.saturating_sub(size);
        let (instrument, side, price) = (order.instrument, order.side, order.price);
        if !order.live {
            if order.feed_left == 0 {
                self.end(order_ref);
            }
            self.summary.gone += 1;
            self.summary.executions.gone += 1;
            return;
        }
        order.under_way += 1;
        let aggressor = NewOrder {
            instrument,
            side: side.opposite(),
            price: Price(price),
            size: Quantity(size),
            time_in_force: TimeInForce::ImmediateOrCancel,
            ..NewOrder::default()
        };
        let member = self.member(side.opposite());
        let command = Command::PlaceOrder {
            member,
            order: aggressor,
        };
        self.send(Purpose::Aggress(order_ref, size), command, out);
    }

    pub(super) fn set_size(
        &mut self,
        order_ref: u64,
        price: u64,
        size: u64,
        kind: u8,
        out: &mut Vec<Command>,
    ) {
        let Some(order) = self.known(order_ref, kind) else {
            return;
        };
        let grown = size.saturating_sub(order.feed_left);
        order.feed_left = size;
        if size == 0 || (order.price == price && grown == 0) {
            self.settle(order_ref, out);
            return;
        }
        if !order.live {
            self.summary.gone += 1;
            return;
        }
        order.price = price;
        let filled = order.size - order.open;
        let total = filled + (order.open + grown).min(size);
        let amendment = AmendOrder {
            target: order.target(order_ref),
            price: Price(price),
            size: Quantity(total),
        };
        order.under_way += 1;
        let member = self.member(self.orders[&order_ref].side);
        self.send(
            Purpose::Change(order_ref),
            Command::AmendOrder { member, amendment },
            out,
        );
    }

    /// Brings an order down to what the feed says is left of it, because the feed says so.
    pub(super) fn settle(&mut self, order_ref: u64, out: &mut Vec<Command>) {
        let order = &self.orders[&order_ref];
        if !order.live {
            self.summary.gone += 1;
            if order.feed_left == 0 {
                self.end(order_ref);
            }
        } else if !self.shrink(order_ref, out) {
            self.summary.agreeing += 1;
        }
    }

    /// Cancels or amends a live order that is larger than the feed says. False if it is not.
    fn shrink(&mut self, order_ref: u64, out: &mut Vec<Command>) -> bool {
        let order = self
            .orders
            .get_mut(&order_ref)
            .expect("invariant: only kept orders shrink");
        let target = order.target(order_ref);
        let member = if order.side == Side::Buy {
            self.buyers
        } else {
            self.sellers
        };
        if order.feed_left == 0 {
            self.end(order_ref);
            self.send(
                Purpose::Change(order_ref),
                Command::CancelOrder { member, target },
                out,
            );
            return true;
        }
        if order.open <= order.feed_left {
            return false;
        }
        let size = Quantity(order.size - order.open + order.feed_left);
        let amendment = AmendOrder {
            target,
            price: Price::ZERO,
            size,
        };
        order.under_way += 1;
        self.send(
            Purpose::Change(order_ref),
            Command::AmendOrder { member, amendment },
            out,
        );
        true
    }

    /// Brings the orders in line that executions have left behind.
    pub(super) fn correct(&mut self, out: &mut Vec<Command>) {
        while let Some((member, target)) = self.leftovers.pop() {
            self.send(Purpose::Setup, Command::CancelOrder { member, target }, out);
        }
        while let Some(order_ref) = self.corrections.pop() {
            let Some(order) = self.orders.get(&order_ref) else {
                continue;
            };
            if order.under_way > 0 {
                continue;
            }
            if !order.live {
                if order.feed_left == 0 {
                    self.end(order_ref);
                }
            } else if self.shrink(order_ref, out) {
                self.summary.corrections += 1;
            }
        }
    }
}
