//! A member's own records.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use everopen_domain::{
    Amount, AssetId, ClientOrderId, InstrumentId, MemberCode, MemberId, MemberLimits, OrderId,
    Price, Quantity, Side, Timestamp, TradeId,
};
use serde::{Deserialize, Serialize};

use crate::account::{Account, TransferView};
use crate::config::{Config, push_bounded};
use crate::fee::Volume;
use crate::order::{OrderFilter, OrderStatus, OrderView};

/// Which part of a list that is ordered newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Only what is newer than this cursor.
    pub before: Option<u64>,
    /// Only what is older than this cursor.
    pub after: Option<u64>,
    /// At most so many.
    pub limit: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self {
            before: None,
            after: None,
            limit: 100,
        }
    }
}

impl Page {
    /// The cursors inside the page: from, and one past, both rising.
    pub(crate) fn range(&self) -> core::ops::Range<u64> {
        let from = self.before.map_or(0, |cursor| cursor.saturating_add(1));
        let to = self.after.unwrap_or(u64::MAX);
        from..to.max(from)
    }
}

/// A member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its id.
    pub id: MemberId,
    /// Its code.
    pub code: MemberCode,
    /// Its limits.
    pub limits: MemberLimits,
    /// Whether its kill switch is engaged.
    pub killed: bool,
    /// How many of its orders are not over.
    pub live_orders: u32,
}

/// Which side of the liquidity a fill was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Liquidity {
    /// The order rested.
    Maker,
    /// The order came.
    Taker,
}

/// One member's side of a trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FillView {
    /// The member's own count of fills, from 1; the cursor of lists.
    pub id: u64,
    /// The trade.
    pub trade: TradeId,
    /// The instrument.
    pub instrument: InstrumentId,
    /// The member's order.
    pub order: OrderId,
    /// The member's side.
    pub side: Side,
    /// The price.
    pub price: Price,
    /// The size.
    pub size: Quantity,
    /// Price × size in quote atoms.
    pub notional: Amount,
    /// What was charged, in quote atoms; negative for a rebate.
    pub fee: Amount,
    /// Whether the order rested or came. In an auction both rested.
    pub liquidity: Liquidity,
    /// When.
    pub created_at: Timestamp,
}

/// Which fills to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FillFilter {
    /// Only of this instrument.
    pub product: Option<InstrumentId>,
    /// Only of this order.
    pub order: Option<OrderId>,
    /// Only at or after this.
    pub start: Option<Timestamp>,
    /// Only before this.
    pub end: Option<Timestamp>,
    /// Where in the list, by [`FillView::id`].
    pub page: Page,
}

impl FillFilter {
    fn takes(&self, fill: &FillView) -> bool {
        self.product
            .is_none_or(|product| product == fill.instrument)
            && self.order.is_none_or(|order| order == fill.order)
            && self.start.is_none_or(|start| fill.created_at >= start)
            && self.end.is_none_or(|end| fill.created_at < end)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub code: MemberCode,
    pub limits: MemberLimits,
    pub killed: bool,
    /// By asset; shorter than the list of assets while the last ones were never touched.
    pub accounts: Vec<Account>,
    /// By the order's sequence, live and ended.
    orders: BTreeMap<u64, OrderView>,
    live: BTreeSet<u64>,
    /// In the order of their ends.
    ended: VecDeque<u64>,
    /// The latest order of each client id that is still kept.
    by_client_id: BTreeMap<ClientOrderId, u64>,
    fills: VecDeque<FillView>,
    last_fill: u64,
    pub transfers: VecDeque<TransferView>,
    pub volumes: BTreeMap<AssetId, Volume>,
}

impl Member {
    pub fn new(code: MemberCode) -> Self {
        Self {
            code,
            ..Self::default()
        }
    }

    pub fn account(&mut self, asset: AssetId) -> &mut Account {
        let at = asset.0 as usize;
        if self.accounts.len() <= at {
            self.accounts.resize_with(at + 1, Account::default);
        }
        &mut self.accounts[at]
    }

    pub fn add_order(&mut self, order: OrderView) {
        let sequence = order.order.sequence;
        let client_id = order.details.client_order_id;
        if !client_id.is_empty() {
            self.by_client_id.insert(client_id, sequence);
        }
        self.orders.insert(sequence, order);
        self.live.insert(sequence);
    }

    pub fn order(&self, order: OrderId) -> Option<&OrderView> {
        self.orders
            .get(&order.sequence)
            .filter(|found| found.order == order)
    }

    pub fn order_mut(&mut self, order: OrderId) -> Option<&mut OrderView> {
        self.orders.get_mut(&order.sequence)
    }

    pub fn order_by_client_id(&self, id: &ClientOrderId) -> Option<&OrderView> {
        self.by_client_id
            .get(id)
            .and_then(|sequence| self.orders.get(sequence))
    }

    /// The order is over; the oldest ended one may go for it.
    pub fn end_order(&mut self, config: &Config, order: OrderId) {
        if !self.live.remove(&order.sequence) {
            return;
        }
        self.ended.push_back(order.sequence);
        while self.ended.len() > config.ended_orders_per_member as usize {
            let oldest = self
                .ended
                .pop_front()
                .expect("invariant: list is not empty");
            let Some(gone) = self.orders.remove(&oldest) else {
                continue;
            };
            let client_id = gone.details.client_order_id;
            if self.by_client_id.get(&client_id) == Some(&oldest) {
                self.by_client_id.remove(&client_id);
            }
        }
    }

    pub fn orders(&self, filter: OrderFilter) -> impl Iterator<Item = &OrderView> + '_ {
        let range = filter.page.range();
        // Only one of the two is walked: live orders alone are few.
        let ended = filter.statuses.contains(OrderStatus::Done);
        let all = ended.then(|| {
            self.orders
                .range(range.clone())
                .rev()
                .map(|(_, order)| order)
        });
        let live = (!ended).then(|| {
            self.live
                .range(range)
                .rev()
                .map(|sequence| &self.orders[sequence])
        });
        all.into_iter()
            .flatten()
            .chain(live.into_iter().flatten())
            .filter(move |order| filter.takes(order))
            .take(filter.page.limit as usize)
    }

    pub fn live_orders(&self) -> u32 {
        self.live.len() as u32
    }

    pub fn add_fill(&mut self, config: &Config, fill: FillView) {
        self.last_fill += 1;
        if let Some(order) = self.orders.get_mut(&fill.order.sequence) {
            order.filled = Quantity(order.filled.0.saturating_add(fill.size.0));
            order.executed_value = Amount(order.executed_value.0.saturating_add(fill.notional.0));
            order.fees = Amount(order.fees.0.saturating_add(fill.fee.0));
        }
        let fill = FillView {
            id: self.last_fill,
            ..fill
        };
        push_bounded(&mut self.fills, fill, config.fills_per_member);
    }

    pub fn fills(&self, filter: FillFilter) -> impl Iterator<Item = &FillView> + '_ {
        let range = filter.page.range();
        let from = self.fills.partition_point(|fill| fill.id < range.start);
        let to = self.fills.partition_point(|fill| fill.id < range.end);
        self.fills
            .range(from..to.max(from))
            .rev()
            .filter(move |fill| filter.takes(fill))
            .take(filter.page.limit as usize)
    }
}
