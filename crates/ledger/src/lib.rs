//! Double-entry accounts: who has how much of which asset, how much of it is held, and the few
//! movements that may change that. It knows amounts and owners, never orders.
//!
//! Every movement takes one amount out of one place and puts it into another, so nothing appears
//! or vanishes. An account has two places: what is *available* and what is *held* for something
//! that may need it later. Three kinds of owner exist per asset: members; `External`, the world
//! outside, which is debited by deposits and credited by withdrawals; and `Fees`, the venue's
//! income.
//!
//! ## Invariants
//! - **INV-LEDGER-1**: available and held of all accounts of one asset sum to zero, always.
//! - **INV-LEDGER-2**: no member's available or held amount is below zero.
//! - **INV-LEDGER-3**: only members hold; `External` and `Fees` have nothing held.
//! - **INV-LEDGER-4**: `External` is not below −[`SUPPLY_MAX`] and `Fees` not below
//!   −[`FEES_DEBT_MAX`]. With 1 and 2 every amount in the ledger lies within ±2^121, so no movement
//!   after a deposit can leave the range of an [`Amount`].
//! - **INV-LEDGER-5**: one owner has at most one account per asset, and it is found under both.
//! - **INV-LEDGER-6**: an account is named in [`Ledger::touched`] exactly once if a movement
//!   changed it since [`Ledger::begin_command`], otherwise not.
//!
//! What a member can cause (too little money, too much supply) is a [`LedgerError`]; what only a
//! mistake of the caller can cause (releasing more than is held) is a panic that starts with
//! "invariant:".
//!
//! ## Fees below zero
//! A maker's rebate can exceed what its taker pays: the two may stand on different steps of the
//! schedule, and in an auction both are charged their maker rate. The rate was promised when the
//! order was accepted, so the rebate is paid and `Fees` goes below zero: a debt of the venue
//! itself, visible in its account. `External` then may rise above zero by no more than that debt.
//! The one bound is [`FEES_DEBT_MAX`], past which [`Ledger::rebate`] pays only the rest; it is
//! there to make arithmetic total and is out of reach of real money.
//!
//! ## Empty accounts
//! An account without money is the same as no account: [`Ledger::open`] never changes what
//! [`Ledger::accounts_sorted`] returns.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![warn(missing_docs)]

extern crate alloc;

mod account;
mod index;
mod ledger;
mod restore;
#[cfg(feature = "twin")]
pub mod twin;

pub use account::{Account, Balance, LedgerError};
pub use ledger::Ledger;
pub use restore::RestoreError;

use everopen_domain::Amount;

/// The most of one asset, in atoms, that deposits may bring in beyond what withdrawals took out:
/// 2^120, or about 1.3 × 10^18 whole units of an asset with 18 decimals.
pub const SUPPLY_MAX: Amount = Amount(1 << 120);

/// The most, in atoms of one asset, that rebates may have cost the venue beyond its fees: 2^120.
pub const FEES_DEBT_MAX: Amount = Amount(1 << 120);
