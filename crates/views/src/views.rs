//! The views together: how events change them, and how they are asked.

use std::collections::BTreeMap;

use everopen_domain::{
    Amount, AssetId, ClientOrderId, Event, FeeTiers, Instrument, InstrumentId, LogIndex,
    MemberCode, MemberId, OrderId, Price, Quantity, Side, Timestamp, TradeId, TransferId,
};
use serde::{Deserialize, Serialize};

use crate::account::{
    Account, AccountView, LedgerDetail, LedgerEntry, LedgerKind, TransferKind, TransferStatus,
    TransferView,
};
use crate::book::{AuctionIndication, BookOrder, BookView};
use crate::candle::{Candle, Granularity};
use crate::config::{Config, push_bounded};
use crate::fee::{FeeSchedules, FeesView};
use crate::market::{Market, Stats24h, Ticker, TradeView};
use crate::member::{FillFilter, FillView, Liquidity, Member, MemberView, Page};
use crate::order::{OrderDoneView, OrderFilter, OrderStatus, OrderView};
use crate::reference::{AssetView, Product};

/// Everything that is remembered; what a checkpoint holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    index: LogIndex,
    time: Timestamp,
    killed: bool,
    assets: Vec<AssetView>,
    markets: Vec<Market>,
    symbols: BTreeMap<String, InstrumentId>,
    fees: FeeSchedules,
    members: Vec<Member>,
    member_codes: BTreeMap<MemberCode, MemberId>,
    last_ledger_entry: u64,
    last_order: u64,
}

/// The read models of one log. See the module documentation of the crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Views {
    config: Config,
    state: State,
}

impl Views {
    /// The views of an empty log.
    pub fn new(config: Config) -> Self {
        Self::of(config, State::default())
    }

    pub(crate) fn of(config: Config, state: State) -> Self {
        Self { config, state }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The log has come to `index` at `time`; what rolls with time rolls. Called for entries
    /// without events; [`Views::apply`] does it itself.
    pub fn advance(&mut self, index: LogIndex, time: Timestamp) {
        const MINUTE: u64 = 60 * Timestamp::NANOS_PER_SECOND;
        let state = &mut self.state;
        state.index = state.index.max(index);
        if time <= state.time {
            return;
        }
        if time.0 / MINUTE != state.time.0 / MINUTE {
            for market in &mut state.markets {
                market.candles.roll(time.0 / MINUTE);
            }
        }
        state.time = time;
    }

    /// Takes the next event of the entry `index`, whose time is `time`.
    pub fn apply(&mut self, index: LogIndex, time: Timestamp, event: &Event) {
        self.advance(index, time);
        match event {
            Event::AssetAdded { .. }
            | Event::InstrumentAdded { .. }
            | Event::InstrumentAmended { .. }
            | Event::TradingPhaseChanged { .. }
            | Event::FeeTierSet { .. }
            | Event::MemberAdded { .. }
            | Event::MemberLimitsSet { .. }
            | Event::KillSwitchEngaged { .. }
            | Event::KillSwitchReleased { .. } => self.apply_administration(event),
            Event::Traded { .. } => self.apply_trade(time, event),
            Event::OrderAccepted { .. }
            | Event::OrderTriggered { .. }
            | Event::OrderOpened { .. }
            | Event::OrderAmended { .. }
            | Event::OrderDone { .. }
            | Event::AuctionIndicated { .. }
            | Event::AuctionUncrossed { .. } => self.apply_order(time, event),
            Event::Deposited { .. }
            | Event::WithdrawalRequested { .. }
            | Event::WithdrawalCompleted { .. }
            | Event::WithdrawalCanceled { .. }
            | Event::Transferred { .. }
            | Event::BalanceChanged { .. } => self.apply_money(time, event),
            // Answers to whoever asked; they change nothing that is viewed.
            Event::CommandRejected { .. }
            | Event::OrderRejected { .. }
            | Event::AmendRejected { .. }
            | Event::CancelRejected { .. }
            | Event::ReferencePriceSet { .. }
            | Event::OrderLimitsSet { .. } => {}
        }
    }

    fn apply_administration(&mut self, event: &Event) {
        let state = &mut self.state;
        match *event {
            Event::AssetAdded {
                asset,
                code,
                decimals,
            } => {
                debug_assert_eq!(asset.0 as usize, state.assets.len(), "invariant: dense ids");
                state.assets.push(AssetView {
                    id: asset,
                    code,
                    decimals,
                });
            }
            Event::InstrumentAdded { id, instrument } => {
                debug_assert_eq!(id.0 as usize, state.markets.len(), "invariant: dense ids");
                let product = product_of(&state.assets, id, instrument);
                state.symbols.insert(product.symbol.clone(), id);
                state.markets.push(Market::new(product));
            }
            Event::InstrumentAmended { instrument, limits } => {
                state.market(instrument).product.instrument.limits = limits;
            }
            Event::TradingPhaseChanged { instrument, phase } => {
                let market = state.market(instrument);
                market.product.phase = phase;
                market.book.set_indication(None);
            }
            Event::FeeTierSet {
                schedule,
                volume_asset,
                level,
                levels,
                tier,
            } => state
                .fees
                .set(schedule.0, volume_asset, level, levels, tier),
            Event::MemberAdded { member, code } => {
                debug_assert_eq!(
                    member.0 as usize,
                    state.members.len(),
                    "invariant: dense ids"
                );
                state.member_codes.insert(code, member);
                state.members.push(Member::new(code));
            }
            Event::MemberLimitsSet { member, limits } => state.member(member).limits = limits,
            Event::KillSwitchEngaged { member } => state.set_killed(member, true),
            Event::KillSwitchReleased { member } => state.set_killed(member, false),
            _ => {}
        }
    }

    fn apply_order(&mut self, time: Timestamp, event: &Event) {
        let state = &mut self.state;
        match *event {
            Event::OrderAccepted {
                order,
                member,
                sequence,
                details,
                hold,
                maker_rate,
                taker_rate,
            } => {
                state.market(order.instrument).book.advance(sequence);
                state.last_order = state.last_order.max(order.sequence);
                state.member(member).add_order(OrderView {
                    order,
                    member,
                    details,
                    created_at: time,
                    triggered_at: None,
                    filled: Quantity::ZERO,
                    executed_value: Amount::ZERO,
                    fees: Amount::ZERO,
                    remaining: details.size,
                    hold,
                    fee_parts: 0,
                    maker_rate,
                    taker_rate,
                    status: match details.stop {
                        Some(_) if sequence == 0 => OrderStatus::Active,
                        _ => OrderStatus::Pending,
                    },
                    done: None,
                });
            }
            Event::OrderTriggered {
                order,
                member,
                sequence,
                ..
            } => {
                state.market(order.instrument).book.advance(sequence);
                if let Some(view) = state.member(member).order_mut(order) {
                    view.triggered_at = Some(time);
                    view.status = OrderStatus::Pending;
                }
            }
            Event::OrderOpened {
                order,
                member,
                sequence,
                side,
                price,
                visible,
                remaining,
            } => {
                let book = &mut state.market(order.instrument).book;
                book.advance(sequence);
                book.join(
                    side,
                    BookOrder {
                        order,
                        member,
                        price,
                        visible,
                    },
                );
                let (markets, members) = (&state.markets, &mut state.members);
                let product = &markets[order.instrument.0 as usize].product;
                if let Some(view) = members[member.0 as usize].order_mut(order) {
                    view.status = OrderStatus::Open;
                    view.remaining = remaining;
                    view.hold = view.resting_hold(product);
                }
            }
            Event::OrderAmended {
                order,
                member,
                sequence,
                price,
                size,
                visible,
                remaining,
                hold,
                kept_priority,
                ..
            } => {
                if sequence != 0 {
                    let book = &mut state.market(order.instrument).book;
                    book.advance(sequence);
                    book.show(
                        order,
                        if kept_priority {
                            visible
                        } else {
                            Quantity::ZERO
                        },
                    );
                }
                if let Some(view) = state.member(member).order_mut(order) {
                    view.details.price = price;
                    view.details.size = size;
                    view.remaining = remaining;
                    view.hold = hold;
                    if sequence != 0 && !kept_priority {
                        view.status = OrderStatus::Pending;
                    }
                }
            }
            Event::OrderDone {
                order,
                member,
                sequence,
                remaining,
                reason,
                ..
            } => {
                let book = &mut state.market(order.instrument).book;
                book.advance(sequence);
                book.leave(order);
                let config = self.config;
                let member = state.member(member);
                if let Some(view) = member.order_mut(order) {
                    view.status = OrderStatus::Done;
                    view.remaining = remaining;
                    view.hold = Amount::ZERO;
                    view.done = Some(OrderDoneView { reason, at: time });
                }
                member.end_order(&config, order);
            }
            Event::AuctionIndicated {
                instrument,
                price,
                volume,
                surplus_side,
                surplus,
            } => state
                .market(instrument)
                .book
                .set_indication(Some(AuctionIndication {
                    price,
                    volume,
                    surplus_side,
                    surplus,
                })),
            Event::AuctionUncrossed { instrument, .. } => {
                state.market(instrument).book.set_indication(None);
            }
            _ => {}
        }
    }

    fn apply_trade(&mut self, time: Timestamp, event: &Event) {
        let Event::Traded {
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
            maker_remaining,
            maker_visible,
            taker_remaining,
            auction,
        } = *event
        else {
            return;
        };
        let config = self.config;
        let state = &mut self.state;
        let market = state.market(maker_order.instrument);
        market.book.advance(sequence);
        market.book.show(maker_order, maker_visible);
        if auction {
            // The taker rests, too. A hidden rest comes back with its own `OrderOpened`.
            let shown = market.book.visible_of(taker_order);
            let left = Quantity(shown.0.saturating_sub(quantity.0));
            market.book.show(taker_order, left.min(taker_remaining));
        }
        market.add_trade(
            &config,
            TradeView {
                trade,
                sequence,
                time,
                price,
                size: quantity,
                maker_side,
                maker_order,
                taker_order,
                maker,
                taker,
                auction,
            },
        );
        let base_atoms = market.product.base_atoms(quantity);
        let (base, quote) = (market.product.base.id, market.product.quote.id);
        let instrument = maker_order.instrument.0 as usize;
        let sides = [
            (maker, maker_order, maker_side, maker_fee, Liquidity::Maker),
            (
                taker,
                taker_order,
                maker_side.opposite(),
                taker_fee,
                Liquidity::Taker,
            ),
        ];
        for (member, order, side, fee, liquidity) in sides {
            let remaining = match liquidity {
                Liquidity::Maker => maker_remaining,
                Liquidity::Taker => taker_remaining,
            };
            let (markets, members) = (&state.markets, &mut state.members);
            let records = &mut members[member.0 as usize];
            records.add_fill(
                &config,
                FillView {
                    id: 0,
                    trade,
                    instrument: order.instrument,
                    order,
                    side,
                    price,
                    size: quantity,
                    notional,
                    fee,
                    liquidity,
                    created_at: time,
                },
            );
            // A member that trades with itself earns no lower fees by it.
            if maker != taker {
                let volume = records.volumes.entry(quote).or_default();
                volume.add(time.day(), notional);
            }
            if let Some(view) = records.order_mut(order) {
                let rests = auction || liquidity == Liquidity::Maker;
                let rate = if rests {
                    view.maker_rate
                } else {
                    view.taker_rate
                };
                view.fee_parts += notional.0.saturating_mul(i128::from(rate.0));
                view.remaining = remaining;
                if rests {
                    view.hold = view.resting_hold(&markets[instrument].product);
                }
            }
            let detail = LedgerDetail::Trade {
                order,
                trade,
                instrument: order.instrument,
            };
            let (base_change, quote_change) = match side {
                Side::Buy => (base_atoms.0, -notional.0),
                Side::Sell => (-base_atoms.0, notional.0),
            };
            let kind = LedgerKind::Match;
            state.post(&config, time, member, base, base_change, kind, detail);
            state.post(&config, time, member, quote, quote_change, kind, detail);
            let kind = if fee.0 > 0 {
                LedgerKind::Fee
            } else {
                LedgerKind::Rebate
            };
            state.post(&config, time, member, quote, -fee.0, kind, detail);
        }
    }

    fn apply_money(&mut self, time: Timestamp, event: &Event) {
        let config = self.config;
        let state = &mut self.state;
        match *event {
            Event::Deposited {
                transfer,
                member,
                asset,
                amount,
                reference,
            } => {
                let kind = TransferKind::Deposit;
                let status = TransferStatus::Completed(time);
                let view = TransferView {
                    transfer,
                    kind,
                    asset,
                    amount,
                    created_at: time,
                    status,
                    reference,
                    destination: Default::default(),
                };
                state.add_transfer(&config, member, view);
                state.post_transfer(&config, time, member, asset, amount.0, transfer, kind);
            }
            Event::WithdrawalRequested {
                transfer,
                member,
                asset,
                amount,
                reference,
                destination,
            } => {
                let view = TransferView {
                    transfer,
                    kind: TransferKind::Withdrawal,
                    asset,
                    amount,
                    created_at: time,
                    status: TransferStatus::Pending,
                    reference,
                    destination,
                };
                state.add_transfer(&config, member, view);
            }
            Event::WithdrawalCompleted {
                transfer,
                member,
                asset,
                amount,
            } => {
                state.end_transfer(member, transfer, TransferStatus::Completed(time));
                let kind = TransferKind::Withdrawal;
                state.post_transfer(&config, time, member, asset, -amount.0, transfer, kind);
            }
            Event::WithdrawalCanceled {
                transfer, member, ..
            } => state.end_transfer(member, transfer, TransferStatus::Canceled(time)),
            Event::Transferred {
                transfer,
                from,
                to,
                asset,
                amount,
                reference,
            } => {
                let sides = [
                    (from, TransferKind::TransferOut { to }, -amount.0),
                    (to, TransferKind::TransferIn { from }, amount.0),
                ];
                for (member, kind, change) in sides {
                    let view = TransferView {
                        transfer,
                        kind,
                        asset,
                        amount,
                        created_at: time,
                        status: TransferStatus::Completed(time),
                        reference,
                        destination: Default::default(),
                    };
                    state.add_transfer(&config, member, view);
                    state.post_transfer(&config, time, member, asset, change, transfer, kind);
                }
            }
            Event::BalanceChanged {
                member,
                asset,
                available,
                held,
            } => {
                let account = state.member(member).account(asset);
                account.available = available;
                account.held = held;
                // The log is right, should the sum of entries ever differ.
                account.balance = Amount(available.0.saturating_add(held.0));
            }
            _ => {}
        }
    }

    /// The entry up to which events were applied.
    pub fn index(&self) -> LogIndex {
        self.state.index
    }

    /// The time of that entry.
    pub fn time(&self) -> Timestamp {
        self.state.time
    }

    /// The `OrderId::sequence` of the last order that was accepted; 0 before the first.
    pub fn last_order_sequence(&self) -> u64 {
        self.state.last_order
    }

    /// Whether the venue's kill switch is engaged.
    pub fn is_killed(&self) -> bool {
        self.state.killed
    }

    /// An asset.
    pub fn asset(&self, id: AssetId) -> Option<&AssetView> {
        self.state.assets.get(id.0 as usize)
    }

    /// The asset of a code, in the case that it was added with.
    pub fn asset_by_code(&self, code: &str) -> Option<&AssetView> {
        self.state
            .assets
            .iter()
            .find(|asset| asset.code.as_str() == code)
    }

    /// All assets by id.
    pub fn assets(&self) -> &[AssetView] {
        &self.state.assets
    }

    /// An instrument.
    pub fn product(&self, id: InstrumentId) -> Option<&Product> {
        self.market(id).map(|market| &market.product)
    }

    /// The instrument of a symbol, written `BTC-USD` or `BTC/USD`.
    pub fn product_by_symbol(&self, symbol: &str) -> Option<&Product> {
        let id = match symbol.split_once('/') {
            Some((base, quote)) => self.state.symbols.get(&format!("{base}-{quote}")),
            None => self.state.symbols.get(symbol),
        };
        id.and_then(|id| self.product(*id))
    }

    /// All instruments by id.
    pub fn products(&self) -> impl ExactSizeIterator<Item = &Product> + '_ {
        self.state.markets.iter().map(|market| &market.product)
    }

    fn market(&self, id: InstrumentId) -> Option<&Market> {
        self.state.markets.get(id.0 as usize)
    }

    /// A book.
    pub fn book(&self, id: InstrumentId) -> Option<&BookView> {
        self.market(id).map(|market| &market.book)
    }

    /// The last trade and the best prices.
    pub fn ticker(&self, id: InstrumentId) -> Option<Ticker> {
        self.market(id).map(Market::ticker)
    }

    /// The last 24 hours and 30 days.
    pub fn stats_24h(&self, id: InstrumentId) -> Option<Stats24h> {
        self.market(id).map(Market::stats)
    }

    /// The last trade; none before the first.
    pub fn last_trade(&self, id: InstrumentId) -> Option<&TradeView> {
        self.market(id).and_then(|market| market.trades.back())
    }

    /// Recent trades, newest first; cursors are trade ids.
    pub fn trades(&self, id: InstrumentId, page: Page) -> impl Iterator<Item = &TradeView> + '_ {
        let range = page.range();
        self.market(id)
            .into_iter()
            .flat_map(move |market| {
                let from = market
                    .trades
                    .partition_point(|trade| trade.trade.0 < range.start);
                let to = market
                    .trades
                    .partition_point(|trade| trade.trade.0 < range.end);
                market.trades.range(from..to.max(from)).rev()
            })
            .take(page.limit as usize)
    }

    /// Candles that begin within `start..=end` (seconds since 1970 UTC), newest first, at most
    /// `limit`. Spans without a trade have none.
    pub fn candles(
        &self,
        id: InstrumentId,
        granularity: Granularity,
        start: u64,
        end: u64,
        limit: u32,
    ) -> impl Iterator<Item = &Candle> + '_ {
        self.market(id)
            .into_iter()
            .flat_map(move |market| market.candles.list(granularity, start, end))
            .take(limit as usize)
    }

    fn records(&self, id: MemberId) -> Option<&Member> {
        self.state.members.get(id.0 as usize)
    }

    /// A member.
    pub fn member(&self, id: MemberId) -> Option<MemberView> {
        self.records(id).map(|member| MemberView {
            id,
            code: member.code,
            limits: member.limits,
            killed: member.killed,
            live_orders: member.live_orders(),
        })
    }

    /// The member of a code.
    pub fn member_by_code(&self, code: &str) -> Option<MemberId> {
        let code = code.parse().ok()?;
        self.state.member_codes.get(&code).copied()
    }

    /// How many members there are; their ids are below it.
    pub fn member_count(&self) -> u32 {
        self.state.members.len() as u32
    }

    /// A member's order, if it is its own and still remembered.
    pub fn order(&self, member: MemberId, order: OrderId) -> Option<&OrderView> {
        self.records(member)?.order(order)
    }

    /// The latest of a member's orders with that client id, if still remembered.
    pub fn order_by_client_id(&self, member: MemberId, id: &ClientOrderId) -> Option<&OrderView> {
        self.records(member)?.order_by_client_id(id)
    }

    /// A member's orders, newest first.
    pub fn orders(
        &self,
        member: MemberId,
        filter: &OrderFilter,
    ) -> impl Iterator<Item = &OrderView> + '_ {
        let filter = *filter;
        self.records(member)
            .into_iter()
            .flat_map(move |records| records.orders(filter))
    }

    /// A member's fills, newest first.
    pub fn fills(
        &self,
        member: MemberId,
        filter: &FillFilter,
    ) -> impl Iterator<Item = &FillView> + '_ {
        let filter = *filter;
        self.records(member)
            .into_iter()
            .flat_map(move |records| records.fills(filter))
    }

    /// A member's account of an asset, empty if it was never touched; none for an unknown member
    /// or asset.
    pub fn account(&self, member: MemberId, asset: AssetId) -> Option<AccountView> {
        self.asset(asset)?;
        let account = self.records(member)?.accounts.get(asset.0 as usize);
        let (available, held) = account.map_or((Amount::ZERO, Amount::ZERO), |account| {
            (account.available, account.held)
        });
        Some(AccountView {
            asset,
            available,
            held,
        })
    }

    /// A member's accounts of all assets, in the order of assets.
    pub fn accounts(&self, member: MemberId) -> impl Iterator<Item = AccountView> + '_ {
        self.state
            .assets
            .iter()
            .filter_map(move |asset| self.account(member, asset.id))
    }

    /// The ledger entries of a member's account, newest first; cursors are entry ids.
    pub fn ledger_entries(
        &self,
        member: MemberId,
        asset: AssetId,
        page: Page,
    ) -> impl Iterator<Item = &LedgerEntry> + '_ {
        let range = page.range();
        self.records(member)
            .and_then(|records| records.accounts.get(asset.0 as usize))
            .into_iter()
            .flat_map(move |account: &Account| {
                let entries = &account.entries;
                let from = entries.partition_point(|entry| entry.id < range.start);
                let to = entries.partition_point(|entry| entry.id < range.end);
                entries.range(from..to.max(from)).rev()
            })
            .take(page.limit as usize)
    }

    /// A member's deposits, withdrawals and transfers that `takes` lets through, newest first;
    /// cursors are transfer ids.
    pub fn transfers<'a>(
        &'a self,
        member: MemberId,
        page: Page,
        takes: impl Fn(&TransferView) -> bool + 'a,
    ) -> impl Iterator<Item = &'a TransferView> + 'a {
        let range = page.range();
        self.records(member)
            .into_iter()
            .flat_map(|records| records.transfers.iter().rev())
            .filter(move |view| range.contains(&view.transfer.0) && takes(view))
            .take(page.limit as usize)
    }

    /// One of a member's movements of money.
    pub fn transfer(&self, member: MemberId, transfer: TransferId) -> Option<&TransferView> {
        let transfers = &self.records(member)?.transfers;
        let at = transfers
            .binary_search_by_key(&transfer, |view| view.transfer)
            .ok()?;
        transfers.get(at)
    }

    /// What a member's orders in an instrument would be charged now.
    pub fn fees_in(&self, member: MemberId, instrument: InstrumentId) -> Option<FeesView> {
        let schedule = self.product(instrument)?.instrument.limits.fee_schedule;
        let records = self.records(member)?;
        self.state
            .fees
            .fees(schedule.0, &records.volumes, self.state.time)
    }

    /// What a member's orders would be charged now in the first instrument, which stands for all
    /// where the API has room for one answer.
    pub fn fees(&self, member: MemberId) -> Option<FeesView> {
        self.fees_in(member, InstrumentId(0))
    }

    /// A fee schedule.
    pub fn fee_schedule(&self, schedule: u8) -> Option<&FeeTiers> {
        self.state.fees.get(schedule)
    }

    /// The last trade's price and id.
    pub fn last_price(&self, id: InstrumentId) -> Option<(TradeId, Price)> {
        self.last_trade(id).map(|trade| (trade.trade, trade.price))
    }
}

impl State {
    fn market(&mut self, id: InstrumentId) -> &mut Market {
        self.markets
            .get_mut(id.0 as usize)
            .expect("invariant: an event's instrument was added before")
    }

    fn member(&mut self, id: MemberId) -> &mut Member {
        self.members
            .get_mut(id.0 as usize)
            .expect("invariant: an event's member was added before")
    }

    fn set_killed(&mut self, member: Option<MemberId>, killed: bool) {
        match member {
            Some(member) => self.member(member).killed = killed,
            None => self.killed = killed,
        }
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one entry's fields, used in this file only"
    )]
    fn post(
        &mut self,
        config: &Config,
        time: Timestamp,
        member: MemberId,
        asset: AssetId,
        change: i128,
        kind: LedgerKind,
        detail: LedgerDetail,
    ) {
        if change == 0 {
            return;
        }
        self.last_ledger_entry += 1;
        let entry = LedgerEntry {
            id: self.last_ledger_entry,
            amount: Amount(change),
            balance: Amount::ZERO,
            created_at: time,
            kind,
            detail,
        };
        self.member(member).account(asset).post(config, entry);
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one entry's fields, used in this file only"
    )]
    fn post_transfer(
        &mut self,
        config: &Config,
        time: Timestamp,
        member: MemberId,
        asset: AssetId,
        change: i128,
        transfer: TransferId,
        kind: TransferKind,
    ) {
        let detail = LedgerDetail::Transfer { transfer, kind };
        let ledger_kind = LedgerKind::Transfer;
        self.post(config, time, member, asset, change, ledger_kind, detail);
    }

    fn add_transfer(&mut self, config: &Config, member: MemberId, view: TransferView) {
        let limit = config.transfers_per_member;
        push_bounded(&mut self.member(member).transfers, view, limit);
    }

    fn end_transfer(&mut self, member: MemberId, transfer: TransferId, status: TransferStatus) {
        let transfers = &mut self.member(member).transfers;
        if let Ok(at) = transfers.binary_search_by_key(&transfer, |view| view.transfer) {
            transfers[at].status = status;
        }
    }
}

fn product_of(assets: &[AssetView], id: InstrumentId, instrument: Instrument) -> Product {
    let asset = |id: AssetId| {
        *assets
            .get(id.0 as usize)
            .expect("invariant: an instrument's assets were added before")
    };
    let (base, quote) = (asset(instrument.base), asset(instrument.quote));
    Product {
        id,
        symbol: format!("{}-{}", base.code, quote.code),
        instrument,
        phase: everopen_domain::TradingPhase::CancelOnly,
        base,
        quote,
    }
}
