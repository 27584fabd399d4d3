//! What a replay has done so far.

use std::collections::BTreeMap;

use everopen_domain::{
    AssetId, CancelReason, DoneReason, InstrumentId, RejectReason, Timestamp, TradingPhase,
};

use crate::feed::{Count, FeedMessage, Symbol};

/// An instrument that the feed used.
#[derive(Clone, Copy, Debug)]
pub struct Book {
    /// The feed's name for it.
    pub symbol: Symbol,
    /// The venue's id of it.
    pub instrument: InstrumentId,
    /// The venue's id of its base asset.
    pub base: AssetId,
    /// The phase that it was last put into.
    pub phase: TradingPhase,
}

/// How the executions of the feed came out in the venue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Executions {
    /// Aggressors that were sent.
    pub sent: u64,
    /// Aggressors that traded in full with the order that the feed names.
    pub hit_named: u64,
    /// Aggressors that traded in full, at least partly with another order in front of it.
    pub hit_other: u64,
    /// Aggressors that found less than their size.
    pub unfilled: u64,
    /// Executions of orders that the venue no longer had; no aggressor was sent.
    pub gone: u64,
    /// Size that traded with named orders.
    pub volume_named: u128,
    /// Size that traded with other orders.
    pub volume_other: u128,
}

impl Executions {
    pub(super) fn add(&mut self, size: u64, named: u64, other: u64) {
        self.sent += 1;
        self.volume_named += u128::from(named);
        self.volume_other += u128::from(other);
        *if named + other < size {
            &mut self.unfilled
        } else if other == 0 {
            &mut self.hit_named
        } else {
            &mut self.hit_other
        } += 1;
    }
}

/// Counts of a replay. Sizes are in the feed's units.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Messages by what they do.
    pub messages: Count,
    /// Messages by the format's own type (see [`FeedMessage::kind`]).
    pub kinds: [u64; 256],
    /// Messages that name an order never added, by type.
    pub unknown: [u64; 256],
    /// Those of `unknown` whose order came from the replacement of another unknown order.
    pub unknown_after_replace: u64,
    /// Messages that name an order that has left the feed shortly before.
    pub after_end: u64,
    /// Messages that add an order whose deletion came shortly before; it is not placed.
    pub added_after_end: u64,
    /// Messages that add an order under a number in use.
    pub duplicate_references: u64,
    /// Messages about an order that the venue had already filled, or had refused.
    pub gone: u64,
    /// Messages that change an order to what it already was in the venue.
    pub agreeing: u64,
    /// Orders shrunk or canceled because an execution hit another order in their place.
    pub corrections: u64,
    /// Orders of the feed that the venue accepted; aggressors are counted in `executions`.
    pub orders_placed: u64,
    /// Orders canceled as the feed asked for, replaced ones included.
    pub orders_canceled: u64,
    /// Orders changed in place.
    pub orders_amended: u64,
    /// Trades in the venue.
    pub trades: u64,
    /// Trades between two orders of the feed, without an aggressor of ours.
    pub crossing_trades: u64,
    /// Size traded in the venue.
    pub volume: u128,
    /// Money traded in the venue, in atoms of the quote asset.
    pub notional: i128,
    /// Size of the trades that the feed reports beside its books.
    pub reported_volume: u128,
    /// What became of the feed's executions.
    pub executions: Executions,
    /// Refused commands by reason.
    pub rejected: BTreeMap<RejectReason, u64>,
    /// Instruments in use.
    pub books: u64,
    /// True if the feed says that it is complete (ITCH `S` with `C`). A file that was cut between two
    /// messages can't be told from a whole one in any other way; excerpts and the text formats have
    /// no such mark.
    pub end_of_messages: bool,
    /// Smallest and largest time in the feed.
    pub times: Option<(Timestamp, Timestamp)>,
}

impl Default for Summary {
    fn default() -> Self {
        Self {
            messages: Count::default(),
            kinds: [0; 256],
            unknown: [0; 256],
            unknown_after_replace: 0,
            after_end: 0,
            added_after_end: 0,
            duplicate_references: 0,
            gone: 0,
            agreeing: 0,
            corrections: 0,
            orders_placed: 0,
            orders_canceled: 0,
            orders_amended: 0,
            trades: 0,
            crossing_trades: 0,
            volume: 0,
            notional: 0,
            reported_volume: 0,
            executions: Executions::default(),
            rejected: BTreeMap::new(),
            books: 0,
            end_of_messages: false,
            times: None,
        }
    }
}

impl Summary {
    /// Messages that name an order never added.
    pub fn unknown_references(&self) -> u64 {
        self.unknown.iter().sum()
    }

    /// Refused commands.
    pub fn rejections(&self) -> u64 {
        self.rejected.values().sum()
    }

    /// Types that occurred, with their counts, in the order of their letters.
    pub fn kinds_seen(&self) -> impl Iterator<Item = (char, u64)> + '_ {
        let all = self.kinds.iter().enumerate();
        all.filter(|(_, count)| **count > 0)
            .map(|(kind, count)| (char::from(kind as u8), *count))
    }

    pub(super) fn count(&mut self, message: &FeedMessage, time: Timestamp) {
        self.messages.add(message);
        self.kinds[usize::from(message.kind)] += 1;
        self.times = Some(match self.times {
            None => (time, time),
            Some((first, last)) => (first.min(time), last.max(time)),
        });
    }

    pub(super) fn done(&mut self, reason: DoneReason) {
        if let DoneReason::Canceled(CancelReason::Requested | CancelReason::Replaced) = reason {
            self.orders_canceled += 1;
        }
    }
}
