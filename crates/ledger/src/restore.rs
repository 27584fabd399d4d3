//! From a snapshot's accounts back to a ledger. A snapshot is read from a disk, so what is wrong
//! with it is an error, not a panic.

use core::fmt;

use everopen_domain::snapshot::{AccountOwner, AccountSnapshot};
use everopen_domain::{Amount, AssetId};

use crate::{FEES_DEBT_MAX, Ledger, SUPPLY_MAX};

/// Why accounts make no ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RestoreError {
    /// Not in the order of owner and asset, or one twice.
    NotSorted(AccountOwner, AssetId),
    /// Nothing in it: such accounts are not written.
    Empty(AccountOwner, AssetId),
    /// Below the owner's floor, above what supply can be, or held by other than a member.
    OutOfRange(AccountOwner, AssetId),
    /// The accounts of an asset do not sum to zero but to this.
    Unbalanced(AssetId, Amount),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSorted(owner, asset) => {
                write!(f, "account of {owner:?} in asset {asset} is out of order")
            }
            Self::Empty(owner, asset) => {
                write!(f, "account of {owner:?} in asset {asset} is empty")
            }
            Self::OutOfRange(owner, asset) => {
                write!(f, "account of {owner:?} in asset {asset} is out of range")
            }
            Self::Unbalanced(asset, sum) => {
                write!(f, "accounts of asset {asset} sum to {sum} instead of zero")
            }
        }
    }
}

impl core::error::Error for RestoreError {}

impl Ledger {
    /// The ledger whose [`Ledger::accounts_sorted`] is `accounts`.
    ///
    /// # Errors
    /// [`RestoreError`] when no ledger has exactly these accounts.
    pub fn restore(accounts: &[AccountSnapshot]) -> Result<Self, RestoreError> {
        let mut ledger = Self::new();
        let mut sums = alloc::collections::BTreeMap::new();
        let mut last = None;
        for account in accounts {
            let (owner, asset) = (account.owner, account.asset);
            if last.is_some_and(|last| last >= (owner, asset)) {
                return Err(RestoreError::NotSorted(owner, asset));
            }
            last = Some((owner, asset));
            if account.available.is_zero() && account.held.is_zero() {
                return Err(RestoreError::Empty(owner, asset));
            }
            if !in_range(account) {
                return Err(RestoreError::OutOfRange(owner, asset));
            }
            // In range, 2^32 accounts can't leave 128 bits only if they also balance: check.
            let sum = sums.entry(asset).or_insert(0i128);
            *sum = sum
                .checked_add(account.available.0 + account.held.0)
                .ok_or(RestoreError::OutOfRange(owner, asset))?;
            ledger.load(account);
        }
        match sums.into_iter().find(|(_, sum)| *sum != 0) {
            Some((asset, sum)) => Err(RestoreError::Unbalanced(asset, Amount(sum))),
            None => Ok(ledger),
        }
    }
}

fn in_range(account: &AccountSnapshot) -> bool {
    let (available, held) = (account.available.0, account.held.0);
    let most = SUPPLY_MAX.0 + FEES_DEBT_MAX.0;
    match account.owner {
        AccountOwner::External => {
            held == 0 && (-SUPPLY_MAX.0..=FEES_DEBT_MAX.0).contains(&available)
        }
        AccountOwner::Fees => held == 0 && (-FEES_DEBT_MAX.0..=SUPPLY_MAX.0).contains(&available),
        AccountOwner::Member(_) => (0..=most).contains(&available) && (0..=most).contains(&held),
    }
}
