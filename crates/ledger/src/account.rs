//! What an account is to its users: a handle, a balance, and the refusals.

use core::fmt;

use everopen_domain::snapshot::AccountOwner;
use everopen_domain::{Amount, AssetId};

/// A handle of an account in one [`crate::Ledger`], for finding it without a search.
///
/// Handles depend on the order in which accounts were opened, which a restored ledger does not
/// repeat; so they never reach an event, a hash or a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Account(pub(crate) u32);

impl Account {
    #[inline]
    pub(crate) const fn at(self) -> usize {
        self.0 as usize
    }
}

/// What an account has, in atoms of its asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Balance {
    /// What can be used.
    pub available: Amount,
    /// What is held for orders and withdrawals.
    pub held: Amount,
}

impl Balance {
    /// True when nothing is available and nothing held.
    pub const fn is_empty(&self) -> bool {
        self.available.is_zero() && self.held.is_zero()
    }
}

/// Why a movement was refused. A refused movement changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LedgerError {
    /// Less is available than asked for.
    InsufficientFunds,
    /// The asset's supply would exceed [`crate::SUPPLY_MAX`].
    Overflow,
}

impl fmt::Display for LedgerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::InsufficientFunds => "insufficient funds",
            Self::Overflow => "supply of the asset out of range",
        })
    }
}

impl core::error::Error for LedgerError {}

/// One account as the ledger keeps it: 64 bytes, a cache line.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    pub balance: Balance,
    /// The command that changed this account last; see [`crate::Ledger::begin_command`].
    pub touched_in: u64,
    pub owner: AccountOwner,
    pub asset: AssetId,
    /// Where the asset's `External` and `Fees` accounts are: see `Ledger::counters`.
    pub counters: u32,
}

#[cfg(test)]
const _: () = assert!(size_of::<Slot>() == 64);
