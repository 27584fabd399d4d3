//! Order tables as Bitstamp's order channel gives them: a header, then one row for every order that
//! was created, changed or deleted.
//!
//! Columns are found by name, in any order; further columns are not read.
//!
//! | column | other names | holds |
//! |---|---|---|
//! | `id` | `order_id` | a whole number |
//! | `timestamp` | `microtimestamp`, `local_timestamp`, `local.timestamp` | time since 1970, see below |
//! | `price` | | a decimal number, above zero |
//! | `volume` | `amount`, `size` | what is left of the order |
//! | `action` | `event` | `created`, `changed` or `deleted`, also as `order_created` |
//! | `direction` | `side` | `bid` or `ask`, also `buy` or `sell` |
//!
//! A timestamp is a whole number of seconds, milliseconds, microseconds or nanoseconds, told apart
//! by size, or a date such as `2015-05-01 00:00:04.518` in UTC. A volume without a decimal point is
//! a number of 10^-8 units; one with a point is a number of units (see
//! [`crate::feed::Options::decimal_sizes`]). `deleted` with volume zero means filled.

mod time;

use std::io::Read;

use crate::feed::text::{COLUMN_LIMIT, Columns, Lines, decimal, unsigned};
use crate::feed::{
    Action, Count, Fault, FeedError, FeedMessage, Format, Problem, Side, Source, Symbol,
};

/// Decimals of a price unless the options say otherwise.
pub const PRICE_DECIMALS: u8 = 2;
/// Most decimals of a price: with those of a volume they make the 18 that an asset has room for.
pub const PRICE_DECIMALS_MAX: u8 = 10;
/// Decimals of a volume.
pub const SIZE_DECIMALS: u8 = 8;

/// Decodes a whole file in memory and counts it.
///
/// # Errors
///
/// When the bytes are damaged or cut, as for [`crate::feed::Feed`].
pub fn decode_slice(bytes: &[u8]) -> Result<Count, FeedError> {
    crate::feed::Feed::count_slice(bytes, Format::Bitstamp)
}

/// The columns that are read, with the names that they go by.
const COLUMNS: [(&str, &[&str]); 6] = [
    ("id", &["id", "order_id"]),
    (
        "timestamp",
        &[
            "timestamp",
            "microtimestamp",
            "local_timestamp",
            "local.timestamp",
        ],
    ),
    ("price", &["price"]),
    ("volume", &["volume", "amount", "size"]),
    ("action", &["action", "event"]),
    ("direction", &["direction", "side"]),
];
const ID: usize = 0;
const TIMESTAMP: usize = 1;
const PRICE: usize = 2;
const VOLUME: usize = 3;
const ACTION: usize = 4;
const DIRECTION: usize = 5;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

fn header(offset: u64, line: &[u8]) -> Result<Layout, Fault> {
    let names = Columns::split(offset, line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line));
    let mut places = [0; COLUMNS.len()];
    for (place, (name, aliases)) in places.iter_mut().zip(COLUMNS) {
        let found = aliases.iter().find_map(|alias| {
            (0..names.count().min(COLUMN_LIMIT))
                .find(|column| names.get(*column).eq_ignore_ascii_case(alias.as_bytes()))
        });
        *place = found.ok_or_else(|| Fault::new(offset, Problem::MissingColumn { name }))?;
    }
    Ok(Layout {
        places,
        count: names.count(),
    })
}

/// True if a file whose first line is this can only be a table of orders.
pub(crate) fn looks_like(first_line: &[u8]) -> bool {
    header(0, first_line).is_ok()
}

#[derive(Clone, Copy)]
struct Layout {
    /// Where each of `COLUMNS` stands.
    places: [usize; COLUMNS.len()],
    /// Number of columns that every row must have.
    count: usize,
}

pub(crate) struct Decoder {
    lines: Lines,
    layout: Option<Layout>,
    symbol: Symbol,
    price_decimals: u8,
    decimal_sizes: bool,
}

impl Decoder {
    pub fn new(symbol: Symbol, price_decimals: u8, decimal_sizes: bool) -> Self {
        Self {
            lines: Lines::default(),
            layout: None,
            symbol,
            price_decimals,
            decimal_sizes,
        }
    }

    pub fn line(&self) -> u64 {
        self.lines.number()
    }

    pub fn next<R: Read>(&mut self, source: &mut Source<R>) -> Result<Option<FeedMessage>, Fault> {
        let layout = match self.layout {
            Some(layout) => layout,
            None => {
                let Some((offset, line)) = self.lines.next(source)? else {
                    return Ok(None);
                };
                let layout = header(offset, line).map_err(|fault| self.lines.at(fault))?;
                *self.layout.insert(layout)
            }
        };
        let Some((offset, line)) = self.lines.next(source)? else {
            return Ok(None);
        };
        let row = Row {
            layout,
            columns: Columns::split(offset, line),
        };
        let message = row.check(offset).and_then(|()| self.decode(offset, &row));
        message.map(Some).map_err(|fault| self.lines.at(fault))
    }

    fn decode(&self, offset: u64, row: &Row<'_>) -> Result<FeedMessage, Fault> {
        let order_ref = unsigned(row.get(ID));
        let order_ref = order_ref.ok_or_else(|| row.fault(ID, "a whole number"))?;
        let time = time::parse(row.get(TIMESTAMP))
            .ok_or_else(|| row.fault(TIMESTAMP, "a time between 2000 and 2100"))?;
        let price = decimal(row.get(PRICE), self.price_decimals)
            .filter(|price| *price > 0 && *price <= i64::MAX as u64)
            .ok_or_else(|| {
                row.fault(
                    PRICE,
                    "a price above zero with no more decimals than the feed's",
                )
            })?;
        let volume = row.get(VOLUME);
        let units = self.decimal_sizes || volume.contains(&b'.');
        let size = decimal(volume, if units { SIZE_DECIMALS } else { 0 })
            .filter(|size| *size <= i64::MAX as u64)
            .ok_or_else(|| row.fault(VOLUME, "a volume of zero or more"))?;
        let side = match row.get(DIRECTION) {
            b"bid" | b"buy" => Side::Buy,
            b"ask" | b"sell" => Side::Sell,
            _ => return Err(row.fault(DIRECTION, "bid or ask")),
        };
        let action = row.get(ACTION);
        let action = action.strip_prefix(b"order_").unwrap_or(action);
        let symbol = self.symbol;
        let (kind, action) = match action {
            b"created" if size == 0 => {
                return Err(row.fault(VOLUME, "a volume above zero for a created order"));
            }
            b"created" => (
                b'c',
                Action::Add {
                    order_ref,
                    side,
                    price,
                    size,
                    symbol,
                },
            ),
            b"changed" => (
                b'h',
                Action::SetSize {
                    order_ref,
                    price,
                    size,
                },
            ),
            b"deleted" => (
                b'd',
                Action::Delete {
                    order_ref,
                    left: Some(size),
                },
            ),
            _ => return Err(row.fault(ACTION, "created, changed or deleted")),
        };
        Ok(FeedMessage {
            offset,
            time,
            locate: 0,
            kind,
            action,
        })
    }
}

struct Row<'a> {
    layout: Layout,
    columns: Columns<'a>,
}

impl<'a> Row<'a> {
    fn check(&self, offset: u64) -> Result<(), Fault> {
        if self.columns.count() == self.layout.count {
            return Ok(());
        }
        let (expected, found) = ("as many as the header's", self.columns.count());
        Err(Fault::new(offset, Problem::Columns { expected, found }))
    }

    fn get(&self, column: usize) -> &'a [u8] {
        self.columns.get(self.layout.places[column])
    }

    #[cold]
    fn fault(&self, column: usize, expected: &'static str) -> Fault {
        self.columns
            .fault(self.layout.places[column], COLUMNS[column].0, expected)
    }
}
