//! Finding an account by owner and asset: a hash table of handles with a fixed hash. Nothing ever
//! iterates it, so its order reaches nobody.

use everopen_domain::AssetId;
use everopen_domain::snapshot::AccountOwner;
use hashbrown::HashTable;

use crate::account::{Account, Slot};

#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    table: HashTable<u32>,
}

impl Index {
    #[inline]
    pub fn find(&self, slots: &[Slot], owner: AccountOwner, asset: AssetId) -> Option<Account> {
        self.table
            .find(hash(owner, asset), |at| {
                let slot = &slots[*at as usize];
                slot.owner == owner && slot.asset == asset
            })
            .map(|at| Account(*at))
    }

    /// Adds the last of `slots`, which must not be in the index yet (INV-LEDGER-5).
    pub fn insert_last(&mut self, slots: &[Slot]) -> Account {
        let last = slots.len() - 1;
        let at = u32::try_from(last).expect("invariant: account handles fit 32 bits");
        let slot = &slots[last];
        self.table
            .insert_unique(hash(slot.owner, slot.asset), at, |at| {
                let slot = &slots[*at as usize];
                hash(slot.owner, slot.asset)
            });
        Account(at)
    }
}

/// Mixes owner and asset with the finalizer of SplitMix64 (Steele, Lea and Flood, 2014). Both ids
/// are assigned by the venue, densely, so nobody outside can choose keys that collide.
#[inline]
fn hash(owner: AccountOwner, asset: AssetId) -> u64 {
    let owner = match owner {
        AccountOwner::External => 0,
        AccountOwner::Fees => 1,
        AccountOwner::Member(member) => u64::from(member.0) + 2,
    };
    let mut x = owner.rotate_left(32) ^ u64::from(asset.0);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
