//! Who is subscribed to what, and who is told of an event.

mod market;
pub(super) mod subscriptions;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use everopen_domain::{AssetId, Event, InstrumentId, MemberId, Price, Quantity, Side, Timestamp};
use everopen_views::{BookView, OrderView, Views};

use super::channel::{Channel, Channels};
use super::config::FeedConfig;
use super::outbox::Outbox;
use super::{private, public, rows, status};
use market::{Heard, Market, Subscriber};

/// A connection, as the hub sees it.
pub(super) struct Client {
    pub id: u64,
    pub address: IpAddr,
    pub outbox: Outbox,
    pub cancel_on_disconnect: AtomicBool,
}

/// A subscriber of `balance`.
struct BalanceSubscriber {
    client: Arc<Client>,
    member: MemberId,
    /// Only these accounts, or all.
    only: Option<Vec<AssetId>>,
}

/// All subscriptions.
#[derive(Default)]
pub(super) struct Hub {
    pub clients: HashMap<u64, Arc<Client>>,
    pub addresses: HashMap<IpAddr, u32>,
    markets: Vec<Market>,
    status: BTreeMap<u64, Arc<Client>>,
    balance: BTreeMap<u64, BalanceSubscriber>,
}

/// What a message needs to know of the time before its event.
pub(super) struct Before {
    instrument: Option<InstrumentId>,
    /// Where the event's orders rested, and what their levels showed.
    levels: [Option<(Side, Price, u128)>; 2],
    /// The event's orders; only looked up when someone listens to `user`.
    orders: [Option<OrderView>; 2],
    /// What an order that is amended had not filled.
    unfilled: Quantity,
}

impl Hub {
    pub fn new(views: &Views) -> Self {
        let mut hub = Self::default();
        hub.add_markets(views);
        hub
    }

    fn add_markets(&mut self, views: &Views) {
        for product in views.products().skip(self.markets.len()) {
            let sequence = views.book(product.id).map_or(0, BookView::sequence);
            self.markets.push(Market::new(sequence));
        }
    }

    fn market(&self, id: InstrumentId) -> &Market {
        &self.markets[id.0 as usize]
    }

    fn market_mut(&mut self, id: InstrumentId) -> &mut Market {
        &mut self.markets[id.0 as usize]
    }

    /// What must be known before the views take `event`.
    pub fn before(&self, views: &Views, event: &Event) -> Before {
        let mut before = Before {
            instrument: None,
            levels: [None; 2],
            orders: [None; 2],
            unfilled: Quantity::ZERO,
        };
        let Some(order) = public::order_of(event) else {
            return before;
        };
        before.instrument = Some(order.instrument);
        let Some(book) = views.book(order.instrument) else {
            return before;
        };
        let parties = private::parties(event);
        let level = |side, price| Some((side, price, book.visible_at(side, price)));
        for (place, party) in before.levels.iter_mut().zip(parties) {
            *place = party
                .and_then(|(_, order)| book.place_of(order))
                .and_then(|(side, price)| level(side, price));
        }
        if let Event::OrderOpened { side, price, .. } = *event {
            // Besides where it was, if it was somewhere: an iceberg's next peak.
            before.levels[1] = level(side, price);
        }
        if let Event::OrderAmended { order, member, .. } = *event {
            // Not what is left of it: trades tell that without what self-trade prevention has
            // taken off, which is only told now.
            let unfilled = views.order(member, order).map(OrderView::unfilled);
            before.unfilled = unfilled.unwrap_or_default();
        }
        if self.market(order.instrument).wanted.has(Channel::User) {
            for (place, party) in before.orders.iter_mut().zip(parties) {
                *place = party.and_then(|(member, order)| views.order(member, order).copied());
            }
        }
        before
    }

    /// Sends what `event` means to those who listen, after the views took it.
    pub fn deliver(
        &mut self,
        config: &FeedConfig,
        views: &Views,
        time: Timestamp,
        event: &Event,
        before: &Before,
    ) {
        match event {
            Event::AssetAdded { .. }
            | Event::InstrumentAdded { .. }
            | Event::InstrumentAmended { .. }
            | Event::KillSwitchEngaged { member: None }
            | Event::KillSwitchReleased { member: None } => {
                self.add_markets(views);
                self.send_status(views);
            }
            Event::TradingPhaseChanged { instrument, .. } => {
                self.send_status(views);
                // Its end is told by what ended it: the uncross, if there is one.
                self.send_auction(views, *instrument, time);
            }
            Event::AuctionIndicated { instrument, .. } => {
                self.send_auction(views, *instrument, time);
            }
            Event::BalanceChanged { member, asset, .. } => {
                self.send_balance(views, *member, *asset, time);
            }
            _ => {
                if let Some(instrument) = before.instrument {
                    self.deliver_market(config, views, instrument, time, event, before);
                }
            }
        }
    }

    fn deliver_market(
        &mut self,
        config: &FeedConfig,
        views: &Views,
        instrument: InstrumentId,
        time: Timestamp,
        event: &Event,
        before: &Before,
    ) {
        let (Some(product), Some(book)) = (views.product(instrument), views.book(instrument))
        else {
            return;
        };
        let market = self.market_mut(instrument);
        let sequence = public::sequence_of(event);
        if sequence != 0 {
            let Some(full) = public::full(product, views, before.unfilled, time, event) else {
                return;
            };
            let is_trade = matches!(event, Event::Traded { .. });
            if is_trade && market.wanted.has(Channel::Matches) {
                // Whoever has both gets it once.
                let either = Channels::NONE.with(Channel::Full).with(Channel::Matches);
                market.send(either, &full);
            } else if market.wanted.has(Channel::Full) {
                market.send(Channels::NONE.with(Channel::Full), &full);
            }
            market.replay.push_back(full);
            while market.replay.len() > config.replay_messages {
                market.replay.pop_front();
                market.replay_from += 1;
            }
            if market.wanted.has(Channel::Level3)
                && let Some(row) = rows::row_of(product, time, event)
            {
                market.send(Channels::NONE.with(Channel::Level3), &row);
            }
            market.deliver_levels(config, product, book, time, before);
            if is_trade {
                market.traded = true;
                if market.wanted.has(Channel::Ticker) {
                    market.send_ticker(Channel::Ticker, product, views);
                }
            }
        }
        if market.wanted.has(Channel::User) {
            market.deliver_user(product, book, views, time, event, before);
        }
    }

    fn send_status(&self, views: &Views) {
        if self.status.is_empty() {
            return;
        }
        let text = status::status(views);
        for client in self.status.values() {
            client.outbox.push(&text);
        }
    }

    fn send_auction(&self, views: &Views, instrument: InstrumentId, time: Timestamp) {
        let market = self.market(instrument);
        if let (true, Some(product), Some(book)) = (
            market.wanted.has(Channel::Auction),
            views.product(instrument),
            views.book(instrument),
        ) {
            let text = public::auction(product, book, time);
            market.send(Channels::NONE.with(Channel::Auction), &text);
        }
    }

    fn send_balance(&self, views: &Views, member: MemberId, asset: AssetId, time: Timestamp) {
        let mut text = None;
        for subscriber in self.balance.values() {
            let only = subscriber.only.as_ref();
            if subscriber.member != member || only.is_some_and(|only| !only.contains(&asset)) {
                continue;
            }
            if text.is_none()
                && let Some(known) = views.asset(asset)
                && let Some(account) = views.account(member, asset)
            {
                text = Some(private::balance(member, known, &account, time));
            }
            if let Some(text) = &text {
                subscriber.client.outbox.push(text);
            }
        }
    }

    /// Sends the batches of changed levels.
    pub fn tick_levels(&mut self, views: &Views, now: Timestamp) {
        for (market, product) in self.markets.iter_mut().zip(views.products()) {
            if let Some(book) = views.book(product.id) {
                market.send_changed(product, book, now);
            }
        }
    }

    /// Sends the tickers of those products that traded.
    pub fn tick_tickers(&mut self, views: &Views) {
        for (market, product) in self.markets.iter_mut().zip(views.products()) {
            if std::mem::take(&mut market.traded) && market.wanted.has(Channel::TickerBatch) {
                market.send_ticker(Channel::TickerBatch, product, views);
            }
        }
    }

    /// Sends the heartbeats.
    pub fn tick_heartbeats(&self, views: &Views, now: Timestamp) {
        for (market, product) in self.markets.iter().zip(views.products()) {
            if market.wanted.has(Channel::Heartbeat) {
                let text = public::heartbeat(product, views, now);
                market.send(Channels::NONE.with(Channel::Heartbeat), &text);
            }
        }
    }

    /// Sends the status to all who listen.
    pub fn tick_status(&self, views: &Views) {
        self.send_status(views);
    }
}
