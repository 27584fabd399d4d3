//! The replicated state machine: it checks, matches, settles and emits. Commands go in, events come
//! out; the same commands at the same times give the same events and the same snapshot on every
//! machine.
//!
//! Rules that the commands' own documentation leaves open are decided in
//! `docs/decisions/0004-venue-rules.md`.
//!
//! # Invariants
//! [`Venue::check`] holds these after every command:
//! - **INV-VENUE-1** The accounts of each asset sum to zero, and no member's balance is negative.
//! - **INV-VENUE-2** What is held of each account is the sum of the holds of its member's open
//!   orders and withdrawals, so no trade can fail to settle.
//! - **INV-VENUE-3** A resting order's hold is what it needs as a maker, to the atom.
//! - **INV-VENUE-4** No book is crossed, except in or after an auction that has not uncrossed.
//! - **INV-VENUE-5** Each open order is in its seat's list, in the order of acceptance, and is
//!   known to the book; its client order id, if any, names it; its expiry, if any, is due in the
//!   future.
//! - **INV-VENUE-6** Between commands no order is entering and no stop is triggered but unhandled.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod admin;
mod amend;
mod arithmetic;
mod auction;
mod cancel;
mod check;
mod expiry;
mod floor;
mod ids;
mod logic;
mod market;
mod matching;
mod member;
mod money;
mod place;
mod restore;
mod rules;
mod snapshot;
mod venue;

pub use everopen_book::Book;
pub use restore::RestoreError;
pub use venue::Venue;
