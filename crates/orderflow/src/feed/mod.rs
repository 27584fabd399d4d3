//! Recorded order flow in one vocabulary, whichever format it was recorded in.
//!
//! [`Feed`] opens a file, sees through gzip and xz, recognizes the format by its content and yields
//! [`FeedMessage`]s with constant memory. A damaged or truncated file ends in a [`FeedError`] that
//! names the offset; what was yielded before it must not be reported as a finished replay.
//!
//! **Order of time.** Messages come in the order of the file. A time that lies before that of the
//! message before it is passed on as it stands and counted in [`Feed::time_reversals`]: real
//! recordings of several sources hold such steps, and only the reader knows whether they matter.

mod error;
mod open;
mod source;
pub(crate) mod text;

pub use everopen_domain::Side;

pub use error::{FeedError, Problem};
pub use open::{Clock, Compression, Count, Feed, Format, Options};
pub(crate) use source::{Fault, Source};

/// A market's name for an instrument. It becomes the code of the instrument's base asset.
pub type Symbol = everopen_domain::AssetCode;

/// A symbol from bytes, if they are not empty, fit, and are printable ASCII without spaces.
pub(crate) fn symbol(bytes: &[u8]) -> Option<Symbol> {
    let plain = !bytes.is_empty() && !bytes.contains(&b' ');
    if plain { Symbol::new(bytes).ok() } else { None }
}

/// Whether an instrument trades.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing trades (ITCH `H`, LOBSTER -1).
    Halted,
    /// Paused by a volatility control (ITCH `P`).
    Paused,
    /// Orders are taken, nothing matches yet (ITCH `Q`, LOBSTER 0).
    Quoting,
    /// Trades (ITCH `T`, LOBSTER 1).
    Trading,
}

/// What a message says. Prices and sizes are integers in the units of [`Feed::price_decimals`] and
/// [`Feed::size_decimals`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// An instrument exists.
    Directory {
        /// Its name.
        symbol: Symbol,
        /// Size of a round lot.
        round_lot: u32,
    },
    /// An order joined the book.
    Add {
        /// The market's number of the order.
        order_ref: u64,
        /// Its side.
        side: Side,
        /// Its limit.
        price: u64,
        /// Its displayed size, above zero.
        size: u64,
        /// Instrument.
        symbol: Symbol,
    },
    /// An order lost part of its size without a trade.
    Reduce {
        /// The market's number of the order.
        order_ref: u64,
        /// How much it lost.
        by: u64,
    },
    /// An order left the book.
    Delete {
        /// The market's number of the order.
        order_ref: u64,
        /// What was left of it, where the feed says so. Zero means that it was filled.
        left: Option<u64>,
    },
    /// An order was taken out and another put in at the back of the queue, same side and symbol.
    Replace {
        /// Number of the order that left.
        old_ref: u64,
        /// Number of the order that came.
        new_ref: u64,
        /// Its limit.
        price: u64,
        /// Its size.
        size: u64,
    },
    /// A resting, displayed order traded.
    Execute {
        /// The market's number of the order.
        order_ref: u64,
        /// How much traded.
        size: u64,
        /// Price of the trade where it is not the order's own.
        price: Option<u64>,
    },
    /// An order now has this size at this price (Bitstamp `changed`).
    SetSize {
        /// The market's number of the order.
        order_ref: u64,
        /// Its price now.
        price: u64,
        /// Its remaining size now.
        size: u64,
    },
    /// A trade that touched no displayed order.
    TradeReport {
        /// Instrument.
        symbol: Symbol,
        /// Price of the trade.
        price: u64,
        /// Size of the trade.
        size: u64,
        /// True for an auction (ITCH `Q`, LOBSTER 6), false for a hidden order.
        cross: bool,
    },
    /// An instrument changed its trading phase.
    PhaseChange {
        /// Instrument.
        symbol: Symbol,
        /// The new phase.
        phase: Phase,
    },
    /// The market as a whole reached a point of its day (ITCH `S`): `O` start of messages, `S` and
    /// `E` start and end of system hours, `Q` and `M` of market hours, `C` end of messages.
    SystemEvent {
        /// The letter.
        code: u8,
    },
    /// A message that concerns no book.
    Other,
}

/// One message of a feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedMessage {
    /// Byte offset of the message in the uncompressed file.
    pub offset: u64,
    /// Nanoseconds since what [`Feed::clock`] says.
    pub time: u64,
    /// Number of the instrument within the feed (ITCH stock locate); zero where there is none.
    pub locate: u16,
    /// The format's own type: a letter for ITCH, a digit for LOBSTER, the first letter of the
    /// action for Bitstamp.
    pub kind: u8,
    /// What the message says.
    pub action: Action,
}
