//! One product's subscribers, and what each of them gets of an event.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::Arc;

use axum::extract::ws::Utf8Bytes;
use everopen_domain::{Event, MemberId, OrderId, Price, Rate, Side, Timestamp};
use everopen_views::{BookView, Liquidity, OrderView, Product, Views};

use crate::feed::channel::{Channel, Channels};
use crate::feed::config::FeedConfig;
use crate::feed::{private, public};

use super::{Before, Client};

/// Which of a member's orders a subscriber of `user` has heard of.
#[derive(Default)]
pub(super) struct Heard {
    /// Orders accepted later than this it heard of from their beginning.
    pub from_order: u64,
    /// Older ones that it was told of since; each is forgotten when it ends.
    pub older: HashSet<u64>,
}

/// A connection that has channels of one product.
pub(super) struct Subscriber {
    pub client: Arc<Client>,
    pub channels: Channels,
    pub member: Option<MemberId>,
    pub heard: Heard,
}

/// One product's subscribers, and what they may ask for or wait for.
pub(super) struct Market {
    pub subscribers: Vec<Subscriber>,
    /// The channels that anyone has.
    pub wanted: Channels,
    /// Recent `full` messages by sequence, without gaps.
    pub replay: VecDeque<Utf8Bytes>,
    /// The sequence of the first of them.
    pub replay_from: u64,
    /// Levels that changed since the last batch.
    pub changed: BTreeSet<(Side, Price)>,
    /// Whether anything traded since the last `ticker_batch`.
    pub traded: bool,
    /// The snapshot of a sequence, for the next who asks.
    pub snapshot: Option<(u64, Utf8Bytes)>,
}

impl Market {
    pub fn new(sequence: u64) -> Self {
        Self {
            subscribers: Vec::new(),
            wanted: Channels::NONE,
            replay: VecDeque::new(),
            replay_from: sequence + 1,
            changed: BTreeSet::new(),
            traded: false,
            snapshot: None,
        }
    }

    pub fn count_wanted(&mut self) {
        self.wanted = self
            .subscribers
            .iter()
            .fold(Channels::NONE, |all, s| all.union(s.channels));
        if !self.wanted.has_any(Channels::BATCHED_LEVELS) {
            self.changed.clear();
        }
    }

    pub fn send(&self, channels: Channels, text: &Utf8Bytes) {
        for subscriber in &self.subscribers {
            if subscriber.channels.has_any(channels) {
                subscriber.client.outbox.push(text);
            }
        }
    }

    pub fn send_changed(&mut self, product: &Product, book: &BookView, now: Timestamp) {
        let changed = std::mem::take(&mut self.changed);
        if changed.is_empty() {
            return;
        }
        let text = public::level2_update(product, book, now, changed.into_iter());
        self.send(Channels::BATCHED_LEVELS, &text);
    }

    pub fn send_ticker(&self, channel: Channel, product: &Product, views: &Views) {
        let id = product.id;
        if let (Some(ticker), Some(stats)) = (views.ticker(id), views.stats_24h(id))
            && let Some(text) = public::ticker(product, &ticker, &stats)
        {
            self.send(Channels::NONE.with(channel), &text);
        }
    }

    pub fn deliver_levels(
        &mut self,
        config: &FeedConfig,
        product: &Product,
        book: &BookView,
        time: Timestamp,
        before: &Before,
    ) {
        let batched = self.wanted.has_any(Channels::BATCHED_LEVELS);
        if !batched && !self.wanted.has(Channel::Level2) {
            return;
        }
        let [first, second] = before.levels;
        let same = |a: (Side, Price, u128), b: (Side, Price, u128)| (a.0, a.1) == (b.0, b.1);
        let second = match (first, second) {
            (Some(a), Some(b)) if same(a, b) => None,
            _ => second,
        };
        let mut changed = [first, second]
            .into_iter()
            .flatten()
            .filter(|(side, price, shown)| book.visible_at(*side, *price) != *shown)
            .map(|(side, price, _)| (side, price))
            .peekable();
        if changed.peek().is_none() {
            return;
        }
        if batched {
            self.changed.extend(changed.clone());
            if self.changed.len() >= config.batch_levels_max {
                self.send_changed(product, book, time);
            }
        }
        if self.wanted.has(Channel::Level2) {
            let text = public::level2_update(product, book, time, changed);
            self.send(Channels::NONE.with(Channel::Level2), &text);
        }
    }

    pub fn deliver_user(
        &mut self,
        product: &Product,
        book: &BookView,
        views: &Views,
        time: Timestamp,
        event: &Event,
        before: &Before,
    ) {
        for (at, party) in private::parties(event).into_iter().enumerate() {
            let Some((member, order)) = party else {
                continue;
            };
            let listens =
                |s: &&mut Subscriber| s.channels.has(Channel::User) && s.member == Some(member);
            let mut message = None;
            for subscriber in self.subscribers.iter_mut().filter(listens) {
                // Built for the first who listens, shared by the rest.
                let message = message
                    .get_or_insert_with(|| {
                        user_message(
                            product,
                            book,
                            views,
                            time,
                            event,
                            at,
                            (member, order),
                            before,
                        )
                    })
                    .as_ref();
                let Some(message) = message else {
                    continue;
                };
                subscriber.introduce(product, order, event, before.orders[at].as_ref());
                subscriber.client.outbox.push(message);
            }
        }
    }
}

impl Subscriber {
    /// Tells of an order that is older than the subscription before the first message about it,
    /// since clients can't make sense of a match or an end of an order that they never received.
    fn introduce(
        &mut self,
        product: &Product,
        order: OrderId,
        event: &Event,
        before: Option<&OrderView>,
    ) {
        if order.sequence > self.heard.from_order {
            return;
        }
        let tells_itself = matches!(event, Event::OrderTriggered { .. });
        if self.heard.older.insert(order.sequence)
            && !tells_itself
            && let Some(before) = before
            && let Some(earlier) = public::sequence_of(event).checked_sub(1)
        {
            let text = private::received_before(product, before, earlier);
            self.client.outbox.push(&text);
        }
        if matches!(event, Event::OrderDone { .. }) {
            self.heard.older.remove(&order.sequence);
        }
    }
}

#[allow(
    clippy::too_many_arguments,
    reason = "what one message is made of, used once"
)]
fn user_message(
    product: &Product,
    book: &BookView,
    views: &Views,
    time: Timestamp,
    event: &Event,
    at: usize,
    (member, order): (MemberId, OrderId),
    before: &Before,
) -> Option<Utf8Bytes> {
    let Event::Traded { auction, .. } = event else {
        let order = views.order(member, order)?;
        let unfilled = before.unfilled;
        return private::order_message(product, order, unfilled, book.sequence(), time, event);
    };
    let rates = before.orders[at].map_or((Rate::ZERO, Rate::ZERO), |order| {
        (order.maker_rate, order.taker_rate)
    });
    let (liquidity, rate) = match at {
        0 => (Liquidity::Maker, rates.0),
        // In an auction both are charged as makers.
        _ if *auction => (Liquidity::Taker, rates.0),
        _ => (Liquidity::Taker, rates.1),
    };
    private::match_message(product, time, event, liquidity, rate)
}
