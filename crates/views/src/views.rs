//! The views together: how events change them, and how they are asked.

use std::collections::BTreeMap;

use everopen_domain::{
    Amount, AssetId, ClientOrderId, Event, FeeTiers, InstrumentId, LogIndex, MemberCode, MemberId,
    OrderId, Price, Timestamp, TradeId, TransferId,
};
use serde::{Deserialize, Serialize};

use crate::account::{Account, AccountView, LedgerEntry, TransferView};
use crate::book::BookView;
use crate::candle::{Candle, Granularity};
use crate::config::Config;
use crate::fee::{FeeSchedules, FeesView};
use crate::market::{Market, Stats24h, Ticker, TradeView};
use crate::member::{FillFilter, FillView, Member, MemberView, Page};
use crate::order::{OrderFilter, OrderView};
use crate::reference::{AssetView, Product};

/// Everything that is remembered; what a checkpoint holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub index: LogIndex,
    pub time: Timestamp,
    pub killed: bool,
    pub assets: Vec<AssetView>,
    pub markets: Vec<Market>,
    pub symbols: BTreeMap<String, InstrumentId>,
    pub fees: FeeSchedules,
    pub members: Vec<Member>,
    pub member_codes: BTreeMap<MemberCode, MemberId>,
    pub last_ledger_entry: u64,
    pub last_order: u64,
}

/// The read models of one log. See the module documentation of the crate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Views {
    pub(crate) config: Config,
    pub(crate) state: State,
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
            | Event::OrderLimitsSet { .. }
            | Event::LogicActivated { .. } => {}
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
