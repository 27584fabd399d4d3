//! Identifiers. Each kind is its own type; all are assigned by the venue and never reused.

use core::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// The place of an entry in the log, from 1 without gaps; 0 means "before the first entry".
    LogIndex(u64)
}
id! {
    /// A member: whoever holds accounts and sends orders. Numbered densely from 0 in the order of
    /// their `AddMember` commands, so that tables indexed by it stay small.
    MemberId(u32)
}
id! {
    /// An asset of the ledger. Numbered densely from 0 in the order of their `AddAsset` commands.
    AssetId(u32)
}
id! {
    /// An instrument. Numbered densely from 0 in the order of their `AddInstrument` commands; at
    /// most 2^24, which is what an [`OrderId`] in text form has room for.
    InstrumentId(u32)
}
id! {
    /// A fee schedule, numbered by the operator who sets it; below 256.
    FeeScheduleId(u8)
}
id! {
    /// A trade of one instrument, from 1 without gaps (FIX `TrdMatchID`, tag 880).
    TradeId(u64)
}
id! {
    /// A deposit, a withdrawal or a transfer, from 1 without gaps across the venue.
    TransferId(u64)
}

/// The venue's id of an order (FIX `OrderID`, tag 37).
///
/// It names where the order lives, so that finding one needs no search: `instrument` is its book,
/// `slot` its place there, and `sequence` tells it from every other order that had or will have
/// that place. `sequence` alone is unique across the venue and rises with acceptance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct OrderId {
    /// The number of the acceptance, from 1, rising across the venue; below 2^56.
    pub sequence: u64,
    /// The order's instrument.
    pub instrument: InstrumentId,
    /// The order's place among the instrument's orders.
    pub slot: u32,
}

impl OrderId {
    /// One past the largest `sequence`.
    pub const SEQUENCE_END: u64 = 1 << 56;
    /// One past the largest `instrument`.
    pub const INSTRUMENT_END: u32 = 1 << 24;

    /// The id as the 128 bits of a UUID of version 8 (RFC 9562, section 5.8): 48 bits and 8 bits
    /// of the sequence around the version, then variant, then instrument and slot. The order of
    /// UUIDs is the order of acceptance.
    pub const fn to_uuid(self) -> u128 {
        let sequence = self.sequence as u128;
        let low = ((self.instrument.0 as u128) << 32) | self.slot as u128;
        ((sequence >> 8) << 80) | (0x8 << 76) | ((sequence & 0xff) << 68) | (0b10 << 62) | low
    }

    /// The id in a UUID made by [`OrderId::to_uuid`], or `None` if it was not made so.
    pub const fn from_uuid(uuid: u128) -> Option<Self> {
        let id = Self {
            sequence: (((uuid >> 80) as u64) << 8) | ((uuid >> 68) as u64 & 0xff),
            instrument: InstrumentId((uuid >> 32) as u32 & 0x00ff_ffff),
            slot: uuid as u32,
        };
        if id.to_uuid() == uuid { Some(id) } else { None }
    }
}

impl fmt::Display for OrderId {
    /// The usual text form of a UUID: 8-4-4-4-12 lower-case hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let u = self.to_uuid();
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            (u >> 96) as u32,
            (u >> 80) as u16,
            (u >> 64) as u16,
            (u >> 48) as u16,
            u as u64 & 0xffff_ffff_ffff
        )
    }
}

/// The text is not the id of an order of this venue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderIdError;

impl fmt::Display for OrderIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an order id")
    }
}

impl core::error::Error for OrderIdError {}

impl core::str::FromStr for OrderId {
    type Err = OrderIdError;

    fn from_str(text: &str) -> Result<Self, OrderIdError> {
        let bytes = text.as_bytes();
        if bytes.len() != 36 {
            return Err(OrderIdError);
        }
        let mut uuid = 0u128;
        for (at, byte) in bytes.iter().enumerate() {
            if matches!(at, 8 | 13 | 18 | 23) {
                if *byte != b'-' {
                    return Err(OrderIdError);
                }
                continue;
            }
            let digit = (*byte as char).to_digit(16).ok_or(OrderIdError)?;
            uuid = (uuid << 4) | u128::from(digit);
        }
        Self::from_uuid(uuid).ok_or(OrderIdError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_id_survives_its_text_form() {
        for sequence in [0, 1, 255, 256, 0x1234_5678_9abc, OrderId::SEQUENCE_END - 1] {
            for (instrument, slot) in [(0, 0), (7, u32::MAX), (OrderId::INSTRUMENT_END - 1, 1)] {
                let id = OrderId {
                    sequence,
                    instrument: InstrumentId(instrument),
                    slot,
                };
                let text = id.to_string();
                assert_eq!(text.len(), 36);
                assert_eq!(&text[14..15], "8", "version digit");
                assert!(
                    matches!(&text[19..20], "8" | "9" | "a" | "b"),
                    "variant digit"
                );
                assert_eq!(text.parse::<OrderId>(), Ok(id));
            }
        }
        assert!(
            "00000000-0000-0000-0000-000000000000"
                .parse::<OrderId>()
                .is_err()
        );
        assert!("not-an-id".parse::<OrderId>().is_err());
    }
}
