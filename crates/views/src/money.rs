//! What movements of money change in the views, and how entries are posted to accounts.

use everopen_domain::{Amount, AssetId, Event, MemberId, Timestamp, TransferId};

use crate::account::{
    LedgerDetail, LedgerEntry, LedgerKind, TransferKind, TransferStatus, TransferView,
};
use crate::config::{Config, push_bounded};
use crate::views::{State, Views};

impl Views {
    pub(crate) fn apply_money(&mut self, time: Timestamp, event: &Event) {
        let config = self.config;
        let state = &mut self.state;
        match *event {
            Event::Deposited {
                transfer,
                member,
                asset,
                amount,
                reference,
            } => {
                let kind = TransferKind::Deposit;
                let status = TransferStatus::Completed(time);
                let view = TransferView {
                    transfer,
                    kind,
                    asset,
                    amount,
                    created_at: time,
                    status,
                    reference,
                    destination: Default::default(),
                };
                state.add_transfer(&config, member, view);
                state.post_transfer(&config, time, member, asset, amount.0, transfer, kind);
            }
            Event::WithdrawalRequested {
                transfer,
                member,
                asset,
                amount,
                reference,
                destination,
            } => {
                let view = TransferView {
                    transfer,
                    kind: TransferKind::Withdrawal,
                    asset,
                    amount,
                    created_at: time,
                    status: TransferStatus::Pending,
                    reference,
                    destination,
                };
                state.add_transfer(&config, member, view);
            }
            Event::WithdrawalCompleted {
                transfer,
                member,
                asset,
                amount,
            } => {
                state.end_transfer(member, transfer, TransferStatus::Completed(time));
                let kind = TransferKind::Withdrawal;
                state.post_transfer(&config, time, member, asset, -amount.0, transfer, kind);
            }
            Event::WithdrawalCanceled {
                transfer, member, ..
            } => state.end_transfer(member, transfer, TransferStatus::Canceled(time)),
            Event::Transferred {
                transfer,
                from,
                to,
                asset,
                amount,
                reference,
            } => {
                let sides = [
                    (from, TransferKind::TransferOut { to }, -amount.0),
                    (to, TransferKind::TransferIn { from }, amount.0),
                ];
                for (member, kind, change) in sides {
                    let view = TransferView {
                        transfer,
                        kind,
                        asset,
                        amount,
                        created_at: time,
                        status: TransferStatus::Completed(time),
                        reference,
                        destination: Default::default(),
                    };
                    state.add_transfer(&config, member, view);
                    state.post_transfer(&config, time, member, asset, change, transfer, kind);
                }
            }
            Event::BalanceChanged {
                member,
                asset,
                available,
                held,
            } => {
                let account = state.member(member).account(asset);
                account.available = available;
                account.held = held;
                // The log is right, should the sum of entries ever differ.
                account.balance = Amount(available.0.saturating_add(held.0));
            }
            _ => {}
        }
    }
}

impl State {
    #[allow(
        clippy::too_many_arguments,
        reason = "one entry's fields, used in this file only"
    )]
    pub(crate) fn post(
        &mut self,
        config: &Config,
        time: Timestamp,
        member: MemberId,
        asset: AssetId,
        change: i128,
        kind: LedgerKind,
        detail: LedgerDetail,
    ) {
        if change == 0 {
            return;
        }
        self.last_ledger_entry += 1;
        let entry = LedgerEntry {
            id: self.last_ledger_entry,
            amount: Amount(change),
            balance: Amount::ZERO,
            created_at: time,
            kind,
            detail,
        };
        self.member(member).account(asset).post(config, entry);
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "one entry's fields, used in this file only"
    )]
    fn post_transfer(
        &mut self,
        config: &Config,
        time: Timestamp,
        member: MemberId,
        asset: AssetId,
        change: i128,
        transfer: TransferId,
        kind: TransferKind,
    ) {
        let detail = LedgerDetail::Transfer { transfer, kind };
        let ledger_kind = LedgerKind::Transfer;
        self.post(config, time, member, asset, change, ledger_kind, detail);
    }

    fn add_transfer(&mut self, config: &Config, member: MemberId, view: TransferView) {
        let limit = config.transfers_per_member;
        push_bounded(&mut self.member(member).transfers, view, limit);
    }

    fn end_transfer(&mut self, member: MemberId, transfer: TransferId, status: TransferStatus) {
        let transfers = &mut self.member(member).transfers;
        if let Ok(at) = transfers.binary_search_by_key(&transfer, |view| view.transfer) {
            transfers[at].status = status;
        }
    }
}
