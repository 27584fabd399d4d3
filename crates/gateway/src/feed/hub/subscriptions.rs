//! Changes of subscriptions, and what a new subscriber is sent first.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use everopen_domain::{AssetId, InstrumentId, MemberId, Timestamp, TradingPhase};
use everopen_views::{BookView, Views};

use crate::feed::channel::{Channel, Channels};
use crate::feed::json::{Escaped, put};
use crate::feed::request::Refusal;
use crate::feed::{private, public, rows, status};

use super::{BalanceSubscriber, Client, Heard, Hub, Market, Subscriber};

/// A checked request to have one channel of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::feed) struct Wish {
    pub product: InstrumentId,
    pub channel: Channel,
    pub from_sequence: Option<u64>,
}

/// Everything that a checked subscribe asks for.
#[derive(Default)]
pub(in crate::feed) struct Wishes {
    pub per_product: Vec<Wish>,
    pub status: bool,
    /// Of all accounts, or only of those.
    pub balance: Option<Option<Vec<AssetId>>>,
}

impl Hub {
    /// The channels that a client has of each product.
    fn channels_of(&self, client: &Client) -> BTreeMap<InstrumentId, Channels> {
        let mut channels = BTreeMap::new();
        for (at, market) in self.markets.iter().enumerate() {
            if let Some(subscriber) = market.find(client) {
                channels.insert(InstrumentId(at as u32), subscriber.channels);
            }
        }
        channels
    }

    /// Checks what only the hub knows, and counts the channel and product pairs that the client
    /// would then hold; nothing is changed yet.
    pub fn check(&self, client: &Client, wishes: &Wishes) -> Result<u32, Refusal> {
        let mut held = self.channels_of(client);
        for wish in &wishes.per_product {
            let channels = held.entry(wish.product).or_default();
            *channels = channels.with(wish.channel);
            if let Some(from) = wish.from_sequence {
                self.market(wish.product).check_replay(from)?;
            }
        }
        Ok(held.values().map(|channels| channels.len()).sum())
    }

    /// Gives a client what it wishes: the list of its subscriptions, then what each new one begins
    /// with, so that the next messages follow on from there.
    pub fn subscribe(
        &mut self,
        views: &Views,
        now: Timestamp,
        client: &Arc<Client>,
        member: Option<MemberId>,
        wishes: Wishes,
    ) {
        let mut had = Vec::with_capacity(wishes.per_product.len());
        for wish in &wishes.per_product {
            let market = self.market_mut(wish.product);
            had.push(market.add(client, member, wish.channel, views.last_order_sequence()));
        }
        if wishes.status {
            self.status.insert(client.id, client.clone());
        }
        if let (Some(only), Some(member)) = (&wishes.balance, member) {
            self.balance.insert(
                client.id,
                BalanceSubscriber {
                    client: client.clone(),
                    member,
                    only: only.clone(),
                },
            );
        }
        client.outbox.push_snapshot(&self.list(views, client));
        for (wish, had) in wishes.per_product.iter().zip(had) {
            self.market_mut(wish.product)
                .begin(views, now, client, wish, had);
        }
        if wishes.status {
            client.outbox.push_snapshot(&status::status(views));
        }
        if let (Some(only), Some(member)) = (&wishes.balance, member) {
            for account in views.accounts(member) {
                if only
                    .as_ref()
                    .is_none_or(|only| only.contains(&account.asset))
                    && let Some(asset) = views.asset(account.asset)
                {
                    let text = private::balance(member, asset, &account, now);
                    client.outbox.push_snapshot(&text);
                }
            }
        }
    }

    /// Takes channels from a client; `None` for a product means all of them.
    pub fn unsubscribe(
        &mut self,
        views: &Views,
        client: &Arc<Client>,
        what: &[(Channel, Option<InstrumentId>)],
    ) {
        for (channel, product) in what {
            match (channel, product) {
                (Channel::Status, _) => {
                    self.status.remove(&client.id);
                }
                (Channel::Balance, _) => {
                    self.balance.remove(&client.id);
                }
                (_, Some(product)) => self.market_mut(*product).remove(client, *channel),
                (_, None) => {
                    for market in &mut self.markets {
                        market.remove(client, *channel);
                    }
                }
            }
        }
        client.outbox.push_snapshot(&self.list(views, client));
    }

    /// Forgets a client.
    pub fn forget(&mut self, client: &Client) {
        self.clients.remove(&client.id);
        if let Some(count) = self.addresses.get_mut(&client.address) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(&client.address);
            }
        }
        self.status.remove(&client.id);
        self.balance.remove(&client.id);
        for market in &mut self.markets {
            let before = market.subscribers.len();
            market.subscribers.retain(|s| s.client.id != client.id);
            if market.subscribers.len() != before {
                market.count_wanted();
            }
        }
    }

    /// The `subscriptions` message: all that a client has.
    fn list(&self, views: &Views, client: &Client) -> Utf8Bytes {
        let held = self.channels_of(client);
        let mut text = String::with_capacity(256);
        text.push_str(r#"{"type":"subscriptions","channels":["#);
        let mut first = true;
        for channel in Channel::ALL {
            let has = match channel {
                Channel::Status => self.status.contains_key(&client.id),
                Channel::Balance => self.balance.contains_key(&client.id),
                _ => held.values().any(|channels| channels.has(channel)),
            };
            if !has {
                continue;
            }
            let comma = if std::mem::take(&mut first) { "" } else { "," };
            put!(
                &mut text,
                r#"{comma}{{"name":"{}","product_ids":["#,
                channel.name()
            );
            let products = held
                .iter()
                .filter(|(_, channels)| channels.has(channel))
                .filter_map(|(id, _)| views.product(*id));
            for (at, product) in products.enumerate() {
                let comma = if at == 0 { "" } else { "," };
                put!(&mut text, r#"{comma}"{}""#, Escaped(&product.symbol));
            }
            text.push_str("]}");
        }
        text.push_str("]}");
        text.into()
    }
}

impl Market {
    fn find(&self, client: &Client) -> Option<&Subscriber> {
        self.subscribers.iter().find(|s| s.client.id == client.id)
    }

    fn check_replay(&self, from: u64) -> Result<(), Refusal> {
        let next = self.replay_from + self.replay.len() as u64;
        let reason = if from < self.replay_from {
            format!("the oldest available sequence is {}", self.replay_from)
        } else if from > next {
            format!("the next sequence is {next}")
        } else {
            return Ok(());
        };
        Err(Refusal::new("Sequence not available", reason))
    }

    /// Whether the client had the channel before.
    fn add(
        &mut self,
        client: &Arc<Client>,
        member: Option<MemberId>,
        channel: Channel,
        last_order: u64,
    ) -> bool {
        let at = self
            .subscribers
            .iter()
            .position(|s| s.client.id == client.id)
            .unwrap_or_else(|| {
                self.subscribers.push(Subscriber {
                    client: client.clone(),
                    channels: Channels::NONE,
                    member: None,
                    heard: Heard::default(),
                });
                self.subscribers.len() - 1
            });
        let subscriber = &mut self.subscribers[at];
        let had = subscriber.channels.has(channel);
        subscriber.channels = subscriber.channels.with(channel);
        subscriber.member = member.or(subscriber.member);
        if channel == Channel::User && !had {
            subscriber.heard = Heard {
                from_order: last_order,
                ..Heard::default()
            };
        }
        self.count_wanted();
        had
    }

    fn remove(&mut self, client: &Client, channel: Channel) {
        for subscriber in &mut self.subscribers {
            if subscriber.client.id == client.id {
                subscriber.channels = subscriber.channels.without(channel);
            }
        }
        self.subscribers.retain(|s| !s.channels.is_empty());
        self.count_wanted();
    }

    /// Sends what a subscription begins with.
    fn begin(&mut self, views: &Views, now: Timestamp, client: &Client, wish: &Wish, had: bool) {
        let (Some(product), Some(book)) = (views.product(wish.product), views.book(wish.product))
        else {
            return;
        };
        let outbox = &client.outbox;
        match wish.channel {
            Channel::Level2 | Channel::Level2Batch | Channel::Level250 => {
                // Also for whoever had it: some clients start over with each subscribe.
                let text = self.snapshot_of(|| public::snapshot(product, book, now), book);
                outbox.push_snapshot(&text);
            }
            Channel::Full => {
                if let Some(from) = wish.from_sequence {
                    let skipped = (from - self.replay_from) as usize;
                    for text in self.replay.range(skipped..) {
                        outbox.push_snapshot(text);
                    }
                }
            }
            Channel::Level3 if !had => outbox.push_snapshot(&rows::SCHEMA.into()),
            Channel::Matches if !had => {
                if let Some(text) = public::last_match(product, views) {
                    outbox.push_snapshot(&text);
                }
            }
            Channel::Ticker | Channel::TickerBatch if !had => {
                if let (Some(ticker), Some(stats)) =
                    (views.ticker(product.id), views.stats_24h(product.id))
                    && let Some(text) = public::ticker(product, &ticker, &stats)
                {
                    outbox.push_snapshot(&text);
                }
            }
            Channel::Auction if !had && product.phase == TradingPhase::Auction => {
                outbox.push_snapshot(&public::auction(product, book, now));
            }
            _ => {}
        }
    }

    fn snapshot_of(&mut self, build: impl FnOnce() -> Utf8Bytes, book: &BookView) -> Utf8Bytes {
        match &self.snapshot {
            Some((sequence, text)) if *sequence == book.sequence() => text.clone(),
            _ => {
                let text = build();
                self.snapshot = Some((book.sequence(), text.clone()));
                text
            }
        }
    }
}
