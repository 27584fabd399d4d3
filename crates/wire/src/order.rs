//! A new order, the most frequent thing in the log, packed: two bytes of flags, then only the
//! fields that are given.
//!
//! | Bits of the flags | Meaning |
//! |---|---|
//! | 0 | side |
//! | 1 | order type |
//! | 2–3 | time in force |
//! | 4 | post only |
//! | 5–7 | self-trade prevention |
//! | 8 | price follows |
//! | 9 | size follows |
//! | 10 | funds follow |
//! | 11 | expiry follows |
//! | 12 | display size follows |
//! | 13 | stop follows: direction, price |
//! | 14 | client order id follows |
//! | 15 | zero |
//!
//! After the flags stands the instrument, then what follows, in the order of its bits. A field
//! that is zero or empty is not given, and one that is given is not zero or empty.

use everopen_domain::{NewOrder, OrderType, SelfTradePrevention, Side, Stop, TimeInForce};

use crate::DecodeError;
use crate::codec::{Input, Sink, Wire};

const POST_ONLY: u16 = 1 << 4;
const PRICE: u16 = 1 << 8;
const SIZE: u16 = 1 << 9;
const FUNDS: u16 = 1 << 10;
const EXPIRES_AT: u16 = 1 << 11;
const DISPLAY_SIZE: u16 = 1 << 12;
const STOP: u16 = 1 << 13;
const CLIENT_ORDER_ID: u16 = 1 << 14;
const UNUSED: u16 = 1 << 15;

impl Wire for NewOrder {
    fn put<S: Sink>(&self, out: &mut S) {
        let Self {
            instrument,
            side,
            order_type,
            price,
            size,
            funds,
            time_in_force,
            expires_at,
            post_only,
            display_size,
            stop,
            self_trade_prevention,
            client_order_id,
        } = self;
        let mut flags = number(side) | number(order_type) << 1 | number(time_in_force) << 2;
        flags |= number(self_trade_prevention) << 5;
        let mut set = |flag: u16, given: bool| {
            if given {
                flags |= flag;
            }
            given
        };
        set(POST_ONLY, *post_only);
        let has_price = set(PRICE, price.0 != 0);
        let has_size = set(SIZE, size.0 != 0);
        let has_funds = set(FUNDS, funds.0 != 0);
        let has_expires_at = set(EXPIRES_AT, expires_at.0 != 0);
        let has_display_size = set(DISPLAY_SIZE, display_size.0 != 0);
        set(STOP, stop.is_some());
        let has_client_order_id = set(CLIENT_ORDER_ID, !client_order_id.is_empty());
        flags.put(out);
        instrument.put(out);
        if has_price {
            price.put(out);
        }
        if has_size {
            size.put(out);
        }
        if has_funds {
            funds.put(out);
        }
        if has_expires_at {
            expires_at.put(out);
        }
        if has_display_size {
            display_size.put(out);
        }
        if let Some(stop) = stop {
            stop.put(out);
        }
        if has_client_order_id {
            client_order_id.put(out);
        }
    }

    fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let mut order = Self::default();
        order.read(input)?;
        Ok(order)
    }

    fn read(&mut self, input: &mut Input<'_>) -> Result<(), DecodeError> {
        let error = input.error("unknown flags of an order");
        let flags = u16::get(input)?;
        if flags & UNUSED != 0 {
            return Err(error);
        }
        let has = |flag: u16| flags & flag != 0;
        *self = Self {
            instrument: Wire::get(input)?,
            side: enum_of::<Side>(flags & 1, error)?,
            order_type: enum_of::<OrderType>(flags >> 1 & 1, error)?,
            time_in_force: enum_of::<TimeInForce>(flags >> 2 & 3, error)?,
            post_only: has(POST_ONLY),
            self_trade_prevention: enum_of::<SelfTradePrevention>(flags >> 5 & 7, error)?,
            ..Self::default()
        };
        if has(PRICE) {
            given(input, &mut self.price, |price| price.0 != 0)?;
        }
        if has(SIZE) {
            given(input, &mut self.size, |size| size.0 != 0)?;
        }
        if has(FUNDS) {
            given(input, &mut self.funds, |funds| funds.0 != 0)?;
        }
        if has(EXPIRES_AT) {
            given(input, &mut self.expires_at, |time| time.0 != 0)?;
        }
        if has(DISPLAY_SIZE) {
            given(input, &mut self.display_size, |size| size.0 != 0)?;
        }
        if has(STOP) {
            self.stop = Some(Stop::get(input)?);
        }
        if has(CLIENT_ORDER_ID) {
            given(input, &mut self.client_order_id, |id| !id.is_empty())?;
        }
        Ok(())
    }
}

/// A field that is there only when it says something.
#[inline(always)]
fn given<T: Wire>(
    input: &mut Input<'_>,
    field: &mut T,
    says_something: impl FnOnce(&T) -> bool,
) -> Result<(), DecodeError> {
    let error = input.error("a given field of an order is zero or empty");
    field.read(input)?;
    if says_something(field) {
        Ok(())
    } else {
        Err(error)
    }
}

/// The number of an enum that fits a few bits: the one byte that it encodes to.
#[inline]
fn number(value: &impl Wire) -> u16 {
    struct One(u8);
    impl Sink for One {
        #[inline]
        fn write(&mut self, bytes: &[u8]) {
            self.0 = bytes[0];
        }
    }
    let mut one = One(0);
    value.put(&mut one);
    u16::from(one.0)
}

#[inline]
fn enum_of<T: Wire>(number: u16, error: DecodeError) -> Result<T, DecodeError> {
    T::get(&mut Input::new(&[number as u8])).map_err(|_| error)
}
