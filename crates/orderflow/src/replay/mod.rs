//! Drives the venue with a recorded feed.
//!
//! A feed tells the *results* of another market; the venue does its own matching. So each message
//! becomes the command that a member would have sent to cause it:
//!
//! | message | command |
//! |---|---|
//! | `Add` | place a good-till-canceled limit order: buys by one member, sells by another, so that self-trade prevention never steps in |
//! | `Execute` | place the aggressor that the feed leaves out: an immediate-or-cancel order of the other side, at the resting order's price, for that size |
//! | `Reduce`, `SetSize` | amend |
//! | `Delete` | cancel |
//! | `Replace` | replace in one step |
//! | `PhaseChange` | set the phase, once the instrument is in use |
//!
//! An aggressor matches the front of the queue, which need not be the order that the feed names:
//! hidden orders and history before the file are missing. The driver counts both, and afterwards
//! brings the named order down to the size that the feed gives it, so that the books follow the
//! feed. Messages that name an order never added are counted and change nothing.
//!
//! The driver is a pure state machine. Apply each command that [`Driver::next`] gives, then hand its
//! events to [`Driver::observe`], once for each command and in order. Several messages may be under
//! way at once if [`Config::client_order_ids`] is set.

mod follow;
mod memory;
mod outcome;
mod setup;
mod summary;

use std::collections::{HashMap, VecDeque};

use everopen_domain::{
    AssetCode, AssetId, CancelReason, Command, InstrumentId, MemberId, OrderId, OrderTarget, Side,
    Timestamp, TradingPhase,
};

use crate::feed::{Action, Clock, Feed, FeedMessage, Symbol};
use memory::{Ended, Numbers, client_order_id};

pub use summary::{Book, Executions, Summary};

/// What the driver has to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Decimals of the feed's prices; with `size_decimals` at most 18.
    pub price_decimals: u8,
    /// Decimals of the feed's sizes.
    pub size_decimals: u8,
    /// What is added to the times of messages: midnight of the trading day for feeds that count from
    /// midnight, zero for others.
    pub epoch: Timestamp,
    /// Code of the asset that everything is paid with.
    pub quote: AssetCode,
    /// The id that the venue will give to the next asset; zero in a new venue.
    pub next_asset: AssetId,
    /// The id that the venue will give to the next instrument.
    pub next_instrument: InstrumentId,
    /// The id that the venue will give to the next member.
    pub next_member: MemberId,
    /// True to give orders the feed's number as client order id. Commands may then be under way
    /// while further messages come; without it, events must be observed before the next message.
    /// An order may have traded by then, so some changes come too late and are refused and counted;
    /// in feeds whose takers are visible (Bitstamp) the trades then differ from those of a replay
    /// without delay.
    pub client_order_ids: bool,
}

impl Config {
    /// A new venue that only this feed uses.
    pub fn for_feed(feed: &Feed<'_>, midnight: Timestamp) -> Self {
        Self {
            price_decimals: feed.price_decimals(),
            size_decimals: feed.size_decimals(),
            epoch: match feed.clock() {
                Clock::Midnight => midnight,
                Clock::Epoch => Timestamp::ZERO,
            },
            quote: AssetCode::new(b"USD").expect("invariant: a plain word is a code"),
            next_asset: AssetId(0),
            next_instrument: InstrumentId(0),
            next_member: MemberId(0),
            client_order_ids: false,
        }
    }
}

/// An order of the feed that has not left it.
struct Order {
    instrument: InstrumentId,
    side: Side,
    price: u64,
    /// What the feed says is left.
    feed_left: u64,
    /// The venue's id, once it is known.
    id: Option<OrderId>,
    /// What is left of it in the venue.
    open: u64,
    /// Its whole size in the venue, filled part included.
    size: u64,
    /// False once it has ended in the venue, or was refused there.
    live: bool,
    /// Commands about it whose events have not come yet.
    under_way: u32,
}

impl Order {
    fn target(&self, order_ref: u64) -> OrderTarget {
        match self.id {
            Some(id) => OrderTarget::Order(id),
            None => OrderTarget::Client(client_order_id(order_ref)),
        }
    }
}

/// What a command under way was for.
#[derive(Clone, Copy)]
enum Purpose {
    /// Assets, members, money, phases.
    Setup,
    /// To put this order of the feed into the book.
    Place(u64),
    /// To put this order of the feed in the place of another, which stays if this one is refused.
    Replace(u64, OrderTarget, MemberId),
    /// To trade with this order of the feed.
    Aggress(u64, u64),
    /// To change this order of the feed.
    Change(u64),
}

/// Turns feed messages into commands. See the module.
pub struct Driver {
    config: Config,
    quote: AssetId,
    buyers: MemberId,
    sellers: MemberId,
    started: bool,
    assets: u32,
    /// Index is the instrument's id less `Config::next_instrument`.
    books: Vec<Book>,
    by_symbol: HashMap<Symbol, u32>,
    /// Phase of instruments that are not in use yet.
    phases: HashMap<Symbol, TradingPhase>,
    orders: HashMap<u64, Order, Numbers>,
    /// The feed's number of each live order, by the sequence in the venue's id.
    by_sequence: HashMap<u64, u64, Numbers>,
    /// New numbers from replaces of orders never added.
    orphans: HashMap<u64, (), Numbers>,
    ended: Ended,
    pending: VecDeque<Purpose>,
    /// Orders to bring in line with the feed with the next message.
    corrections: Vec<u64>,
    /// Orders that stayed because their replacement was refused.
    leftovers: Vec<(MemberId, OrderTarget)>,
    now: Timestamp,
    summary: Summary,
}

impl Driver {
    /// A driver that has sent nothing yet.
    pub fn new(config: Config) -> Self {
        Self {
            quote: config.next_asset,
            buyers: config.next_member,
            sellers: MemberId(config.next_member.0 + 1),
            started: false,
            assets: 0,
            books: Vec::new(),
            by_symbol: HashMap::new(),
            phases: HashMap::new(),
            orders: HashMap::default(),
            by_sequence: HashMap::default(),
            orphans: HashMap::default(),
            ended: Ended::default(),
            pending: VecDeque::new(),
            corrections: Vec::new(),
            leftovers: Vec::new(),
            now: Timestamp::ZERO,
            summary: Summary::default(),
            config,
        }
    }

    /// The time to stamp the commands of the last message with. It never goes backwards, whatever
    /// the feed does.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// What has happened so far.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The instruments in use, in the order of their first use.
    pub fn books(&self) -> &[Book] {
        &self.books
    }

    /// The next message of the feed; its commands are appended to `out`.
    pub fn next(&mut self, message: &FeedMessage, out: &mut Vec<Command>) {
        let time = self
            .config
            .epoch
            .checked_add(message.time)
            .unwrap_or(self.now);
        self.now = self.now.max(time);
        self.summary.count(message, time);
        self.correct(out);
        let kind = message.kind;
        match message.action {
            Action::Directory { .. } | Action::Other => {}
            Action::SystemEvent { code } => self.summary.end_of_messages = code == b'C',
            Action::TradeReport { size, .. } => self.summary.reported_volume += u128::from(size),
            Action::PhaseChange { symbol, phase } => self.set_phase(symbol, phase, out),
            Action::Add {
                order_ref,
                side,
                price,
                size,
                symbol,
            } => {
                let instrument = self.instrument(symbol, out);
                self.place(order_ref, instrument, side, price, size, None, out);
            }
            Action::Reduce { order_ref, by } => {
                let Some(order) = self.known(order_ref, kind) else {
                    return;
                };
                order.feed_left = order.feed_left.saturating_sub(by);
                self.settle(order_ref, out);
            }
            Action::Delete { order_ref, .. } => {
                let Some(order) = self.known(order_ref, kind) else {
                    self.orphans.remove(&order_ref);
                    if !self.ended.contains(order_ref) {
                        self.ended.insert(order_ref, Some(kind));
                    }
                    return;
                };
                order.feed_left = 0;
                self.settle(order_ref, out);
            }
            Action::Execute {
                order_ref, size, ..
            } => self.execute(order_ref, size, kind, out),
            Action::Replace {
                old_ref,
                new_ref,
                price,
                size,
            } => {
                self.replace(old_ref, new_ref, price, size, kind, out);
            }
            Action::SetSize {
                order_ref,
                price,
                size,
            } => {
                self.set_size(order_ref, price, size, kind, out);
            }
        }
    }

    /// Commands that the last messages have left over. Call it at the end of the feed, until it
    /// appends nothing.
    pub fn finish(&mut self, out: &mut Vec<Command>) {
        self.correct(out);
    }

    fn send(&mut self, purpose: Purpose, command: Command, out: &mut Vec<Command>) {
        self.pending.push_back(purpose);
        out.push(command);
    }

    fn member(&self, side: Side) -> MemberId {
        match side {
            Side::Buy => self.buyers,
            Side::Sell => self.sellers,
        }
    }

    /// The order of that number, or `None` after counting that the feed never added it.
    fn known(&mut self, order_ref: u64, kind: u8) -> Option<&mut Order> {
        if !self.orders.contains_key(&order_ref) {
            if self.ended.contains(order_ref) {
                self.summary.after_end += 1;
                return None;
            }
            self.summary.unknown[usize::from(kind)] += 1;
            if self.orphans.contains_key(&order_ref) {
                self.summary.unknown_after_replace += 1;
            }
        }
        self.orders.get_mut(&order_ref)
    }

    /// The feed is done with an order.
    fn end(&mut self, order_ref: u64) {
        self.orders.remove(&order_ref);
        self.ended.insert(order_ref, None);
    }

    /// Cancels everything that the feed members still have in the book.
    pub fn clear(&mut self, out: &mut Vec<Command>) {
        for member in [self.buyers, self.sellers] {
            let reason = CancelReason::Requested;
            let cancel = Command::CancelOrders {
                member,
                instrument: None,
                reason,
            };
            self.send(Purpose::Setup, cancel, out);
        }
    }
}
