//! One flow, written in each format.

use std::io::{self, Write};

use everopen_domain::Side;

use super::flow::{Event, What};
use crate::feed::{Symbol, symbol};
use crate::itch;

/// Writes a flow as ITCH 5.0.
pub(super) struct Itch<'a> {
    writer: itch::Writer<&'a mut Vec<u8>>,
    stocks: Vec<Symbol>,
    matches: u64,
    time: u64,
}

impl<'a> Itch<'a> {
    pub fn begin(out: &'a mut Vec<u8>, stocks: &[&str], open: u64) -> io::Result<Self> {
        let known = |name: &&str| symbol(name.as_bytes()).expect("invariant: a plain symbol");
        let stocks: Vec<_> = stocks.iter().map(known).collect();
        let mut writer = itch::Writer::new(out);
        let before = open - 3_600_000_000_000;
        writer.system_event(before, b'O')?;
        writer.system_event(before + 1_000, b'S')?;
        for (locate, stock) in (1..).zip(&stocks) {
            let time = before + 2_000 + u64::from(locate);
            writer.directory(locate, time, *stock, 100)?;
            writer.trading_action(locate, time + 500, *stock, b'T')?;
        }
        writer.system_event(open, b'Q')?;
        Ok(Self {
            writer,
            stocks,
            matches: 0,
            time: open,
        })
    }

    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        let Event { time, book, what } = *event;
        self.time = time;
        let locate = book as u16 + 1;
        let stock = self.stocks[book];
        let writer = &mut self.writer;
        match what {
            What::Add {
                order,
                side,
                price,
                size,
            } => writer.add(locate, time, order, side, size as u32, stock, price as u32),
            What::Reduce { order, by, .. } => writer.cancel(locate, time, order, by as u32),
            What::Delete { order, .. } => writer.delete(locate, time, order),
            What::Replace {
                old,
                new,
                price,
                size,
                ..
            } => writer.replace(locate, time, old, new, size as u32, price as u32),
            What::Execute {
                order, size, price, ..
            } => {
                self.matches += 1;
                let (shares, number) = (size as u32, self.matches);
                // Now and then in the long form, which states the price.
                if number % 16 == 0 {
                    let price = price as u32;
                    writer.executed_with_price(locate, time, order, shares, number, price)
                } else {
                    writer.executed(locate, time, order, shares, number)
                }
            }
            What::Hidden { price, size } => {
                self.matches += 1;
                let (shares, price) = (size as u32, price as u32);
                writer.trade(locate, time, Side::Buy, shares, stock, price, self.matches)
            }
        }
    }

    pub fn end(mut self) -> io::Result<()> {
        self.writer.system_event(self.time + 1, b'M')?;
        self.writer.system_event(self.time + 2, b'E')?;
        self.writer.system_event(self.time + 3, b'C')
    }
}

/// Writes an event as one or two LOBSTER rows.
pub(super) fn lobster(out: &mut impl Write, event: &Event) -> io::Result<()> {
    let (seconds, nanos) = (event.time / 1_000_000_000, event.time % 1_000_000_000);
    let mut row = |kind: u8, order: u64, size: u64, price: u64, side: Side| {
        let direction = if side == Side::Buy { 1 } else { -1 };
        writeln!(
            out,
            "{seconds}.{nanos:09},{kind},{order},{size},{price},{direction}"
        )
    };
    match event.what {
        What::Add {
            order,
            side,
            price,
            size,
        } => row(1, order, size, price, side),
        What::Reduce {
            order,
            side,
            price,
            by,
            ..
        } => row(2, order, by, price, side),
        What::Delete {
            order,
            side,
            price,
            left,
        } => row(3, order, left, price, side),
        What::Replace {
            new,
            price,
            size,
            was,
            ..
        } => {
            row(3, was.order, was.size, was.price, was.side)?;
            row(1, new, size, price, was.side)
        }
        What::Execute {
            order,
            side,
            price,
            size,
            ..
        } => row(4, order, size, price, side),
        What::Hidden { price, size } => row(5, 0, size, price, Side::Buy),
    }
}

/// Writes a flow as a Bitstamp order table.
pub(super) struct Bitstamp<W> {
    out: W,
}

impl<W: Write> Bitstamp<W> {
    pub fn begin(mut out: W) -> io::Result<Self> {
        writeln!(
            out,
            "id,timestamp,exchange.timestamp,price,volume,action,direction"
        )?;
        Ok(Self { out })
    }

    pub fn write(&mut self, event: &Event) -> io::Result<()> {
        let millis = event.time / 1_000_000;
        let second = millis / 1_000 * 1_000;
        let mut row = |order: u64, price: u64, volume: u64, action: &str, side: Side| {
            let (whole, cents) = (price / 100, price % 100);
            let direction = if side == Side::Buy { "bid" } else { "ask" };
            writeln!(
                self.out,
                "{order},{millis},{second},{whole}.{cents:02},{volume},{action},{direction}"
            )
        };
        match event.what {
            What::Add {
                order,
                side,
                price,
                size,
            } => row(order, price, size, "created", side),
            What::Reduce {
                order,
                side,
                price,
                left,
                ..
            } => row(order, price, left, "changed", side),
            What::Delete {
                order,
                side,
                price,
                left,
            } => row(order, price, left, "deleted", side),
            What::Replace {
                new,
                price,
                size,
                was,
                ..
            } => {
                row(was.order, was.price, was.size, "deleted", was.side)?;
                row(new, price, size, "created", was.side)
            }
            // The table shows both sides of a trade: the taker comes, both shrink.
            What::Execute {
                order,
                taker,
                side,
                price,
                size,
                left,
            } => {
                row(taker, price, size, "created", side.opposite())?;
                row(
                    order,
                    price,
                    left,
                    if left == 0 { "deleted" } else { "changed" },
                    side,
                )?;
                row(taker, price, 0, "deleted", side.opposite())
            }
            // Hidden orders are not in the table.
            What::Hidden { .. } => Ok(()),
        }
    }
}
