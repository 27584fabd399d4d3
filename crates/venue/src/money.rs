//! Money from outside, to outside, and between members.

use everopen_domain::snapshot::{AccountOwner, WithdrawalSnapshot};
use everopen_domain::{
    Amount, AssetId, Command, Event, EventSink, MemberId, Reference, RejectReason, TransferId,
};
use everopen_ledger::{Account, LedgerError};

use crate::venue::Venue;

fn refusal(error: LedgerError) -> RejectReason {
    match error {
        LedgerError::InsufficientFunds => RejectReason::InsufficientFunds,
        LedgerError::Overflow => RejectReason::Overflow,
    }
}

impl Venue {
    pub(crate) fn move_money(
        &mut self,
        command: &Command,
        out: &mut impl EventSink,
    ) -> Result<(), RejectReason> {
        match *command {
            Command::Deposit {
                member,
                asset,
                amount,
                reference,
            } => {
                let account = self.movement(member, asset, amount, &reference)?;
                self.ledger.deposit(account, amount).map_err(refusal)?;
                let transfer = self.next_transfer(member, reference);
                out.emit(Event::Deposited {
                    transfer,
                    member,
                    asset,
                    amount,
                    reference,
                });
            }
            Command::RequestWithdrawal {
                member,
                asset,
                amount,
                reference,
                destination,
            } => {
                self.check_kill_switch(member)?;
                let account = self.movement(member, asset, amount, &reference)?;
                if destination.is_empty() {
                    return Err(RejectReason::DestinationMissing);
                }
                self.ledger.hold(account, amount).map_err(refusal)?;
                let transfer = self.next_transfer(member, reference);
                let withdrawal = WithdrawalSnapshot {
                    transfer,
                    member,
                    asset,
                    amount,
                    destination,
                };
                self.withdrawals.insert(transfer, withdrawal);
                out.emit(Event::WithdrawalRequested {
                    transfer,
                    member,
                    asset,
                    amount,
                    reference,
                    destination,
                });
            }
            Command::CompleteWithdrawal { transfer } => {
                let (account, withdrawal) = self.end_withdrawal(transfer)?;
                self.ledger.withdraw_held(account, withdrawal.amount);
                let WithdrawalSnapshot {
                    member,
                    asset,
                    amount,
                    ..
                } = withdrawal;
                out.emit(Event::WithdrawalCompleted {
                    transfer,
                    member,
                    asset,
                    amount,
                });
            }
            Command::CancelWithdrawal { transfer } => {
                let (account, withdrawal) = self.end_withdrawal(transfer)?;
                self.ledger.release(account, withdrawal.amount);
                let WithdrawalSnapshot {
                    member,
                    asset,
                    amount,
                    ..
                } = withdrawal;
                out.emit(Event::WithdrawalCanceled {
                    transfer,
                    member,
                    asset,
                    amount,
                });
            }
            Command::Transfer {
                from,
                to,
                asset,
                amount,
                reference,
            } => {
                self.check_kill_switch(from)?;
                let account = self.movement(from, asset, amount, &reference)?;
                self.member(to)?;
                if from == to {
                    return Err(RejectReason::SameMember);
                }
                let receiver = self.ledger.open(AccountOwner::Member(to), asset);
                self.ledger
                    .transfer(account, receiver, amount)
                    .map_err(refusal)?;
                let transfer = self.next_transfer(from, reference);
                out.emit(Event::Transferred {
                    transfer,
                    from,
                    to,
                    asset,
                    amount,
                    reference,
                });
            }
            _ => unreachable!("invariant: only movements of money come here"),
        }
        Ok(())
    }

    /// Refuses money on its way out while a kill switch is engaged.
    fn check_kill_switch(&mut self, member: MemberId) -> Result<(), RejectReason> {
        let stops = self.logic.kill_switch_stops_payouts();
        let venue_killed = self.killed;
        let member_killed = self.member(member)?.killed;
        if stops && venue_killed {
            return Err(RejectReason::VenueKilled);
        }
        if stops && member_killed {
            return Err(RejectReason::MemberKilled);
        }
        Ok(())
    }

    /// What every movement checks; the account it is of.
    fn movement(
        &mut self,
        member: MemberId,
        asset: AssetId,
        amount: Amount,
        reference: &Reference,
    ) -> Result<Account, RejectReason> {
        let known = self.member(member)?.references.contains(reference);
        if asset.0 as usize >= self.assets.len() {
            return Err(RejectReason::UnknownAsset);
        }
        if !amount.is_positive() {
            return Err(RejectReason::AmountInvalid);
        }
        if known && !reference.is_empty() {
            return Err(RejectReason::DuplicateReference);
        }
        Ok(self.ledger.open(AccountOwner::Member(member), asset))
    }

    fn next_transfer(&mut self, member: MemberId, reference: Reference) -> TransferId {
        if !reference.is_empty() {
            self.members[member.0 as usize]
                .references
                .insert_ended(reference);
        }
        self.last_transfer += 1;
        TransferId(self.last_transfer)
    }

    fn end_withdrawal(
        &mut self,
        transfer: TransferId,
    ) -> Result<(Account, WithdrawalSnapshot), RejectReason> {
        let Some(withdrawal) = self.withdrawals.remove(&transfer) else {
            let was = transfer.0 != 0 && transfer.0 <= self.last_transfer;
            return Err(if was {
                RejectReason::TransferDone
            } else {
                RejectReason::UnknownTransfer
            });
        };
        let owner = AccountOwner::Member(withdrawal.member);
        Ok((self.ledger.open(owner, withdrawal.asset), withdrawal))
    }
}
