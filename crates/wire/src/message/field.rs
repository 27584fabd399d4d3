//! The fields of messages: those of fixed width as everywhere, texts and the rest borrowed.

use alloc::vec::Vec;

use everopen_domain::{LogIndex, Timestamp};

use super::{DigestKind, RefusalCode, Role, TEXT_BYTES_MAX};
use crate::DecodeError;
use crate::codec::{Input, Sink, Wire};

/// A field of a message.
pub(super) trait Field<'a>: Sized {
    fn put(&self, out: &mut Vec<u8>);
    fn get(input: &mut Input<'a>) -> Result<Self, DecodeError>;
}

macro_rules! fields_of_fixed_width {
    ($($type:ty),+ $(,)?) => {$(
        impl Field<'_> for $type {
            #[inline]
            fn put(&self, out: &mut Vec<u8>) {
                Wire::put(self, out);
            }
            #[inline]
            fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
                Wire::get(input)
            }
        }
    )+};
}
fields_of_fixed_width!(
    u16,
    u32,
    u64,
    bool,
    LogIndex,
    Timestamp,
    Role,
    DigestKind,
    RefusalCode
);

impl Field<'_> for [u8; 16] {
    fn put(&self, out: &mut Vec<u8>) {
        out.write(self);
    }
    fn get(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        input.array()
    }
}

/// A text. INV-WIRE-1: one that is too long is cut rather than refused.
impl<'a> Field<'a> for &'a str {
    fn put(&self, out: &mut Vec<u8>) {
        let mut length = self.len().min(TEXT_BYTES_MAX);
        while !self.is_char_boundary(length) {
            length -= 1;
        }
        out.push(length as u8);
        out.write(&self.as_bytes()[..length]);
    }
    fn get(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        let length = usize::from(u8::get(input)?);
        let error = input.error("text is not UTF-8");
        core::str::from_utf8(input.take(length)?).map_err(|_| error)
    }
}

/// All that is left: the last field of its message.
impl<'a> Field<'a> for &'a [u8] {
    #[inline]
    fn put(&self, out: &mut Vec<u8>) {
        out.write(self);
    }
    #[inline]
    fn get(input: &mut Input<'a>) -> Result<Self, DecodeError> {
        input.take(input.remaining())
    }
}

/// The messages by kind. A field that is missing here does not compile.
macro_rules! messages {
    ($($kind:literal = $variant:ident { $($field:ident),* })+) => {
        /// Every kind with the name of its message.
        pub const KINDS: &[(u8, &str)] = &[$(($kind, stringify!($variant))),+];

        impl<'a> Message<'a> {
            /// Appends the message.
            pub fn encode(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$variant { $($field),* } => {
                        out.push($kind);
                        $(field::Field::put($field, out);)*
                    })+
                }
            }

            /// The message that `bytes` are.
            ///
            /// # Errors
            /// [`DecodeError`] when they are not exactly one message.
            pub fn decode(bytes: &'a [u8]) -> Result<Self, DecodeError> {
                let mut input = Input::new(bytes);
                let unknown = input.error("unknown kind of a message");
                let [kind] = input.array()?;
                let message = match kind {
                    $($kind => Self::$variant { $($field: field::Field::get(&mut input)?),* },)+
                    _ => return Err(unknown),
                };
                input.finish()?;
                Ok(message)
            }
        }
    };
}

pub(super) use messages;
