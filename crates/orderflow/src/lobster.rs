//! LOBSTER message files: rows without a header, time in seconds after midnight with decimals,
//! event type, order id, size, price with four decimals, direction of the resting order. A seventh
//! column (market participant) is allowed and not read.
//!
//! Source: LOBSTER's description of its output. Types: 1 new, 2 partial cancel, 3 delete, 4 visible
//! execution, 5 hidden execution, 6 auction trade, 7 halt (price -1 halted, 0 quoting, 1 trading).
//! The file names no instrument: it comes from the options or from the name of the file.

use std::io::Read;

use crate::feed::text::{Columns, Lines, seconds, unsigned};
use crate::feed::{
    Action, Count, Fault, FeedError, FeedMessage, Format, Phase, Problem, Side, Source, Symbol,
};

/// Decimals of a price.
pub const PRICE_DECIMALS: u8 = 4;

const DAY: u64 = 24 * 60 * 60 * 1_000_000_000;

/// Decodes a whole file in memory and counts it.
///
/// # Errors
///
/// When the bytes are damaged or cut, as for [`crate::feed::Feed`].
pub fn decode_slice(bytes: &[u8]) -> Result<Count, FeedError> {
    crate::feed::Feed::count_slice(bytes, Format::Lobster)
}

/// True if a file whose first line is this can only be LOBSTER.
pub(crate) fn looks_like(first_line: &[u8]) -> bool {
    let columns = Columns::split(0, first_line);
    matches!(columns.count(), 6 | 7)
        && seconds(columns.get(0)).is_some()
        && matches!(columns.get(1), [b'1'..=b'7'])
}

/// The symbol at the front of a file name such as `AAPL_2012-06-21_34200000_57600000_message_10.csv`.
pub(crate) fn symbol_in(file_name: &str) -> Option<Symbol> {
    let (symbol, rest) = file_name.split_once('_')?;
    let dated = rest.len() >= 10 && rest.as_bytes()[4] == b'-' && rest.as_bytes()[7] == b'-';
    if dated {
        crate::feed::symbol(symbol.as_bytes())
    } else {
        None
    }
}

pub(crate) struct Decoder {
    lines: Lines,
    symbol: Symbol,
}

impl Decoder {
    pub fn new(symbol: Symbol) -> Self {
        Self {
            lines: Lines::default(),
            symbol,
        }
    }

    pub fn line(&self) -> u64 {
        self.lines.number()
    }

    pub fn next<R: Read>(&mut self, source: &mut Source<R>) -> Result<Option<FeedMessage>, Fault> {
        let Some((offset, line)) = self.lines.next(source)? else {
            return Ok(None);
        };
        let message = decode(offset, line, self.symbol);
        message.map(Some).map_err(|fault| self.lines.at(fault))
    }
}

fn decode(offset: u64, line: &[u8], symbol: Symbol) -> Result<FeedMessage, Fault> {
    let columns = Columns::split(offset, line);
    if !matches!(columns.count(), 6 | 7) {
        let problem = Problem::Columns {
            expected: "6 or 7",
            found: columns.count(),
        };
        return Err(Fault::new(offset, problem));
    }
    let time = seconds(columns.get(0))
        .filter(|time| *time < DAY)
        .ok_or_else(|| {
            columns.fault(0, "the time", "seconds after midnight, less than 24 hours")
        })?;
    let &[kind @ b'1'..=b'7'] = columns.get(1) else {
        return Err(columns.fault(1, "the event type", "a number from 1 to 7"));
    };
    let size = || {
        let size = unsigned(columns.get(3)).filter(|size| *size > 0);
        size.ok_or_else(|| columns.fault(3, "the size", "a whole number above zero"))
    };
    let price = || {
        let price = unsigned(columns.get(4)).filter(|price| *price <= i64::MAX as u64);
        price.ok_or_else(|| columns.fault(4, "the price", "a whole number of 1/10000"))
    };
    let order_ref = || {
        let order = unsigned(columns.get(2));
        order.ok_or_else(|| columns.fault(2, "the order id", "a whole number"))
    };
    let side = match columns.get(5) {
        b"1" => Side::Buy,
        b"-1" => Side::Sell,
        _ => return Err(columns.fault(5, "the direction", "1 or -1")),
    };
    let action = match kind {
        b'1' => Action::Add {
            order_ref: order_ref()?,
            side,
            price: price()?,
            size: size()?,
            symbol,
        },
        b'2' => Action::Reduce {
            order_ref: order_ref()?,
            by: size()?,
        },
        // The size of a deletion is what was left, but the order is gone whatever it says.
        b'3' => {
            size()?;
            price()?;
            Action::Delete {
                order_ref: order_ref()?,
                left: None,
            }
        }
        b'4' => {
            price()?;
            Action::Execute {
                order_ref: order_ref()?,
                size: size()?,
                price: None,
            }
        }
        b'5' | b'6' => Action::TradeReport {
            symbol,
            price: price()?,
            size: size()?,
            cross: kind == b'6',
        },
        _ => Action::PhaseChange {
            symbol,
            phase: match columns.get(4) {
                b"-1" => Phase::Halted,
                b"0" => Phase::Quoting,
                b"1" => Phase::Trading,
                _ => return Err(columns.fault(4, "the halt indicator", "-1, 0 or 1")),
            },
        },
    };
    Ok(FeedMessage {
        offset,
        time,
        locate: 0,
        kind,
        action,
    })
}
