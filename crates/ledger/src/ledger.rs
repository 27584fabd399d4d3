//! The ledger and its movements.

use alloc::vec::Vec;

use everopen_domain::snapshot::{AccountOwner, AccountSnapshot};
use everopen_domain::{Amount, AssetId};

use crate::account::{Account, Balance, LedgerError, Slot};
use crate::index::Index;
use crate::{FEES_DEBT_MAX, SUPPLY_MAX};

/// The venue's own two accounts of one asset.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counters {
    external: Account,
    fees: Account,
}

/// All accounts of a venue. See the crate's documentation for what always holds.
#[derive(Clone, Debug)]
pub struct Ledger {
    slots: Vec<Slot>,
    index: Index,
    /// One entry per asset that has an account, in the order in which they first appeared.
    counters: Vec<Counters>,
    /// The number of the current command; slots carry the number of the last that changed them.
    command: u64,
    touched: Vec<Account>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl Ledger {
    /// A ledger without accounts.
    pub fn new() -> Self {
        Self {
            slots: Vec::new(),
            index: Index::default(),
            counters: Vec::new(),
            command: 1,
            touched: Vec::new(),
        }
    }

    // Accounts.

    /// Finds the account of `owner` in `asset`, or opens an empty one. Opening the first account
    /// of an asset opens the asset's `External` and `Fees` accounts with it.
    pub fn open(&mut self, owner: AccountOwner, asset: AssetId) -> Account {
        if let Some(account) = self.find(owner, asset) {
            return account;
        }
        let external = match self.find(AccountOwner::External, asset) {
            Some(external) => external,
            None => self.open_asset(asset),
        };
        match owner {
            AccountOwner::External => external,
            AccountOwner::Fees => self.fees_of(external),
            AccountOwner::Member(_) => {
                let counters = self.slots[external.at()].counters;
                self.push(owner, asset, counters)
            }
        }
    }

    fn open_asset(&mut self, asset: AssetId) -> Account {
        let counters = u32::try_from(self.counters.len()).expect("invariant: assets fit 32 bits");
        let external = self.push(AccountOwner::External, asset, counters);
        let fees = self.push(AccountOwner::Fees, asset, counters);
        self.counters.push(Counters { external, fees });
        external
    }

    fn push(&mut self, owner: AccountOwner, asset: AssetId, counters: u32) -> Account {
        self.slots.push(Slot {
            balance: Balance::default(),
            touched_in: 0,
            owner,
            asset,
            counters,
        });
        self.index.insert_last(&self.slots)
    }

    /// The account of `owner` in `asset`, if it was opened.
    #[inline]
    pub fn find(&self, owner: AccountOwner, asset: AssetId) -> Option<Account> {
        self.index.find(&self.slots, owner, asset)
    }

    /// What an account has.
    #[inline]
    pub fn balance(&self, account: Account) -> Balance {
        self.slots[account.at()].balance
    }

    /// What `owner` has of `asset`; nothing where there is no account.
    pub fn balance_of(&self, owner: AccountOwner, asset: AssetId) -> Balance {
        self.find(owner, asset)
            .map_or_else(Balance::default, |account| self.balance(account))
    }

    /// Whose an account is.
    #[inline]
    pub fn owner(&self, account: Account) -> AccountOwner {
        self.slots[account.at()].owner
    }

    /// Of what an account is.
    #[inline]
    pub fn asset(&self, account: Account) -> AssetId {
        self.slots[account.at()].asset
    }

    // Movements. Amounts are never negative; a movement of nothing changes and touches nothing.

    /// `External` → available of a member: money came in.
    ///
    /// # Errors
    /// [`LedgerError::Overflow`] when the asset's supply would exceed [`SUPPLY_MAX`].
    pub fn deposit(&mut self, to: Account, amount: Amount) -> Result<(), LedgerError> {
        self.check_member(to);
        let external = self.external_of(to);
        let room = self.slots[external.at()].balance.available.0 + SUPPLY_MAX.0;
        if amount.0 > room {
            return Err(LedgerError::Overflow);
        }
        self.apply(amount, (external, Place::Available), (to, Place::Available));
        Ok(())
    }

    /// Held of a member → `External`: a withdrawal was completed.
    ///
    /// # Panics
    /// When less is held.
    pub fn withdraw_held(&mut self, from: Account, amount: Amount) {
        self.check_held(from, amount);
        let external = self.external_of(from);
        self.apply(amount, (from, Place::Held), (external, Place::Available));
    }

    /// Available → held of one member.
    ///
    /// # Errors
    /// [`LedgerError::InsufficientFunds`] when less is available.
    #[inline]
    pub fn hold(&mut self, account: Account, amount: Amount) -> Result<(), LedgerError> {
        self.check_member(account);
        self.check_available(account, amount)?;
        self.shift(account, amount, Place::Available);
        Ok(())
    }

    /// Held → available of one member.
    ///
    /// # Panics
    /// When less is held.
    #[inline]
    pub fn release(&mut self, account: Account, amount: Amount) {
        self.check_held(account, amount);
        self.shift(account, amount, Place::Held);
    }

    /// Held of one member → available of another: one leg of a trade. Both may be the same
    /// account, where a member trades with itself.
    ///
    /// # Panics
    /// When less is held, or the accounts are of different assets.
    #[inline]
    pub fn settle(&mut self, from: Account, to: Account, amount: Amount) {
        self.check_member(to);
        self.check_held(from, amount);
        self.apply(amount, (from, Place::Held), (to, Place::Available));
    }

    /// Available of one member → available of another.
    ///
    /// # Errors
    /// [`LedgerError::InsufficientFunds`] when less is available.
    ///
    /// # Panics
    /// When the accounts are of different assets.
    pub fn transfer(
        &mut self,
        from: Account,
        to: Account,
        amount: Amount,
    ) -> Result<(), LedgerError> {
        self.check_member(from);
        self.check_member(to);
        self.check_available(from, amount)?;
        self.apply(amount, (from, Place::Available), (to, Place::Available));
        Ok(())
    }

    /// Held of a member → `Fees`: a fee that was held with the order (a buyer's).
    ///
    /// # Panics
    /// When less is held.
    #[inline]
    pub fn charge_held(&mut self, from: Account, amount: Amount) {
        self.check_held(from, amount);
        let fees = self.fees_of(from);
        self.apply(amount, (from, Place::Held), (fees, Place::Available));
    }

    /// Available of a member → `Fees`: a fee out of what a trade just brought (a seller's).
    ///
    /// # Panics
    /// When less is available.
    #[inline]
    pub fn charge_available(&mut self, from: Account, amount: Amount) {
        self.check_member(from);
        assert!(
            self.check_available(from, amount).is_ok(),
            "invariant: a fee taken from the available amount is within it"
        );
        let fees = self.fees_of(from);
        self.apply(amount, (from, Place::Available), (fees, Place::Available));
    }

    /// `Fees` → available of a member: a maker's rebate. Returns what was paid: all of it, unless
    /// the venue's debt would exceed [`FEES_DEBT_MAX`], then the rest up to that.
    #[inline]
    pub fn rebate(&mut self, to: Account, amount: Amount) -> Amount {
        self.check_member(to);
        let fees = self.fees_of(to);
        let room = self.slots[fees.at()].balance.available.0 + FEES_DEBT_MAX.0;
        let paid = Amount(amount.0.min(room));
        self.apply(paid, (fees, Place::Available), (to, Place::Available));
        paid
    }

    // What a command changed.

    /// Forgets what the last command touched.
    #[inline]
    pub fn begin_command(&mut self) {
        self.command += 1;
        self.touched.clear();
    }

    /// The accounts that movements changed since [`Ledger::begin_command`], `External` and `Fees`
    /// included, each once, in the order of their first change. An account that ends as it began
    /// is named all the same.
    #[inline]
    pub fn touched(&self) -> &[Account] {
        &self.touched
    }

    // Audit.

    /// Available and held of all accounts of `asset` together: zero (INV-LEDGER-1). Reads every
    /// account.
    pub fn sum(&self, asset: AssetId) -> Amount {
        let of_asset = self.slots.iter().filter(|slot| slot.asset == asset);
        Amount(
            of_asset
                .map(|slot| slot.balance.available.0 + slot.balance.held.0)
                .sum(),
        )
    }

    /// Reads every account and checks every invariant of the crate's documentation.
    ///
    /// # Panics
    /// When one does not hold.
    pub fn check(&self) {
        let mut sums = alloc::vec![0i128; self.counters.len()];
        for (at, slot) in self.slots.iter().enumerate() {
            let (available, held) = (slot.balance.available.0, slot.balance.held.0);
            sums[slot.counters as usize] += available + held;
            let is_member = matches!(slot.owner, AccountOwner::Member(_));
            assert!(
                !is_member || (available >= 0 && held >= 0),
                "invariant: INV-LEDGER-2"
            );
            assert!(is_member || held == 0, "invariant: INV-LEDGER-3");
            let floor = match slot.owner {
                AccountOwner::External => -SUPPLY_MAX.0,
                AccountOwner::Fees => -FEES_DEBT_MAX.0,
                AccountOwner::Member(_) => 0,
            };
            assert!(available >= floor, "invariant: INV-LEDGER-4");
            let found = self.find(slot.owner, slot.asset).map(Account::at);
            assert_eq!(found, Some(at), "invariant: INV-LEDGER-5");
            let named = self.touched.iter().filter(|t| t.at() == at).count();
            let expected = usize::from(slot.touched_in == self.command);
            assert_eq!(named, expected, "invariant: INV-LEDGER-6");
        }
        assert!(sums.iter().all(|sum| *sum == 0), "invariant: INV-LEDGER-1");
    }

    /// All accounts that have something, in the order of owner and asset.
    pub fn accounts_sorted(&self) -> Vec<AccountSnapshot> {
        let mut accounts: Vec<AccountSnapshot> = self
            .slots
            .iter()
            .filter(|slot| !slot.balance.is_empty())
            .map(|slot| AccountSnapshot {
                owner: slot.owner,
                asset: slot.asset,
                available: slot.balance.available,
                held: slot.balance.held,
            })
            .collect();
        accounts.sort_unstable_by_key(|account| (account.owner, account.asset));
        accounts
    }

    /// Puts what a snapshot says into a new account; the restore checks the whole afterwards.
    pub(crate) fn load(&mut self, account: &AccountSnapshot) {
        let at = self.open(account.owner, account.asset).at();
        self.slots[at].balance = Balance {
            available: account.available,
            held: account.held,
        };
    }

    // Inside.

    #[inline]
    fn external_of(&self, account: Account) -> Account {
        self.counters[self.slots[account.at()].counters as usize].external
    }

    #[inline]
    fn fees_of(&self, account: Account) -> Account {
        self.counters[self.slots[account.at()].counters as usize].fees
    }

    /// [`Ledger::apply`] within one account, from one of its places to the other.
    #[inline]
    fn shift(&mut self, account: Account, amount: Amount, from: Place) {
        assert!(amount.0 >= 0, "invariant: no movement of a negative amount");
        if amount.is_zero() {
            return;
        }
        let balance = &mut self.slots[account.at()].balance;
        let (debit, credit) = match from {
            Place::Available => (&mut balance.available.0, &mut balance.held.0),
            Place::Held => (&mut balance.held.0, &mut balance.available.0),
        };
        // INV-LEDGER-4 keeps both in range.
        *debit -= amount.0;
        *credit += amount.0;
        self.touch(account);
    }

    /// Where amounts change between two accounts: the same amount leaves `from` and enters `to`
    /// (INV-LEDGER-1). The callers have checked that `from` has it.
    #[inline]
    fn apply(&mut self, amount: Amount, from: (Account, Place), to: (Account, Place)) {
        assert!(amount.0 >= 0, "invariant: no movement of a negative amount");
        if amount.is_zero() {
            return;
        }
        let (debited, credited) = (&self.slots[from.0.at()], &self.slots[to.0.at()]);
        assert!(
            debited.asset == credited.asset,
            "invariant: a movement stays within one asset"
        );
        let debit = from.1.of(&mut self.slots[from.0.at()].balance);
        debit.0 = debit
            .0
            .checked_sub(amount.0)
            .expect("invariant: INV-LEDGER-4 keeps amounts in range");
        self.touch(from.0);
        let credit = to.1.of(&mut self.slots[to.0.at()].balance);
        credit.0 = credit
            .0
            .checked_add(amount.0)
            .expect("invariant: INV-LEDGER-4 keeps amounts in range");
        self.touch(to.0);
    }

    #[inline]
    fn touch(&mut self, account: Account) {
        let slot = &mut self.slots[account.at()];
        if slot.touched_in != self.command {
            slot.touched_in = self.command;
            self.touched.push(account);
        }
    }

    #[inline]
    fn check_member(&self, account: Account) {
        assert!(
            matches!(self.slots[account.at()].owner, AccountOwner::Member(_)),
            "invariant: only members' accounts are moved by name"
        );
    }

    #[inline]
    fn check_available(&self, account: Account, amount: Amount) -> Result<(), LedgerError> {
        if self.slots[account.at()].balance.available < amount {
            return Err(LedgerError::InsufficientFunds);
        }
        Ok(())
    }

    /// Also keeps `External` and `Fees` out: they hold nothing (INV-LEDGER-3).
    #[inline]
    fn check_held(&self, account: Account, amount: Amount) {
        assert!(
            self.slots[account.at()].balance.held >= amount,
            "invariant: no more leaves a hold than it has"
        );
    }
}

/// Where in an account.
#[derive(Clone, Copy)]
enum Place {
    Available,
    Held,
}

impl Place {
    #[inline]
    fn of(self, balance: &mut Balance) -> &mut Amount {
        match self {
            Self::Available => &mut balance.available,
            Self::Held => &mut balance.held,
        }
    }
}
