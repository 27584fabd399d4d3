//! The slow, obvious ledger: one ordered map and plain sums, written for reading. The fast one
//! must agree with it result for result and balance for balance; both run one suite
//! (`tests/suite.rs`).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use everopen_domain::snapshot::{AccountOwner, AccountSnapshot};
use everopen_domain::{Amount, AssetId};

use crate::{Balance, FEES_DEBT_MAX, LedgerError, SUPPLY_MAX};

/// In the twin an account's handle is what it is.
pub type TwinAccount = (AccountOwner, AssetId);

/// The slow ledger. Its methods mean what those of [`crate::Ledger`] mean.
#[derive(Clone, Debug, Default)]
pub struct TwinLedger {
    accounts: BTreeMap<TwinAccount, Balance>,
    touched: Vec<TwinAccount>,
}

impl TwinLedger {
    /// What an account has.
    pub fn balance(&self, account: TwinAccount) -> Balance {
        self.accounts.get(&account).copied().unwrap_or_default()
    }

    /// See [`crate::Ledger::deposit`]. Counts the supply afresh: what all but `External` have.
    ///
    /// # Errors
    /// As there.
    pub fn deposit(&mut self, to: TwinAccount, amount: Amount) -> Result<(), LedgerError> {
        let supply: i128 = self
            .accounts
            .iter()
            .filter(|((owner, asset), _)| *owner != AccountOwner::External && *asset == to.1)
            .map(|(_, balance)| balance.available.0 + balance.held.0)
            .sum();
        match supply.checked_add(amount.0) {
            Some(supply) if supply <= SUPPLY_MAX.0 => {}
            _ => return Err(LedgerError::Overflow),
        }
        self.add((AccountOwner::External, to.1), -amount.0, 0);
        self.add(to, amount.0, 0);
        Ok(())
    }

    /// See [`crate::Ledger::withdraw_held`].
    pub fn withdraw_held(&mut self, from: TwinAccount, amount: Amount) {
        self.assert_held(from, amount);
        self.add(from, 0, -amount.0);
        self.add((AccountOwner::External, from.1), amount.0, 0);
    }

    /// See [`crate::Ledger::hold`].
    ///
    /// # Errors
    /// As there.
    pub fn hold(&mut self, account: TwinAccount, amount: Amount) -> Result<(), LedgerError> {
        if amount > self.balance(account).available {
            return Err(LedgerError::InsufficientFunds);
        }
        self.add(account, -amount.0, amount.0);
        Ok(())
    }

    /// See [`crate::Ledger::release`].
    pub fn release(&mut self, account: TwinAccount, amount: Amount) {
        self.assert_held(account, amount);
        self.add(account, amount.0, -amount.0);
    }

    /// See [`crate::Ledger::settle`].
    pub fn settle(&mut self, from: TwinAccount, to: TwinAccount, amount: Amount) {
        self.assert_held(from, amount);
        self.add(from, 0, -amount.0);
        self.add(to, amount.0, 0);
    }

    /// See [`crate::Ledger::transfer`].
    ///
    /// # Errors
    /// As there.
    pub fn transfer(
        &mut self,
        from: TwinAccount,
        to: TwinAccount,
        amount: Amount,
    ) -> Result<(), LedgerError> {
        if amount > self.balance(from).available {
            return Err(LedgerError::InsufficientFunds);
        }
        self.add(from, -amount.0, 0);
        self.add(to, amount.0, 0);
        Ok(())
    }

    /// See [`crate::Ledger::charge_held`].
    pub fn charge_held(&mut self, from: TwinAccount, amount: Amount) {
        self.assert_held(from, amount);
        self.add(from, 0, -amount.0);
        self.add((AccountOwner::Fees, from.1), amount.0, 0);
    }

    /// See [`crate::Ledger::charge_available`].
    pub fn charge_available(&mut self, from: TwinAccount, amount: Amount) {
        assert!(amount <= self.balance(from).available, "invariant: twin");
        self.add(from, -amount.0, 0);
        self.add((AccountOwner::Fees, from.1), amount.0, 0);
    }

    /// See [`crate::Ledger::rebate`].
    pub fn rebate(&mut self, to: TwinAccount, amount: Amount) -> Amount {
        let debt = -self.balance((AccountOwner::Fees, to.1)).available.0;
        let paid = amount.0.min(FEES_DEBT_MAX.0 - debt);
        self.add((AccountOwner::Fees, to.1), -paid, 0);
        self.add(to, paid, 0);
        Amount(paid)
    }

    /// See [`crate::Ledger::begin_command`].
    pub fn begin_command(&mut self) {
        self.touched.clear();
    }

    /// See [`crate::Ledger::touched`].
    pub fn touched(&self) -> &[TwinAccount] {
        &self.touched
    }

    /// See [`crate::Ledger::sum`].
    pub fn sum(&self, asset: AssetId) -> Amount {
        let of_asset = self.accounts.iter().filter(|((_, a), _)| *a == asset);
        Amount(of_asset.map(|(_, b)| b.available.0 + b.held.0).sum())
    }

    /// See [`crate::Ledger::accounts_sorted`].
    pub fn accounts_sorted(&self) -> Vec<AccountSnapshot> {
        self.accounts
            .iter()
            .filter(|(_, balance)| !balance.is_empty())
            .map(|((owner, asset), balance)| AccountSnapshot {
                owner: *owner,
                asset: *asset,
                available: balance.available,
                held: balance.held,
            })
            .collect()
    }

    fn assert_held(&self, account: TwinAccount, amount: Amount) {
        assert!(amount <= self.balance(account).held, "invariant: twin");
    }

    fn add(&mut self, account: TwinAccount, available: i128, held: i128) {
        if available == 0 && held == 0 {
            return;
        }
        let balance = self.accounts.entry(account).or_default();
        balance.available.0 += available;
        balance.held.0 += held;
        if !self.touched.contains(&account) {
            self.touched.push(account);
        }
    }
}
