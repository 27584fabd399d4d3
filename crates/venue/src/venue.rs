//! The venue: its state, and the way of a command through it.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use everopen_book::{Book, Slot};
use everopen_domain::snapshot::{AccountOwner, AssetSnapshot, WithdrawalSnapshot};
use everopen_domain::{
    Amount, AssetId, CancelReason, Command, Event, EventSink, FeeTiers, InstrumentId, MemberCode,
    MemberId, OrderId, Price, RejectReason, Timestamp, TradeId, TradingPhase, TransferId,
};
use everopen_ledger::Ledger;

use crate::expiry::Expiries;
use crate::floor::Floor;
use crate::logic::Logic;
use crate::market::{Market, State};
use crate::member::Member;

/// A trading venue: order books, accounts and the rules between them.
#[derive(Clone, Debug, Default)]
pub struct Venue {
    pub(crate) logic: Logic,
    pub(crate) time: Timestamp,
    pub(crate) last_order_sequence: u64,
    pub(crate) last_transfer: u64,
    pub(crate) killed: bool,
    pub(crate) assets: Vec<AssetSnapshot>,
    /// By schedule.
    pub(crate) fee_schedules: Vec<Option<FeeTiers>>,
    pub(crate) members: Vec<Member>,
    pub(crate) member_codes: BTreeMap<MemberCode, MemberId>,
    pub(crate) ledger: Ledger,
    pub(crate) withdrawals: BTreeMap<TransferId, WithdrawalSnapshot>,
    /// By instrument.
    pub(crate) markets: Vec<Market>,
    /// By instrument.
    pub(crate) books: Vec<Book>,
    pub(crate) expiries: Expiries,
    /// Instruments in auction, in the order of ids.
    pub(crate) in_auction: Vec<u32>,
    /// Reused by whatever gathers orders to cancel.
    pub(crate) gathered: Vec<(u64, Slot)>,
}

impl Venue {
    /// A venue without assets, instruments and members.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies one command at its time and emits what happened. A time before that of the last
    /// command counts as the last one's.
    ///
    /// Never panics for any command that can be decoded.
    pub fn apply(&mut self, time: Timestamp, command: &Command, out: &mut impl EventSink) {
        self.time = self.time.max(time);
        self.ledger.begin_command();
        self.expire(out);
        self.dispatch(command, out);
        self.indicate(out);
        self.emit_balances(out);
    }

    fn dispatch(&mut self, command: &Command, out: &mut impl EventSink) {
        let refused = match command {
            Command::PlaceOrder { member, order } => {
                if let Err(reason) = self.place(*member, order, None, out) {
                    reject_order(*member, order, reason, out);
                }
                return;
            }
            Command::CancelOrder { member, target } => {
                if let Err(reason) = self.cancel_order(*member, target, out) {
                    out.emit(Event::CancelRejected {
                        member: *member,
                        target: *target,
                        reason,
                    });
                }
                return;
            }
            Command::AmendOrder { member, amendment } => {
                if let Err(reason) = self.amend(*member, amendment, out) {
                    let target = amendment.target;
                    out.emit(Event::AmendRejected {
                        member: *member,
                        target,
                        reason,
                    });
                }
                return;
            }
            Command::ReplaceOrder {
                member,
                target,
                order,
            } => {
                if let Err(reason) = self.place(*member, order, Some(target), out) {
                    reject_order(*member, order, reason, out);
                }
                return;
            }
            Command::CancelOrders {
                member,
                instrument,
                reason,
            } => self.cancel_orders(*member, *instrument, *reason, out),
            Command::Deposit { .. }
            | Command::RequestWithdrawal { .. }
            | Command::CompleteWithdrawal { .. }
            | Command::CancelWithdrawal { .. }
            | Command::Transfer { .. } => self.move_money(command, out),
            Command::Tick => Ok(()),
            _ => self.administer(command, out),
        };
        if let Err(reason) = refused {
            out.emit(Event::CommandRejected { reason });
        }
    }

    /// A book and the floor of its market.
    #[inline]
    pub(crate) fn floor<'a, E: EventSink>(
        &'a mut self,
        instrument: InstrumentId,
        out: &'a mut E,
    ) -> (&'a mut Book, Floor<'a, E>) {
        let at = instrument.0 as usize;
        let floor = Floor {
            now: self.time,
            market: &mut self.markets[at],
            members: &mut self.members,
            ledger: &mut self.ledger,
            expiries: &mut self.expiries,
            out,
        };
        (&mut self.books[at], floor)
    }

    #[inline]
    fn expire(&mut self, out: &mut impl EventSink) {
        while let Some((due, order)) = self.expiries.next() {
            if due > self.time {
                return;
            }
            let (book, mut floor) = self.floor(order.instrument, out);
            floor.cancel(book, order.slot, CancelReason::Expired);
        }
    }

    #[inline]
    fn emit_balances(&mut self, out: &mut impl EventSink) {
        for account in self.ledger.touched() {
            if let AccountOwner::Member(member) = self.ledger.owner(*account) {
                let balance = self.ledger.balance(*account);
                out.emit(Event::BalanceChanged {
                    member,
                    asset: self.ledger.asset(*account),
                    available: balance.available,
                    held: balance.held,
                });
            }
        }
    }

    pub(crate) fn member(&mut self, member: MemberId) -> Result<&mut Member, RejectReason> {
        self.members
            .get_mut(member.0 as usize)
            .ok_or(RejectReason::UnknownMember)
    }

    // Readers.

    /// The time of the last command.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// When the next good-till-time order is due, so that whoever keeps the log can put a
    /// [`Command::Tick`] there.
    pub fn next_expiry(&self) -> Option<Timestamp> {
        self.expiries.next().map(|(due, _)| due)
    }

    /// The book of an instrument.
    pub fn book(&self, instrument: InstrumentId) -> Option<&Book> {
        self.books.get(instrument.0 as usize)
    }

    /// The phase of an instrument's market.
    pub fn phase(&self, instrument: InstrumentId) -> Option<TradingPhase> {
        self.markets
            .get(instrument.0 as usize)
            .map(|market| market.phase)
    }

    /// The last market data sequence of an instrument.
    pub fn sequence(&self, instrument: InstrumentId) -> Option<u64> {
        self.markets
            .get(instrument.0 as usize)
            .map(|market| market.sequence)
    }

    /// The last trade of an instrument and its price; zeros before the first.
    pub fn last_trade(&self, instrument: InstrumentId) -> Option<(TradeId, Price)> {
        let market = self.markets.get(instrument.0 as usize)?;
        Some((TradeId(market.last_trade), market.last_price))
    }

    /// What an account has available and held; zeros where it has nothing.
    pub fn balance(&self, owner: AccountOwner, asset: AssetId) -> (Amount, Amount) {
        let balance = self.ledger.balance_of(owner, asset);
        (balance.available, balance.held)
    }

    /// What is held for an open order.
    pub fn hold(&self, order: OrderId) -> Option<Amount> {
        let market = self.markets.get(order.instrument.0 as usize)?;
        let open = market.orders.get(order.slot as usize)?;
        let found = open.sequence == order.sequence && open.state != State::Free;
        found.then_some(open.hold)
    }

    /// How many assets, instruments and members there are.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.assets.len(), self.markets.len(), self.members.len())
    }
}

fn reject_order(
    member: MemberId,
    order: &everopen_domain::NewOrder,
    reason: RejectReason,
    out: &mut impl EventSink,
) {
    out.emit(Event::OrderRejected {
        member,
        instrument: order.instrument,
        client_order_id: order.client_order_id,
        reason,
    });
}
