//! An auditor who sees only events: from money movements, holds, trades and fees alone it keeps
//! every member's balance, and compares with what the venue says; it watches sequences and trade
//! ids for gaps, that each command of a client gets one answer, and that no order's size changes
//! without an event that says so.

use std::collections::BTreeMap;

use everopen_domain::*;
use everopen_venue::Venue;

#[derive(Clone, Default)]
pub struct Auditor {
    asset_decimals: Vec<u32>,
    instruments: Vec<Instrument>,
    /// Whole money per account: available and held together.
    total: BTreeMap<(MemberId, AssetId), i128>,
    sequences: BTreeMap<InstrumentId, u64>,
    trades: BTreeMap<InstrumentId, u64>,
    withdrawals: BTreeMap<TransferId, (MemberId, AssetId, i128)>,
    open: BTreeMap<u64, OrderId>,
    owners: BTreeMap<u64, (MemberId, Side)>,
    /// Size and filled of each open order that has a size.
    sizes: BTreeMap<u64, (u64, u64)>,
    /// A taker that self-trade prevention shrank: its open or end must be next.
    shrunk: Option<OrderId>,
    last_transfer: u64,
    last_order: u64,
}

impl Auditor {
    pub fn audit(&mut self, command: &Command, events: &[Event], venue: &Venue) {
        let answers = events.iter().filter(|event| is_answer(event)).count();
        let expected = usize::from(matches!(
            command,
            Command::PlaceOrder { .. } | Command::ReplaceOrder { .. }
        ));
        assert_eq!(answers, expected, "answers to {command:?} in {events:#?}");
        let mut named = BTreeMap::new();
        for event in events {
            if let Event::BalanceChanged {
                member,
                asset,
                available,
                held,
            } = event
            {
                let twice = named.insert((*member, *asset), available.0 + held.0);
                assert!(twice.is_none(), "an account is named once");
                assert!(available.0 >= 0 && held.0 >= 0);
            } else {
                assert!(named.is_empty(), "balances come last");
                if let Some(shrunk) = self.shrunk.take() {
                    assert!(
                        matches!(event, Event::OrderOpened { order, .. }
                            | Event::OrderDone { order, .. } if *order == shrunk),
                        "a shrunk taker rests or ends next, not {event:?}"
                    );
                }
                self.account_for_size(event);
                self.book(event);
            }
        }
        assert_eq!(self.shrunk, None, "a shrunk taker rests or ends");
        for ((member, asset), balance) in named {
            let total = self.total.get(&(member, asset)).copied().unwrap_or(0);
            assert_eq!(
                total, balance,
                "member {member} asset {asset} after {command:?}"
            );
        }
        for instrument in 0..self.instruments.len() as u32 {
            let instrument = InstrumentId(instrument);
            let last = self.sequences.get(&instrument).copied().unwrap_or(0);
            assert_eq!(
                venue.sequence(instrument),
                Some(last),
                "sequences of {instrument}"
            );
        }
    }

    /// Totals of all accounts that the auditor knows, for comparison with a snapshot.
    pub fn totals(&self) -> impl Iterator<Item = (MemberId, AssetId, i128)> + '_ {
        self.total
            .iter()
            .filter(|(_, sum)| **sum != 0)
            .map(|((m, a), sum)| (*m, *a, *sum))
    }

    pub fn open(&self) -> impl Iterator<Item = OrderId> + '_ {
        self.open.values().copied()
    }

    pub fn owner(&self, order: OrderId) -> Option<MemberId> {
        self.owners.get(&order.sequence).map(|(member, _)| *member)
    }

    pub fn side(&self, order: OrderId) -> Option<Side> {
        self.owners.get(&order.sequence).map(|(_, side)| *side)
    }

    pub fn open_orders(&self) -> usize {
        self.open.len()
    }

    fn add(&mut self, member: MemberId, asset: AssetId, amount: i128) {
        *self.total.entry((member, asset)).or_default() += amount;
    }

    fn see(&mut self, instrument: InstrumentId, sequence: u64) {
        let last = self.sequences.entry(instrument).or_default();
        assert_eq!(sequence, *last + 1, "market data sequence of {instrument}");
        *last = sequence;
    }

    /// What is left of an order is always its size without what it filled: the size changes only
    /// by `OrderAmended`.
    fn account_for_size(&mut self, event: &Event) {
        let left = |sizes: &BTreeMap<u64, (u64, u64)>, order: OrderId| {
            let (size, filled) = sizes.get(&order.sequence)?;
            Some(size.checked_sub(*filled).expect("no more than its size"))
        };
        match *event {
            Event::OrderAccepted { order, details, .. } if details.size > Quantity::ZERO => {
                self.sizes.insert(order.sequence, (details.size.0, 0));
            }
            Event::OrderAmended {
                order,
                size,
                old_visible,
                visible,
                remaining,
                kept_priority,
                self_trade,
                ..
            } => {
                let before = left(&self.sizes, order).expect("an order with a size");
                let kept = self.sizes.get_mut(&order.sequence).expect("known");
                kept.0 = size.0;
                let after = left(&self.sizes, order).expect("known");
                assert_eq!(remaining.0, after, "{event:?}");
                if self_trade {
                    assert!(after < before, "{event:?} shrinks");
                    if !kept_priority {
                        assert_eq!(
                            (old_visible, visible),
                            Default::default(),
                            "not in the book"
                        );
                        self.shrunk = Some(order);
                    }
                }
            }
            Event::Traded {
                maker_order,
                taker_order,
                quantity,
                maker_remaining,
                taker_remaining,
                auction,
                ..
            } => {
                for order in [maker_order, taker_order] {
                    if let Some(kept) = self.sizes.get_mut(&order.sequence) {
                        kept.1 += quantity.0;
                    }
                }
                let maker = left(&self.sizes, maker_order).expect("a maker has a size");
                assert_eq!(maker_remaining.0, maker, "{event:?}");
                match left(&self.sizes, taker_order) {
                    // What self-trade prevention took off before is told after the trades.
                    Some(left) if !auction => assert!(taker_remaining.0 <= left, "{event:?}"),
                    left => assert_eq!(taker_remaining.0, left.unwrap_or(0), "{event:?}"),
                }
            }
            Event::OrderOpened {
                order, remaining, ..
            } => assert_eq!(Some(remaining.0), left(&self.sizes, order), "{event:?}"),
            Event::OrderDone {
                order,
                remaining,
                reason,
                ..
            } => {
                let left = left(&self.sizes, order).unwrap_or(0);
                assert_eq!(remaining.0, left, "{event:?}");
                assert!(reason != DoneReason::Filled || left == 0, "{event:?}");
                self.sizes.remove(&order.sequence);
            }
            _ => {}
        }
    }

    fn book(&mut self, event: &Event) {
        match *event {
            Event::AssetAdded {
                asset, decimals, ..
            } => {
                assert_eq!(asset.0 as usize, self.asset_decimals.len());
                self.asset_decimals.push(decimals.into());
            }
            Event::InstrumentAdded { id, instrument } => {
                assert_eq!(id.0 as usize, self.instruments.len());
                self.instruments.push(instrument);
            }
            Event::Deposited {
                transfer,
                member,
                asset,
                amount,
                ..
            } => {
                self.transfer(transfer);
                self.add(member, asset, amount.0);
            }
            Event::WithdrawalRequested {
                transfer,
                member,
                asset,
                amount,
                ..
            } => {
                self.transfer(transfer);
                self.withdrawals.insert(transfer, (member, asset, amount.0));
            }
            Event::WithdrawalCompleted { transfer, .. } => {
                let (member, asset, amount) = self.withdrawals.remove(&transfer).unwrap();
                self.add(member, asset, -amount);
            }
            Event::WithdrawalCanceled { transfer, .. } => {
                self.withdrawals.remove(&transfer).unwrap();
            }
            Event::Transferred {
                transfer,
                from,
                to,
                asset,
                amount,
                ..
            } => {
                self.transfer(transfer);
                self.add(from, asset, -amount.0);
                self.add(to, asset, amount.0);
            }
            Event::OrderAccepted {
                order,
                sequence,
                details,
                ..
            } => {
                assert!(order.sequence > self.last_order, "acceptances rise");
                self.last_order = order.sequence;
                assert!(self.open.insert(order.sequence, order).is_none());
                assert_eq!(sequence == 0, details.stop.is_some());
                if sequence != 0 {
                    self.see(order.instrument, sequence);
                }
            }
            Event::OrderAmended {
                order, sequence, ..
            } => {
                assert_eq!(self.open.get(&order.sequence), Some(&order));
                if sequence != 0 {
                    self.see(order.instrument, sequence);
                }
            }
            Event::OrderTriggered {
                order, sequence, ..
            }
            | Event::OrderOpened {
                order, sequence, ..
            } => {
                assert_eq!(self.open.get(&order.sequence), Some(&order));
                self.see(order.instrument, sequence);
            }
            Event::OrderDone {
                order, sequence, ..
            } => {
                assert_eq!(self.open.remove(&order.sequence), Some(order), "done once");
                if sequence != 0 {
                    self.see(order.instrument, sequence);
                }
            }
            Event::Traded {
                trade,
                sequence,
                maker_order,
                taker_order,
                maker,
                taker,
                maker_side,
                price,
                quantity,
                notional,
                maker_fee,
                taker_fee,
                ..
            } => {
                let id = maker_order.instrument;
                self.see(id, sequence);
                let last = self.trades.entry(id).or_default();
                *last += 1;
                assert_eq!(trade.0, *last, "trade ids have no gaps");
                assert_eq!(self.open.get(&maker_order.sequence), Some(&maker_order));
                assert_eq!(self.open.get(&taker_order.sequence), Some(&taker_order));
                assert!(price.0 > 0 && quantity.0 > 0 && notional.0 > 0);
                let Instrument { base, quote, .. } = self.instruments[id.0 as usize];
                let atoms = self.base_atoms(id, quantity);
                let (buyer, seller) = if maker_side == Side::Buy {
                    (maker, taker)
                } else {
                    (taker, maker)
                };
                self.add(buyer, base, atoms);
                self.add(seller, base, -atoms);
                self.add(buyer, quote, -notional.0);
                self.add(seller, quote, notional.0);
                self.add(maker, quote, -maker_fee.0);
                self.add(taker, quote, -taker_fee.0);
            }
            _ => {}
        }
    }

    fn transfer(&mut self, transfer: TransferId) {
        self.last_transfer += 1;
        assert_eq!(transfer.0, self.last_transfer, "transfer ids have no gaps");
    }

    fn base_atoms(&self, instrument: InstrumentId, quantity: Quantity) -> i128 {
        let decimals = self.decimals_of_base(instrument);
        i128::from(quantity.0) * 10i128.pow(decimals)
    }

    fn decimals_of_base(&self, instrument: InstrumentId) -> u32 {
        let instrument = &self.instruments[instrument.0 as usize];
        self.asset_decimals[instrument.base.0 as usize] - u32::from(instrument.size_decimals)
    }
}

/// Whether an event answers an order.
fn is_answer(event: &Event) -> bool {
    matches!(
        event,
        Event::OrderAccepted { .. } | Event::OrderRejected { .. }
    )
}
