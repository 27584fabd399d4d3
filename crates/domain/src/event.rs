//! Events: what happened, in the past tense. The same log gives the same events on every machine.
//!
//! Events that market data shows carry `sequence`: per instrument, from 1, rising by exactly one
//! with each of them, so that a reader sees a gap. All others carry none.

use crate::{
    Amount, AssetCode, AssetId, ClientOrderId, Destination, FeeScheduleId, FeeTier, Instrument,
    InstrumentId, InstrumentLimits, MemberCode, MemberId, MemberLimits, NewOrder, OrderId,
    OrderLimits, OrderTarget, Price, Quantity, Rate, Reference, RejectReason, Side, TradeId,
    TradingPhase, TransferId,
};

/// Where the machine puts its events.
pub trait EventSink {
    /// Takes the next event.
    fn emit(&mut self, event: Event);
}

impl EventSink for alloc::vec::Vec<Event> {
    #[inline]
    fn emit(&mut self, event: Event) {
        self.push(event);
    }
}

/// Why an order was canceled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[repr(u8)]
pub enum CancelReason {
    /// The member asked for it.
    Requested = 0,
    /// The member's connection was lost and it had asked for this.
    Disconnected = 1,
    /// Replaced by another order.
    Replaced = 2,
    /// Its time was up.
    Expired = 3,
    /// An immediate or market order found no more to trade within its limits.
    Unfilled = 4,
    /// A market order reached the price band.
    PriceBand = 5,
    /// A market order's funds or balance were used up to less than one lot.
    FundsUsed = 6,
    /// Self-trade prevention.
    SelfTrade = 7,
    /// A kill switch.
    Killed = 8,
    /// A post-only stop order that could only have taken when it triggered.
    WouldTake = 9,
    /// A fill-or-kill stop order that could not be filled in full when it triggered.
    FillOrKill = 10,
    /// A triggered stop order that the phase or the band did not let in.
    NotAccepted = 11,
}

/// How an order ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum DoneReason {
    /// Traded in full.
    Filled,
    /// Ended with a rest.
    Canceled(CancelReason),
}

/// Everything that can have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[allow(
    clippy::large_enum_variant,
    reason = "events are written once into a reused buffer"
)]
pub enum Event {
    // Administration.
    /// A command other than an order's or a cancel's was refused and changed nothing.
    CommandRejected {
        /// Why.
        reason: RejectReason,
    },
    /// An asset exists.
    AssetAdded {
        /// Its id.
        asset: AssetId,
        /// Its code.
        code: AssetCode,
        /// Its decimals.
        decimals: u8,
    },
    /// An instrument exists.
    InstrumentAdded {
        /// Its id.
        id: InstrumentId,
        /// What it is.
        instrument: Instrument,
    },
    /// An instrument has new rules.
    InstrumentAmended {
        /// The instrument.
        instrument: InstrumentId,
        /// The rules.
        limits: InstrumentLimits,
    },
    /// A market is in another phase.
    TradingPhaseChanged {
        /// The instrument.
        instrument: InstrumentId,
        /// The phase it is in.
        phase: TradingPhase,
    },
    /// A market has another reference price by an operator's command (trades move it silently).
    ReferencePriceSet {
        /// The instrument.
        instrument: InstrumentId,
        /// The price.
        price: Price,
    },
    /// One step of a fee schedule was set; a schedule's steps follow each other from level 0.
    FeeTierSet {
        /// The schedule.
        schedule: FeeScheduleId,
        /// The asset that its volume is counted in.
        volume_asset: AssetId,
        /// The step, from 0.
        level: u8,
        /// How many steps the schedule has.
        levels: u8,
        /// The step itself.
        tier: FeeTier,
    },
    /// A member exists.
    MemberAdded {
        /// Its id.
        member: MemberId,
        /// Its code.
        code: MemberCode,
    },
    /// A member has new limits.
    MemberLimitsSet {
        /// The member.
        member: MemberId,
        /// The limits.
        limits: MemberLimits,
    },
    /// A member has new limits in one instrument.
    OrderLimitsSet {
        /// The member.
        member: MemberId,
        /// The instrument.
        instrument: InstrumentId,
        /// The limits.
        limits: OrderLimits,
    },
    /// A kill switch is engaged; the cancels follow.
    KillSwitchEngaged {
        /// The member, or none for the venue.
        member: Option<MemberId>,
    },
    /// A kill switch is released.
    KillSwitchReleased {
        /// The member, or none for the venue.
        member: Option<MemberId>,
    },
    /// The venue goes by another version of its rules from now on.
    LogicActivated {
        /// The version.
        version: u16,
    },

    // Orders.
    /// An order was accepted: its checks are passed and its hold is taken (FIX 35=8, 150=0). For
    /// a stop order this says that it waits for its trigger; it then carries no sequence (zero),
    /// since the market does not see it.
    OrderAccepted {
        /// The order's id.
        order: OrderId,
        /// Whose.
        member: MemberId,
        /// Market data sequence; zero for a stop order that waits.
        sequence: u64,
        /// The order as it was sent.
        details: NewOrder,
        /// What was held for it: quote atoms for a buy, base atoms for a sell.
        hold: Amount,
        /// The maker rate that it will be charged.
        maker_rate: Rate,
        /// The taker rate that it will be charged.
        taker_rate: Rate,
    },
    /// A place or replace was refused and changed nothing (FIX 35=8, 150=8).
    OrderRejected {
        /// Whose; may be unknown to the venue.
        member: MemberId,
        /// The instrument named; may be unknown to the venue.
        instrument: InstrumentId,
        /// The client's id of the order, if given.
        client_order_id: ClientOrderId,
        /// Why.
        reason: RejectReason,
    },
    /// A stop order's trigger was reached: it now enters the market.
    OrderTriggered {
        /// The order.
        order: OrderId,
        /// Whose.
        member: MemberId,
        /// Market data sequence.
        sequence: u64,
        /// The trade price that triggered it.
        trigger_price: Price,
    },
    /// An order, or what is left of it, rests in the book at the end of its price's queue. For an
    /// iceberg this also says that its next peak is shown.
    OrderOpened {
        /// The order.
        order: OrderId,
        /// Whose.
        member: MemberId,
        /// Market data sequence.
        sequence: u64,
        /// Its side.
        side: Side,
        /// Its price.
        price: Price,
        /// What the book shows.
        visible: Quantity,
        /// All that is left, hidden part included.
        remaining: Quantity,
    },
    /// An order was changed in place, by its member or (`self_trade`) by self-trade prevention's
    /// decrease-and-cancel. With `kept_priority` it stays where it was in the queue; otherwise it
    /// is not in the book now. Stop orders that wait carry no sequence (zero).
    ///
    /// Asked for by its member, an order without `kept_priority` has left the book, and what
    /// follows (trades, `OrderOpened`) puts it back.
    ///
    /// With `self_trade` and without `kept_priority` it is the order that came: it was not in the
    /// book, `old_visible` and `visible` are zero, `hold` is what it rests with (zero where it
    /// ends), and its `OrderOpened` or `OrderDone` is the next event. This comes once for each time
    /// that the order enters the market, after its trades, whose `taker_remaining` counts without
    /// what was taken off before them. It does not come where the decrease leaves nothing (the
    /// order's `OrderDone`, canceled by self-trade, tells what was not filled), nor for an order by
    /// funds alone: that has no size, its funds shrink as if it had traded, and it ends at once.
    OrderAmended {
        /// The order.
        order: OrderId,
        /// Whose.
        member: MemberId,
        /// Market data sequence; zero for a stop order that waits.
        sequence: u64,
        /// Its side.
        side: Side,
        /// The price before.
        old_price: Price,
        /// The price now.
        price: Price,
        /// The total size now, filled part included.
        size: Quantity,
        /// What the book showed before; zero if it was not in the book.
        old_visible: Quantity,
        /// What the book shows now; zero if it is not in the book.
        visible: Quantity,
        /// All that is left now, hidden part included.
        remaining: Quantity,
        /// What is held for it now.
        hold: Amount,
        /// Whether it kept its place in the queue.
        kept_priority: bool,
        /// True when self-trade prevention shrank it, false when its member asked.
        self_trade: bool,
    },
    /// An amendment was refused and changed nothing.
    AmendRejected {
        /// Whose.
        member: MemberId,
        /// The order meant.
        target: OrderTarget,
        /// Why.
        reason: RejectReason,
    },
    /// A cancel was refused (FIX 35=9).
    CancelRejected {
        /// Whose.
        member: MemberId,
        /// The order meant.
        target: OrderTarget,
        /// Why.
        reason: RejectReason,
    },
    /// Two orders traded (FIX 35=8, 150=F, once for both sides), at the maker's price or the
    /// auction's. In an auction the older order is called the maker and both are charged their
    /// maker rate.
    Traded {
        /// The trade.
        trade: TradeId,
        /// Market data sequence.
        sequence: u64,
        /// The order that rested.
        maker_order: OrderId,
        /// The order that came.
        taker_order: OrderId,
        /// The maker's member.
        maker: MemberId,
        /// The taker's member.
        taker: MemberId,
        /// The maker's side.
        maker_side: Side,
        /// The price.
        price: Price,
        /// The quantity.
        quantity: Quantity,
        /// Price × quantity in quote atoms.
        notional: Amount,
        /// What the maker is charged, in quote atoms; negative for a rebate.
        maker_fee: Amount,
        /// What the taker is charged, in quote atoms.
        taker_fee: Amount,
        /// All that is left of the maker, hidden part included.
        maker_remaining: Quantity,
        /// What the book shows of the maker now (an iceberg's next peak comes with its own
        /// `OrderOpened`).
        maker_visible: Quantity,
        /// What is left of the taker; zero for an order by funds alone.
        taker_remaining: Quantity,
        /// True in an auction's uncross.
        auction: bool,
    },
    /// An order is over. The rest of its hold is released.
    OrderDone {
        /// The order.
        order: OrderId,
        /// Whose.
        member: MemberId,
        /// Market data sequence; zero for a stop order that never triggered.
        sequence: u64,
        /// Its side.
        side: Side,
        /// Its limit price; zero for a market order.
        price: Price,
        /// What the book showed of it at its end; zero if it did not rest.
        visible: Quantity,
        /// What was not filled.
        remaining: Quantity,
        /// How it ended.
        reason: DoneReason,
    },
    /// What the auction would do if it ended now; said after each change of a book in auction
    /// that changes it.
    AuctionIndicated {
        /// The instrument.
        instrument: InstrumentId,
        /// The price, zero when nothing would trade.
        price: Price,
        /// The volume that would trade.
        volume: Quantity,
        /// The side that has more at that price.
        surplus_side: Side,
        /// How much more.
        surplus: Quantity,
    },
    /// An auction ended; its trades went before.
    AuctionUncrossed {
        /// The instrument.
        instrument: InstrumentId,
        /// The price, zero when nothing traded.
        price: Price,
        /// The volume that traded.
        volume: Quantity,
    },

    // Money.
    /// Money came in.
    Deposited {
        /// The deposit.
        transfer: TransferId,
        /// To whom.
        member: MemberId,
        /// The asset.
        asset: AssetId,
        /// How much.
        amount: Amount,
        /// The requester's reference.
        reference: Reference,
    },
    /// Money is held to leave.
    WithdrawalRequested {
        /// The withdrawal.
        transfer: TransferId,
        /// Whose.
        member: MemberId,
        /// The asset.
        asset: AssetId,
        /// How much.
        amount: Amount,
        /// The requester's reference.
        reference: Reference,
        /// Where to.
        destination: Destination,
    },
    /// Money has left.
    WithdrawalCompleted {
        /// The withdrawal.
        transfer: TransferId,
        /// Whose.
        member: MemberId,
        /// The asset.
        asset: AssetId,
        /// How much.
        amount: Amount,
    },
    /// Money stays after all.
    WithdrawalCanceled {
        /// The withdrawal.
        transfer: TransferId,
        /// Whose.
        member: MemberId,
        /// The asset.
        asset: AssetId,
        /// How much.
        amount: Amount,
    },
    /// Money went from one member to another.
    Transferred {
        /// The transfer.
        transfer: TransferId,
        /// From whom.
        from: MemberId,
        /// To whom.
        to: MemberId,
        /// The asset.
        asset: AssetId,
        /// How much.
        amount: Amount,
        /// The sender's reference.
        reference: Reference,
    },
    /// A member's account after a command that changed it: once per account and command, at the
    /// command's end, in the order in which the accounts were first touched.
    BalanceChanged {
        /// Whose.
        member: MemberId,
        /// The asset.
        asset: AssetId,
        /// What can be used.
        available: Amount,
        /// What is held for orders and withdrawals.
        held: Amount,
    },
}
