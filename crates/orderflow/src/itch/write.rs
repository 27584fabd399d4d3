//! Writes ITCH 5.0 messages in the file framing. Used for samples and tests.

use std::io::{self, Write};

use crate::feed::{Side, Symbol};

/// Writes messages one by one. Times are nanoseconds since midnight, prices have four decimals.
pub struct Writer<W> {
    out: W,
    /// The message under construction behind its length prefix.
    message: Vec<u8>,
}

impl<W: Write> Writer<W> {
    /// A writer to `out`, which should be buffered.
    pub fn new(out: W) -> Self {
        Self {
            out,
            message: Vec::with_capacity(64),
        }
    }

    /// Gives back the output after the last message.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn begin(&mut self, kind: u8, locate: u16, time: u64) -> &mut Self {
        self.message.clear();
        self.message.extend([0, 0, kind]);
        self.u16(locate).u16(0).put(&time.to_be_bytes()[2..])
    }

    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.message.extend_from_slice(bytes);
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.put(&value.to_be_bytes())
    }

    fn side(&mut self, side: Side) -> &mut Self {
        self.put(match side {
            Side::Buy => b"B",
            Side::Sell => b"S",
        })
    }

    fn symbol(&mut self, symbol: Symbol) -> &mut Self {
        let mut bytes = [b' '; 8];
        let text = symbol.as_str().as_bytes();
        let length = text.len().min(8);
        bytes[..length].copy_from_slice(&text[..length]);
        self.put(&bytes)
    }

    fn end(&mut self) -> io::Result<()> {
        let length = self.message.len() as u16 - 2;
        self.message[..2].copy_from_slice(&length.to_be_bytes());
        debug_assert_eq!(
            super::length_of(self.message[2]),
            Some(length),
            "invariant: the writer knows the length of every message type"
        );
        self.out.write_all(&self.message)
    }

    /// `S`: start of messages (`O`), of system hours (`S`), of market hours (`Q`), or their ends.
    pub fn system_event(&mut self, time: u64, code: u8) -> io::Result<()> {
        self.begin(b'S', 0, time).put(&[code]).end()
    }

    /// `R`: an instrument exists. Fields that no reader here uses say "not available".
    pub fn directory(&mut self, locate: u16, time: u64, stock: Symbol, lot: u32) -> io::Result<()> {
        self.begin(b'R', locate, time)
            .symbol(stock)
            .put(b"QN")
            .u32(lot);
        self.put(b"NCZ PN 1N").u32(0).put(b"N").end()
    }

    /// `H`: an instrument's trading state, `H`, `P`, `Q` or `T`.
    pub fn trading_action(
        &mut self,
        locate: u16,
        time: u64,
        stock: Symbol,
        state: u8,
    ) -> io::Result<()> {
        self.begin(b'H', locate, time)
            .symbol(stock)
            .put(&[state, b' '])
            .put(b"    ")
            .end()
    }

    /// `A`: an order joins the book.
    #[allow(clippy::too_many_arguments)]
    pub fn add(
        &mut self,
        locate: u16,
        time: u64,
        order_ref: u64,
        side: Side,
        shares: u32,
        stock: Symbol,
        price: u32,
    ) -> io::Result<()> {
        self.begin(b'A', locate, time)
            .u64(order_ref)
            .side(side)
            .u32(shares);
        self.symbol(stock).u32(price).end()
    }

    /// `E`: a resting order trades at its price.
    pub fn executed(
        &mut self,
        locate: u16,
        time: u64,
        order_ref: u64,
        shares: u32,
        match_number: u64,
    ) -> io::Result<()> {
        self.begin(b'E', locate, time)
            .u64(order_ref)
            .u32(shares)
            .u64(match_number)
            .end()
    }

    /// `C`: a resting order trades at another price.
    pub fn executed_with_price(
        &mut self,
        locate: u16,
        time: u64,
        order_ref: u64,
        shares: u32,
        match_number: u64,
        price: u32,
    ) -> io::Result<()> {
        self.begin(b'C', locate, time)
            .u64(order_ref)
            .u32(shares)
            .u64(match_number);
        self.put(b"Y").u32(price).end()
    }

    /// `X`: an order loses part of its size.
    pub fn cancel(
        &mut self,
        locate: u16,
        time: u64,
        order_ref: u64,
        shares: u32,
    ) -> io::Result<()> {
        self.begin(b'X', locate, time)
            .u64(order_ref)
            .u32(shares)
            .end()
    }

    /// `D`: an order leaves the book.
    pub fn delete(&mut self, locate: u16, time: u64, order_ref: u64) -> io::Result<()> {
        self.begin(b'D', locate, time).u64(order_ref).end()
    }

    /// `U`: an order is replaced by another.
    pub fn replace(
        &mut self,
        locate: u16,
        time: u64,
        old_ref: u64,
        new_ref: u64,
        shares: u32,
        price: u32,
    ) -> io::Result<()> {
        self.begin(b'U', locate, time)
            .u64(old_ref)
            .u64(new_ref)
            .u32(shares)
            .u32(price)
            .end()
    }

    /// `P`: a trade against an order that was not displayed.
    #[allow(clippy::too_many_arguments)]
    pub fn trade(
        &mut self,
        locate: u16,
        time: u64,
        side: Side,
        shares: u32,
        stock: Symbol,
        price: u32,
        match_number: u64,
    ) -> io::Result<()> {
        self.begin(b'P', locate, time).u64(0).side(side).u32(shares);
        self.symbol(stock).u32(price).u64(match_number).end()
    }
}
