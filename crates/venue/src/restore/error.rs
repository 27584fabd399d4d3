//! Why a snapshot is not one of a venue.

use core::fmt;

use everopen_domain::snapshot::AccountOwner;
use everopen_domain::{AssetId, InstrumentId, MemberId, OrderId};

/// Why a snapshot is not one of a venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreError {
    /// The active version of the rules is not one that this release knows.
    Logic(u16),
    /// An asset's code is empty or used twice, or its decimals are out of range.
    Asset(AssetId),
    /// Fee schedules are out of order or contradict themselves.
    FeeSchedules,
    /// A member's code, limits, allowance, volumes or ids contradict each other.
    Member(MemberId),
    /// Limits per member and instrument are out of order, empty, or of unknown ones.
    OrderLimits,
    /// Accounts do not sum to zero or are out of order, range or of unknown assets or members.
    Accounts(everopen_ledger::RestoreError),
    /// An account is of an unknown asset or member.
    UnknownAccount(AccountOwner, AssetId),
    /// A withdrawal is out of order, not positive, or of unknown assets or members.
    Withdrawals,
    /// An instrument's rules, phase or counters contradict each other.
    Instrument(InstrumentId),
    /// An instrument's orders make no book.
    Book(InstrumentId, everopen_book::RestoreError),
    /// An order contradicts itself, its instrument, its member or another order.
    Order(OrderId),
    /// What is held of an account is not what its member's orders and withdrawals hold.
    Held(MemberId, AssetId),
}

impl fmt::Display for RestoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Logic(version) => {
                write!(f, "version {version} of the venue's logic is not known")
            }
            Self::Asset(id) => write!(f, "asset {id} is invalid"),
            Self::FeeSchedules => f.write_str("fee schedules are invalid or out of order"),
            Self::Member(id) => write!(f, "member {id} is invalid"),
            Self::OrderLimits => f.write_str("order limits are invalid or out of order"),
            Self::Accounts(_) => f.write_str("accounts make no ledger"),
            Self::UnknownAccount(owner, asset) => {
                write!(
                    f,
                    "account of {owner:?} in asset {asset} has no owner or asset"
                )
            }
            Self::Withdrawals => f.write_str("withdrawals are invalid or out of order"),
            Self::Instrument(id) => write!(f, "instrument {id} is invalid"),
            Self::Book(id, _) => write!(f, "orders of instrument {id} make no book"),
            Self::Order(id) => write!(f, "order {id} is invalid"),
            Self::Held(member, asset) => {
                write!(
                    f,
                    "member {member} has another amount held of asset {asset} than is for"
                )
            }
        }
    }
}

impl core::error::Error for RestoreError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Accounts(source) => Some(source),
            Self::Book(_, source) => Some(source),
            _ => None,
        }
    }
}
