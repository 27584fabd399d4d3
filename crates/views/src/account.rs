//! Accounts, their ledger entries, and money coming and going.

use std::collections::VecDeque;

use everopen_domain::{
    Amount, AssetId, Destination, InstrumentId, MemberId, OrderId, Reference, Timestamp, TradeId,
    TransferId,
};
use serde::{Deserialize, Serialize};

use crate::config::{Config, push_bounded};

/// A member's account of one asset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountView {
    /// Of what.
    pub asset: AssetId,
    /// What can be used.
    pub available: Amount,
    /// What is held for orders and withdrawals.
    pub held: Amount,
}

impl AccountView {
    /// Available and held together.
    pub fn balance(&self) -> Amount {
        Amount(self.available.0.saturating_add(self.held.0))
    }
}

/// What a ledger entry is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LedgerKind {
    /// A deposit, a completed withdrawal, or a transfer between members.
    Transfer,
    /// One side of a trade.
    Match,
    /// The charge for a trade.
    Fee,
    /// The reward for a trade: a fee below zero.
    Rebate,
}

/// What a ledger entry came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LedgerDetail {
    /// A trade.
    Trade {
        /// The member's order.
        order: OrderId,
        /// The trade.
        trade: TradeId,
        /// The instrument.
        instrument: InstrumentId,
    },
    /// A movement of money.
    Transfer {
        /// The movement.
        transfer: TransferId,
        /// Which kind.
        kind: TransferKind,
    },
}

/// One change of an account's balance. Holds do not change the balance and make no entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerEntry {
    /// Unique among all accounts and rising with the log.
    pub id: u64,
    /// What came; negative for what went.
    pub amount: Amount,
    /// The balance after it.
    pub balance: Amount,
    /// When.
    pub created_at: Timestamp,
    /// What it is for.
    pub kind: LedgerKind,
    /// What it came from.
    pub detail: LedgerDetail,
}

/// Which way money moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferKind {
    /// In, from outside the venue.
    Deposit,
    /// Out of the venue.
    Withdrawal,
    /// In, from another member.
    TransferIn {
        /// The sender.
        from: MemberId,
    },
    /// Out, to another member.
    TransferOut {
        /// The receiver.
        to: MemberId,
    },
}

/// How far a movement of money has come. Only withdrawals are ever pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransferStatus {
    /// Held to leave.
    Pending,
    /// Done, at that time.
    Completed(Timestamp),
    /// Given up, at that time.
    Canceled(Timestamp),
}

/// A deposit, a withdrawal or a transfer, as one member sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferView {
    /// Its id.
    pub transfer: TransferId,
    /// Which kind.
    pub kind: TransferKind,
    /// Of what.
    pub asset: AssetId,
    /// How much; positive.
    pub amount: Amount,
    /// When it began.
    pub created_at: Timestamp,
    /// How far it is.
    pub status: TransferStatus,
    /// The requester's reference; empty if none.
    pub reference: Reference,
    /// Where a withdrawal goes; empty for others.
    pub destination: Destination,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub available: Amount,
    pub held: Amount,
    /// Available and held together, entry by entry.
    pub balance: Amount,
    pub entries: VecDeque<LedgerEntry>,
}

impl Account {
    pub fn post(&mut self, config: &Config, entry: LedgerEntry) {
        self.balance = Amount(self.balance.0.saturating_add(entry.amount.0));
        let entry = LedgerEntry {
            balance: self.balance,
            ..entry
        };
        push_bounded(&mut self.entries, entry, config.ledger_entries_per_account);
    }
}
