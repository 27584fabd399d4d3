//! NASDAQ TotalView-ITCH 5.0 as it is kept in files: each message is preceded by its length, two
//! bytes big endian. Times are nanoseconds since midnight, prices have four decimals.
//!
//! Source: NASDAQ TotalView-ITCH 5.0 specification (all 23 message types). A message of length zero
//! ends the session and must be the last thing in the file.

mod write;

use std::io::Read;

use crate::feed::{Action, Count, Fault, FeedError, FeedMessage, Phase, Problem, Side, Symbol};
use crate::feed::{Format, Source, symbol};

pub use write::Writer;

/// Decimals of a price.
pub const PRICE_DECIMALS: u8 = 4;

const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;

/// Length of a message of that type without its length prefix; `None` for an unknown type.
pub const fn length_of(kind: u8) -> Option<u16> {
    Some(match kind {
        b'S' | b'W' => 12,
        b'D' | b'B' => 19,
        b'Y' | b'N' => 20,
        b'h' => 21,
        b'X' => 23,
        b'H' => 25,
        b'L' => 26,
        b'K' => 28,
        b'E' => 31,
        b'V' | b'J' | b'U' => 35,
        b'A' | b'C' => 36,
        b'R' => 39,
        b'F' | b'Q' => 40,
        b'P' => 44,
        b'O' => 48,
        b'I' => 50,
        _ => return None,
    })
}

/// True if a file that starts so can only be ITCH.
pub(crate) fn looks_like(start: &[u8]) -> bool {
    match start {
        [high, low, kind, ..] => length_of(*kind) == Some(u16::from_be_bytes([*high, *low])),
        _ => false,
    }
}

/// Decodes a whole file in memory and counts it.
///
/// # Errors
///
/// When the bytes are damaged or cut, as for [`crate::feed::Feed`].
pub fn decode_slice(bytes: &[u8]) -> Result<Count, FeedError> {
    crate::feed::Feed::count_slice(bytes, Format::Itch)
}

/// Decodes the next message; `None` at the end of the file.
#[inline]
pub(crate) fn next<R: Read>(source: &mut Source<R>) -> Result<Option<FeedMessage>, Fault> {
    let offset = source.offset();
    let bytes = source.peek(2)?;
    let [high, low, ..] = *bytes else {
        return match bytes.len() {
            0 => Ok(None),
            _ => Err(truncated(offset, "a length prefix", 2, 1)),
        };
    };
    let length = u16::from_be_bytes([high, low]);
    if length == 0 {
        return match source.peek(3)?.len() {
            2 => {
                source.consume(2);
                Ok(None)
            }
            _ => Err(Fault::new(offset + 2, Problem::AfterEnd)),
        };
    }
    let whole = 2 + usize::from(length);
    let bytes = source.peek(whole)?;
    // The type is judged before the length: a wrong prefix must not be reported as a cut file.
    if let Some(&kind) = bytes.get(2) {
        match length_of(kind) {
            None => return Err(Fault::new(offset + 2, Problem::UnknownType { found: kind })),
            Some(expected) if expected != length => {
                let kind = char::from(kind);
                let problem = Problem::WrongLength {
                    kind,
                    expected,
                    found: length,
                };
                return Err(Fault::new(offset, problem));
            }
            Some(_) => {}
        }
    }
    let Some(message) = bytes.get(2..whole) else {
        return Err(truncated(offset, "a whole message", whole, bytes.len()));
    };
    let message = decode(message, offset)?;
    source.consume(whole);
    Ok(Some(message))
}

#[cold]
fn truncated(offset: u64, expected: &'static str, needed: usize, found: usize) -> Fault {
    let (needed, found) = (needed as u64, found as u64);
    Fault::new(
        offset,
        Problem::Truncated {
            expected,
            needed,
            found,
        },
    )
}

/// Decodes one message whose length is already known to fit its type.
#[inline]
fn decode(message: &[u8], offset: u64) -> Result<FeedMessage, Fault> {
    let fields = Fields { message, offset };
    let kind = message[0];
    let action = match kind {
        b'A' | b'F' => Action::Add {
            order_ref: fields.u64(11),
            side: fields.side(19)?,
            size: fields.size(20)?,
            symbol: fields.symbol(24)?,
            price: fields.u32(32),
        },
        b'E' => Action::Execute {
            order_ref: fields.u64(11),
            size: fields.size(19)?,
            price: None,
        },
        b'C' => Action::Execute {
            order_ref: fields.u64(11),
            size: fields.size(19)?,
            price: Some(fields.u32(32)),
        },
        b'X' => Action::Reduce {
            order_ref: fields.u64(11),
            by: fields.size(19)?,
        },
        b'D' => Action::Delete {
            order_ref: fields.u64(11),
            left: None,
        },
        b'U' => Action::Replace {
            old_ref: fields.u64(11),
            new_ref: fields.u64(19),
            size: fields.size(27)?,
            price: fields.u32(31),
        },
        b'P' => {
            fields.side(19)?;
            Action::TradeReport {
                size: fields.u32(20),
                symbol: fields.symbol(24)?,
                price: fields.u32(32),
                cross: false,
            }
        }
        b'Q' => Action::TradeReport {
            size: fields.u64(11),
            symbol: fields.symbol(19)?,
            price: fields.u32(27),
            cross: true,
        },
        b'R' => Action::Directory {
            symbol: fields.symbol(11)?,
            round_lot: fields.u32(21) as u32,
        },
        b'H' => Action::PhaseChange {
            symbol: fields.symbol(11)?,
            phase: fields.phase(19)?,
        },
        b'S' => Action::SystemEvent { code: message[11] },
        _ => Action::Other,
    };
    Ok(FeedMessage {
        offset,
        time: fields.time()?,
        locate: fields.u16(1),
        kind,
        action,
    })
}

/// Reads fields of one message. `at` counts from the type byte, as in the specification.
#[derive(Clone, Copy)]
struct Fields<'a> {
    message: &'a [u8],
    /// Offset of the length prefix in the file.
    offset: u64,
}

impl Fields<'_> {
    #[inline]
    fn bytes<const N: usize>(self, at: usize) -> [u8; N] {
        self.message[at..at + N]
            .try_into()
            .expect("invariant: a slice of N bytes")
    }

    #[inline]
    fn u16(self, at: usize) -> u16 {
        u16::from_be_bytes(self.bytes(at))
    }

    #[inline]
    fn u32(self, at: usize) -> u64 {
        u64::from(u32::from_be_bytes(self.bytes(at)))
    }

    #[inline]
    fn u64(self, at: usize) -> u64 {
        u64::from_be_bytes(self.bytes(at))
    }

    #[cold]
    fn fault(self, at: usize, size: usize, field: &'static str, expected: &'static str) -> Fault {
        let found = &self.message[at..at + size];
        Fault::field(self.offset + 2 + at as u64, field, expected, found)
    }

    #[inline]
    fn time(self) -> Result<u64, Fault> {
        let time = (u64::from(self.u16(5)) << 32) | self.u32(7);
        if time >= DAY {
            return Err(self.fault(5, 6, "the timestamp", "less than 24 hours in nanoseconds"));
        }
        Ok(time)
    }

    #[inline]
    fn size(self, at: usize) -> Result<u64, Fault> {
        match self.u32(at) {
            0 => Err(self.fault(at, 4, "the number of shares", "more than zero")),
            size => Ok(size),
        }
    }

    #[inline]
    fn side(self, at: usize) -> Result<Side, Fault> {
        match self.message[at] {
            b'B' => Ok(Side::Buy),
            b'S' => Ok(Side::Sell),
            _ => Err(self.fault(at, 1, "the side", "B or S")),
        }
    }

    fn phase(self, at: usize) -> Result<Phase, Fault> {
        match self.message[at] {
            b'H' => Ok(Phase::Halted),
            b'P' => Ok(Phase::Paused),
            b'Q' => Ok(Phase::Quoting),
            b'T' => Ok(Phase::Trading),
            _ => Err(self.fault(at, 1, "the trading state", "H, P, Q or T")),
        }
    }

    #[inline]
    fn symbol(self, at: usize) -> Result<Symbol, Fault> {
        let bytes: [u8; 8] = self.bytes(at);
        let length = bytes.iter().position(|byte| *byte == b' ').unwrap_or(8);
        let padded = bytes[length..].iter().all(|byte| *byte == b' ');
        match symbol(&bytes[..length]) {
            Some(symbol) if padded => Ok(symbol),
            _ => Err(self.fault(at, 8, "the stock", "printable ASCII, padded with spaces")),
        }
    }
}
