//! One instrument's order book: price-time priority, icebergs, self-trade prevention, waiting
//! stop orders and the call auction. It knows prices and quantities but no money, no fees and no
//! events: whoever drives it hears what happened through [`MatchSink`] and [`UncrossSink`].
//!
//! # Invariants
//! What breaks one of these is a bug of this crate or of its caller, and stops the process with a
//! message that begins with "invariant: ".
//!
//! - **INV-BOOK-1** A slot is free, held (allocated, in no queue), resting or waiting as a stop;
//!   only a held slot can rest or wait, only a resting one can be removed or reduced.
//! - **INV-BOOK-2** A resting order shows something: `visible` is positive. `hidden` is positive
//!   only where `peak` is.
//! - **INV-BOOK-3** Within a price, orders stand in the order in which they came to rest there;
//!   trades, reductions and the removal of others never change it. An iceberg that shows its next
//!   peak goes to the back.
//! - **INV-BOOK-4** Sizes only get smaller in place.
//! - **INV-BOOK-5** Slots are given out last freed first, and a new one only when none is free, so
//!   that two books with the same history give the same slots.
//! - **INV-BOOK-6** After a match or an uncross the best bid is below the best ask. (A caller that
//!   rests orders without a match, as in a call auction, may cross the book meanwhile.)
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod auction;
mod book;
mod grain;
mod ladder;
mod matching;
pub mod order;
mod slab;
#[cfg(feature = "twin")]
pub mod twin;

pub use book::Book;
pub use order::{
    BookOrder, Ended, Fill, Indication, Level, MatchSink, Matched, Reachable, RestoreError, Slot,
    StopOrder, Taker, UncrossFill, UncrossSink,
};
