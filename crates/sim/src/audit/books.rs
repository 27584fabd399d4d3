//! The clients' own books: what the answers say about the money of the members that only they
//! touch. In the end the venue must have the same.

use std::collections::BTreeMap;

use everopen_domain::snapshot::{AccountOwner, VenueSnapshot};
use everopen_domain::{AssetId, Event, MemberId};

/// Money by member and asset.
#[derive(Debug, Default)]
pub(crate) struct Books {
    money: BTreeMap<(MemberId, AssetId), i128>,
}

impl Books {
    /// An intention of a client was answered, for the first time.
    pub fn answered(&mut self, events: &[Event]) {
        for event in events {
            match *event {
                Event::Deposited {
                    member,
                    asset,
                    amount,
                    ..
                } => self.add(member, asset, amount.0),
                Event::WithdrawalCompleted {
                    member,
                    asset,
                    amount,
                    ..
                } => self.add(member, asset, -amount.0),
                Event::Transferred {
                    from,
                    to,
                    asset,
                    amount,
                    ..
                } => {
                    self.add(from, asset, -amount.0);
                    self.add(to, asset, amount.0);
                }
                _ => {}
            }
        }
    }

    fn add(&mut self, member: MemberId, asset: AssetId, amount: i128) {
        *self.money.entry((member, asset)).or_default() += amount;
    }

    /// Holds the money of members below `clients` against the venue's.
    pub fn compare(&self, venue: &VenueSnapshot, clients: u64) -> Result<(), String> {
        let mut found = BTreeMap::new();
        for account in &venue.accounts {
            if let AccountOwner::Member(member) = account.owner {
                let sum = account.available.0 + account.held.0;
                found.insert((member, account.asset), sum);
            }
        }
        for member in 0..clients as u32 {
            for asset in 0..venue.assets.len() as u32 {
                let key = (MemberId(member), AssetId(asset));
                let owed = self.money.get(&key).copied().unwrap_or(0);
                let has = found.get(&key).copied().unwrap_or(0);
                if owed != has {
                    return Err(format!(
                        "member {member} has {has} of asset {asset}; by what was acknowledged \
                         it must have {owed}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// Whether every asset's accounts sum to zero and no member owes anything, said without the
/// ledger's own arithmetic.
pub(crate) fn balance(venue: &VenueSnapshot) -> Result<(), String> {
    let mut sums: BTreeMap<AssetId, i128> = BTreeMap::new();
    for account in &venue.accounts {
        let (available, held) = (account.available.0, account.held.0);
        *sums.entry(account.asset).or_default() += available + held;
        let owes = available < 0 || held < 0;
        if owes && matches!(account.owner, AccountOwner::Member(_)) {
            return Err(format!("{:?} has {available} and {held}", account.owner));
        }
    }
    match sums.into_iter().find(|(_, sum)| *sum != 0) {
        Some((asset, sum)) => Err(format!("asset {asset} sums to {sum}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everopen_domain::snapshot::{AccountSnapshot, AssetSnapshot};
    use everopen_domain::{Amount, Reference, TransferId};

    fn venue(accounts: &[(AccountOwner, i128, i128)]) -> VenueSnapshot {
        VenueSnapshot {
            assets: vec![AssetSnapshot::default()],
            accounts: accounts
                .iter()
                .map(|(owner, available, held)| AccountSnapshot {
                    owner: *owner,
                    asset: AssetId(0),
                    available: Amount(*available),
                    held: Amount(*held),
                })
                .collect(),
            ..VenueSnapshot::default()
        }
    }

    const ANN: AccountOwner = AccountOwner::Member(MemberId(0));

    #[test]
    fn books_that_do_not_balance_are_found() {
        let good = [(AccountOwner::External, -7, 0), (ANN, 5, 2)];
        assert_eq!(balance(&venue(&good)), Ok(()));
        let created = [(AccountOwner::External, -7, 0), (ANN, 5, 3)];
        assert!(balance(&venue(&created)).is_err());
        let owing = [(AccountOwner::External, 1, 0), (ANN, -1, 0)];
        assert!(balance(&venue(&owing)).is_err());
    }

    #[test]
    fn money_that_nobody_was_told_of_is_found() {
        let mut books = Books::default();
        books.answered(&[Event::Deposited {
            transfer: TransferId(1),
            member: MemberId(0),
            asset: AssetId(0),
            amount: Amount(7),
            reference: Reference::EMPTY,
        }]);
        assert_eq!(books.compare(&venue(&[(ANN, 5, 2)]), 1), Ok(()));
        assert!(books.compare(&venue(&[(ANN, 14, 0)]), 1).is_err());
        assert!(books.compare(&venue(&[]), 1).is_err());
    }
}
