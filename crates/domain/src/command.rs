//! Commands: what the log is made of. Imperative, complete, and valid or refused by the venue
//! alone; the time of a command stands in the log entry that carries it.

use crate::{
    Amount, AssetCode, AssetId, CancelReason, ClientOrderId, Destination, FeeScheduleId, FeeTiers,
    Instrument, InstrumentId, InstrumentLimits, MemberCode, MemberId, MemberLimits, NewOrder,
    OrderId, OrderLimits, Price, Quantity, Reference, TradingPhase, TransferId,
};

/// Which order a member means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub enum OrderTarget {
    /// By the venue's id.
    Order(OrderId),
    /// By the id that the client gave it (FIX `OrigClOrdID`, tag 41).
    Client(ClientOrderId),
}

/// What to change about an open order (FIX `OrderCancelReplaceRequest`, 35=G, in place).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AmendOrder {
    /// The order.
    pub target: OrderTarget,
    /// The new limit price; [`Price::ZERO`] keeps the old one. A new price loses priority.
    pub price: Price,
    /// The new total size, filled part included; [`Quantity::ZERO`] keeps the old one. A smaller
    /// size keeps priority, a larger one loses it.
    pub size: Quantity,
}

/// Everything that can change the venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(
    clippy::large_enum_variant,
    reason = "commands live on the stack, one at a time"
)]
pub enum Command {
    /// Time passes: expire what is due. Every other command does this first, too.
    Tick,

    // Administration.
    /// Adds an asset; its id is the next free one.
    AddAsset {
        /// Unique and not empty.
        code: AssetCode,
        /// Atoms per whole unit are 10^decimals; 0 to 18.
        decimals: u8,
    },
    /// Adds an instrument; its id is the next free one, its phase `CancelOnly` until changed.
    AddInstrument {
        /// What it is.
        instrument: Instrument,
    },
    /// Changes the rules of an instrument. Resting orders stay as they are.
    AmendInstrument {
        /// The instrument.
        instrument: InstrumentId,
        /// All rules, old and new.
        limits: InstrumentLimits,
    },
    /// Changes the phase of an instrument's market. Leaving `Auction` for `Online`, `PostOnly` or
    /// `LimitOnly` uncrosses the book; for `CancelOnly` or `Halted` it leaves the book as it is,
    /// and a crossed book is uncrossed by the next change to one of the former.
    SetTradingPhase {
        /// The instrument.
        instrument: InstrumentId,
        /// The new phase.
        phase: TradingPhase,
    },
    /// Sets the reference price of an instrument's band.
    SetReferencePrice {
        /// The instrument.
        instrument: InstrumentId,
        /// A positive multiple of the tick.
        price: Price,
    },
    /// Sets or replaces a fee schedule. Open orders keep the rates they were accepted with.
    SetFeeSchedule {
        /// The schedule.
        schedule: FeeScheduleId,
        /// Its steps.
        tiers: FeeTiers,
    },
    /// Adds a member; its id is the next free one.
    AddMember {
        /// Unique and not empty.
        code: MemberCode,
    },
    /// Sets the limits of a member.
    SetMemberLimits {
        /// The member.
        member: MemberId,
        /// All limits.
        limits: MemberLimits,
    },
    /// Sets the limits of a member in one instrument.
    SetOrderLimits {
        /// The member.
        member: MemberId,
        /// The instrument.
        instrument: InstrumentId,
        /// All limits.
        limits: OrderLimits,
    },
    /// Cancels all orders and refuses new ones until released: of one member, or of the venue.
    EngageKillSwitch {
        /// The member, or none for the whole venue.
        member: Option<MemberId>,
    },
    /// Lets a member, or the venue, trade again.
    ReleaseKillSwitch {
        /// The member, or none for the whole venue.
        member: Option<MemberId>,
    },
    /// Switches the venue to the next version of its own rules, for everything after this command.
    ActivateLogic {
        /// The version that is active, plus one.
        version: u16,
    },

    // Orders.
    /// Places an order.
    PlaceOrder {
        /// Whose.
        member: MemberId,
        /// The order.
        order: NewOrder,
    },
    /// Changes an open order in place.
    AmendOrder {
        /// Whose.
        member: MemberId,
        /// The change.
        amendment: AmendOrder,
    },
    /// Cancels an order and places another in one step: if the new one is refused, the old one
    /// stays as it was.
    ReplaceOrder {
        /// Whose.
        member: MemberId,
        /// The order to cancel; in the same instrument as the new one.
        target: OrderTarget,
        /// The order to place.
        order: NewOrder,
    },
    /// Cancels an order (FIX `OrderCancelRequest`, 35=F).
    CancelOrder {
        /// Whose.
        member: MemberId,
        /// The order.
        target: OrderTarget,
    },
    /// Cancels all orders of a member (FIX `OrderMassCancelRequest`, 35=q), oldest first.
    CancelOrders {
        /// Whose.
        member: MemberId,
        /// Only in this instrument, or in all.
        instrument: Option<InstrumentId>,
        /// [`CancelReason::Requested`] or [`CancelReason::Disconnected`].
        reason: CancelReason,
    },

    // Money.
    /// Money comes in from outside.
    Deposit {
        /// To whom.
        member: MemberId,
        /// The asset.
        asset: AssetId,
        /// Positive.
        amount: Amount,
        /// Refused when used before by this member; empty for none.
        reference: Reference,
    },
    /// Holds money that is to leave.
    RequestWithdrawal {
        /// Whose.
        member: MemberId,
        /// The asset.
        asset: AssetId,
        /// Positive.
        amount: Amount,
        /// Refused when used before by this member; empty for none.
        reference: Reference,
        /// Where to.
        destination: Destination,
    },
    /// The money of a withdrawal has left.
    CompleteWithdrawal {
        /// The withdrawal.
        transfer: TransferId,
    },
    /// The money of a withdrawal stays; its hold is released.
    CancelWithdrawal {
        /// The withdrawal.
        transfer: TransferId,
    },
    /// Moves available money from one member to another.
    Transfer {
        /// From whom.
        from: MemberId,
        /// To whom; another member.
        to: MemberId,
        /// The asset.
        asset: AssetId,
        /// Positive.
        amount: Amount,
        /// Refused when used before by the sender; empty for none.
        reference: Reference,
    },
}
