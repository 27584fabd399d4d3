//! Why a command was refused: a closed list with stable numbers.

use core::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// Why the venue refused a command. Codes are stable: a number once released keeps its
        /// meaning for ever; new reasons take new numbers. Below 100 an order or amendment was
        /// refused, from 100 on a cancel, from 200 on a money movement, from 300 on
        /// administration.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        #[repr(u16)]
        pub enum RejectReason {
            $($(#[$doc])* #[doc = concat!("Said as \"", $text, "\".")] $name = $code,)*
        }

        impl RejectReason {
            /// Every reason, in the order of codes.
            pub const ALL: &'static [RejectReason] = &[$(RejectReason::$name),*];

            /// The stable number.
            pub const fn code(self) -> u16 {
                self as u16
            }

            /// The reason with this number, if there is one.
            pub const fn from_code(code: u16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// The stable name, for machines.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// A sentence for people, without data.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

reasons! {
    UnknownMember = 1, "unknown member";
    UnknownInstrument = 2, "product not found";
    /// The venue's kill switch is engaged.
    VenueKilled = 3, "trading is stopped by the venue's kill switch";
    /// The member's kill switch is engaged.
    MemberKilled = 4, "trading is stopped by the member's kill switch";
    /// The trading phase is `Halted`.
    Halted = 5, "trading is halted";
    CancelOnly = 6, "cancel only mode";
    PostOnlyPhase = 7, "post only mode: only post-only limit orders are accepted";
    LimitOnlyPhase = 8, "limit only mode: market orders are not accepted";
    /// Market, immediate and post-only orders wait for no auction.
    AuctionPhase = 9, "auction mode: only limit orders that can rest are accepted";
    RateLimited = 10, "message rate limit exceeded";
    TooManyOpenOrders = 11, "too many open orders";
    DuplicateClientOrderId = 12, "duplicate client order id";
    PriceMissing = 13, "price is required for a limit order";
    PriceNotAllowed = 14, "price is not allowed for a market order";
    PriceTooLarge = 15, "price too large";
    PriceOffTick = 16, "price too precise: not a multiple of the tick size";
    PriceOutOfBand = 17, "price is outside the price band";
    SizeMissing = 18, "size is required";
    SizeTooSmall = 19, "size is too small";
    SizeTooLarge = 20, "size is too large";
    SizeOffLot = 21, "size too precise: not a multiple of the lot size";
    NotionalTooSmall = 22, "notional is too small";
    NotionalTooLarge = 23, "notional is too large";
    FundsNotAllowed = 24, "funds are only allowed for a market order";
    FundsInvalid = 25, "funds must be positive";
    /// A limit of the member, not of the instrument.
    MemberSizeLimit = 26, "size exceeds the member's limit";
    /// A limit of the member, not of the instrument.
    MemberNotionalLimit = 27, "notional exceeds the member's limit";
    ExpiryInvalid = 28, "expiry must be in the future and is only allowed for good-till-time";
    PostOnlyInvalid = 29, "post-only needs a limit order that can rest";
    PostOnlyWouldTake = 30, "post-only order would take liquidity";
    DisplaySizeInvalid = 31, "display size needs a limit order that can rest, a positive multiple of the lot below the size";
    StopPriceInvalid = 32, "stop price must be a positive multiple of the tick size";
    /// A stop-market buy by size has no known cost where the instrument has no price band.
    StopFundsRequired = 33, "a stop market buy needs funds where the product has no price band";
    SelfTradeNotAllowed = 34, "self trade is not allowed for this product";
    InsufficientFunds = 35, "insufficient funds";
    /// A fill-or-kill order could not trade in full.
    FillOrKillUnfilled = 36, "fill-or-kill order could not be filled in full";
    /// A market order found nothing to trade with.
    NoLiquidity = 37, "no liquidity";
    /// The numbers leave the range of an amount.
    Overflow = 38, "amount out of range";
    /// The new size of an amendment is not above what was already filled.
    AmendSizeFilled = 39, "new size must exceed the filled size";
    /// The order's kind or state can't take this amendment.
    AmendNotAllowed = 40, "order can't be amended in this way";
    /// An amendment that changes nothing.
    AmendUnchanged = 41, "amendment changes nothing";
    /// The fields of the order contradict each other.
    OrderInvalid = 42, "order fields contradict each other";

    OrderNotFound = 100, "order not found";
    /// The target names neither an order nor a client id.
    CancelTargetMissing = 101, "order id or client order id is required";

    UnknownAsset = 200, "unknown asset";
    AmountInvalid = 201, "amount must be positive";
    DuplicateReference = 202, "duplicate reference";
    UnknownTransfer = 203, "unknown transfer";
    SameMember = 204, "a transfer needs two members";
    /// The withdrawal was completed or canceled before.
    TransferDone = 205, "transfer already done";
    DestinationMissing = 206, "destination is required";

    AssetCodeTaken = 300, "asset code is taken or empty";
    DecimalsInvalid = 301, "decimals are out of range";
    /// Notional would need rounding: see [`crate::Instrument`].
    InstrumentInexact = 302, "quote decimals must hold price and size decimals together";
    InstrumentInvalid = 303, "instrument limits contradict each other";
    InstrumentTaken = 304, "instrument exists";
    MemberCodeTaken = 305, "member code is taken or empty";
    UnknownFeeSchedule = 306, "unknown fee schedule";
    FeeScheduleInvalid = 307, "fee tiers must rise from zero, with taker >= 0 and every maker + every taker >= 0";
    TooManyInstruments = 308, "no room for another instrument, asset or member";
    /// The venue is already in the state asked for.
    Unchanged = 309, "nothing to change";
    ReferencePriceInvalid = 310, "reference price must be a positive multiple of the tick size";
    LimitsInvalid = 311, "member limits contradict each other";
    /// Not the version after the active one, or one that this release does not know.
    LogicVersionInvalid = 312, "logic versions are activated one after the other";
}

impl fmt::Display for RejectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_rising_and_reversible() {
        for pair in RejectReason::ALL.windows(2) {
            assert!(
                pair[0].code() < pair[1].code(),
                "{:?} {:?}",
                pair[0],
                pair[1]
            );
        }
        for reason in RejectReason::ALL {
            assert_eq!(RejectReason::from_code(reason.code()), Some(*reason));
        }
        assert_eq!(RejectReason::from_code(0), None);
    }
}
